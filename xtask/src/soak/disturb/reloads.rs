//! Configurations that corex takes, and those that it refuses.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Disturber;
use crate::{random::Random, soak::config};

/// Milliseconds between two.
const BETWEEN: (u64, u64) = (3_000, 8_000);
/// One in so many is bad.
const BAD: u64 = 3;

/// Has corex read another configuration now and then, until it is over.
///
/// # Errors
/// It can't be written.
pub fn run(disturber: &Disturber, mut random: Random) -> Result<()> {
    loop {
        let pause = random.between(BETWEEN.0, BETWEEN.1);
        disturber.context.pause(Duration::from_millis(pause));
        if disturber.context.is_over() {
            return Ok(());
        }
        let is_bad = random.once_in(BAD);
        once(disturber, is_bad, &mut random)?;
    }
}

/// Has it read one.
///
/// # Errors
/// It can't be written.
pub fn once(disturber: &Disturber, is_bad: bool, random: &mut Random) -> Result<()> {
    let _nobody_takes_over = disturber.while_it_stays();
    let (context, number) = (&disturber.context, disturber.next_variant());
    let (lab, folder) = (&context.lab, context.lab.work.path());
    let good = config::good(folder, number, random);
    let asked = Instant::now();
    let outcome = if is_bad {
        let (what, text) = config::bad(folder, number, random)?;
        lab.configure(&text)?;
        let outcome = lab.rpc(&["corex.reload"]);
        // Who takes over reads it, too.
        lab.configure(&good)?;
        disturber.did("configurations refused");
        match outcome {
            Err(error) if !is_silent(&error) => Ok(()),
            Err(error) => Err(format!("a configuration with {what}: {error:#}")),
            Ok(_) => Err(format!("a configuration with {what} was taken")),
        }
    } else {
        lab.configure(&good)?;
        disturber.did("configurations taken");
        let outcome = lab.rpc(&["corex.reload"]);
        outcome.map(drop).map_err(|error| format!("{error:#}"))
    };
    let tally = context.tally("reloads");
    tally.note(&disturber.take_overs, asked, outcome);
    Ok(())
}

/// Whether nobody answered: `corex rpc` says so by status 3.
fn is_silent(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("exit status: 3")
}
