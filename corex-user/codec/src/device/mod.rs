//! Devices with keys of their own: what `key=device` of a chain stands for.
//!
//! A device has an id, a UUID that it draws, and a key that it draws as well and brings with it when
//! it enrols. A [`DeviceKey`] is one of its keys: while it changes from one to the next, two of them
//! are valid, told apart by their generation. Whoever keeps them, a store, answers [`Devices`];
//! nothing here asks a network, or waits.

mod sessions;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

pub(crate) use self::sessions::Place;
use self::sessions::Sessions;
pub use self::sessions::{MAX_DEVICE_SESSIONS, MAX_DEVICES};
use crate::codec::Fault;

/// What a device is called: a UUID (RFC 9562). Messages name it in the clear: a device that doesn't
/// want to be recognised draws another one whenever it enrols.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId([u8; DeviceId::LEN]);

/// That a text is no UUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is no UUID, as in 0b5f3a52-6f0e-4c2e-9d0a-3a1c5e7b9d11")]
pub struct DeviceIdError;

impl DeviceId {
    /// Its bytes.
    pub const LEN: usize = 16;

    /// That of these bytes, in the order of the text.
    pub const fn from_bytes(bytes: [u8; DeviceId::LEN]) -> DeviceId {
        DeviceId(bytes)
    }

    /// Its bytes, in the order of the text.
    pub const fn as_bytes(&self) -> &[u8; DeviceId::LEN] {
        &self.0
    }

    /// A new one, of version 4: random.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn random() -> Result<DeviceId, Fault> {
        let mut bytes = [0; DeviceId::LEN];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Fault::NoRandomness)?;
        // RFC 9562 §5.4: the version, and the variant.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(DeviceId(bytes))
    }
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    /// Reads 8-4-4-4-12 hexadecimal digits, of either case.
    fn from_str(text: &str) -> Result<DeviceId, DeviceIdError> {
        let mut groups = text.split('-');
        let mut digits = [0; 2 * DeviceId::LEN];
        let mut at = 0;
        for len in [8, 4, 4, 4, 12] {
            let group = groups.next().filter(|group| group.len() == len);
            let group = group.ok_or(DeviceIdError)?;
            let room = digits.get_mut(at..at + len).ok_or(DeviceIdError)?;
            room.copy_from_slice(group.as_bytes());
            at += len;
        }
        let mut bytes = [0; DeviceId::LEN];
        let read = HEXLOWER_PERMISSIVE.decode_mut(&digits, &mut bytes);
        match (groups.next(), read) {
            (None, Ok(_)) => Ok(DeviceId(bytes)),
            _ => Err(DeviceIdError),
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &self.0[..];
        for (at, len) in [4, 2, 2, 2, 6].into_iter().enumerate() {
            let (group, after) = rest.split_at(len);
            let dash = if at == 0 { "" } else { "-" };
            write!(f, "{dash}{}", HEXLOWER.encode(group))?;
            rest = after;
        }
        Ok(())
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({self})")
    }
}

/// One key of a device. What was received and sent under it is kept beside it: two of the same device,
/// generation and bytes share that within a process, so a store may drop one and read it again.
pub struct DeviceKey {
    id: DeviceId,
    generation: u8,
    expires: u64,
    secret: Zeroizing<[u8; 32]>,
    sessions: Arc<Sessions>,
}

impl DeviceKey {
    /// One of these bytes, that is valid until `expires` (seconds since 1970). The generation tells
    /// it from the device's previous and next one.
    pub fn new(id: DeviceId, generation: u8, secret: &[u8; 32], expires: u64) -> DeviceKey {
        DeviceKey {
            id,
            generation,
            expires,
            secret: Zeroizing::new(*secret),
            sessions: Sessions::of(&id, generation, secret),
        }
    }

    /// Whose it is.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// Which of the device's keys.
    pub fn generation(&self) -> u8 {
        self.generation
    }

    /// When it ends, in seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// Whether it has ended.
    pub fn is_expired(&self, now: u64) -> bool {
        now >= self.expires
    }

    /// The key itself, for a store to keep where only it can read it.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// What was received and sent under it.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeviceKey {
            id,
            generation,
            expires,
            ..
        } = self;
        write!(f, "DeviceKey({id}, {generation}, until {expires}, …)")
    }
}

/// What a store says of a device's key.
#[derive(Clone, Debug)]
pub enum Found {
    /// Here it is.
    Key(Arc<DeviceKey>),
    /// The store has asked for it: ask again.
    Pending,
    /// There is none.
    Unknown,
}

/// Keeps the keys of devices, for all workers. Nothing here may wait: what must be asked for is
/// [`Found::Pending`] until the answer is there.
pub trait Devices: Send + Sync {
    /// The key of this device and generation: messages name both.
    fn by_id(&self, id: &DeviceId, generation: u8) -> Found;

    /// The key of this generation of the device at this address; `None`: the one to send to it with,
    /// its newest.
    fn by_peer(&self, peer: SocketAddr, generation: Option<u8>) -> Found;

    /// An authentic message was received under this key from this address, newer than all before it:
    /// so that is where the device is now. Called for each such message: compare before you lock.
    fn seen(&self, key: &Arc<DeviceKey>, peer: SocketAddr);

    /// Whether what is old, or was received before, is refused. Not by who looks at captures; never
    /// false for a receiver, who would take a replay for new.
    fn judges_age(&self) -> bool {
        true
    }

    /// Seconds since 1970.
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }
}
