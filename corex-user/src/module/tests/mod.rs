//! Tests of the language from text to effect.

mod access;
mod access_files;
mod by_name;
mod faults;
mod functions;
mod hook;
mod language;
mod lua;
mod offload;
mod perl;
mod places;
mod reports;
mod sanity;
mod stateless;
mod strict;
mod tables;
mod variables;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::MODULES as TABLE;
use corex_script::quarantine::{Quarantine, Spread};
use corex_script::*;
use corex_sip::compose::SentBy;
use corex_sip::strict::FaultKind;
use corex_sip::{SipView, Transport};

/// As [`corex_script::load`], with the modules that there are.
fn load(path: &Path) -> Loaded {
    corex_script::load(path, TABLE, &Loading::default())
}

/// As [`corex_script::load_str`], with the modules that there are.
fn load_str(name: &str, text: &str) -> Loaded {
    corex_script::load_str(name, text, TABLE)
}

/// A request with one of everything that pseudo-variables read.
const INVITE: &[u8] = b"INVITE sip:bob:pw@example.com:5070;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n\
    From: \"Alice\" <sip:alice@example.org>;tag=1\r\n\
    To: <sip:bob@example.com>\r\n\
    Call-ID: abc@192.0.2.1\r\n\
    CSeq: 7 INVITE\r\n\
    User-Agent: test/1\r\n\
    Content-Length: 0\r\n\r\n";

const OK: &[u8] = b"SIP/2.0 200 All fine\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n\
    CSeq: 7 INVITE\r\n\r\n";

/// What a script sent.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sent {
    payload: Vec<u8>,
    to: String,
    transport: Transport,
    purpose: Purpose,
    socket: Option<SocketId>,
    /// Whether the payload was the very slice of the message.
    in_place: bool,
}

/// A host that writes down what it is asked, and runs the hook as the pipeline does.
#[derive(Default)]
struct TestHost {
    sent: Vec<Sent>,
    message: Option<(usize, usize)>,
    runs_hook: bool,
    forced: Option<SocketId>,
    consumed: u32,
    refuses: Option<SendError>,
    /// Who sends the messages, as far as scripts are concerned.
    sender: Option<SocketAddr>,
    hooked: Vec<(HookOutcome, Vec<u8>)>,
    /// Why the message wasn't forwarded.
    refused: Option<FaultKind>,
    /// What stands for us in Via; `None`: our address.
    named: Option<&'static str>,
}

impl Host for TestHost {
    fn next_hop<'t>(
        &mut self,
        to: Target<'t>,
        transport: Option<Transport>,
        forced: Option<SocketId>,
    ) -> Result<NextHop<'t>, SendError> {
        self.forced = forced;
        Ok(NextHop {
            to,
            transport: transport.unwrap_or(Transport::Udp),
            socket: forced.unwrap_or(SocketId(0)),
            local: env().dst,
        })
    }

    fn sent_by(&self, hop: &NextHop<'_>) -> SentBy<'_> {
        SentBy {
            host: self.named,
            ip: hop.local.ip(),
            port: self.named.map_or(hop.local.port(), |_| 5070),
        }
    }

    fn refuse(&mut self, why: FaultKind) {
        self.refused = Some(why);
    }

    fn consume(&mut self) {
        self.consumed += 1;
    }

    fn file_read(&self, path: &Path) -> Result<Arc<[u8]>, FileError> {
        match path.to_str() {
            Some("greeting") => Ok(b"hello".as_slice().into()),
            _ => Err(FileError::Path),
        }
    }

    fn file_write(&self, path: &Path, content: &[u8]) -> Result<(), FileError> {
        match (path.to_str(), content) {
            (Some("out"), b"hello") => Ok(()),
            _ => Err(FileError::Path),
        }
    }

    fn send(&mut self, hook: &mut dyn NetworkHook, out: Outgoing<'_>) -> Result<(), SendError> {
        if let Some(error) = self.refuses {
            return Err(error);
        }
        if self.runs_hook {
            let mut replaced = Vec::new();
            let outcome = hook.run_network_msg(
                &env(),
                out.payload,
                Direction::Outgoing,
                self,
                &mut replaced,
            );
            self.hooked.push((outcome, replaced));
        }
        self.sent.push(Sent {
            payload: out.payload.to_vec(),
            to: match out.hop.to {
                Target::Addr(address) => address.to_string(),
                Target::Name { host, port, .. } => {
                    let port = port.unwrap_or(out.hop.transport.default_port());
                    format!("{}:{port} by name", String::from_utf8_lossy(host))
                }
            },
            transport: out.hop.transport,
            purpose: out.purpose,
            socket: self.forced,
            in_place: self.message == Some((out.payload.as_ptr() as usize, out.payload.len())),
        });
        Ok(())
    }

    fn is_myself(&self, host: &[u8], port: u16, _: Option<Transport>) -> bool {
        host == b"example.com" && matches!(port, 0 | 5070)
    }
}

fn env() -> Env {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    Env {
        src: address("192.0.2.1:5062"),
        dst: address("192.0.2.2:5060"),
        transport: Transport::Udp,
        socket: SocketId(0),
        connection: None,
    }
}

const MODULES: &str = "loadmodule \"corex.so\"\nloadmodule \"xlog.so\"\nloadmodule \"codec.so\"\n";

/// A folder with a configuration and files beside it; it goes when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("corex-modules-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn load_config(&self, text: &str) -> Loaded {
        self.write("corex.cfg", text);
        load(&self.0.join("corex.cfg"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A configuration that is right.
fn config(text: &str) -> Config {
    let loaded = load_str("test.cfg", text);
    assert!(loaded.report.diagnostics().is_empty(), "{}", loaded.report);
    loaded.config.unwrap()
}

fn runtime(text: &str) -> Runtime {
    Runtime::new(config(text).program, 0)
}

/// Runs a message through the routes of a configuration.
fn run(runtime: &mut Runtime, message: &[u8], host: &mut TestHost) -> RouteEnd {
    let view = SipView::parse(message).unwrap();
    host.message = Some((message.as_ptr() as usize, message.len()));
    runtime.begin_message();
    runtime.sender = host.sender;
    runtime.run_route(&env(), &view, host)
}

/// Runs statements in request_route. What they say with `send("host")` is returned, by host.
fn says(statements: &str) -> Vec<String> {
    says_on(INVITE, "", statements)
}

fn says_on(message: &[u8], rest: &str, statements: &str) -> Vec<String> {
    let kind = if message.starts_with(b"SIP") {
        "reply_route"
    } else {
        "request_route"
    };
    let mut runtime = runtime(&format!("{MODULES}{rest}\n{kind} {{ {statements} }}"));
    let mut host = TestHost::default();
    let end = run(&mut runtime, message, &mut host);
    assert_ne!(end, RouteEnd::Failed, "{statements}");
    host.sent
        .into_iter()
        .map(|sent| {
            let to = sent.to.strip_suffix(" by name").unwrap_or(&sent.to);
            to.strip_suffix(":5060").unwrap_or(to).to_owned()
        })
        .collect()
}

/// What an expression is, as text.
fn value(expression: &str) -> String {
    let mut runtime = runtime(&format!(
        "{MODULES} modparam(\"corex\", \"network_io_intercept\", 1)
         modparam(\"corex\", \"msg_avp\", \"$avp(out)\")
         event_route[network:msg] {{ $avp(out) = \"=\" + ({expression}); }}"
    ));
    hooked(&mut runtime, b"message")
}

/// What an expression is in request_route, as text.
fn request_value(expression: &str) -> String {
    route_value(INVITE, "", expression)
}

fn route_value(message: &[u8], before: &str, expression: &str) -> String {
    let mut runtime = runtime(&format!(
        "{MODULES} modparam(\"corex\", \"network_io_intercept\", 1)
         modparam(\"corex\", \"msg_avp\", \"$avp(out)\")
         listen=udp:192.0.2.2:5060
         listen=udp:192.0.2.3:5060 name \"second\"
         event_route[network:msg] {{ $avp(out) = $var(out); }}
         request_route {{ {before} $var(out) = \"=\" + ({expression}); send(\"a\"); }}
         reply_route {{ {before} $var(out) = \"=\" + ({expression}); send(\"a\"); }}"
    ));
    let mut host = TestHost {
        runs_hook: true,
        ..TestHost::default()
    };
    assert_ne!(run(&mut runtime, message, &mut host), RouteEnd::Failed);
    let (outcome, text) = host.hooked.remove(0);
    assert_eq!(outcome, HookOutcome::Replaced);
    String::from_utf8_lossy(&text[1..]).into_owned()
}

fn hooked(runtime: &mut Runtime, message: &[u8]) -> String {
    let mut out = Vec::new();
    runtime.begin_message();
    let outcome = runtime.run_network_msg(
        &env(),
        message,
        Direction::Incoming,
        &mut TestHost::default(),
        &mut out,
    );
    assert_eq!(outcome, HookOutcome::Replaced);
    String::from_utf8_lossy(&out[1..]).into_owned()
}

/// Has a sender that has failed already fail again until it is held for an hour, which no machine is
/// too slow for.
fn hold(quarantine: &Quarantine, language: &'static str, sender: SocketAddr) {
    let mut at = Instant::now();
    for _ in 0..100 {
        let held = quarantine.senders(at);
        match held.iter().find(|it| it.sender == sender.to_string()) {
            Some(held) if held.left > Duration::from_secs(3600) => return,
            Some(held) => at += held.left,
            None => assert_eq!(quarantine.failed(language, sender, 0, at), Spread::Few),
        }
    }
    panic!("{:?}", quarantine.senders(at));
}
