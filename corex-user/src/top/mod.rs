//! `corex top`: a running corex, live in a terminal, over its control socket.
//!
//! [`sample`] reads what corex counts, [`model`] makes rates and curves of it, [`view`] and
//! [`plain`] show them; [`feed`] asks, and [`screen`] has the terminal.

pub mod feed;
pub mod model;
pub mod plain;
pub mod sample;
pub mod screen;
mod split;
pub mod units;
pub mod view;

use std::{
    io::{self, IsTerminal as _, Write as _},
    thread,
    time::Duration,
};

use self::{feed::Feed, model::Model, sample::Unread};
use crate::rpc::client::{self, USAGE};

#[cfg(test)]
mod tests;

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The control socket; `None`: the default.
    pub socket: Option<&'a str>,
    /// Print once, without a screen.
    pub once: bool,
    /// Time between two readings.
    pub interval: Duration,
    /// How long corex may be silent.
    pub patience: Duration,
}

/// Shows a running corex until the user quits; once, where there is no terminal.
///
/// # Errors
/// The exit status, 1 to 3 as of `corex rpc`, and why.
pub fn run(options: &Options<'_>) -> Result<(), Unread> {
    let unread = |status, reason: String| Unread { status, reason };
    let address = client::address(options.socket).map_err(|bad| unread(USAGE, bad.to_string()))?;
    let name = address.to_string();
    let explain = |unreachable: Unread| Unread {
        reason: format!("ask {name}: {}", unreachable.reason),
        ..unreachable
    };
    let mut feed = Feed::new(address, options.patience);
    let first = feed.read().map_err(explain)?;
    let mut model = Model::new(name.clone(), first);
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if options.once || is_dumb || !io::stdout().is_terminal() {
        thread::sleep(options.interval);
        model.take(Ok(feed.read().map_err(explain)?));
        // A closed pipe is the reader's choice.
        let _ = io::stdout().write_all(plain::text(&model).as_bytes());
        return Ok(());
    }
    let failed = |error: io::Error| unread(screen::NO_TERMINAL, error.to_string());
    let readings = feed.start(options.interval).map_err(failed)?;
    screen::run(&mut model, &readings, screen::look()).map_err(failed)
}
