//! Every client there is asks a corex that carries calls, and others send it nonsense.

use std::{
    fs,
    io::Write as _,
    os::unix::{
        fs::OpenOptionsExt as _,
        net::{UnixDatagram, UnixStream},
    },
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use corex_lab::{
    Corex, WorkDir,
    config::{self, Family},
    corex::{CorexOptions, binary},
    process::output_of,
    sipp,
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);
const CALLS: u64 = 200;

struct Stage {
    relay: Relay,
    work: WorkDir,
    corex: Corex,
}

impl Stage {
    fn new() -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let at = |name: &str| work.join(name).display().to_string();
        let parameters = format!(
            "loadmodule \"ctl.so\"\nloadmodule \"jsonrpcs.so\"\n\
             modparam(\"ctl\", \"binrpc\", \"unix:{}\")\n\
             modparam(\"ctl\", \"binrpc\", \"unixd:{}\")\n\
             modparam(\"ctl\", \"binrpc\", \"udp:2046\")\n\
             modparam(\"ctl\", \"binrpc\", \"tcp:2049\")\n\
             modparam(\"jsonrpcs\", \"transport\", 7)\n\
             modparam(\"jsonrpcs\", \"fifo_name\", \"{}\")\n\
             modparam(\"jsonrpcs\", \"dgram_socket\", \"{}\")\n\
             modparam(\"jsonrpcs\", \"http_socket\", \"8080\")\n\
             modparam(\"corex\", \"metrics\", \"9470\")\n",
            at("ctl"),
            at("ctld"),
            at("fifo"),
            at("dgram"),
        );
        let text = config::relay(Family::V4, &parameters, config::COPY);
        let corex = CorexOptions::new(&work.write("corex.cfg", text)?)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .start(&relay.corex, work.path(), "corex")?;
        Ok(Stage { relay, work, corex })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    fn call(&self) -> Result<()> {
        sipp::call_through(&self.relay, self.work.path(), CALLS)
    }

    /// One question by every way; all must be answered.
    fn ask_all(&self) -> Result<()> {
        for socket in [
            format!("unix:{}", self.path("ctl").display()),
            format!("unixd:{}", self.path("ctld").display()),
            "udp:127.0.0.1:2046".to_owned(),
            "tcp:127.0.0.1:2049".to_owned(),
        ] {
            let words = ["-s", &socket, "corex.list_sockets"];
            let text = self.relay.corex.exec("kamcmd", &words)?;
            ensure!(text.contains("udp:10.0.1.1:5060"), "{socket}: {text}");
        }
        let document = r#"{"jsonrpc":"2.0","method":"corex.list_sockets","id":1}"#;
        let words = ["-sS", "-d", document, "http://127.0.0.1:8080/RPC"];
        let text = self.relay.corex.exec("curl", &words)?;
        ensure!(text.contains("udp:10.0.1.1:5060"), "HTTP: {text}");
        let settings = self.work.write(
            "kamcli.ini",
            format!(
                "[jsonrpc]\ntransport=socket\nsrvaddr={}\nrcvaddr={}\noutformat=json\n",
                self.path("dgram").display(),
                self.path("kamcli").display()
            ),
        )?;
        let settings = settings.display().to_string();
        let mut kamcli = Command::new("kamcli");
        let text = output_of(kamcli.args(["-c", &settings, "rpc", "corex.list_sockets"]))?;
        ensure!(text.contains("udp:10.0.1.1:5060"), "kamcli: {text}");
        let socket = format!("unix:{}", self.path("ctl").display());
        let mut corex = Command::new(binary()?);
        let text = output_of(corex.args(["rpc", "-s", &socket, "corex.list_sockets", "--json"]))?;
        let sockets: serde_json::Value = serde_json::from_str(&text)?;
        ensure!(sockets.as_array().map(Vec::len) == Some(2), "{text}");
        Ok(())
    }

    /// What means nothing, by every way. Whether anybody answers is another matter.
    fn talk_nonsense(&self) -> Result<()> {
        let nonsense: [&[u8]; 5] = [
            b"\xa1\x0f\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xa1\x03\x05\x00\x00\x00\x00\x91\x91\x91\x91\x91",
            b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
            br#"{"jsonrpc":"2.0","method":7,"params":{"a":[}}"#,
            &[0xff; 3000],
        ];
        let datagrams = UnixDatagram::unbound()?;
        for bytes in nonsense {
            if let Ok(mut stream) = UnixStream::connect(self.path("ctl")) {
                let _ = stream.write_all(bytes);
            }
            for name in ["ctld", "dgram"] {
                let _ = datagrams.send_to(bytes, self.path(name));
            }
            let _ = fs::File::options()
                .write(true)
                // Without a reader this fails instead of waiting for one.
                .custom_flags(libc::O_NONBLOCK)
                .open(self.path("fifo"))
                .and_then(|mut fifo| fifo.write_all(bytes));
        }
        let file = self.work.write("nonsense", nonsense.concat())?;
        let body = format!("@{}", file.display());
        for path in ["RPC", "metrics", "no/such/thing"] {
            let url = format!("http://127.0.0.1:8080/{path}");
            let _ = self
                .relay
                .corex
                .exec("curl", &["-sS", "--data-binary", &body, &url]);
        }
        Ok(())
    }
}

#[test]
fn calls_pass_while_all_ask_and_others_talk_nonsense() -> Result<()> {
    let stage = Stage::new()?;
    let is_over = AtomicBool::new(false);
    let rounds = thread::scope(|scope| -> Result<u32> {
        let nonsense = scope.spawn(|| -> Result<()> {
            while !is_over.load(Ordering::Relaxed) {
                stage.talk_nonsense()?;
                // The clients' rate is bounded, and theirs is the same user.
                thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        });
        let calls = scope.spawn(|| stage.call());
        let mut rounds = 0;
        let mut asked = Ok(());
        while asked.is_ok() && (rounds == 0 || !calls.is_finished()) {
            asked = stage.ask_all();
            rounds += 1;
        }
        let called = calls
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        is_over.store(true, Ordering::Relaxed);
        let talked = nonsense
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        asked.and(called).and(talked).map(|()| rounds)
    })?;
    ensure!(rounds > 0);
    wait::until("corex is at rest", LIMIT, || {
        Ok((stage.corex.books()?.get("user.sent") == CALLS * 6).then_some(()))
    })?;
    stage.ask_all()?;
    let socket = format!("unix:{}", stage.path("ctl").display());
    let books = output_of(Command::new("kamcmd").args(["-s", &socket, "ctl.stats"]))?;
    ensure!(books.contains("malformed: "), "{books}");
    ensure!(!books.contains("malformed: 0\n"), "{books}");
    stage.corex.stop()?.check_balance()
}
