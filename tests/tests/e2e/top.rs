//! `corex top` in a terminal, while calls pass.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, WorkDir,
    config::{self, Family},
    corex::{CorexOptions, binary},
    process::output_of,
    sipp::{Sipp, SippOptions},
    sys,
    tmux::Tmux,
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Calls a second, of six messages each.
const RATE: u64 = 50;

struct Stage {
    relay: Relay,
    work: WorkDir,
    config: PathBuf,
    socket: String,
}

impl Stage {
    fn new() -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let socket = format!("unix:{}", work.join("ctl").display());
        let parameters = format!(
            "debug=2\nloadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"{socket}\")\n"
        );
        let config = work.write(
            "corex.cfg",
            config::relay(Family::V4, &parameters, config::COPY),
        )?;
        Ok(Stage {
            relay,
            work,
            config,
            socket,
        })
    }

    fn corex(&self) -> Result<Corex> {
        CorexOptions::new(&self.config)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .start(&self.relay.corex, self.work.path(), "corex")
    }

    /// Calls that go on for as long as the values live.
    fn calls(&self) -> Result<(Sipp, Sipp)> {
        let (relay, work) = (&self.relay, self.work.path());
        let uas = SippOptions::uas(Relay::UAS.sip())
            .resending()
            .start(&relay.uas, work, "uas")?;
        let uac = SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), 1_000_000, RATE)
            .resending()
            .start(&relay.uac, work, "uac")?;
        Ok((uas, uac))
    }

    /// `corex top` in a shell that says how it ended, what the terminal is like then, and stays.
    fn top(&self, name: &str, size: (u16, u16), environment: &[(&str, &str)]) -> Result<Tmux> {
        let command = format!(
            "echo before; sh -c 'echo $$ > {pid}; exec {corex} top -d 0.2 -s {socket}'; \
             echo \"left: $?\"; stty -a | tr ';' '\\n' | grep -w -e echo -e icanon; exec cat",
            pid = self.work.join(format!("{name}.pid")).display(),
            corex = binary()?.display(),
            socket = self.socket,
        );
        Tmux::start(self.work.path(), name, size, environment, &command)
    }
}

/// The numbers at the end of the line that begins so, in the left or the right half of 80
/// columns: rate and count.
fn numbers(screen: &str, name: &str) -> Option<(f64, f64)> {
    let halves = screen.lines().flat_map(|line| {
        let cells: Vec<char> = line.chars().collect();
        let half = |part: &[char]| part.iter().collect::<String>();
        [
            half(cells.get(..40).unwrap_or(&cells)),
            half(cells.get(40..).unwrap_or_default()),
        ]
    });
    let mut found = halves.filter(|half| half.trim_start().starts_with(name));
    let half = found.next()?;
    let mut words = half.split_whitespace().rev();
    let number = |word: &str| match word.strip_suffix('k') {
        Some(thousands) => Some(thousands.parse::<f64>().ok()? * 1e3),
        None => word.parse().ok(),
    };
    let count = number(words.next()?)?;
    Some((number(words.next()?)?, count))
}

fn rate(screen: &str, name: &str) -> f64 {
    numbers(screen, name).map_or(-1.0, |(rate, _)| rate)
}

fn count(screen: &str, name: &str) -> f64 {
    numbers(screen, name).map_or(-1.0, |(_, count)| count)
}

#[test]
fn numbers_move_while_calls_pass_and_stay_when_none_do() -> Result<()> {
    let stage = Stage::new()?;
    let corex = stage.corex()?;
    let top = stage.top("top", (80, 24), &[])?;
    top.wait_for("corex top has its screen", LIMIT, |screen| {
        screen.starts_with("corex xdp, up 0:00:") && numbers(screen, "AF_XDP in").is_some()
    })?;
    let recorded = stage.work.join("recorded");
    let record = format!("cat > {}", recorded.display());
    top.run(&["pipe-pane", &record])?;
    let (uas, uac) = stage.calls()?;
    let caller = stage.relay.uac.udp("10.0.1.2:7000".parse()?)?;
    let screen = top.wait_for("everything moves", LIMIT, |screen| {
        // Too short for SIP: a probe.
        let _ = caller.send_to(b"ping", Relay::USER_SIDE.sip());
        [
            "AF_XDP in",
            "AF_XDP out",
            "dropped",
            "udp:10.0.1.1:5060",
            "udp:10.0.2.1:5060",
            "10.0.1.2",
            "10.0.2.2",
            "xdp probe",
        ]
        .iter()
        .all(|name| rate(screen, name) > 0.0 && count(screen, name) > 0.0)
            && ["route in", "route out"].iter().all(|hook| {
                let is_timed = |line: &str| line.contains("us") || line.contains("ns");
                screen.lines().any(|l| l.contains(hook) && is_timed(l))
            })
            && screen.contains('%')
    })?;
    for (at, line) in screen.lines().enumerate() {
        ensure!(line.chars().count() <= 80, "line {at}:\n{screen}");
    }
    ensure!(screen.lines().count() == 24, "{screen}");
    let last = screen.lines().last().unwrap_or_default();
    for key in ["q  quit", "p  pause", "r  reset", "s  sort"] {
        ensure!(last.contains(key), "{screen}");
    }
    uac.stop()?;
    uas.stop()?;
    let sent = corex.books()?.get("user.out_xdp") as f64;
    top.wait_for("nothing moves, and all is counted", LIMIT, |screen| {
        rate(screen, "AF_XDP out") == 0.0 && (count(screen, "AF_XDP out") - sent).abs() < 60.0
    })?;
    // What is drawn is what changed: the screen is never wiped, which would flicker.
    let recorded = std::fs::read(recorded)?;
    ensure!(recorded.len() > 1_000, "{} bytes", recorded.len());
    ensure!(!recorded.windows(4).any(|bytes| bytes == b"\x1b[2J"));
    corex.stop()?.check_balance()
}

#[test]
fn a_corex_that_goes_is_asked_until_it_comes_back() -> Result<()> {
    let stage = Stage::new()?;
    let corex = stage.corex()?;
    let top = stage.top("top", (80, 24), &[])?;
    let _calls = stage.calls()?;
    top.wait_for("numbers move", LIMIT, |screen| {
        rate(screen, "AF_XDP in") > 0.0
    })?;
    corex.stop()?;
    top.wait_for("it says that nobody answers", LIMIT, |screen| {
        screen.contains("NOT ANSWERING")
    })?;
    let corex = stage.corex()?;
    top.wait_for("numbers move again", LIMIT, |screen| {
        !screen.contains("NOT ANSWERING")
            && screen.contains(", restarted, ")
            && rate(screen, "AF_XDP in") > 0.0
    })?;
    // A signal ends it in order, too.
    let pid = std::fs::read_to_string(stage.work.join("top.pid"))?;
    sys::kill(pid.trim().parse()?, libc::SIGTERM)?;
    top.wait_for("the terminal is as before", LIMIT, |screen| {
        screen.starts_with("before") && screen.contains("left: 0") && screen.contains("icanon")
    })?;
    corex.stop().map(drop)
}

#[test]
fn it_ends_when_its_terminal_goes_away() -> Result<()> {
    let stage = Stage::new()?;
    let corex = stage.corex()?;
    let command = format!("exec {} top -s {}", binary()?.display(), stage.socket);
    let top = Tmux::start(stage.work.path(), "top", (80, 24), &[], &command)?;
    top.wait_for("it is there", LIMIT, |screen| screen.contains("q  quit"))?;
    let pid = top.run(&["display", "-p", "#{pane_pid}"])?;
    let process = PathBuf::from(format!("/proc/{}", pid.trim()));
    ensure!(process.exists());
    // Its server is killed, as a connection breaks.
    drop(top);
    wait::until("it has ended", LIMIT, || {
        Ok((!process.exists()).then_some(()))
    })?;
    corex.stop().map(drop)
}

#[test]
fn colours_are_there_unless_nobody_wants_them() -> Result<()> {
    let stage = Stage::new()?;
    let corex = stage.corex()?;
    let coloured = |name: &str, environment: &[(&str, &str)]| -> Result<bool> {
        let top = stage.top(name, (80, 24), environment)?;
        top.wait_for("it draws", LIMIT, |screen| screen.contains("AF_XDP in"))?;
        let screen = top.run(&["capture-pane", "-p", "-e"])?;
        // tmux writes colours as it got them: the palette's.
        Ok(screen.contains("\x1b[38;5;") || screen.contains(";38;5;"))
    };
    ensure!(coloured("with", &[])?);
    ensure!(!coloured("without", &[("NO_COLOR", "1")])?);
    let top = stage.top("ascii", (80, 24), &[("LANG", "C")])?;
    let screen = top.wait_for("it draws", LIMIT, |screen| screen.contains("AF_XDP in"))?;
    ensure!(screen.is_ascii(), "{screen}");
    corex.stop().map(drop)
}

fn once(socket: &str, more: &[&str]) -> Result<(Option<i32>, String)> {
    let output = Command::new(binary()?)
        .args(["top", "-d", "0.2", "-s", socket])
        .args(more)
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(text)?))
}

#[test]
fn without_a_terminal_it_prints_once() -> Result<()> {
    let stage = Stage::new()?;
    let corex = stage.corex()?;
    let (uas, uac) = stage.calls()?;
    let text = wait::until("calls pass", LIMIT, || {
        let (status, text) = once(&stage.socket, &[])?;
        ensure!(status == Some(0), "{text}");
        let line = text.lines().find(|line| line.starts_with("AF_XDP in"));
        let rate = line.and_then(|line| line.split_whitespace().nth(2));
        let rate: f64 = rate.context("a rate")?.parse()?;
        Ok((rate > 0.0).then_some(text))
    })?;
    ensure!(
        text.contains("udp:10.0.1.1:5060") && text.contains("route in"),
        "{text}"
    );
    ensure!(!text.contains('\x1b'));
    // The same on a terminal, if asked.
    let command = format!(
        "{} top --once -d 0.2 -s {}; echo left; exec cat",
        binary()?.display(),
        stage.socket
    );
    let terminal = Tmux::start(stage.work.path(), "once", (120, 60), &[], &command)?;
    terminal.wait_for("all of it", LIMIT, |screen| {
        screen.contains("packets by road") && screen.contains("left")
    })?;
    drop((uas, uac));
    corex.stop()?;
    let (status, text) = once(&stage.socket, &["--once"])?;
    ensure!(
        status == Some(3) && text.contains("corex: ask unixs:"),
        "{text}"
    );
    let (status, text) = once("unix:", &[])?;
    ensure!(status == Some(2) && text.contains("--socket"), "{text}");
    let (status, text) = once(&stage.socket, &["--interval", "0"])?;
    ensure!(status == Some(2), "{text}");
    Ok(())
}

#[test]
fn help_and_completion_know_it() -> Result<()> {
    let run = |words: &[&str]| output_of(Command::new(binary()?).args(words));
    ensure!(run(&["--help"])?.contains("top         Watch a running corex"));
    ensure!(run(&["completion", "bash"])?.contains("corex,top)"));
    ensure!(run(&["completion", "zsh"])?.contains("'top:Watch a running corex'"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    ensure!(std::fs::read_to_string(path)?.contains("corex top"));
    Ok(())
}

/// Tests that run with no other beside them. Counts that begin anew are small for a second only,
/// in which the screen must be looked at.
mod alone {
    use super::*;

    #[test]
    fn keys_do_what_the_last_line_says() -> Result<()> {
        let stage = Stage::new()?;
        let corex = stage.corex()?;
        let (uas, uac) = stage.calls()?;
        let top = stage.top("top", (80, 24), &[])?;
        let moves = |screen: &str| rate(screen, "AF_XDP in") > 0.0;
        top.wait_for("numbers move", LIMIT, |screen| {
            moves(screen) && count(screen, "AF_XDP in") > 600.0
        })?;
        top.keys("r")?;
        top.wait_for("counts begin anew", LIMIT, |screen| {
            (0.0..400.0).contains(&count(screen, "AF_XDP in"))
        })?;
        for order in ["rate", "count", "name", "list"] {
            top.keys("s")?;
            let sorted = format!("sorted by {order};");
            top.wait_for(&sorted, LIMIT, |screen| screen.contains(&sorted))?;
        }
        top.keys("p")?;
        let held = top.wait_for("a pause", LIMIT, |screen| screen.contains("PAUSED"))?;
        let before = corex.books()?.get("user.sent");
        wait::until("more calls pass", LIMIT, || {
            Ok((corex.books()?.get("user.sent") > before + 200).then_some(()))
        })?;
        let later = top.screen()?;
        let body = |screen: &str| {
            screen
                .lines()
                .skip(1)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        ensure!(body(&held) == body(&later), "{held}\n{later}");
        top.keys("p")?;
        top.wait_for("it goes on", LIMIT, |screen| {
            !screen.contains("PAUSED")
                && count(screen, "AF_XDP in") > count(&held, "AF_XDP in") + 100.0
        })?;
        top.resize(60, 20)?;
        top.wait_for("it says that this is too small", LIMIT, |screen| {
            screen.starts_with("80x24 at least; this is 60x20") && !screen.contains("AF_XDP")
        })?;
        top.resize(120, 40)?;
        top.wait_for("it takes the room", LIMIT, |screen| {
            screen
                .lines()
                .nth(39)
                .is_some_and(|line| line.contains("q  quit"))
        })?;
        top.keys("q")?;
        let screen = top.wait_for("it ends", LIMIT, |screen| screen.contains("left: 0"))?;
        ensure!(screen.starts_with("before"), "{screen}");
        // Wait for stty's lines, which tell a terminal in its usual mode.
        top.wait_for("the terminal is as before", LIMIT, |screen| {
            let words: Vec<&str> = screen.split_whitespace().collect();
            words.contains(&"icanon") && words.contains(&"echo") && !screen.contains("AF_XDP")
        })?;
        ensure!(
            top.run(&["display", "-p", "#{alternate_on}#{cursor_flag}"])?
                .trim()
                == "01"
        );
        drop((uas, uac));
        corex.stop().map(drop)
    }
}
