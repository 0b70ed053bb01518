//! Properties over generated messages.

use proptest::prelude::*;

use crate::*;

fn within(whole: &[u8], part: &[u8]) -> bool {
    let (whole, range) = (whole.as_ptr_range(), part.as_ptr_range());
    part.is_empty() || whole.start <= range.start && range.end <= whole.end
}

/// Asks everything; every answer must lie in the message.
fn ask_all(message: &[u8]) -> Result<(), TestCaseError> {
    let Ok(view) = SipView::parse(message) else {
        return Ok(());
    };
    let check = |part: &[u8]| {
        prop_assert!(within(message, part));
        Ok(())
    };
    match view.start_line() {
        StartLine::Request {
            method,
            uri,
            version,
        } => {
            check(method)?;
            check(uri)?;
            check(version)?;
            ask_uri(uri)?;
        }
        StartLine::Reply {
            version, reason, ..
        } => {
            check(version)?;
            check(reason)?;
        }
    }
    let mut end = 0;
    for header in view.headers() {
        check(header.raw)?;
        prop_assert!(within(header.raw, header.name) && within(header.raw, header.value));
        let at = header.raw.as_ptr() as usize - message.as_ptr() as usize;
        prop_assert!(at >= end, "fields do not overlap");
        end = at + header.raw.len();
        prop_assert_eq!(view.header(header.name).unwrap().is(header.name), true);
        if let Some(address) = NameAddr::parse(header.value) {
            check(address.display)?;
            check(address.uri)?;
            check(address.tag().unwrap_or_default())?;
            ask_uri(address.uri)?;
        }
    }
    let names = view.headers().map(|header| header.name);
    let known: [&[u8]; 10] = [
        b"Via",
        b"v",
        b"from",
        b"To",
        b"i",
        b"CSeq",
        b"User-Agent",
        b"Content-Length",
        b"MAX-FORWARDS",
        b"Route",
    ];
    for name in names.chain(known) {
        let expected: Vec<_> = view.headers().filter(|header| header.is(name)).collect();
        prop_assert_eq!(view.header(name), expected.first().copied());
        prop_assert_eq!(view.headers_named(name).collect::<Vec<_>>(), expected);
    }
    let whole = view
        .headers()
        .filter(|header| header.raw.ends_with(b"\n"))
        .last();
    let behind = |header: Header<'_>| {
        header.raw.as_ptr().addr() - message.as_ptr().addr() + header.raw.len()
    };
    let start = view.headers().offset();
    prop_assert_eq!(view.end_of_headers(), whole.map_or(start, behind));
    check(view.body())?;
    prop_assert!(end + view.body().len() <= message.len());
    check(view.call_id().unwrap_or_default())?;
    check(view.user_agent().unwrap_or_default())?;
    check(view.cseq().map(|c| c.method).unwrap_or_default())?;
    let _ = (view.content_length(), view.from(), view.to());
    for via in view.vias().chain([view.top_via()]).flatten() {
        check(via.text)?;
        check(via.host)?;
        check(via.branch().unwrap_or_default())?;
        check(via.received().unwrap_or_default())?;
        let _ = (via.rport(), via.transport(), via.host_ip());
    }
    Ok(())
}

fn ask_uri(text: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(uri) = Uri::parse(text) {
        for part in [
            uri.host,
            uri.user.unwrap_or_default(),
            uri.password.unwrap_or_default(),
            uri.params.as_bytes(),
            uri.headers,
            uri.transport_param().unwrap_or_default(),
        ] {
            prop_assert!(within(text, part));
        }
        prop_assert!(uri.scheme == Scheme::Tel || !uri.host.is_empty());
        let _ = (uri.host_ip(), uri.transport());
    }
    Ok(())
}

/// Pieces that parsers stumble over, and arbitrary bytes between them.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"=",
        b"\"",
        b"\\",
        b"<",
        b">",
        b"@",
        b"[",
        b"]",
        b"[::1]",
        b"Via:",
        b"v:",
        b"SIP/2.0/UDP ",
        b"host",
        b"From:",
        b"sip:",
        b"tel:",
        b"tag",
        b"CSeq: 1 A",
        b"l:",
        b"99999999999",
        b";rport=",
        b"\xff",
        b"\0",
        b"?",
    ];
    let piece = prop_oneof![
        4 => proptest::sample::select(PIECES).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        ask_all(&message)?;
    }

    #[test]
    fn arbitrary_headers_never_panic_and_answers_are_subslices(rest in fragments()) {
        ask_all(&[b"OPTIONS sip:a SIP/2.0\r\n", &rest[..]].concat())?;
        ask_all(&[b"SIP/2.0 200 OK\r\n", &rest[..]].concat())?;
        ask_uri(&[b"sip:", &rest[..]].concat())?;
        ask_uri(&rest)?;
    }

    #[test]
    fn arbitrary_start_lines_never_panic(line in fragments()) {
        ask_all(&line)?;
        ask_all(&[&line[..], b" SIP/2.0\r\n\r\n"].concat())?;
    }

    #[test]
    fn binary_data_with_a_control_character_up_front_is_never_sip(
        first in (0u8..0x20).prop_filter("line breaks", |b| !b"\r\n".contains(b)),
        rest in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        prop_assert!(SipView::parse(&[&[first][..], &rest].concat()).is_err());
    }

    #[test]
    fn what_is_put_in_comes_out(
        method in token(),
        user in "[a-z0-9;?/&]{1,9}",
        host in "[a-z0-9_-]{1,8}(\\.[a-z0-9]{1,8}){0,3}",
        port in any::<Option<u16>>(),
        tag in token(),
        headers in proptest::collection::vec((token(), "[!-~]([ -~]{0,20}[!-~])?"), 0..8),
        body in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let port_text = port.map(|p| format!(":{p}")).unwrap_or_default();
        let uri = format!("sip:{user}@{host}{port_text};transport=tls");
        let mut message = format!(
            "{method} {uri} SIP/2.0\r\nFrom: <{uri}>;tag={tag}\r\nVia: SIP/2.0/TLS {host}{port_text}\r\n"
        ).into_bytes();
        for (name, value) in &headers {
            message.extend_from_slice(format!("X{name}: {value}\r\n").as_bytes());
        }
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(&body);

        let view = SipView::parse(&message).unwrap();
        prop_assert_eq!(view.method(), Some(method.as_bytes()));
        prop_assert_eq!(view.from().unwrap().tag(), Some(tag.as_bytes()));
        prop_assert_eq!(view.from().unwrap().uri, uri.as_bytes());
        prop_assert_eq!(view.body(), &body[..]);
        let found: Vec<_> = view.headers().skip(2).map(|h| (h.name, h.value)).collect();
        let names: Vec<_> = headers.iter().map(|(n, _)| format!("X{n}")).collect();
        let expected: Vec<_> = names.iter().zip(&headers)
            .map(|(n, (_, v))| (n.as_bytes(), v.as_bytes())).collect();
        prop_assert_eq!(found, expected);
        let uri = Uri::parse(view.request_uri().unwrap()).unwrap();
        prop_assert_eq!(uri.user, Some(user.as_bytes()));
        prop_assert_eq!(uri.host, host.as_bytes());
        prop_assert_eq!(uri.port, port);
        prop_assert_eq!(uri.transport(), Some(Transport::Tls));
        let via = view.top_via().unwrap();
        prop_assert_eq!((via.host, via.port), (host.as_bytes(), port));
    }
}
