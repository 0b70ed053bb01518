//! What remote control and reloads may not do: change anything where they fail, or hold up messages.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, WorkDir,
    corex::CorexOptions,
    process::{of_every_thread, output_of},
    topology::Relay,
    wait,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a configuration of [`Stage`] may have otherwise.
struct Differs<'t> {
    core: &'t str,
    corex: &'t str,
    more: &'t str,
}

/// As it starts.
const FIRST: Differs<'static> = Differs {
    core: "debug=2\ntcp_children=3\nlisten=udp:10.0.1.1\nlisten=tcp:10.0.1.1\nalias=first.example\n",
    corex: "modparam(\"corex\", \"min_msg_len\", 40)\n",
    more: "modparam(\"pv\", \"shvset\", \"mark=s:first\")\n",
};
/// The same, and whatever may change, otherwise: what a reload that is refused must not let through.
const OTHER: Differs<'static> = Differs {
    core: "debug=-1\ntcp_children=3\nlisten=udp:10.0.1.1\nlisten=tcp:10.0.1.1\nalias=other.example\n",
    corex: "modparam(\"corex\", \"min_msg_len\", 99)\nmodparam(\"corex\", \"probe_len\", 9)\n",
    more: "modparam(\"pv\", \"shvset\", \"mark=s:other\")\nmodparam(\"pv\", \"shvset\", \"new=s:other\")\n\
           modparam(\"htable\", \"htable\", \"new=>size=8\")\n",
};

struct Stage {
    relay: Relay,
    work: WorkDir,
    corex: Corex,
    caller: UdpSocket,
    socket: PathBuf,
    asked: u32,
}

impl Stage {
    fn new(engine: &str) -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let socket = work.join("ctl");
        work.write("script.lua", lua("first"))?;
        let file = work.join("corex.cfg");
        fs::write(&file, text(&work, &FIRST, "first"))?;
        let corex = CorexOptions::new(&file)
            .interface("user")
            .engine(engine)
            .start(&relay.corex, work.path(), "corex")?;
        let caller = relay.uac.udp(Relay::UAC.sip())?;
        caller.set_read_timeout(Some(PATIENCE))?;
        Ok(Stage {
            relay,
            work,
            corex,
            caller,
            socket,
            asked: 0,
        })
    }

    fn kamcmd(&self, words: &[&str]) -> Result<String> {
        let socket = format!("unix:{}", self.socket.display());
        output_of(Command::new("kamcmd").args(["-s", &socket]).args(words))
    }

    /// The same where a fault is expected: what it says.
    fn fault(&self, words: &[&str]) -> Result<String> {
        let socket = format!("unix:{}", self.socket.display());
        let output = Command::new("kamcmd")
            .args(["-s", &socket])
            .args(words)
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// The reason phrase of the reply to a request.
    fn ask(&mut self) -> Result<String> {
        self.asked += 1;
        let n = self.asked;
        let request = options("UDP", &format!("10.0.1.2;branch=z9hG4bK{n}"), n);
        self.caller
            .send_to(request.as_bytes(), Relay::USER_SIDE.sip())?;
        let mut buffer = [0; 4096];
        let len = self.caller.recv(&mut buffer);
        let len = len.with_context(|| self.corex.log())?;
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let line = text.lines().next().unwrap_or_default();
        Ok(line.trim_start_matches("SIP/2.0 200 ").to_owned())
    }

    /// All that a reload can change, as remote control and messages show it.
    fn state(&mut self) -> Result<String> {
        let mut state = self.ask()?;
        for words in [
            &["corex.debug"][..],
            &["cfg.get", "corex"],
            &["htable.listTables"],
            &["htable.dump", "seen"],
            &["core.aliases_list"],
            &["corex.list_sockets"],
            &["core.modules"],
            &["core.uptime"],
        ] {
            let said = self.kamcmd(words)?;
            // Time goes on.
            let lines = said
                .lines()
                .filter(|line| !line.contains("now:") && !line.contains("uptime:"));
            state.extend(lines.flat_map(|line| [line, "\n"]));
        }
        Ok(state)
    }

    fn change(&self, content: impl AsRef<[u8]>) -> Result<()> {
        self.work.write("corex.cfg", content).map(drop)
    }

    fn logged(&self, text: &str, count: usize) -> Result<()> {
        wait::until("corex logs it", PATIENCE, || {
            Ok((self.corex.log().matches(text).count() >= count).then_some(()))
        })
        .with_context(|| format!("{text:?} isn't in\n{}", self.corex.log()))
    }
}

fn lua(word: &str) -> String {
    format!("function word() KSR.pv.sets(\"$var(word)\", \"{word}\") end\n")
}

fn text(work: &WorkDir, differs: &Differs<'_>, reason: &str) -> String {
    let Differs { core, corex, more } = differs;
    format!(
        r#"{core}
loadmodule "corex.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "htable.so"
loadmodule "ctl.so"
loadmodule "app_lua.so"
modparam("ctl", "binrpc", "unix:{ctl}")
modparam("htable", "htable", "seen=>size=8;maxentries=100;maxbytes=20000")
modparam("app_lua", "load", "{lua}")
{corex}{more}
request_route {{
    lua_run("word");
    $sht(seen=>all) = "once";
    sl_send_reply("200", "{reason} $var(word) $shv(mark) $shv(new)");
}}
"#,
        ctl = work.join("ctl").display(),
        lua = work.join("script.lua").display(),
    )
}

fn options(transport: &str, sent_by: &str, n: u32) -> String {
    format!(
        "OPTIONS sip:10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/{transport} {sent_by}\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: {n}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_reload_that_is_refused_changes_nothing_whatever_is_wrong_with_it() -> Result<()> {
    for engine in ["socket", "xdp"] {
        let mut stage = Stage::new(engine)?;
        // What was set at run time must stay, too.
        stage.kamcmd(&["cfg.set_now_int", "corex", "min_msg_len", "50"])?;
        stage.kamcmd(&["corex.debug", "1"])?;
        stage.kamcmd(&["htable.seti", "seen", "key", "7"])?;
        let before = stage.state()?;
        ensure!(before.starts_with("first first first 0"), "{before}");
        let other = |differs: Differs<'_>| text(&stage.work, &differs, "other");
        let more = |line: &str| {
            let more = format!("{}{line}\n", OTHER.more);
            other(Differs {
                more: &more,
                ..OTHER
            })
        };
        let core = |line: &str| {
            let core = format!("{}{line}\n", OTHER.core);
            other(Differs {
                core: &core,
                ..OTHER
            })
        };
        let bad_lua = stage.work.write("bad.lua", "function word( end\n")?;
        let bad_perl = stage.work.write("bad.pl", "sub word {\n")?;
        let cases = [
            ("a mistake in its syntax", more("request_route {")),
            (
                "a function that isn't there",
                more("route[X] { nonsense(); }"),
            ),
            (
                "a bad hash table",
                more("modparam(\"htable\", \"htable\", \"bad=>size=x\")"),
            ),
            (
                "a bad Lua script",
                more(&format!(
                    "modparam(\"app_lua\", \"load\", \"{}\")",
                    bad_lua.display()
                )),
            ),
            (
                "a bad Perl script",
                more(&format!(
                    "loadmodule \"app_perl.so\"\nmodparam(\"app_perl\", \"filename\", \"{}\")",
                    bad_perl.display()
                )),
            ),
            (
                "a file that isn't there",
                more("include_file \"/nonexistent/more.cfg\""),
            ),
            ("another listen line", core("listen=udp:10.0.1.1:5099")),
            ("another bound of TCP", core("tcp_max_connections=7")),
            ("other threads of TCP", core("tcp_children=2")),
            ("another number of workers", core("children=1")),
            ("another log", core("log_name=\"other\"")),
            ("another TOS", core("tos=8")),
            (
                "another control socket",
                more("modparam(\"ctl\", \"mode\", 0666)"),
            ),
            (
                "a file of keys that isn't there",
                more("modparam(\"corex\", \"reply_key_file\", \"/nonexistent/keys\")"),
            ),
            (
                "another number of peers",
                more("modparam(\"corex\", \"max_peers\", 7)"),
            ),
        ];
        for (at, (what, config)) in cases.iter().enumerate() {
            stage.change(config)?;
            let fault = stage.fault(&["corex.reload"])?;
            ensure!(fault.contains("error: 500"), "{what}: {fault}");
            stage.corex.process.signal(libc::SIGHUP)?;
            stage.logged("SIGHUP: ", at + 1)?;
            let after = stage.state()?;
            ensure!(after == before, "{engine}, {what}:\n{before}\n{after}");
        }
        // Without what is wrong it is taken, and all of it is.
        stage.change(text(&stage.work, &OTHER, "other"))?;
        ensure!(stage.kamcmd(&["corex.reload"])?.contains("reloaded"));
        wait::until("the other one answers", PATIENCE, || {
            Ok((stage.ask()? == "other first first other").then_some(()))
        })?;
        let after = stage.state()?;
        for changed in [
            "min_msg_len: 0",
            "probe_len: 9",
            "other.example",
            "name: new",
        ] {
            ensure!(after.contains(changed), "{changed}: {after}");
        }
        stage.corex.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn reloads_at_once_are_done_in_turn() -> Result<()> {
    const EACH: usize = 6;
    let mut stage = Stage::new("socket")?;
    stage.change(text(&stage.work, &FIRST, "other"))?;
    let answers = thread::scope(|scope| -> Result<Vec<String>> {
        let stage = &stage;
        let asked: Vec<_> = (0..EACH)
            .map(|_| scope.spawn(|| stage.kamcmd(&["corex.reload"])))
            .collect();
        for _ in 0..EACH {
            stage.corex.process.signal(libc::SIGHUP)?;
        }
        let join = |answer: thread::ScopedJoinHandle<'_, Result<String>>| {
            answer
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        asked.into_iter().map(join).collect()
    })?;
    for answer in &answers {
        ensure!(answer.contains("reloaded"), "{answer}");
    }
    stage.logged("SIGHUP: the configuration was read again", 1)?;
    stage.logged("remote control: the configuration was read again", EACH)?;
    ensure!(stage.ask()?.starts_with("other"));
    stage.corex.stop()?.check_balance()
}

#[test]
fn lua_scripts_are_read_again_by_themselves() -> Result<()> {
    let mut stage = Stage::new("socket")?;
    ensure!(stage.ask()?.starts_with("first first"));
    stage.work.write("script.lua", lua("second"))?;
    stage.kamcmd(&["app_lua.reload"])?;
    ensure!(stage.ask()?.starts_with("first second"));
    stage.work.write("script.lua", "function word( end\n")?;
    let fault = stage.fault(&["app_lua.reload"])?;
    ensure!(fault.contains("error: 500"), "{fault}");
    ensure!(stage.ask()?.starts_with("first second"));
    let fault = stage.fault(&["app_perl.reload"])?;
    ensure!(fault.contains("app_perl is not loaded"), "{fault}");
    stage.corex.stop()?.check_balance()
}

#[test]
fn clients_that_take_no_answer_hold_up_no_message() -> Result<()> {
    const CLIENTS: usize = 40;
    let mut stage = Stage::new("socket")?;
    // A few requests that never end, and answers that nobody reads.
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = UnixStream::connect(&stage.socket)?;
        client.write_all(&[0xa1, 0x03, 0x7f])?;
        clients.push(client);
    }
    let mut stream = stage
        .relay
        .uac
        .enter(|| Ok(TcpStream::connect(Relay::USER_SIDE.sip())?))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    for n in 0..20 {
        ensure!(stage.ask()?.starts_with("first"));
        let request = options("TCP", &format!("10.0.1.2;branch=z9hG4bKt{n}"), n);
        stream.write_all(request.as_bytes())?;
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            reply.extend(byte);
        }
        ensure!(reply.starts_with(b"SIP/2.0 200"));
    }
    drop(clients);
    stage.corex.stop()?.check_balance()
}

#[test]
fn streams_have_threads_of_their_own_without_privileges() -> Result<()> {
    let stage = Stage::new("xdp")?;
    // A thread that hasn't run yet has no name of its own.
    let capabilities = wait::until("all threads have names", PATIENCE, || {
        let threads = of_every_thread(stage.corex.process.pid(), "CapEff")?;
        let count = |name| threads.iter().filter(|(thread, _)| thread == name).count();
        let are_named = count("corex-tcp") == 3 && count("corex-rpc") == 2;
        Ok(are_named.then_some(threads))
    })?;
    let of = |name: &str| -> Vec<&str> {
        let threads = capabilities.iter().filter(|(thread, _)| thread == name);
        threads.map(|(_, value)| value.trim()).collect()
    };
    for name in ["corex-tcp", "corex-rpc"] {
        let none = of(name)
            .iter()
            .all(|value| value.chars().all(|c| matches!(c, ':' | '\t' | '0')));
        ensure!(none, "{name}: {capabilities:?}");
    }
    stage.corex.stop()?.check_balance()
}

#[test]
fn nothing_is_opened_for_a_reply_that_was_never_asked_for() -> Result<()> {
    for engine in ["socket", "xdp"] {
        let stage = Stage::new(engine)?;
        let listener = stage
            .relay
            .uac
            .enter(|| Ok(TcpListener::bind("10.0.1.2:7777")?))?;
        listener.set_nonblocking(true)?;
        let mut client = stage
            .relay
            .uac
            .enter(|| Ok(TcpStream::connect(Relay::USER_SIDE.sip())?))?;
        let numbers = (0..64).map(|n| format!(";i={n:x}"));
        let mut sent = 0;
        for number in numbers.chain([String::new()]) {
            let forged = format!(
                "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKx{number}\r\n\
                 Via: SIP/2.0/TCP 10.0.1.2:7777;branch=z9hG4bKy\r\nFrom: <sip:a@b>;tag=1\r\n\
                 To: <sip:c@d>;tag=2\r\nCall-ID: forged\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
            );
            stage
                .caller
                .send_to(forged.as_bytes(), Relay::USER_SIDE.sip())?;
            sent += 1;
        }
        let books = wait::until("all are handled", PATIENCE, || {
            let books = stage.corex.books()?;
            let handled = books.get("user.xdp_in") + books.get("user.socket_in");
            Ok((handled == sent).then_some(books))
        })?;
        ensure!(books.get("streams.connected") == 0, "{:#}", books.0);
        ensure!(books.get("streams.queued") == 0, "{:#}", books.0);
        ensure!(listener.accept().is_err(), "corex has connected");
        // Nor has the one who is connected got anything.
        client.set_nonblocking(true)?;
        ensure!(client.read(&mut [0; 16]).is_err());
        books.check_balance()?;
        stage.corex.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn a_table_without_room_refuses_what_is_new_and_the_books_say_so() -> Result<()> {
    let mut stage = Stage::new("socket")?;
    let most = "x".repeat(19_000);
    stage.kamcmd(&["htable.sets", "seen", "big", &most])?;
    let fault = stage.fault(&["htable.sets", "seen", "more", &"x".repeat(1000)])?;
    ensure!(fault.contains("error: 500"), "{fault}");
    // Smaller ones still fit, messages go on, and what was there has stayed.
    ensure!(stage.ask()?.starts_with("first"));
    ensure!(
        stage
            .kamcmd(&["htable.get", "seen", "all"])?
            .contains("once")
    );
    ensure!(
        stage
            .kamcmd(&["htable.get", "seen", "big"])?
            .contains(&most)
    );
    let books = stage.corex.books()?;
    let used = ["entries", "refused"].map(|name| books.get(&format!("tables.seen.{name}")));
    ensure!(used == [2, 1], "{:#}", books.0);
    ensure!(books.get("tables.seen.bytes") < 20_000, "{:#}", books.0);
    let counters = stage.kamcmd(&["corex.counters", "htable.seen"])?;
    ensure!(counters.contains("refused: 1"), "{counters}");
    stage.corex.stop()?.check_balance()
}
