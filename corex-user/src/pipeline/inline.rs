//! Inline mode runs the hook alone. What the hook leaves goes on to where it was going anyway.

use super::{Egress, Inbound, Outbound, Pipeline, TransmitError, pass::Pass};
use crate::hook;
use corex_common::counters::WorkerCounters;
use corex_script::{Direction, Env, HookOutcome};

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intercepted {
    /// It goes on as it is.
    Unchanged,
    /// The replacement goes on instead.
    Replaced,
    /// Nothing does; its drop is counted.
    Dropped,
}

/// Inline mode's egress: corex has no socket of its own to send from.
struct NoSocket;

impl Egress for NoSocket {
    fn transmit(&mut self, out: Outbound<'_>, _: &mut WorkerCounters) -> Result<(), TransmitError> {
        tracing::debug!(to = %out.to, "inline mode has no socket to send datagrams from");
        Err(TransmitError::Kernel(std::io::ErrorKind::Unsupported))
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
        let corex = &self.context.config.settings.corex;
        self.counters.bytes_in += packet.payload.len() as u64;
        match direction {
            Direction::Incoming => self
                .peers
                .received(packet.source.ip(), packet.payload.len()),
            Direction::Outgoing => self
                .peers
                .sent(Some(packet.local.ip()), packet.payload.len()),
        }
        if !corex.network_io_intercept {
            return Intercepted::Unchanged;
        }
        let len = packet.payload.len();
        if len < self.context.knobs.min_msg_len() as usize {
            self.counters.hook_skipped += 1;
            return Intercepted::Unchanged;
        }
        let is_closed = corex.inline.is_closed;
        let env = Env {
            src: packet.source,
            dst: packet.local,
            transport: packet.transport,
            socket: packet.socket,
            connection: None,
        };
        self.runtime.begin_message();
        // The server is everybody's: what it sends is held by who gets it.
        self.runtime.sender = Some(match direction {
            Direction::Incoming => packet.source,
            Direction::Outgoing => packet.local,
        });
        let mut pass = Pass {
            context: &self.context,
            counters: &mut self.counters,
            peers: &mut self.peers,
            egress: &mut NoSocket,
            inbound: packet,
            encoded: &mut self.encoded,
            sources: &mut self.sources,
            sent: 0,
            replied: 0,
            consumed: 0,
            failure: None,
            in_hook: true,
        };
        let outcome = hook::run(
            &mut self.runtime,
            &env,
            packet.payload,
            direction,
            &mut pass,
            replacement,
        );
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
        let tap = &self.context.tap;
        if tap.is_open() {
            super::trace(tap, &env, direction, packet.payload, replaced);
        }
        replaced.map_or(Intercepted::Unchanged, |_| Intercepted::Replaced)
    }
}
