//! What messages are sealed in: sessions. A sender draws one, a random number and the time, and counts
//! its messages in it; each session and direction has a key of its own, derived by HKDF-SHA256 (RFC
//! 5869), so that a counter that begins at 0 is a nonce that never comes twice. A receiver keeps a
//! window of counters for each.

pub(crate) mod control;
mod window;

use std::sync::Mutex;

use ring::aead::{AES_256_GCM, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

pub(crate) use self::window::Window;
use crate::codec::{Fault, Role};

/// The first byte of a message that names its device: this format, version 1.
pub(crate) const BY_ID: u8 = 0xc2;
/// That of one whose address tells the device.
pub(crate) const BY_ADDRESS: u8 = 0xc6;
/// A session's name: when it began, and random bytes.
pub(crate) const SESSION_LEN: usize = 10;
/// Bytes of what proves a message.
pub(crate) const TAG_LEN: usize = 16;
/// For so many seconds a sender uses a session.
pub const SESSION_SECONDS: u64 = 300;

/// Towards whom a message goes; part of what is authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Towards {
    Server = 0,
    Client = 1,
}

impl Towards {
    /// Where those in this role send to.
    pub fn from(role: Role) -> Towards {
        match role {
            Role::Server => Towards::Client,
            Role::Client => Towards::Server,
        }
    }
}

/// Which cipher.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Cipher {
    Aes256Gcm = 1,
    ChaCha20Poly1305 = 2,
}

impl Cipher {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Cipher::Aes256Gcm => &AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

/// What a sender calls its session: when it began (seconds since 1970, 32 bits, big endian), and
/// random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SessionName([u8; SESSION_LEN]);

impl SessionName {
    pub fn new(began: u64, random: [u8; SESSION_LEN - 4]) -> SessionName {
        let mut name = [0; SESSION_LEN];
        let (time, rest) = name.split_at_mut(4);
        // 32 bits last until 2106.
        time.copy_from_slice(&(began as u32).to_be_bytes());
        rest.copy_from_slice(&random);
        SessionName(name)
    }

    /// One that nobody has had.
    pub fn draw(now: u64, random: &SystemRandom) -> Result<SessionName, Fault> {
        let mut drawn = [0; SESSION_LEN - 4];
        random.fill(&mut drawn).map_err(|_| Fault::NoRandomness)?;
        Ok(SessionName::new(now, drawn))
    }

    pub fn from_bytes(bytes: [u8; SESSION_LEN]) -> SessionName {
        SessionName(bytes)
    }

    pub fn bytes(&self) -> &[u8; SESSION_LEN] {
        &self.0
    }

    pub fn began(&self) -> u64 {
        let [a, b, c, d, ..] = self.0;
        u64::from(u32::from_be_bytes([a, b, c, d]))
    }

    /// Whether a sender still uses it.
    pub fn is_current(&self, now: u64) -> bool {
        (self.began()..self.began() + SESSION_SECONDS).contains(&now)
    }

    /// Refuses one that began more than `clock` seconds in the future, or so long ago that its end
    /// is.
    pub fn check_age(&self, now: u64, clock: u64) -> Result<(), Fault> {
        let began = self.began();
        if began > now + clock || now > began + SESSION_SECONDS + clock {
            return Err(Fault::Stale);
        }
        Ok(())
    }
}

/// A session that messages came in.
pub(crate) struct Session {
    pub key: LessSafeKey,
    pub window: Mutex<Window>,
}

impl Session {
    pub fn new(key: LessSafeKey) -> Session {
        Session {
            key,
            window: Mutex::new(Window::new()),
        }
    }
}

/// A key for a purpose, which `info` names, of one session.
pub(crate) fn derive(
    key: &[u8; 32],
    cipher: Cipher,
    session: &SessionName,
    info: &[&[u8]],
) -> Option<LessSafeKey> {
    let secret = Salt::new(HKDF_SHA256, session.bytes()).extract(key);
    let derived = secret.expand(info, cipher.algorithm()).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(derived)))
}

/// That of a session's message of this number.
pub(crate) fn nonce(counter: u32) -> Nonce {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
