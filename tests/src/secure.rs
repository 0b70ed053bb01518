//! A phone behind `corex client`, a registrar behind a corex inline, and between them a wire that
//! carries sealed messages with keys of the phones' own: the scene of `cargo xtask demo --secure`,
//! and of its test.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    books::ObservedBooks,
    corex::{self, Corex, CorexOptions, make_enrolment_keys},
    process::Process,
    sipp::scenario,
    stage::{Side, Stage, file, look},
    topology::{Inline, PORT},
};

/// Where the phone's messages are led to on its host.
const LISTEN: u16 = 5070;
/// The key that tests/demo/secure-server.cfg names.
const ENROL_KEY: &str = "/etc/corex/enrol.pem";
/// How long the client may take, to start and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything set up.
#[derive(Debug)]
pub struct Secure {
    client: Process,
    server: Corex,
    /// The rest of it.
    pub stage: Stage,
}

/// What was seen.
#[derive(Debug)]
pub struct Sealed {
    /// On the wire between the two hosts.
    pub wire: Side,
    /// Between corex and the server's socket.
    pub stack: Side,
    /// How a message on the wire begins, as far as it is text.
    pub head: String,
    /// The books on the server's host.
    pub books: ObservedBooks,
    /// What the client said at last.
    pub client: String,
}

impl Secure {
    /// Sets everything up, with that corex or the one of [`corex::binary`].
    ///
    /// # Errors
    /// Something can't start; with its log.
    pub fn start(binary: Option<&Path>) -> Result<Self> {
        let prepared = Stage::prepare()?;
        let (net, work, _) = &prepared;
        let binary = match binary {
            Some(binary) => binary.to_owned(),
            None => corex::binary()?,
        };
        let (private, public) = make_enrolment_keys(&binary, work)?;
        let text = fs::read_to_string(file("secure-server.cfg"))?;
        let private = private.display().to_string();
        let config = work.write("server.cfg", text.replace(ENROL_KEY, &private))?;
        let chain = text
            .split_once("\"edge=")
            .and_then(|(_, rest)| rest.split_once('"'))
            .context("a chain in secure-server.cfg")?
            .0;
        let server =
            CorexOptions::new(&config)
                .binary(&binary)
                .start(&net.server, work.path(), "server")?;
        let mut command = net.device.command(binary.display().to_string());
        command.args(["client", "--server", &Inline::SERVER.sip().to_string()]);
        command.args(["--listen", &format!("127.0.0.1:{LISTEN}"), "--chain", chain]);
        command.args(["--server-key", &format!("1:file:{}", public.display())]);
        let client = Process::spawn("corex client", command, &work.join("client.log"))?;
        client.wait_for_output("ready", PATIENCE)?;
        // The phone knows of nothing: what it sends to the server is led to the client, which sends
        // from another port.
        let rules = format!(
            "table ip corex {{\n chain output {{\n  type nat hook output priority -100;\n  \
             ip daddr {} udp sport {PORT} udp dport {PORT} redirect to :{LISTEN}\n }}\n}}\n",
            Inline::SERVER.v4
        );
        let rules = work.write("redirect.nft", rules)?.display().to_string();
        net.device.exec("nft", &["-f", &rules])?;
        // Replies come back to where requests came from (RFC 3581), as phones ask for.
        let text = fs::read_to_string(scenario("register_call.xml"))?;
        let text = text.replace(";branch=", ";rport;branch=");
        let scenario = work.write("register_call.xml", text)?;
        Ok(Self {
            client,
            server,
            stage: Stage::open(prepared, scenario)?,
        })
    }

    /// Ends everything, and tells what was seen.
    ///
    /// # Errors
    /// A corex doesn't end well, or tshark isn't there.
    pub fn finish(self) -> Result<Sealed> {
        let ended = self.stage.end()?;
        self.client.terminate(PATIENCE)?;
        let books = self.server.stop()?;
        ended.kamailio.stop();
        let server = Inline::SERVER.sip();
        let of_server = |from, to| from == server || to == server;
        let head = ended.wire.iter().find_map(|captured| {
            let udp = captured.frame.udp()?;
            (udp.destination == server).then(|| {
                let text = String::from_utf8_lossy(&udp.payload).into_owned();
                text.split("\r\n\r\n").next().unwrap_or_default().to_owned()
            })
        });
        // Plain SIP at the server's socket; what comes from the NIC is captured there, too.
        let plain = |payload: &[u8]| payload.windows(7).any(|window| window == b"SIP/2.0");
        let stack: Vec<_> = ended
            .stack
            .into_iter()
            .filter(|captured| captured.frame.udp().is_some_and(|udp| plain(&udp.payload)))
            .collect();
        Ok(Sealed {
            wire: look(&ended.wire, &ended.work.join("wire.pcap"), of_server)?,
            stack: look(&stack, &ended.work.join("stack.pcap"), of_server)?,
            head: head.unwrap_or_default(),
            books,
            client: self.client.log(),
        })
    }

    /// The logs of the client, of corex and of Kamailio.
    pub fn logs(&self) -> String {
        format!(
            "corex client:\n{}\ncorex, server:\n{}\nKamailio:\n{}",
            self.client.log(),
            self.server.log(),
            self.stage.log()
        )
    }
}
