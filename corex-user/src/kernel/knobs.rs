//! What may be changed while corex runs, without a new configuration: the map CONFIG, which the
//! XDP program and the workers read alike. Whoever writes it, `bpftool map update` included,
//! changes both at once.

use std::{
    io, mem,
    os::fd::BorrowedFd,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use corex_common::maps::Config;

use super::memory::Memory;

const WORDS: usize = size_of::<Config>() / size_of::<u32>();
const PROBE_LEN: usize = mem::offset_of!(Config, probe_len) / size_of::<u32>();
const ROADS: usize = mem::offset_of!(Config, roads) / size_of::<u32>();
const MIN_MSG_LEN: usize = mem::offset_of!(Config, min_msg_len) / size_of::<u32>();
const KEEPALIVE: usize = mem::offset_of!(Config, keepalive) / size_of::<u32>();
const OVERLOAD: usize = mem::offset_of!(Config, overload) / size_of::<u32>();
const STUN: usize = mem::offset_of!(Config, stun) / size_of::<u32>();

/// The values of the map CONFIG, to be read and set. Cloning shares them.
#[derive(Clone)]
pub struct Knobs(Arc<Memory<AtomicU32>>);

impl Knobs {
    /// For user space alone.
    pub fn on_heap() -> Self {
        Self(Arc::new(Memory::on_heap(WORDS)))
    }

    /// Those in the map CONFIG.
    ///
    /// # Errors
    /// What mmap says.
    pub fn of_map(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(Arc::new(Memory::of_map(fd, WORDS)?)))
    }

    fn word(&self, at: usize) -> u32 {
        let word = self.0.words().get(at);
        word.map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn set(&self, at: usize, value: u32) {
        if let Some(word) = self.0.words().get(at) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Datagrams shorter than this many bytes are dropped as probes.
    pub fn probe_len(&self) -> u32 {
        self.word(PROBE_LEN)
    }

    /// Messages shorter than this many bytes skip the hook.
    pub fn min_msg_len(&self) -> u32 {
        self.word(MIN_MSG_LEN)
    }

    /// Whether messages may take roads in the kernel.
    pub fn roads(&self) -> bool {
        self.word(ROADS) != 0
    }

    /// Sets [`Self::roads`].
    pub fn set_roads(&self, may_be_taken: bool) {
        self.set(ROADS, may_be_taken.into());
    }

    /// Sets [`Self::probe_len`].
    pub fn set_probe_len(&self, len: u32) {
        self.set(PROBE_LEN, len);
    }

    /// Sets [`Self::min_msg_len`].
    pub fn set_min_msg_len(&self, len: u32) {
        self.set(MIN_MSG_LEN, len);
    }

    /// What becomes of keep-alives: [`corex_common::answer::KEEPALIVE_PASS`] and its like.
    pub fn keepalive(&self) -> u32 {
        self.word(KEEPALIVE)
    }

    /// Sets [`Self::keepalive`].
    pub fn set_keepalive(&self, keepalive: u32) {
        self.set(KEEPALIVE, keepalive);
    }

    /// Sets whether what a worker can't keep up with is shed by priority.
    pub fn set_overload(&self, is_shed: bool) {
        self.set(OVERLOAD, is_shed.into());
    }

    /// Whether STUN Binding requests are answered.
    pub fn answers_stun(&self) -> bool {
        self.word(STUN) != 0
    }

    /// Sets [`Self::answers_stun`].
    pub fn set_stun(&self, is_answered: bool) {
        self.set(STUN, is_answered.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_knob_is_a_word_of_its_own() {
        let knobs = Knobs::on_heap();
        knobs.set_probe_len(32);
        knobs.set_min_msg_len(200);
        knobs.set_keepalive(2);
        knobs.set_stun(true);
        knobs.set_roads(true);
        knobs.set_overload(true);
        assert_eq!((knobs.probe_len(), knobs.min_msg_len()), (32, 200));
        assert_eq!((knobs.keepalive(), knobs.answers_stun()), (2, true));
        assert!(knobs.roads());
        let values: Vec<u32> = (0..WORDS).map(|at| knobs.word(at)).collect();
        assert_eq!(values.iter().sum::<u32>(), 237);
    }
}
