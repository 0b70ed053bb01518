//! One worker's interpreter: what lasts from message to message.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;

use super::RouteEnd;
use super::by_name::ByName;
use super::changes::Changes;
use super::exec::{Exec, Halt, MAX_DEPTH};
use super::node::{AvpId, RouteId};
use super::program::Program;
use super::sampling::Sampling;
use super::store::Store;
use super::value::{Source, StrRef, Value};
use super::xavp::Xavps;
use crate::host::{Direction, Env, HookOutcome, Host, NetworkHook};
use crate::language::Engine;
use crate::latency::Kind;
use crate::limiter::Limiter;
use crate::settings::MAX_MESSAGE_LEN;
use corex_sip::SipView;
use corex_sip::compose::Edits;

/// What keeps log lines about one kind of event from becoming a flood.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub errors: Limiter,
    pub unset: Limiter,
    pub others: Limiter,
}

/// Patterns that a script made at run time.
#[derive(Default)]
pub(crate) struct Patterns {
    known: Vec<(Vec<u8>, Option<Regex>)>,
    next: usize,
}

impl Patterns {
    /// As many as a script has in use at a time, as a rule.
    const KEPT: usize = 16;

    /// The pattern of this text; `None` if it is none. `failed` is told why, once.
    pub fn get(&mut self, text: &[u8], failed: impl FnOnce(String)) -> Option<&Regex> {
        let at = match self.known.iter().position(|(known, _)| known == text) {
            Some(at) => at,
            None => {
                let made = match super::pattern::regex(text) {
                    Ok(regex) => Some(regex),
                    Err(reason) => {
                        failed(reason);
                        None
                    }
                };
                let entry = (text.to_vec(), made);
                if self.known.len() < Self::KEPT {
                    self.known.push(entry);
                    self.known.len() - 1
                } else {
                    self.next = (self.next + 1) % Self::KEPT;
                    if let Some(place) = self.known.get_mut(self.next) {
                        *place = entry;
                    }
                    self.next
                }
            }
        };
        self.known.get(at)?.1.as_ref()
    }
}

/// The interpreter of one worker: AVPs of the current message, `$var()` that last, buffers.
pub struct Runtime {
    /// An `Arc` of this worker's own around the one that all share: each run clones it, and
    /// workers that all changed the shared count would slow each other down.
    #[expect(clippy::redundant_allocation, reason = "see above")]
    program: Arc<Arc<Program>>,
    /// Its worker's number, from 0.
    pub worker: u32,
    pub(crate) store: Store,
    /// `$xavp()` of the current message.
    pub(crate) xavps: Xavps,
    /// Copies of the program's: each has scratch space of its own, for which workers would contend.
    pub(crate) regexes: Vec<Regex>,
    pub(crate) patterns: Patterns,
    pub(crate) limits: Limits,
    /// Keeps log lines about messages that can't be sent from becoming a flood.
    pub unsent: Limiter,
    pub(crate) by_name: ByName,
    /// What runs scripts in other languages, in the order of [`Program::scripts`].
    engines: Vec<Box<dyn Engine>>,
    /// What modules keep from message to message; see [`Self::kept`].
    kept: Vec<Box<dyn Any + Send>>,
    /// What a transformation yields, before it is put into the arena.
    pub(crate) transformed: Vec<u8>,
    /// Where messages are written that are about to be sent.
    pub composed: Vec<u8>,
    /// Where changes to such messages are gathered.
    pub scratch: Edits,
    /// Empty ones from runs that are over, whose memory the next ones use again: as many as runs were
    /// nested.
    #[expect(
        clippy::vec_box,
        reason = "they are taken out and put back, and not moved"
    )]
    spare: Vec<Box<Changes>>,
    /// Which runs of the hook are measured.
    sampling: Sampling,
    /// Why the last transformation of this message failed: `$codec_error`.
    pub codec_error: Option<&'static str>,
    /// How deep blocks, expressions and calls are nested right now, over all runs.
    pub depth: u32,
    /// Who sent the message in hand, or for one of the protected server's who gets it; `None`: that
    /// isn't known, and nobody is held for what it does to scripts.
    pub sender: Option<SocketAddr>,
    /// A script in another language failed, or wasn't run, since the hook began.
    pub language_failed: bool,
}

impl Runtime {
    /// An interpreter for worker `worker`, counted from 0.
    pub fn new(program: Arc<Program>, worker: u32) -> Runtime {
        Runtime {
            worker,
            store: Store::new(program.vars),
            xavps: Xavps::default(),
            regexes: program.regexes.clone(),
            patterns: Patterns::default(),
            limits: Limits::default(),
            unsent: Limiter::default(),
            by_name: ByName::default(),
            engines: program
                .scripts
                .iter()
                .map(|(_, language)| Arc::clone(language).attach(worker))
                .collect(),
            kept: program.kept(),
            transformed: Vec::new(),
            composed: Vec::new(),
            scratch: Edits::default(),
            spare: Vec::new(),
            sampling: Sampling::new(program.settings.corex.latency_sample),
            codec_error: None,
            depth: 0,
            sender: None,
            language_failed: false,
            program: Arc::new(program),
        }
    }

    /// Names and bytes of what the interpreter holds.
    pub fn memory(&self) -> Vec<(&'static str, usize)> {
        let mut memory = self.store.memory().to_vec();
        memory.push(("transformed", self.transformed.capacity()));
        memory.push(("composed", self.composed.capacity()));
        memory.extend(self.engines.iter().map(|engine| engine.memory()));
        memory
    }

    /// The engine of this type; `None` where no module that is loaded brings one.
    pub fn engine<E: Engine>(&mut self) -> Option<&mut E> {
        self.engines.iter_mut().find_map(|engine| {
            let engine: &mut dyn Any = &mut **engine;
            engine.downcast_mut()
        })
    }

    /// What a module keeps of this type; `None` where no module does.
    pub fn kept<T: 'static>(&mut self) -> Option<&mut T> {
        find_kept(&mut self.kept)
    }

    /// Forgets what belonged to the last message: its AVPs. Each `$var()` stays as it is.
    pub fn begin_message(&mut self) {
        self.store.begin_message();
        self.xavps.clear();
        self.by_name.begin_message(&mut self.store);
        self.codec_error = None;
        self.depth = 0;
        self.sender = None;
    }

    /// Runs `request_route` or `reply_route` on a message, whichever fits it.
    pub fn run_route(&mut self, env: &Env, message: &SipView<'_>, host: &mut dyn Host) -> RouteEnd {
        self.run_routes(false, env, message, host)
    }

    /// The same for a message above a rate of the guard: for a request `event_route[guard:limit]`
    /// runs, and `request_route` behind it only if it ends by `return`, or isn't there.
    pub fn run_limited_route(
        &mut self,
        env: &Env,
        message: &SipView<'_>,
        host: &mut dyn Host,
    ) -> RouteEnd {
        self.run_routes(true, env, message, host)
    }

    fn run_routes(
        &mut self,
        is_limited: bool,
        env: &Env,
        message: &SipView<'_>,
        host: &mut dyn Host,
    ) -> RouteEnd {
        let program = Arc::clone(&self.program);
        let first = if is_limited && message.is_request() {
            program.limit
        } else {
            None
        };
        let route = if message.is_request() {
            program.request
        } else {
            program.reply
        };
        let is_ack = message.method() == Some(b"ACK");
        if is_ack && program.absorbs.iter().any(|absorbs| absorbs(message)) {
            host.consume();
            return RouteEnd::Finished;
        }
        let bytes = message.message();
        let end = self.run(
            &program,
            (first, route),
            env,
            bytes,
            Some(message),
            None,
            host,
        );
        self.store.detach(bytes);
        end
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one private call for both kinds of run"
    )]
    fn run(
        &mut self,
        program: &Program,
        (first, route): (Option<RouteId>, Option<RouteId>),
        env: &Env,
        message: &[u8],
        view: Option<&SipView<'_>>,
        direction: Option<Direction>,
        host: &mut dyn Host,
    ) -> RouteEnd {
        let mark = self.store.mark();
        let depth = self.depth;
        let changes = self.spare.pop().unwrap_or_default();
        let mut exec = Exec::with(changes, program, self, host, env, message);
        exec.view = view;
        exec.direction = direction;
        let goes_on = match first {
            Some(first) => exec.run_first(first),
            None => Ok(true),
        };
        let is_done = goes_on != Ok(true)
            || view.is_some() && program.before_route.iter().any(|act| act(&mut exec));
        let outcome = match (route, goes_on) {
            (Some(route), _) if !is_done => exec.run(route),
            (_, Err(halt)) => Err(halt),
            _ => Ok(1),
        };
        let is_reply = view.is_some_and(|view| !view.is_request());
        if is_reply && matches!(outcome, Ok(_) | Err(Halt::Exit)) {
            for act in &program.after_route {
                act(&mut exec);
            }
        }
        let Exec {
            mut changes, line, ..
        } = exec;
        changes.clear();
        self.spare.push(changes);
        let end = match outcome {
            Ok(_) | Err(Halt::Exit) => RouteEnd::Finished,
            Err(Halt::Drop) => RouteEnd::Drop,
            Err(Halt::Error(error)) => {
                if let Some(held_back) = self.limits.errors.allow() {
                    tracing::error!(
                        worker = self.worker,
                        src = %env.src,
                        dst = %env.dst,
                        held_back,
                        "{}: {error}",
                        program.place(line)
                    );
                }
                RouteEnd::Failed
            }
        };
        self.depth = depth;
        self.store.release(mark);
        end
    }
}

impl NetworkHook for Runtime {
    fn run_network_msg(
        &mut self,
        env: &Env,
        payload: &[u8],
        direction: Direction,
        host: &mut dyn Host,
        out: &mut Vec<u8>,
    ) -> HookOutcome {
        let program = Arc::clone(&self.program);
        let Some(route) = program.network else {
            return HookOutcome::Unchanged;
        };
        self.language_failed = false;
        if let Some(avp) = program.msg_avp
            && program.network_copies
            && let Some(outcome) = self.copy(avp, payload)
        {
            // Less than the first bound of the histogram, so nothing reads a clock for it.
            let took = Duration::ZERO;
            program
                .latencies
                .record(self.worker, Kind::Route, Some(direction), took);
            return outcome;
        }
        let began = self.sampling.begin(direction);
        let end = self.run(
            &program,
            (None, Some(route)),
            env,
            payload,
            None,
            Some(direction),
            host,
        );
        let took = self.sampling.end(direction, began);
        program
            .latencies
            .record(self.worker, Kind::Route, Some(direction), took);
        let outcome = self.outcome(&program, env, payload, direction, end, out);
        if let Some(avp) = program.msg_avp {
            // What one hook left must not become the next one's result.
            self.store.clear_avp(avp);
        }
        self.store.detach(payload);
        outcome
    }
}

impl Runtime {
    /// What a hook does that copies `$mb` into the AVP and nothing else. `None` where running it would
    /// end in an error.
    fn copy(&mut self, avp: AvpId, payload: &[u8]) -> Option<HookOutcome> {
        // As deep as that hook goes, and then some.
        const LEVELS: u32 = 8;
        if self.depth + LEVELS > MAX_DEPTH || !self.store.takes_avp(payload.len()) {
            return None;
        }
        self.store.clear_avp(avp);
        Some(match payload.len() {
            0 => HookOutcome::Empty,
            len if len > MAX_MESSAGE_LEN as usize => HookOutcome::TooLong,
            _ => HookOutcome::Unchanged,
        })
    }

    /// What the hook's run, which ended so, has made of the message; with [`HookOutcome::Replaced`]
    /// `out` holds it.
    fn outcome(
        &mut self,
        program: &Program,
        env: &Env,
        payload: &[u8],
        direction: Direction,
        end: RouteEnd,
        out: &mut Vec<u8>,
    ) -> HookOutcome {
        let Some(avp) = program.msg_avp else {
            return if end == RouteEnd::Failed {
                HookOutcome::Failed
            } else {
                HookOutcome::Unchanged
            };
        };
        match self.store.avp(avp, 0) {
            _ if end == RouteEnd::Failed => HookOutcome::Failed,
            Value::Str(string) => {
                let bytes = self.store.bytes(string, &program.pool, payload);
                if bytes.is_empty() {
                    HookOutcome::Empty
                } else if bytes.len() > MAX_MESSAGE_LEN as usize {
                    HookOutcome::TooLong
                } else if is_whole(string, payload) || bytes == payload {
                    HookOutcome::Unchanged
                } else {
                    out.clear();
                    out.extend_from_slice(bytes);
                    HookOutcome::Replaced
                }
            }
            _ if self.language_failed => HookOutcome::Failed,
            unset => {
                if let Some(held_back) = self.limits.unset.allow() {
                    let state = match unset {
                        Value::Int(_) => "holds an integer",
                        _ => "is not set",
                    };
                    tracing::warn!(
                        worker = self.worker,
                        ?direction,
                        src = %env.src,
                        dst = %env.dst,
                        held_back,
                        "event_route[network:msg] ended and the AVP of msg_avp {state}: \
                         the message goes on as it is"
                    );
                }
                HookOutcome::Unset
            }
        }
    }
}

/// Whether a string is the message itself.
fn is_whole(string: StrRef, message: &[u8]) -> bool {
    string.source == Source::Message && string.offset == 0 && string.len as usize == message.len()
}

fn find_kept<T: 'static>(all: &mut [Box<dyn Any + Send>]) -> Option<&mut T> {
    all.iter_mut().find_map(|kept| kept.downcast_mut())
}

impl Exec<'_> {
    /// Lends the arena to what appends to a `Vec` by means of what a module keeps
    /// ([`Runtime::kept`]); `None` where it keeps nothing of that type.
    ///
    /// # Errors
    /// When the arena is then too large. What `append` fails with comes inside.
    pub fn append_with<T: 'static, E>(
        &mut self,
        input: StrRef,
        append: impl FnOnce(&mut T, &[u8], &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Option<Result<Value, E>>, Halt> {
        let (pool, message) = (&self.program.pool, self.message);
        let Runtime { kept, store, .. } = &mut *self.rt;
        let Some(kept) = find_kept::<T>(kept) else {
            return Ok(None);
        };
        let appended = store.append(input, pool, message, |input, out| append(kept, input, out))?;
        Ok(Some(appended))
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}
