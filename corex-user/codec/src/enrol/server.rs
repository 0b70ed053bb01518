//! The server's side of enrolment.

use std::fmt;
use std::sync::Arc;

use super::answer::{ANSWER_LEN, Answer};
use super::body::{Body, NONCE_LEN};
use super::keys::ServerKey;
use super::replays::Replays;
use super::{HEAD_LEN, Method};
use crate::codec::Fault;
use crate::device::DeviceKey;
use crate::session::control::ENROLMENT;

/// Opens enrolments. It waits for nothing, but a public-key operation takes up to a millisecond: keep
/// it off the path of messages, and bound how often each source may ask for it.
pub struct Enroller {
    keys: Vec<ServerKey>,
    /// So many seconds may clocks differ.
    clock: u64,
    /// So many seconds are keys valid.
    lifetime: u32,
    replays: Arc<Replays>,
}

/// What stands in front of what is sealed.
pub(super) struct Head<'p> {
    bytes: &'p [u8; HEAD_LEN],
    method: Method,
    key: u8,
    pub sealed: &'p [u8],
}

impl Enroller {
    /// With these keys, of which enrolments name one by its id; clocks may differ by `clock` seconds,
    /// and what is enrolled is valid for `lifetime` seconds. `None` if an id is there twice.
    pub fn new(keys: Vec<ServerKey>, clock: u64, lifetime: u32) -> Option<Enroller> {
        Self::with_replays(keys, clock, lifetime, Replays::of_process())
    }

    pub(super) fn with_replays(
        keys: Vec<ServerKey>,
        clock: u64,
        lifetime: u32,
        replays: Arc<Replays>,
    ) -> Option<Enroller> {
        let is_once = |key: &ServerKey| keys.iter().filter(|it| it.id() == key.id()).count() == 1;
        keys.iter().all(is_once).then_some(Enroller {
            keys,
            clock,
            lifetime,
            replays,
        })
    }

    /// Looks at what needs no key: whether it may be worth the work of [`Self::open`].
    ///
    /// # Errors
    /// When it is no enrolment, or for a key that isn't here.
    pub fn check(&self, packet: &[u8]) -> Result<(), Fault> {
        self.find(&Head::read(packet)?).map(|_| ())
    }

    /// Opens an enrolment that was received at `now` (seconds since 1970).
    ///
    /// # Errors
    /// When it is none, isn't for these keys, isn't authentic, or isn't new.
    pub fn open(&self, packet: &[u8], now: u64) -> Result<Enrolled, Fault> {
        let enrolled = self.look(packet, now)?;
        let fields = enrolled.body.fields(enrolled.method)?;
        if fields.time.abs_diff(now) > self.clock {
            return Err(Fault::Stale);
        }
        let stale = now.saturating_sub(self.clock);
        self.replays.take(fields.nonce, fields.time, stale)?;
        Ok(enrolled)
    }

    /// Opens one of a capture: it may be as old as it likes, and be opened as often as somebody
    /// looks. Its key is nothing to accept messages with.
    ///
    /// # Errors
    /// When it is none, isn't for these keys, or isn't authentic.
    pub fn look(&self, packet: &[u8], now: u64) -> Result<Enrolled, Fault> {
        let head = Head::read(packet)?;
        let key = self.find(&head)?;
        let body = key.open(head.method, head.bytes, head.sealed)?;
        let fields = body.fields(head.method)?;
        let expires = now.saturating_add(u64::from(self.lifetime));
        Ok(Enrolled {
            key: DeviceKey::new(fields.id, fields.generation, fields.key, expires),
            nonce: *fields.nonce,
            method: head.method,
            lifetime: self.lifetime,
            message: HEAD_LEN + head.sealed.len(),
            body,
        })
    }

    fn find(&self, head: &Head<'_>) -> Result<&ServerKey, Fault> {
        let mut keys = self.keys.iter();
        keys.find(|key| key.id() == head.key && key.takes(head.method))
            .ok_or(Fault::UnknownKey(head.key))
    }
}

impl<'p> Head<'p> {
    pub fn read(packet: &'p [u8]) -> Result<Head<'p>, Fault> {
        match packet.first() {
            None => return Err(Fault::Malformed),
            Some(&ENROLMENT) => {}
            Some(&other) => return Err(Fault::UnknownVersion(other)),
        }
        let (bytes, rest) = packet.split_first_chunk().ok_or(Fault::Malformed)?;
        let [_, method, key, high, low] = *bytes;
        let len = usize::from(u16::from_be_bytes([high, low]));
        Ok(Head {
            bytes,
            method: Method::from_number(method).ok_or(Fault::Malformed)?,
            key,
            sealed: rest.get(..len).ok_or(Fault::Malformed)?,
        })
    }
}

impl fmt::Debug for Enroller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enroller({:?}, {} s)", self.keys, self.lifetime)
    }
}

/// A device's new key. It isn't valid before somebody keeps it: who has another valid key of the same
/// device first asks [`Self::is_proven_by`]; else anybody could take a device's id.
pub struct Enrolled {
    key: DeviceKey,
    nonce: [u8; NONCE_LEN],
    method: Method,
    lifetime: u32,
    /// Where the message begins that came with it.
    message: usize,
    body: Body,
}

impl Enrolled {
    /// The key.
    pub fn key(&self) -> &DeviceKey {
        &self.key
    }

    /// The key, to be kept.
    pub fn into_key(self) -> DeviceKey {
        self.key
    }

    /// How it was sealed.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Whether the device that enrols has this key, or brings the same again.
    pub fn is_proven_by(&self, current: &DeviceKey) -> bool {
        self.body.is_proven_by(current) || self.is_same(current)
    }

    fn is_same(&self, current: &DeviceKey) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.key.secret(), current.secret())
            .is_ok()
    }

    /// What to answer once it is kept, or won't be; through [`crate::Chain::encode_control`].
    ///
    /// # Errors
    /// When there is no memory.
    pub fn answer(&self, is_kept: bool) -> Result<[u8; ANSWER_LEN], Fault> {
        let answer = if is_kept {
            Answer::Accepted {
                seconds: self.lifetime,
            }
        } else {
            Answer::Taken
        };
        let bytes = answer.to_bytes(&self.nonce, self.key.secret());
        bytes.ok_or(Fault::Unmade)
    }

    /// The message that came with it, sealed with the new key; empty if there is none.
    /// [`crate::Chain::decode_rest`] decodes it once the key is kept.
    pub fn message<'p>(&self, packet: &'p [u8]) -> &'p [u8] {
        packet.get(self.message..).unwrap_or_default()
    }
}

impl fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enrolled({:?}, {:?})", self.key, self.method)
    }
}
