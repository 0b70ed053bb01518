//! URIs.

use crate::*;

fn parse(text: &str) -> Uri<'_> {
    Uri::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_full_sip_uri_is_taken_apart() {
    let uri = parse("sip:alice:secret@example.com:5070;transport=TCP;lr?Subject=x&y=z");
    assert_eq!(uri.scheme, Scheme::Sip);
    assert_eq!(uri.user, Some(&b"alice"[..]));
    assert_eq!(uri.password, Some(&b"secret"[..]));
    assert_eq!(uri.host, b"example.com");
    assert_eq!(uri.port, Some(5070));
    assert_eq!(uri.params.as_bytes(), b";transport=TCP;lr");
    assert_eq!(uri.transport(), Some(Transport::Tcp));
    assert!(uri.params.get(b"LR").is_some());
    assert_eq!(uri.headers, b"Subject=x&y=z");
}

#[test]
fn a_bare_host_has_nothing_else() {
    let uri = parse("SIPS:example.com");
    assert_eq!(uri.scheme, Scheme::Sips);
    assert_eq!((uri.user, uri.password, uri.port), (None, None, None));
    assert_eq!(uri.host, b"example.com");
    assert_eq!(uri.transport(), None);
    assert_eq!(uri.host_ip(), None);
    assert!(uri.headers.is_empty());
}

#[test]
fn ip_literals_are_recognised_by_value() {
    assert_eq!(parse("sip:10.0.0.1").host_ip(), Some([10, 0, 0, 1].into()));
    let uri = parse("sip:a@[2001:DB8::0:1]:5062;x");
    assert_eq!(uri.host, b"[2001:DB8::0:1]");
    assert_eq!(uri.host_ip(), Some("2001:db8::1".parse().unwrap()));
    assert_eq!(uri.port, Some(5062));
    assert_eq!(parse("sip:10.0.0.300").host_ip(), None);
}

#[test]
fn characters_of_parameters_may_be_in_the_user_part() {
    let uri = parse("sip:+1;ext=5?a/b&c@gw.example.com");
    assert_eq!(uri.user, Some(&b"+1;ext=5?a/b&c"[..]));
    assert_eq!(uri.host, b"gw.example.com");
}

#[test]
fn headers_may_follow_the_host_directly() {
    let uri = parse("sip:example.com?to=x;y");
    assert_eq!(
        (uri.host, uri.headers),
        (&b"example.com"[..], &b"to=x;y"[..])
    );
    assert_eq!(uri.params.into_iter().count(), 0);
}

#[test]
fn a_tel_uri_has_its_number_as_user_and_no_host() {
    let uri = parse("tel:+358-555-1234567;phone-context=example.com");
    assert_eq!(uri.scheme, Scheme::Tel);
    assert_eq!(uri.user, Some(&b"+358-555-1234567"[..]));
    assert!(uri.host.is_empty());
    assert_eq!(
        uri.params.value(b"phone-context"),
        Some(&b"example.com"[..])
    );
}

#[test]
fn an_unknown_transport_is_seen_but_not_taken_for_a_known_one() {
    let uri = parse("sip:a;transport=ws");
    assert_eq!(uri.transport_param(), Some(&b"ws"[..]));
    assert_eq!(uri.transport(), None);
}

#[test]
fn malformed_uris_are_refused_with_the_reason() {
    for (text, error) in [
        ("", UriError::Scheme),
        ("example.com", UriError::Scheme),
        ("http://example.com", UriError::Scheme),
        ("urn:service:sos", UriError::Scheme),
        ("sip:", UriError::Host),
        ("sip:@host", UriError::User),
        ("sip::pw@host", UriError::User),
        ("sip:user@", UriError::Host),
        ("sip:user@;x", UriError::Host),
        ("sip:a@b@c", UriError::Host),
        ("sip:[::1", UriError::Host),
        ("sip:[example.com]", UriError::Host),
        ("sip:[::1]x", UriError::Host),
        ("sip:host/path", UriError::Host),
        ("sip:host:", UriError::Port),
        ("sip:host:0x1", UriError::Port),
        ("sip:host:+1", UriError::Port),
        ("sip:host:65536", UriError::Port),
        ("sip:host name", UriError::Character),
        ("<sip:host>", UriError::Character),
        ("sip:host\r\n", UriError::Character),
        ("tel:", UriError::User),
        ("tel:;x", UriError::User),
    ] {
        assert_eq!(Uri::parse(text.as_bytes()).unwrap_err(), error, "{text}");
    }
}
