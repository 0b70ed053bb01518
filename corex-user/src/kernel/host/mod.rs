//! What the host looks like now: its links and addresses, as the kernel tells by netlink, and what
//! follows from them. Today that is the maps by which the XDP programs tell what is for the host.

mod addresses;
mod changes;
mod follower;
mod leniency;
mod links;
mod maps;
mod mtus;
mod snapshot;
mod tables;

pub use self::{
    follower::{FollowError, HostFollower, read_link},
    links::{Link, Links},
    maps::HostMaps,
    mtus::{LiveMtu, Mtus},
    tables::HostTables,
};
