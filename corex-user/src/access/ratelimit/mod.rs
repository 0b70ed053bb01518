//! The module ratelimit: pipes that let so many requests through in an interval, and queues that say which
//! pipe requests of a method go by. All of it is atomic: no worker waits for another one.

mod load;

#[cfg(test)]
mod tests;

pub use load::LoadSource;

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use corex_script::settings::{self, Algorithm, Pipe, Queue};

/// Pipes that there are.
pub const PIPES: usize = settings::RateLimit::PIPES;

/// A pipe at work.
#[derive(Debug)]
struct State {
    algorithm: AtomicU8,
    limit: AtomicU32,
    /// Requests of this interval.
    counter: AtomicU64,
    /// Those of the last one.
    last: AtomicU64,
    /// How often more than the limit the last one had, of RED; 1 while NETWORK drops.
    load: AtomicU64,
}

impl State {
    fn new(pipe: Pipe) -> State {
        State {
            algorithm: AtomicU8::new(pipe.algorithm as u8),
            limit: AtomicU32::new(pipe.limit),
            counter: AtomicU64::new(0),
            last: AtomicU64::new(0),
            load: AtomicU64::new(0),
        }
    }

    fn algorithm(&self) -> Algorithm {
        let number = usize::from(self.algorithm.load(Relaxed));
        Algorithm::ALL
            .get(number)
            .copied()
            .unwrap_or(Algorithm::Nop)
    }
}

/// What a pipe shows to remote control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PipeLine {
    /// What it goes by.
    pub algorithm: Algorithm,
    /// Its limit.
    pub limit: u32,
    /// Requests of the last interval.
    pub last: u64,
    /// Requests of this one.
    pub current: u64,
    /// What Kamailio calls its drop rate.
    pub load: i64,
}

/// Factors of the controller behind FEEDBACK: of the error's sum, the error, and its change.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Factors {
    /// Of the sum.
    pub ki: f64,
    /// Of the error.
    pub kp: f64,
    /// Of its change.
    pub kd: f64,
}

/// What FEEDBACK remembers.
#[derive(Debug)]
struct Controller {
    factors: Factors,
    /// Wanted load of the CPUs, 0 to 1.
    wanted: f64,
    sum: f64,
    last_error: f64,
}

impl Controller {
    /// The percentage to drop at this load, 0 to 1.
    fn update(&mut self, load: f64) -> u32 {
        let error = self.wanted - load;
        let change = error - self.last_error;
        // Idle times can't be made up for by dropping less than nothing: they don't count.
        if self.sum < 0.0 || error < 0.0 {
            self.sum += error;
        }
        self.last_error = error;
        let Factors { ki, kp, kd } = self.factors;
        let output = kp * error + ki * self.sum + kd * change;
        // Saturates; what is no number becomes 0.
        output.clamp(0.0, 100.0) as u32
    }
}

/// Why a pipe or queue stays as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotChanged {
    /// There is no pipe of this number.
    #[error("Unknown pipe")]
    Pipe,
    /// FEEDBACK's limits are percentages, and all the same.
    #[error("Feedback limits don't match")]
    Feedback,
    /// There is no queue of this number.
    #[error("MAX_QUEUES reached")]
    Queue,
}

/// What all workers ask.
#[derive(Debug)]
pub struct RateLimit {
    pipes: [State; PIPES],
    queues: ArcSwap<Vec<Queue>>,
    /// How long requests are counted, in seconds.
    pub interval: u32,
    /// What FEEDBACK drops, in percent.
    drop_rate: AtomicU32,
    controller: Mutex<Controller>,
    source: Mutex<LoadSource>,
}

impl RateLimit {
    /// Pipes and queues of a configuration. `source`: what tells FEEDBACK and NETWORK how busy the host is.
    pub fn new(settings: &settings::RateLimit, source: LoadSource) -> RateLimit {
        let wanted = feedback(settings.pipes.iter().copied()).ok().flatten();
        RateLimit {
            pipes: settings.pipes.map(State::new),
            queues: ArcSwap::from_pointee(settings.queues.clone()),
            interval: settings.interval,
            drop_rate: AtomicU32::new(0),
            controller: Mutex::new(Controller {
                factors: Factors {
                    ki: -25.0,
                    kp: 0.0,
                    kd: 0.0,
                },
                wanted: share(wanted),
                sum: 0.0,
                last_error: 0.0,
            }),
            source: Mutex::new(source),
        }
    }

    /// Counts on from what another one has counted in this interval, so that a reload lets nothing
    /// through twice.
    pub fn inherit(&self, old: &RateLimit) {
        for (new, old) in self.pipes.iter().zip(&old.pipes) {
            for (new, old) in [
                (&new.counter, &old.counter),
                (&new.last, &old.last),
                (&new.load, &old.load),
            ] {
                new.store(old.load(Relaxed), Relaxed);
            }
        }
        self.drop_rate.store(old.drop_rate.load(Relaxed), Relaxed);
    }

    /// Whether a request of this method may pass by the pipe of its queue; `None`: no queue takes it.
    pub fn check_method(&self, method: &[u8]) -> Option<bool> {
        let queues = self.queues.load();
        let exact = queues
            .iter()
            .find(|queue| queue.method.eq_ignore_ascii_case(method));
        // As in Kamailio, the last of those for all others counts.
        let other = || queues.iter().rev().find(|queue| &*queue.method == b"*");
        let pipe = exact.or_else(other)?.pipe;
        Some(self.push(self.pipes.get(pipe)?))
    }

    /// Whether a request may pass by a pipe; `None`: there is no such pipe.
    pub fn check_pipe(&self, pipe: i64) -> Option<bool> {
        let state = self.pipes.get(usize::try_from(pipe).ok()?)?;
        (state.algorithm() != Algorithm::Nop).then(|| self.push(state))
    }

    fn push(&self, pipe: &State) -> bool {
        let count = pipe.counter.fetch_add(1, Relaxed).saturating_add(1);
        match pipe.algorithm() {
            Algorithm::Nop => true,
            Algorithm::TailDrop => {
                let most = u64::from(pipe.limit.load(Relaxed)) * u64::from(self.interval);
                count <= most
            }
            Algorithm::Red => match pipe.load.load(Relaxed) {
                0 => true,
                load => count.is_multiple_of(load),
            },
            // 61 is prime to 100: each hundred requests have each number once, in no order that a sender
            // could go by.
            Algorithm::Feedback => {
                (count.wrapping_mul(61) % 100) >= u64::from(self.drop_rate.load(Relaxed))
            }
            Algorithm::Network => pipe.load.load(Relaxed) == 0,
        }
    }

    /// Ends an interval: to be called each [`Self::interval`] seconds, from one thread.
    pub fn tick(&self) {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let uses = |wanted| self.pipes.iter().any(|pipe| pipe.algorithm() == wanted);
        if uses(Algorithm::Feedback)
            && let Some(load) = source.cpu()
        {
            self.push_load(load);
        }
        let waiting = uses(Algorithm::Network).then(|| source.waiting());
        drop(source);
        for pipe in &self.pipes {
            let counted = pipe.counter.swap(0, Relaxed);
            let limit = u64::from(pipe.limit.load(Relaxed));
            match pipe.algorithm() {
                Algorithm::Network => {
                    let is_too_much = waiting.is_some_and(|waiting| waiting > limit);
                    pipe.load.store(is_too_much.into(), Relaxed);
                }
                _ => {
                    if let Some(load) = counted.checked_div(limit * u64::from(self.interval)) {
                        pipe.load.store(load, Relaxed);
                    }
                }
            }
            pipe.last.store(counted, Relaxed);
        }
    }

    /// Has FEEDBACK go by this load of the CPUs, 0 to 1.
    pub fn push_load(&self, load: f64) {
        let mut controller = self
            .controller
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.drop_rate.store(controller.update(load), Relaxed);
    }

    /// The factors behind FEEDBACK.
    pub fn factors(&self) -> Factors {
        let controller = self
            .controller
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        controller.factors
    }

    /// Sets them.
    pub fn set_factors(&self, factors: Factors) {
        let mut controller = self
            .controller
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        controller.factors = factors;
    }

    /// All pipes, in order, those that aren't used among them.
    pub fn pipes(&self) -> Vec<PipeLine> {
        let line = |pipe: &State| {
            let algorithm = pipe.algorithm();
            let load = i64::try_from(pipe.load.load(Relaxed)).unwrap_or(i64::MAX);
            PipeLine {
                algorithm,
                limit: pipe.limit.load(Relaxed),
                last: pipe.last.load(Relaxed),
                current: pipe.counter.load(Relaxed),
                // Kamailio has -1 for a network that isn't too busy.
                load: match algorithm {
                    Algorithm::Network if load == 0 => -1,
                    _ => load,
                },
            }
        };
        self.pipes.iter().map(line).collect()
    }

    /// The queues, in order.
    pub fn queues(&self) -> Arc<Vec<Queue>> {
        self.queues.load_full()
    }

    /// Sets what a pipe goes by.
    ///
    /// # Errors
    /// When there is no such pipe, or limits of FEEDBACK don't fit together.
    pub fn set_pipe(&self, number: i64, pipe: Pipe) -> Result<(), NotChanged> {
        let at = usize::try_from(number).map_err(|_| NotChanged::Pipe)?;
        let state = self.pipes.get(at).ok_or(NotChanged::Pipe)?;
        let others = self
            .pipes
            .iter()
            .enumerate()
            .map(|(other, state)| match other == at {
                true => pipe,
                false => Pipe {
                    algorithm: state.algorithm(),
                    limit: state.limit.load(Relaxed),
                },
            });
        let wanted = feedback(others)?;
        state.algorithm.store(pipe.algorithm as u8, Relaxed);
        state.limit.store(pipe.limit, Relaxed);
        state.load.store(0, Relaxed);
        let mut controller = self
            .controller
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        controller.wanted = share(wanted);
        Ok(())
    }

    /// Sets the method and the pipe of a queue.
    ///
    /// # Errors
    /// When there is no such pipe or queue.
    pub fn set_queue(&self, number: i64, queue: Queue) -> Result<(), NotChanged> {
        if queue.pipe >= PIPES {
            return Err(NotChanged::Pipe);
        }
        let at = usize::try_from(number).map_err(|_| NotChanged::Queue)?;
        let mut queues = Vec::clone(&self.queues.load());
        *queues.get_mut(at).ok_or(NotChanged::Queue)? = queue;
        self.queues.store(Arc::new(queues));
        Ok(())
    }
}

fn share(percent: Option<u32>) -> f64 {
    f64::from(percent.unwrap_or(0)) / 100.0
}

/// The one load of the CPUs, in percent, that all pipes of FEEDBACK want; `None`: there are none.
///
/// # Errors
/// [`NotChanged::Feedback`], when they want different ones, or more than 100.
pub fn feedback(pipes: impl Iterator<Item = Pipe>) -> Result<Option<u32>, NotChanged> {
    let mut wanted = None;
    for pipe in pipes.filter(|pipe| pipe.algorithm == Algorithm::Feedback) {
        if pipe.limit > 100 || wanted.is_some_and(|wanted| wanted != pipe.limit) {
            return Err(NotChanged::Feedback);
        }
        wanted = Some(pipe.limit);
    }
    Ok(wanted)
}
