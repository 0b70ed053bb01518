//! How an enrolment is sealed.

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey};
use hpke::aead::{Aead, AesGcm256, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::body::{BODY_LEN, Body};
use super::{HEAD_LEN, INFO};
use crate::codec::Fault;
use crate::session::TAG_LEN;

/// Bytes of a salt under a secret that devices share.
const SALT_LEN: usize = 16;
/// Bytes of a public key of X25519.
const X25519_LEN: usize = 32;
/// Bytes that are sealed with a shared secret.
pub(super) const PSK_LEN: usize = SALT_LEN + BODY_LEN + TAG_LEN;
/// Bytes that are sealed by HPKE.
pub(super) const HPKE_LEN: usize = X25519_LEN + BODY_LEN + TAG_LEN;

/// X25519's, for HPKE.
pub(super) type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
/// X25519's, for HPKE.
pub(super) type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;

/// How a device seals its enrolment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// With a secret that the server and its devices share: AES-256-GCM.
    Psk,
    /// For the server's RSA key: OAEP (RFC 8017) with SHA-256, also in MGF1.
    RsaOaep,
    /// For the server's X25519 key: HPKE (RFC 9180) in base mode, HKDF-SHA256, ChaCha20-Poly1305.
    HpkeChaCha20Poly1305,
    /// The same with AES-256-GCM.
    HpkeAes256Gcm,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 4] = [
        Method::Psk,
        Method::RsaOaep,
        Method::HpkeChaCha20Poly1305,
        Method::HpkeAes256Gcm,
    ];

    /// As packets have it.
    pub const fn number(self) -> u8 {
        match self {
            Method::Psk => 1,
            Method::RsaOaep => 2,
            Method::HpkeChaCha20Poly1305 => 3,
            Method::HpkeAes256Gcm => 4,
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Method> {
        Self::ALL.into_iter().find(|it| it.number() == number)
    }
}

/// A key of its own for each salt: so that no nonce comes twice, however many devices share the
/// secret.
fn psk_key(secret: &[u8; 32], salt: &[u8]) -> Option<LessSafeKey> {
    let secret = Salt::new(HKDF_SHA256, salt).extract(secret);
    let info = [INFO, b" psk"];
    let derived = secret.expand(&info, &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(derived)))
}

fn no_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Seals with a shared secret.
pub(super) fn psk(secret: &[u8; 32], head: &[u8; HEAD_LEN], body: &Body) -> Result<Vec<u8>, Fault> {
    let mut salt = [0; SALT_LEN];
    SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| Fault::NoRandomness)?;
    let mut sealed = Zeroizing::new(*body.0);
    let tag = psk_key(secret, &salt)
        .and_then(|key| {
            key.seal_in_place_separate_tag(no_nonce(), Aad::from(head), &mut sealed[..])
                .ok()
        })
        .ok_or(Fault::Unmade)?;
    Ok([&salt, &sealed[..], tag.as_ref()].concat())
}

/// Opens with a shared secret.
pub(super) fn open_psk(
    secret: &[u8; 32],
    head: &[u8; HEAD_LEN],
    sealed: &[u8],
) -> Result<Body, Fault> {
    if sealed.len() != PSK_LEN {
        return Err(Fault::Malformed);
    }
    let (salt, sealed) = sealed.split_at(SALT_LEN);
    let mut opened = Zeroizing::new(sealed.to_vec());
    let key = psk_key(secret, salt).ok_or(Fault::Unmade)?;
    let opened = key
        .open_in_place(no_nonce(), Aad::from(head), &mut opened)
        .map_err(|_| Fault::NotAuthentic)?;
    body(opened)
}

/// Seals for an RSA key. Head and body can't be parted, since the body repeats what the head says.
pub(super) fn rsa(key: &OaepPublicEncryptingKey, body: &Body) -> Result<Vec<u8>, Fault> {
    let mut room = vec![0; key.ciphertext_size()];
    let sealed = key
        .encrypt(&OAEP_SHA256_MGF1SHA256, &body.0[..], &mut room, None)
        .map_err(|_| Fault::Unmade)?;
    Ok(sealed.to_vec())
}

/// Opens with an RSA key.
pub(super) fn open_rsa(key: &OaepPrivateDecryptingKey, sealed: &[u8]) -> Result<Body, Fault> {
    if sealed.len() != key.key_size_bytes() {
        return Err(Fault::Malformed);
    }
    let mut room = Zeroizing::new(vec![0; key.min_output_size()]);
    let opened = key
        .decrypt(&OAEP_SHA256_MGF1SHA256, sealed, &mut room, None)
        .map_err(|_| Fault::NotAuthentic)?;
    body(opened)
}

/// Seals by HPKE.
pub(super) fn hpke<A: Aead>(
    key: &PublicKey,
    head: &[u8; HEAD_LEN],
    body: &Body,
) -> Result<Vec<u8>, Fault> {
    let (encapsulated, mut context) =
        hpke::setup_sender::<A, HkdfSha256, X25519HkdfSha256>(&OpModeS::Base, key, INFO)
            .map_err(|_| Fault::Unmade)?;
    let sealed = context.seal(&body.0[..], head).map_err(|_| Fault::Unmade)?;
    Ok([&encapsulated.to_bytes()[..], &sealed].concat())
}

/// Opens by HPKE.
pub(super) fn open_hpke(
    method: Method,
    key: &PrivateKey,
    head: &[u8; HEAD_LEN],
    sealed: &[u8],
) -> Result<Body, Fault> {
    if sealed.len() != HPKE_LEN {
        return Err(Fault::Malformed);
    }
    let (encapsulated, sealed) = sealed.split_at(X25519_LEN);
    match method {
        Method::HpkeAes256Gcm => open_by::<AesGcm256>(key, head, encapsulated, sealed),
        _ => open_by::<ChaCha20Poly1305>(key, head, encapsulated, sealed),
    }
}

fn open_by<A: Aead>(
    key: &PrivateKey,
    head: &[u8; HEAD_LEN],
    encapsulated: &[u8],
    sealed: &[u8],
) -> Result<Body, Fault> {
    let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated)
        .map_err(|_| Fault::NotAuthentic)?;
    let mut context = hpke::setup_receiver::<A, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        key,
        &encapsulated,
        INFO,
    )
    .map_err(|_| Fault::NotAuthentic)?;
    let opened = context.open(sealed, head);
    let opened = Zeroizing::new(opened.map_err(|_| Fault::NotAuthentic)?);
    body(&opened)
}

fn body(opened: &[u8]) -> Result<Body, Fault> {
    let bytes: &[u8; BODY_LEN] = opened.try_into().map_err(|_| Fault::Malformed)?;
    Ok(Body(Zeroizing::new(*bytes)))
}
