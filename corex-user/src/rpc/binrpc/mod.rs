//! binrpc, the protocol of `kamcmd`: bytes to requests, replies to bytes. No sockets here.
//!
//! A packet is a header (magic and version, kind and sizes, length of the payload, cookie) and a
//! payload of records, all big endian. A record is one byte (size or length of the size, and
//! type), the size where it doesn't fit there, and the value. A request's first record is the
//! method's name; a fault is a code and a reason.

mod decode;
mod encode;
mod format;

#[cfg(test)]
mod tests;

pub use self::decode::{Frame, Malformed, Progress, payload, progress, request};
pub use self::encode::{Packet, fault, reply, request_bytes};
pub use self::format::{Cookie, Kind, MAX_DEPTH};
