//! SIP, SIPS and TEL URIs.

use std::net::IpAddr;

use super::lex;
use super::{Params, Transport};

/// Scheme of a [`Uri`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// `sip:` (RFC 3261 §19.1).
    Sip,
    /// `sips:` (RFC 3261 §19.1).
    Sips,
    /// `tel:` (RFC 3966).
    Tel,
}

/// Why text is not a URI that we know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UriError {
    /// Neither `sip:` nor `sips:` nor `tel:`.
    #[error("the scheme is none of sip, sips, tel")]
    Scheme,
    /// White space, a control character or one of `<>"`.
    #[error("a character that no URI has")]
    Character,
    /// Nothing in front of `@`, or a `tel:` without a number.
    #[error("the user part is empty")]
    User,
    /// No host, or one that is neither a name nor an IP address.
    #[error("the host is missing or malformed")]
    Host,
    /// Something other than a number up to 65535 after the host's colon.
    #[error("the port is no number from 0 to 65535")]
    Port,
}

/// A parsed URI. Nothing is unescaped; every field is a subslice of the text.
///
/// `sip:user:password@host:port;params?headers`, or `tel:number;params`, where the number is
/// `user` and `host` is empty, as Kamailio has it.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// User part without the password, or the telephone number.
    pub user: Option<&'a [u8]>,
    /// Password: what follows the user part's first colon.
    pub password: Option<&'a [u8]>,
    /// Host; an IPv6 reference keeps its brackets.
    pub host: &'a [u8],
    /// Port, where one is written.
    pub port: Option<u16>,
    /// `;name=value…`.
    pub params: Params<'a>,
    /// What follows `?`; empty if nothing.
    pub headers: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Parses a URI without anything around it.
    ///
    /// Tolerant where it does no harm (an underscore in a host, any character in a
    /// parameter); the first `@` ends the user part, since no other may appear unescaped
    /// (RFC 3261 §25.1).
    pub fn parse(text: &'a [u8]) -> Result<Self, UriError> {
        if text
            .iter()
            .any(|&b| lex::is_control(b) || matches!(b, b' ' | b'<' | b'>' | b'"'))
        {
            return Err(UriError::Character);
        }
        let colon = memchr::memchr(b':', text).ok_or(UriError::Scheme)?;
        let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
        if scheme.eq_ignore_ascii_case(b"sip") {
            Self::sip(Scheme::Sip, rest)
        } else if scheme.eq_ignore_ascii_case(b"sips") {
            Self::sip(Scheme::Sips, rest)
        } else if scheme.eq_ignore_ascii_case(b"tel") {
            Self::tel(rest)
        } else {
            Err(UriError::Scheme)
        }
    }

    fn sip(scheme: Scheme, text: &'a [u8]) -> Result<Self, UriError> {
        let (user, password, text) = match memchr::memchr(b'@', text) {
            Some(at) => {
                let (user, password) = lex::split_before(&text[..at], |b| b == b':');
                if user.is_empty() {
                    return Err(UriError::User);
                }
                (Some(user), password.get(1..), &text[at + 1..])
            }
            None => (None, None, text),
        };
        let (host, rest) = lex::split_host(text).ok_or(UriError::Host)?;
        let (port, rest) = match rest {
            [b':', rest @ ..] => {
                let (digits, rest) = lex::split_before(rest, |b| b == b';' || b == b'?');
                (Some(lex::port(digits).ok_or(UriError::Port)?), rest)
            }
            [] | [b';' | b'?', ..] => (None, rest),
            _ => return Err(UriError::Host),
        };
        let (params, headers) = lex::split_before(rest, |b| b == b'?');
        Ok(Self {
            scheme,
            user,
            password,
            host,
            port,
            params: Params::new(params),
            headers: headers.get(1..).unwrap_or_default(),
        })
    }

    fn tel(text: &'a [u8]) -> Result<Self, UriError> {
        let (number, params) = lex::split_before(text, |b| b == b';');
        if number.is_empty() {
            return Err(UriError::User);
        }
        Ok(Self {
            scheme: Scheme::Tel,
            user: Some(number),
            password: None,
            host: &text[..0],
            port: None,
            params: Params::new(params),
            headers: &text[..0],
        })
    }

    /// The host's address if it is an IP literal.
    pub fn host_ip(&self) -> Option<IpAddr> {
        lex::host_ip(self.host)
    }

    /// The `transport=` parameter as written, also when it names a transport that we don't know.
    pub fn transport_param(&self) -> Option<&'a [u8]> {
        self.params.value(b"transport")
    }

    /// The transport of the `transport=` parameter. `None` without one, and for an unknown one.
    pub fn transport(&self) -> Option<Transport> {
        self.transport_param().and_then(Transport::from_bytes)
    }
}
