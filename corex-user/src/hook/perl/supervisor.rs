//! The thread that starts processes, reads what they print, and buries them, so that no worker
//! ever has to.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::channel::{Broken, Channel};
use super::frame::{self, Kind};
use super::output::Output;
use super::process::{Process, Setup};
use super::slot::{Common, Order, Slot};
use crate::hook::backoff::Backoff;
use crate::telemetry::line::Line;
use corex_script::limiter::Limiter;

/// A script must be loaded within this time.
pub(super) const START: Duration = Duration::from_secs(10);

/// How long a process that may end by itself has to do so.
const LEAVE: Duration = Duration::from_secs(2);

/// The most processes that load the script at the same time.
const STARTING: usize = 8;

/// How often the supervisor looks at processes while none of them wakes it.
const TICK: Duration = Duration::from_secs(1);

/// The same while one is about to end.
const SHORT_TICK: Duration = Duration::from_millis(10);

struct Kept {
    child: Child,
    serial: u64,
    generation: u64,
    slot: Arc<Slot>,
    output: Output,
    state: State,
    /// How it ended, once it has.
    ended: Option<String>,
}

enum State {
    /// It loads the script.
    Starting { channel: Channel, until: Instant },
    /// It waits in its slot, or a worker has it.
    Given,
    /// Nobody talks to it any more; it is killed then.
    Leaving { until: Instant },
    /// It was killed.
    Killed,
}

/// What is known of a slot.
#[derive(Default)]
struct Care {
    /// How long to wait after a start that failed.
    backoff: Backoff,
    /// Bounds what goes to the log from its processes.
    output: Limiter,
}

pub(super) struct Supervisor {
    setup: Setup,
    common: Arc<Common>,
    orders: Receiver<Order>,
    wake: UnixStream,
    kept: Vec<Kept>,
    /// By the slot's number.
    care: Vec<(u32, Care)>,
    serial: u64,
    /// The generation (the reading of the script) that processes are started for.
    wanted: u64,
    /// The newest generation that a process has loaded.
    loaded: u64,
    log: Limiter,
    stopping: bool,
}

impl Supervisor {
    pub fn new(
        setup: Setup,
        common: Arc<Common>,
        orders: Receiver<Order>,
        wake: UnixStream,
    ) -> Supervisor {
        Supervisor {
            setup,
            common,
            orders,
            wake,
            kept: Vec::new(),
            care: Vec::new(),
            serial: 0,
            wanted: 1,
            loaded: 0,
            log: Limiter::default(),
            stopping: false,
        }
    }

    /// Runs until it is told to stop and no process is left.
    pub fn run(mut self) {
        loop {
            self.follow_orders();
            if self.stopping && self.kept.is_empty() {
                return;
            }
            if !self.stopping {
                self.start_missing();
            }
            self.wait();
            self.listen();
            self.bury();
        }
    }

    fn follow_orders(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Look => {}
                Order::Lost(serial) => self.kill(serial),
                Order::Dismissed(serial) => self.dismiss(serial),
                Order::Reload => {
                    self.common.count(|c| &c.reloads);
                    self.wanted += 1;
                    for (_, care) in &mut self.care {
                        care.backoff.succeeded();
                    }
                }
                Order::Stop => self.stop(),
            }
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        let until = Instant::now() + LEAVE;
        for slot in self.common.slots() {
            // Its socket is closed, which the process takes as the end.
            drop(slot.take());
        }
        for kept in &mut self.kept {
            kept.state = State::Leaving { until };
        }
    }

    fn kill(&mut self, serial: u64) {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.serial == serial) {
            self.common.count(|c| &c.restarts);
            kept.kill();
        }
    }

    fn dismiss(&mut self, serial: u64) {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.serial == serial) {
            let until = Instant::now() + LEAVE;
            kept.state = State::Leaving { until };
        }
    }

    fn care(&mut self, number: u32) -> Option<&mut Care> {
        if !self.care.iter().any(|(known, _)| *known == number) {
            self.care.push((number, Care::default()));
        }
        let mut care = self.care.iter_mut();
        care.find(|(known, _)| *known == number)
            .map(|(_, care)| care)
    }

    /// Starts a process for each slot that has none of the wanted generation.
    fn start_missing(&mut self) {
        for slot in self.common.slots() {
            if slot.is_left() {
                if let Some(spare) = slot.take() {
                    self.dismiss(spare.serial);
                }
                continue;
            }
            let is_starting = |kept: &Kept| matches!(kept.state, State::Starting { .. });
            let for_it = |kept: &&Kept| kept.slot.number == slot.number;
            let starting = self.kept.iter().filter(|kept| is_starting(kept));
            let here = starting.clone().filter(for_it);
            if starting.count() >= STARTING
                || slot.generation() == self.wanted
                || here.map(|kept| kept.generation).max() == Some(self.wanted)
            {
                continue;
            }
            let now = Instant::now();
            if self
                .care(slot.number)
                .is_some_and(|care| care.backoff.holds(now))
            {
                continue;
            }
            match self.setup.spawn(slot.number) {
                Ok((child, channel, output)) => {
                    self.serial += 1;
                    self.kept.push(Kept {
                        child,
                        serial: self.serial,
                        generation: self.wanted,
                        slot,
                        output: Output::new(output),
                        state: State::Starting {
                            channel,
                            until: now + START,
                        },
                        ended: None,
                    });
                }
                Err(error) => {
                    let program = self.setup.settings.interpreter.display().to_string();
                    let reason = if error.kind() == std::io::ErrorKind::NotFound {
                        format!("there is no {program}: install perl, or set perl_path")
                    } else {
                        format!("{program} can't be started: {error}")
                    };
                    self.failed(&slot, self.wanted, &reason);
                }
            }
        }
    }

    /// Notes that no process of this generation could be started.
    fn failed(&mut self, slot: &Slot, generation: u64, reason: &str) {
        if let Some(care) = self.care(slot.number) {
            care.backoff.failed(Instant::now());
        }
        if !self.common.is_started() {
            self.common.set_started(Err(reason.to_owned()));
            return;
        }
        if let Some(held_back) = self.log.allow() {
            tracing::error!(
                worker = slot.number,
                held_back,
                "no perl process could be started: {}",
                Line(reason.as_bytes())
            );
        }
        if generation == self.wanted && self.loaded < self.wanted {
            // It is none that could be gone on with.
            self.wanted = self.loaded;
            self.common.count(|c| &c.reload_errors);
            tracing::error!("the script stays as it was");
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self) {
        let ends = |kept: &Kept| matches!(kept.state, State::Leaving { .. } | State::Killed);
        let tick = if self.kept.iter().any(ends) {
            SHORT_TICK
        } else {
            TICK
        };
        let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        for kept in &self.kept {
            if let Some(pipe) = kept.output.pipe() {
                fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            }
            if let State::Starting { channel, .. } = &kept.state {
                fds.push(PollFd::new(channel.as_fd(), PollFlags::POLLIN));
            }
        }
        let timeout = PollTimeout::try_from(tick).unwrap_or(PollTimeout::MAX);
        if poll(&mut fds, timeout).is_err() {
            // Interrupted: the next round asks again.
            return;
        }
        // Only to be woken by.
        let _ = self.wake.read(&mut [0; 64]);
    }

    /// Takes in what processes have said.
    fn listen(&mut self) {
        for at in 0..self.kept.len() {
            self.read_output(at);
            if let Some(result) = self.starting(at) {
                self.finish_start(at, result);
            }
        }
    }

    fn read_output(&mut self, at: usize) {
        let Some(number) = self.kept.get(at).map(|kept| kept.slot.number) else {
            return;
        };
        // Made now, so that it is there below.
        self.care(number);
        let mut care = self.care.iter_mut();
        let limiter = care.find(|(known, _)| *known == number);
        if let (Some(kept), Some((_, care))) = (self.kept.get_mut(at), limiter) {
            kept.output.read(number, &mut care.output);
        }
    }

    /// How a start went, once that is known.
    fn starting(&mut self, at: usize) -> Option<Result<(), String>> {
        let kept = self.kept.get_mut(at)?;
        let State::Starting { channel, until } = &mut kept.state else {
            return None;
        };
        let mut rest = Vec::new();
        let now = Instant::now();
        Some(match channel.receive(&mut rest, now) {
            Ok(header) if header.kind == Kind::Ready => Ok(()),
            Ok(header) if header.kind == Kind::NotLoaded => {
                let items = frame::items(&rest).unwrap_or_default();
                let reason = items.first().and_then(|item| item.bytes());
                let reason = String::from_utf8_lossy(reason.unwrap_or_default());
                Err(reason.trim_end().to_owned())
            }
            Err(Broken::TimedOut) if now < *until => return None,
            Err(Broken::TimedOut) => Err(format!(
                "the script was not loaded within {} seconds",
                START.as_secs()
            )),
            Err(Broken::Ended) => {
                // What it said last tells why.
                kept.output.drain(kept.slot.number, &mut self.log);
                Err(if kept.output.out_of_memory {
                    "loading the script takes more memory than max_memory allows".to_owned()
                } else {
                    "perl ended while it loaded the script".to_owned()
                })
            }
            Ok(_) => Err("the process sent a frame of the wrong kind".to_owned()),
            Err(other) => Err(other.to_string()),
        })
    }

    fn finish_start(&mut self, at: usize, result: Result<(), String>) {
        let Some(kept) = self.kept.get_mut(at) else {
            return;
        };
        let slot = Arc::clone(&kept.slot);
        let generation = kept.generation;
        if let Err(reason) = result {
            kept.kill();
            self.failed(&slot, generation, &reason);
            return;
        }
        let serial = kept.serial;
        let pid = kept.child.id();
        let State::Starting { channel, .. } = std::mem::replace(&mut kept.state, State::Given)
        else {
            return;
        };
        let old = slot.put(Process {
            serial,
            generation,
            pid,
            channel,
            calls: 0,
        });
        if let Some(old) = old {
            self.dismiss(old.serial);
        }
        if let Some(care) = self.care(slot.number) {
            care.backoff.succeeded();
        }
        self.loaded = self.loaded.max(generation);
        self.common.set_started(Ok(()));
        self.common.notify();
    }

    /// Sees to processes that have ended or should.
    fn bury(&mut self) {
        let now = Instant::now();
        for kept in &mut self.kept {
            if let State::Leaving { until } = kept.state
                && until <= now
            {
                kept.kill();
            }
            kept.ended = match kept.child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(format!(": {status}")),
                Err(error) => Some(format!(": {error}")),
            };
        }
        if self.kept.iter().all(|kept| kept.ended.is_none()) {
            return;
        }
        // Who told one of them to end has said so before.
        self.follow_orders();
        let (ended, kept) = self.kept.drain(..).partition(|kept| kept.ended.is_some());
        self.kept = kept;
        let ended: Vec<Kept> = ended;
        for kept in ended {
            self.buried(kept);
        }
    }

    fn buried(&mut self, mut kept: Kept) {
        let number = kept.slot.number;
        // Its last words, as far as they are there: a child of its own may hold the pipe open.
        kept.output.drain(number, &mut self.log);
        if kept.output.out_of_memory {
            self.common.count(|c| &c.memory);
        }
        let is_spare = kept.slot.serial() == Some(kept.serial);
        match kept.state {
            State::Given if is_spare => {
                drop(kept.slot.take());
                self.common.count(|c| &c.restarts);
                if let Some(care) = self.care(number) {
                    care.backoff.failed(Instant::now());
                }
            }
            // Its worker will notice, and say so; then there is nothing left to do.
            State::Given => self.common.count(|c| &c.restarts),
            State::Starting { .. } => {
                let reason = "perl ended while it loaded the script";
                self.failed(&Arc::clone(&kept.slot), kept.generation, reason);
            }
            State::Leaving { .. } => return,
            State::Killed => {}
        }
        if let Some(held_back) = self.log.allow() {
            let how = kept.ended.unwrap_or_default();
            tracing::warn!(worker = number, held_back, "a perl process has ended{how}");
        }
    }
}

impl Kept {
    /// Kills it and what it has started.
    fn kill(&mut self) {
        self.state = State::Killed;
        // It is not waited for yet, so that its number can't be another's. The second is for
        // the moment before it has its group.
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.kill();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for kept in &mut self.kept {
            kept.kill();
            let _ = kept.child.wait();
        }
    }
}
