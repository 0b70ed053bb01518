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
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::ops::Range;

use sha2::{Digest as _, Sha256};
use siphasher::sip::SipHasher24;

use super::digits::hex;
use super::return_path;
use crate::{SipView, Via, host_ip};

/// The parameter of our Via.
const PARAMETER: &[u8] = b"k";
/// Hexadecimal digits of a digest. Half of them are guessed right once in 2^32 tries, all of them never.
const DIGITS: usize = 2 * size_of::<u64>();
/// Keys that a file may have.
const MAX_KEYS: usize = 8;
/// The fewest characters of a key: 128 bits in hexadecimal digits are 32.
const MIN_KEY: usize = 16;

/// The keys of those who may get each other's replies: one corex, or several with the same file.
#[derive(Clone)]
pub struct ReplyKeys {
    /// The first one seals; all open. Never empty.
    keys: Vec<Key>,
}

/// A key of SipHash-2-4, which was made to tell forged messages of this length from genuine ones, at a
/// tenth of what HMAC takes.
type Key = [u8; 16];

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
        let view = SipView::parse(request).ok()?;
        let forward = Forwarded::of(&view)?;
        let room = forward.digest.filter(|room| room.len() == DIGITS)?;
        let start = room.as_ptr().addr() - request.as_ptr().addr();
        let digest = forward.digest(self.keys.first()?);
        Some((start..start + DIGITS, hex(digest)))
    }

    /// Whether a reply with our Via on top answers a request that one of these keys has sealed, and
    /// goes where that came from.
    pub fn open(&self, reply: &SipView<'_>) -> bool {
        let Some(forward) = Forwarded::of(reply) else {
            return false;
        };
        let Some(digest) = forward.digest.and_then(number) else {
            return false;
        };
        // Words are compared as a whole: it takes as long whatever is wrong.
        self.keys.iter().any(|key| forward.digest(key) == digest)
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
    below: Via<'a>,
    branch: &'a [u8],
    connection: &'a [u8],
    call_id: &'a [u8],
    cseq: u32,
    digest: Option<&'a [u8]>,
}

impl<'a> Forwarded<'a> {
    fn of(view: &SipView<'a>) -> Option<Forwarded<'a>> {
        let mut vias = view.vias();
        let (own, below) = (vias.next()??, vias.next()??);
        let [digest, branch, connection] = own.params.values([PARAMETER, b"branch", b"i"]);
        Some(Forwarded {
            digest,
            branch: branch.unwrap_or_default(),
            connection: connection.unwrap_or_default(),
            below,
            call_id: view.call_id().unwrap_or_default(),
            // A CANCEL and an ACK have their INVITE's number.
            cseq: view.cseq().map_or(0, |cseq| cseq.number),
        })
    }

    fn digest(&self, key: &Key) -> u64 {
        let mut mac = SipHasher24::new_with_key(key);
        // Each part with its length, so that parts can't run into each other.
        let mut add = |part: &[u8]| {
            mac.write(&(part.len() as u64).to_le_bytes());
            mac.write(part);
        };
        add(self.branch);
        add(self.connection);
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
        mac.finish()
    }
}

/// The key that a text of any length stands for.
fn with_key(text: &[u8]) -> Key {
    let mut key = Key::default();
    for (to, from) in key.iter_mut().zip(Sha256::digest(text)) {
        *to = from;
    }
    key
}

/// What the digits stand for.
fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.len() != DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}
