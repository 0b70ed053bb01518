//! Where a function's parameter or a URI says that something is to go.

use std::net::SocketAddr;

use corex_script::run::Exec;
use corex_script::run::StrRef;
use corex_script::{NextHop, SendError, SocketId, Target};
use corex_sip::alias::MAX_HOST_LEN;
use corex_sip::compose::ReturnPath;
use corex_sip::{Scheme, Transport, Uri, host_ip};

/// Where a message is to go: copied, since the script's buffers may change meanwhile.
#[expect(
    clippy::large_enum_variant,
    reason = "it lies on the stack for one call; a box would be an allocation per message"
)]
pub(crate) enum Place {
    Addr(SocketAddr),
    Name {
        host: [u8; MAX_HOST_LEN],
        len: usize,
        port: Option<u16>,
        secure: bool,
    },
}

/// A destination, and the transport that it asks for.
pub(crate) struct Destination {
    place: Place,
    pub transport: Option<Transport>,
}

/// Why a message couldn't be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Unsendable {
    /// The text names no destination.
    #[error("{0}")]
    Destination(&'static str),
    /// The host refused it.
    #[error(transparent)]
    Refused(#[from] SendError),
}

const PORT: Unsendable = Unsendable::Destination("the port is no number from 1 to 65535");

impl Destination {
    /// A host without port is looked up by SRV records; an address has the default port then.
    fn new(
        host: &[u8],
        port: Option<u16>,
        transport: Option<Transport>,
        secure: bool,
    ) -> Result<Destination, Unsendable> {
        if let Some(ip) = host_ip(host) {
            let transport = transport.or(secure.then_some(Transport::Tls));
            let default = transport.unwrap_or(Transport::Udp).default_port();
            return Ok(Destination {
                place: Place::Addr(SocketAddr::new(ip, port.unwrap_or(default))),
                transport,
            });
        }
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if host.is_empty() || !host.iter().all(fits) {
            return Err(Unsendable::Destination(
                "that is neither an IP address nor a host name",
            ));
        }
        let mut copy = [0; MAX_HOST_LEN];
        let Some(place) = copy.get_mut(..host.len()) else {
            return Err(Unsendable::Destination("the host name is too long"));
        };
        place.copy_from_slice(host);
        Ok(Destination {
            place: Place::Name {
                host: copy,
                len: host.len(),
                port,
                secure,
            },
            transport,
        })
    }

    /// `host[:port]`, IPv6 in brackets.
    pub fn parse(text: &[u8], transport: Transport) -> Result<Destination, Unsendable> {
        let host_end = match text.first() {
            Some(b'[') => memchr::memchr(b']', text).map_or(text.len(), |at| at + 1),
            _ => memchr::memchr(b':', text).unwrap_or(text.len()),
        };
        let (host, rest) = text.split_at_checked(host_end).unwrap_or((text, &[]));
        let port = match rest {
            [] => None,
            [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                let port = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                    .filter(|port| *port != 0);
                Some(port.ok_or(PORT)?)
            }
            [b':', ..] => return Err(PORT),
            _ => {
                return Err(Unsendable::Destination(
                    "something follows the address that is no port",
                ));
            }
        };
        Destination::new(host, port, Some(transport), false)
    }

    /// What forward() is told: `host[:port]`, or host and port apart, where 0 is none.
    pub fn of_parts(host: &[u8], port: i64) -> Result<Destination, Unsendable> {
        if port == 0 {
            let mut destination = Destination::parse(host, Transport::Udp)?;
            destination.transport = None;
            return Ok(destination);
        }
        let port = u16::try_from(port).map_err(|_| PORT)?;
        Destination::new(host, Some(port), None, false)
    }

    /// Where a reply goes.
    pub fn of_return_path(path: &ReturnPath<'_>) -> Result<Destination, Unsendable> {
        Destination::new(path.host, path.port, Some(path.transport), false)
    }

    /// The destination at an address.
    pub fn of_address(address: SocketAddr, transport: Transport) -> Destination {
        Destination {
            place: Place::Addr(address),
            transport: Some(transport),
        }
    }

    /// Where a URI leads: to its `maddr`, else its host, by its transport (RFC 3263 §4).
    pub fn of_uri(text: &[u8]) -> Result<Destination, Unsendable> {
        let uri = Uri::parse(text).map_err(|_| Unsendable::Destination("that is no SIP URI"))?;
        if uri.scheme == Scheme::Tel {
            return Err(Unsendable::Destination("a tel: URI names no host"));
        }
        let transport = match uri.transport_param() {
            None => None,
            Some(name) => Some(Transport::from_bytes(name).ok_or(Unsendable::Destination(
                "the URI's transport is none of udp, tcp, tls, sctp",
            ))?),
        };
        let secure = uri.scheme == Scheme::Sips;
        let transport = match transport {
            Some(Transport::Udp) if secure => {
                return Err(Unsendable::Destination("sips: does not go by UDP"));
            }
            Some(Transport::Tcp) if secure => Some(Transport::Tls),
            transport => transport,
        };
        let host = uri.params.value(b"maddr").unwrap_or(uri.host);
        Destination::new(host, uri.port, transport, secure)
    }

    /// The same, as the trait `Host` takes it.
    #[inline]
    pub fn target(&self) -> Target<'_> {
        match &self.place {
            Place::Addr(address) => Target::Addr(*address),
            Place::Name {
                host,
                len,
                port,
                secure,
            } => Target::Name {
                host: host.get(..*len).unwrap_or_default(),
                port: *port,
                secure: *secure,
            },
        }
    }
}

/// Where the message goes when nobody says where: `$du`, else the request URI.
pub(crate) fn default_destination(exec: &Exec<'_>) -> Result<Destination, Unsendable> {
    match exec.changes.destination.or_else(|| exec.request_uri()) {
        Some(uri) => Destination::of_uri(exec.bytes(uri)),
        None => Err(Unsendable::Destination(
            "a reply has no request URI, and $du is not set",
        )),
    }
}

/// The next hop on the way to a destination.
#[inline]
pub(crate) fn next_hop<'d>(
    exec: &mut Exec<'_>,
    destination: &'d Destination,
    forced: Option<SocketId>,
) -> Result<NextHop<'d>, Unsendable> {
    let hop = exec
        .host
        .next_hop(destination.target(), destination.transport, forced)?;
    Ok(hop)
}

/// Logs why a function didn't send, not too often.
pub(crate) fn log_unsent(
    exec: &mut Exec<'_>,
    function: &str,
    to: Option<StrRef>,
    reason: Unsendable,
) {
    let Some(held_back) = exec.rt.unsent.allow() else {
        return;
    };
    let to = match to
        .or(exec.changes.destination)
        .or_else(|| exec.request_uri())
    {
        Some(to) => exec.bytes(to),
        None => &[],
    };
    tracing::warn!(
        worker = exec.rt.worker,
        src = %exec.env.src,
        held_back,
        "{}: {function}() to \"{}\": {reason}",
        exec.program.place(exec.line),
        to.escape_ascii()
    );
}
