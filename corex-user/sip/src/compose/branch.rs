//! What a stateless proxy computes from a request instead of remembering it.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::digits::{hex, write_decimal};
use crate::SipView;

/// The magic cookie (RFC 3261 §8.1.1.7).
const COOKIE: &[u8] = b"z9hG4bK";
/// 128 bits leave no collisions by chance to speak of.
const LEN: usize = 16;

/// Computed from a request, the same for its retransmissions, its CANCEL, and the ACK to a
/// non-2xx reply; another one for every other transaction (RFC 3261 §16.11).
///
/// It has to be the same in every worker and after a restart, so there is no secret in it: who
/// sends a request can compute it, as anybody who sees the Via can read it. So it need not withstand
/// one who looks for another request with the same: who knows what it is made of can send just that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint([u8; LEN]);

impl Fingerprint {
    /// The fingerprint of a request.
    pub fn of(request: &SipView<'_>) -> Fingerprint {
        let mut hash = SipHasher13::new();
        // Each part with its length, so that parts can't run into each other.
        let mut add = |part: &[u8]| {
            hash.write(&(part.len() as u64).to_le_bytes());
            hash.write(part);
        };
        let via = request.top_via();
        let branch = via.as_ref().and_then(|via| via.branch());
        match (&via, branch) {
            (Some(via), Some(branch)) if is_unique(branch) => {
                add(branch);
                add(via.host);
                add(&via.port.unwrap_or(0).to_be_bytes());
            }
            _ => {
                add(request
                    .from()
                    .and_then(|from| from.tag())
                    .unwrap_or_default());
                // An ACK has a To tag that its INVITE hadn't.
                add(request.call_id().unwrap_or_default());
                let number = request.cseq().map_or(0, |cseq| cseq.number);
                add(&number.to_be_bytes());
                add(request.request_uri().unwrap_or_default());
                add(via.map_or(&[][..], |via| via.text));
            }
        }
        Fingerprint(hash.finish128().as_bytes())
    }

    fn write(self, out: &mut Vec<u8>) {
        let (halves, _) = self.0.as_chunks::<8>();
        for half in halves {
            out.extend_from_slice(&hex(u64::from_be_bytes(*half)));
        }
    }
}

/// Whether a branch says that it is unique. The cookie alone can't be.
fn is_unique(branch: &[u8]) -> bool {
    let cookie = branch.split_at_checked(COOKIE.len());
    cookie.is_some_and(|(start, rest)| start.eq_ignore_ascii_case(COOKIE) && !rest.is_empty())
}

/// Writes the branch parameter's value for the `index`-th destination of a request.
pub fn branch(of: Fingerprint, index: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(COOKIE);
    of.write(out);
    out.push(b'.');
    write_decimal(index as u32, out);
}

/// Writes the To tag of our reply to a request: the same for its retransmissions (RFC 3261
/// §8.2.7).
pub fn to_tag(of: Fingerprint, out: &mut Vec<u8>) {
    of.write(out);
    out.extend_from_slice(b".sl");
}
