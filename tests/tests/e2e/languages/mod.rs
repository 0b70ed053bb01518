//! Scripts in Lua and Perl: the same bytes as Kamailio's own modules make, and failures that cost
//! nothing but themselves.

mod faults;
mod kamailio;

use std::{net::UdpSocket, time::Duration};

use anyhow::{Context as _, Result};
use corex_lab::{Corex, WorkDir, corex::CorexOptions, topology::Relay};

/// What arrives at all arrives in this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request of `len` bytes, 32 at least: as much of a whole one as there is room for.
fn request(number: usize, len: usize) -> Vec<u8> {
    let whole = format!(
        "OPTIONS sip:u@10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2;branch=z9hG4bK{number}\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n"
    );
    let tail = "\r\n";
    // Nothing shorter has a start line and a Via; and with what Kamailio wants beside these.
    let short = "O a SIP/2.0\r\nv:SIP/2.0/UDP a\r\n".to_owned();
    let complete = short.clone() + "f:a\r\nt:a\r\ni:1\r\nCSeq:1 O\r\n";
    let fits = |text: &String| text.len() + tail.len() <= len;
    let mut text = [whole, complete].into_iter().find(fits).unwrap_or(short);
    let room = len.saturating_sub(text.len() + tail.len());
    if room >= "X:\r\n".len() {
        // Not the same byte all over: it should compress as text does.
        let filler = (0..room - "X:\r\n".len()).map(|at| {
            let sign = (at * 7 + at / 13 + number) % 26;
            char::from(b'a' + sign as u8)
        });
        text.push_str("X:");
        text.extend(filler);
        text.push_str("\r\n");
    }
    text.push_str(tail);
    text.into_bytes()
}

/// A proxy that sends what its hook leaves on to the answering side, as it is.
fn config(modules: &str, hook: &str) -> String {
    format!(
        r#"#!KAMAILIO
listen=udp:10.0.1.1
children=1
debug=2
pv_buffer_size=70000
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "corex.so"
{modules}
modparam("corex", "nio_intercept", 1)
modparam("corex", "nio_min_msg_len", 32)
modparam("corex", "nio_msg_avp", "$avp(msg)")
event_route[network:msg] {{
    if (is_incoming()) {{
        {hook}
    }} else {{
        $avp(msg) = $mb;
    }}
}}
request_route {{ send_udp("10.0.2.2"); }}
"#
    )
}

/// corex between a caller and an answering side.
struct Stage {
    relay: Relay,
    corex: Corex,
    caller: UdpSocket,
    answerer: UdpSocket,
}

impl Stage {
    fn new(work: &WorkDir, modules: &str, hook: &str) -> Result<Stage> {
        let relay = Relay::new()?;
        let exempt = "modparam(\"corex\", \"intercept_send\", 0)\n";
        let file = work.write("corex.cfg", config(&format!("{exempt}{modules}"), hook))?;
        let corex = CorexOptions::new(&file)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .start(&relay.corex, work.path(), "corex")?;
        Ok(Stage {
            caller: relay.uac.udp(Relay::UAC.sip())?,
            answerer: relay.uas.udp(Relay::UAS.sip())?,
            relay,
            corex,
        })
    }

    fn pass(&self, message: &[u8]) -> Result<Vec<u8>> {
        pass(&self.caller, &self.answerer, message)?.with_context(|| self.corex.log())
    }
}

/// Sends a message; what comes out at the other side, if anything does.
fn pass(caller: &UdpSocket, answerer: &UdpSocket, message: &[u8]) -> Result<Option<Vec<u8>>> {
    caller.send_to(message, Relay::USER_SIDE.sip())?;
    receive(answerer, PATIENCE)
}

fn receive(socket: &UdpSocket, limit: Duration) -> Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 65_536];
    socket.set_read_timeout(Some(limit))?;
    match socket.recv(&mut buffer) {
        Ok(len) => {
            buffer.truncate(len);
            Ok(Some(buffer))
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}
