//! Inline mode runs the hook alone. What the hook leaves goes on to where it was going anyway.

use super::{
    Egress, Inbound, Outbound, Pipeline, TransmitError,
    pass::{Pass, Returned},
    subject_of,
};
use crate::chain::{Passed, Wait};
use crate::guard::Subject;
use crate::hook;
use corex_common::counters::WorkerCounters;
use corex_script::{Direction, Env, HookOutcome};

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intercepted {
    /// It goes on as it is.
    Unchanged,
    /// The replacement goes on instead.
    Replaced,
    /// Nothing does; its drop is counted.
    Dropped,
    /// It can't go on yet: [`Pipeline::hold`].
    Waits(Wait),
}

/// Inline mode's egress: corex has no socket of its own to send from.
struct NoSocket;

impl Egress for NoSocket {
    fn transmit(&mut self, out: Outbound<'_>, _: &mut WorkerCounters) -> Result<(), TransmitError> {
        tracing::debug!(to = %out.to, "inline mode has no socket to send datagrams from");
        Err(TransmitError::Kernel(std::io::ErrorKind::Unsupported))
    }
}

/// What a script sees of where a packet comes from and goes to.
fn env_of(packet: Inbound<'_>) -> Env {
    Env {
        src: packet.source,
        dst: packet.local,
        transport: packet.transport,
        socket: packet.socket,
        connection: None,
    }
}

impl Pipeline {
    /// Runs the hook on a protected server's message; `replacement` then holds what it made.
    ///
    /// [`Inbound::source`] and [`Inbound::local`] are the packet's source and destination, both
    /// ways. Only a drop is counted as a verdict: what goes on may still fail to.
    pub fn intercept(
        &mut self,
        packet: Inbound<'_>,
        direction: Direction,
        replacement: &mut Vec<u8>,
    ) -> Intercepted {
        let mut intercepted = self.transform(packet, direction, replacement);
        if direction == Direction::Incoming
            && intercepted == Intercepted::Replaced
            && self.refuses_decoded(packet, replacement)
        {
            intercepted = Intercepted::Dropped;
        }
        let plain = match (direction, &intercepted) {
            // What waits comes again.
            (_, Intercepted::Dropped | Intercepted::Waits(_)) => return intercepted,
            (Direction::Incoming, Intercepted::Replaced) => &replacement[..],
            _ => packet.payload,
        };
        self.context.copy(plain, direction, &env_of(packet));
        intercepted
    }

    /// What the chains and the hook make of a message.
    fn transform(
        &mut self,
        packet: Inbound<'_>,
        direction: Direction,
        replacement: &mut Vec<u8>,
    ) -> Intercepted {
        self.counters.bytes_in += packet.payload.len() as u64;
        match direction {
            Direction::Incoming => self
                .peers
                .received(packet.source.ip(), packet.payload.len()),
            Direction::Outgoing => {
                self.peers
                    .sent(Some(packet.local.ip()), packet.payload.len());
                self.learn_of_server(packet.payload, packet.local.ip());
            }
        }
        let corex = &self.context.config.settings.corex;
        if !corex.intercepts() {
            return Intercepted::Unchanged;
        }
        let len = packet.payload.len();
        if len < self.context.knobs.min_msg_len() as usize {
            if corex.network_io_intercept {
                self.counters.hook_skipped += 1;
            }
            return Intercepted::Unchanged;
        }
        let env = env_of(packet);
        self.runtime.begin_message();
        // The server is everybody's: what it sends is held by who gets it.
        self.runtime.sender = Some(match direction {
            Direction::Incoming => packet.source,
            Direction::Outgoing => packet.local,
        });
        let mut is_changed = false;
        if direction == Direction::Incoming {
            match self.unwrap(packet, replacement) {
                Intercepted::Replaced => is_changed = true,
                Intercepted::Unchanged => {}
                other => return other,
            }
        }
        if self.context.config.settings.corex.network_io_intercept {
            if is_changed {
                std::mem::swap(replacement, &mut self.unwrapped);
            }
            let input = std::mem::take(&mut self.unwrapped);
            let message = if is_changed { &input } else { packet.payload };
            let hooked = self.run_hook(packet, message, direction, &env, replacement);
            self.unwrapped = input;
            match hooked {
                Intercepted::Replaced => is_changed = true,
                // What the chain made goes on.
                Intercepted::Unchanged if is_changed => {
                    std::mem::swap(replacement, &mut self.unwrapped);
                }
                Intercepted::Unchanged => {}
                other => return other,
            }
        }
        if direction == Direction::Outgoing {
            let plain = if is_changed {
                &replacement[..]
            } else {
                packet.payload
            };
            let passed = self.native.encode(
                packet.local,
                packet.source,
                plain,
                &mut self.wrapped,
                &mut self.counters,
            );
            match passed {
                Passed::Unchanged | Passed::Failed(_) => {}
                Passed::Changed => {
                    std::mem::swap(replacement, &mut self.wrapped);
                    is_changed = true;
                }
                Passed::Dropped => {
                    self.counters.drop_codec += 1;
                    return Intercepted::Dropped;
                }
                Passed::Waits(wait) => return Intercepted::Waits(wait),
            }
        }
        let tap = &self.context.tap;
        if tap.is_open() {
            let after = is_changed.then_some(&replacement[..]);
            super::trace(tap, &env, direction, packet.payload, after);
        }
        if is_changed {
            Intercepted::Replaced
        } else {
            Intercepted::Unchanged
        }
    }

    /// Whether the guard doesn't let a message in for what it says, which the program couldn't read; that
    /// is counted.
    fn refuses_decoded(&mut self, packet: Inbound<'_>, message: &[u8]) -> bool {
        let subject = Subject {
            message,
            ..subject_of(&packet)
        };
        let guard = &self.context.guard;
        guard.refuses_decoded(&subject, &mut self.counters)
    }

    /// Runs the chain of `codec_in`.
    fn unwrap(&mut self, packet: Inbound<'_>, replacement: &mut Vec<u8>) -> Intercepted {
        let passed = self.native.decode(
            packet.source,
            packet.local,
            packet.payload,
            replacement,
            &mut self.counters,
        );
        match passed {
            Passed::Unchanged => Intercepted::Unchanged,
            Passed::Changed => Intercepted::Replaced,
            Passed::Failed(reason) => {
                self.runtime.codec_error = Some(reason.name());
                Intercepted::Unchanged
            }
            Passed::Dropped => {
                self.counters.drop_codec += 1;
                Intercepted::Dropped
            }
            Passed::Waits(wait) => Intercepted::Waits(wait),
        }
    }

    /// Runs the hook on a message, which the chain may have made of the packet's payload.
    fn run_hook(
        &mut self,
        packet: Inbound<'_>,
        message: &[u8],
        direction: Direction,
        env: &Env,
        replacement: &mut Vec<u8>,
    ) -> Intercepted {
        let is_closed = self.context.config.settings.corex.inline.is_closed;
        let len = message.len();
        let mut pass = Pass {
            context: &self.context,
            counters: &mut self.counters,
            peers: &mut self.peers,
            egress: &mut NoSocket,
            inbound: &packet,
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
            in_hook: true,
            asked: None,
            returned: Returned::default(),
        };
        let outcome = hook::run(
            &mut self.runtime,
            env,
            message,
            direction,
            &mut pass,
            replacement,
        );
        let wait = pass.wait.take();
        let counters = &mut self.counters;
        let (runs, before, after) = match direction {
            Direction::Incoming => (
                &mut counters.hook_in,
                &mut counters.hook_in_before,
                &mut counters.hook_in_after,
            ),
            Direction::Outgoing => (
                &mut counters.hook_out,
                &mut counters.hook_out_before,
                &mut counters.hook_out_after,
            ),
        };
        *runs += 1;
        *before += len as u64;
        if let Some(wait) = wait {
            *after += len as u64;
            return Intercepted::Waits(wait);
        }
        let (dropped, kept) = match outcome {
            HookOutcome::Unchanged => (None, None),
            HookOutcome::Replaced => (None, Some(&mut counters.hook_replaced)),
            HookOutcome::Unset => (None, Some(&mut counters.hook_unset)),
            HookOutcome::Failed => (
                is_closed.then_some(&mut counters.drop_hook_failed),
                Some(&mut counters.hook_failed),
            ),
            HookOutcome::Empty => (Some(&mut counters.drop_hook_empty), None),
            HookOutcome::TooLong => (Some(&mut counters.drop_hook_too_long), None),
        };
        if let Some(kept) = kept {
            *kept += 1;
        }
        if let Some(dropped) = dropped {
            *dropped += 1;
            return Intercepted::Dropped;
        }
        let replaced = (outcome == HookOutcome::Replaced).then_some(&replacement[..]);
        *after += replaced.map_or(len, <[u8]>::len) as u64;
        replaced.map_or(Intercepted::Unchanged, |_| Intercepted::Replaced)
    }
}
