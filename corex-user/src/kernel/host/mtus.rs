//! MTUs that many threads read, as they are now.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use super::links::Links;

/// A link's MTU, in bytes, as it is now. Cloning shares it.
#[derive(Clone, Debug)]
pub struct LiveMtu(Arc<AtomicU32>);

impl LiveMtu {
    /// What it is.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The MTUs that somebody asked for, by the links' indices. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Mtus(Arc<Mutex<BTreeMap<u32, LiveMtu>>>);

impl Mtus {
    /// That of a link, which is `mtu` unless more is known.
    pub fn of(&self, index: u32, mtu: u32) -> LiveMtu {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let live = all.entry(index);
        live.or_insert_with(|| LiveMtu(Arc::new(AtomicU32::new(mtu))))
            .clone()
    }

    /// They are what the links have; those of links that are gone are forgotten.
    pub(super) fn follow(&self, links: &Links) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|index, live| match links.get(index) {
            Some(link) => {
                live.0.store(link.mtu, Ordering::Relaxed);
                true
            }
            None => Arc::strong_count(&live.0) > 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::links::Link;
    use super::*;

    #[test]
    fn an_mtu_follows_its_link_wherever_it_is_read() {
        let mtus = Mtus::default();
        let (one, other) = (mtus.of(2, 1500), mtus.clone().of(3, 9000));
        let link = Link {
            mtu: 1300,
            ..Link::default()
        };
        mtus.follow(&[(2, link)].into());
        assert_eq!((one.get(), other.get()), (1300, 9000));
        assert_eq!(mtus.of(2, 1500).get(), 1300);
    }
}
