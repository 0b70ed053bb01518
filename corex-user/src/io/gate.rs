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

    /// Hands out those that may pass by now, in their order, and returns how many are refused.
    pub fn release(&mut self, mut pass: impl FnMut(Datagram<'_>, SocketId)) -> u64 {
        let Some(paths) = &self.paths else { return 0 };
        let mut refused = 0;
        let now = Instant::now();
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
