//! What corex tells about itself: logs, counters and gauges (together: the books), and messages as
//! they pass.

mod atomic_counters;
pub mod books;
pub mod gauges;
pub mod hep_counters;
pub mod line;
pub mod log;
pub mod metrics;
pub mod peers;
pub mod stream_counters;
pub mod syslog;
pub mod trace;
