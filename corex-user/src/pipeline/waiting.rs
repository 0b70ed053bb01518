//! Messages that wait off the path, for a device's key or as its enrolment, and go on when they come
//! back.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use corex_common::counters::WorkerCounters;
use corex_script::{Host as _, NextHop, Outgoing, Target};
use corex_sip::Transport;

use super::{
    Egress, INITIAL_TTL, Inbound, Outbound, Pipeline,
    outbox::{Address, Deferred},
    pass::{Failure, Pass, Returned as ReplyReturned},
};
use crate::{
    chain::{ChainId, Wait},
    keystore::{Arrival, Departure, Enrolled, Held, NotEnrolled, Outcome, QueueId, Returned},
    telemetry::key_counters::KeyCounters,
};

/// What is to be done with a message that came back.
#[derive(Clone, Copy, Debug)]
pub enum Resumed<'o> {
    /// It begins anew.
    Again,
    /// It was an enrolment: its sender is told, and what it brought goes on.
    Enrolled(&'o Enrolled),
}

/// A message that came back, as it came.
fn inbound(arrival: &Arrival) -> Inbound<'_> {
    Inbound {
        payload: &arrival.bytes,
        source: arrival.source,
        local: arrival.local,
        socket: arrival.socket,
        transport: arrival.transport,
        connection: arrival.connection,
        ttl: arrival.ttl,
    }
}

impl Pipeline {
    /// Has a message wait, or counts its drop. `packet`: in inline mode, what it came in, and by
    /// which queue.
    pub fn hold(&mut self, wait: Wait, inbound: &Inbound<'_>, packet: Option<(&[u8], QueueId)>) {
        let (bytes, queue) = match packet {
            Some((packet, queue)) => (packet, Some(queue)),
            None => (inbound.payload, None),
        };
        let holder = self.runtime.sender.unwrap_or(inbound.source).ip();
        let arrival = || Arrival {
            bytes: bytes.to_vec(),
            source: inbound.source,
            holder,
            local: inbound.local,
            socket: inbound.socket,
            transport: inbound.transport,
            connection: inbound.connection,
            ttl: inbound.ttl,
            queue,
        };
        let refused = match wait {
            // Above a rate nothing is worth a wait.
            _ if self.is_limited => Some(count_above as Count),
            // It was looked for, and is gone again.
            _ if self.has_waited => Some(count_away as Count),
            Wait::Key(wanted) => {
                let held = self.native.hold(wanted, Held::Arrival(arrival()));
                held.is_err().then_some(count_no_place as Count)
            }
            Wait::Enrolment(packet) => match self.native.enrol(packet, arrival()) {
                Ok(()) => None,
                Err(NotEnrolled::TooMany) => Some(count_limited as Count),
                Err(NotEnrolled::Refused) => Some(count_refused as Count),
            },
        };
        let counters = &mut self.counters;
        match refused {
            Some(count) => *count(counters) += 1,
            None => counters.key_waits += 1,
        }
    }

    /// Goes on with a message that came back.
    pub fn resume(&mut self, returned: &Returned, egress: &mut dyn Egress) {
        let arrival = match &returned.held {
            Held::Departure(departure) => {
                return self.depart(departure, &returned.outcome, egress);
            }
            Held::Arrival(arrival) => arrival,
        };
        let inbound = inbound(arrival);
        match self.come_back(&returned.outcome) {
            None => {}
            Some(Resumed::Again) => self.again(|pipeline| pipeline.begin(&inbound, egress)),
            Some(Resumed::Enrolled(enrolled)) => {
                self.runtime.begin_message();
                self.runtime.sender = Some(inbound.source);
                if let Some(answer) = self.acknowledge(enrolled) {
                    self.answer(&inbound, &answer, egress);
                }
                let Some(message) = self.first_message(enrolled, inbound.source) else {
                    self.counters.replied += 1;
                    return;
                };
                self.unwrapped = message;
                self.skips_hook = enrolled.by_script;
                self.go_on(&inbound, true, egress);
                self.skips_hook = false;
            }
        }
    }

    /// Counts a message that came back; `None`: it is dropped.
    pub fn come_back<'o>(&mut self, outcome: &'o Outcome) -> Option<Resumed<'o>> {
        let counters = &mut self.counters;
        counters.key_returns += 1;
        match outcome {
            Outcome::Ready => return Some(Resumed::Again),
            Outcome::Enrolled(enrolled) => {
                counters.enrolled += 1;
                return Some(Resumed::Enrolled(enrolled));
            }
            Outcome::Away => counters.drop_key_away += 1,
            Outcome::Refused => counters.drop_enrolment += 1,
        }
        None
    }

    /// Does something with a message that doesn't wait again.
    pub fn again<R>(&mut self, handle: impl FnOnce(&mut Pipeline) -> R) -> R {
        self.has_waited = true;
        let done = handle(self);
        self.has_waited = false;
        done
    }

    /// What a device is told that has enrolled, as it goes on the wire.
    pub fn acknowledge(&mut self, enrolled: &Enrolled) -> Option<Vec<u8>> {
        let chain = ChainId::at(enrolled.chain);
        self.native.control(chain, &enrolled.acknowledgement)
    }

    /// The message that came with an enrolment, if one did that can be decoded.
    pub fn first_message(&mut self, enrolled: &Enrolled, source: SocketAddr) -> Option<Vec<u8>> {
        let chain = ChainId::at(enrolled.chain);
        let first = enrolled.first.as_deref()?;
        self.native.rest(chain, source, first, &mut self.counters)
    }

    /// What is to be said to who sent the message that was dropped last.
    pub fn take_notice(&mut self) -> Option<Vec<u8>> {
        self.native.take_notice()
    }

    /// Sends what corex itself says to a device, the way that its message came. That it doesn't arrive
    /// is the device's to notice. Returns whether it is on its way.
    pub(super) fn answer(
        &mut self,
        inbound: &Inbound<'_>,
        payload: &[u8],
        egress: &mut dyn Egress,
    ) -> bool {
        if inbound.transport == Transport::Udp {
            let out = Outbound {
                payload,
                socket: inbound.socket,
                local: inbound.local,
                to: inbound.source,
                ttl: INITIAL_TTL,
            };
            let is_sent = egress.transmit(out, &mut self.counters).is_ok();
            if is_sent {
                self.counters.bytes_out += payload.len() as u64;
                self.peers.sent(Some(inbound.source.ip()), payload.len());
            }
            return is_sent;
        }
        let message = Deferred {
            payload: Bytes::copy_from_slice(payload),
            to: Address::Known(inbound.source, None),
            transport: inbound.transport,
            socket: inbound.socket,
            local: inbound.local,
            ttl: INITIAL_TTL,
            sender: inbound.source.ip(),
            own: Arc::clone(&self.context.own),
            connection: inbound.connection,
            is_reply: true,
            copies: Default::default(),
        };
        let is_sent = self.context.outbox.submit(message).is_ok();
        if is_sent {
            self.counters.out_carried += 1;
            self.counters.bytes_out += payload.len() as u64;
            self.peers.sent(Some(inbound.source.ip()), payload.len());
        }
        is_sent
    }

    /// Sends what has waited, through hook and chain as ever.
    fn depart(&mut self, departure: &Departure, outcome: &Outcome, egress: &mut dyn Egress) {
        let Some(service) = self.native.service() else {
            return;
        };
        let counters = Arc::clone(service.counters());
        if *outcome != Outcome::Ready {
            counters.add(|c| &c.drop_keystore);
            return;
        }
        self.runtime.begin_message();
        self.runtime.sender = Some(departure.sender);
        let inbound = Inbound {
            payload: &departure.bytes,
            source: departure.sender,
            local: departure.local,
            socket: departure.socket,
            transport: departure.transport,
            connection: departure.connection,
            ttl: departure.ttl,
        };
        let mut pass = Pass {
            context: &self.context,
            counters: &mut self.counters,
            peers: &mut self.peers,
            egress,
            inbound: &inbound,
            native: &mut self.native,
            wrapped: &mut self.wrapped,
            encoded: &mut self.encoded,
            ways: &mut self.ways,
            sent: 0,
            replied: 0,
            consumed: 0,
            failure: None,
            wait: None,
            has_waited: true,
            is_departing: false,
            in_hook: false,
            asked: None,
            returned: ReplyReturned::default(),
        };
        let out = Outgoing {
            payload: &departure.bytes,
            purpose: departure.purpose,
            hop: NextHop {
                to: Target::Addr(departure.to),
                transport: departure.transport,
                socket: departure.socket,
                local: departure.local,
            },
            connection: departure.connection,
            is_reply: departure.is_reply,
            is_hop_counted: departure.is_hop_counted,
            flags: departure.flags,
        };
        let sent = pass.send(&mut self.runtime, out);
        let failure = pass.failure;
        counters.add(match (sent, failure) {
            (Ok(()), _) => |c: &KeyCounters| &c.delivered,
            (Err(_), Some(Failure::Codec)) => |c| &c.drop_unknown_device,
            (Err(_), Some(Failure::HookEmpty | Failure::HookFailed | Failure::HookTooLong)) => {
                |c| &c.drop_codec
            }
            (Err(_), _) => |c| &c.drop_send_error,
        });
    }

    /// Drops what came back by a queue that is gone.
    pub fn lose(&mut self) {
        self.counters.key_returns += 1;
        self.counters.drop_tx_stuck += 1;
    }

    /// Whether messages wait for keys.
    pub fn is_waited_for(&self) -> bool {
        self.counters.key_waits > self.counters.key_returns
    }

    /// Counts what waits as dropped, as the worker ends.
    pub fn give_up_waiting(&mut self) {
        let counters = &mut self.counters;
        let left = counters.key_waits - counters.key_returns;
        counters.key_returns += left;
        counters.drop_stopping += left;
    }
}

type Count = fn(&mut WorkerCounters) -> &mut u64;

fn count_above(counters: &mut WorkerCounters) -> &mut u64 {
    &mut counters.drop_guard_rate
}

fn count_away(counters: &mut WorkerCounters) -> &mut u64 {
    &mut counters.drop_key_away
}

fn count_no_place(counters: &mut WorkerCounters) -> &mut u64 {
    &mut counters.drop_key_queue_full
}

fn count_refused(counters: &mut WorkerCounters) -> &mut u64 {
    &mut counters.drop_enrolment
}

fn count_limited(counters: &mut WorkerCounters) -> &mut u64 {
    &mut counters.drop_enrolment_limited
}
