//! Whether a request comes again that was forwarded already (RFC 3261 §16.3 step 4, RFC 5393 §4.2).

use std::hash::{Hash as _, Hasher as _};
use std::net::SocketAddr;

use rustc_hash::FxHasher;

use super::digits::hex;
use crate::Via;

/// A digest of all that decides where a request goes: if it comes again with the same, it goes the
/// same way again. One that comes back changed, or from somebody else, is a spiral and goes on.
///
/// The same in each worker, and after a restart of the same binary. Not secret: who forges it has his
/// own requests refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Circle(u64);

impl Circle {
    /// The parameter of our Via that has it. A proxy with state has it in the branch; ours stays as it
    /// is for an ACK and a CANCEL, which may come by other ways.
    pub const NAME: &[u8] = b"l";

    /// Of a request with this digest ([`crate::strict::Passed`]), from this address to that one of
    /// ours: scripts go by both.
    pub fn new(digest: u64, source: SocketAddr, local: SocketAddr) -> Circle {
        let mut hash = FxHasher::default();
        digest.hash(&mut hash);
        for end in [source, local] {
            (end.ip().to_canonical(), end.port()).hash(&mut hash);
        }
        Circle(hash.finish())
    }

    /// Whether a Via has this digest.
    pub fn is_in(self, via: &Via<'_>) -> bool {
        let text = via.params.value(Self::NAME);
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        text.and_then(|text| u64::from_str_radix(text, 16).ok()) == Some(self.0)
    }

    /// Appends the parameter.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.push(b';');
        out.extend_from_slice(Self::NAME);
        out.push(b'=');
        out.extend_from_slice(&hex(self.0));
    }
}
