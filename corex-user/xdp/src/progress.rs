//! Whether a NIC sends what it is given.

use std::time::{Duration, Instant};

/// Frames of which none comes back for so long are stuck.
const STUCK: Duration = Duration::from_secs(1);
/// From then on nothing more is to be given to the NIC, until it goes on or is [`STUCK`].
const STALLED: Duration = Duration::from_millis(100);
/// A look counts for so much at most: a process that was stopped, or busy with something else,
/// hasn't seen what the NIC did meanwhile.
const LOOK: Duration = Duration::from_millis(500);

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// None of the frames that the NIC has was sent within a second.
    Stuck,
    /// A NIC that was stuck has given all frames back.
    Flows,
}

/// How a queue gets on with the frames that it was given.
#[derive(Debug, Default)]
pub struct Progress {
    /// For how long no frame came back.
    stalled: Duration,
    looked: Option<Instant>,
    is_stuck: bool,
}

impl Progress {
    /// Takes a look: `completed` frames came back since the last one, and `in_flight` are out still.
    /// The clock is asked only where none came back.
    pub fn look(
        &mut self,
        completed: u32,
        in_flight: u32,
        now: impl FnOnce() -> Instant,
    ) -> Option<Change> {
        if self.is_stuck {
            if in_flight > 0 {
                return None;
            }
            *self = Self::default();
            return Some(Change::Flows);
        }
        if completed > 0 || in_flight == 0 {
            self.stalled = Duration::ZERO;
            self.looked = None;
            return None;
        }
        let now = now();
        if let Some(looked) = self.looked {
            self.stalled += now.saturating_duration_since(looked).min(LOOK);
        }
        self.looked = Some(now);
        self.is_stuck = self.stalled >= STUCK;
        self.is_stuck.then_some(Change::Stuck)
    }

    /// Whether the NIC is to be given more.
    #[inline]
    pub fn takes_more(&self) -> bool {
        !self.is_stuck && self.stalled < STALLED
    }

    /// Whether it is stuck.
    #[inline]
    pub fn is_stuck(&self) -> bool {
        self.is_stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue with a clock that the test turns.
    struct Watched {
        progress: Progress,
        now: Instant,
    }

    impl Watched {
        fn new() -> Self {
            Self {
                progress: Progress::default(),
                now: Instant::now(),
            }
        }

        fn after(&mut self, ms: u64, completed: u32, in_flight: u32) -> Option<Change> {
            self.now += Duration::from_millis(ms);
            let now = self.now;
            self.progress.look(completed, in_flight, || now)
        }
    }

    #[test]
    fn frames_of_which_none_comes_back_within_a_second_are_stuck() {
        let mut queue = Watched::new();
        assert_eq!(queue.after(0, 0, 10), None);
        assert!(queue.progress.takes_more());
        assert_eq!(queue.after(100, 0, 10), None);
        assert!(!queue.progress.takes_more(), "it stalls");
        for _ in 0..8 {
            assert_eq!(queue.after(100, 0, 10), None);
        }
        assert_eq!(queue.after(100, 0, 10), Some(Change::Stuck));
        assert!(queue.progress.is_stuck());
        assert_eq!(queue.after(100, 0, 10), None, "said once");
        assert!(!queue.progress.takes_more());
    }

    #[test]
    fn a_queue_from_which_frames_come_back_however_slowly_is_not_stuck() {
        let mut queue = Watched::new();
        for _ in 0..20 {
            assert_eq!(queue.after(450, 0, 10), None);
            assert_eq!(queue.after(450, 0, 10), None);
            assert_eq!(queue.after(50, 1, 10), None);
            assert!(queue.progress.takes_more());
        }
    }

    #[test]
    fn a_process_that_was_stopped_does_not_blame_the_queue() {
        let mut queue = Watched::new();
        assert_eq!(queue.after(0, 0, 10), None);
        assert_eq!(queue.after(60_000, 0, 10), None);
        assert_eq!(queue.after(1, 10, 0), None);
        assert!(queue.progress.takes_more());
    }

    #[test]
    fn an_idle_queue_is_not_stuck_and_its_idleness_is_not_held_against_the_next_frames() {
        let mut queue = Watched::new();
        for _ in 0..10 {
            assert_eq!(queue.after(500, 0, 0), None);
        }
        assert_eq!(queue.after(500, 0, 1), None);
        assert!(queue.progress.takes_more());
    }

    #[test]
    fn a_stuck_queue_flows_again_when_it_has_given_everything_back() {
        let mut queue = Watched::new();
        for _ in 0..3 {
            queue.after(500, 0, 10);
        }
        assert!(queue.progress.is_stuck());
        assert_eq!(queue.after(500, 9, 1), None);
        assert!(!queue.progress.takes_more());
        assert_eq!(queue.after(500, 1, 0), Some(Change::Flows));
        assert!(queue.progress.takes_more());
        assert_eq!(queue.after(500, 0, 1), None);
    }
}
