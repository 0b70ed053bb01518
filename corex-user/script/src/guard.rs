//! Who is let in: what scripts and modules can have the guard do.

use std::net::IpAddr;

use corex_common::guard::Network;

/// Why a list stays as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GuardError {
    /// There is no guard.
    #[error("there is no guard; add the line: modparam(\"corex\", \"guard\", 1)")]
    Off,
    /// It holds as many entries as it may.
    #[error("the list holds as many entries as it may")]
    Full,
    /// Who is allowed isn't blocked.
    #[error("the network is allowed, and who is allowed isn't blocked")]
    Allowed,
}

/// What became of an offence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offence {
    /// It is noted.
    Noted,
    /// It was one too many: the source is blocked.
    Blocked,
    /// The source is allowed or trusted: nothing is noted.
    Allowed,
}

/// A guard, as those see it who may tell it whom to let in. Nothing here waits for the kernel.
pub trait Guard: Send + Sync {
    /// Blocks a network: for so many seconds, or until it is unblocked. `reason` is what people read.
    ///
    /// # Errors
    /// Why it isn't.
    fn block(
        &self,
        network: Network,
        seconds: Option<u32>,
        reason: &'static str,
    ) -> Result<(), GuardError>;

    /// Takes exactly this network off the list of those blocked. Whether it was there.
    fn unblock(&self, network: Network) -> bool;

    /// Allows a network, likewise.
    ///
    /// # Errors
    /// Why it isn't.
    fn allow(&self, network: Network, seconds: Option<u32>) -> Result<(), GuardError>;

    /// Takes exactly this network off the list of those allowed. Whether it was there.
    fn disallow(&self, network: Network) -> bool;

    /// Whether an address is allowed, whatever transport and port.
    fn is_allowed(&self, addr: IpAddr) -> bool;

    /// Whether an address is blocked, whatever transport and port, and isn't allowed.
    fn is_blocked(&self, addr: IpAddr) -> bool;

    /// Whether an address is trusted: it isn't to be blocked but by who names it.
    fn is_trusted(&self, addr: IpAddr) -> bool;

    /// Notes that an address did what it shouldn't. Too many offences have it blocked, where the
    /// configuration says so; never if it is allowed or trusted.
    fn offence(&self, addr: IpAddr) -> Offence;
}
