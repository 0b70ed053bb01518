//! One message's pass: what its script asks of the world, and what became of it.

use std::{
    any::Any,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use corex_common::{counters::WorkerCounters, ip::MAX_UDP_PAYLOAD};
use corex_script::{
    Direction, Env, FileError, HookOutcome, Host, NetworkHook, NextHop, NotTraced, Outgoing,
    Purpose, SendError, SocketId, Target, Trace,
};
use corex_sip::{
    SipView, Transport,
    compose::{ReplyKeys, SentBy},
    strict::FaultKind,
};

use super::{
    Egress, INITIAL_TTL, Inbound, Outbound, PipelineContext, TransmitError,
    copies::Asked,
    outbox::{Address, Deferred},
    ways::Ways,
};
use crate::{
    chain::{Native, Passed, Wait},
    hep::Copies,
    hook,
    keystore::{Departure, Held, NoPlace},
    telemetry::peers::Peers,
};

/// Why the message wasn't sent; the last failure names the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Forged,
    /// It can't be forwarded as it is.
    Refused(FaultKind),
    Unresolved,
    NoSocket,
    OwnSocket,
    Ttl,
    TooLong,
    Codec,
    /// Too much waits for keys.
    KeyQueueFull,
    HookFailed,
    HookEmpty,
    HookTooLong,
    QueueFull,
    NoConnection,
    NoTransport,
    Kernel,
}

/// The host that the script sees while one message is handled.
pub struct Pass<'a, 'm> {
    pub context: &'a PipelineContext,
    pub counters: &'a mut WorkerCounters,
    /// Where messages are counted by peer.
    pub peers: &'a mut Peers,
    pub egress: &'a mut dyn Egress,
    pub inbound: &'a Inbound<'m>,
    /// Chains that run without a script.
    pub native: &'a mut Native,
    /// What the chain of `codec_out` makes of a message.
    pub wrapped: &'a mut Vec<u8>,
    pub encoded: &'a mut Vec<u8>,
    /// By which socket it leaves.
    pub ways: &'a mut Ways,
    pub sent: u32,
    pub replied: u32,
    pub consumed: u32,
    pub failure: Option<Failure>,
    /// What the message that is about to be sent waits for.
    pub wait: Option<Wait>,
    /// It has waited already.
    pub has_waited: bool,
    /// The outgoing hook is running.
    pub is_departing: bool,
    /// A hook is running: what it sends doesn't go through the hook again.
    pub in_hook: bool,
    /// What a script asked for that has the message copied.
    pub asked: Option<Asked>,
    /// Of a reply: where it went.
    pub returned: Returned,
}

/// A reply's way back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Returned {
    /// It was seen to answer what was forwarded.
    pub is_genuine: bool,
    /// Who got it.
    pub to: Option<IpAddr>,
}

impl Pass<'_, '_> {
    fn fail<R>(&mut self, failure: Failure, error: SendError) -> Result<R, SendError> {
        self.failure = Some(failure);
        Err(error)
    }

    /// Notes that something was sent.
    fn left(&mut self, purpose: Purpose) {
        *match purpose {
            Purpose::Message => &mut self.sent,
            Purpose::Reply => &mut self.replied,
            Purpose::Data => &mut self.consumed,
        } += 1;
    }

    /// Whether the hook sees what leaves.
    pub(super) fn has_departure_hook(&self) -> bool {
        let corex = &self.context.config.settings.corex;
        corex.network_io_intercept && corex.intercept_send && !self.in_hook
    }

    /// Whether somebody looks at messages as they leave.
    pub(super) fn is_watched(&self) -> bool {
        self.context.tap.is_open() || self.context.exporter.is_on()
    }

    /// Whether a message leaves as it is, and nobody looks at it on the way.
    fn leaves_as_it_is(&self, out: &Outgoing<'_>) -> bool {
        let is_changed = self.has_departure_hook() || self.native.encodes();
        (!is_changed || out.purpose == Purpose::Data) && !self.is_watched()
    }

    /// Notes how sending ended.
    fn end(
        &mut self,
        purpose: Purpose,
        result: Result<(), (Failure, SendError)>,
    ) -> Result<(), SendError> {
        match result {
            Ok(()) => {
                self.left(purpose);
                Ok(())
            }
            Err((failure, error)) => self.fail(failure, error),
        }
    }

    /// The same of what waits for nothing.
    fn end_at_once(
        &mut self,
        out: &Outgoing<'_>,
        result: Result<(), (Failure, SendError)>,
    ) -> Result<(), SendError> {
        if let (Ok(()), Target::Addr(to)) = (&result, out.hop.to) {
            self.returned.to = Some(to.ip());
        }
        self.end(out.purpose, result)
    }

    /// Runs the outgoing hook. True: `encoded` holds what is to be sent instead.
    fn encode(
        &mut self,
        network_hook: &mut dyn NetworkHook,
        payload: &[u8],
        hop: &NextHop<'_>,
        encoded: &mut Vec<u8>,
    ) -> Result<bool, (Failure, SendError)> {
        let corex = &self.context.config.settings.corex;
        let drops_on_failure = corex.drops_on_hook_failure;
        if !corex.network_io_intercept || !corex.intercept_send || self.in_hook {
            return Ok(false);
        }
        if payload.len() < self.context.knobs.min_msg_len() as usize {
            self.counters.hook_skipped += 1;
            return Ok(false);
        }
        self.counters.hook_out += 1;
        self.counters.hook_out_before += payload.len() as u64;
        let env = env_of(hop);
        self.in_hook = true;
        self.is_departing = true;
        let outcome = hook::run(
            network_hook,
            &env,
            payload,
            Direction::Outgoing,
            self,
            encoded,
        );
        self.in_hook = false;
        self.is_departing = false;
        if self.wait.is_some() {
            return Err((Failure::Codec, SendError::Codec));
        }
        match outcome {
            HookOutcome::Unchanged => {}
            HookOutcome::Replaced => {
                self.counters.hook_replaced += 1;
                self.counters.hook_out_after += encoded.len() as u64;
                return Ok(true);
            }
            HookOutcome::Unset => self.counters.hook_unset += 1,
            HookOutcome::Failed => {
                self.counters.hook_failed += 1;
                if drops_on_failure {
                    return Err((Failure::HookFailed, SendError::Hook));
                }
            }
            HookOutcome::Empty => return Err((Failure::HookEmpty, SendError::Hook)),
            HookOutcome::TooLong => return Err((Failure::HookTooLong, SendError::Hook)),
        }
        self.counters.hook_out_after += payload.len() as u64;
        Ok(false)
    }

    /// What leaves, and whether that is something else: what the hook and then the chain of
    /// `codec_out` make of a message.
    fn transform<'b>(
        &mut self,
        hook: &mut dyn NetworkHook,
        out: &Outgoing<'b>,
        encoded: &'b mut Vec<u8>,
        wrapped: &'b mut Vec<u8>,
    ) -> Result<(&'b [u8], bool), (Failure, SendError)> {
        let is_replaced = self.encode(hook, out.payload, &out.hop, encoded)?;
        let payload = if is_replaced { encoded } else { out.payload };
        if self.wrap(payload, &out.hop, wrapped)? {
            return Ok((wrapped, true));
        }
        Ok((payload, is_replaced))
    }

    /// Runs the chain of `codec_out`. True: `wrapped` holds what is to be sent instead.
    fn wrap(
        &mut self,
        payload: &[u8],
        hop: &NextHop<'_>,
        wrapped: &mut Vec<u8>,
    ) -> Result<bool, (Failure, SendError)> {
        if payload.len() < self.context.knobs.min_msg_len() as usize {
            return Ok(false);
        }
        let Env { src, dst, .. } = env_of(hop);
        match self
            .native
            .encode(dst, src, payload, wrapped, self.counters)
        {
            Passed::Unchanged | Passed::Failed(_) => Ok(false),
            Passed::Changed => Ok(true),
            Passed::Dropped => Err((Failure::Codec, SendError::Codec)),
            Passed::Waits(wait) => {
                self.wait = Some(wait);
                Err((Failure::Codec, SendError::Codec))
            }
        }
    }

    /// Has a message that is about to be sent wait for what it needs: it is sent as soon as that is
    /// known.
    fn hold(&mut self, wait: Wait, out: &Outgoing<'_>) -> Result<(), (Failure, SendError)> {
        let (Wait::Key(wanted), Target::Addr(to)) = (wait, out.hop.to) else {
            return Err((Failure::Codec, SendError::Codec));
        };
        let Some(service) = self.native.service().filter(|_| !self.has_waited) else {
            return Err((Failure::Codec, SendError::Codec));
        };
        let counters = Arc::clone(service.counters());
        let departure = Departure {
            bytes: out.payload.to_vec(),
            purpose: out.purpose,
            to,
            transport: out.hop.transport,
            socket: out.hop.socket,
            local: out.hop.local,
            connection: out.connection,
            is_reply: out.is_reply,
            is_hop_counted: out.is_hop_counted,
            flags: out.flags,
            sender: self.inbound.source,
            ttl: self.inbound.ttl,
        };
        // Before it waits: it may be back at once.
        counters.add(|c| &c.queued);
        let held = self.native.hold(wanted, Held::Departure(departure));
        held.map_err(|NoPlace| {
            counters.add(|c| &c.drop_no_place);
            (Failure::KeyQueueFull, SendError::QueueFull)
        })
    }

    /// Time to live of the datagram that a message leaves in. What SIP doesn't count the hops of
    /// goes on with what was left, as a routed packet: else two hosts that name each other would
    /// send it to and fro for ever.
    fn ttl(&self, out: &Outgoing<'_>) -> Option<u8> {
        if out.is_hop_counted || out.hop.transport != Transport::Udp {
            return Some(INITIAL_TTL);
        }
        self.inbound.ttl_left()
    }

    /// Sends a datagram at once.
    fn transmit(
        &mut self,
        out: Outbound<'_>,
        copies: Option<Copies>,
    ) -> Result<(), (Failure, SendError)> {
        match self.egress.transmit(out, self.counters) {
            Ok(()) => {
                self.counters.bytes_out += out.payload.len() as u64;
                self.peers.sent(Some(out.to.ip()), out.payload.len());
                if let Some(copies) = copies {
                    let local = self.local_towards(out.local, out.to.ip());
                    copies.pass(Transport::Udp, local, out.to);
                }
                Ok(())
            }
            Err(TransmitError::TooLong) => Err((Failure::TooLong, SendError::TooLong)),
            Err(TransmitError::Kernel(kind)) => Err((Failure::Kernel, SendError::Kernel(kind))),
        }
    }

    /// Sends a datagram at once; what goes by a stream, or to a name that must be looked up, is
    /// handed to the outbox.
    fn leave(
        &mut self,
        payload: &[u8],
        out: &Outgoing<'_>,
        ttl: u8,
        copies: Option<Copies>,
    ) -> Result<(), (Failure, SendError)> {
        let hop = &out.hop;
        let to = match hop.to {
            Target::Addr(to) if hop.transport == Transport::Udp => {
                return self.transmit(
                    Outbound {
                        payload,
                        socket: hop.socket,
                        local: hop.local,
                        to,
                        ttl,
                    },
                    copies,
                );
            }
            Target::Addr(to) => Address::Known(to, None),
            Target::Name { host, port, secure } => Address::Name {
                host: String::from_utf8_lossy(host).into_owned(),
                port,
                secure,
            },
        };
        if hop.transport == Transport::Udp && payload.len() > MAX_UDP_PAYLOAD {
            return Err((Failure::TooLong, SendError::TooLong));
        }
        let remote = match hop.to {
            Target::Addr(to) => Some(to.ip()),
            Target::Name { .. } => None,
        };
        let message = Deferred {
            payload: Bytes::copy_from_slice(payload),
            to,
            transport: hop.transport,
            socket: hop.socket,
            local: hop.local,
            ttl,
            sender: self.inbound.source.ip(),
            own: Arc::clone(&self.context.own),
            connection: out.connection,
            is_reply: out.is_reply,
            copies: copies.unwrap_or_default(),
        };
        match self.context.outbox.submit(message) {
            Ok(()) => {
                self.counters.out_carried += 1;
                self.counters.bytes_out += payload.len() as u64;
                self.peers.sent(remote, payload.len());
                Ok(())
            }
            Err(error @ SendError::QueueFull) => Err((Failure::QueueFull, error)),
            Err(error @ SendError::NoConnection) => Err((Failure::NoConnection, error)),
            Err(error) => Err((Failure::NoTransport, error)),
        }
    }
}

impl Host for Pass<'_, '_> {
    fn next_hop<'t>(
        &mut self,
        to: Target<'t>,
        transport: Option<Transport>,
        forced: Option<SocketId>,
    ) -> Result<NextHop<'t>, SendError> {
        let hop = match to {
            Target::Addr(address) => {
                let (context, inbound) = (self.context, self.inbound);
                let ways = &mut *self.ways;
                let found = ways.hop_to(context, inbound, &address, transport, forced);
                found.map(|(socket, local)| NextHop {
                    to,
                    transport: transport.unwrap_or(Transport::Udp),
                    socket,
                    local,
                })
            }
            Target::Name { secure, .. } => self.hop_by_name(to, secure, transport, forced),
        };
        match hop {
            Ok(hop) => Ok(hop),
            Err((failure, error)) => self.fail(failure, error),
        }
    }

    fn sent_by(&self, hop: &NextHop<'_>) -> SentBy<'_> {
        let listener = self.context.listener(hop.socket);
        let (host, port) = match &listener.advertise {
            Some((host, port)) => (Some(host.as_str()), *port),
            None => (None, None),
        };
        SentBy {
            host,
            ip: hop.local.ip(),
            port: port.unwrap_or(listener.address.port()),
        }
    }

    fn reply_keys(&self) -> Option<&ReplyKeys> {
        self.context.reply_keys.as_ref()
    }

    fn check_reply(&mut self, reply: &SipView<'_>) -> Result<(), SendError> {
        match self.reply_keys() {
            Some(keys) if !keys.open(reply) => self.fail(Failure::Forged, SendError::Forged),
            Some(_) => {
                self.returned.is_genuine = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn refuse(&mut self, why: FaultKind) {
        self.failure = Some(Failure::Refused(why));
    }

    fn send(&mut self, hook: &mut dyn NetworkHook, out: Outgoing<'_>) -> Result<(), SendError> {
        let Some(ttl) = self.ttl(&out) else {
            return self.fail(Failure::Ttl, SendError::Ttl);
        };
        if self.leaves_as_it_is(&out) {
            let result = self.leave(out.payload, &out, ttl, None);
            return self.end_at_once(&out, result);
        }
        let copies = self.copies(&out);
        // Taken, since the hook runs with `self` as its host.
        let mut encoded = std::mem::take(self.encoded);
        let mut wrapped = std::mem::take(self.wrapped);
        let result = if out.purpose == Purpose::Data {
            Ok((out.payload, false))
        } else {
            self.transform(hook, &out, &mut encoded, &mut wrapped)
        };
        if let Some(wait) = self.wait.take() {
            *self.encoded = encoded;
            *self.wrapped = wrapped;
            let result = self.hold(wait, &out);
            return self.end(out.purpose, result);
        }
        if self.context.tap.is_open()
            && let Ok((payload, is_changed)) = result
        {
            let env = env_of(&out.hop);
            let after = is_changed.then_some(payload);
            let tap = &self.context.tap;
            super::trace(tap, &env, Direction::Outgoing, out.payload, after);
        }
        let result = result.and_then(|(payload, _)| self.leave(payload, &out, ttl, copies));
        *self.encoded = encoded;
        *self.wrapped = wrapped;
        self.end_at_once(&out, result)
    }

    fn wait(&mut self, what: Box<dyn Any + Send>) -> bool {
        let can_wait = !self.has_waited && self.native.service().is_some();
        // What was sent would be sent again, but for a message that is about to be.
        let has_sent = self.sent + self.replied + self.consumed > 0;
        if !can_wait || (has_sent && !self.is_departing) {
            return false;
        }
        self.wait = what.downcast().ok().map(|wait| *wait);
        self.wait.is_some()
    }

    fn consume(&mut self) {
        self.consumed += 1;
    }

    fn trace(&mut self, trace: Trace<'_>) -> Result<(), NotTraced> {
        self.copy_asked(trace)
    }

    fn count(&mut self, counter: fn(&mut WorkerCounters) -> &mut u64) {
        *counter(self.counters) += 1;
    }

    fn file_read(&self, path: &Path) -> Result<Arc<[u8]>, FileError> {
        self.context.files.read(path)
    }

    fn file_write(&self, path: &Path, content: &[u8]) -> Result<(), FileError> {
        self.context.files.write(path, content)
    }

    fn guard(&self) -> Option<&dyn corex_script::guard::Guard> {
        let guard = &self.context.guard;
        guard.is_on().then_some(guard as _)
    }

    fn is_myself(&self, host: &[u8], port: u16, transport: Option<Transport>) -> bool {
        self.context.aliases.is_myself(host, port, transport)
    }
}

/// What the outgoing hook sees of a message that goes there.
pub(super) fn env_of(hop: &NextHop<'_>) -> Env {
    Env {
        src: hop.local,
        dst: match hop.to {
            Target::Addr(address) => address,
            Target::Name { port, .. } => {
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.unwrap_or(0))
            }
        },
        transport: hop.transport,
        socket: hop.socket,
        connection: None,
    }
}
