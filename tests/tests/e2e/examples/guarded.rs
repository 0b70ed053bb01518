//! The example that keeps junk off.

use std::fs;

use anyhow::{Result, ensure};
use corex_lab::{WorkDir, topology::Relay};

use super::{PATIENCE, Stage, example, receive, request};

#[test]
fn calls_reach_the_server_floods_are_told_to_wait_and_scanners_hear_nothing() -> Result<()> {
    let work = WorkDir::new()?;
    let text = fs::read_to_string(example("edge-guard.cfg"))?
        .replace("10.0.3.1", &Relay::USER_SIDE.v4.to_string())
        .replace("10.0.4.1", &Relay::CORE_SIDE.v4.to_string())
        .replace("10.0.4.2", &Relay::UAS.v4.to_string())
        // However long the test takes.
        .replace("20/s burst 20", "20/h burst 20");
    let file = work.write("edge-guard.cfg", text)?;
    let stage = Stage::of(&file, |_| Ok(()))?;
    let server = stage.relay.uas.udp(Relay::UAS.sip())?;
    server.set_read_timeout(Some(PATIENCE))?;
    let invite = |number| request("INVITE", "sip:bob@example.org", Relay::UAC.sip(), number);
    let scan = String::from_utf8(request("OPTIONS", "sip:100@10.0.1.1", Relay::UAC.sip(), 1))?
        .replace("Max-Forwards: 70", "User-Agent: friendly-scanner");
    for number in 0..20 {
        stage.send(scan.as_bytes())?;
        stage.send(&invite(number))?;
        let seen = receive(&server)?;
        ensure!(seen.starts_with(b"INVITE sip:bob@example.org"), "{number}");
    }
    stage.send(b"this is no SIP, but long enough to be a message")?;
    stage.send(&invite(20))?;
    let reply = String::from_utf8(stage.receive()?)?;
    ensure!(reply.starts_with("SIP/2.0 503 Slow down\r\n"), "{reply}");
    ensure!(reply.contains("\r\nRetry-After: 30\r\n"), "{reply}");
    let books = stage.stop()?;
    let dropped = books.get("kernel.dropped.guard_signature");
    ensure!(dropped == 21, "{dropped}");
    Ok(())
}
