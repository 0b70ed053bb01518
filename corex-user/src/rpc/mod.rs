//! Remote control: one table of commands, and the front ends that render its replies.
//!
//! A command ([`command::RpcCommand`]) reads and steers the running daemon through
//! [`daemon::Daemon`] and makes a [`value::Reply`]. The front ends know nothing of single
//! commands: [`ctl`] speaks binrpc, the protocol of `kamcmd`; [`json`] speaks JSON-RPC 2.0 over
//! datagrams, a FIFO and HTTP. Field names, their order, and faults are those of Kamailio 5.6.3
//! where it has the command.

pub mod binrpc;
pub mod client;
pub mod command;
pub mod commands;
pub mod ctl;
pub mod daemon;
mod datagram;
pub mod document;
pub mod fault;
pub mod fronts;
pub mod json;
pub mod later;
pub mod limits;
pub mod params;
pub mod service;
mod socket_file;
pub mod value;

#[cfg(test)]
pub(crate) mod tests;

pub use self::service::Rpc;
