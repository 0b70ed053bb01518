//! Reverse-path filtering (RFC 3704) of what goes past the kernel's stack.
//!
//! The program steers a datagram only if it is known that the way back to its source is as it should
//! be; any other one goes by the stack. The worker that reads it from the kernel's socket has a thread
//! ask the kernel, and from a good answer on the program steers. With [`Rule::Stack`] the question
//! is whether the stack would take such a packet, so rules, several paths and all else that
//! fib_validate_source() (net/ipv4/fib_frontend.c) goes by hold. With the other rules the way back
//! is looked at whatever the sysctl says, and workers keep a datagram until the answer is there.
//! Whatever changes in routes, rules, addresses or links makes all answers void at once.

mod ask;
mod follower;
mod sysctl;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use corex_common::host::{CHECK_V4, CHECK_V6, MAX_REVERSE_PATHS};
use tokio::sync::mpsc;

pub use self::follower::{ReverseMaps, StartError, start};

/// An answer older than that still holds, but is asked for anew, as the program may have forgotten it;
/// a question is then taken for lost.
const FRESH: Duration = Duration::from_secs(1);
/// Questions waiting at most. One more is forgotten: the next datagram asks again.
const QUESTIONS: usize = 1024;
/// Index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;

/// What is asked of the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// What the kernel's stack asks.
    Stack,
    /// That it leads by the interface that the packet came by.
    Strict,
    /// That there is one.
    Loose,
}

/// Who sends to whom, and where it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The sender.
    pub source: IpAddr,
    /// The host's address.
    pub local: IpAddr,
    /// The interface, as the stack sees it.
    pub ifindex: u32,
}

/// What is to be done with a datagram that came by the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is let in.
    Good,
    /// It is dropped.
    Bad,
    /// The kernel is asked.
    Unknown,
}

#[derive(Clone, Copy)]
struct Found {
    version: u32,
    /// `None` while the kernel is asked.
    is_good: Option<bool>,
    asked: Instant,
}

/// What workers and the thread share.
struct Shared {
    rule: Rule,
    version: AtomicU32,
    flags: AtomicU32,
    found: Mutex<HashMap<Path, Found>>,
}

impl Shared {
    fn new(rule: Rule, flags: u32) -> Self {
        Self {
            rule,
            version: AtomicU32::new(1),
            flags: AtomicU32::new(flags),
            found: Mutex::default(),
        }
    }

    fn answered(&self, path: Path, version: u32, is_good: bool) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = found.get_mut(&path)
            && found.version == version
        {
            found.is_good = Some(is_good);
        }
    }
}

/// What workers ask. Cloning shares it.
#[derive(Clone)]
pub struct ReversePaths {
    shared: Arc<Shared>,
    questions: mpsc::Sender<Path>,
}

impl ReversePaths {
    /// What is to be done with a datagram of that path, which the stack let in. Never blocks, but for
    /// the lock that nobody holds for long.
    pub fn judge(&self, path: Path, now: Instant) -> Judgement {
        let flag = if path.source.is_ipv4() {
            CHECK_V4
        } else {
            CHECK_V6
        };
        let is_checked = self.shared.flags.load(Ordering::Acquire) & flag != 0;
        if !is_checked || path.ifindex == LOOPBACK {
            return Judgement::Good;
        }
        let is_good = self.look_up(path, now);
        match (self.shared.rule, is_good) {
            (Rule::Stack, _) | (_, Some(true)) => Judgement::Good,
            (_, Some(false)) => Judgement::Bad,
            (_, None) => Judgement::Unknown,
        }
    }

    /// The answer, if there is one. If there is none, or it is old, the kernel is asked.
    fn look_up(&self, path: Path, now: Instant) -> Option<bool> {
        let version = self.shared.version.load(Ordering::Acquire);
        let mut all = (self.shared.found.lock()).unwrap_or_else(PoisonError::into_inner);
        let is_recent = |found: &Found| {
            found.version == version && now.saturating_duration_since(found.asked) < FRESH
        };
        let known = all.get(&path).copied();
        let known = known.filter(|found| found.version == version);
        let is_good = known.and_then(|found| found.is_good);
        if known.as_ref().is_some_and(is_recent) {
            return is_good;
        }
        if self.questions.try_send(path).is_err() {
            // See QUESTIONS. Where the thread is gone, its end was logged.
            return is_good;
        }
        if all.len() >= MAX_REVERSE_PATHS as usize {
            all.retain(|_, found| is_recent(found));
            if all.len() >= MAX_REVERSE_PATHS as usize {
                all.clear();
            }
        }
        let asked = now;
        all.insert(
            path,
            Found {
                version,
                is_good,
                asked,
            },
        );
        is_good
    }
}

/// For tests: paths of IPv4 that are looked at, and what answers for the kernel.
#[cfg(test)]
pub fn answered_by(rule: Rule) -> (ReversePaths, impl Fn(Path, bool)) {
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let shared = Arc::new(Shared::new(rule, CHECK_V4));
    let answering = Arc::clone(&shared);
    let answer = move |path, is_good| {
        // While this lives, questions can be asked.
        let _ = asked.len();
        answering.answered(path, 1, is_good);
    };
    (ReversePaths { shared, questions }, answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(last: u8, ifindex: u32) -> Path {
        Path {
            source: [192, 0, 2, last].into(),
            local: [10, 0, 0, 1].into(),
            ifindex,
        }
    }

    fn paths(rule: Rule) -> (ReversePaths, mpsc::Receiver<Path>) {
        let (questions, asked) = mpsc::channel(2);
        let shared = Arc::new(Shared::new(rule, CHECK_V4));
        (ReversePaths { shared, questions }, asked)
    }

    #[test]
    fn what_is_not_known_is_asked_for_once_and_waits_for_the_answer() {
        let (paths, mut asked) = paths(Rule::Strict);
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(paths.judge(path(1, 7), now), Judgement::Unknown);
        }
        assert_eq!(asked.try_recv(), Ok(path(1, 7)));
        assert!(asked.try_recv().is_err());
        for (is_good, judgement) in [(false, Judgement::Bad), (true, Judgement::Good)] {
            paths.shared.answered(path(1, 7), 1, is_good);
            assert_eq!(paths.judge(path(1, 7), now), judgement);
            assert_eq!(paths.judge(path(1, 8), now), Judgement::Unknown);
        }
    }

    #[test]
    fn an_answer_holds_while_it_is_asked_for_anew_and_no_longer_than_the_routes() {
        let (paths, mut asked) = paths(Rule::Loose);
        let now = Instant::now();
        paths.judge(path(1, 7), now);
        paths.shared.answered(path(1, 7), 1, true);
        assert!(asked.try_recv().is_ok());
        assert_eq!(paths.judge(path(1, 7), now + FRESH), Judgement::Good);
        assert_eq!(asked.try_recv(), Ok(path(1, 7)));
        paths.shared.version.store(2, Ordering::Release);
        assert_eq!(paths.judge(path(1, 7), now + FRESH), Judgement::Unknown);
        // The answer to a question of before the change.
        paths.shared.answered(path(1, 7), 1, true);
        assert_eq!(paths.judge(path(1, 7), now + FRESH), Judgement::Unknown);
    }

    #[test]
    fn what_the_stack_let_in_is_good_where_the_stack_decides_and_so_is_loopback() {
        let (by_stack, mut asked) = paths(Rule::Stack);
        let now = Instant::now();
        assert_eq!(by_stack.judge(path(1, 7), now), Judgement::Good);
        // The program is to know it.
        assert_eq!(asked.try_recv(), Ok(path(1, 7)));
        let v6 = Path {
            source: "2001:db8::1".parse().unwrap(),
            ..path(1, 7)
        };
        let (strict, mut asked) = paths(Rule::Strict);
        assert_eq!(strict.judge(path(1, LOOPBACK), now), Judgement::Good);
        assert_eq!(strict.judge(v6, now), Judgement::Good, "isn't looked at");
        assert!(asked.try_recv().is_err());
    }

    #[test]
    fn no_more_is_remembered_than_fits_and_what_cannot_be_asked_stays_unknown() {
        let (paths, mut asked) = paths(Rule::Strict);
        let now = Instant::now();
        for ifindex in 2..MAX_REVERSE_PATHS + 100 {
            paths.judge(path(1, ifindex), now);
            asked.try_recv().unwrap();
        }
        let held = paths.shared.found.lock().unwrap().len();
        assert!(held <= MAX_REVERSE_PATHS as usize, "{held}");
        drop(asked);
        assert_eq!(paths.judge(path(9, 7), now), Judgement::Unknown);
        assert!(!paths.shared.found.lock().unwrap().contains_key(&path(9, 7)));
    }
}
