//! `[proto:]host[:port]`.

use std::fmt;
use std::str::FromStr;

use crate::{Transport, host_ip};

/// The longest host that is looked at, in bytes. A DNS name has at most 253 (RFC 1035 §2.3.4
/// in text form), an IPv6 reference 47.
pub const MAX_HOST_LEN: usize = 255;

/// One value of `alias` or `alias_subdomains`, or a listen address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The only transport that matches; `None`: any.
    pub transport: Option<Transport>,
    /// A host name, an IPv4 address or an IPv6 address, in brackets or not.
    pub host: String,
    /// The only port that matches; 0: any.
    pub port: u16,
}

/// Why text is no `[proto:]host[:port]`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryError {
    /// Nothing where the host should be.
    #[error("the host is missing; expected [proto:]host[:port]")]
    NoHost,
    /// The host is longer than [`MAX_HOST_LEN`].
    #[error("the host has {0} bytes; at most {MAX_HOST_LEN} can match")]
    HostTooLong(usize),
    /// The host is neither a name (letters, digits, `-`, `.`, `_`; no empty label) nor an
    /// IP address.
    #[error("`{0}` is neither a host name nor an IP address")]
    BadHost(String),
    /// A bracket without its pair, or something between it and the next colon.
    #[error("the brackets do not enclose the host; expected [proto:][IPv6][:port]")]
    Brackets,
    /// More than two colons outside of brackets.
    #[error("too many colons; an IPv6 address is written in brackets")]
    Colons,
    /// The part in front of the host is no transport.
    #[error("`{0}` is not a protocol; expected udp, tcp, tls or sctp")]
    BadTransport(String),
    /// The part after the host is no port.
    #[error("`{0}` is not a port; expected a number from 0 to 65535")]
    BadPort(String),
}

impl Entry {
    /// Parses `[proto:]host[:port]`.
    ///
    /// With one colon, digits after it make it `host:port`, as in Kamailio; anything else
    /// makes it `proto:host`. Port 0 is the same as none.
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        let (before, host, after) = match (text.find('['), text.rfind(']')) {
            (None, None) => return Self::parse_name(text),
            (Some(open), Some(close)) if open < close => {
                (&text[..open], &text[open..=close], &text[close + 1..])
            }
            _ => return Err(EntryError::Brackets),
        };
        let transport = match before.strip_suffix(':') {
            Some(name) => Some(parse_transport(name)?),
            None if before.is_empty() => None,
            None => return Err(EntryError::Brackets),
        };
        let port = match after.strip_prefix(':') {
            Some(digits) => parse_port(digits)?,
            None if after.is_empty() => 0,
            None => return Err(EntryError::Brackets),
        };
        Self::checked(transport, host, port)
    }

    fn parse_name(text: &str) -> Result<Self, EntryError> {
        let mut parts = text.split(':');
        let first = parts.next().unwrap_or_default();
        let is_transport = Transport::parse(first).is_some();
        let is_number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => Self::checked(None, first, 0),
            (Some(second), None, _) if is_number(second) && is_transport => Err(EntryError::NoHost),
            (Some(second), None, _) if is_number(second) => {
                Self::checked(None, first, parse_port(second)?)
            }
            // No transport has a dot, so what went wrong is the port.
            (Some(second), None, _)
                if !is_transport && (second.is_empty() || first.contains('.')) =>
            {
                Err(EntryError::BadPort(second.to_owned()))
            }
            (Some(second), None, _) => Self::checked(Some(parse_transport(first)?), second, 0),
            (Some(second), Some(third), None) => {
                Self::checked(Some(parse_transport(first)?), second, parse_port(third)?)
            }
            _ => Err(EntryError::Colons),
        }
    }

    fn checked(transport: Option<Transport>, host: &str, port: u16) -> Result<Self, EntryError> {
        if host.is_empty() {
            return Err(EntryError::NoHost);
        }
        if host.len() > MAX_HOST_LEN {
            return Err(EntryError::HostTooLong(host.len()));
        }
        if !is_host(host) {
            return Err(EntryError::BadHost(host.to_owned()));
        }
        Ok(Self {
            transport,
            host: host.to_owned(),
            port,
        })
    }
}

impl FromStr for Entry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        Self::parse(text)
    }
}

/// As it is parsed: `udp:sip.example.com:5060`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(transport) = self.transport {
            write!(f, "{transport}:")?;
        }
        if self.host.contains(':') && !self.host.starts_with('[') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port != 0 {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host_ip(host.as_bytes()).is_some() || host.split('.').all(is_label)
}

fn parse_transport(name: &str) -> Result<Transport, EntryError> {
    Transport::parse(name).ok_or_else(|| EntryError::BadTransport(name.to_owned()))
}

fn parse_port(digits: &str) -> Result<u16, EntryError> {
    let bad = || EntryError::BadPort(digits.to_owned());
    // `u16::from_str` takes a sign.
    if digits.starts_with('+') {
        return Err(bad());
    }
    digits.parse().map_err(|_| bad())
}
