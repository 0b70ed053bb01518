//! What `cargo xtask bench` and its generators say to each other: an [`Order`] a line on standard
//! input, an [`Answer`] a line on standard output, as JSON. corex-bench includes this file.

use serde::{Deserialize, Serialize};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// OPTIONS by IPv4, all of one size.
    Options,
    /// REGISTER, INVITE, OPTIONS, 200, BYE and keep-alives of several sizes, by IPv4 and IPv6.
    Mix,
}

/// A measurement to make.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// What to send.
    pub traffic: Traffic,
    /// Bytes of each message of [`Traffic::Options`], at least.
    pub size: usize,
    /// Source addresses that take turns; 1 with TCP.
    pub peers: u64,
    /// Messages on their way at most, where there is no rate.
    pub window: u64,
    /// Messages each second, whatever comes back; 0: as many as come back.
    pub rate: u64,
    /// How long to send.
    pub seconds: f64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Messages sent that are to come back.
    pub sent: u64,
    /// Messages sent that nobody answers: keep-alives.
    pub unanswered: u64,
    /// Messages that the rate asked for and that were not sent: the generator was late.
    pub held_back: u64,
    /// Messages that came back.
    pub returned: u64,
    /// Messages that didn't.
    pub lost: u64,
    /// How long was sent, in seconds.
    pub seconds: f64,
    /// Of those that came back, how many were matched with what was sent by their order.
    pub by_order: u64,
    /// The longest time to come back, in nanoseconds.
    pub longest: u64,
    /// How many took at least so many nanoseconds, and less than in the next entry, which is at
    /// most 3 % more.
    pub latencies: Vec<(u64, u64)>,
}

/// An answer to an [`Order`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Measured.
    Done(Outcome),
    /// Not measured: why.
    Failed(String),
}
