//! Handing everything over to a successor: `corex run --take-over` meets the corex that runs at a
//! UNIX socket, gets descriptors of all that it serves, makes itself ready beside it, and takes its
//! place between two messages. Until the last word the old one can go on.
//!
//! ```text
//!   successor                            predecessor
//!     Hello (version)          ──►
//!                              ◄──         Estate, with the descriptors: it serves on
//!     loads, compiles, maps …
//!     Freeze                   ──►         its workers park
//!                              ◄──         Frozen: who has which frame
//!     its programs in their places
//!     Commit                   ──►
//!                              ◄──         Go: from here on it does nothing more
//!     its workers start
//!                              ◄──         Farewell: what is left in the rings
//! ```
//!
//! Where the connection ends before Go, the predecessor's workers and connections go on, whatever the
//! reason.

mod estate;
mod guard;
mod heir;
mod inventory;
mod offer;
mod peers;
mod place;
mod tables;
mod wire;

pub use estate::{Estate, Farewell, Frozen, Item, StreamEstate};
pub use guard::GuardCopy;
pub use heir::Heir;
pub use inventory::{add_worker, ledger, restore};
pub use offer::{Halt, Offer, Step};
pub use peers::PeersCopy;
pub use tables::{TableSnapshot, write as write_tables};
