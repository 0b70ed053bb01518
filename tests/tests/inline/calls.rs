//! Real calls through an inline pair.

use anyhow::{Result, ensure};
use corex_lab::{Capture, config, sipp::SippOptions, topology::Inline};

use crate::pair::{LIMIT, Pair};

#[test]
fn calls_pass_and_the_wire_shows_no_sip() -> Result<()> {
    let calls = 100;
    let pair = Pair::new("", config::GZIP)?;
    let wire = Capture::start(&pair.net.internet, "d")?;
    let uas =
        SippOptions::uas(Inline::SERVER.sip()).start(&pair.net.server, pair.work.path(), "uas")?;
    SippOptions::uac(Inline::DEVICE.sip(), Inline::SERVER.sip(), calls, 100)
        .start(&pair.net.device, pair.work.path(), "uac")?
        .finish(LIMIT)?
        .check(calls)?;
    uas.stop()?.check(calls)?;
    for seen in wire.stop()? {
        let bytes = seen.frame.bytes;
        ensure!(
            !bytes.windows(7).any(|window| window == b"SIP/2.0"),
            "readable on the wire: {}",
            String::from_utf8_lossy(&bytes)
        );
    }
    let books = pair.stop()?;
    for books in [&books.device, &books.server] {
        ensure!(books.get("user.delivered") == 3 * calls, "{:#}", books.0);
        ensure!(books.get("user.sent") == 3 * calls, "{:#}", books.0);
    }
    Ok(())
}
