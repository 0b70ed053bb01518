//! Takes entries out of tables whose time is over, from time to time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::time;

use crate::pipeline::PipelineContext;
use corex_script::run::tables::Table;

/// How often it is looked whether it is time.
const LOOK: Duration = Duration::from_secs(1);

/// Sweeps all tables, as often as the configuration says, for ever. Between two parts of a table
/// others have their turn.
pub async fn run(latest: Arc<ArcSwap<PipelineContext>>) {
    let mut last = Instant::now();
    loop {
        time::sleep(LOOK).await;
        let interval = latest.load().config.settings.table_timer;
        if last.elapsed() < interval {
            continue;
        }
        last = Instant::now();
        let tables: Vec<Arc<Table>> = {
            let context = latest.load();
            let all = context.config.program.tables.all();
            all.map(|(_, table)| Arc::clone(table)).collect()
        };
        for table in tables {
            for part in 0..table.shards() {
                table.sweep(part);
                tokio::task::yield_now().await;
            }
        }
    }
}
