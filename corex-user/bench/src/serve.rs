//! Orders in, outcomes out.

use std::io::{self, BufRead as _, Write as _};

use crate::protocol::{Answer, Order, Outcome};

/// Serves orders until standard input ends.
pub fn serve(mut measure: impl FnMut(&Order) -> anyhow::Result<Outcome>) -> anyhow::Result<()> {
    println!("ready:");
    for line in io::stdin().lock().lines() {
        let outcome = serde_json::from_str(&line?)
            .map_err(anyhow::Error::from)
            .and_then(|order| measure(&order));
        let answer = match outcome {
            Ok(outcome) => Answer::Done(outcome),
            Err(error) => Answer::Failed(format!("{error:#}")),
        };
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, &answer)?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}
