//! Links that go down, and come back.

use std::{thread, time::Duration};

use anyhow::Result;

use super::Disturber;
use crate::{random::Random, soak::lab::INTERFACES};

/// Milliseconds that one is down: shorter than sipp goes on sending a request again, which is 15 s for
/// INVITE.
const DOWN: (u64, u64) = (200, 1500);
/// Milliseconds between two.
const BETWEEN: (u64, u64) = (8_000, 20_000);

/// Takes one of corex's links down now and then, until it is over.
///
/// # Errors
/// What `ip` says.
pub fn run(disturber: &Disturber, mut random: Random) -> Result<()> {
    loop {
        let pause = random.between(BETWEEN.0, BETWEEN.1);
        disturber.context.pause(Duration::from_millis(pause));
        if disturber.context.is_over() {
            return Ok(());
        }
        once(disturber, &mut random)?;
    }
}

/// Takes one down, and up again.
///
/// # Errors
/// What `ip` says.
pub fn once(disturber: &Disturber, random: &mut Random) -> Result<()> {
    let _nobody_takes_over = disturber.while_it_stays();
    let corex = &disturber.context.lab.relay.corex;
    let link = random.pick(&INTERFACES);
    let down = Duration::from_millis(random.between(DOWN.0, DOWN.1));
    disturber.context.timeline.disturb(|| {
        corex.ip(&format!("link set dev {link} down"))?;
        thread::sleep(down);
        corex.ip(&format!("link set dev {link} up"))
    })?;
    disturber.did("link flaps");
    Ok(())
}
