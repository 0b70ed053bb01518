//! One engine's run: a warm-up, a look at what is there at rest, the load with all that happens
//! meanwhile, and the same look again.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{ObservedBooks, sys, tmux::Tmux};

use super::{
    disturb::Disturber,
    lab::{Generation, Lab, moving},
    load::{self, Context, Peers, Played, Threads},
    log,
    progress::Progress,
    results::{EngineRun, Line},
    sample::{Sample, received},
    timeline::Timeline,
    verdicts,
};
use crate::{random::Random, ui};

/// What is asked of a run.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// `xdp` or `socket`.
    pub engine: &'static str,
    /// How long there is load.
    pub time: Duration,
    /// Calls by UDP each second.
    pub rate: u64,
    /// What the random order is made of.
    pub seed: u64,
}

/// When corex is replaced: at these parts of the time.
const TAKE_OVERS: [f64; 3] = [0.1, 0.2, 0.6];
/// How long the load before the first look lasts.
const WARM_UP: Duration = Duration::from_secs(12);
/// How long what was left may take to end by itself: entries of tables, networks that are blocked for
/// some seconds, connections that nobody closed. With that, on a machine that is busy.
const RESTS: Duration = Duration::from_secs(90);
/// What doesn't move for so long stands still; threads of tokio's that had something to do once are
/// there for ten seconds more.
const STILL: Duration = Duration::from_secs(12);
/// How long a `corex top` is looked at.
const TOP: Duration = Duration::from_secs(20);

struct Run {
    order: Order,
    lab: Arc<Lab>,
    began: Instant,
    random: Random,
    generation: Generation,
    books: Vec<(u32, Result<(), String>)>,
    messages: u64,
    samples: Vec<Sample>,
    progress: Progress,
}

/// What came of a load.
struct Loaded {
    played: Vec<Played>,
    disturber: Arc<Disturber>,
}

/// Does it all. Where something isn't as it should be, logs and books are kept in that folder.
///
/// # Errors
/// It couldn't be done at all; with corex's log.
pub fn run(order: Order, binary: &Path, kept: &Path) -> Result<EngineRun> {
    ui::step(&format!("Making the networks; engine {}", order.engine));
    let lab = Arc::new(Lab::new(binary, order.engine)?);
    let outcome = on(order, &lab);
    let is_fine = outcome.as_ref().is_ok_and(EngineRun::is_fine);
    if !is_fine {
        lab.keep(kept)?;
        ui::say(&format!("Logs and books are kept in {}", kept.display()));
    }
    outcome
}

fn on(order: Order, lab: &Arc<Lab>) -> Result<EngineRun> {
    let mut random = Random::new(order.seed);
    let generation = lab.start(&mut random)?;
    let mut run = Run {
        order,
        lab: Arc::clone(lab),
        began: Instant::now(),
        random,
        generation,
        books: Vec::new(),
        messages: 0,
        samples: Vec::new(),
        progress: Progress::new(order.time),
    };
    let finished = run.all();
    let number = run.generation.number;
    finished.with_context(|| {
        let log = lab.log(number);
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(30)..];
        format!("the end of corex {number}'s log:\n{}", last.join("\n"))
    })
}

impl Run {
    fn all(&mut self) -> Result<EngineRun> {
        ui::step("Warming up");
        let warmed = self.load("warm", WARM_UP, true)?;
        let (before, _) = self.rest()?;
        ui::step(&format!(
            "{:.1} minutes of load, and what happens meanwhile",
            self.order.time.as_secs_f64() / 60.0
        ));
        self.samples.clear();
        let begin = Instant::now();
        let loaded = self.load("load", self.order.time, false)?;
        let seconds = begin.elapsed().as_secs_f64();
        ui::step("No more load: waiting for rest");
        let (after, moved) = self.rest()?;
        let guarded = self.lab.guarded()?;
        let (generation, lab) = (self.generation.number, Arc::clone(&self.lab));
        self.stop()?;
        let mut complaints = Vec::new();
        for number in 0..=generation {
            complaints.extend(log::complaints(&lab.log(number)));
        }
        let mut played = warmed.played;
        played.extend(loaded.played);
        let context = &loaded.disturber.context;
        let asked = context.counts();
        let mut judged = verdicts::lost(&played, &asked);
        judged.extend(verdicts::of_itself(&self.books, moved, &complaints));
        judged.extend(verdicts::at_rest(&before, &after, guarded));
        judged.extend(verdicts::trends(&self.samples));
        Ok(EngineRun {
            engine: self.order.engine.to_owned(),
            seconds,
            messages: self.messages,
            played: lines(&played),
            asked,
            junk: context.junk(),
            done: loaded.disturber.done(),
            verdicts: judged,
            samples: std::mem::take(&mut self.samples),
        })
    }

    /// Load for that time, with everything that happens meanwhile, or with each thing once.
    fn load(&mut self, name: &str, time: Duration, is_warm_up: bool) -> Result<Loaded> {
        let timeline = Arc::new(Timeline::default());
        let context = Context::new(&self.lab, &timeline);
        let disturber = Disturber::new(&context);
        let peers = Peers::start(&self.lab, name, self.order.rate, time.as_secs())?;
        let mut threads = load::start(&context, &mut self.random)?;
        let outcome = if is_warm_up {
            self.warm_up(&disturber, time)
        } else {
            disturber
                .start(&mut threads, &mut self.random)
                .and_then(|()| self.watch(&disturber, &peers, &threads, time))
        };
        context.end();
        // Why one ended before its time says it itself.
        threads.join().and(outcome)?;
        Ok(Loaded {
            played: peers.stop()?,
            disturber,
        })
    }

    fn warm_up(&mut self, disturber: &Disturber, time: Duration) -> Result<()> {
        let begin = Instant::now();
        let mut random = Random::new(self.random.next());
        disturber.once_each(&mut random)?;
        disturber
            .context
            .pause(time.saturating_sub(begin.elapsed()));
        Ok(())
    }

    /// Takes readings, replaces corex, and looks at `corex top`.
    fn watch(
        &mut self,
        disturber: &Disturber,
        peers: &Peers,
        threads: &Threads,
        time: Duration,
    ) -> Result<()> {
        let begin = Instant::now();
        let every = (time / 240).clamp(Duration::from_secs(1), Duration::from_secs(5));
        let mut next_sample = begin;
        let mut take_overs = self.take_overs(time).into_iter().peekable();
        let mut top: Option<(Tmux, Instant)> = None;
        while begin.elapsed() < time {
            threads.check().and_then(|()| peers.check())?;
            if take_overs.next_if(|at| begin.elapsed() >= *at).is_some() {
                self.take_over(disturber)?;
            }
            match &top {
                None => top = Some((self.top(disturber)?, Instant::now())),
                Some((terminal, since)) if since.elapsed() > TOP => {
                    look(disturber, terminal, *since);
                    top = None;
                }
                Some(_) => {}
            }
            if Instant::now() >= next_sample {
                let (sample, _) = self.generation.sample(&self.lab, self.began)?;
                self.progress.show(begin.elapsed(), &sample, peers.so_far());
                self.samples.push(sample);
                next_sample += every;
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.progress.end();
        if let Some((terminal, since)) = &top {
            look(disturber, terminal, *since);
        }
        Ok(())
    }

    fn take_overs(&self, time: Duration) -> Vec<Duration> {
        // Before that kernel the rings of an AF_XDP socket that is bound can't be mapped, and messages
        // are lost meanwhile (docs/upgrade.md).
        if self.order.engine == "xdp" && sys::kernel() < (6, 4) {
            ui::say(
                "This kernel has no take-over by AF_XDP without loss: there is none in this run.",
            );
            return Vec::new();
        }
        TAKE_OVERS.map(|part| time.mul_f64(part)).to_vec()
    }

    fn take_over(&mut self, disturber: &Disturber) -> Result<()> {
        let _calm = disturber.calm();
        let old = self.generation.number;
        let books = disturber.take_overs.disturb(|| -> Result<ObservedBooks> {
            let new = self.lab.begin_after(&self.generation)?;
            let old = std::mem::replace(&mut self.generation, new);
            old.end()
        })?;
        disturber.did("take-overs");
        self.close(old, &books);
        Ok(())
    }

    /// Takes the last books of a corex in.
    fn close(&mut self, number: u32, books: &ObservedBooks) {
        self.messages += received(books);
        let balance = books.check_balance().map_err(|error| {
            let text = format!("{error:#}");
            text.lines().next().unwrap_or_default().to_owned()
        });
        self.books.push((number, balance));
    }

    fn top(&self, disturber: &Disturber) -> Result<Tmux> {
        let number = disturber.did("corex top on a terminal");
        let command = format!(
            "{} top --interval 0.5 --socket unix:{}",
            self.lab.binary.display(),
            self.lab.work.join("ctl").display()
        );
        let name = format!("top-{number}");
        Tmux::start(self.lab.work.path(), &name, (100, 40), &[], &command)
    }

    /// Waits until what was left has ended, and nothing moves; then takes a reading. Whether counters
    /// stood still, too.
    fn rest(&mut self) -> Result<(Sample, Result<(), String>)> {
        let begin = Instant::now();
        let mut still_since = Instant::now();
        let (mut last, mut books) = self.generation.sample(&self.lab, self.began)?;
        loop {
            thread::sleep(Duration::from_millis(500));
            let (sample, now) = self.generation.sample(&self.lab, self.began)?;
            let is_left = sample.connections + sample.entries + self.lab.guarded()? > 0;
            let (was, is) = (moving(&books), moving(&now));
            let is_same = was == is
                && (last.descriptors, last.threads) == (sample.descriptors, sample.threads);
            (last, books) = (sample, now);
            if is_left || !is_same {
                still_since = Instant::now();
            }
            if still_since.elapsed() >= STILL {
                return Ok((last, Ok(())));
            }
            if begin.elapsed() >= RESTS {
                let moved = is
                    .iter()
                    .filter(|(name, value)| was.get(*name) != Some(value));
                let names: Vec<&str> = moved.map(|(name, _)| name.as_str()).collect();
                let moved = match names.is_empty() {
                    true => Ok(()),
                    false => Err(format!("{} moved", names.join(", "))),
                };
                return Ok((last, moved));
            }
        }
    }

    /// Stops the last corex.
    fn stop(&mut self) -> Result<()> {
        let number = self.generation.number;
        let status = self
            .generation
            .corex
            .process
            .terminate(Duration::from_secs(30))?;
        ensure!(status.success(), "corex ended with {status}");
        let books = ObservedBooks::read(&self.lab.books_file(number))?;
        self.close(number, &books);
        Ok(())
    }
}

/// Looks at the screen, and has it closed.
fn look(disturber: &Disturber, terminal: &Tmux, since: Instant) {
    let shown = terminal.screen().and_then(|screen| {
        ensure!(screen.contains("corex"), "it shows\n{screen}");
        terminal.keys("q")
    });
    let outcome = shown.map_err(|error| format!("{error:#}"));
    let tally = disturber.context.tally("corex top on a terminal");
    tally.note(&disturber.take_overs, since, outcome);
}

fn lines(played: &[Played]) -> Vec<Line> {
    let line = |played: &Played| Line {
        name: played.name.to_owned(),
        successful: played.report.successful,
        failed: played.report.failed,
        retransmissions: played.report.retransmissions,
    };
    let mut lines: Vec<Line> = Vec::new();
    for more in played.iter().map(line) {
        match lines.iter_mut().find(|line| line.name == more.name) {
            Some(line) => {
                line.successful += more.successful;
                line.failed += more.failed;
                line.retransmissions += more.retransmissions;
            }
            None => lines.push(more),
        }
    }
    lines
}
