//! The transports that SIP runs on.

use std::fmt;

/// A transport protocol, as in the `transport=` parameter of a URI (RFC 3261 §19.1.1), the
/// protocol of a `listen` address and the sent-protocol of a Via.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// SCTP (RFC 4168).
    Sctp,
}

impl Transport {
    /// All of them, in the order in which Kamailio numbers them.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Sctp];

    /// The transport of this name; upper and lower case are the same. `None` for any other
    /// name, `ws` and `TLS-SCTP` among them.
    pub fn parse(name: &str) -> Option<Self> {
        Self::from_bytes(name.as_bytes())
    }

    /// [`Self::parse`] for a name that lies in a message.
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|t| name.eq_ignore_ascii_case(t.as_str().as_bytes()))
    }

    /// The name in lower case, as configurations and URIs write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Sctp => "sctp",
        }
    }

    /// The name in upper case, as a Via writes it (RFC 3261 §20.42).
    pub const fn as_via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Sctp => "SCTP",
        }
    }

    /// The port where none is given: 5061 for TLS, else 5060 (RFC 3261 §18.1.1, §19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Tls => 5061,
            _ => 5060,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
