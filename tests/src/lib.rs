//! A network laboratory for corex: namespaces joined by veth pairs, real SIP peers (sipp,
//! Kamailio), crafted frames and captures. The end-to-end tests in `tests/` and
//! `cargo xtask demo` are built from it.
//!
//! Everything made here is removed when its value is dropped, and on Ctrl-C as well
//! ([`cleanup`]); what a killed run left behind, the next one sweeps ([`sweep`]).
//! It needs root, and knows corex only from outside: its command line, its books, its packets.

pub mod baresip;
pub mod books;
pub mod capture;
pub mod cleanup;
pub mod config;
pub mod corex;
pub mod crowdsec;
pub mod far_end;
pub mod frame;
pub mod kamailio;
pub mod losses;
pub mod mounts;
pub mod namespace;
pub mod process;
pub mod raw;
pub mod registrar;
pub mod secure;
pub mod sipp;
pub mod stage;
pub mod sys;
pub mod tmux;
pub mod topology;
pub mod torture;
pub mod wait;
pub mod workdir;

pub use books::ObservedBooks;
pub use capture::Capture;
pub use corex::Corex;
pub use frame::{Frame, Parsed};
pub use kamailio::Kamailio;
pub use losses::KernelLosses;
pub use mounts::Mounts;
pub use namespace::{Namespace, veth};
pub use process::Process;
pub use raw::RawSocket;
pub use registrar::Registrar;
pub use secure::Secure;
pub use sipp::{Sipp, SippReport};
pub use stage::Stage;
pub use workdir::WorkDir;

/// Removes what runs that were killed have left behind; returns the names of namespaces.
///
/// # Errors
/// The list of namespaces can't be read.
pub fn sweep() -> anyhow::Result<Vec<String>> {
    workdir::sweep();
    namespace::sweep()
}
