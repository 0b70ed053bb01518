//! One message's pass: what its script asks of the world, and what became of it.

use std::net::SocketAddr;

use corex_common::counters::WorkerCounters;

use super::{Egress, Inbound, Outbound, Shared, TransmitError, source::Sources};
use crate::{
    hook,
    script::{
        Direction, Env, HookOutcome, Host, Outgoing, Runtime, SendError, SendTarget, SocketId,
    },
    sip::Transport,
};

/// Why the message wasn't sent; the last failure names the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Unresolved,
    NoSocket,
    TooLong,
    HookEmpty,
    HookTooLong,
    Kernel,
}

/// The host that the script sees while one message is handled.
pub struct Pass<'a, 'm> {
    pub shared: &'a Shared,
    pub counters: &'a mut WorkerCounters,
    pub egress: &'a mut dyn Egress,
    pub inbound: Inbound<'m>,
    pub encoded: &'a mut Vec<u8>,
    pub sources: &'a mut Sources,
    pub sent: u32,
    pub failure: Option<Failure>,
    /// A hook is running: what it sends doesn't go through the hook again.
    pub in_hook: bool,
}

impl Pass<'_, '_> {
    /// The socket to send from, and our address: the one asked for; else, as Kamailio, the
    /// one that the message came in on, or with `mhomed` the one that the kernel would
    /// choose for the destination; else the first of the family.
    fn source(
        &mut self,
        to: SocketAddr,
        forced: Option<SocketId>,
    ) -> Option<(SocketId, SocketAddr)> {
        let shared = self.shared;
        let usable = |id: &SocketId| shared.listener(*id).address.is_ipv4() == to.is_ipv4();
        if let Some(id) = forced.filter(usable) {
            return Some((id, shared.listener(id).address));
        }
        if shared.config.settings.mhomed
            && shared.listeners.len() > 1
            && let Some(ip) = self.sources.of(to.ip())
            && let Some(id) = shared
                .listeners
                .iter()
                .position(|l| l.address.ip() == ip)
                .and_then(|i| u16::try_from(i).ok())
                .map(SocketId)
        {
            return Some((id, shared.listener(id).address));
        }
        if usable(&self.inbound.socket) {
            let address = shared.listener(self.inbound.socket).address;
            return Some((self.inbound.socket, address));
        }
        let first = shared
            .listeners
            .iter()
            .position(|l| l.address.is_ipv4() == to.is_ipv4())?;
        Some((
            SocketId(u16::try_from(first).ok()?),
            shared.listeners.get(first)?.address,
        ))
    }

    /// Runs the outgoing hook. True: `encoded` holds what is to be sent instead.
    fn encode(
        &mut self,
        runtime: &mut Runtime,
        payload: &[u8],
        socket: SocketId,
        local: SocketAddr,
        to: SocketAddr,
        encoded: &mut Vec<u8>,
    ) -> Result<bool, (Failure, SendError)> {
        let corex = &self.shared.config.settings.corex;
        if !corex.network_io_intercept || !corex.intercept_send || self.in_hook {
            return Ok(false);
        }
        if payload.len() < corex.min_msg_len as usize {
            self.counters.hook_skipped += 1;
            return Ok(false);
        }
        self.counters.hook_out += 1;
        let env = Env {
            src: local,
            dst: to,
            transport: Transport::Udp,
            socket,
        };
        self.in_hook = true;
        let outcome = hook::run(runtime, &env, payload, Direction::Outgoing, self, encoded);
        self.in_hook = false;
        match outcome {
            HookOutcome::Unchanged => {}
            HookOutcome::Replaced => {
                self.counters.hook_replaced += 1;
                return Ok(true);
            }
            HookOutcome::Unset => self.counters.hook_unset += 1,
            HookOutcome::Failed => self.counters.hook_failed += 1,
            HookOutcome::Empty => return Err((Failure::HookEmpty, SendError::Hook)),
            HookOutcome::TooLong => return Err((Failure::HookTooLong, SendError::Hook)),
        }
        Ok(false)
    }

    fn transmit(
        &mut self,
        payload: &[u8],
        socket: SocketId,
        local: SocketAddr,
        to: SocketAddr,
    ) -> Result<(), (Failure, SendError)> {
        let out = Outbound {
            payload,
            socket,
            local,
            to,
        };
        match self.egress.transmit(out, self.counters) {
            Ok(()) => {
                self.counters.bytes_out += payload.len() as u64;
                Ok(())
            }
            Err(TransmitError::TooLong) => Err((Failure::TooLong, SendError::TooLong)),
            Err(TransmitError::Kernel(kind)) => Err((Failure::Kernel, SendError::Kernel(kind))),
        }
    }
}

impl Host for Pass<'_, '_> {
    fn send(&mut self, runtime: &mut Runtime, out: Outgoing<'_>) -> Result<(), SendError> {
        let to = match out.to {
            SendTarget::Addr(address) => address,
            SendTarget::Name { .. } => {
                self.failure = Some(Failure::Unresolved);
                return Err(SendError::Unresolved);
            }
        };
        let Some((socket, local)) = self.source(to, out.socket) else {
            self.failure = Some(Failure::NoSocket);
            return Err(SendError::NoSocket);
        };
        // Taken, since the hook runs with `self` as its host.
        let mut encoded = std::mem::take(self.encoded);
        let result = self
            .encode(runtime, out.payload, socket, local, to, &mut encoded)
            .map(|replaced| if replaced { &encoded } else { out.payload })
            .and_then(|payload| self.transmit(payload, socket, local, to));
        *self.encoded = encoded;
        match result {
            Ok(()) => {
                self.sent += 1;
                Ok(())
            }
            Err((failure, error)) => {
                self.failure = Some(failure);
                Err(error)
            }
        }
    }

    fn is_myself(&self, host: &[u8], port: u16, transport: Option<Transport>) -> bool {
        self.shared.aliases.is_myself(host, port, transport)
    }
}
