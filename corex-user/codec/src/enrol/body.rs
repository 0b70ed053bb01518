//! What is sealed in an enrolment.

use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;
use zeroize::Zeroizing;

use super::{INFO, Method};
use crate::codec::Fault;
use crate::device::{DeviceId, DeviceKey};
use crate::session::control::ENROLMENT;

/// Bytes of it.
pub(super) const BODY_LEN: usize = PROVEN + PROOF_LEN;
/// Where the proof begins, which is of all that is before it.
const PROVEN: usize = 75;
/// Bytes of HMAC-SHA256.
pub(super) const PROOF_LEN: usize = 32;
/// Bytes that nobody has drawn before.
pub(super) const NONCE_LEN: usize = 16;

/// The sealed part, as it is.
pub(super) struct Body(pub Zeroizing<[u8; BODY_LEN]>);

/// What stands in it.
pub(super) struct Fields<'b> {
    pub generation: u8,
    pub id: DeviceId,
    pub key: &'b [u8; 32],
    pub time: u64,
    pub nonce: &'b [u8; NONCE_LEN],
}

impl Body {
    /// One that a device makes. With its key that is still valid it proves that it is the same.
    pub fn new(method: Method, fields: &Fields<'_>, current: Option<&DeviceKey>) -> Option<Body> {
        let mut bytes = Zeroizing::new([0; BODY_LEN]);
        bytes[0] = ENROLMENT;
        bytes[1] = method.number();
        bytes[2] = fields.generation;
        bytes[3..19].copy_from_slice(fields.id.as_bytes());
        bytes[19..51].copy_from_slice(fields.key);
        bytes[51..59].copy_from_slice(&fields.time.to_be_bytes());
        bytes[59..PROVEN].copy_from_slice(fields.nonce);
        if let Some(current) = current {
            let key = mac_key(current.secret(), b"proof")?;
            let proof = hmac::sign(&key, &bytes[..PROVEN]);
            bytes[PROVEN..].copy_from_slice(proof.as_ref());
        }
        Some(Body(bytes))
    }

    /// What stands in one that was sealed by this method.
    pub fn fields(&self, method: Method) -> Result<Fields<'_>, Fault> {
        let (&[version, named, generation], rest) =
            self.0.split_first_chunk().ok_or(Fault::Malformed)?;
        if version != ENROLMENT {
            return Err(Fault::UnknownVersion(version));
        }
        if named != method.number() {
            return Err(Fault::NotAuthentic);
        }
        let (id, rest) = rest.split_first_chunk().ok_or(Fault::Malformed)?;
        let (key, rest) = rest.split_first_chunk().ok_or(Fault::Malformed)?;
        let (time, rest) = rest.split_first_chunk().ok_or(Fault::Malformed)?;
        let nonce = rest.first_chunk().ok_or(Fault::Malformed)?;
        Ok(Fields {
            generation,
            id: DeviceId::from_bytes(*id),
            key,
            time: u64::from_be_bytes(*time),
            nonce,
        })
    }

    /// Whether who made it has this key, too. The comparison takes as long wherever it fails.
    pub fn is_proven_by(&self, current: &DeviceKey) -> bool {
        let (proven, proof) = self.0.split_at(PROVEN);
        mac_key(current.secret(), b"proof")
            .is_some_and(|key| hmac::verify(&key, proven, proof).is_ok())
    }
}

/// A key that proves something of this purpose, of a device's key.
pub(super) fn mac_key(secret: &[u8; 32], purpose: &[u8]) -> Option<hmac::Key> {
    let info = [INFO, b" ", purpose];
    let secret = Salt::new(HKDF_SHA256, &[]).extract(secret);
    let derived = secret.expand(&info, hmac::HMAC_SHA256).ok()?;
    Some(hmac::Key::from(derived))
}
