//! Header values: CSeq, addresses, parameters, Via.

use super::{INVITE, view};
use crate::*;

fn with_header(header: &str) -> Vec<u8> {
    format!("OPTIONS sip:a SIP/2.0\r\n{header}\r\n\r\n").into_bytes()
}

#[test]
fn cseq_is_a_number_and_a_method() {
    let cseq = view(INVITE).cseq().unwrap();
    assert_eq!((cseq.number, cseq.method), (314_159, &b"INVITE"[..]));
    let folded = with_header("CSeq: 0009\r\n  INVITE");
    assert_eq!(view(&folded).cseq().unwrap().number, 9);
}

#[test]
fn malformed_cseq_is_none() {
    for value in [
        "",
        "1",
        "INVITE",
        "x INVITE",
        "-1 INVITE",
        "4294967296 INVITE",
        "1 A B",
        "1 (A",
    ] {
        assert_eq!(
            view(&with_header(&format!("CSeq: {value}"))).cseq(),
            None,
            "{value}"
        );
    }
}

#[test]
fn malformed_content_length_is_none() {
    for value in ["", "-1", "1x", "4294967296", "1 1"] {
        let message = with_header(&format!("Content-Length: {value}"));
        assert_eq!(view(&message).content_length(), None, "{value}");
    }
}

#[test]
fn a_name_addr_has_display_name_uri_and_the_headers_parameters() {
    let from = view(INVITE).from().unwrap();
    assert_eq!(from.display, b"\"Alice \\\"A;<\\\" B\"");
    assert_eq!(from.uri, b"sip:alice@atlanta.example.com;x=1");
    assert_eq!(from.tag(), Some(&b"1928301774"[..]));
    let to = view(INVITE).to().unwrap();
    assert_eq!(
        (to.display, to.uri),
        (&b"Bob"[..], &b"sip:bob@biloxi.example.com"[..])
    );
}

#[test]
fn without_angle_brackets_parameters_belong_to_the_header() {
    let from = NameAddr::parse(b"sip:a@b.example ; tag = 7;x=\"<;tag=8>\"").unwrap();
    assert_eq!(from.uri, b"sip:a@b.example");
    assert_eq!(from.display, b"");
    assert_eq!(from.tag(), Some(&b"7"[..]));
    assert_eq!(from.params.value(b"X"), Some(&b"<;tag=8>"[..]));
}

#[test]
fn addresses_without_a_uri_are_none() {
    for value in [
        "",
        "<>",
        "<sip:a",
        ";tag=1",
        "\"Bob\"",
        "Bob sip:a",
        "\"<sip:a>",
        "<sip:a b>",
    ] {
        assert!(NameAddr::parse(value.as_bytes()).is_none(), "{value}");
    }
}

#[test]
fn parameters_are_found_without_regard_to_case_and_quotes_hide_separators() {
    let params = Params::new(b";a; B = \"x;c=1\" ;;c=;d==e; =f");
    let list: Vec<_> = params.into_iter().map(|p| (p.name, p.value)).collect();
    assert_eq!(
        list,
        [
            (&b"a"[..], None),
            (b"B", Some(&b"\"x;c=1\""[..])),
            (b"c", Some(b"")),
            (b"d", Some(b"=e")),
        ]
    );
    assert_eq!(params.value(b"b"), Some(&b"x;c=1"[..]));
    assert_eq!(params.get(b"A").unwrap().unquoted(), b"");
    assert_eq!(params.value(b"a"), None);
    assert!(params.get(b"f").is_none());
}

#[test]
fn the_top_via_is_the_first_of_the_first_header() {
    let via = view(INVITE).top_via().unwrap();
    assert_eq!(via.host, b"bigbox3.site3.atlanta.example.com");
    assert_eq!(via.port, None);
    assert_eq!(via.transport(), Some(Transport::Udp));
    assert_eq!(via.branch(), Some(&b"z9hG4bK77ef4c2312983.1"[..]));
    assert_eq!(via.rport(), None);
    assert_eq!(via.received(), None);
}

#[test]
fn vias_run_over_headers_and_commas() {
    let message = view(INVITE);
    let vias: Vec<_> = message.vias().map(Option::unwrap).collect();
    assert_eq!(vias.len(), 3);
    assert_eq!(vias[1].received(), Some(&b"192.0.2.1"[..]));
    assert_eq!(vias[1].branch(), Some(&b"z9hG4bKnashds8"[..]));
    assert_eq!(vias[2].text, b"SIP/2.0/TCP [2001:db8::9]:5070;rport");
    assert_eq!(vias[2].host, b"[2001:db8::9]");
    assert_eq!(vias[2].host_ip(), Some("2001:db8::9".parse().unwrap()));
    assert_eq!(vias[2].port, Some(5070));
    assert_eq!(vias[2].rport(), Some(Rport::Requested));
}

#[test]
fn via_allows_the_white_space_of_rfc_3261() {
    let via = Via::parse(
        b"SIP / 2.0 / UDP first.example.com: 4000;ttl=16\r\n ;maddr=224.2.0.1 ;rport = 9 ;branch=z9hG4bKa7c6a8dlze.1",
    )
    .unwrap();
    assert_eq!(via.transport_name, b"UDP");
    assert_eq!(via.host, b"first.example.com");
    assert_eq!(via.port, Some(4000));
    assert_eq!(via.params.value(b"maddr"), Some(&b"224.2.0.1"[..]));
    assert_eq!(via.rport(), Some(Rport::Port(9)));
    assert_eq!(via.branch(), Some(&b"z9hG4bKa7c6a8dlze.1"[..]));
}

#[test]
fn a_transport_that_we_do_not_know_keeps_its_name() {
    let via = Via::parse(b"SIP/2.0/WS host").unwrap();
    assert_eq!((via.transport(), via.transport_name), (None, &b"WS"[..]));
}

#[test]
fn an_empty_via_field_is_a_malformed_via() {
    let message = b"SIP/2.0 200 OK\r\nVia: \r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\r\n";
    let view = SipView::parse(message).unwrap();
    let vias: Vec<bool> = view.vias().map(|via| via.is_some()).collect();
    assert_eq!(vias, [false, true]);
    assert!(view.top_via().is_none());
}

#[test]
fn malformed_vias_are_none_and_do_not_hide_the_next() {
    for value in [
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.0/ host",
        "SIP/2.0/UDP\u{1}host",
        "SIP/2.0 host",
        "SIP/1.0/UDP host",
        "HTTP/2.0/UDP host",
        "SIP/2.0/UDP host:",
        "SIP/2.0/UDP host:70000",
        "SIP/2.0/UDP [::1",
        "SIP/2.0/UDP [host]",
        "SIP/2.0/UDP host other",
    ] {
        assert!(Via::parse(value.as_bytes()).is_none(), "{value}");
    }
    let message = with_header("Via: nonsense, SIP/2.0/UDP good\r\nVia: ,");
    let vias: Vec<_> = view(&message).vias().map(|v| v.map(|v| v.host)).collect();
    assert_eq!(vias, [None, Some(&b"good"[..]), None]);
    assert!(view(&message).top_via().is_none());
}

#[test]
fn an_rport_that_is_no_port_is_none() {
    let via = Via::parse(b"SIP/2.0/UDP h;rport=70000").unwrap();
    assert_eq!(via.rport(), None);
    let via = Via::parse(b"SIP/2.0/UDP h;rport=").unwrap();
    assert_eq!(via.rport(), Some(Rport::Requested));
}

#[test]
fn an_empty_header_value_lies_in_front_of_its_line_break() {
    let text = b"OPTIONS sip:a SIP/2.0\r\nSubject: \r\nX-A: 1\r\n\r\n";
    let view = SipView::parse(text).unwrap();
    let value = view.header(b"Subject").unwrap().value;
    let at = value.as_ptr().addr() - text.as_ptr().addr();
    assert_eq!(
        (value, &text[..at]),
        (&b""[..], &b"OPTIONS sip:a SIP/2.0\r\nSubject:"[..])
    );
}

#[test]
fn a_header_with_several_values_is_divided_at_its_commas() {
    let all: Vec<&[u8]> =
        crate::values(b"\"a, b\" <sip:a,b@c;x=1>;q=0.5, <sip:d@e> ,sip:f@g").collect();
    let expected: [&[u8]; 3] = [b"\"a, b\" <sip:a,b@c;x=1>;q=0.5", b"<sip:d@e>", b"sip:f@g"];
    assert_eq!(all, expected);
    assert_eq!(crate::values(b"").count(), 1);
    assert_eq!(crate::values(b"<sip:open, x").count(), 1);
}
