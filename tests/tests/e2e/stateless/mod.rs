//! Stateless proxying against the real Kamailio: the same configuration and the same requests,
//! and what leaves is the same but for what each makes up itself.

mod edge;
mod expressions;
mod messages;
mod myself;
mod sanity;

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::Result;
use corex_lab::{Kamailio, WorkDir, corex::CorexOptions, topology::Relay};

/// What arrives in this time arrives; on veth it takes far less.
const PATIENCE: Duration = Duration::from_secs(1);

/// A case: the user that the request URI names, statements, and the sender's Via behind the
/// sent-by host.
struct Case {
    statements: &'static str,
    via: &'static str,
    method: &'static str,
}

const fn case(statements: &'static str) -> Case {
    Case {
        statements,
        via: ":5060;branch=z9hG4bK1",
        method: "OPTIONS",
    }
}

fn request(number: usize, case: &Case) -> String {
    let method = case.method;
    format!(
        "{method} sip:t{number}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2{}\r\n\
         From: \"A\" <sip:x@y.example>;tag=f1\r\nTo: <sip:z@y>\r\nCall-ID: c{number}\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\nSubject: hello\r\nX-A: hello\r\n\
         Content-Type: a/b\r\nContent-Length: 11\r\n\r\nhello hello",
        case.via
    )
}

fn config(send_name: &str, routes: &str) -> String {
    let routes = routes.replace("send_udp(", &format!("{send_name}("));
    format!(
        r#"#!KAMAILIO
listen=udp:{address}
children=1
debug=1
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "corex.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "maxfwd.so"
loadmodule "sanity.so"
{routes}
"#,
        address = Relay::USER_SIDE.sip(),
    )
}

/// What came, and to whom.
#[derive(PartialEq, Eq, Debug)]
enum Came {
    Forwarded(String),
    Replied(String),
    Nothing,
}

/// Takes away what each makes up itself.
fn normal(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = Vec::new();
    let mut is_top = true;
    for line in text.split("\r\n") {
        if line.starts_with("Server:") {
            continue;
        }
        let mut line = line.to_owned();
        let is_ours = |line: &str| {
            let sides = [Relay::USER_SIDE, Relay::CORE_SIDE];
            sides.iter().any(|side| {
                let via = format!("Via: SIP/2.0/UDP {}", side.sip().ip());
                line.starts_with(&via)
            })
        };
        if is_top && is_ours(&line) {
            is_top = false;
            let end = line.find(";branch=").unwrap_or(line.len());
            line.truncate(end);
        }
        if line.starts_with("To:")
            && let Some(at) = line.find(";tag=")
        {
            line.truncate(at + 5);
        }
        // corex counts it down in forward(), which Kamailio leaves to the script.
        if line == "Max-Forwards: 69" {
            line = "Max-Forwards: 70".to_owned();
        }
        lines.push(line);
    }
    lines.join("\r\n")
}

fn wait(sockets: [&UdpSocket; 2]) -> Result<Came> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = vec![0; 65_536];
    while Instant::now() < deadline {
        for (at, socket) in sockets.into_iter().enumerate() {
            socket.set_read_timeout(Some(Duration::from_millis(2)))?;
            if let Ok(len) = socket.recv(&mut buffer) {
                let text = normal(buffer.get(..len).unwrap_or_default());
                return Ok(match at {
                    0 => Came::Forwarded(text),
                    _ => Came::Replied(text),
                });
            }
        }
    }
    Ok(Came::Nothing)
}

fn exchange(relay: &Relay, inputs: &[String], to: SocketAddr) -> Result<Vec<Came>> {
    let answerer = relay.uas.udp(Relay::UAS.sip())?;
    let caller = relay.uac.udp(Relay::UAC.sip())?;
    inputs
        .iter()
        .map(|input| {
            caller.send_to(input.as_bytes(), to)?;
            wait([&answerer, &caller])
        })
        .collect()
}

/// Runs both; returns what came from Kamailio and from corex.
fn both(routes: &str, inputs: &[String]) -> Result<(Vec<Came>, Vec<Came>)> {
    let work = WorkDir::new()?;
    let relay = Relay::new()?;
    let text = config("send_udp", routes);
    let kamailio = Kamailio::start(&relay.corex, work.path(), "kamailio", &text, 5060)?;
    let theirs = exchange(&relay, inputs, Relay::USER_SIDE.sip())?;
    kamailio.stop();
    let file = work.write("corex.cfg", config("send", routes))?;
    let corex = CorexOptions::new(&file)
        .interface("user")
        .interface("core")
        .engine("xdp")
        .start(&relay.corex, work.path(), "corex")?;
    let ours = exchange(&relay, inputs, Relay::USER_SIDE.sip())?;
    corex.stop()?.check_balance()?;
    Ok((theirs, ours))
}
