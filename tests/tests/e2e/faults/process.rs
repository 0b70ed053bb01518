//! corex itself dies, hangs, or gets more than its rings hold.

use anyhow::{Result, ensure};
use corex_lab::KernelLosses;

use super::stage::{ENGINES, Protected, Proxy, dropped};

#[test]
fn proxy_a_killed_corex_loses_what_it_had_in_hand_and_what_comes_until_its_successor() -> Result<()>
{
    for engine in ENGINES {
        let stage = Proxy::new(engine, "")?;
        let killed = stage.start("killed")?;
        let before = KernelLosses::of(&stage.hosts())?;
        let load = stage.load()?;
        load.more(300)?;
        let arrived = load.arrived();
        killed.kill()?;
        let came = stage.succeeded(load, arrived, &before)?;
        println!("{engine}: {came}");
        ensure!(came.kernel.no_ports > 0, "nothing came while it was dead");
        ensure!(
            came.tally.plain == 0,
            "{} without the hook",
            came.tally.plain
        );
    }
    Ok(())
}

#[test]
fn proxy_a_hung_corex_loses_nothing_that_its_rings_and_buffers_hold() -> Result<()> {
    for engine in ENGINES {
        let stage = Proxy::new(engine, "")?;
        let corex = stage.start("corex")?;
        let load = stage.load()?;
        load.more(200)?;
        corex.process.pause()?;
        let hung = load.sent();
        load.sends(100)?;
        let waited = load.sent() - hung;
        corex.process.resume()?;
        load.more(200)?;
        let tally = load.finish_whole()?;
        let books = corex.stop()?;
        books.check_balance()?;
        println!(
            "{engine}: {tally}; about {waited} waited; {}",
            dropped(&books)
        );
        ensure!(books.sum("user.dropped") == 0, "{:#}", books.0);
        ensure!(books.get("user.socket_overflow") == 0, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn proxy_what_full_rings_and_buffers_do_not_take_is_counted() -> Result<()> {
    /// More than the receive ring, the fill ring and a socket's buffer hold.
    const BURST: u32 = 12_000;
    for engine in ENGINES {
        let stage = Proxy::new(engine, "")?;
        let corex = stage.start("corex")?;
        let before = KernelLosses::of(&stage.hosts())?;
        let load = stage.load()?;
        load.more(200)?;
        let begun = load.sent();
        corex.process.pause()?;
        load.burst(BURST)?;
        corex.process.resume()?;
        // There is room again once something has come through that was sent behind it all.
        load.passes()?;
        let ended = load.sent();
        load.more(200)?;
        let mut kernel = KernelLosses::default();
        let tally = load.finish(|tally| {
            let books = corex.books()?;
            // What corex's own sockets had no room for is among what the kernel lost.
            let dropped = books.sum("kernel.dropped") + books.sum("user.dropped");
            kernel = KernelLosses::of(&stage.hosts())?.since(&before);
            Ok(tally.lost() == dropped + kernel.sum())
        })?;
        let books = corex.stop()?;
        books.check_balance()?;
        let overflow = books.get("user.socket_overflow");
        println!(
            "{engine}: {tally}; {}; socket_overflow {overflow}; {kernel}",
            dropped(&books)
        );
        ensure!(
            tally.is_missing_only_within(&(begun..ended)),
            "before or after, too: {:?}",
            tally.missing
        );
        let counted = match engine {
            "xdp" => books.get("user.dropped.rx_ring_full") + books.get("user.dropped.rx_dropped"),
            _ => overflow,
        };
        ensure!(counted > 0, "nothing was full: {:#}", books.0);
        ensure!(overflow <= kernel.in_errors, "{kernel}: {:#}", books.0);
    }
    Ok(())
}

/// A worker that neighbours keep from running for a second is hung, to the watchdog: these run with
/// no other test beside them.
mod alone {
    use super::*;

    #[test]
    fn inline_while_corex_hangs_packets_pass_or_are_dropped_as_on_failure_says() -> Result<()> {
        for (policy, verdict) in [("open", "passed"), ("closed", "dropped")] {
            let stage = Protected::new(&format!(
                "modparam(\"corex\", \"on_failure\", \"{policy}\")\n\
                 modparam(\"corex\", \"watchdog\", 1000)\n"
            ))?;
            let corex = stage.start("corex")?;
            let before = KernelLosses::of(&stage.hosts())?;
            let load = stage.load()?;
            load.more(200)?;
            corex.process.pause()?;
            // More than comes in the time of the watchdog.
            load.sends(1500)?;
            corex.process.resume()?;
            load.more(500)?;
            let mut counted = 0;
            let mut kernel = KernelLosses::default();
            let tally = load.finish(|tally| {
                let books = corex.books()?;
                counted = books.sum("kernel.dropped") + books.sum("user.dropped");
                kernel = KernelLosses::of(&stage.hosts())?.since(&before);
                Ok(tally.lost() <= counted + kernel.sum())
            })?;
            let books = corex.stop()?;
            books.check_balance()?;
            let hung = books.get(&format!("kernel.{verdict}.hung"));
            println!("{policy}: {tally}; {hung} {verdict} as hung; {kernel}");
            ensure!(hung > 0, "{:#}", books.0);
            ensure!(
                tally.lost() >= books.sum("kernel.dropped"),
                "counted what arrived: {:#}",
                books.0
            );
            match policy {
                "open" => ensure!(u64::from(tally.plain) == hung, "{:#}", books.0),
                _ => ensure!(tally.plain == 0, "{} without the hook", tally.plain),
            }
        }
        Ok(())
    }
}
