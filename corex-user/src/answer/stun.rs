//! A STUN server that knows Binding requests only (RFC 8489), as keep-alives of SIP need it (RFC 5626
//! §4.4.2). It has no credentials, so what a request says of them is ignored.

use std::net::SocketAddr;

use corex_common::answer::stun::{
    ATTRIBUTE_HEADER_LEN, BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, ERROR_CODE, FAMILY_V4,
    FAMILY_V6, FINGERPRINT, FINGERPRINT_LEN, FINGERPRINT_XOR, HEADER_LEN, MAGIC_COOKIE, NO_STUN,
    OPTIONAL, UNKNOWN_ATTRIBUTES, XOR_MAPPED_ADDRESS,
};

/// What a datagram turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// No STUN.
    NoStun,
    /// A STUN message that gets no answer.
    Ignored,
    /// A Binding request: the answer stands in the buffer.
    Answered,
}

/// MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (§14.5, §14.6): behind these only each other and
/// FINGERPRINT count.
const INTEGRITY: [u16; 2] = [0x0008, 0x001c];

/// Attributes that must be understood and are, though no Binding request without credentials needs
/// one: they are ignored (§6.3). MAPPED-ADDRESS, USERNAME, MESSAGE-INTEGRITY, ERROR-CODE,
/// UNKNOWN-ATTRIBUTES, REALM, NONCE, MESSAGE-INTEGRITY-SHA256, PASSWORD-ALGORITHM, USERHASH,
/// XOR-MAPPED-ADDRESS (§18.3).
const KNOWN: [u16; 11] = [
    0x0001, 0x0006, 0x0008, 0x0009, 0x000a, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e, 0x0020,
];

/// Unknown attributes that an error names: an answer must stay near its request in length.
const MAX_NAMED: usize = 8;

/// Error 420, Unknown Attribute (§14.8): class and number, and a reason phrase of no bytes.
const ERROR_420: [u8; 4] = [0, 0, 4, 20];

/// Looks at a datagram from `source`; the answer replaces what is in `out`.
pub fn answer(datagram: &[u8], source: SocketAddr, out: &mut Vec<u8>) -> Outcome {
    let Some((kind, id)) = header(datagram) else {
        return Outcome::NoStun;
    };
    if kind != BINDING_REQUEST {
        return Outcome::Ignored;
    }
    let Some(request) = Request::read(datagram) else {
        return Outcome::Ignored;
    };
    out.clear();
    out.extend_from_slice(&[0; HEADER_LEN]);
    let kind = if request.unknown.is_empty() {
        let mapped = mapped_address(source, id);
        put(out, XOR_MAPPED_ADDRESS, &mapped);
        BINDING_SUCCESS
    } else {
        put(out, ERROR_CODE, &ERROR_420);
        let named: Vec<u8> = request
            .unknown
            .iter()
            .flat_map(|kind| kind.to_be_bytes())
            .collect();
        put(out, UNKNOWN_ATTRIBUTES, &named);
        BINDING_ERROR
    };
    let tail = if request.has_fingerprint {
        FINGERPRINT_LEN
    } else {
        0
    };
    let len = (out.len() - HEADER_LEN + tail) as u16;
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let header = [&kind.to_be_bytes()[..], &len.to_be_bytes(), &cookie, id].concat();
    if let Some(place) = out.get_mut(..HEADER_LEN) {
        place.copy_from_slice(&header);
    }
    if request.has_fingerprint {
        let fingerprint = fingerprint(out);
        put(out, FINGERPRINT, &fingerprint);
    }
    Outcome::Answered
}

/// Type and transaction id of what is a STUN message by its header (§5). One of RFC 3489, without the
/// cookie, is too little to go by.
fn header(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = datagram.split_at_checked(HEADER_LEN)?;
    let (&[t0, t1, l0, l1], id) = head.split_first_chunk()?;
    let (cookie, id) = id.split_first_chunk()?;
    let kind = u16::from_be_bytes([t0, t1]);
    let is_stun = kind & NO_STUN == 0
        && usize::from(u16::from_be_bytes([l0, l1])) == rest.len()
        && rest.len().is_multiple_of(4)
        && u32::from_be_bytes(*cookie) == MAGIC_COOKIE;
    is_stun.then_some((kind, id))
}

/// What matters of a request.
#[derive(Default)]
struct Request {
    has_fingerprint: bool,
    /// Attributes that it mustn't be answered without, and that aren't known; the first of them.
    unknown: Vec<u16>,
}

impl Request {
    /// `None` for attributes that exceed the message, and for a FINGERPRINT that is wrong or isn't the
    /// last one.
    fn read(message: &[u8]) -> Option<Self> {
        let mut request = Self::default();
        let mut has_integrity = false;
        let mut at = HEADER_LEN;
        while at < message.len() {
            let (head, rest) = message.get(at..)?.split_first_chunk()?;
            let [k0, k1, l0, l1] = *head;
            let (kind, len) = (u16::from_be_bytes([k0, k1]), u16::from_be_bytes([l0, l1]));
            let padded = usize::from(len).next_multiple_of(4);
            let value = rest.get(..padded)?.get(..usize::from(len))?;
            if kind == FINGERPRINT {
                let is_last = at + FINGERPRINT_LEN == message.len();
                let right = fingerprint(message.get(..at)?);
                request.has_fingerprint = true;
                return (is_last && value == right).then_some(request);
            }
            let is_unknown = kind < OPTIONAL && !KNOWN.contains(&kind) && !has_integrity;
            if is_unknown && request.unknown.len() < MAX_NAMED {
                request.unknown.push(kind);
            }
            has_integrity |= INTEGRITY.contains(&kind);
            at += ATTRIBUTE_HEADER_LEN + padded;
        }
        Some(request)
    }
}

/// The value of FINGERPRINT behind these bytes, whose header counts it already.
pub(super) fn fingerprint(message: &[u8]) -> [u8; 4] {
    (crc32fast::hash(message) ^ FINGERPRINT_XOR).to_be_bytes()
}

/// The value of XOR-MAPPED-ADDRESS for an address, in a transaction.
pub(super) fn mapped_address(address: SocketAddr, id: &[u8]) -> Vec<u8> {
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let mut value = match address {
        SocketAddr::V4(_) => vec![0, FAMILY_V4],
        SocketAddr::V6(_) => vec![0, FAMILY_V6],
    };
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    value.extend(port.to_be_bytes());
    let mask = cookie.iter().chain(id);
    let xored = |octets: &[u8]| -> Vec<u8> {
        let pairs = octets.iter().zip(mask);
        pairs.map(|(octet, mask)| octet ^ mask).collect()
    };
    value.extend(match address {
        SocketAddr::V4(address) => xored(&address.ip().octets()),
        SocketAddr::V6(address) => xored(&address.ip().octets()),
    });
    value
}

/// Appends an attribute.
fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend((value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}
