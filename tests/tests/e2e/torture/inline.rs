//! Inline mode hands every message on as it came: the hook sees bytes, and no parser stands in its way.

use anyhow::{Context as _, Result, ensure};
use corex_lab::torture::MESSAGES;
use corex_lab::{WorkDir, config, corex::CorexOptions, topology::Inline};

/// Replaces what it gets by the same.
const HOOK: &str = r#"$avp(msg) = "" + $mb + "";"#;

/// Of each message whether it passes both ways as it is, through a hook, with XDP attached like that.
pub(super) fn unchanged(mode: &str) -> Result<Vec<bool>> {
    let (net, work) = (Inline::new()?, WorkDir::new()?);
    let to = Inline::SERVER.sip();
    let path = work.write("edge.cfg", config::inline(&[to], "", HOOK))?;
    let corex = CorexOptions::new(&path)
        .interface("eth0")
        .xdp_mode(mode)
        .start(&net.server, work.path(), "edge")?;
    let (server, device) = (net.server.udp(to)?, net.device.udp(Inline::DEVICE.sip())?);
    let mut buffer = vec![0; 65_536];
    let mut unchanged = Vec::new();
    for message in MESSAGES.iter() {
        device.send_to(&message.bytes, to)?;
        let (len, from) = server.recv_from(&mut buffer).context(message.name)?;
        let came = buffer.get(..len) == Some(&message.bytes);
        server.send_to(&message.bytes, from)?;
        let len = device.recv(&mut buffer).context(message.name)?;
        unchanged.push(came && buffer.get(..len) == Some(&message.bytes));
    }
    let books = corex.stop()?;
    books.check_balance()?;
    for name in ["user.hook_in", "user.hook_out"] {
        ensure!(
            books.get(name) == MESSAGES.len() as u64,
            "{name}: {:#}",
            books.0
        );
    }
    Ok(unchanged)
}

#[test]
fn all_torture_passes_inline_as_it_came_both_ways() -> Result<()> {
    for mode in ["native", "skb"] {
        for (message, is_unchanged) in MESSAGES.iter().zip(unchanged(mode)?) {
            ensure!(is_unchanged, "{mode}: {}", message.name);
        }
    }
    Ok(())
}
