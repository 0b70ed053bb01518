//! `{uri.*}`: parts of SIP, SIPS, TEL and URN URIs.

use super::call::Call;
use super::param::{self, List};
use super::{Error, Output};
use corex_sip::{Scheme, Uri};

type Result = std::result::Result<Output, Error>;

/// What a URI has that a script may ask for; what is missing is empty.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub scheme: &'a [u8],
    pub user: &'a [u8],
    pub password: &'a [u8],
    pub host: &'a [u8],
    /// As written.
    pub port: &'a [u8],
    pub port_number: u16,
    /// Without the semicolon before the first.
    pub params: &'a [u8],
    pub headers: &'a [u8],
}

impl<'a> Parts<'a> {
    pub fn parse(text: &'a [u8]) -> Option<Parts<'a>> {
        let (scheme, rest) = cut(text, b':')?;
        if scheme.eq_ignore_ascii_case(b"urn") {
            return Self::urn(scheme, rest);
        }
        let uri = Uri::parse(text).ok()?;
        let params = uri.params.as_bytes();
        let mut parts = Parts {
            scheme,
            user: uri.user.unwrap_or_default(),
            password: uri.password.unwrap_or_default(),
            host: uri.host,
            port: &[],
            port_number: uri.port.unwrap_or(0),
            // Kamailio keeps those of a tel URI to itself.
            params: match uri.scheme {
                Scheme::Tel => &[],
                Scheme::Sip | Scheme::Sips => params.strip_prefix(b";").unwrap_or(params),
            },
            headers: uri.headers,
        };
        if uri.port.is_some() {
            let from = uri
                .user
                .map_or(rest, |_| cut(rest, b'@').unwrap_or_default().1);
            let after = from.get(uri.host.len() + 1..).unwrap_or_default();
            let digits = after.iter().take_while(|byte| byte.is_ascii_digit());
            parts.port = after.get(..digits.count()).unwrap_or_default();
        }
        Some(parts)
    }

    /// `urn:service:sos` (RFC 5031): the namespace as the user, the rest as the host, as Kamailio
    /// has it.
    fn urn(scheme: &'a [u8], rest: &'a [u8]) -> Option<Parts<'a>> {
        let (user, host) = cut(rest, b':')?;
        (!user.is_empty() && !host.is_empty()).then_some(Parts {
            scheme,
            user,
            password: &[],
            host,
            port: &[],
            port_number: 0,
            params: &[],
            headers: &[],
        })
    }

    /// The value of a parameter; empty where it isn't there or has none.
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        if self.params.is_empty() {
            return Some(&[]);
        }
        let list = List::parse(self.params, b';')?;
        Some(param::find(list, name).unwrap_or_default())
    }

    fn transport(&self) -> &'a [u8] {
        self.param(b"transport").unwrap_or_default()
    }
}

/// Splits at the first `sign`, which is left out.
pub(super) fn cut(text: &[u8], sign: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(sign, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Names of transports and the number that Kamailio has for each, as `urialias` uses it.
pub(super) const TRANSPORTS: [(&[u8], u8); 5] = [
    (b"udp", b'1'),
    (b"tcp", b'2'),
    (b"tls", b'3'),
    (b"sctp", b'4'),
    (b"ws", b'5'),
];

/// The transport in lower case and its number.
pub(super) fn transport(name: &[u8]) -> Option<(&'static [u8], u8)> {
    TRANSPORTS
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
}

fn part<'a>(call: &mut Call<'a>, choose: impl Fn(&Parts<'a>) -> Option<&'a [u8]>) -> Result {
    let part = Parts::parse(call.text).and_then(|parts| choose(&parts));
    Ok(part.map_or(Output::Null, |part| call.part(part)))
}

pub(super) fn scheme(call: &mut Call<'_>) -> Result {
    part(call, |parts| Some(parts.scheme))
}

pub(super) fn user(call: &mut Call<'_>) -> Result {
    part(call, |parts| Some(parts.user))
}

pub(super) fn password(call: &mut Call<'_>) -> Result {
    part(call, |parts| Some(parts.password))
}

pub(super) fn host(call: &mut Call<'_>) -> Result {
    part(call, |parts| Some(parts.host))
}

/// 0 where none is written.
pub(super) fn port(call: &mut Call<'_>) -> Result {
    Ok(Parts::parse(call.text).map_or(Output::Null, |parts| Output::Int(parts.port_number.into())))
}

pub(super) fn params(call: &mut Call<'_>) -> Result {
    part(call, |parts| Some(parts.params))
}

pub(super) fn headers(call: &mut Call<'_>) -> Result {
    part(call, |parts| Some(parts.headers))
}

pub(super) fn param(call: &mut Call<'_>) -> Result {
    let name = call.argument(0)?;
    part(call, |parts| parts.param(name.bytes()))
}

pub(super) fn transport_param(call: &mut Call<'_>) -> Result {
    part(call, |parts| parts.param(b"transport"))
}

pub(super) fn ttl(call: &mut Call<'_>) -> Result {
    part(call, |parts| parts.param(b"ttl"))
}

pub(super) fn user_param(call: &mut Call<'_>) -> Result {
    part(call, |parts| parts.param(b"user"))
}

pub(super) fn maddr(call: &mut Call<'_>) -> Result {
    part(call, |parts| parts.param(b"maddr"))
}

pub(super) fn method(call: &mut Call<'_>) -> Result {
    part(call, |parts| parts.param(b"method"))
}

pub(super) fn lr(call: &mut Call<'_>) -> Result {
    part(call, |parts| parts.param(b"lr"))
}

pub(super) fn r2(call: &mut Call<'_>) -> Result {
    part(call, |parts| parts.param(b"r2"))
}

/// Empty unless the URI names host, port and a known transport.
pub(super) fn tosocket(call: &mut Call<'_>) -> Result {
    let Some(parts) = Parts::parse(call.text) else {
        return Ok(Output::Null);
    };
    let named = transport(parts.transport());
    if let Some((name, _)) = named.filter(|_| !parts.host.is_empty() && parts.port_number != 0) {
        for piece in [name, b":", parts.host, b":", parts.port] {
            call.out.push(piece)?;
        }
    }
    Ok(Output::Appended)
}

/// Kamailio 5.6.3 writes a byte of other memory after the scheme of these three; this is what it
/// documents.
fn simple(call: &mut Call<'_>, with_user: bool, with_route: bool) -> Result {
    let Some(parts) = Parts::parse(call.text) else {
        return Ok(Output::Null);
    };
    call.out.push(parts.scheme)?;
    call.out.byte(b':')?;
    if with_user && !parts.user.is_empty() {
        call.out.push(parts.user)?;
        if !parts.host.is_empty() {
            call.out.byte(b'@')?;
        }
    }
    call.out.push(parts.host)?;
    if with_route {
        let transport = parts.transport();
        for (lead, text) in [(&b":"[..], parts.port), (b";transport=", transport)] {
            if !text.is_empty() {
                call.out.push(lead)?;
                call.out.push(text)?;
            }
        }
    }
    Ok(Output::Appended)
}

pub(super) fn duri(call: &mut Call<'_>) -> Result {
    simple(call, false, true)
}

pub(super) fn saor(call: &mut Call<'_>) -> Result {
    simple(call, true, false)
}

pub(super) fn suri(call: &mut Call<'_>) -> Result {
    simple(call, true, true)
}

/// `host~port~transport` as Kamailio's nathelper puts it into `;alias=`.
pub(super) fn alias_encode(call: &mut Call<'_>) -> Result {
    if call.text.is_empty() {
        return Ok(Output::Null);
    }
    let Some(parts) = Parts::parse(call.text).filter(|parts| !parts.host.is_empty()) else {
        return Ok(Output::Part(0..0));
    };
    let port: &[u8] = match parts.port {
        [] => b"5060",
        port => port,
    };
    let number = transport(parts.transport()).map_or(b'1', |(_, number)| number);
    for piece in [parts.host, b"~", port, b"~", &[number]] {
        call.out.push(piece)?;
    }
    Ok(Output::Appended)
}

/// The reverse. Without two `~` it is `$null`, where Kamailio 5.6.3 yields a string without end;
/// with a transport that nobody knows it is empty.
pub(super) fn alias_decode(call: &mut Call<'_>) -> Result {
    let fields = cut(call.text, b'~').and_then(|(host, rest)| Some((host, cut(rest, b'~')?)));
    let Some((host, (port, protocol))) = fields else {
        return Ok(Output::Null);
    };
    let name: &[u8] = match protocol.first() {
        Some(b'0' | b'1') => b"",
        // Kamailio has a number for WebSocket over TLS as well, and names it like the other.
        Some(b'6') => b"ws",
        Some(byte) => match TRANSPORTS.iter().find(|(_, number)| number == byte) {
            Some((name, _)) => name,
            None => return Ok(Output::Part(0..0)),
        },
        None => return Ok(Output::Part(0..0)),
    };
    for piece in [b"sip:", host, b":", port] {
        call.out.push(piece)?;
    }
    if !name.is_empty() {
        call.out.push(b";transport=")?;
        call.out.push(name)?;
    }
    Ok(Output::Appended)
}
