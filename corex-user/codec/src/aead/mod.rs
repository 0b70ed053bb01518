//! Authenticated encryption: AES-256-GCM (NIST SP 800-38D) or ChaCha20-Poly1305 (RFC 8439), by
//! ring.
//!
//! docs/codecs.md has the format byte for byte. In short: a sender draws a session, a random number
//! and the time, and counts messages in it; each session and direction has a key of its own, derived
//! by HKDF-SHA256 (RFC 5869), so that a counter that begins at 0 is a nonce that never comes twice. A
//! receiver keeps a window of counters for each session. Sessions end after
//! [`SESSION_SECONDS`], and what is older than that, and than clocks may differ, is refused: so
//! nothing is accepted twice, although what was received is forgotten in the end.

mod device;
mod received;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ring::aead::{Aad, LessSafeKey};
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use self::device::{By, DeviceAead};
pub use self::received::MAX_SESSIONS;
use self::received::{Place, Received};
use crate::codec::{Codec, Fault, Role};
use crate::keys::{DEVICE, Keys};
use crate::link::{Arguments, CodecDef, Materials, Mistake, Recipe, Word};
use crate::session::{
    Cipher, SESSION_LEN, SESSION_SECONDS, Session, SessionName, TAG_LEN, Towards, derive, nonce,
};

pub(crate) const CODEC: CodecDef = CodecDef {
    name: "aead",
    form: "aead(chacha20-poly1305, key=NAME) or aead(aes-256-gcm, key=NAME), and clock=SECONDS; \
           key=device, and then also by=id or by=address",
    doc: "Encryption that proves who made a message. Each message is 32 bytes longer. `clock`: so \
          many seconds may the clocks of both sides differ, 300 by default. With `key=device` each \
          device has a key of its own, which it brings when it enrols; `by`: its messages name it, \
          16 bytes more, or its address tells it.",
    is_bare: false,
    read,
};

/// The first byte of a message: this format, version 1. No SIP message begins so.
const VERSION: u8 = 0xc1;
/// Version, key id, session, counter.
const HEAD_LEN: usize = 2 + SESSION_LEN + 4;
/// By default clocks may differ by so many seconds.
const CLOCK: i64 = 300;

struct AeadRecipe {
    cipher: Cipher,
    key: Word,
    clock: u64,
    /// With the key of the device: what tells which it is.
    by_device: Option<By>,
}

fn read(arguments: &mut Arguments<'_>) -> Result<Box<dyn Recipe>, Mistake> {
    let cipher = match arguments.next_plain() {
        Some(word) => match word.text.as_str() {
            "aes-256-gcm" => Cipher::Aes256Gcm,
            "chacha20-poly1305" => Cipher::ChaCha20Poly1305,
            _ => return Err(arguments.unfit(&word)),
        },
        None => return Err(arguments.missing("a cipher")),
    };
    let key = arguments.named("key");
    let key = key.ok_or_else(|| arguments.missing("a key"))?;
    let clock = arguments.number("clock", 0..86_401)?.unwrap_or(CLOCK);
    let by_device = if key.text == DEVICE {
        let by = arguments.named("by");
        Some(match by.as_ref().map(|word| (word, word.text.as_str())) {
            None | Some((_, "id")) => By::Id,
            Some((_, "address")) => By::Address,
            Some((word, _)) => return Err(arguments.unfit(word)),
        })
    } else {
        None
    };
    Ok(Box::new(AeadRecipe {
        cipher,
        key,
        clock: clock.unsigned_abs(),
        by_device,
    }))
}

impl Recipe for AeadRecipe {
    fn make(&self, role: Role, materials: &dyn Materials) -> Result<Box<dyn Codec>, Mistake> {
        if let Some(by) = self.by_device {
            let devices = materials.devices().ok_or_else(|| {
                Mistake::new(
                    self.key.at.clone(),
                    "there is no keystore, and so no key of devices",
                    "add the line: modparam(\"codec\", \"keystore\", \"memory\")",
                )
            })?;
            let codec = DeviceAead::new(devices, by, self.cipher, role, self.clock);
            return Ok(Box::new(codec));
        }
        let source = Keys::find(materials, &self.key)?;
        let mut keys = Vec::new();
        for key in source.all() {
            let Some(secret) = key.of_32_bytes() else {
                return Err(Mistake::new(
                    self.key.at.clone(),
                    format!(
                        "key {} of `{}` isn't 32 bytes, plain, in hexadecimal digits or in base64",
                        key.id, self.key.text
                    ),
                    "make one: openssl rand -hex 32",
                ));
            };
            keys.push(SessionSource {
                id: key.id,
                received: Received::of(&secret),
                secret,
            });
        }
        Ok(Box::new(Aead::new(
            source,
            keys,
            self.cipher,
            role,
            self.clock,
        )))
    }

    fn is_by_device(&self) -> bool {
        self.by_device.is_some()
    }
}

/// A key that those of sessions are derived from.
struct SessionSource {
    id: u8,
    secret: Zeroizing<[u8; 32]>,
    /// Shared by all that hold the same key in this process: so what one configuration received,
    /// the next one knows.
    received: Arc<Received>,
}

struct Aead {
    /// Has the clock.
    source: Arc<Keys>,
    /// The first one encodes.
    keys: Vec<SessionSource>,
    cipher: Cipher,
    role: Role,
    clock: u64,
    sending: Option<Sending>,
    random: SystemRandom,
}

/// A session that this worker sends in. No other worker has the same.
struct Sending {
    /// The key's.
    id: u8,
    name: SessionName,
    key: LessSafeKey,
    /// The next message's.
    counter: u32,
}

impl Sending {
    fn is_good(&self, now: u64) -> bool {
        self.counter < u32::MAX && self.name.is_current(now)
    }
}

impl Aead {
    fn new(
        source: Arc<Keys>,
        keys: Vec<SessionSource>,
        cipher: Cipher,
        role: Role,
        clock: u64,
    ) -> Aead {
        Aead {
            source,
            keys,
            cipher,
            role,
            clock,
            sending: None,
            random: SystemRandom::new(),
        }
    }

    /// The session to send in.
    fn sending(&mut self) -> Result<&mut Sending, Fault> {
        let now = self.source.now();
        if !self.sending.as_ref().is_some_and(|it| it.is_good(now)) {
            let name = SessionName::draw(now, &self.random)?;
            let towards = Towards::from(self.role);
            let source = self.keys.first().ok_or(Fault::Unmade)?;
            let key = session_key(&source.secret, self.cipher, towards, &name);
            self.sending = Some(Sending {
                id: source.id,
                name,
                key: key.ok_or(Fault::Unmade)?,
                counter: 0,
            });
        }
        self.sending.as_mut().ok_or(Fault::NoRandomness)
    }
}

/// The key of one session in one direction.
fn session_key(
    key: &[u8; 32],
    cipher: Cipher,
    towards: Towards,
    name: &SessionName,
) -> Option<LessSafeKey> {
    let info = [&b"corex aead 1"[..], &[cipher as u8, towards as u8]];
    derive(key, cipher, name, &info)
}

/// What is authenticated beside the message: its head, and towards whom it goes.
fn associated(head: &[u8; HEAD_LEN], towards: Towards) -> Aad<[u8; HEAD_LEN + 1]> {
    let mut data = [0; HEAD_LEN + 1];
    data[..HEAD_LEN].copy_from_slice(head);
    data[HEAD_LEN] = towards as u8;
    Aad::from(data)
}

impl Codec for Aead {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        if input.len() + HEAD_LEN + TAG_LEN > max {
            return Err(Fault::TooLong(max));
        }
        let towards = Towards::from(self.role);
        let sending = self.sending()?;
        let counter = sending.counter;
        // A session is good for fewer messages than there are counters.
        sending.counter += 1;
        let mut head = [0; HEAD_LEN];
        head[0] = VERSION;
        head[1] = sending.id;
        head[2..2 + SESSION_LEN].copy_from_slice(sending.name.bytes());
        head[2 + SESSION_LEN..].copy_from_slice(&counter.to_be_bytes());
        out.extend_from_slice(&head);
        let start = out.len();
        out.extend_from_slice(input);
        let text = out.get_mut(start..).unwrap_or_default();
        let tag = sending
            .key
            .seal_in_place_separate_tag(nonce(counter), associated(&head, towards), text)
            .map_err(|_| Fault::TooLong(max))?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        match input.first() {
            None => return Err(Fault::Malformed),
            Some(&VERSION) => {}
            Some(&other) => return Err(Fault::UnknownVersion(other)),
        }
        let (head, sealed) = input
            .split_first_chunk::<HEAD_LEN>()
            .ok_or(Fault::Malformed)?;
        let len = sealed.len().checked_sub(TAG_LEN).ok_or(Fault::Malformed)?;
        if len > max {
            return Err(Fault::TooLong(max));
        }
        let [_, id, rest @ ..] = head;
        let (name, counter) = rest.split_first_chunk().ok_or(Fault::Malformed)?;
        let name = SessionName::from_bytes(*name);
        let counter = u32::from_be_bytes(counter.try_into().map_err(|_| Fault::Malformed)?);
        let key = self.keys.iter().find(|key| key.id == *id);
        let key = key.ok_or(Fault::UnknownKey(*id))?;
        let now = self.source.now();
        let judges_age = self.source.judges_age();
        if judges_age {
            name.check_age(now, self.clock)?;
        }
        // What the other side sends goes towards us.
        let towards = Towards::from(self.role.other());
        let place = Place {
            cipher: self.cipher,
            towards,
            name,
        };
        let known = if judges_age {
            key.received.session(&place)?
        } else {
            None
        };
        let session = match known {
            Some(known) => known,
            None => {
                let derived = session_key(&key.secret, self.cipher, towards, &name);
                Arc::new(Session::new(derived.ok_or(Fault::Unmade)?))
            }
        };
        let start = out.len();
        out.extend_from_slice(sealed);
        let text = out.get_mut(start..).unwrap_or_default();
        let opened = session
            .key
            .open_in_place(nonce(counter), associated(head, towards), text);
        // ring compares tags in constant time.
        let opened = opened.map_err(|_| Fault::NotAuthentic)?.len();
        out.truncate(start + opened);
        if !judges_age {
            return Ok(());
        }
        // Only now: a forged counter must move no window, and a forged session take no room.
        let expired = now.saturating_sub(SESSION_SECONDS + self.clock);
        key.received.accept(place, session, counter, expired)
    }
}
