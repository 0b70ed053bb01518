//! Remote control by the real kamcmd, while calls pass.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, WorkDir,
    config::{self, Family},
    corex::CorexOptions,
    process::output_of,
    sipp::SippOptions,
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);

struct Stage {
    relay: Relay,
    work: WorkDir,
    corex: Corex,
    socket: PathBuf,
}

impl Stage {
    fn new(more: &str) -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let socket = work.join("ctl");
        let parameters = format!(
            "debug=2\nloadmodule \"ctl.so\"\nloadmodule \"htable.so\"\n\
             modparam(\"ctl\", \"binrpc\", \"unix:{}\")\n\
             modparam(\"htable\", \"htable\", \"seen=>size=8\")\n\
             alias=tcp:alias.example:5070\n\
             modparam(\"corex\", \"alias_subdomains\", \"udp:kamailio.org\")\n{more}",
            socket.display()
        );
        let file = work.write(
            "corex.cfg",
            config::relay(Family::V4, &parameters, config::COPY),
        )?;
        let corex = CorexOptions::new(&file)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .start(&relay.corex, work.path(), "corex")?;
        Ok(Stage {
            relay,
            work,
            corex,
            socket,
        })
    }

    fn kamcmd(&self, words: &[&str]) -> Result<String> {
        let socket = format!("unix:{}", self.socket.display());
        output_of(Command::new("kamcmd").args(["-s", &socket]).args(words))
    }

    fn call(&self, calls: u64) -> Result<()> {
        let (relay, work) = (&self.relay, self.work.path());
        let uas = SippOptions::uas(Relay::UAS.sip()).start(&relay.uas, work, "uas")?;
        SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), calls, 100)
            .start(&relay.uac, work, "uac")?
            .finish(LIMIT)?
            .check(calls)?;
        uas.stop()?.check(calls)
    }

    fn logged(&self, text: &str) -> Result<()> {
        self.corex.process.wait_for_output(text, LIMIT)
    }
}

/// The value of `name: value` in what kamcmd prints.
fn field<'t>(text: &'t str, name: &str) -> Result<&'t str> {
    let prefix = format!("{name}: ");
    let mut lines = text.lines().map(str::trim);
    lines
        .find_map(|line| line.strip_prefix(&prefix))
        .with_context(|| format!("no {name} in\n{text}"))
}

#[test]
fn kamcmd_shows_what_the_books_show_while_calls_pass() -> Result<()> {
    let stage = Stage::new("")?;
    std::thread::scope(|scope| -> Result<()> {
        let calls = scope.spawn(|| stage.call(200));
        while !calls.is_finished() {
            for command in ["corex.workers", "corex.counters", "core.psx", "htable.dump"] {
                // htable.dump without a name is a fault, which disturbs nobody either.
                let _ = stage.kamcmd(&[command]);
            }
        }
        calls
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let books = wait::until("corex is at rest", LIMIT, || {
        let books = stage.corex.books()?;
        Ok((books.get("user.sent") == 1200).then_some(books))
    })?;
    let workers = stage.kamcmd(&["corex.counters", "workers"])?;
    for name in [
        "sent",
        "xdp_in",
        "bytes_in",
        "bytes_out",
        "hook_in",
        "out_in_place",
    ] {
        let path = format!("user.{name}");
        ensure!(
            field(&workers, name)?.parse::<u64>()? == books.get(&path),
            "{name}\n{workers}"
        );
    }
    let kernel = stage.kamcmd(&["corex.counters", "kernel"])?;
    ensure!(field(&kernel, "steered")?.parse::<u64>()? == books.get("kernel.steered"));
    let sockets = stage.kamcmd(&["corex.list_sockets"])?;
    for socket in ["udp:10.0.1.1:5060", "udp:10.0.2.1:5060"] {
        ensure!(sockets.contains(&format!("SOCKSTR: {socket}")), "{sockets}");
    }
    let aliases = stage.kamcmd(&["corex.list_aliases"])?;
    ensure!(aliases.contains("ADDR: alias.example") && aliases.contains("SUBDOMAINS: yes"));
    stage.corex.stop()?.check_balance()
}

#[test]
fn what_is_set_holds_and_what_is_bad_is_a_fault() -> Result<()> {
    let stage = Stage::new("")?;
    stage.kamcmd(&["cfg.set_now_int", "corex", "min_msg_len", "60000"])?;
    ensure!(stage.kamcmd(&["cfg.get", "corex", "min_msg_len"])?.trim() == "60000");
    stage.call(10)?;
    let books = stage.corex.books()?;
    ensure!(books.get("user.hook_in") == 0, "{:#}", books.0);
    ensure!(books.get("user.hook_skipped") == 120, "{:#}", books.0);
    stage.kamcmd(&["htable.seti", "seen", "key", "7"])?;
    let entry = stage.kamcmd(&["htable.get", "seen", "key"])?;
    ensure!(field(&entry, "value")? == "7", "{entry}");
    ensure!(stage.kamcmd(&["corex.reload"])?.contains("reloaded"));
    let entry = stage.kamcmd(&["htable.get", "seen", "key"])?;
    ensure!(field(&entry, "value")? == "7", "a reload keeps it: {entry}");
    for (words, fault) in [
        (&["nonsense"][..], "500 - command nonsense not found"),
        (
            &["corex.pkg_summary", "name", "1"],
            "500 - Unsupported selector type",
        ),
        (
            &["corex.pkg_summary", "idx", "999"],
            "500 - Index value out of range",
        ),
        (
            &["corex.pkg_summary"],
            "400 - Selector and value not provided",
        ),
    ] {
        let socket = format!("unix:{}", stage.socket.display());
        let output = Command::new("kamcmd")
            .args(["-s", &socket])
            .args(words)
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(said.contains(fault), "{words:?}: {said}");
    }
    stage.corex.stop()?.check_balance()
}

#[test]
fn memory_is_logged_by_those_who_hold_it() -> Result<()> {
    let stage = Stage::new("")?;
    stage.kamcmd(&["corex.shm_status"])?;
    for map in ["SOCKETS", "COUNTERS", "CONFIG", "QUEUES", "WORKERS", "XSKS"] {
        stage.logged(&format!("shm: map {map}"))?;
    }
    stage.logged("shm: htable seen")?;
    stage.logged("shm: four rings")?;
    stage.logged("shm: all, in bytes")?;
    stage.kamcmd(&["corex.pkg_summary", "idx", "1"])?;
    stage.call(5)?;
    stage.logged("pkg: heap, in bytes worker=0")?;
    stage.logged("pkg: packet memory worker=0")?;
    stage.corex.stop()?.check_balance()
}

#[test]
fn clients_that_talk_nonsense_or_nothing_disturb_nobody() -> Result<()> {
    let stage = Stage::new("")?;
    let connect = |path: &Path| UnixStream::connect(path);
    let idle = connect(&stage.socket)?;
    let mut half = connect(&stage.socket)?;
    half.write_all(&[0xa1, 0x03, 0x20])?;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 4096],
        &[0xa1, 0x0f, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0],
    ] {
        let mut client = connect(&stage.socket)?;
        // It may have hung up by then.
        let _ = client.write_all(garbage);
        client.set_read_timeout(Some(LIMIT))?;
        let _ = client.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
    }
    ensure!(stage.kamcmd(&["core.version"])?.starts_with("corex "));
    stage.call(20)?;
    ensure!(stage.kamcmd(&["core.uptime"])?.contains("uptime: "));
    drop((idle, half));
    let books = stage.corex.stop()?;
    books.check_balance()?;
    ensure!(!stage.socket.exists(), "the socket file stays");
    ensure!(books.get("user.sent") == 120);
    Ok(())
}
