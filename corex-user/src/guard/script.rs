//! What scripts and modules may have the guard do.

use std::net::IpAddr;

use corex_common::guard::{
    Network,
    lists::{BLOCKED, BY_SCRIPT},
};
use corex_script::guard::{GuardError, Offence};

use super::{Guard, Which};
use crate::kernel::guard::now;

impl corex_script::guard::Guard for Guard {
    fn block(
        &self,
        network: Network,
        seconds: Option<u32>,
        reason: &'static str,
    ) -> Result<(), GuardError> {
        self.put(Which::Block, network, seconds, (BY_SCRIPT, BLOCKED))?;
        if let Some(shared) = self.active()
            && let Some(held_back) = shared.refusals.allow()
        {
            tracing::info!(source = %network.addr, len = network.len, held_back, "guard: blocked: {reason}");
        }
        Ok(())
    }

    fn unblock(&self, network: Network) -> bool {
        self.is_on() && self.remove(Which::Block, network)
    }

    fn allow(&self, network: Network, seconds: Option<u32>) -> Result<(), GuardError> {
        self.put(Which::Allow, network, seconds, (BY_SCRIPT, BLOCKED))
    }

    fn disallow(&self, network: Network) -> bool {
        self.is_on() && self.remove(Which::Allow, network)
    }

    fn is_trusted(&self, addr: IpAddr) -> bool {
        self.trusts(addr)
    }

    fn is_allowed(&self, addr: IpAddr) -> bool {
        let shared = self.active();
        shared.is_some_and(|shared| shared.allow.find(addr, 0, 0, now()).is_some())
    }

    fn is_blocked(&self, addr: IpAddr) -> bool {
        let Some(shared) = self.active() else {
            return false;
        };
        let is_blocked = shared.block.find(addr, 0, 0, now()).is_some();
        is_blocked && !self.is_allowed(addr)
    }

    fn offence(&self, addr: IpAddr) -> Offence {
        if self.is_allowed(addr) || self.is_trusted(addr) {
            return Offence::Allowed;
        }
        let Some(shared) = self.active() else {
            return Offence::Noted;
        };
        let now = now();
        let Some((network, seconds)) = shared.buckets.offence(addr, now) else {
            return Offence::Noted;
        };
        let expires = now.saturating_add(u64::from(seconds).saturating_mul(1_000_000_000));
        shared.block_offender(network, expires);
        Offence::Blocked
    }
}
