//! What shows that a reply answers a request that we forwarded, without remembering any: a keyed
//! digest in our Via, which the reply brings back.
//!
//! Who answers a request copies all its Via values (RFC 3261 §8.2.6.2), and a stateless proxy sends
//! the reply where the second one says. Without a key anybody could write that one, and have us send
//! what he likes to whom he likes.
//!
//! It is a parameter of its own and no part of the branch, since it covers more than a branch may
//! depend on: a CANCEL that comes from another port, behind a NAT that forgot the first, still
//! has its INVITE's branch (RFC 3261 §16.11).

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::return_path;
use crate::{SipView, Via, host_ip};

/// The parameter of our Via.
const PARAMETER: &[u8] = b"k";
/// Half of these bytes are guessed right once in 2^32 tries, all of them never.
const LEN: usize = 8;
/// Hexadecimal digits of a digest.
const DIGITS: usize = 2 * LEN;
/// Keys that a file may have.
const MAX_KEYS: usize = 8;
/// The fewest characters of a key: 128 bits in hexadecimal digits are 32.
const MIN_KEY: usize = 16;

/// The keys of those who may get each other's replies: one corex, or several with the same file.
#[derive(Clone)]
pub struct ReplyKeys {
    /// The first one seals; all open. Never empty.
    keys: Vec<Hmac<Sha256>>,
}

/// Why a text holds no keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoKeys {
    /// There is none.
    #[error(
        "it has no key: a line with 16 characters or more, as `openssl rand -hex 32` prints it"
    )]
    Empty,
    /// A key is too short.
    #[error("line {0}: a key has 16 characters or more, as `openssl rand -hex 32` prints it")]
    Short(usize),
    /// A key has white space in it, or bytes that aren't ASCII.
    #[error("line {0}: a key has letters, digits and signs alone")]
    Signs(usize),
    /// There are too many.
    #[error("it has more than {MAX_KEYS} keys")]
    Many,
}

impl ReplyKeys {
    /// One key of these bytes.
    pub fn of_bytes(key: &[u8]) -> ReplyKeys {
        ReplyKeys {
            keys: vec![with_key(key)],
        }
    }

    /// The keys in a text, one a line: the first one seals, all open, so a new key is put first
    /// and the old one goes when nothing is on its way any more. Empty lines, and those that begin
    /// with `#`, count for nothing.
    ///
    /// # Errors
    /// When a line is no key, or there is none.
    pub fn parse(text: &[u8]) -> Result<ReplyKeys, NoKeys> {
        let mut keys = Vec::new();
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if line.len() < MIN_KEY {
                return Err(NoKeys::Short(at + 1));
            }
            if !line.iter().all(u8::is_ascii_graphic) {
                return Err(NoKeys::Signs(at + 1));
            }
            if keys.len() == MAX_KEYS {
                return Err(NoKeys::Many);
            }
            keys.push(with_key(line));
        }
        if keys.is_empty() {
            return Err(NoKeys::Empty);
        }
        Ok(ReplyKeys { keys })
    }

    /// Fills in the digest of a request that was written with room for it
    /// ([`super::Forward::is_sealed`]). One whose Via can't be read any more stays as it is.
    pub fn seal(&self, request: &mut [u8]) {
        let Some((place, digits)) = self.digits_of(request) else {
            return;
        };
        if let Some(place) = request.get_mut(place) {
            place.copy_from_slice(&digits);
        }
    }

    /// Where the digest stands in a request, and which one it is.
    fn digits_of(&self, request: &[u8]) -> Option<(Range<usize>, [u8; DIGITS])> {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let view = SipView::parse(request).ok()?;
        let forward = Forwarded::of(&view)?;
        let room = forward.digest.filter(|room| room.len() == DIGITS)?;
        let start = room.as_ptr().addr() - request.as_ptr().addr();
        let digest = forward.digest(self.keys.first()?).finalize().into_bytes();
        let mut digits = [0; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        Some((start..start + DIGITS, digits))
    }

    /// Whether a reply with our Via on top answers a request that one of these keys has sealed, and
    /// goes where that came from.
    pub fn open(&self, reply: &SipView<'_>) -> bool {
        let Some(forward) = Forwarded::of(reply) else {
            return false;
        };
        let Some(digest) = forward.digest.and_then(bytes) else {
            return false;
        };
        // Takes as long whatever is wrong.
        self.keys
            .iter()
            .any(|key| forward.digest(key).verify_truncated_left(&digest).is_ok())
    }
}

impl fmt::Debug for ReplyKeys {
    /// A secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyKeys(…)")
    }
}

/// Writes the parameter with room for the digest.
pub(super) fn write_room(out: &mut Vec<u8>) {
    out.push(b';');
    out.extend_from_slice(PARAMETER);
    out.push(b'=');
    out.extend_from_slice(&[b'0'; DIGITS]);
}

/// What the digest covers: what request and reply have in common and a return path depends on.
struct Forwarded<'a> {
    own: Via<'a>,
    below: Via<'a>,
    call_id: &'a [u8],
    cseq: u32,
    digest: Option<&'a [u8]>,
}

impl<'a> Forwarded<'a> {
    fn of(view: &SipView<'a>) -> Option<Forwarded<'a>> {
        let mut vias = view.vias();
        let (own, below) = (vias.next()??, vias.next()??);
        Some(Forwarded {
            digest: own.params.value(PARAMETER),
            own,
            below,
            call_id: view.call_id().unwrap_or_default(),
            // A CANCEL and an ACK have their INVITE's number.
            cseq: view.cseq().map_or(0, |cseq| cseq.number),
        })
    }

    fn digest(&self, key: &Hmac<Sha256>) -> Hmac<Sha256> {
        let mut mac = key.clone();
        // Each part with its length, so that parts can't run into each other.
        let mut add = |part: &[u8]| {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        };
        add(self.own.branch().unwrap_or_default());
        add(self.own.params.value(b"i").unwrap_or_default());
        add(self.call_id);
        add(&self.cseq.to_be_bytes());
        match return_path(&self.below) {
            Some(path) => {
                // An address has several forms.
                match host_ip(path.host).map(|ip| ip.to_canonical()) {
                    Some(IpAddr::V4(ip)) => add(&ip.octets()),
                    Some(IpAddr::V6(ip)) => add(&ip.octets()),
                    None => add(path.host),
                }
                add(&path.port.unwrap_or(0).to_be_bytes());
                add(path.transport.as_via().as_bytes());
            }
            None => add(self.below.text),
        }
        mac
    }
}

fn with_key(key: &[u8]) -> Hmac<Sha256> {
    match Hmac::new_from_slice(key) {
        Ok(keyed) => keyed,
        // HMAC takes a key of any length (RFC 2104 §2).
        Err(_) => Hmac::new(&Default::default()),
    }
}

/// What the digits stand for.
fn bytes(digits: &[u8]) -> Option<[u8; LEN]> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.len() != DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    Some(u64::from_str_radix(digits, 16).ok()?.to_be_bytes())
}
