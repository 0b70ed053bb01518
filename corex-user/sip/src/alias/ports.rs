//! The ports and transports of one host.

use super::Entry;
use crate::Transport;

/// One bit for each transport; all of them where any will do.
pub(super) fn mask(transport: Option<Transport>) -> u8 {
    let bit = |t: Transport| 1 << t as u8;
    match transport {
        Some(t) => bit(t),
        None => Transport::ALL.into_iter().fold(0, |m, t| m | bit(t)),
    }
}

/// What entries say about one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    /// Transports of all entries together: what a question without a port asks for.
    all: u8,
    /// Transports of entries without a port.
    any_port: u8,
    /// Ports with their transports; ascending and unique once finished.
    ports: Vec<(u16, u8)>,
}

impl Ports {
    pub(super) fn insert(&mut self, entry: &Entry) {
        let transports = mask(entry.transport);
        self.all |= transports;
        if entry.port == 0 {
            self.any_port |= transports;
        } else {
            self.ports.push((entry.port, transports));
        }
    }

    /// Makes it ready for [`Self::matches`].
    pub(super) fn finish(&mut self) {
        self.ports.sort_unstable_by_key(|&(port, _)| port);
        self.ports.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 |= next.1;
            }
            same
        });
        self.ports.shrink_to_fit();
    }

    /// Whether one entry at least has this port (0: any) and one of these transports.
    pub(super) fn matches(&self, port: u16, transports: u8) -> bool {
        let found = if port == 0 {
            self.all
        } else {
            let at = self.ports.binary_search_by_key(&port, |&(port, _)| port);
            self.any_port | at.map_or(0, |at| self.ports[at].1)
        };
        found & transports != 0
    }
}
