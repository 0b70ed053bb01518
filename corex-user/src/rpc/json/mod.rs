//! The module `jsonrpcs`: JSON-RPC 2.0 over datagrams, a FIFO and HTTP.
//!
//! Requests and errors keep to the specification; results and the faults of commands are
//! Kamailio's. One document in, at most one out: [`answer()`].

mod answer;
mod datagram;
mod fifo;
mod parse;
mod web;
mod write;

#[cfg(test)]
mod tests;

pub use self::answer::{Answered, answer};
pub use self::datagram::Datagrams;
pub use self::fifo::Fifo;
pub use self::parse::{MAX_BATCH, MAX_DEPTH, Piece, next_document};
pub use self::web::route;
pub(super) use self::write::value as text;
