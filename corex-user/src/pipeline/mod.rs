//! What happens to one message: incoming hook, SIP view, route, outgoing hook, transmit;
//! and the verdict that the books get.
//!
//! The same for every engine: a message comes as [`Inbound`], and leaves through an
//! [`Egress`].

mod answers;
mod context;
mod copies;
pub mod files;
pub mod fixed;
mod inline;
pub mod outbox;
mod overload;
mod pass;
mod source;
mod waiting;
mod ways;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::SystemTime};

use corex_common::counters::WorkerCounters;

use self::{
    answers::may_be_answered,
    pass::{Failure, Pass, Returned},
    ways::Ways,
};
pub use self::{
    context::{Listener, PipelineContext, own_sockets, set_knobs},
    inline::Intercepted,
    overload::{Overload, Shed},
    source::is_local,
    waiting::Resumed,
    ways::same,
};
use crate::{
    chain::{Native, Passed},
    guard::Subject,
    hook,
    telemetry::{
        peers::Peers,
        trace::{Tap, Traced},
    },
};
use corex_script::limiter::Limiter;
use corex_script::settings::Strict;
use corex_script::{ConnectionId, Direction, Env, HookOutcome, RouteEnd, Runtime, SocketId};
use corex_sip::strict::FaultKind;
use corex_sip::{NotSip, SipView, StartLine, Transport};

/// Time to live, or hop limit, of datagrams that continue nothing: Linux's default.
pub const INITIAL_TTL: u8 = 64;

/// A message as it came from the network.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'m> {
    /// Its bytes.
    pub payload: &'m [u8],
    /// Who sent it.
    pub source: SocketAddr,
    /// Our address that it was sent to.
    pub local: SocketAddr,
    /// The listen socket.
    pub socket: SocketId,
    /// The transport that it came by.
    pub transport: Transport,
    /// The connection that it came on.
    pub connection: Option<ConnectionId>,
    /// Time to live, or hop limit, of the datagram that it came in.
    pub ttl: Option<u8>,
}

impl Inbound<'_> {
    /// What is left of the time to live for a datagram that goes on; `None`: nothing.
    #[inline]
    fn ttl_left(&self) -> Option<u8> {
        match self.ttl {
            Some(ttl) => ttl.checked_sub(1).filter(|left| *left > 0),
            None => Some(INITIAL_TTL),
        }
    }
}

/// A message to be transmitted.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'m> {
    /// Its bytes. The very slice of [`Inbound::payload`], where it is unchanged.
    pub payload: &'m [u8],
    /// The listen socket to send from.
    pub socket: SocketId,
    /// Our address, unspecified where the kernel is to choose.
    pub local: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
}

/// Why a message didn't leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransmitError {
    /// More than a UDP datagram carries.
    #[error("larger than a UDP datagram")]
    TooLong,
    /// The kernel refused it.
    #[error("the kernel refused the datagram: {0}")]
    Kernel(std::io::ErrorKind),
}

/// The way out: AF_XDP, or a kernel socket.
pub trait Egress {
    /// Sends a message, or makes sure that it will be sent.
    ///
    /// # Errors
    /// When it can't leave by any road.
    fn transmit(
        &mut self,
        out: Outbound<'_>,
        counters: &mut WorkerCounters,
    ) -> Result<(), TransmitError>;
}

/// One worker's pipeline.
pub struct Pipeline {
    context: std::sync::Arc<PipelineContext>,
    runtime: Runtime,
    /// What the worker counted.
    pub counters: WorkerCounters,
    /// What it counted by peer; nothing, unless it is replaced.
    pub peers: Peers,
    /// How hard pressed the worker is, and what goes first then.
    pub overload: Overload,
    /// Chains that run without a script.
    native: Native,
    /// What is answered without a script.
    answer: Vec<u8>,
    /// What the chain of `codec_in` made of a message.
    unwrapped: Vec<u8>,
    /// What the chain of `codec_out` made of one.
    wrapped: Vec<u8>,
    /// The incoming hook's result.
    decoded: Vec<u8>,
    /// The outgoing hook's result.
    encoded: Vec<u8>,
    ways: Ways,
    not_sip: Limiter,
    /// The message at hand has waited for a key: it doesn't wait again.
    has_waited: bool,
    /// It is decoded, although the hook would do that.
    skips_hook: bool,
    /// The next message, or that at hand, is above a rate of the guard, and is for
    /// `event_route[guard:limit]`.
    pub is_limited: bool,
}

impl Pipeline {
    /// A pipeline with an interpreter of its own.
    pub fn new(context: std::sync::Arc<PipelineContext>, worker: u32) -> Self {
        let runtime = Runtime::new(context.config.program.clone(), worker);
        Self {
            runtime,
            counters: WorkerCounters::default(),
            peers: Peers::default(),
            overload: Overload::new(None, worker),
            native: Native::new(&context.config.program, worker),
            context,
            answer: Vec::new(),
            unwrapped: Vec::new(),
            wrapped: Vec::new(),
            decoded: Vec::new(),
            encoded: Vec::new(),
            ways: Ways::default(),
            not_sip: Limiter::default(),
            has_waited: false,
            skips_hook: false,
            is_limited: false,
        }
    }

    /// What is the same for all workers.
    pub fn context(&self) -> &PipelineContext {
        &self.context
    }

    /// Names and bytes of what is held between messages.
    pub fn memory(&self) -> Vec<(&'static str, usize)> {
        let mut memory = self.runtime.memory();
        memory.push(("codec_in's result", self.unwrapped.capacity()));
        memory.push(("codec_out's result", self.wrapped.capacity()));
        memory.push(("incoming hook's result", self.decoded.capacity()));
        memory.push(("outgoing hook's result", self.encoded.capacity()));
        memory
    }

    /// Changes over to this configuration, unless it is the one in use: AVPs and `$var()` begin
    /// anew.
    pub fn follow(&mut self, context: &std::sync::Arc<PipelineContext>) {
        if std::sync::Arc::ptr_eq(context, &self.context) {
            return;
        }
        self.context = std::sync::Arc::clone(context);
        self.runtime = Runtime::new(context.config.program.clone(), self.runtime.worker);
        self.native = Native::new(&context.config.program, self.runtime.worker);
        self.ways.follow();
    }

    /// Whether the guard doesn't let a message in that no program has judged; that is its verdict
    /// then. Else it is to be [taken through](Self::receive).
    #[inline]
    pub fn refuses(&mut self, inbound: &Inbound<'_>) -> bool {
        self.context.guard.is_on() && self.is_refused(inbound)
    }

    fn is_refused(&mut self, inbound: &Inbound<'_>) -> bool {
        let guard = &self.context.guard;
        let judgement = guard.judge(&subject_of(inbound), &mut self.counters);
        if judgement.refused.is_none() {
            self.is_limited = judgement.is_limited;
            return false;
        }
        self.counters.bytes_in += inbound.payload.len() as u64;
        self.peers
            .received(inbound.source.ip(), inbound.payload.len());
        true
    }

    /// Takes one message through, and counts exactly one verdict.
    pub fn receive(&mut self, inbound: Inbound<'_>, egress: &mut dyn Egress) {
        self.take(inbound, egress);
        self.is_limited = false;
    }

    fn take(&mut self, inbound: Inbound<'_>, egress: &mut dyn Egress) {
        self.counters.bytes_in += inbound.payload.len() as u64;
        self.peers
            .received(inbound.source.ip(), inbound.payload.len());
        if may_be_answered(&inbound) && self.answers(&inbound, egress) {
            return;
        }
        let knobs = &self.context.knobs;
        if inbound.transport == Transport::Udp && inbound.payload.len() < knobs.probe_len() as usize
        {
            self.counters.drop_probe += 1;
            return;
        }
        if self.sheds(&inbound, egress) {
            return;
        }
        self.begin(&inbound, egress);
    }

    /// The same, for a message that is counted as received already.
    fn begin(&mut self, inbound: &Inbound<'_>, egress: &mut dyn Egress) {
        if self.follows_at_once(inbound, egress) {
            return;
        }
        self.runtime.begin_message();
        self.runtime.sender = Some(inbound.source);
        let mut is_decoded = false;
        let is_short = inbound.payload.len() < self.context.knobs.min_msg_len() as usize;
        if !is_short && self.native.decodes() {
            match self.native.decode(
                inbound.source,
                inbound.local,
                inbound.payload,
                &mut self.unwrapped,
                &mut self.counters,
            ) {
                Passed::Unchanged => {}
                Passed::Changed => is_decoded = true,
                Passed::Failed(reason) => self.runtime.codec_error = Some(reason.name()),
                Passed::Dropped => {
                    self.counters.drop_codec += 1;
                    if let Some(notice) = self.native.take_notice() {
                        self.answer(inbound, &notice, egress);
                    }
                    return;
                }
                Passed::Waits(wait) => return self.hold(wait, inbound, None),
            }
        }
        self.go_on(inbound, is_decoded, egress);
    }

    /// The same, for a message that `codec_in` is done with; `is_decoded`: it is in `unwrapped`.
    #[inline]
    fn go_on(&mut self, inbound: &Inbound<'_>, is_decoded: bool, egress: &mut dyn Egress) {
        let corex = &self.context.config.settings.corex;
        let mut message = if is_decoded {
            &self.unwrapped[..]
        } else {
            inbound.payload
        };
        let mut pass = Pass {
            context: &self.context,
            counters: &mut self.counters,
            peers: &mut self.peers,
            egress,
            inbound,
            native: &mut self.native,
            wrapped: &mut self.wrapped,
            encoded: &mut self.encoded,
            ways: &mut self.ways,
            sent: 0,
            replied: 0,
            consumed: 0,
            failure: None,
            wait: None,
            has_waited: self.has_waited,
            is_departing: false,
            in_hook: false,
            asked: None,
            returned: Returned::default(),
        };
        let env = Env {
            src: inbound.source,
            dst: inbound.local,
            transport: inbound.transport,
            socket: inbound.socket,
            connection: inbound.connection,
        };

        if corex.network_io_intercept && !self.skips_hook {
            if inbound.payload.len() < self.context.knobs.min_msg_len() as usize {
                pass.counters.hook_skipped += 1;
            } else {
                pass.counters.hook_in += 1;
                pass.counters.hook_in_before += message.len() as u64;
                pass.in_hook = true;
                let outcome = hook::run(
                    &mut self.runtime,
                    &env,
                    message,
                    Direction::Incoming,
                    &mut pass,
                    &mut self.decoded,
                );
                pass.in_hook = false;
                if let Some(wait) = pass.wait.take() {
                    pass.counters.hook_in_after += message.len() as u64;
                    return self.hold(wait, inbound, None);
                }
                match outcome {
                    HookOutcome::Unchanged => {}
                    HookOutcome::Replaced => {
                        pass.counters.hook_replaced += 1;
                        message = &self.decoded;
                    }
                    HookOutcome::Unset => pass.counters.hook_unset += 1,
                    HookOutcome::Failed => {
                        pass.counters.hook_failed += 1;
                        if corex.drops_on_hook_failure {
                            pass.counters.drop_hook_failed += 1;
                            return;
                        }
                    }
                    HookOutcome::Empty => {
                        pass.counters.drop_hook_empty += 1;
                        return;
                    }
                    HookOutcome::TooLong => {
                        pass.counters.drop_hook_too_long += 1;
                        return;
                    }
                }
                pass.counters.hook_in_after += message.len() as u64;
            }
        }

        if self.context.tap.is_open() {
            let is_changed = message != inbound.payload;
            trace(
                &self.context.tap,
                &env,
                Direction::Incoming,
                inbound.payload,
                is_changed.then_some(message),
            );
        }

        let view = match view_of(message, corex.strict) {
            Ok(view) => view,
            Err(reason) => {
                pass.counters.drop_not_sip += 1;
                if let Some(held_back) = self.not_sip.allow() {
                    tracing::warn!(
                        source = %inbound.source,
                        socket = %self.context.listener(inbound.socket),
                        held_back,
                        "not SIP, dropped: {reason}; it begins {}",
                        first_bytes(message)
                    );
                }
                return;
            }
        };
        if !std::ptr::eq(message, inbound.payload) && self.context.guard.is_on() {
            let subject = Subject {
                message,
                ..subject_of(inbound)
            };
            if self.context.guard.refuses_decoded(&subject, pass.counters) {
                return;
            }
        }
        self.context.copy(message, Direction::Incoming, &env);
        let is_reply = matches!(view.start_line(), StartLine::Reply { .. });
        if self.is_limited && is_reply {
            pass.counters.drop_guard_rate += 1;
            return;
        }
        let end = if self.is_limited {
            self.runtime.run_limited_route(&env, &view, &mut pass)
        } else {
            match pass.follow(&view, message, &mut self.runtime) {
                Some(end) => end,
                None => self.runtime.run_route(&env, &view, &mut pass),
            }
        };
        let (sent, replied, consumed) = (pass.sent, pass.replied, pass.consumed);
        let returned = match pass.returned {
            Returned {
                to: Some(to),
                is_genuine,
            } if is_reply && overload::establishes(&view) => {
                (is_genuine || self.context.guard.allows(&subject_of(inbound))).then_some(to)
            }
            _ => None,
        };
        let failure = pass.failure;
        if let Some(wait) = pass.wait.take() {
            return self.hold(wait, inbound, None);
        }
        if let Some(to) = returned {
            self.learn([inbound.source.ip(), to]);
        }
        if end == RouteEnd::Failed {
            self.counters.route_failed += 1;
        }
        let counters = &mut self.counters;
        *match (failure, end) {
            _ if sent > 0 => &mut counters.sent,
            _ if replied > 0 => &mut counters.replied,
            _ if consumed > 0 => &mut counters.consumed,
            (Some(Failure::Refused(why)), _) => refused(counters, why),
            (Some(Failure::Forged), _) => &mut counters.drop_reply_forged,
            (Some(Failure::Unresolved), _) => &mut counters.drop_send_unresolved,
            (Some(Failure::NoSocket), _) => &mut counters.drop_send_no_socket,
            (Some(Failure::OwnSocket), _) => &mut counters.drop_send_self,
            (Some(Failure::Ttl), _) => &mut counters.drop_send_ttl,
            (Some(Failure::TooLong), _) => &mut counters.drop_send_too_long,
            (Some(Failure::Codec), _) => &mut counters.drop_codec,
            (Some(Failure::KeyQueueFull), _) => &mut counters.drop_key_queue_full,
            (Some(Failure::HookEmpty), _) => &mut counters.drop_hook_empty,
            (Some(Failure::HookFailed), _) => &mut counters.drop_hook_failed,
            (Some(Failure::HookTooLong), _) => &mut counters.drop_hook_too_long,
            (Some(Failure::QueueFull), _) => &mut counters.drop_send_queue_full,
            (Some(Failure::NoConnection), _) => &mut counters.drop_send_no_connection,
            (Some(Failure::NoTransport), _) => &mut counters.drop_send_no_transport,
            (Some(Failure::Kernel), _) => &mut counters.drop_send_error,
            (None, RouteEnd::Failed) => &mut counters.drop_route_failed,
            (None, RouteEnd::Drop) => &mut counters.drop_script,
            (None, _) if is_reply => &mut counters.drop_reply_unrouted,
            (None, _) => &mut counters.drop_request_unrouted,
        } += 1;
    }
}

/// A message as the guard sees it.
fn subject_of<'m>(inbound: &Inbound<'m>) -> Subject<'m> {
    Subject {
        source: inbound.source.ip(),
        transport: inbound.transport,
        local_port: inbound.local.port(),
        socket: inbound.socket.0.into(),
        message: inbound.payload,
    }
}

/// A message as a SIP message. With `strict` also one that isn't quite: core answers it before its
/// route.
fn view_of(message: &[u8], strict: Strict) -> Result<SipView<'_>, NotSip> {
    SipView::parse(message).or_else(|reason| {
        let refused = match reason {
            NotSip::Version | NotSip::RequestUri if strict != Strict::Off => {
                SipView::parse_refused(message)
            }
            _ => None,
        };
        refused.ok_or(reason)
    })
}

/// What counts messages that weren't forwarded for this reason.
const fn refused(counters: &mut WorkerCounters, why: FaultKind) -> &mut u64 {
    match why {
        FaultKind::Missing => &mut counters.drop_header_missing,
        FaultKind::Doubled => &mut counters.drop_header_doubled,
        FaultKind::Malformed => &mut counters.drop_header_malformed,
        FaultKind::Length => &mut counters.drop_content_length,
        FaultKind::RequestUri => &mut counters.drop_request_uri,
        FaultKind::Version => &mut counters.drop_sip_version,
        FaultKind::Extension => &mut counters.drop_proxy_require,
        FaultKind::Hops => &mut counters.drop_hops,
        FaultKind::Loop => &mut counters.drop_loop,
    }
}

/// Shows a message to those who trace messages.
fn trace(tap: &Tap, env: &Env, direction: Direction, before: &[u8], after: Option<&[u8]>) {
    tap.show(before, after, || Traced {
        at: SystemTime::now(),
        direction,
        transport: env.transport,
        src: env.src,
        dst: env.dst,
        before: before.to_vec(),
        after: after.map(<[u8]>::to_vec),
    });
}

/// The beginning of a message for a log line: printable, short.
fn first_bytes(message: &[u8]) -> String {
    const SHOWN: usize = 24;
    let mut text = String::from("\"");
    text.extend(
        message
            .iter()
            .take(SHOWN)
            .flat_map(|b| std::ascii::escape_default(*b))
            .map(char::from),
    );
    text.push('"');
    if message.len() > SHOWN {
        text.push('…');
    }
    text
}
