//! The numbers of the format, which reading and writing share.

/// The high half of a packet's first byte.
pub(super) const MAGIC: u8 = 0xA;
/// The low half of a packet's first byte.
pub(super) const VERSION: u8 = 1;
/// The most structs and arrays inside each other.
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
    pub(super) fn from_bits(bits: u8) -> Option<Kind> {
        match bits {
            0 => Some(Kind::Request),
            1 => Some(Kind::Reply),
            3 => Some(Kind::Fault),
            _ => None,
        }
    }

    pub(super) fn bits(self) -> u8 {
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

    /// The bytes that the client sent.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Types of records.
pub(super) mod record {
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
