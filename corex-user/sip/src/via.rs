//! Via (RFC 3261 §20.42, RFC 3581).

use std::net::IpAddr;

use super::{Param, Params, Transport, lex};

/// One Via value.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// The whole value, without a comma and the white space around it.
    pub text: &'a [u8],
    /// The transport as written, `UDP` for example; [`Self::transport`] reads it.
    pub transport_name: &'a [u8],
    /// Host of sent-by; an IPv6 reference keeps its brackets.
    pub host: &'a [u8],
    /// Port of sent-by, where one is written.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params<'a>,
}

/// The `rport` parameter (RFC 3581).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rport {
    /// `;rport`: the client asks for the response at its source port.
    Requested,
    /// `;rport=5060`: the source port, filled in by the server.
    Port(u16),
}

impl Rport {
    /// What a parameter of this name says; `None` when its value is no port.
    pub(super) fn of(param: Param<'_>) -> Option<Self> {
        match param.value {
            None | Some([]) => Some(Self::Requested),
            Some(digits) => lex::port(digits).map(Self::Port),
        }
    }
}

impl<'a> Via<'a> {
    /// Parses one value: `SIP/2.0/UDP host:port;params`, with white space where RFC 3261
    /// allows it. `None` if sent-protocol or sent-by are malformed.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let text = lex::trim(value);
        let rest = keyword(text, b"SIP")?;
        let rest = keyword(slash(rest)?, b"2.0")?;
        let (transport_name, rest) = lex::split_token(slash(rest)?);
        if transport_name.is_empty() || !rest.first().copied().is_some_and(lex::is_lws) {
            return None;
        }
        let (host, rest) = lex::split_host(lex::trim_start(rest))?;
        let rest = lex::trim_start(rest);
        let (port, rest) = match rest {
            [b':', rest @ ..] => {
                let (digits, rest) = lex::split_before(rest, |b| b == b';');
                (Some(lex::port(lex::trim(digits))?), rest)
            }
            [] | [b';', ..] => (None, rest),
            _ => return None,
        };
        Some(Self {
            text,
            transport_name,
            host,
            port,
            params: Params::new(rest),
        })
    }

    /// The transport; `None` for one that we don't know.
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_bytes(self.transport_name)
    }

    /// The host's address if it is an IP literal.
    pub fn host_ip(&self) -> Option<IpAddr> {
        lex::host_ip(self.host)
    }

    /// The `branch` parameter.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.params.value(b"branch")
    }

    /// The `received` parameter as written; an IPv6 address may come with or without brackets.
    pub fn received(&self) -> Option<&'a [u8]> {
        self.params.value(b"received")
    }

    /// The `rport` parameter; `None` also when its value is no port.
    pub fn rport(&self) -> Option<Rport> {
        Rport::of(self.params.get(b"rport")?)
    }
}

fn keyword<'a>(s: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = s.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

fn slash(s: &[u8]) -> Option<&[u8]> {
    match lex::trim_start(s) {
        [b'/', rest @ ..] => Some(lex::trim_start(rest)),
        _ => None,
    }
}

/// The Via values of one header field, which may hold several, separated by commas.
#[derive(Clone, Debug)]
pub struct Vias<'a> {
    rest: &'a [u8],
}

impl<'a> Vias<'a> {
    /// Views the value of a Via header field.
    pub const fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }
}

impl<'a> Iterator for Vias<'a> {
    /// `None` in place of a malformed value.
    type Item = Option<Via<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let end = lex::find_outside(self.rest, b',').unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            let value = lex::trim(value);
            if !value.is_empty() {
                return Some(Via::parse(value));
            }
        }
        None
    }
}
