//! Another configuration, and another corex, while messages come.

use anyhow::{Context as _, Result, ensure};
use corex_lab::{config, config::Family, wait};

use super::{
    load::LIMIT,
    stage::{ENGINES, Proxy, dropped},
};

#[test]
fn proxy_reloads_lose_nothing() -> Result<()> {
    const ROUNDS: usize = 10;
    for engine in ENGINES {
        let stage = Proxy::new(engine, "")?;
        let corex = stage.start("corex")?;
        let load = stage.load()?;
        load.more(100)?;
        for round in 1..=ROUNDS {
            let debug = format!("debug={}\n", 2 + round % 2);
            let text = config::relay(Family::V4, &debug, &config::mark());
            stage.work.write("corex.cfg", text)?;
            corex.process.signal(libc::SIGHUP)?;
            wait::until("corex reads it", LIMIT, || {
                let log = corex.log();
                let times = log.matches("the configuration was read again").count();
                Ok((times >= round).then_some(()))
            })
            .with_context(|| corex.log())?;
            load.more(50)?;
        }
        let tally = load.finish_whole()?;
        let books = corex.stop()?;
        books.check_balance()?;
        println!("{engine}: {ROUNDS} reloads; {tally}; {}", dropped(&books));
        ensure!(tally.plain == 0, "{} without the hook", tally.plain);
        ensure!(books.sum("user.dropped") == 0, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn proxy_a_take_over_loses_nothing() -> Result<()> {
    for engine in ENGINES {
        // Before Linux 6.4 rings of a bound AF_XDP socket can't be mapped: docs/upgrade.md.
        if engine == "xdp" && corex_lab::sys::kernel() < (6, 4) {
            continue;
        }
        let stage = Proxy::new(engine, "")?;
        let old = stage.start("old")?;
        let load = stage.load()?;
        load.more(200)?;
        let new = stage.options.clone().argument("--take-over").start_in(
            &stage.mounts,
            stage.work.path(),
            "new",
        )?;
        let old = old.succeeded()?;
        load.more(200)?;
        let tally = load.finish_whole()?;
        let books = new.stop()?;
        old.check_balance()?;
        books.check_balance()?;
        println!(
            "{engine}: {tally}; {} handed over; {}",
            books.get("user.taken_over"),
            dropped(&books)
        );
        ensure!(tally.plain == 0, "{} without the hook", tally.plain);
        ensure!(
            old.get("user.handed_over") == books.get("user.taken_over"),
            "{:#}",
            books.0
        );
    }
    Ok(())
}
