//! What the person at the terminal sees.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether standard output is for something else now.
static IS_HUSHED: AtomicBool = AtomicBool::new(false);

/// From now on nothing is said, or said again: standard output is for a program that reads JSON.
pub fn hush(is_hushed: bool) {
    IS_HUSHED.store(is_hushed, Ordering::Relaxed);
}

/// How a piece of text is shown, on a terminal.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// A heading.
    Bold,
    /// Of less interest.
    Dim,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
}

fn colour(terminal: bool) -> bool {
    terminal && env::var_os("NO_COLOR").is_none()
}

/// The text in that style, if standard output is a terminal.
pub fn paint(style: Style, text: &str) -> String {
    paint_if(colour(io::stdout().is_terminal()), style, text)
}

fn paint_if(colour: bool, style: Style, text: &str) -> String {
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Good => "32",
        Style::Bad => "31",
    };
    if colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Prints a line at once. A closed pipe is the reader's choice.
pub fn say(line: &str) {
    if IS_HUSHED.load(Ordering::Relaxed) {
        return;
    }
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Says what begins now.
pub fn step(line: &str) {
    say(&paint(Style::Bold, line));
}

/// Shows progress: one line that changes on a terminal, nothing elsewhere.
pub fn progress(line: &str) {
    let mut out = io::stdout().lock();
    if out.is_terminal() && !IS_HUSHED.load(Ordering::Relaxed) {
        let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
    }
}

/// Ends a line that changed.
pub fn end_progress() {
    progress("");
}

/// Prints an error to standard error.
pub fn complain(text: &str) {
    let mut err = io::stderr().lock();
    let label = paint_if(colour(err.is_terminal()), Style::Bad, "error:");
    let _ = writeln!(err, "{label} {text}");
}
