//! Messages sealed with the key of the device at the other side.
//!
//! docs/enrolment.md has the format byte for byte. It is that of the codec's other messages, but for
//! whom the key is found by: the device's id in the message, or the address that it is from.

use std::net::SocketAddr;
use std::sync::Arc;

use ring::aead::{Aad, LessSafeKey};
use ring::rand::SystemRandom;

use crate::codec::{Codec, Fault, Role};
use crate::device::{DeviceId, DeviceKey, Devices, Found, Place};
use crate::session::{
    BY_ADDRESS, BY_ID, Cipher, SESSION_LEN, Session, SessionName, TAG_LEN, Towards, control,
    derive, nonce,
};

/// Version and id; generation, session and counter follow.
const ID_END: usize = 1 + DeviceId::LEN;
/// Generation, session, counter.
const REST_LEN: usize = 1 + SESSION_LEN + 4;
/// The longest head.
const MAX_HEAD: usize = ID_END + REST_LEN;

/// What the device is told by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    Id,
    Address,
}

pub(super) struct DeviceAead {
    devices: Arc<dyn Devices>,
    by: By,
    cipher: Cipher,
    role: Role,
    clock: u64,
    peer: Option<SocketAddr>,
    random: SystemRandom,
}

impl DeviceAead {
    pub fn new(
        devices: Arc<dyn Devices>,
        by: By,
        cipher: Cipher,
        role: Role,
        clock: u64,
    ) -> DeviceAead {
        DeviceAead {
            devices,
            by,
            cipher,
            role,
            clock,
            peer: None,
            random: SystemRandom::new(),
        }
    }

    /// The key that a store has found, unless it can't be used.
    fn usable(found: Found, now: u64) -> Result<Arc<DeviceKey>, Fault> {
        match found {
            Found::Key(key) if key.is_expired(now) => Err(Fault::KeyExpired),
            Found::Key(key) => Ok(key),
            Found::Pending => Err(Fault::KeyPending),
            Found::Unknown => Err(Fault::UnknownDevice),
        }
    }

    fn version(&self) -> u8 {
        match self.by {
            By::Id => BY_ID,
            By::Address => BY_ADDRESS,
        }
    }
}

/// The key of one session of a device in one direction.
pub(super) fn session_key(
    key: &DeviceKey,
    cipher: Cipher,
    towards: Towards,
    name: &SessionName,
) -> Option<LessSafeKey> {
    let id = key.id();
    let info = [
        &b"corex device 1"[..],
        &[cipher as u8, towards as u8, key.generation()],
        id.as_bytes(),
    ];
    derive(key.secret(), cipher, name, &info)
}

/// What is authenticated beside the message: its head, and towards whom it goes. The key is the
/// device's alone.
fn associated(head: &[u8], towards: Towards) -> Aad<Associated> {
    let mut data = Associated {
        bytes: [0; MAX_HEAD + 1],
        len: head.len() + 1,
    };
    for (to, from) in data.bytes.iter_mut().zip(head) {
        *to = *from;
    }
    if let Some(last) = data.bytes.get_mut(head.len()) {
        *last = towards as u8;
    }
    Aad::from(data)
}

struct Associated {
    bytes: [u8; MAX_HEAD + 1],
    len: usize,
}

impl AsRef<[u8]> for Associated {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Codec for DeviceAead {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let now = self.devices.now();
        let peer = self.peer.ok_or(Fault::UnknownDevice)?;
        let key = Self::usable(self.devices.by_peer(peer, None), now)?;
        let head_len = match self.by {
            By::Id => ID_END + REST_LEN,
            By::Address => 1 + REST_LEN,
        };
        if input.len() + head_len + TAG_LEN > max {
            return Err(Fault::TooLong(max));
        }
        let towards = Towards::from(self.role);
        let cipher = self.cipher;
        let sealing = key
            .sessions()
            .sealing(cipher, towards, now, &self.random, |name| {
                session_key(&key, cipher, towards, name)
            })?;
        let start = out.len();
        out.push(self.version());
        if self.by == By::Id {
            out.extend_from_slice(key.id().as_bytes());
        }
        out.push(key.generation());
        out.extend_from_slice(sealing.name.bytes());
        out.extend_from_slice(&sealing.counter.to_be_bytes());
        let text = out.len();
        let data = associated(out.get(start..text).unwrap_or_default(), towards);
        out.extend_from_slice(input);
        let tag = sealing
            .key
            .seal_in_place_separate_tag(
                nonce(sealing.counter),
                data,
                out.get_mut(text..).unwrap_or_default(),
            )
            .map_err(|_| Fault::TooLong(max))?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let (&first, rest) = input.split_first().ok_or(Fault::Malformed)?;
        if first != self.version() {
            return Err(if control::is_for(self.role, first) {
                Fault::Enrolment
            } else {
                Fault::UnknownVersion(first)
            });
        }
        let (id, rest) = match self.by {
            By::Id => {
                let (id, rest) = rest.split_first_chunk().ok_or(Fault::Malformed)?;
                (Some(DeviceId::from_bytes(*id)), rest)
            }
            By::Address => (None, rest),
        };
        let (&generation, rest) = rest.split_first().ok_or(Fault::Malformed)?;
        let (name, rest) = rest.split_first_chunk().ok_or(Fault::Malformed)?;
        let (counter, sealed) = rest.split_first_chunk().ok_or(Fault::Malformed)?;
        let len = sealed.len().checked_sub(TAG_LEN).ok_or(Fault::Malformed)?;
        if len > max {
            return Err(Fault::TooLong(max));
        }
        let head = input.get(..input.len() - sealed.len()).unwrap_or_default();
        let name = SessionName::from_bytes(*name);
        let counter = u32::from_be_bytes(*counter);
        let now = self.devices.now();
        let judges_age = self.devices.judges_age();
        if judges_age {
            // First: nobody is asked about what is refused anyway.
            name.check_age(now, self.clock)?;
        }
        let found = match (id, self.peer) {
            (Some(id), _) => self.devices.by_id(&id, generation),
            (None, Some(peer)) => self.devices.by_peer(peer, Some(generation)),
            (None, None) => Found::Unknown,
        };
        let key = Self::usable(found, now)?;
        if key.generation() != generation || id.is_some_and(|id| key.id() != id) {
            return Err(Fault::UnknownDevice);
        }
        // What the other side sends goes towards us.
        let towards = Towards::from(self.role.other());
        let place = Place {
            cipher: self.cipher,
            towards,
            name,
        };
        let known = if judges_age {
            key.sessions().session(&place)?
        } else {
            None
        };
        let session = match known {
            Some(known) => known,
            None => {
                let derived = session_key(&key, self.cipher, towards, &name);
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
        let is_newest = key
            .sessions()
            .accept(place, session, counter, now, self.clock)?;
        if let (true, Some(peer)) = (is_newest, self.peer) {
            self.devices.seen(&key, peer);
        }
        Ok(())
    }

    fn set_peer(&mut self, peer: Option<SocketAddr>) {
        self.peer = peer;
    }
}
