//! What stands in a store that instances share: the format of its entries, version 1. docs/codecs.md
//! specifies it byte for byte.
//!
//! Sealed, an entry can be read and made only by who has the fleet's key, and stands for nothing
//! under another name than its own.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use corex_codec::{DeviceId, DeviceKey};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

/// An entry's first two bytes.
const MAGIC: [u8; 2] = *b"cK";
/// The format's version.
const VERSION: u8 = 1;
/// The byte behind it: the rest is as it is.
const PLAIN: u8 = 0;
/// Or it is sealed.
const SEALED: u8 = 1;

/// Bytes of a key in the store.
const KEY_LEN: usize = 32;
/// A device's entry: when it enrolled, when that ends (seconds since 1970), its key.
const SESSION_LEN: usize = 8 + 8 + KEY_LEN;

/// The most bytes that an entry has; what is longer isn't ours.
pub const MAX_RECORD: usize = 256;

/// Which key: a device's, and the generation, which tells its keys apart.
pub type KeyName = (DeviceId, u8);

/// The store's name for the entry of a device's key.
pub fn key_name((id, generation): &KeyName) -> String {
    format!("corex:1:key:{id}:{generation}")
}

/// The store's name for the entry that says which device has an address, with which key.
pub fn peer_name(peer: SocketAddr) -> String {
    // A scope is one of this host.
    let ip: IpAddr = peer.ip().to_canonical();
    format!("corex:1:peer:{}", SocketAddr::new(ip, peer.port()))
}

/// The store's name for the entry that says which is a device's newest key.
pub fn device_name(id: &DeviceId) -> String {
    format!("corex:1:device:{id}")
}

/// What a device enrolled with.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// When, in seconds since 1970.
    pub since: u64,
    /// The key, which knows when it ends.
    pub key: Arc<DeviceKey>,
}

/// Why an entry can't be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// It is none of ours, of another version, or damaged.
    #[error("it isn't of a format that is known here")]
    Malformed,
    /// It is sealed, and no key was given, or not that one; or it was put under another name.
    #[error("it is sealed with another key, or was changed")]
    NotAuthentic,
    /// It isn't sealed, and must be.
    #[error("it isn't sealed, and keystore_key is set")]
    NotSealed,
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
}

/// Makes entries and reads them.
pub struct Records {
    /// The keys of the fleet: the first seals, all open. None: entries are plain.
    seals: Vec<(u8, LessSafeKey)>,
    random: SystemRandom,
}

impl Records {
    /// Entries sealed with the first of these keys, or plain without any.
    pub fn new(keys: &[(u8, Zeroizing<[u8; KEY_LEN]>)]) -> Records {
        let seals = keys.iter().filter_map(|(id, key)| {
            // It fails for keys of another length only.
            let key = UnboundKey::new(&AES_256_GCM, &key[..]).ok()?;
            Some((*id, LessSafeKey::new(key)))
        });
        Records {
            seals: seals.collect(),
            random: SystemRandom::new(),
        }
    }

    /// The entry of a device's key.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn key(&self, stored: &StoredKey) -> Result<Vec<u8>, RecordError> {
        let StoredKey { since, key } = stored;
        let mut content = Zeroizing::new(Vec::with_capacity(SESSION_LEN));
        content.extend_from_slice(&since.to_be_bytes());
        content.extend_from_slice(&key.expires().to_be_bytes());
        content.extend_from_slice(key.secret());
        self.seal(&key_name(&(key.id(), key.generation())), &content)
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn read_key(&self, name: &KeyName, entry: &[u8]) -> Result<StoredKey, RecordError> {
        let content = self.open(&key_name(name), entry)?;
        let (since, rest) = content.split_first_chunk().ok_or(RecordError::Malformed)?;
        let (expires, rest) = rest.split_first_chunk().ok_or(RecordError::Malformed)?;
        let secret: &[u8; KEY_LEN] = rest.try_into().map_err(|_| RecordError::Malformed)?;
        let (id, generation) = *name;
        let expires = u64::from_be_bytes(*expires);
        Ok(StoredKey {
            since: u64::from_be_bytes(*since),
            key: Arc::new(DeviceKey::new(id, generation, secret, expires)),
        })
    }

    /// The entry of an address: which device has it, and the newest key that came from there.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub fn peer(&self, peer: SocketAddr, name: &KeyName) -> Result<Vec<u8>, RecordError> {
        let (id, generation) = name;
        let mut content = id.as_bytes().to_vec();
        content.push(*generation);
        self.seal(&peer_name(peer), &content)
    }

    /// Reads one.
    ///
    /// # Errors
    /// As [`Self::read_key`].
    pub fn read_peer(&self, peer: SocketAddr, entry: &[u8]) -> Result<KeyName, RecordError> {
        let content = self.open(&peer_name(peer), entry)?;
        match content.split_first_chunk() {
            Some((id, [generation])) => Ok((DeviceId::from_bytes(*id), *generation)),
            _ => Err(RecordError::Malformed),
        }
    }

    /// The entry of a device: which is its newest key.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub fn device(&self, (id, generation): &KeyName) -> Result<Vec<u8>, RecordError> {
        self.seal(&device_name(id), &[*generation])
    }

    /// Reads one.
    ///
    /// # Errors
    /// As [`Self::read_key`].
    pub fn read_device(&self, id: &DeviceId, entry: &[u8]) -> Result<KeyName, RecordError> {
        match self.open(&device_name(id), entry)?[..] {
            [generation] => Ok((*id, generation)),
            _ => Err(RecordError::Malformed),
        }
    }

    fn seal(&self, name: &str, content: &[u8]) -> Result<Vec<u8>, RecordError> {
        let mut entry = Vec::with_capacity(MAX_RECORD);
        entry.extend_from_slice(&MAGIC);
        entry.push(VERSION);
        let Some((id, key)) = self.seals.first() else {
            entry.push(PLAIN);
            entry.extend_from_slice(content);
            return Ok(entry);
        };
        entry.extend_from_slice(&[SEALED, *id]);
        let mut nonce = [0; NONCE_LEN];
        let filled = self.random.fill(&mut nonce);
        filled.map_err(|_| RecordError::NoRandomness)?;
        entry.extend_from_slice(&nonce);
        let start = entry.len();
        entry.extend_from_slice(content);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(
            nonce,
            Aad::from(name.as_bytes()),
            entry.get_mut(start..).unwrap_or_default(),
        );
        let tag = tag.map_err(|_| RecordError::Malformed)?;
        entry.extend_from_slice(tag.as_ref());
        Ok(entry)
    }

    fn open(&self, name: &str, entry: &[u8]) -> Result<Zeroizing<Vec<u8>>, RecordError> {
        let rest = entry.strip_prefix(&MAGIC).ok_or(RecordError::Malformed)?;
        match rest {
            [VERSION, PLAIN, ..] if !self.seals.is_empty() => Err(RecordError::NotSealed),
            [VERSION, PLAIN, content @ ..] => Ok(Zeroizing::new(content.to_vec())),
            [VERSION, SEALED, id, sealed @ ..] => {
                let key = self.seals.iter().find(|(known, _)| known == id);
                let (_, key) = key.ok_or(RecordError::NotAuthentic)?;
                let (nonce, text) = sealed
                    .split_first_chunk::<NONCE_LEN>()
                    .ok_or(RecordError::Malformed)?;
                let mut text = Zeroizing::new(text.to_vec());
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let opened = key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut text);
                let len = opened.map_err(|_| RecordError::NotAuthentic)?.len();
                text.truncate(len);
                Ok(text)
            }
            _ => Err(RecordError::Malformed),
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Records(sealed: {})", !self.seals.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: KeyName = (DeviceId::from_bytes(*b"0123456789abcdef"), 3);

    fn stored() -> StoredKey {
        StoredKey {
            since: 1_800_000_000,
            key: Arc::new(DeviceKey::new(NAME.0, NAME.1, &[7; KEY_LEN], 1_800_086_400)),
        }
    }

    fn peer() -> SocketAddr {
        "192.0.2.1:5060".parse().unwrap()
    }

    fn sealed(ids: &[u8]) -> Records {
        let keys = ids.iter().map(|id| (*id, Zeroizing::new([*id; KEY_LEN])));
        Records::new(&keys.collect::<Vec<_>>())
    }

    #[test]
    fn names_are_those_of_the_documentation() {
        let name = "corex:1:key:30313233-3435-3637-3839-616263646566:3";
        assert_eq!(key_name(&NAME), name);
        let mapped = "[::ffff:192.0.2.1]:5060".parse().unwrap();
        assert_eq!(peer_name(mapped), "corex:1:peer:192.0.2.1:5060");
        let v6 = "[2001:db8::1]:5060".parse().unwrap();
        assert_eq!(peer_name(v6), "corex:1:peer:[2001:db8::1]:5060");
    }

    #[test]
    fn an_entry_comes_back_as_it_was_plain_or_sealed() {
        for records in [Records::new(&[]), sealed(&[1])] {
            let entry = records.key(&stored()).unwrap();
            assert!(entry.len() <= MAX_RECORD);
            let read = records.read_key(&NAME, &entry).unwrap();
            assert_eq!(
                (read.since, read.key.expires()),
                (1_800_000_000, 1_800_086_400)
            );
            assert_eq!(read.key.secret(), &[7; KEY_LEN]);
            let entry = records.peer(peer(), &NAME).unwrap();
            assert_eq!(records.read_peer(peer(), &entry), Ok(NAME));
            let entry = records.device(&NAME).unwrap();
            assert_eq!(records.read_device(&NAME.0, &entry), Ok(NAME));
        }
        let plain = Records::new(&[]).key(&stored()).unwrap();
        let expected = [
            &b"cK\x01\x00"[..],
            &1_800_000_000u64.to_be_bytes(),
            &1_800_086_400u64.to_be_bytes(),
            &[7; KEY_LEN],
        ];
        assert_eq!(plain, expected.concat());
    }

    #[test]
    fn what_is_sealed_shows_no_key_and_stands_for_nothing_under_another_name() {
        let records = sealed(&[1]);
        let entry = records.key(&stored()).unwrap();
        assert!(!entry.windows(4).any(|part| part == [7; 4]));
        let error = |records: &Records, name: &KeyName| records.read_key(name, &entry).unwrap_err();
        assert_eq!(error(&records, &(NAME.0, 4)), RecordError::NotAuthentic);
        assert_eq!(error(&sealed(&[2]), &NAME), RecordError::NotAuthentic);
        let none = Records::new(&[]);
        assert_eq!(error(&none, &NAME), RecordError::NotAuthentic);
        let plain = none.key(&stored()).unwrap();
        let error = records.read_key(&NAME, &plain).unwrap_err();
        assert_eq!(error, RecordError::NotSealed);
    }

    #[test]
    fn two_keys_of_the_fleet_are_valid_at_a_time() {
        let (old, both) = (sealed(&[1]), sealed(&[2, 1]));
        let entry = old.key(&stored()).unwrap();
        assert!(both.read_key(&NAME, &entry).is_ok());
        let entry = both.key(&stored()).unwrap();
        assert!(old.read_key(&NAME, &entry).is_err());
        assert!(sealed(&[2]).read_key(&NAME, &entry).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_at_worst(entry in proptest::collection::vec(any::<u8>(), 0..120)) {
            for records in [Records::new(&[]), sealed(&[1])] {
                let _ = records.read_key(&NAME, &entry);
                prop_assert!(records.read_peer(peer(), &entry).is_err() || entry.len() == 21);
            }
        }

        #[test]
        fn a_changed_byte_is_noticed(at in 0usize..81, change in 1u8..) {
            let records = sealed(&[1]);
            let mut entry = records.key(&stored()).unwrap();
            let at = at % entry.len();
            entry[at] ^= change;
            prop_assert!(records.read_key(&NAME, &entry).is_err());
        }
    }
}
