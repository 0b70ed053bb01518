//! binrpc, the protocol of `kamcmd`: bytes to requests, replies to bytes. No sockets here.
//!
//! A packet is a header (magic and version, kind and sizes, length of the payload, cookie) and a
//! payload of records, all big endian. A record is one byte (size or length of the size, and
//! type), the size where it doesn't fit there, and the value. A request's first record is the
//! method's name; a fault is a code and a reason.

mod decode;
mod encode;

#[cfg(test)]
mod tests;

pub use self::decode::{Frame, Malformed, Progress, payload, progress, request};
pub use self::encode::{Packet, fault, reply, request_bytes};

/// The high half of a packet's first byte.
const MAGIC: u8 = 0xA;
/// The low half.
const VERSION: u8 = 1;
/// Structs and arrays inside each other.
pub const MAX_DEPTH: usize = 16;

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A method and its parameters.
    Request,
    /// Records.
    Reply,
    /// A code and a reason.
    Fault,
}

impl Kind {
    fn from_bits(bits: u8) -> Option<Kind> {
        match bits {
            0 => Some(Kind::Request),
            1 => Some(Kind::Reply),
            3 => Some(Kind::Fault),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Kind::Request => 0,
            Kind::Reply => 1,
            Kind::Fault => 3,
        }
    }
}

/// One to four bytes that a client chose, echoed in the reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cookie {
    bytes: [u8; 4],
    len: u8,
}

impl Cookie {
    /// A cookie of one to four bytes; what is beyond is left out.
    pub fn new(bytes: &[u8]) -> Cookie {
        let mut cookie = Cookie {
            bytes: [0; 4],
            len: 1,
        };
        for (to, from) in cookie.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        cookie.len = bytes.len().clamp(1, 4) as u8;
        cookie
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Types of records.
mod record {
    pub const INT: u8 = 0;
    pub const STR: u8 = 1;
    pub const DOUBLE: u8 = 2;
    pub const STRUCT: u8 = 3;
    pub const ARRAY: u8 = 4;
    pub const AVP: u8 = 5;
    pub const BYTES: u8 = 6;
    /// The bit that says that the size is the length of a size, or that a struct or array ends.
    pub const LONG: u8 = 0x80;
}
