//! The keys of devices: kept in memory, or in redis or memcached for a fleet of instances; asked for
//! on threads of its own, so that no worker waits. What devices enrol with is verified there, too.
//!
//! A worker's chains ask its [`Desk`], which knows what this process knows (`sessions.rs`). What it
//! doesn't know, but a store may, has the message wait ([`KeyService::hold`]): it comes back to its
//! worker ([`Returned`]) when the store has answered, or won't.

mod breaker;
mod desk;
mod enrol;
mod held;
mod limits;
mod memcached;
mod place;
mod policy;
pub mod record;
mod redis;
mod service;
mod sessions;
mod store;

use std::time::SystemTime;

pub use self::{
    desk::Desk,
    enrol::{EnrolmentPacket, NotEnrolled},
    held::{Arrival, Departure, Enrolled, Held, Outcome, QueueId, Returned, Wanted},
    place::{PlaceMistake, StorePlace},
    policy::{KeyMaterial, Policy},
    service::{ENROLLING, KeyGauges, KeyService, NoPlace, ReturnBox, THREAD, WAITING},
    sessions::{SESSION_BYTES, SessionLine},
};

/// Seconds since 1970.
fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
