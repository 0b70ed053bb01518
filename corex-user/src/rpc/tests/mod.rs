//! The whole of remote control, asked by the real clients.

mod access;
mod clients;
mod commands;
mod fake;
mod guard;
mod json;
mod kamcmd;
mod modparams;

pub(crate) use self::clients::{Folder, output, run, runtime};
pub(crate) use self::fake::Fake;
