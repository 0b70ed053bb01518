//! The whole of remote control, asked by the real clients.

mod clients;
mod commands;
mod fake;
mod kamcmd;

pub(super) use self::clients::{Folder, output, run, runtime};
pub(super) use self::fake::Fake;
