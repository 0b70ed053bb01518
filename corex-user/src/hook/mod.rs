//! What a hook is: a function from a message's bytes to other bytes, run on every message
//! received and on every message about to be sent.
//!
//! There is one kind: `event_route[network:msg]` of the configuration, which can call scripts in
//! other languages.

pub(crate) mod backoff;
pub mod lua;
pub mod perl;

use corex_script::{Direction, Env, HookOutcome, Host, NetworkHook};

/// Runs the hook on `payload`. `replacement` is cleared and holds the result when the
/// outcome is [`HookOutcome::Replaced`].
pub fn run(
    network_hook: &mut dyn NetworkHook,
    env: &Env,
    payload: &[u8],
    direction: Direction,
    host: &mut dyn Host,
    replacement: &mut Vec<u8>,
) -> HookOutcome {
    replacement.clear();
    network_hook.run_network_msg(env, payload, direction, host, replacement)
}
