//! What datagrams of kernel sockets must pass: reverse-path filtering (`rp_filter`). A datagram whose
//! source isn't known yet is held until the kernel has answered, so that no worker waits.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use corex_script::SocketId;

use super::socket::Datagram;
use crate::kernel::reverse_paths::{Judgement, Path, ReversePaths};

/// Datagrams that a worker holds at most; one more is refused.
const MAX_HELD: usize = 256;
/// How long one is held.
const PATIENCE: Duration = Duration::from_secs(1);

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It goes on.
    Free,
    /// It comes again by [`Gate::release`].
    Held,
    /// It is to be dropped.
    Refused,
}

struct Held {
    payload: Vec<u8>,
    source: SocketAddr,
    local: SocketAddr,
    ttl: Option<u8>,
    ifindex: u32,
    socket: SocketId,
    until: Instant,
}

impl Held {
    fn datagram(&self) -> Datagram<'_> {
        Datagram {
            payload: &self.payload,
            source: self.source,
            local: self.local,
            ttl: self.ttl,
            ifindex: self.ifindex,
        }
    }
}

/// The gate of one worker.
pub struct Gate {
    paths: Option<ReversePaths>,
    held: VecDeque<Held>,
}

impl Gate {
    /// One that lets in what these say; all without them.
    pub fn new(paths: Option<ReversePaths>) -> Self {
        Self {
            paths,
            held: VecDeque::new(),
        }
    }

    /// Whether there are datagrams that may not pass.
    pub fn is_closed(&self) -> bool {
        self.paths.is_some()
    }

    /// Whether a datagram may pass. If that isn't known yet, it is kept.
    pub fn judge(&mut self, datagram: &Datagram<'_>, socket: SocketId) -> Passage {
        let Some(paths) = &self.paths else {
            return Passage::Free;
        };
        let now = Instant::now();
        match paths.judge(path_of(datagram), now) {
            Judgement::Good => Passage::Free,
            Judgement::Bad => Passage::Refused,
            Judgement::Unknown if self.held.len() >= MAX_HELD => Passage::Refused,
            Judgement::Unknown => {
                self.held.push_back(Held {
                    payload: datagram.payload.to_vec(),
                    source: datagram.source,
                    local: datagram.local,
                    ttl: datagram.ttl,
                    ifindex: datagram.ifindex,
                    socket,
                    until: now + PATIENCE,
                });
                Passage::Held
            }
        }
    }

    /// Whether any are kept.
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Hands out those that may pass now, in their order, and returns how many are refused.
    pub fn release(&mut self, now: Instant, mut pass: impl FnMut(Datagram<'_>, SocketId)) -> u64 {
        let Some(paths) = &self.paths else { return 0 };
        let mut refused = 0;
        self.held.retain(|held| {
            match paths.judge(path_of(&held.datagram()), now) {
                Judgement::Good => pass(held.datagram(), held.socket),
                Judgement::Unknown if now < held.until => return true,
                Judgement::Bad | Judgement::Unknown => refused += 1,
            }
            false
        });
        refused
    }

    /// Lets go what is kept, and returns how many there were.
    pub fn give_up(&mut self) -> u64 {
        let count = self.held.len() as u64;
        self.held.clear();
        count
    }
}

fn path_of(datagram: &Datagram<'_>) -> Path {
    Path {
        source: datagram.source.ip(),
        local: datagram.local.ip(),
        ifindex: datagram.ifindex,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::reverse_paths::{Rule, answered_by};

    const SOCKET: SocketId = SocketId(3);

    fn datagram(payload: &[u8], source: u8) -> Datagram<'_> {
        Datagram {
            payload,
            source: SocketAddr::from(([192, 0, 2, source], 5060)),
            local: SocketAddr::from(([10, 0, 0, 1], 5060)),
            ttl: Some(9),
            ifindex: 7,
        }
    }

    #[test]
    fn what_is_held_goes_on_in_its_order_as_soon_as_its_source_is_known_to_be_good() {
        let (paths, answer) = answered_by(Rule::Strict);
        let mut gate = Gate::new(Some(paths));
        for (payload, source) in [(b"1", 1), (b"2", 2), (b"3", 1)] {
            let passage = gate.judge(&datagram(payload, source), SOCKET);
            assert_eq!(passage, Passage::Held);
        }
        let now = Instant::now();
        assert_eq!(gate.release(now, |_, _| panic!("not known yet")), 0);
        answer(path_of(&datagram(b"", 1)), true);
        answer(path_of(&datagram(b"", 2)), false);
        let mut passed = Vec::new();
        let refused = gate.release(now, |datagram, socket| {
            assert_eq!(
                (socket, datagram.ttl, datagram.ifindex),
                (SOCKET, Some(9), 7)
            );
            passed.push(datagram.payload.to_vec());
        });
        assert_eq!((passed, refused), (vec![b"1".to_vec(), b"3".to_vec()], 1));
        assert!(!gate.holds_any());
        let at_once = [(1, Passage::Free), (2, Passage::Refused)];
        for (source, passage) in at_once {
            assert_eq!(gate.judge(&datagram(b"4", source), SOCKET), passage);
        }
    }

    #[test]
    fn no_more_than_fits_is_held_and_no_longer_than_a_second() {
        let (paths, _answer) = answered_by(Rule::Loose);
        let mut gate = Gate::new(Some(paths));
        for _ in 0..MAX_HELD {
            assert_eq!(gate.judge(&datagram(b"x", 1), SOCKET), Passage::Held);
        }
        assert_eq!(gate.judge(&datagram(b"x", 1), SOCKET), Passage::Refused);
        let later = Instant::now() + PATIENCE;
        let refused = gate.release(later, |_, _| panic!("nobody has answered"));
        assert_eq!((refused, gate.give_up()), (MAX_HELD as u64, 0));
        assert_eq!(gate.judge(&datagram(b"x", 1), SOCKET), Passage::Held);
        assert_eq!((gate.give_up(), gate.holds_any()), (1, false));
        let free = Gate::new(None).judge(&datagram(b"x", 1), SOCKET);
        assert_eq!(free, Passage::Free);
    }
}
