//! What the modules ratelimit and pike do from time to time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    task,
    time::{self, MissedTickBehavior},
};

use crate::{access::Access, pipeline::PipelineContext};

/// How often it is looked whether it is time.
const LOOK: Duration = Duration::from_secs(1);

/// Ends ratelimit's intervals, and has pike forget whom nothing comes from, for ever. Between two parts
/// of pike's tree others have their turn.
pub async fn run(latest: Arc<ArcSwap<PipelineContext>>) {
    let mut looks = time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seconds = 0u32;
    loop {
        looks.tick().await;
        let access = Access::of(&latest.load().config.program);
        seconds = seconds.saturating_add(1);
        if let Some(limit) = &access.ratelimit
            && seconds >= limit.interval
        {
            seconds = 0;
            limit.tick();
        }
        if let Some(pike) = &access.pike {
            for part in 0..pike.parts() {
                pike.sweep(part, Instant::now());
                task::yield_now().await;
            }
        }
    }
}
