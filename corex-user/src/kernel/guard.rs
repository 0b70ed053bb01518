//! The guard's maps: what it goes by, and the lists of networks, in the programs' memory.

use std::{
    io, mem,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering},
};

use aya::maps::MapData;
use corex_common::guard::{
    GUARD_ALLOW_V4, GUARD_ALLOW_V6, GUARD_BLOCK_V4, GUARD_BLOCK_V6, Guard, Listed, MAX_LISTED,
    NetV4, NetV6, Network,
};

use super::{
    bpf_call, guard_rates::RateMaps, memory::Memory, pins::Pins,
    xdp_link::wait_for_running_programs,
};

/// Entries that are read at a time.
const STEP: usize = 32_768;
const WORDS: usize = size_of::<Guard>() / size_of::<u32>();

/// The maps, as the loaded object has them.
pub struct GuardMaps {
    /// What the programs go by.
    pub record: GuardRecord,
    /// Who is allowed.
    pub allow: KernelList,
    /// Who is blocked.
    pub block: KernelList,
    /// Who is trusted.
    pub trust: KernelList,
    /// Rates and signatures.
    pub rates: RateMaps,
}

impl GuardMaps {
    /// Has the programs look at the guard's rules, or at none; these are to be none when it begins, and
    /// are none when it ends. In between it waits for packets that came before.
    pub fn switch(&self, is_on: bool) {
        let no_rules = |is_on: bool| Guard {
            is_on: is_on.into(),
            ..Guard::default()
        };
        self.record.write(&no_rules(true));
        wait_for_running_programs();
        self.record.write(&no_rules(is_on));
    }
}

/// The map GUARD, mapped into memory.
pub struct GuardRecord(Memory<AtomicU32>);

impl GuardRecord {
    /// The record in a map.
    ///
    /// # Errors
    /// What mmap says.
    pub(super) fn of_map(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(Memory::of_map(fd, WORDS)?))
    }

    /// What is in it.
    pub fn read(&self) -> Guard {
        let mut words = [0_u32; WORDS];
        for (value, word) in words.iter_mut().zip(self.0.words()) {
            *value = word.load(Ordering::Relaxed);
        }
        // SAFETY: as many bytes, of which any are a value.
        unsafe { mem::transmute::<[u32; WORDS], Guard>(words) }
    }

    /// Writes it; from the next packet on the programs go by it. The rules come last.
    pub fn write(&self, guard: &Guard) {
        // SAFETY: as many bytes, of which any are integers.
        let words = unsafe { mem::transmute::<Guard, [u32; WORDS]>(*guard) };
        for (word, value) in self.0.words().iter().zip(words).rev() {
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// A key as an LPM trie has it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Key<K> {
    prefix_len: u32,
    data: K,
}

/// Whether it says that a trie has no batches: kernels before 5.13 do (EINVAL or ENOTSUPP, 524).
fn has_no_batches(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | 524))
}

/// How entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Many with a call.
    Batches,
    /// Two calls for each: what every kernel can.
    OneByOne,
}

/// Entries of a list, and whether there may be more.
pub type Entries = (Vec<(Network, Listed)>, bool);

/// Where reading a trie has come to.
#[derive(Clone, Copy, Default)]
pub struct Cursor {
    v4: Option<Key<NetV4>>,
    v6: Option<Key<NetV6>>,
    is_v4_done: bool,
}

/// A list: a trie for each family of addresses.
pub struct KernelList {
    v4: OwnedFd,
    v6: OwnedFd,
}

impl KernelList {
    /// The list in these tries.
    pub fn new(v4: OwnedFd, v6: OwnedFd) -> Self {
        Self { v4, v6 }
    }

    /// Puts entries in, or others in their places.
    ///
    /// # Errors
    /// What the kernel says; ENOSPC where a trie is full. Some of them may be there then.
    pub fn put(&self, entries: &[(Network, Listed)]) -> io::Result<()> {
        let (mut v4, mut v6) = (Batch::default(), Batch::default());
        for (network, listed) in entries {
            if network.addr.is_ipv4() {
                let (prefix_len, data) = network.key_v4();
                v4.push(Key { prefix_len, data }, *listed);
            } else {
                let (prefix_len, data) = network.key_v6();
                v6.push(Key { prefix_len, data }, *listed);
            }
        }
        v4.put(self.v4.as_fd())?;
        v6.put(self.v6.as_fd())
    }

    /// Takes an entry out, if it is there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, network: &Network) -> io::Result<()> {
        let removed = if network.addr.is_ipv4() {
            let (prefix_len, data) = network.key_v4();
            bpf_call::map_delete(self.v4.as_fd(), &Key { prefix_len, data })
        } else {
            let (prefix_len, data) = network.key_v6();
            bpf_call::map_delete(self.v6.as_fd(), &Key { prefix_len, data })
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Reads entries from where `cursor` has come to, `most` at a time. Returns those, and whether
    /// there may be more; when there are none, it begins anew.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read(&self, cursor: &mut Cursor, most: usize) -> io::Result<Entries> {
        match self.read_by(Reading::Batches, cursor, most) {
            Err(error) if has_no_batches(&error) => self.read_by(Reading::OneByOne, cursor, most),
            other => other,
        }
    }

    /// The same, in this way.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_by(
        &self,
        reading: Reading,
        cursor: &mut Cursor,
        most: usize,
    ) -> io::Result<Entries> {
        if !cursor.is_v4_done {
            let (found, is_more) = read(reading, self.v4.as_fd(), &mut cursor.v4, most)?;
            cursor.is_v4_done = !is_more;
            let of = |(key, listed): (Key<NetV4>, Listed)| {
                Some((Network::from_v4(key.prefix_len, key.data)?, listed))
            };
            return Ok((found.into_iter().filter_map(of).collect(), true));
        }
        let (found, is_more) = read(reading, self.v6.as_fd(), &mut cursor.v6, most)?;
        if !is_more {
            *cursor = Cursor::default();
        }
        let of = |(key, listed): (Key<NetV6>, Listed)| {
            Some((Network::from_v6(key.prefix_len, key.data)?, listed))
        };
        Ok((found.into_iter().filter_map(of).collect(), is_more))
    }
}

/// Keys and values, each in a row, as the kernel takes them.
struct Batch<K> {
    keys: Vec<Key<K>>,
    values: Vec<Listed>,
}

impl<K> Default for Batch<K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            values: Vec::new(),
        }
    }
}

impl<K: Copy> Batch<K> {
    fn push(&mut self, key: Key<K>, value: Listed) {
        self.keys.push(key);
        self.values.push(value);
    }

    fn put(&self, map: BorrowedFd<'_>) -> io::Result<()> {
        if self.keys.is_empty() {
            return Ok(());
        }
        match bpf_call::map_update_batch(map, &self.keys, &self.values) {
            Err(error) if has_no_batches(&error) => {
                let pairs = self.keys.iter().zip(&self.values);
                for (key, value) in pairs {
                    bpf_call::map_update(map, key, value)?;
                }
                Ok(())
            }
            other => other,
        }
    }
}

/// Entries, and whether there may be more.
type Read<K> = (Vec<(Key<K>, Listed)>, bool);

fn read<K: Copy + Default>(
    reading: Reading,
    map: BorrowedFd<'_>,
    last: &mut Option<Key<K>>,
    most: usize,
) -> io::Result<Read<K>> {
    match reading {
        Reading::Batches => read_batch(map, last, most),
        Reading::OneByOne => read_one_by_one(map, last, most),
    }
}

fn read_batch<K: Copy + Default>(
    map: BorrowedFd<'_>,
    last: &mut Option<Key<K>>,
    most: usize,
) -> io::Result<Read<K>> {
    let mut keys = vec![Key::<K>::default(); most];
    let mut values = vec![Listed::default(); most];
    let mut next = Key::<K>::default();
    let (count, is_more) =
        bpf_call::map_lookup_batch(map, last.as_ref(), &mut next, &mut keys, &mut values)?;
    *last = is_more.then_some(next);
    keys.truncate(count);
    Ok((keys.into_iter().zip(values).collect(), is_more))
}

fn read_one_by_one<K: Copy + Default>(
    map: BorrowedFd<'_>,
    last: &mut Option<Key<K>>,
    most: usize,
) -> io::Result<Read<K>> {
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut found = Vec::new();
    for _ in 0..most {
        let mut key = Key::<K>::default();
        match bpf_call::map_next_key(map, last.as_ref(), &mut key) {
            Ok(()) => *last = Some(key),
            Err(error) if is_missing(&error) => {
                *last = None;
                return Ok((found, false));
            }
            Err(error) => return Err(error),
        }
        let mut listed = Listed::default();
        match bpf_call::map_lookup(map, &key, &mut listed) {
            Ok(()) => found.push((key, listed)),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((found, true))
}

/// An entry of an instance that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// On the list of those allowed; else of those blocked.
    pub is_allowed: bool,
    /// Whom it is for.
    pub network: Network,
    /// The entry.
    pub listed: Listed,
}

/// The entries that are in the maps pinned here. Those of a version with other maps are left alone.
pub fn left_in(pins: &Pins) -> Vec<Left> {
    let open = |name, key_size| {
        let data = MapData::from_pin(pins.place(name)).ok()?;
        let info = data.info().ok()?;
        let is_ours = (info.key_size() as usize, info.value_size() as usize)
            == (key_size, size_of::<Listed>());
        is_ours
            .then(|| data.fd().as_fd().try_clone_to_owned().ok())
            .flatten()
    };
    let list = |v4, v6| {
        let v4 = open(v4, size_of::<Key<NetV4>>())?;
        let v6 = open(v6, size_of::<Key<NetV6>>())?;
        Some(KernelList::new(v4, v6))
    };
    let lists = [
        (true, list(GUARD_ALLOW_V4, GUARD_ALLOW_V6)),
        (false, list(GUARD_BLOCK_V4, GUARD_BLOCK_V6)),
    ];
    let mut left = Vec::new();
    for (is_allowed, list) in lists {
        let mut cursor = Cursor::default();
        while let Some(list) = &list {
            let (found, is_more) = match list.read(&mut cursor, STEP) {
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!("guard: the lists that were left can't be read: {error}");
                    break;
                }
            };
            left.extend(found.into_iter().map(|(network, listed)| Left {
                is_allowed,
                network,
                listed,
            }));
            // More than there can be: they change while they are read.
            if !is_more || left.len() > 4 * MAX_LISTED as usize {
                break;
            }
        }
    }
    left
}

/// The time by which entries expire: nanoseconds of CLOCK_MONOTONIC, which bpf_ktime_get_ns() reads.
pub fn now() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    // With this clock it can't fail.
    now.map_or(0, |now| {
        now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
    })
}
