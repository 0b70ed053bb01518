//! Whether a request comes again that was forwarded already (RFC 3261 §16.3 step 4, RFC 5393 §4.2).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;

use crate::{SipView, Via};

/// The parameter of our Via that says what was forwarded. A proxy with state has it in the branch;
/// ours stays as it is for an ACK and a CANCEL, which may come by other ways.
const NAME: &[u8] = b"l";

/// A digest of all that decides where a request goes: if it comes again with the same, it goes the
/// same way again. One that comes back changed, or from somebody else, is a spiral and goes on.
///
/// Not secret: who forges it has his own requests refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Circle(u64);

impl Circle {
    /// The digest of a request as it came, from this address.
    pub fn of(request: &SipView<'_>, source: IpAddr) -> Circle {
        // With fixed keys: the same in each worker, and after a restart of the same binary.
        let mut hash = DefaultHasher::new();
        source.to_canonical().hash(&mut hash);
        request.method().hash(&mut hash);
        request.request_uri().hash(&mut hash);
        request.call_id().hash(&mut hash);
        for address in [request.from(), request.to()] {
            address.and_then(|address| address.tag()).hash(&mut hash);
        }
        request.cseq().map(|cseq| cseq.number).hash(&mut hash);
        for name in [&b"Route"[..], b"Proxy-Authorization"] {
            for header in request.headers_named(name) {
                header.value.hash(&mut hash);
            }
        }
        Circle(hash.finish())
    }

    /// Whether any Via of a request has such a digest.
    pub fn is_marked(request: &SipView<'_>) -> bool {
        let mut vias = request.vias().flatten();
        vias.any(|via| via.params.get(NAME).is_some())
    }

    /// Whether a Via has this digest.
    pub fn is_in(self, via: &Via<'_>) -> bool {
        let text = via
            .params
            .value(NAME)
            .and_then(|text| std::str::from_utf8(text).ok());
        text.and_then(|text| u64::from_str_radix(text, 16).ok()) == Some(self.0)
    }

    /// Appends the parameter.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        out.push(b';');
        out.extend_from_slice(NAME);
        out.push(b'=');
        for shift in (0..16).rev() {
            out.push(HEX[(self.0 >> (4 * shift)) as usize & 15]);
        }
    }
}
