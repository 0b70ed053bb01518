//! Calls, as one worker makes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::channel::Broken;
use super::frame::{Item, Kind, Malformed, Writer, items};
use super::process::Process;
use super::serve;
use super::slot::{Common, Order, Slot};
use crate::hook::backoff::Backoff;
use crate::telemetry::line::Line;
use corex_script::language::Engine;
use corex_script::limiter::Limiter;
use corex_script::quarantine::Spread;
use corex_script::run::ByNameError;
use corex_script::run::StrRef;
use corex_script::run::{Exec, Halt};
use corex_script::settings;

/// How deep calls may be nested: a function of the script sends a message, for which the hook
/// calls the script.
const MAX_DEPTH: u32 = 8;

/// How many processes are lost in a row before the engine backs off, and how many one sender's
/// messages may cost before it is held.
const LOSSES: u32 = 2;

/// The language, by the name that it has in reports.
const NAME: &str = "perl";

/// One worker's side of Perl: the process that it calls.
#[derive(Debug)]
pub(crate) struct PerlEngine {
    common: Arc<Common>,
    slot: Arc<Slot>,
    timeout: Duration,
    /// A process is replaced after so many calls; 0: never.
    reset_cycles: u32,
    process: Option<Process>,
    /// The last call's number.
    sequence: u32,
    depth: u32,
    /// When the outermost call must have ended.
    deadline: Instant,
    backoff: Backoff,
    /// Processes lost since the last call that ended well.
    losses: u32,
    log: Limiter,
    writer: Writer,
    payload: Vec<u8>,
}

impl Engine for PerlEngine {
    /// Main memory of the process, by the kernel's accounting.
    fn memory(&self) -> (&'static str, usize) {
        let process = self.process.as_ref();
        let status = process.and_then(|process| {
            std::fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()
        });
        let kib = status.as_deref().and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<usize>().ok()
        });
        ("Perl process", kib.unwrap_or(0).saturating_mul(1024))
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no script is loaded")]
    NoEngine,
    #[error("it rests after failures")]
    Rests,
    #[error("its sender is held")]
    Quarantined,
    #[error("no process is ready")]
    NotReady,
    #[error("calls are nested too deep")]
    TooDeep,
    #[error("its argument is too long")]
    TooLong,
    /// What Perl said.
    #[error("{0}")]
    Died(String),
    #[error("it returned no number but `{0}`")]
    NoNumber(String),
    #[error("{0}")]
    Broken(#[from] Broken),
    /// The process was lost by a call that was nested in this one.
    #[error("the process was lost while it was called again")]
    Lost,
}

/// How a call ended early.
enum End {
    Failed(Failure),
    Halt(Halt),
}

impl<T: Into<Failure>> From<T> for End {
    fn from(failure: T) -> End {
        End::Failed(failure.into())
    }
}

impl PerlEngine {
    pub(super) fn new(
        common: Arc<Common>,
        slot: Arc<Slot>,
        settings: &settings::Perl,
    ) -> PerlEngine {
        let mut worker = PerlEngine {
            common,
            slot,
            timeout: Duration::from_millis(settings.timeout.into()),
            reset_cycles: settings.reset_cycles,
            process: None,
            sequence: 0,
            depth: 0,
            deadline: Instant::now(),
            backoff: Backoff::default(),
            losses: 0,
            log: Limiter::default(),
            writer: Writer::default(),
            payload: Vec::new(),
        };
        worker.take_spare();
        worker
    }

    /// Goes on with the spare, if there is one.
    fn take_spare(&mut self) {
        let Some(spare) = self.slot.take() else {
            return;
        };
        if let Some(old) = self.process.replace(spare) {
            self.common.order(Order::Dismissed(old.serial));
        }
        self.common.order(Order::Look);
    }

    /// Has the process killed.
    fn lose(&mut self) {
        if let Some(process) = self.process.take() {
            self.common.order(Order::Lost(process.serial));
        }
    }

    /// The process to call, which is replaced first where it is old, worn out or gone.
    fn ready(&mut self) -> Option<&mut Process> {
        if let Some(process) = &self.process
            && self.depth == 0
        {
            let is_worn = self.reset_cycles > 0 && process.calls >= self.reset_cycles;
            let is_old = self.slot.generation() > process.generation;
            if !process.channel.is_quiet() {
                // It has ended, or says what nobody asked for.
                self.lose();
            } else if is_old || is_worn {
                self.take_spare();
            }
        }
        if self.process.is_none() {
            self.take_spare();
            // A spare may have died, too.
            if self
                .process
                .as_ref()
                .is_some_and(|it| !it.channel.is_quiet())
            {
                self.lose();
            }
        }
        self.process.as_mut()
    }

    fn survived(&mut self) {
        self.losses = 0;
        self.backoff.succeeded();
    }

    /// Notes that a call has cost the process.
    fn lost(&mut self) {
        self.losses = self.losses.saturating_add(1);
        if self.losses >= LOSSES {
            self.backoff.failed(Instant::now());
        }
    }
}

impl Drop for PerlEngine {
    fn drop(&mut self) {
        self.slot.set_left(true);
        self.common.order(Order::Look);
        if let Some(process) = self.process.take() {
            self.common.order(Order::Dismissed(process.serial));
        }
    }
}

/// Calls a function of the script, `with_message` or without; its return code. A call that fails
/// returns -1, and leaves the AVPs as they were before it.
pub(crate) fn call(
    exec: &mut Exec<'_>,
    with_message: bool,
    function: StrRef,
    argument: Option<StrRef>,
) -> Result<i64, Halt> {
    let program = exec.program;
    let counters = &program.languages.perl;
    let before = exec.before();
    let failure = match run(exec, with_message, function, argument) {
        Ok(code) => {
            if let Some(worker) = exec.rt.engine::<PerlEngine>() {
                worker.survived();
            }
            return Ok(code);
        }
        Err(End::Halt(halt)) => return Err(halt),
        Err(End::Failed(failure)) => failure,
    };
    exec.undo(before);
    exec.rt.language_failed = true;
    match &failure {
        Failure::Quarantined => {
            counters.add(|c| &c.held);
            counters.add(|c| &c.quarantined);
            return Ok(-1);
        }
        Failure::NoEngine | Failure::Rests | Failure::NotReady => counters.add(|c| &c.held),
        Failure::Broken(Broken::TimedOut) => {
            counters.add(|c| &c.errors);
            counters.add(|c| &c.timeouts);
        }
        _ => counters.add(|c| &c.errors),
    }
    let place = program.place(exec.line);
    let name = String::from_utf8_lossy(exec.bytes(function)).into_owned();
    let most = exec.rt.engine::<PerlEngine>().map(|worker| worker.timeout);
    let mut without = Limiter::default();
    let spread = blame(exec, &failure);
    let worker = exec.rt.engine::<PerlEngine>();
    let limiter = match worker {
        Some(worker) => {
            match failure {
                Failure::Died(_) | Failure::NoNumber(_) => worker.survived(),
                Failure::Broken(_) if spread == Spread::Many => worker.lost(),
                _ => {}
            }
            &mut worker.log
        }
        None => &mut without,
    };
    if let Some(held_back) = limiter.allow() {
        let reason = match (failure, most) {
            (Failure::Broken(Broken::TimedOut), Some(most)) => {
                format!("it took more than {} ms (timeout)", most.as_millis())
            }
            (failure, _) => failure.to_string(),
        };
        tracing::error!(
            worker = exec.rt.worker,
            held_back,
            "{place}: perl function {}: {}",
            Line(name.as_bytes()),
            Line(reason.as_bytes())
        );
    }
    Ok(-1)
}

/// Holds the sender whose message has cost the process, and says whether it is alone. A nested
/// call's is held when the outermost has failed, as it does then.
fn blame(exec: &mut Exec<'_>, failure: &Failure) -> Spread {
    let is_outermost = exec
        .rt
        .engine::<PerlEngine>()
        .is_some_and(|worker| worker.depth == 0);
    match (failure, exec.rt.sender) {
        (Failure::Broken(_) | Failure::Lost, Some(sender)) if is_outermost => exec
            .program
            .languages
            .quarantine
            .failed(NAME, sender, LOSSES - 1, Instant::now()),
        (_, Some(_)) => Spread::Few,
        (_, None) => Spread::Many,
    }
}

fn run(
    exec: &mut Exec<'_>,
    with_message: bool,
    function: StrRef,
    argument: Option<StrRef>,
) -> Result<i64, End> {
    let program = exec.program;
    let now = Instant::now();
    let sender = exec.rt.sender;
    let worker = exec.rt.engine::<PerlEngine>().ok_or(Failure::NoEngine)?;
    if worker.depth == 0 {
        if worker.backoff.holds(now) {
            return Err(Failure::Rests.into());
        }
        if sender.is_some_and(|it| program.languages.quarantine.holds(NAME, it, now)) {
            return Err(Failure::Quarantined.into());
        }
        worker.deadline = now + worker.timeout;
    } else if worker.depth >= MAX_DEPTH {
        return Err(Failure::TooDeep.into());
    }
    let deadline = worker.deadline;
    if now >= deadline {
        // The call around this one has used the time up; no process is to blame.
        return Err(Failure::Rests.into());
    }
    let process = worker.ready().ok_or(Failure::NotReady)?;
    process.calls = process.calls.saturating_add(1);
    let serial = process.serial;
    worker.sequence = worker.sequence.wrapping_add(1);
    let sequence = worker.sequence;
    let mut buffers = (
        std::mem::take(&mut worker.writer),
        std::mem::take(&mut worker.payload),
    );
    program.languages.perl.add(|c| &c.runs);
    let (writer, payload) = &mut buffers;
    writer.begin(Kind::Call, sequence);
    writer.push(Item::Str(exec.bytes(function)));
    writer.push(Item::Int(with_message.into()));
    if let Some(argument) = argument {
        writer.push(Item::Str(exec.bytes(argument)));
    }
    let mut call = Call {
        serial,
        sequence,
        deadline,
        halt: None,
    };
    let end = match (writer.finish(), exec.rt.engine::<PerlEngine>()) {
        (Some(frame), Some(worker)) => {
            worker.depth += 1;
            let sent = worker.send(serial, frame, deadline);
            let end = sent
                .map_err(End::from)
                .and_then(|()| call.serve(exec, writer, payload));
            if let Some(worker) = exec.rt.engine::<PerlEngine>() {
                worker.depth -= 1;
                if matches!(end, Err(End::Failed(Failure::Broken(_)))) && worker.has(serial) {
                    worker.lose();
                }
            }
            end
        }
        _ => Err(Failure::TooLong.into()),
    };
    if let Some(worker) = exec.rt.engine::<PerlEngine>() {
        (worker.writer, worker.payload) = buffers;
    }
    match call.halt {
        // What ended the run ends it, whatever the script made of that.
        Some(halt) => Err(End::Halt(halt)),
        None => end,
    }
}

impl PerlEngine {
    fn has(&self, serial: u64) -> bool {
        self.process.as_ref().is_some_and(|it| it.serial == serial)
    }

    /// The process of this number, if it is still the one.
    fn process(&mut self, serial: u64) -> Result<&mut Process, Failure> {
        let process = self.process.as_mut();
        process
            .filter(|process| process.serial == serial)
            .ok_or(Failure::Lost)
    }

    fn send(&mut self, serial: u64, frame: &[u8], deadline: Instant) -> Result<(), Failure> {
        Ok(self.process(serial)?.channel.send(frame, deadline)?)
    }
}

/// A call that was made.
struct Call {
    /// The process.
    serial: u64,
    sequence: u32,
    deadline: Instant,
    /// What is to end the run when the script has returned.
    halt: Option<Halt>,
}

impl Call {
    /// Answers what the script asks until it returns.
    fn serve(
        &mut self,
        exec: &mut Exec<'_>,
        writer: &mut Writer,
        payload: &mut Vec<u8>,
    ) -> Result<i64, End> {
        loop {
            let worker = exec.rt.engine::<PerlEngine>().ok_or(Failure::NoEngine)?;
            let process = worker.process(self.serial)?;
            let header = process.channel.receive(payload, self.deadline)?;
            let items = items(payload).map_err(Broken::from)?;
            match header.kind {
                Kind::Done | Kind::Died if header.sequence == self.sequence => {
                    let item = items.first().copied().unwrap_or(Item::Null);
                    return Ok(result(header.kind, item)?);
                }
                Kind::Log => serve::log(&items).map_err(Broken::from)?,
                Kind::AvpAdd => {
                    let added = serve::add_avp(exec, &items);
                    if let Some(reason) = self.sort_out(added)? {
                        exec.complain(format_args!("{reason}"));
                    }
                }
                kind => {
                    writer.begin(Kind::Reply, header.sequence);
                    let answer = serve::answer(exec, kind, &items, writer);
                    let refused = self.sort_out(answer)?.or_else(|| {
                        let too_long = writer.finish().is_none();
                        too_long.then(|| "the answer is too long".to_owned())
                    });
                    if let Some(reason) = refused {
                        writer.begin(Kind::Refuse, header.sequence);
                        writer.push(Item::Str(reason.as_bytes()));
                    }
                    let frame = writer.finish().ok_or(Failure::TooLong)?;
                    let worker = exec.rt.engine::<PerlEngine>().ok_or(Failure::NoEngine)?;
                    worker.send(self.serial, frame, self.deadline)?;
                }
            }
            // A script that asks all the time never makes us wait.
            if Instant::now() >= self.deadline {
                return Err(Broken::TimedOut.into());
            }
        }
    }

    /// What to tell the script where something went wrong; notes what is to end the run.
    fn sort_out(&mut self, result: Result<(), serve::Error>) -> Result<Option<String>, Failure> {
        match result {
            Ok(()) => Ok(None),
            Err(serve::Error::Late(ByNameError::Wrong(reason))) => Ok(Some(reason)),
            Err(serve::Error::Late(ByNameError::Halt(halt))) => {
                self.halt = Some(halt);
                Ok(Some("the configuration's script has ended".to_owned()))
            }
            Err(serve::Error::Malformed(malformed)) => Err(Broken::from(malformed).into()),
        }
    }
}

fn result(kind: Kind, item: Item<'_>) -> Result<i64, Failure> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match (kind, item) {
        (Kind::Done, Item::Int(code)) => Ok(code),
        (Kind::Done, Item::Str(other)) => Err(Failure::NoNumber(text(other))),
        (Kind::Done, Item::Null) => Err(Failure::NoNumber("undef".to_owned())),
        (_, Item::Str(reason)) => Err(Failure::Died(text(reason))),
        _ => Err(Broken::from(Malformed::Values).into()),
    }
}
