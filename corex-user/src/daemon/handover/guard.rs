//! The guard's entries that the configuration doesn't have: all of them while the predecessor serves
//! on, and what has changed since then once its workers have stopped.

use serde::{Deserialize, Serialize};

use crate::guard::{Guard, Kept, kept_line};

/// Entries as `guard_file` has them.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardCopy {
    /// Those that are there.
    set: Vec<String>,
    /// Those that are there no more.
    removed: Vec<String>,
}

impl GuardCopy {
    /// All there are. What changes from now on is noted, for [`Self::changes`].
    pub fn all(guard: &Guard) -> Self {
        guard.note_changes();
        Self {
            set: lines(&guard.kept()),
            removed: Vec::new(),
        }
    }

    /// What has changed since all were copied.
    pub fn changes(guard: &Guard) -> Self {
        let (set, removed) = guard.noted_changes();
        Self {
            set: lines(&set),
            removed: lines(&removed),
        }
    }

    /// Puts the entries into a guard's lists, or takes them out. Returns for how many there was no
    /// room.
    pub fn write(&self, guard: &Guard) -> usize {
        // What another version writes and this one can't read isn't worth the take-over.
        let read = |lines: &[String]| -> Vec<Kept> {
            lines.iter().filter_map(|line| kept_line(line)).collect()
        };
        for gone in read(&self.removed) {
            guard.remove(gone.which, gone.network);
        }
        guard.restore(&read(&self.set))
    }
}

fn lines(entries: &[Kept]) -> Vec<String> {
    entries.iter().map(Kept::line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{Listings, Which};
    use corex_common::guard::lists::{BLOCKED, BY_RPC};
    use corex_script::settings::{GuardSettings, guard::network};

    fn guard(block: &str) -> Guard {
        let settings = GuardSettings {
            is_on: true,
            ..GuardSettings::default()
        };
        let listings = Listings {
            block: vec![network(block).unwrap()],
            ..Listings::default()
        };
        Guard::start(&settings, &listings, None).unwrap()
    }

    fn sent(copy: &GuardCopy) -> GuardCopy {
        serde_json::from_slice(&serde_json::to_vec(copy).unwrap()).unwrap()
    }

    #[test]
    fn a_copy_and_what_changed_since_make_the_same_lists() {
        let (old, new) = (guard("192.0.2.0/24"), guard("192.0.2.0/25"));
        let put = |which, text, seconds| {
            let network = network(text).unwrap();
            old.put(which, network, seconds, (BY_RPC, BLOCKED)).unwrap();
        };
        put(Which::Allow, "198.51.100.1", None);
        put(Which::Block, "2001:db8::/32; udp; 5060", Some(1000));
        put(Which::Block, "203.0.113.1", None);
        assert_eq!(sent(&GuardCopy::all(&old)).write(&new), 0);
        put(Which::Block, "203.0.113.2", Some(500));
        assert!(old.remove(Which::Block, network("203.0.113.1").unwrap()));
        let changes = GuardCopy::changes(&old);
        assert_eq!((changes.set.len(), changes.removed.len()), (1, 1));
        assert_eq!(sent(&changes).write(&new), 0);
        let of = |guard: &Guard| -> Vec<_> {
            let kept = guard.kept().into_iter();
            kept.map(|kept| (kept.which, kept.network, kept.origin, kept.until.is_some()))
                .collect()
        };
        assert_eq!(of(&new), of(&old));
        assert_eq!(of(&new).len(), 3);
        // Each has its own configuration's entries.
        let blocked = |guard: &Guard, text: &str| {
            let entries = guard.entries(Which::Block);
            entries
                .iter()
                .any(|(found, _)| *found == network(text).unwrap())
        };
        assert!(blocked(&new, "192.0.2.0/25") && !blocked(&new, "192.0.2.0/24"));
    }
}
