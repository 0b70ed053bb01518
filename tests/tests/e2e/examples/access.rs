//! The example with the guard and Kamailio's modules.

use anyhow::{Result, ensure};
use corex_lab::topology::Relay;
use corex_lab::wait;

use super::{PATIENCE, Stage, request};

#[test]
fn who_sends_too_much_is_dropped_before_a_script_sees_it() -> Result<()> {
    let stage = Stage::new("edge-access.cfg")?;
    let server = stage.relay.uas.udp(Relay::UAS.sip())?;
    let mut number = 0;
    let mut ask = || -> Result<()> {
        number += 1;
        let request = request("OPTIONS", "sip:u@10.0.2.2", Relay::UAC.sip(), number);
        stage.send(&request)
    };
    ask()?;
    server.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 4096];
    let len = server.recv(&mut buffer)?;
    ensure!(buffer[..len].starts_with(b"OPTIONS sip:u@10.0.2.2"));
    wait::until("pike finds the flood", PATIENCE, || {
        for _ in 0..100 {
            ask()?;
        }
        let found = stage.corex.log().contains("PIKE - BLOCKing ip 10.0.1.2");
        Ok(found.then_some(()))
    })?;
    wait::until("the kernel drops the rest of it", PATIENCE, || {
        for _ in 0..10 {
            ask()?;
        }
        let books = stage.corex.books()?;
        Ok((books.get("kernel.dropped.guard_block") > 0).then_some(()))
    })?;
    stage.stop().map(drop)
}
