//! Asks the kernel which of our addresses it would send from, for `mhomed` and wildcard sockets, and
//! which addresses are this host's.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags, sys::socket::SockaddrStorage};

/// How long an answer holds. Routes change rarely, and a wrong source for so long is what a
/// route change costs anyway.
const VALID: Duration = Duration::from_secs(2);
/// Destinations remembered at most; beyond, all are forgotten.
const MAX_DESTINATIONS: usize = 16_384;

/// What the kernel says of a destination.
#[derive(Clone, Copy, Debug)]
struct Answer {
    /// The address that it would send from. `None`: no route.
    source: Option<IpAddr>,
    /// Whether the destination is this host.
    is_local: bool,
}

/// The kernel's answers, remembered.
#[derive(Debug, Default)]
pub struct Sources {
    known: HashMap<IpAddr, (Answer, Instant)>,
    asked: u64,
}

impl Sources {
    /// The source address for a destination. `None`: no route.
    pub fn of(&mut self, to: IpAddr) -> Option<IpAddr> {
        self.answer(to).source
    }

    /// Whether an address is this host's.
    pub fn is_local(&mut self, ip: IpAddr) -> bool {
        self.answer(ip).is_local
    }

    /// How often it was asked: what was found without asking holds longer than these answers.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    fn answer(&mut self, to: IpAddr) -> Answer {
        self.asked += 1;
        let now = Instant::now();
        if let Some((answer, until)) = self.known.get(&to)
            && *until > now
        {
            return *answer;
        }
        if self.known.len() >= MAX_DESTINATIONS {
            self.known.clear();
        }
        let source = ask_kernel(to);
        let answer = Answer {
            source,
            is_local: is_reached_locally(to, source),
        };
        self.known.insert(to, (answer, now + VALID));
        answer
    }
}

/// Whether an address is this host's, as `Sources::is_local`, not remembered.
pub fn is_local(ip: IpAddr) -> bool {
    is_reached_locally(ip, ask_kernel(ip))
}

/// Whether the kernel keeps what is sent to `to`, which it would send from `source`: then it is
/// an address of an interface, which the kernel sends from itself, or a loopback one.
///
/// bind() would tell as well, but not where net.ipv4.ip_nonlocal_bind is set, as it is for
/// floating addresses.
fn is_reached_locally(to: IpAddr, source: Option<IpAddr>) -> bool {
    let Some(source) = source else {
        return false;
    };
    source == to || source.is_loopback() || is_on_loopback(to)
}

/// Whether an IPv4 address is in a network of a loopback interface, all of which is local.
fn is_on_loopback(ip: IpAddr) -> bool {
    let (IpAddr::V4(ip), Ok(all)) = (ip, getifaddrs()) else {
        return false;
    };
    all.into_iter()
        .filter(|entry| entry.flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .any(|entry| {
            let bits =
                |address: Option<SockaddrStorage>| Some(address?.as_sockaddr_in()?.ip().to_bits());
            let network = bits(entry.address).zip(bits(entry.netmask));
            network.is_some_and(|(address, mask)| (address ^ ip.to_bits()) & mask == 0)
        })
}

/// Connecting a UDP socket makes the kernel choose, and sends nothing (Kamailio asks the same
/// way).
fn ask_kernel(to: IpAddr) -> Option<IpAddr> {
    const DISCARD: u16 = 9;
    let any: SocketAddr = match to {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((to, DISCARD)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        let mut sources = Sources::default();
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(sources.of("127.0.0.9".parse().unwrap()), Some(loopback));
        assert_eq!(sources.of("127.0.0.9".parse().unwrap()), Some(loopback));
    }

    #[test]
    fn loopback_addresses_are_local_and_documentation_ones_are_not() {
        let mut sources = Sources::default();
        for (ip, expected) in [
            ("127.0.0.1", true),
            ("127.1.2.3", true),
            ("192.0.2.7", false),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!(sources.is_local(ip), expected, "{ip}");
            assert_eq!(is_local(ip), expected, "{ip}");
        }
    }
}
