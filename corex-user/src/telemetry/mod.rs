//! What corex tells about itself: logs and the books.

pub mod books;
pub mod gauges;
pub mod line;
pub mod log;
pub mod metrics;
pub mod peers;
pub mod stream_counters;
pub mod syslog;
pub mod trace;
