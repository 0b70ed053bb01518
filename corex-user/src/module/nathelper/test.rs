//! nat_uac_test(): signs of a NAT in between.

use std::net::{IpAddr, Ipv4Addr};

use super::contact::contact;
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};
use corex_sip::{Rport, SipView, Transport, Uri, host_ip};

const CONTACT_IS_PRIVATE: i64 = 1;
const SOURCE_IS_NOT_VIA: i64 = 2;
const VIA_IS_PRIVATE: i64 = 4;
const SDP_IS_PRIVATE: i64 = 8;
const PORT_IS_NOT_VIAS: i64 = 16;
const SOURCE_IS_PRIVATE: i64 = 32;
const PORT_IS_NOT_CONTACTS: i64 = 128;
const SDP_IS_NOT_SOURCE: i64 = 256;
const GOES_ELSEWHERE: i64 = 512;

pub(super) fn is_private(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let address = exec.arg_str(args, 0)?;
    let holds = is_private_host(exec.bytes(address), is_wide(exec));
    Ok(if holds { 1 } else { -1 })
}

fn is_wide(exec: &Exec<'_>) -> bool {
    exec.program.settings().nat.is_wide
}

fn is_private_host(host: &[u8], is_wide: bool) -> bool {
    matches!(host_ip(host), Some(IpAddr::V4(ip)) if is_private_ip(ip, is_wide))
}

/// RFC 1918, RFC 6598, RFC 7335 and, where `is_wide` says so, all of 192.0.0.0/24 (RFC 6890).
fn is_private_ip(ip: Ipv4Addr, is_wide: bool) -> bool {
    let shared = matches!(ip.octets(), [100, 64..=127, _, _]);
    let protocol = matches!(ip.octets(), [192, 0, 0, last] if is_wide || last < 8);
    ip.is_private() || shared || protocol
}

pub(super) fn nat_uac_test(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let flags = exec.arg_int(args, 0)?;
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    Ok(if holds(exec, view, flags) { 1 } else { -1 })
}

fn holds(exec: &Exec<'_>, view: &SipView<'_>, flags: i64) -> bool {
    let asked = |test: i64| flags & test != 0;
    let source = exec.env.src;
    let ip = source.ip().to_canonical();
    let via = view.top_via();
    let via = via.as_ref();
    let is_private = |host: &[u8]| is_private_host(host, is_wide(exec));
    let default = Transport::Udp.default_port();
    let contact = || contact(view).ok().map(|contact| contact.parsed);
    (asked(PORT_IS_NOT_VIAS) && via.is_some_and(|via| via.port.unwrap_or(default) != source.port()))
        || (asked(SOURCE_IS_NOT_VIA) && via.is_some_and(|via| via.host_ip() != Some(ip)))
        || (asked(CONTACT_IS_PRIVATE) && contact().is_some_and(|uri| is_private(uri.host)))
        || (asked(SDP_IS_PRIVATE) && media_hosts(view.body()).any(is_private))
        || (asked(VIA_IS_PRIVATE) && via.is_some_and(|via| is_private(via.host)))
        || (asked(SOURCE_IS_PRIVATE)
            && matches!(ip, IpAddr::V4(ip) if is_private_ip(ip, is_wide(exec))))
        || (asked(PORT_IS_NOT_CONTACTS)
            && contact().is_some_and(|uri| {
                uri.port.filter(|port| *port != 0).unwrap_or(default) != source.port()
            }))
        || (asked(SDP_IS_NOT_SOURCE) && session_host(view.body()).is_some_and(|host| host != ip))
        || (asked(GOES_ELSEWHERE) && goes_elsewhere(exec, view))
}

/// The lines of SDP (RFC 8866 §5), whatever ends them.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The address in `c=IN IP4 192.0.2.1/127`, or that of IPv6.
fn connection(line: &[u8]) -> Option<&[u8]> {
    let mut words = line.strip_prefix(b"c=")?.split(|byte| *byte == b' ');
    let (Some(b"IN"), Some(b"IP4" | b"IP6"), Some(host)) =
        (words.next(), words.next(), words.next())
    else {
        return None;
    };
    host.split(|byte| *byte == b'/').next()
}

/// The addresses that media go to: of each stream its own, else that of the session. None where a
/// stream is on hold (0.0.0.0).
fn media_hosts(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    // A session that has no stream names no address for any.
    let has_media = lines(body).any(|line| line.starts_with(b"m="));
    lines(body)
        .filter(move |_| has_media)
        .filter_map(connection)
        .filter(|host| *host != b"0.0.0.0")
}

/// The address of the session: in front of all streams.
fn session_host(body: &[u8]) -> Option<IpAddr> {
    let host = lines(body)
        .take_while(|line| !line.starts_with(b"m="))
        .find_map(connection)?;
    host_ip(host)
}

/// Whether a message goes somewhere else than its request URI, or the Via that it goes back by, says.
fn goes_elsewhere(exec: &Exec<'_>, view: &SipView<'_>) -> bool {
    let (told, told_port, real, real_port);
    if view.is_request() {
        let (Some(destination), Some(uri)) = (exec.changes.destination, exec.request_uri()) else {
            return false;
        };
        let parsed = (
            Uri::parse(exec.bytes(destination)),
            Uri::parse(exec.bytes(uri)),
        );
        let (Ok(destination), Ok(uri)) = parsed else {
            return false;
        };
        let port = |uri: &Uri<'_>| {
            let transport = uri.transport().unwrap_or(Transport::Udp);
            uri.port.unwrap_or(transport.default_port())
        };
        (told, told_port) = (uri.host, port(&uri));
        (real, real_port) = (destination.host, port(&destination));
    } else {
        let Some(Some(via)) = view.vias().nth(1) else {
            return false;
        };
        let transport = via.transport().unwrap_or(Transport::Udp);
        told_port = via.port.unwrap_or(transport.default_port());
        real_port = match via.rport() {
            Some(Rport::Port(port)) => port,
            _ => told_port,
        };
        told = via.host;
        real = via.received().unwrap_or(via.host);
    }
    if told_port != real_port {
        return true;
    }
    match (host_ip(told), host_ip(real)) {
        (None, None) => !told.eq_ignore_ascii_case(real),
        (told, real) => told != real,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_those_of_the_registries() {
        for (address, narrow, wide) in [
            ("10.0.0.1", true, true),
            ("172.15.0.1", false, false),
            ("172.31.255.255", true, true),
            ("192.168.1.1", true, true),
            ("100.63.0.1", false, false),
            ("100.64.0.1", true, true),
            ("100.127.255.255", true, true),
            ("192.0.0.7", true, true),
            ("192.0.0.8", false, true),
            ("192.0.2.1", false, false),
            ("8.8.8.8", false, false),
            ("fc00::1", false, false),
            ("example.com", false, false),
        ] {
            let host = address.as_bytes();
            assert_eq!(is_private_host(host, false), narrow, "{address}");
            assert_eq!(is_private_host(host, true), wide, "{address}");
        }
    }

    #[test]
    fn sdp_has_addresses_for_the_session_and_for_streams() {
        let body = b"v=0\r\nc=IN IP4 192.0.2.1/127\r\nm=audio 1 RTP/AVP 0\r\n\
                     c=IN IP6 2001:db8::1\r\nm=video 2 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n";
        let all: Vec<&[u8]> = media_hosts(body).collect();
        assert_eq!(all, [&b"192.0.2.1"[..], b"2001:db8::1"]);
        assert_eq!(session_host(body), host_ip(b"192.0.2.1"));
        assert_eq!(media_hosts(b"c=IN IP4 10.0.0.1\r\n").count(), 0);
        assert_eq!(session_host(b"m=audio 1\nc=IN IP4 192.0.2.1\n"), None);
    }
}
