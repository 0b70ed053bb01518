//! corex itself dies, or hangs.

use anyhow::{Result, ensure};
use corex_lab::{KernelLosses, wait};

use super::{
    load::LIMIT,
    stage::{ENGINES, Protected, Proxy, dropped},
};

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
        // Its programs go a little later than it does.
        wait::until("its programs are gone", LIMIT, || {
            let user = stage.relay.corex.xdp_program("user")?;
            let core = stage.relay.corex.xdp_program("core")?;
            Ok((user.is_none() && core.is_none()).then_some(()))
        })?;
        // What was sent until then and hadn't arrived may have been in its hands.
        let died = load.sent();
        let in_hand = u64::from(died - arrived);
        load.sends(200)?;
        let successor = stage.start("successor")?;
        let served = load.sent();
        load.more(300)?;
        let mut kernel = KernelLosses::default();
        let tally = load.finish(|tally| {
            kernel = KernelLosses::of(&stage.hosts())?.since(&before);
            Ok(tally.lost() <= kernel.sum() + in_hand
                && tally.is_missing_only_within(&(arrived..served)))
        })?;
        let books = successor.stop()?;
        books.check_balance()?;
        println!("{engine}: {tally}; {kernel}; at most {in_hand} were in hand");
        ensure!(kernel.no_ports > 0, "nothing came while it was dead");
        ensure!(tally.plain == 0, "{} without the hook", tally.plain);
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
