//! What the host looks like now: its links and addresses, as the kernel tells by netlink, and what
//! follows from them: the maps by which the XDP programs tell what is for the host, and what remote
//! control shows of it.

mod addresses;
mod changes;
mod follower;
mod leniency;
mod links;
mod maps;
mod mtus;
mod report;
mod snapshot;
mod tables;

pub use self::{
    follower::{FollowError, HostFollower, harden, read_link},
    links::{Link, Links, link_of, parts_of},
    maps::HostMaps,
    mtus::{LiveMtu, Mtus},
    report::{HostAddressReport, InterfaceReport},
    snapshot::Snapshot,
    tables::HostTables,
};
