//! The terminal: draws, and takes keys, until somebody says stop.

use std::{
    env, io,
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, TryRecvError},
    },
    thread,
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use super::{
    model::{Action, Model},
    sample::{Sample, Unread},
    view::{self, Look},
};

/// Exit status: the terminal fails.
pub const NO_TERMINAL: u8 = 3;
/// How long a key is waited for before readings and signals are looked at.
const TURN: Duration = Duration::from_millis(50);

/// What the environment says that this terminal can show.
pub fn look() -> Look {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    // The first that is set counts: locale(7).
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    let locale = locale.unwrap_or_default().to_ascii_uppercase();
    Look {
        // https://no-color.org
        has_colour: set("NO_COLOR").is_none(),
        has_unicode: locale.contains("UTF-8") || locale.contains("UTF8"),
    }
}

/// Shows the model and what `readings` adds to it, until it is quit by key or signal. The
/// terminal is then as it was before.
///
/// # Errors
/// What the terminal says.
pub fn run(
    model: &mut Model,
    readings: &Receiver<Result<Sample, Unread>>,
    look: Look,
) -> io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        flag::register(signal, Arc::clone(&stop))?;
    }
    watch_terminal()?;
    // It also gives the terminal back when this program panics.
    let mut terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
    let outcome = turn(&mut terminal, model, readings, look, &stop);
    let shown = terminal.show_cursor();
    let restored = ratatui::try_restore();
    outcome.and(shown).and(restored)
}

/// Ends the program when its terminal goes away. crossterm, asked for keys then, reads the end of
/// file again and again and never returns.
fn watch_terminal() -> io::Result<()> {
    let watch = || {
        let stdout = io::stdout();
        // Nothing is asked for: hang-up and errors are told anyway (poll(2)).
        let mut terminal = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        while poll(&mut terminal, PollTimeout::NONE).is_ok_and(|ready| ready > 0)
            || Errno::last() == Errno::EINTR
        {
            let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
            if terminal[0]
                .revents()
                .is_some_and(|seen| seen.intersects(gone))
            {
                std::process::exit(NO_TERMINAL.into());
            }
        }
    };
    thread::Builder::new()
        .name("corex-tty".to_owned())
        .spawn(watch)
        .map(drop)
}

fn turn(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    readings: &Receiver<Result<Sample, Unread>>,
    look: Look,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut is_stale = true;
    while !stop.load(Ordering::Relaxed) {
        if is_stale {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let now = now.unwrap_or_default();
            terminal.draw(|frame| view::draw(frame, model, look, now))?;
            is_stale = false;
        }
        if event::poll(TURN)? {
            match event::read()? {
                Event::Key(key) => match action(key) {
                    Some(action) if !model.act(action) => return Ok(()),
                    Some(_) => is_stale = true,
                    None => {}
                },
                Event::Resize(..) => is_stale = true,
                _ => {}
            }
        }
        match readings.try_recv() {
            Ok(reading) => {
                model.take(reading);
                is_stale = true;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(io::Error::other("the thread that reads has ended"));
            }
        }
    }
    Ok(())
}

fn action(key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        // In raw mode it is a key like others.
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Action::Quit),
        KeyCode::Char(key) => Action::of(key),
        KeyCode::Esc => Some(Action::Quit),
        _ => None,
    }
}
