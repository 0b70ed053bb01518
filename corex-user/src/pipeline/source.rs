//! Asks the kernel which of our addresses it would send from, for `mhomed` and wildcard sockets.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// How long an answer holds. Routes change rarely, and a wrong source for so long is what a
/// route change costs anyway.
const VALID: Duration = Duration::from_secs(2);
/// Destinations remembered at most; beyond, all are forgotten.
const MAX_DESTINATIONS: usize = 16_384;

/// The kernel's answers, remembered.
#[derive(Debug, Default)]
pub struct Sources {
    known: HashMap<IpAddr, (Option<IpAddr>, Instant)>,
}

impl Sources {
    /// The source address for a destination. `None`: no route.
    pub fn of(&mut self, to: IpAddr) -> Option<IpAddr> {
        let now = Instant::now();
        if let Some((source, until)) = self.known.get(&to)
            && *until > now
        {
            return *source;
        }
        if self.known.len() >= MAX_DESTINATIONS {
            self.known.clear();
        }
        let source = ask_kernel(to);
        self.known.insert(to, (source, now + VALID));
        source
    }
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
}
