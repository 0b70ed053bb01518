//! Which replies a stateless proxy sends on, and to whom.

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{Corex, ObservedBooks, WorkDir, corex::CorexOptions, topology::Relay, wait};

const ENGINES: [&str; 2] = ["socket", "xdp"];
const PATIENCE: Duration = Duration::from_secs(10);
/// Another one of the caller's addresses, who never asked for anything.
const VICTIM: &str = "10.0.1.2:9999";

struct Stage {
    relay: Relay,
    work: WorkDir,
    uac: UdpSocket,
    uas: UdpSocket,
    victim: UdpSocket,
}

impl Stage {
    fn new() -> Result<Self> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let uac = relay.uac.udp(Relay::UAC.sip())?;
        let uas = relay.uas.udp(Relay::UAS.sip())?;
        let victim = relay.uac.udp(VICTIM.parse()?)?;
        for socket in [&uac, &uas] {
            socket.set_read_timeout(Some(PATIENCE))?;
        }
        victim.set_nonblocking(true)?;
        Ok(Self {
            relay,
            work,
            uac,
            uas,
            victim,
        })
    }

    fn config(&self, parameters: &str) -> Result<std::path::PathBuf> {
        let text = format!(
            "listen=udp:10.0.1.1\nlisten=tcp:10.0.1.1\nlisten=udp:10.0.2.1\n\
             loadmodule \"corex.so\"\n{parameters}\n\
             request_route {{ $du = \"sip:10.0.2.2\"; forward(); }}\n"
        );
        self.work.write("corex.cfg", text)
    }

    fn start(&self, engine: &str, parameters: &str) -> Result<Corex> {
        let mut options = CorexOptions::new(&self.config(parameters)?).engine(engine);
        if engine == "xdp" {
            options = options.interface("user").interface("core");
        }
        options.start(&self.relay.corex, self.work.path(), "corex")
    }

    /// Sends a request, and has what came of it at the other side as a reply to it.
    fn forwarded(&self, method: &str, number: u32) -> Result<(String, SocketAddr)> {
        let request = format!(
            "{method} sip:x@example.com SIP/2.0\r\n\
             Via: SIP/2.0/UDP 10.0.1.2:5060;rport;branch=z9hG4bK{number}\r\nMax-Forwards: 10\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: {number}\r\nCSeq: 1 {method}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        self.uac
            .send_to(request.as_bytes(), Relay::USER_SIDE.sip())?;
        let mut buffer = [0; 4096];
        let (len, from) = self.uas.recv_from(&mut buffer).context("the request")?;
        let text = String::from_utf8(buffer[..len].to_vec())?;
        let (_, rest) = text.split_once("\r\n").context("a line")?;
        Ok((format!("SIP/2.0 200 OK\r\n{rest}"), from))
    }

    fn arrives(&self, reply: &str, corex: SocketAddr) -> Result<()> {
        self.uas.send_to(reply.as_bytes(), corex)?;
        let mut buffer = [0; 4096];
        let len = self.uac.recv(&mut buffer).context("the reply")?;
        let text = String::from_utf8_lossy(&buffer[..len]);
        ensure!(text.starts_with("SIP/2.0 200 OK"), "{text}");
        ensure!(text.matches("Via:").count() == 1, "{text}");
        Ok(())
    }

    fn nothing_came_to_the_victim(&self) -> Result<()> {
        let nothing = self.victim.recv(&mut [0; 64]).map_err(|error| error.kind());
        ensure!(nothing == Err(ErrorKind::WouldBlock), "{nothing:?}");
        Ok(())
    }
}

fn forged_count(corex: &Corex, count: u64) -> Result<ObservedBooks> {
    wait::until("forged replies are counted", PATIENCE, || {
        let books = corex.books()?;
        let counted = books.get("user.dropped.reply_forged") >= count;
        Ok(counted.then_some(books))
    })
}

#[test]
fn replies_go_to_who_asked_and_forged_ones_nowhere() -> Result<()> {
    for engine in ENGINES {
        let stage = Stage::new()?;
        let corex = stage.start(engine, "")?;
        let listener = stage
            .relay
            .uac
            .enter(|| Ok(TcpListener::bind("10.0.1.2:2222")?))?;
        listener.set_nonblocking(true)?;
        let (reply, from) = stage.forwarded("OPTIONS", 1)?;
        let victim = "Via: SIP/2.0/UDP 10.0.1.2:9999";
        let made_up = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.2.1:5060;branch=z9hG4bKx\r\n{victim}\r\n\
             To: <sip:a@b>;tag=1\r\nFrom: <sip:c@d>;tag=2\r\nCall-ID: forged\r\n\
             CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
        let forged = [
            made_up.clone(),
            made_up.replace("UDP 10.0.1.2:9999", "TCP 10.0.1.2:2222"),
            reply.replace("rport=5060", "rport=9999"),
            reply
                .replace(
                    "Via: SIP/2.0/UDP 10.0.1.2:5060;",
                    "Via: SIP/2.0/UDP 10.0.1.2:9999;x;",
                )
                .replace(";rport=5060", ""),
            reply.replace("Call-ID: 1", "Call-ID: 2"),
        ];
        for (at, forged) in forged.iter().enumerate() {
            ensure!(*forged != reply, "{forged}");
            stage.uas.send_to(forged.as_bytes(), from)?;
            forged_count(&corex, at as u64 + 1)?;
        }
        stage.arrives(&reply, from)?;
        stage.nothing_came_to_the_victim()?;
        let connected = listener.accept().map_err(|error| error.kind());
        ensure!(connected.is_err(), "corex has connected");
        let books = corex.stop()?;
        books.check_balance()?;
        let count = books.get("user.dropped.reply_forged");
        ensure!(count == forged.len() as u64, "{engine}: {:#}", books.0);
        ensure!(books.get("user.sent") == 2, "{engine}: {:#}", books.0);
    }
    Ok(())
}

#[test]
fn with_a_key_in_a_file_replies_outlive_a_new_start_and_a_change_of_keys() -> Result<()> {
    for engine in ENGINES {
        let stage = Stage::new()?;
        let (old, new) = ("the-old-key-of-this-test", "the-new-key-of-this-test");
        let file = stage.work.write("reply.key", format!("{old}\n"))?;
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        let parameter = format!(
            "modparam(\"corex\", \"reply_key_file\", \"{}\")",
            file.display()
        );
        let corex = stage.start(engine, &parameter)?;
        let (reply, from) = stage.forwarded("INVITE", 1)?;
        let (late, _) = stage.forwarded("INVITE", 2)?;
        corex.stop()?;
        let corex = stage.start(engine, &parameter)?;
        stage.arrives(&reply, from)?;
        // A reload keeps what is on its way as long as the old key is there.
        let reload = |keys: String, count: usize| -> Result<()> {
            stage.work.write("reply.key", keys)?;
            corex.process.signal(libc::SIGHUP)?;
            wait::until("corex reloads", PATIENCE, || {
                let done = corex
                    .log()
                    .matches("the configuration was read again")
                    .count()
                    >= count;
                Ok(done.then_some(()))
            })
            .with_context(|| corex.log())
        };
        reload(format!("{new}\n{old}\n"), 1)?;
        stage.arrives(&late, from)?;
        let (reply, from) = stage.forwarded("INVITE", 3)?;
        reload(format!("{new}\n"), 2)?;
        stage.arrives(&reply, from)?;
        stage.uas.send_to(late.as_bytes(), from)?;
        forged_count(&corex, 1)?;
        corex.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn a_key_of_corexs_own_outlives_a_reload() -> Result<()> {
    let stage = Stage::new()?;
    let corex = stage.start("socket", "")?;
    let (reply, from) = stage.forwarded("INVITE", 1)?;
    corex.process.signal(libc::SIGHUP)?;
    wait::until("corex reloads", PATIENCE, || {
        Ok(corex
            .log()
            .contains("the configuration was read again")
            .then_some(()))
    })
    .with_context(|| corex.log())?;
    stage.arrives(&reply, from)?;
    corex.stop()?.check_balance()
}
