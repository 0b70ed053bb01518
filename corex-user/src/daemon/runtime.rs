//! What waits beside the workers, on threads of its own: streams and names on one runtime, remote
//! control and HTTP on another. So nothing that somebody asks for holds up a message, and no
//! traffic keeps answers waiting.

use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

use crate::kernel::limits;
use corex_script::settings::StreamSettings;

/// The name of the threads of streams and names.
pub const STREAMS: &str = "corex-tcp";
/// The name of the threads of remote control, metrics and health.
pub const CONTROL: &str = "corex-rpc";

/// Threads of remote control: while one adds up the books, the other one says that corex is well.
const CONTROL_THREADS: usize = 2;
/// Threads for what blocks, as the first look at certificate authorities does.
const BLOCKING_THREADS: usize = 4;
/// How long what still blocks is waited for at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// The two runtimes. What they start has the privileges of the thread that made them.
pub struct Runtimes {
    /// Streams and names.
    pub streams: Runtime,
    /// Remote control and HTTP.
    pub control: Runtime,
}

impl Runtimes {
    /// Starts their threads.
    ///
    /// # Errors
    /// When there can be no threads.
    pub fn start(settings: &StreamSettings) -> anyhow::Result<Runtimes> {
        let children = settings.children;
        let children = children.unwrap_or_else(|| limits::allowed_cpus().len());
        Ok(Runtimes {
            streams: start(STREAMS, children.max(1)).context("start the threads of streams")?,
            control: start(CONTROL, CONTROL_THREADS)
                .context("start the threads of remote control")?,
        })
    }

    /// Ends them. What blocks is waited for only so long.
    pub fn stop(self) {
        self.control.shutdown_timeout(FAREWELL);
        self.streams.shutdown_timeout(FAREWELL);
    }
}

fn start(name: &str, threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name(name)
        .on_thread_start(limits::shorten_slice)
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn what_keeps_remote_control_busy_stops_no_stream() {
        let runtimes = Runtimes::start(&StreamSettings::default()).unwrap();
        let (begun, has_begun) = mpsc::channel();
        let mut ends = Vec::new();
        for _ in 0..CONTROL_THREADS {
            let (end, ended) = mpsc::channel::<()>();
            ends.push(end);
            let begun = begun.clone();
            runtimes.control.spawn(async move {
                begun.send(()).unwrap();
                // Until the other end is dropped.
                let _ = ended.recv();
            });
        }
        for _ in 0..CONTROL_THREADS {
            has_begun.recv_timeout(PATIENCE).unwrap();
        }
        let (sender, receiver) = mpsc::channel();
        runtimes.streams.spawn(async move { sender.send(()) });
        receiver.recv_timeout(PATIENCE).unwrap();
        drop(ends);
        runtimes.stop();
    }

    #[test]
    fn streams_have_as_many_threads_as_the_configuration_says() {
        let settings = |children| StreamSettings {
            children,
            ..StreamSettings::default()
        };
        let threads = |children| {
            let runtimes = Runtimes::start(&settings(children)).unwrap();
            let count = runtimes.streams.metrics().num_workers();
            runtimes.stop();
            count
        };
        assert_eq!(threads(Some(3)), 3);
        assert_eq!(threads(None), limits::allowed_cpus().len());
    }
}
