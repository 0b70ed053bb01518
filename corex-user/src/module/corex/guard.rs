//! guard_block() and its like, and the lists that the guard's parameters name.

use std::net::IpAddr;
use std::sync::Arc;

use corex_common::guard::Network;
use corex_script::function::{LoadError, Shared, Sources};
use corex_script::guard::{Guard, GuardError, Offence};
use corex_script::run::{Arg, Exec, Halt};
use corex_script::settings::guard::network;
use corex_script::syntax::{diag::Diagnostic, span::Span};

use crate::guard::{Listings, Unusable};

/// Reads the files that the parameters name.
pub(super) fn share(sources: &Sources<'_>) -> Result<Option<Shared>, LoadError> {
    let corex = &sources.settings.corex;
    let is_plain = corex.codec_in.is_empty() && !corex.network_io_intercept;
    let load = || -> Result<Listings, Unusable> {
        let mut listings = Listings::load(&corex.guard)?;
        listings.make_automaton(&corex.guard, is_plain)?;
        Ok(listings)
    };
    match load() {
        Ok(listings) => Ok(Some(Arc::new(listings))),
        Err(unusable) => Err(LoadError {
            diagnostic: Diagnostic::error(Span::NONE, unusable.what)
                .help(unusable.help)
                .into(),
            parameter: Some((unusable.parameter, unusable.at)),
            part: None,
        }),
    }
}

/// guard_block(network[, seconds])
pub(super) fn block(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    change(exec, args, "guard_block", |guard, network, seconds| {
        guard.block(network, seconds, "by the script")
    })
}

/// guard_allow(network[, seconds])
pub(super) fn allow(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    change(exec, args, "guard_allow", |guard, network, seconds| {
        guard.allow(network, seconds)
    })
}

fn change(
    exec: &mut Exec<'_>,
    args: &[Arg],
    function: &str,
    action: impl Fn(&dyn Guard, Network, Option<u32>) -> Result<(), GuardError>,
) -> Result<i64, Halt> {
    let Some(network) = network_of(exec, args, function)? else {
        return Ok(-1);
    };
    let seconds = match args.len() {
        0 | 1 => None,
        _ => match u32::try_from(exec.arg_int(args, 1)?) {
            Ok(seconds) if seconds > 0 => Some(seconds),
            _ => {
                exec.complain(format_args!(
                    "{function}(): the time isn't from 1 to {} seconds",
                    u32::MAX
                ));
                return Ok(-1);
            }
        },
    };
    let outcome = match exec.host.guard() {
        Some(guard) => action(guard, network, seconds),
        None => Err(GuardError::Off),
    };
    Ok(match outcome {
        Ok(()) => 1,
        Err(error) => {
            exec.complain(format_args!("{function}(): {}: {error}", network.addr));
            -1
        }
    })
}

/// guard_unblock(network)
pub(super) fn unblock(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let Some(network) = network_of(exec, args, "guard_unblock")? else {
        return Ok(-1);
    };
    let was_there = exec
        .host
        .guard()
        .is_some_and(|guard| guard.unblock(network));
    Ok(if was_there { 1 } else { -1 })
}

/// guard_allowed(address)
pub(super) fn is_allowed(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    ask(exec, args, "guard_allowed", |guard, addr| {
        guard.is_allowed(addr)
    })
}

/// guard_blocked(address)
pub(super) fn is_blocked(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    ask(exec, args, "guard_blocked", |guard, addr| {
        guard.is_blocked(addr)
    })
}

/// guard_offence(address)
pub(super) fn offence(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    ask(exec, args, "guard_offence", |guard, addr| {
        guard.offence(addr) == Offence::Blocked
    })
}

fn ask(
    exec: &mut Exec<'_>,
    args: &[Arg],
    function: &str,
    question: impl Fn(&dyn Guard, IpAddr) -> bool,
) -> Result<i64, Halt> {
    let Some(network) = network_of(exec, args, function)? else {
        return Ok(-1);
    };
    let guard = exec.host.guard();
    let is_so = guard.is_some_and(|guard| question(guard, network.addr));
    Ok(if is_so { 1 } else { -1 })
}

/// The network that the first argument is. What is none is complained of.
fn network_of(exec: &mut Exec<'_>, args: &[Arg], function: &str) -> Result<Option<Network>, Halt> {
    let text = exec.arg_str(args, 0)?;
    let found = std::str::from_utf8(exec.bytes(text))
        .ok()
        .and_then(|text| network(text).ok());
    if found.is_none() {
        let text = exec.bytes(text).escape_ascii().to_string();
        exec.complain(format_args!(
            "{function}(): `{text}` is no address or network"
        ));
    }
    Ok(found)
}
