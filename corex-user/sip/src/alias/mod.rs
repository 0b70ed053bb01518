//! The `myself` condition: which hosts, ports and transports mean this proxy.
//!
//! An [`Entry`] is one listen address, `alias` or `alias_subdomains` value; a [`Table`] is all
//! of them, built once and asked for every message.

mod entry;
mod ports;
mod table;

#[cfg(test)]
mod tests;

pub use entry::{Entry, EntryError, MAX_HOST_LEN};
pub use table::Table;
