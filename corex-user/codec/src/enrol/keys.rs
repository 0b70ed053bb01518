//! What enrolments are sealed and opened with: a shared secret, or the server's key pair, as files
//! have them.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use data_encoding::{BASE64, HEXLOWER};
use hpke::aead::{AesGcm256, ChaCha20Poly1305};
use hpke::{Deserializable as _, Kem as _, Serializable as _, kem::X25519HkdfSha256};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::{Zeroize as _, Zeroizing};

use super::body::Body;
use super::seal::{self, PrivateKey, PublicKey};
use super::{HEAD_LEN, Method};
use crate::codec::Fault;
use crate::keys::Secret;

/// What stands before the 32 bytes of a private key of X25519 in PKCS#8 (RFC 8410 §7, without
/// attributes).
const X25519_PRIVATE: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20,
];
/// What stands before the 32 bytes of a public key of X25519 (RFC 8410 §4).
const X25519_PUBLIC: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00,
];

/// Why something is no key for enrolment, and what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnrolmentKeyError {
    /// It is neither.
    #[error(
        "it is neither a private key in PEM nor a secret of 32 bytes, plain, in hexadecimal digits \
         or in base64: make one with `corex keys`"
    )]
    NoServerKey,
    /// It is neither.
    #[error(
        "it is neither a public key in PEM nor a secret of 32 bytes, plain, in hexadecimal digits or \
         in base64: take what `corex keys` printed"
    )]
    NoClientKey,
    /// A server's key was given to a client.
    #[error("it is the server's private key: devices get the public one, `corex keys public FILE`")]
    Private,
    /// A client's key was given to a server.
    #[error("it is a public key: the server needs the private one")]
    Public,
    /// It is of another kind, or too short.
    #[error(
        "it is a key of another kind than X25519 or RSA of 2048 to 8192 bits, or not in PKCS#8: make \
         one with `corex keys`, or convert it with `openssl pkcs8 -topk8 -nocrypt`"
    )]
    Kind,
    /// There are no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
}

/// What a server opens enrolments with.
pub struct ServerKey {
    id: u8,
    kind: ServerKind,
}

enum ServerKind {
    Psk(Zeroizing<[u8; 32]>),
    Rsa {
        private: OaepPrivateDecryptingKey,
        /// SubjectPublicKeyInfo (RFC 5280).
        public: Vec<u8>,
    },
    X25519(PrivateKey),
}

impl ServerKey {
    /// Reads one: a private key in PEM (PKCS#8; X25519 or RSA), or 32 bytes that devices share.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(secret: &Secret) -> Result<ServerKey, EnrolmentKeyError> {
        let bytes = secret.bytes();
        let kind = if is_pem(bytes) {
            let der = PrivatePkcs8KeyDer::from_pem_slice(bytes)
                .map_err(|_| wrong_pem(bytes, "PUBLIC KEY", EnrolmentKeyError::Public))?;
            let der = der.secret_pkcs8_der();
            match der.strip_prefix(&X25519_PRIVATE) {
                Some(key) => {
                    let key = PrivateKey::from_bytes(key);
                    ServerKind::X25519(key.map_err(|_| EnrolmentKeyError::Kind)?)
                }
                None => {
                    let key = PrivateDecryptingKey::from_pkcs8(der)
                        .map_err(|_| EnrolmentKeyError::Kind)?;
                    let public: PublicKeyX509Der<'_> = key
                        .public_key()
                        .as_der()
                        .map_err(|_| EnrolmentKeyError::Kind)?;
                    ServerKind::Rsa {
                        public: public.as_ref().to_vec(),
                        private: OaepPrivateDecryptingKey::new(key)
                            .map_err(|_| EnrolmentKeyError::Kind)?,
                    }
                }
            }
        } else {
            let psk = secret.of_32_bytes();
            ServerKind::Psk(psk.ok_or(EnrolmentKeyError::NoServerKey)?)
        };
        Ok(ServerKey {
            id: secret.id(),
            kind,
        })
    }

    /// What enrolments call it.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// What devices need to enrol with it, as a file has it: the public key in PEM; `None` for a
    /// shared secret, which they need itself.
    pub fn public_pem(&self) -> Option<String> {
        let der = match &self.kind {
            ServerKind::Psk(_) => return None,
            ServerKind::X25519(key) => x25519_der(&X25519HkdfSha256::sk_to_pk(key)),
            ServerKind::Rsa { public, .. } => public.clone(),
        };
        Some(pem("PUBLIC KEY", &der))
    }

    /// Opens what was sealed by this method, which must be one of this kind of key.
    pub(super) fn open(
        &self,
        method: Method,
        head: &[u8; HEAD_LEN],
        sealed: &[u8],
    ) -> Result<Body, Fault> {
        match (&self.kind, method) {
            (ServerKind::Psk(secret), Method::Psk) => seal::open_psk(secret, head, sealed),
            (ServerKind::Rsa { private, .. }, Method::RsaOaep) => seal::open_rsa(private, sealed),
            (ServerKind::X25519(key), Method::HpkeChaCha20Poly1305 | Method::HpkeAes256Gcm) => {
                seal::open_hpke(method, key, head, sealed)
            }
            _ => Err(Fault::UnknownKey(self.id)),
        }
    }

    /// Whether it opens what is sealed so.
    pub(super) fn takes(&self, method: Method) -> bool {
        match self.kind {
            ServerKind::Psk(_) => method == Method::Psk,
            ServerKind::Rsa { .. } => method == Method::RsaOaep,
            ServerKind::X25519(_) => {
                matches!(method, Method::HpkeChaCha20Poly1305 | Method::HpkeAes256Gcm)
            }
        }
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ServerKind::Psk(_) => "shared secret",
            ServerKind::Rsa { .. } => "RSA",
            ServerKind::X25519(_) => "X25519",
        };
        write!(f, "ServerKey({}, {kind}, …)", self.id)
    }
}

/// What a device seals its enrolments with.
pub struct EnrolmentKey {
    id: u8,
    kind: EnrolmentKind,
}

enum EnrolmentKind {
    Psk(Zeroizing<[u8; 32]>),
    Rsa(OaepPublicEncryptingKey),
    X25519(PublicKey),
}

impl EnrolmentKey {
    /// Reads one: the server's public key in PEM (X25519 or RSA), or the 32 bytes that it shares with
    /// its devices.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(secret: &Secret) -> Result<EnrolmentKey, EnrolmentKeyError> {
        let bytes = secret.bytes();
        let kind = if is_pem(bytes) {
            let der = SubjectPublicKeyInfoDer::from_pem_slice(bytes)
                .map_err(|_| wrong_pem(bytes, "PRIVATE KEY", EnrolmentKeyError::Private))?;
            match der.strip_prefix(&X25519_PUBLIC) {
                Some(key) => {
                    let key = PublicKey::from_bytes(key);
                    EnrolmentKind::X25519(key.map_err(|_| EnrolmentKeyError::Kind)?)
                }
                None => {
                    let key = PublicEncryptingKey::from_der(&der);
                    let key =
                        OaepPublicEncryptingKey::new(key.map_err(|_| EnrolmentKeyError::Kind)?);
                    EnrolmentKind::Rsa(key.map_err(|_| EnrolmentKeyError::Kind)?)
                }
            }
        } else {
            let psk = secret.of_32_bytes();
            EnrolmentKind::Psk(psk.ok_or(EnrolmentKeyError::NoClientKey)?)
        };
        Ok(EnrolmentKey {
            id: secret.id(),
            kind,
        })
    }

    /// What enrolments call it.
    pub(super) fn id(&self) -> u8 {
        self.id
    }

    /// How it seals: for X25519 with ChaCha20-Poly1305, unless `prefers_aes`.
    pub(super) fn method(&self, prefers_aes: bool) -> Method {
        match self.kind {
            EnrolmentKind::Psk(_) => Method::Psk,
            EnrolmentKind::Rsa(_) => Method::RsaOaep,
            EnrolmentKind::X25519(_) if prefers_aes => Method::HpkeAes256Gcm,
            EnrolmentKind::X25519(_) => Method::HpkeChaCha20Poly1305,
        }
    }

    /// Bytes that [`Self::seal`] makes.
    pub(super) fn sealed_len(&self) -> usize {
        match &self.kind {
            EnrolmentKind::Psk(_) => seal::PSK_LEN,
            EnrolmentKind::Rsa(key) => key.ciphertext_size(),
            EnrolmentKind::X25519(_) => seal::HPKE_LEN,
        }
    }

    pub(super) fn seal(
        &self,
        method: Method,
        head: &[u8; HEAD_LEN],
        body: &Body,
    ) -> Result<Vec<u8>, Fault> {
        match &self.kind {
            EnrolmentKind::Psk(secret) => seal::psk(secret, head, body),
            EnrolmentKind::Rsa(key) => seal::rsa(key, body),
            EnrolmentKind::X25519(key) => match method {
                Method::HpkeAes256Gcm => seal::hpke::<AesGcm256>(key, head, body),
                _ => seal::hpke::<ChaCha20Poly1305>(key, head, body),
            },
        }
    }
}

impl fmt::Debug for EnrolmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolmentKey({}, {:?}, …)", self.id, self.method(false))
    }
}

/// A new key, as files have it.
pub struct Generated {
    /// For the server alone.
    pub private: Zeroizing<String>,
    /// For devices; `None`: they need the same as the server.
    pub public: Option<String>,
}

impl Generated {
    /// A secret that server and devices share, in hexadecimal digits.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn psk() -> Result<Generated, EnrolmentKeyError> {
        let mut secret = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(&mut secret[..])
            .map_err(|_| EnrolmentKeyError::NoRandomness)?;
        Ok(Generated {
            private: Zeroizing::new(HEXLOWER.encode(&secret[..]) + "\n"),
            public: None,
        })
    }

    /// A key pair of X25519, in PEM.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn x25519() -> Result<Generated, EnrolmentKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(&mut seed[..])
            .map_err(|_| EnrolmentKeyError::NoRandomness)?;
        let (private, public) = X25519HkdfSha256::derive_keypair(&seed[..]);
        let mut bytes = private.to_bytes();
        // Room for all of it at once: a vector that grows leaves copies behind.
        let mut der = Zeroizing::new(Vec::with_capacity(X25519_PRIVATE.len() + bytes.len()));
        der.extend_from_slice(&X25519_PRIVATE);
        der.extend_from_slice(&bytes);
        bytes.as_mut_slice().zeroize();
        Ok(Generated {
            private: Zeroizing::new(pem("PRIVATE KEY", &der)),
            public: Some(pem("PUBLIC KEY", &x25519_der(&public))),
        })
    }
}

impl fmt::Debug for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Generated(…)")
    }
}

fn x25519_der(key: &PublicKey) -> Vec<u8> {
    [&X25519_PUBLIC[..], &key.to_bytes()].concat()
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(BASE64.encode(der));
    let mut lines = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines + "-----END " + label + "-----\n"
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN ")
}

/// The other half of a pair, or something else.
fn wrong_pem(bytes: &[u8], other: &str, error: EnrolmentKeyError) -> EnrolmentKeyError {
    let text = String::from_utf8_lossy(bytes);
    let first = text.trim_start().lines().next().unwrap_or_default();
    if first.contains(other) && !first.contains("RSA PRIVATE") {
        error
    } else {
        EnrolmentKeyError::Kind
    }
}
