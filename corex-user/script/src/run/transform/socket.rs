//! `{sock.*}`: addresses of sockets, `proto:host:port`; `{url.*}`.
//!
//! `{sock.*}` is documented for Kamailio 5.6, but its last releases don't know it: what these do
//! is what is documented.

use super::call::Call;
use super::uri::{cut, transport};
use super::{Error, Output};

type Result = std::result::Result<Output, Error>;

struct Socket<'a> {
    protocol: &'a [u8],
    host: &'a [u8],
    port: &'a [u8],
}

impl<'a> Socket<'a> {
    /// `[proto:]host[:port]`.
    fn parse(text: &'a [u8]) -> Option<Socket<'a>> {
        let (protocol, rest) = match cut(text, b':') {
            Some((protocol, rest)) if transport(protocol).is_some() => (protocol, rest),
            _ => (&text[..0], text),
        };
        let (host, port) = match rest {
            [b'[', ..] => rest.split_at(memchr::memchr(b']', rest)? + 1),
            _ => rest.split_at(memchr::memchr(b':', rest).unwrap_or(rest.len())),
        };
        let port = match port {
            [] => port,
            [b':', digits @ ..] => digits,
            _ => return None,
        };
        let is_number = port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
        (!host.is_empty() && is_number).then_some(Socket {
            protocol,
            host,
            port,
        })
    }
}

fn part<'a>(call: &mut Call<'a>, choose: impl Fn(&Socket<'a>) -> &'a [u8]) -> Result {
    Ok(Socket::parse(call.text).map_or(Output::Null, |socket| call.part(choose(&socket))))
}

pub(super) fn host(call: &mut Call<'_>) -> Result {
    part(call, |socket| socket.host)
}

pub(super) fn port(call: &mut Call<'_>) -> Result {
    part(call, |socket| socket.port)
}

pub(super) fn protocol(call: &mut Call<'_>) -> Result {
    part(call, |socket| socket.protocol)
}

pub(super) fn touri(call: &mut Call<'_>) -> Result {
    let Some(socket) = Socket::parse(call.text) else {
        return Ok(Output::Null);
    };
    call.out.push(b"sip:")?;
    call.out.push(socket.host)?;
    for (lead, text) in [(&b":"[..], socket.port), (b";transport=", socket.protocol)] {
        if !text.is_empty() {
            call.out.push(lead)?;
            call.out.push(text)?;
        }
    }
    Ok(Output::Appended)
}

pub(super) fn url_path(call: &mut Call<'_>) -> Result {
    let path = cut(call.text, b'?').map_or(call.text, |(path, _)| path);
    Ok(call.part(path))
}

pub(super) fn url_query(call: &mut Call<'_>) -> Result {
    let query = cut(call.text, b'?').map(|(_, query)| query);
    Ok(call.part(query.unwrap_or_default()))
}
