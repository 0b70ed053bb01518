use proptest::prelude::*;

use crate::codec::Fault;
use crate::testing::{MESSAGE, Pair, Store, decode, encode};
use crate::{Chain, ChainSpec};

fn pair() -> Pair {
    Store::default().pair("http(post, host=cdn.example.org, path=/v1/events, agent='App/1 (x; y)')")
}

fn read_by(chain: &mut Chain, text: &str) -> Result<String, Fault> {
    let decoded = decode(chain, text.as_bytes()).map_err(|error| error.fault)?;
    Ok(String::from_utf8(decoded).unwrap())
}

/// A request, as the server reads it.
fn request(text: &str) -> Result<String, Fault> {
    read_by(&mut pair().server, text)
}

/// A response, as the client reads it.
fn response(text: &str) -> Result<String, Fault> {
    read_by(&mut pair().client, text)
}

#[test]
fn requests_go_up_and_responses_go_down() {
    let mut pair = pair();
    assert_eq!(
        String::from_utf8(pair.up(b"abc")).unwrap(),
        "POST /v1/events HTTP/1.1\r\nHost: cdn.example.org\r\nUser-Agent: App/1 (x; y)\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: 3\r\n\r\nabc"
    );
    assert_eq!(
        String::from_utf8(pair.down(b"")).unwrap(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 0\r\n\r\n"
    );
    let up = pair.up(MESSAGE);
    assert!(decode(&mut pair.client, &up).is_err());
    let down = pair.down(MESSAGE);
    assert!(decode(&mut pair.server, &down).is_err());
    assert_eq!(decode(&mut pair.client, &down).unwrap(), MESSAGE);
}

#[test]
fn what_proxies_and_other_clients_write_is_read() {
    for text in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "PUT http://a.example.org/x?y=z HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "post / HTTP/1.0\ncontent-length:3\n\nabc",
        "POST  /  HTTP/1.1\r\nCONTENT-LENGTH: \t 3 \r\nVia: 1.1 proxy\r\nX-Empty:\r\n\r\nabc",
        "POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\n\r\nabc",
        "\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n02;x=y\r\nbc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    ] {
        assert_eq!(request(text), Ok("abc".to_owned()), "{text}");
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.0 204\nContent-Length: 3\n\nabc",
        "HTTP/1.1 200\r\nServer: x\r\n and more\r\nContent-Length : 3\r\n\r\nabc",
        "HTTP/1.1 201 Created\r\nConnection: close\r\n\r\nabc",
    ] {
        assert_eq!(response(text), Ok("abc".to_owned()), "{text}");
    }
}

#[test]
fn a_body_whose_end_is_in_doubt_is_an_error() {
    for (fields, body) in [
        ("Content-Length: 4", "abc"),
        ("Content-Length: 2", "abc"),
        ("Content-Length: 3\r\nContent-Length: 2", "abc"),
        ("Content-Length: 3, 2", "abc"),
        ("Content-Length: -3", "abc"),
        ("Content-Length: +3", "abc"),
        ("Content-Length:", "abc"),
        ("Content-Length: 99999999999999999999", "abc"),
        (
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        ("Transfer-Encoding: gzip", "abc"),
        ("Transfer-Encoding: gzip, chunked", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "3\r\nabc\r\n"),
        ("Transfer-Encoding: chunked", "4\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "x\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "3\r\nabc0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked",
            "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ),
    ] {
        let text = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n{body}");
        assert_eq!(request(&text), Err(Fault::Malformed), "{text}");
    }
}

#[test]
fn what_is_no_http_and_what_failed_is_an_error() {
    for text in [
        "",
        "POST / HTTP/1.1\r\n",
        "POST / HTTP/2\r\n\r\n",
        "OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nno field\r\n\r\n",
        "\x16\x03\x01",
    ] {
        assert_eq!(request(text), Err(Fault::Malformed), "{text}");
    }
    for status in ["100 Continue", "302 Found", "404 Not Found", "503 Busy"] {
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(response(&text), Err(Fault::Malformed), "{text}");
    }
}

#[test]
fn a_head_has_no_room_for_other_fields() {
    for (arguments, word) in [
        ("post, host='a\r\nX: y'", "a\r\nX: y"),
        ("post, host=a b", "a b"),
        ("post, host=", ""),
        ("post, host=a, path=x", "x"),
        ("post, host=a, path='/x y'", "/x y"),
        ("post, host=a, agent='x\ny'", "x\ny"),
        ("post, host=a, type='é'", "é"),
        ("get, host=a", "get"),
    ] {
        let text = format!("x=http({arguments})");
        let mistake = ChainSpec::parse(&text).unwrap_err();
        assert_eq!(&text[mistake.at.clone()], word, "{mistake:?}");
    }
    for (arguments, lacks) in [("", "a method"), ("post", "the host")] {
        let mistake = ChainSpec::parse(&format!("x=http({arguments})")).unwrap_err();
        assert_eq!(mistake.what, format!("http lacks {lacks}"));
    }
}

proptest! {
    #[test]
    fn any_division_into_chunks_is_the_same_body(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        places.extend([0, body.len()]);
        places.sort_unstable();
        let mut message = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for pair in places.windows(2).filter(|pair| pair[0] < pair[1]) {
            let chunk = &body[pair[0]..pair[1]];
            message.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            message.extend_from_slice(chunk);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(decode(&mut pair().server, &message).unwrap(), body);
    }

    #[test]
    fn whatever_follows_a_head_no_byte_is_made_up(tail in proptest::collection::vec(any::<u8>(), 0..80)) {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
        let message = [&head[..], &tail].concat();
        if let Ok(body) = decode(&mut pair().server, &message) {
            prop_assert_eq!(&body, &tail[..10]);
        }
        let mut chain = pair().client;
        prop_assert!(encode(&mut chain, &tail).unwrap().ends_with(&tail));
    }
}
