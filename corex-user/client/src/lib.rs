//! The phone's side of a codec chain: between an app that speaks plain SIP and a server that expects a
//! chain's packets.
//!
//! A [`Client`] is one device. It knows no socket and no clock: whoever has it hands in what came from
//! either side and the time, and takes out what is to be sent ([`Output`]). With `key=device` in the
//! chain it enrols with its first message, again before its key ends, and when the server doesn't know
//! it; docs/enrolment.md says how. [`Bridge`] runs clients with sockets: it stands in front of a plain
//! SIP client. The crate in `c/` has the same for other languages.

#![forbid(unsafe_code)]

mod bridge;
mod client;
mod keys;
mod options;

pub use self::bridge::{Bridge, BridgeError, BridgeOptions};
pub use self::client::{Client, Counters, Output};
pub use self::options::{Options, OptionsError};
