//! Behaviour of the SIP view.

mod properties;
mod uri;
mod values;

use super::*;

const INVITE: &[u8] = b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP bigbox3.site3.atlanta.example.com;branch=z9hG4bK77ef4c2312983.1\r\n\
    Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bKnashds8 ;received=192.0.2.1, \
    SIP/2.0/TCP [2001:db8::9]:5070;rport\r\n\
    Max-Forwards: 69\r\n\
    To: Bob <sip:bob@biloxi.example.com>\r\n\
    From: \"Alice \\\"A;<\\\" B\" <sip:alice@atlanta.example.com;x=1>;tag=1928301774\r\n\
    Call-ID: a84b4c76e66710\r\n\
    CSeq: 314159 INVITE\r\n\
    User-Agent: first\r\n second\r\n\
    user-agent: other\r\n\
    Content-Length: 4\r\n\
    \r\nbody";

fn view(message: &[u8]) -> SipView<'_> {
    SipView::parse(message).unwrap()
}

#[test]
fn a_request_line_is_taken_apart() {
    assert_eq!(
        view(INVITE).start_line(),
        StartLine::Request {
            method: b"INVITE",
            uri: b"sip:bob@biloxi.example.com",
            version: b"SIP/2.0",
        }
    );
    assert!(view(INVITE).is_request());
    assert_eq!(view(INVITE).method(), Some(&b"INVITE"[..]));
    assert_eq!(view(INVITE).status(), None);
}

#[test]
fn a_status_line_is_taken_apart() {
    let reply = view(b"SIP/2.0 404 Not Here\r\n\r\n");
    assert!(!reply.is_request());
    assert_eq!(reply.status(), Some(404));
    assert_eq!(reply.reason(), Some(&b"Not Here"[..]));
    assert_eq!(reply.method(), None);
    assert_eq!(reply.request_uri(), None);
}

#[test]
fn a_reason_phrase_may_be_empty_missing_or_utf8() {
    assert_eq!(view(b"SIP/2.0 200 \r\n").reason(), Some(&b""[..]));
    assert_eq!(view(b"SIP/2.0 200\r\n").reason(), Some(&b""[..]));
    let text = "SIP/2.0 486 Occupé\r\n".as_bytes();
    assert_eq!(view(text).reason(), Some("Occupé".as_bytes()));
}

#[test]
fn sloppy_start_lines_that_kamailio_takes_are_taken() {
    for line in [
        &b"\r\n\r\nOPTIONS sip:a SIP/2.0\r\n\r\n"[..],
        b"\nOPTIONS sip:a SIP/2.0\n\n",
        b"OPTIONS sip:a   SIP/2.0\r\n",
        b"OPTIONS sip:a sip/2.0 \t\r\n",
    ] {
        assert_eq!(view(line).request_uri(), Some(&b"sip:a"[..]), "{line:?}");
    }
    assert_eq!(view(b"sip/2.0 100 Trying\r\n").status(), Some(100));
}

#[test]
fn what_is_not_sip_is_refused_with_the_reason() {
    for (bytes, reason) in [
        (&b""[..], NotSip::Empty),
        (b"\r\n\r\n", NotSip::Empty),
        (b"\0\0\0\0", NotSip::Method),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03\n\n", NotSip::Method),
        (b"(OPTIONS) sip:a SIP/2.0\r\n", NotSip::Method),
        (b" OPTIONS sip:a SIP/2.0\r\n", NotSip::Method),
        (b"OPTIONS\tsip:a SIP/2.0\r\n", NotSip::Method),
        (b"OPTIONS", NotSip::NoLineEnd),
        (b"OPTIONS sip:a SIP/2.0", NotSip::NoLineEnd),
        (b"OPTIONS sip:a SIP/2.0\r", NotSip::NoLineEnd),
        (b"OPTIONS  sip:a SIP/2.0\r\n", NotSip::RequestUri),
        (b"OPTIONS sip:\x01a SIP/2.0\r\n", NotSip::RequestUri),
        (b"OPTIONS\r\n", NotSip::Method),
        (b"OPTIONS sip:a\r\n", NotSip::Version),
        (b"OPTIONS sip:a SIP/3.0\r\n", NotSip::Version),
        (b"OPTIONS sip:a b SIP/2.0\r\n", NotSip::Version),
        (b"GET / HTTP/1.1\r\n", NotSip::Version),
        (b"SIP/1.0 200 OK\r\n", NotSip::Method),
        (b"SIP/2.0\r\n", NotSip::Status),
        (b"SIP/2.0 20 OK\r\n", NotSip::Status),
        (b"SIP/2.0 099 OK\r\n", NotSip::Status),
        (b"SIP/2.0 700 OK\r\n", NotSip::Status),
        (b"SIP/2.0 +20 OK\r\n", NotSip::Status),
        (b"SIP/2.0 4294967301 better not break\r\n", NotSip::Status),
        (b"SIP/2.0 200 \0\x01\r\n", NotSip::Reason),
    ] {
        assert_eq!(SipView::parse(bytes).unwrap_err(), reason, "{bytes:?}");
    }
}

#[test]
fn a_method_named_like_the_protocol_is_a_method() {
    assert_eq!(view(b"SIP sip:a SIP/2.0\r\n").method(), Some(&b"SIP"[..]));
}

#[test]
fn headers_of_one_name_come_in_order_whatever_their_form() {
    let message = b"OPTIONS sip:a SIP/2.0\r\n\
        m: one\r\nCONTACT :\ttwo\r\nContacts: no\r\nContact\t : three \r\n\r\nContact: body";
    for name in [&b"Contact"[..], b"contact", b"m", b"M"] {
        let values: Vec<_> = view(message).headers_named(name).map(|h| h.value).collect();
        assert_eq!(values, [&b"one"[..], b"two", b"three"]);
    }
    assert!(view(message).header(b"Route").is_none());
}

#[test]
fn a_folded_value_is_one_value_and_its_field_ends_after_the_fold() {
    let agent = view(INVITE).header(b"User-Agent").unwrap();
    assert_eq!(agent.value, b"first\r\n second");
    assert_eq!(agent.raw, b"User-Agent: first\r\n second\r\n");
    assert_eq!(view(INVITE).user_agent(), Some(&b"first\r\n second"[..]));
}

#[test]
fn the_fields_of_all_headers_are_the_header_section() {
    let raw: Vec<u8> = view(INVITE)
        .headers()
        .flat_map(|h| h.raw.to_vec())
        .collect();
    let start = memchr::memchr(b'\n', INVITE).unwrap() + 1;
    assert_eq!(raw, INVITE[start..INVITE.len() - b"\r\nbody".len()]);
}

#[test]
fn lines_that_are_no_headers_are_skipped() {
    let message = b"OPTIONS sip:a SIP/2.0\r\nno colon\r\n: no name\r\n\xff: x\r\nCall-ID: 7\r\n";
    assert_eq!(view(message).headers().count(), 1);
    assert_eq!(view(message).call_id(), Some(&b"7"[..]));
}

#[test]
fn known_headers_are_found_by_full_and_compact_name() {
    let full = view(INVITE);
    assert_eq!(full.call_id(), Some(&b"a84b4c76e66710"[..]));
    assert_eq!(full.content_length(), Some(4));
    assert_eq!(full.from().unwrap().tag(), Some(&b"1928301774"[..]));
    assert_eq!(full.to().unwrap().tag(), None);
    let compact = view(
        b"OPTIONS sip:a SIP/2.0\nV: SIP/2.0/UDP h\nf: <sip:f>\nT:sip:t\nI: id\nl: 0\ncSEQ: 1 A\n\n",
    );
    assert_eq!(compact.call_id(), Some(&b"id"[..]));
    assert_eq!(compact.content_length(), Some(0));
    assert_eq!(compact.from().unwrap().uri, b"sip:f");
    assert_eq!(compact.to().unwrap().uri, b"sip:t");
    assert_eq!(compact.top_via().unwrap().host, b"h");
    assert_eq!(compact.cseq().unwrap().number, 1);
}

#[test]
fn the_first_of_several_single_headers_counts() {
    let message = b"OPTIONS sip:a SIP/2.0\r\nCall-ID:\r\nCall-ID: 2\r\n\r\n";
    assert_eq!(view(message).call_id(), Some(&b""[..]));
}

#[test]
fn absent_headers_are_none() {
    let bare = view(b"OPTIONS sip:a SIP/2.0\r\n\r\n");
    assert_eq!(bare.call_id(), None);
    assert_eq!(bare.cseq(), None);
    assert_eq!(bare.user_agent(), None);
    assert_eq!(bare.content_length(), None);
    assert!(bare.from().is_none() && bare.to().is_none() && bare.top_via().is_none());
    assert_eq!(bare.vias().count(), 0);
    assert_eq!(bare.body(), b"");
}

#[test]
fn the_body_is_what_follows_the_empty_line() {
    assert_eq!(view(INVITE).body(), b"body");
    assert_eq!(view(b"A b SIP/2.0\n\n\nx").body(), b"\nx");
    assert_eq!(view(b"A b SIP/2.0\r\nX: y\r\n").body(), b"");
    assert_eq!(view(b"A b SIP/2.0\r\nX: y").body(), b"");
}

#[test]
fn the_message_is_given_back_with_its_leading_line_breaks() {
    let message = b"\r\nOPTIONS sip:a SIP/2.0\r\n\r\n";
    assert_eq!(view(message).message(), message);
}

#[test]
fn transports_have_the_names_of_rfc_3261() {
    for t in Transport::ALL {
        assert_eq!(Transport::parse(t.as_str()), Some(t));
        assert_eq!(Transport::parse(t.as_via()), Some(t));
        assert_eq!(t.to_string(), t.as_via().to_ascii_lowercase());
    }
    assert_eq!(Transport::parse("ws"), None);
    assert_eq!(Transport::parse(""), None);
    assert_eq!(Transport::Tls.default_port(), 5061);
    assert_eq!(Transport::Udp.default_port(), 5060);
}
