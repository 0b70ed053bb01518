//! The commands, one file for each group.

mod cfg;
mod core;
mod corex;
mod ctl;
mod guard;
mod htable;
mod permissions;
mod pike;
mod ratelimit;
mod scripts;
mod secfilter;
mod sessions;
mod siptrace;
mod stats;
mod system;
mod time;
mod trace;

use super::command::CommandTable;

/// All commands.
pub const ALL: CommandTable = CommandTable(&[
    scripts::LUA,
    scripts::PERL,
    cfg::COMMANDS,
    core::COMMANDS,
    corex::COMMANDS,
    ctl::COMMANDS,
    guard::COMMANDS,
    htable::COMMANDS,
    permissions::COMMANDS,
    pike::COMMANDS,
    ratelimit::COMMANDS,
    secfilter::COMMANDS,
    siptrace::COMMANDS,
    stats::COMMANDS,
    system::COMMANDS,
]);
