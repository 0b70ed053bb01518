//! Datagrams that are answered before they are taken for messages, where the XDP program left that
//! to the worker: on kernel sockets, behind headers that it doesn't walk, and STUN with more to it.

use corex_common::counters::WorkerCounters;
use corex_sip::Transport;

use super::{Egress, INITIAL_TTL, Inbound, Outbound, Pipeline, TransmitError};
use crate::answer::{Answer, answer, may_be_sip};

/// Whether a message may be one that is answered without a script. SIP begins with a letter, so of
/// nearly all the first byte says that it is none.
#[inline]
pub(super) fn may_be_answered(inbound: &Inbound<'_>) -> bool {
    inbound.transport == Transport::Udp && !may_be_sip(inbound.payload)
}

impl Pipeline {
    /// Whether a datagram is done with: answered, or dropped since it wants no answer. Its verdict is
    /// counted then.
    pub(super) fn answers(&mut self, inbound: &Inbound<'_>, egress: &mut dyn Egress) -> bool {
        let knobs = &self.context.knobs;
        let wanted = (knobs.keepalive(), knobs.answers_stun());
        let found = answer(inbound.payload, inbound.source, wanted, &mut self.answer);
        let verdict: Verdict = match found {
            Answer::None => return false,
            Answer::KeepaliveDropped => |c| &mut c.drop_keepalive,
            Answer::StunDropped => |c| &mut c.drop_stun,
            Answer::Pong | Answer::Stun => self.send_answer(inbound, found, egress),
        };
        *verdict(&mut self.counters) += 1;
        true
    }

    /// Sends what stands in the buffer back, and says what that counts as.
    fn send_answer(
        &mut self,
        inbound: &Inbound<'_>,
        answer: Answer,
        egress: &mut dyn Egress,
    ) -> Verdict {
        let to = inbound.source;
        let out = Outbound {
            payload: &self.answer,
            socket: inbound.socket,
            local: inbound.local,
            to,
            ttl: INITIAL_TTL,
        };
        match egress.transmit(out, &mut self.counters) {
            Ok(()) => {
                self.counters.bytes_out += self.answer.len() as u64;
                self.peers.sent(Some(to.ip()), self.answer.len());
                match answer {
                    Answer::Stun => |c| &mut c.stun_answered,
                    _ => |c| &mut c.keepalive_answered,
                }
            }
            Err(TransmitError::TooLong) => |c| &mut c.drop_send_too_long,
            Err(TransmitError::Kernel(_)) => |c| &mut c.drop_send_error,
        }
    }
}

/// The counter of a verdict.
type Verdict = fn(&mut WorkerCounters) -> &mut u64;
