//! Datagrams put together from their fragments (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! Stricter than RFC 791 asks, for both families alike: a datagram with overlapping fragments
//! is dropped as a whole, with what comes of it later (RFC 5722 §4), since an overlap serves to
//! smuggle one text past a filter and another to the server. An exact copy of a fragment is
//! only ignored (RFC 8200 §4.5, networks do duplicate).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use corex_common::ip::{ETHERNET_LEN, IPV4_FRAGMENT, IPV4_LEN, IPV6_LEN, MAX_IP_LEN};

use super::{Sum, View};

/// What may be kept of incomplete datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of their frames.
    pub max_bytes: usize,
    /// Datagrams, those that are condemned included. The oldest makes room for a new one: one
    /// that is complete within moments suffers least from a flood of others that never are.
    pub max_datagrams: usize,
    /// Datagrams of one source address, so that one sender displaces its own only. It may have
    /// the same share of the bytes.
    pub max_of_source: usize,
    /// Fragments of a datagram.
    pub max_pieces: usize,
    /// From the first fragment to arrive until the datagram is given up.
    pub lifetime: Duration,
}

impl Limits {
    /// Bytes that one source address may have.
    const fn share_of_source(&self) -> usize {
        if self.max_of_source >= self.max_datagrams {
            return self.max_bytes;
        }
        let share = self.max_bytes as u128 * self.max_of_source as u128;
        (share / self.max_datagrams as u128) as usize
    }
}

/// Fragments that were given up, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Lost {
    /// Of a datagram with overlapping fragments.
    pub overlap: u64,
    /// Exact copies of others.
    pub duplicate: u64,
    /// A length that isn't a multiple of eight before the last, no data, more than a datagram
    /// can hold, contradictory ends, a wrong header checksum, ECN that can't be (RFC 3168 §5.3).
    pub malformed: u64,
    /// Displaced by others, or too many of one datagram.
    pub full: u64,
    /// Of a datagram that wasn't complete in time.
    pub timeout: u64,
}

/// A complete datagram.
#[derive(PartialEq, Eq, Debug)]
pub struct Whole {
    /// The frame that it would have been in without fragmentation: the headers of the first
    /// fragment, DF among them.
    pub frame: Vec<u8>,
    /// The frames that it came in, in order of arrival.
    pub pieces: Vec<Vec<u8>>,
}

/// Two datagrams with the same key are one (RFC 791, RFC 8200).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    /// Only over IPv4.
    protocol: u8,
    /// VLAN tags: the same addresses in two VLANs are two hosts.
    tags: [u8; 8],
}

struct Piece {
    frame: Vec<u8>,
    /// Of the data in the frame.
    at: usize,
    /// Of the data in the datagram.
    start: usize,
    end: usize,
    more: bool,
}

impl Piece {
    fn data(&self) -> &[u8] {
        self.frame
            .get(self.at..self.at + (self.end - self.start))
            .unwrap_or_default()
    }
}

/// Why a datagram is dropped with all that comes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condemned {
    Overlap,
    Malformed,
    Full,
}

impl Lost {
    fn add(&mut self, reason: Condemned, pieces: usize) {
        *match reason {
            Condemned::Overlap => &mut self.overlap,
            Condemned::Malformed => &mut self.malformed,
            Condemned::Full => &mut self.full,
        } += pieces as u64;
    }
}

struct Partial {
    /// Its place among all, by age.
    serial: u64,
    born: Duration,
    /// By where their data begins.
    pieces: BTreeMap<usize, (usize, Piece)>,
    bytes: usize,
    /// Bytes of data that are there.
    have: usize,
    /// Length of the data, once the last fragment is there.
    total: Option<usize>,
    condemned: Option<Condemned>,
}

/// What is there of one source address.
#[derive(Default)]
struct Source {
    /// Its datagrams, by age.
    serials: BTreeSet<u64>,
    bytes: usize,
}

/// Incomplete datagrams, of bounded memory and age.
///
/// Each fragment that is [pushed](Self::push) comes out once: in a [`Whole`] or counted in
/// [`Lost`].
pub struct Reassembler {
    limits: Limits,
    partial: HashMap<Key, Partial>,
    by_age: BTreeMap<u64, Key>,
    sources: HashMap<IpAddr, Source>,
    bytes: usize,
    next_serial: u64,
}

impl Reassembler {
    /// With nothing in it.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            partial: HashMap::new(),
            by_age: BTreeMap::new(),
            sources: HashMap::new(),
            bytes: 0,
            next_serial: 0,
        }
    }

    /// Takes the fragment in `frame`, as `view` shows it, at `now` (any clock that only goes
    /// forward). Returns the datagram that it completes. A frame that holds no fragment is
    /// counted as malformed.
    pub fn push(
        &mut self,
        frame: &[u8],
        view: &View,
        now: Duration,
        lost: &mut Lost,
    ) -> Option<Whole> {
        self.expire(now, lost);
        let Some((key, piece)) = read(frame, view) else {
            lost.malformed += 1;
            return None;
        };
        if piece.start == 0 && !piece.more {
            // An atomic fragment is a datagram on its own, whatever else has its
            // identification (RFC 6946 §4).
            return Some(Whole {
                frame: assemble(std::iter::once(&piece), view)?,
                pieces: vec![piece.frame],
            });
        }
        if !self.partial.contains_key(&key) {
            self.make_room(&key, lost);
            self.begin(key, now);
        }
        let limits = self.limits;
        let partial = self.partial.get_mut(&key)?;
        if let Some(reason) = partial.condemned {
            lost.add(reason, 1);
            return None;
        }
        let len = piece.frame.len();
        let source = self.sources.entry(key.src).or_default();
        match partial.add(piece, &limits) {
            Added::Kept => {
                self.bytes += len;
                source.bytes += len;
            }
            Added::Copy => lost.duplicate += 1,
            Added::Condemned(reason) => {
                lost.add(reason, partial.pieces.len() + 1);
                self.bytes -= partial.bytes;
                source.bytes -= partial.bytes;
                partial.condemn(reason);
            }
        }
        if self.partial.get(&key).is_some_and(Partial::is_complete) {
            let partial = self.remove(&key)?;
            let count = partial.pieces.len();
            return partial.finish().or_else(|| {
                lost.malformed += count as u64;
                None
            });
        }
        // The one that grows isn't spared: it may be the only one.
        let share = limits.share_of_source();
        while let Some(source) = self.sources.get(&key.src)
            && source.bytes > share
            && let Some(own) = self.oldest_of(source)
        {
            self.displace(&own, lost);
        }
        while self.bytes > limits.max_bytes {
            let Some(oldest) = self.oldest() else { break };
            self.displace(&oldest, lost);
        }
        None
    }

    /// Gives up what wasn't complete in time.
    pub fn expire(&mut self, now: Duration, lost: &mut Lost) {
        while let Some(key) = self.oldest()
            && let Some(partial) = self.partial.get(&key)
            && now.saturating_sub(partial.born) >= self.limits.lifetime
        {
            if let Some(partial) = self.remove(&key) {
                lost.timeout += partial.pieces.len() as u64;
            }
        }
    }

    /// Frames that are kept.
    pub fn held(&self) -> usize {
        self.partial.values().map(|p| p.pieces.len()).sum()
    }

    fn oldest(&self) -> Option<Key> {
        self.by_age.first_key_value().map(|(_, key)| *key)
    }

    fn oldest_of(&self, source: &Source) -> Option<Key> {
        self.by_age.get(source.serials.first()?).copied()
    }

    fn make_room(&mut self, key: &Key, lost: &mut Lost) {
        if let Some(source) = self.sources.get(&key.src)
            && source.serials.len() >= self.limits.max_of_source
            && let Some(own) = self.oldest_of(source)
        {
            self.displace(&own, lost);
        }
        while self.partial.len() >= self.limits.max_datagrams {
            let Some(oldest) = self.oldest() else { break };
            self.displace(&oldest, lost);
        }
    }

    fn displace(&mut self, key: &Key, lost: &mut Lost) {
        if let Some(partial) = self.remove(key) {
            lost.full += partial.pieces.len() as u64;
        }
    }

    fn begin(&mut self, key: Key, now: Duration) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.by_age.insert(serial, key);
        let source = self.sources.entry(key.src).or_default();
        source.serials.insert(serial);
        let partial = Partial {
            serial,
            born: now,
            pieces: BTreeMap::new(),
            bytes: 0,
            have: 0,
            total: None,
            condemned: None,
        };
        self.partial.insert(key, partial);
    }

    fn remove(&mut self, key: &Key) -> Option<Partial> {
        let partial = self.partial.remove(key)?;
        self.by_age.remove(&partial.serial);
        self.bytes -= partial.bytes;
        if let Some(source) = self.sources.get_mut(&key.src) {
            source.serials.remove(&partial.serial);
            source.bytes -= partial.bytes;
            if source.serials.is_empty() {
                self.sources.remove(&key.src);
            }
        }
        Some(partial)
    }
}

enum Added {
    Kept,
    Copy,
    Condemned(Condemned),
}

impl Partial {
    fn add(&mut self, piece: Piece, limits: &Limits) -> Added {
        let before = self.pieces.range(..piece.end).next_back();
        if let Some((_, (_, other))) = before
            && other.end > piece.start
        {
            let is_copy = other.start == piece.start
                && other.more == piece.more
                && other.data() == piece.data();
            return if is_copy {
                Added::Copy
            } else {
                Added::Condemned(Condemned::Overlap)
            };
        }
        let furthest = self.pieces.values().next_back().map_or(0, |(_, p)| p.end);
        let contradicts = match (self.total, piece.more) {
            (Some(total), true) => piece.end > total,
            (Some(_), false) => true,
            (None, false) => furthest > piece.end,
            (None, true) => false,
        };
        if contradicts {
            return Added::Condemned(Condemned::Malformed);
        }
        if self.pieces.len() >= limits.max_pieces {
            return Added::Condemned(Condemned::Full);
        }
        if !piece.more {
            self.total = Some(piece.end);
        }
        self.have += piece.end - piece.start;
        self.bytes += piece.frame.len();
        let arrival = self.pieces.len();
        self.pieces.insert(piece.start, (arrival, piece));
        Added::Kept
    }

    fn condemn(&mut self, reason: Condemned) {
        self.condemned = Some(reason);
        self.pieces.clear();
        self.bytes = 0;
        self.have = 0;
        self.total = None;
    }

    fn is_complete(&self) -> bool {
        self.total == Some(self.have)
    }

    fn finish(self) -> Option<Whole> {
        let first = &self.pieces.get(&0)?.1;
        let view = View::parse(&first.frame).ok()?;
        let frame = assemble(self.pieces.values().map(|(_, piece)| piece), &view)?;
        let mut pieces: Vec<_> = self.pieces.into_values().collect();
        pieces.sort_unstable_by_key(|(arrival, _)| *arrival);
        Some(Whole {
            frame,
            pieces: pieces.into_iter().map(|(_, piece)| piece.frame).collect(),
        })
    }
}

/// Where a fragment belongs, and what it is. `None` if it can't be part of a datagram.
fn read(frame: &[u8], view: &View) -> Option<(Key, Piece)> {
    let fragment = view.fragment?;
    let len = view.ip_end.checked_sub(view.header_end)?;
    let end = fragment.offset + len;
    // Behind the headers that the whole datagram will have.
    let headers = view.per_fragment_end.checked_sub(view.l3)?;
    let max = if view.src.is_ipv4() {
        MAX_IP_LEN - headers
    } else {
        MAX_IP_LEN + IPV6_LEN - headers
    };
    let is_uneven = fragment.more && len % 8 != 0;
    if len == 0 || is_uneven || end > max || !view.header_is_intact(frame) {
        return None;
    }
    let mut tags = [0; 8];
    let tagged = frame.get(ETHERNET_LEN - 2..view.l3 - 2)?;
    tags.get_mut(..tagged.len())?.copy_from_slice(tagged);
    let key = Key {
        src: view.src,
        dst: view.dst,
        id: fragment.id,
        protocol: if view.src.is_ipv4() { view.protocol } else { 0 },
        tags,
    };
    let piece = Piece {
        // Without what pads the frame.
        frame: frame.get(..view.ip_end)?.to_vec(),
        at: view.header_end,
        start: fragment.offset,
        end,
        more: fragment.more,
    };
    Some((key, piece))
}

/// The whole frame, from its pieces in order; `first` shows the first of them.
fn assemble<'p>(pieces: impl Iterator<Item = &'p Piece> + Clone, first: &View) -> Option<Vec<u8>> {
    let mut codepoints = 0u8;
    for piece in pieces.clone() {
        codepoints |= 1 << (traffic_class(&piece.frame, first)? & 3);
    }
    let ecn = match codepoints {
        0b0001 => 0,
        0b0010 => 1,
        0b0100 => 2,
        0b0110 => 1,
        // Congestion that one of them met is the datagram's, unless others say that the sender
        // doesn't take part (RFC 3168 §5.3).
        c if c & 0b1001 == 0b1000 => 3,
        _ => return None,
    };
    let mut frame = Vec::new();
    for (n, piece) in pieces.enumerate() {
        if n == 0 {
            frame.extend_from_slice(piece.frame.get(..first.per_fragment_end)?);
        }
        frame.extend_from_slice(piece.data());
    }
    let l3 = first.l3;
    let ip_len = frame.len() - l3;
    let header = frame.get_mut(l3..first.per_fragment_end)?;
    if first.src.is_ipv4() {
        let len = u16::try_from(ip_len).ok()?;
        header.get_mut(2..4)?.copy_from_slice(&len.to_be_bytes());
        // Neither an offset nor more fragments; DF stays.
        let flags = u16::from_be_bytes([*header.get(6)?, *header.get(7)?]) & !IPV4_FRAGMENT;
        header.get_mut(6..8)?.copy_from_slice(&flags.to_be_bytes());
        let byte = header.get_mut(1)?;
        *byte = *byte & !3 | ecn;
        write_ipv4_checksum(header)?;
    } else {
        let len = u16::try_from(ip_len.checked_sub(IPV6_LEN)?).ok()?;
        header.get_mut(4..6)?.copy_from_slice(&len.to_be_bytes());
        let byte = header.get_mut(1)?;
        *byte = *byte & !0x30 | ecn << 4;
        *frame.get_mut(first.next_at)? = first.protocol;
    }
    Some(frame)
}

fn traffic_class(frame: &[u8], view: &View) -> Option<u8> {
    let [hi, lo] = *super::bytes_at(frame, view.l3)?;
    Some(if view.src.is_ipv4() {
        lo
    } else {
        hi << 4 | lo >> 4
    })
}

/// Sets the checksum of an IPv4 header. `None` if `header` is no such header.
pub(super) fn write_ipv4_checksum(header: &mut [u8]) -> Option<()> {
    if header.len() < IPV4_LEN {
        return None;
    }
    header.get_mut(10..12)?.fill(0);
    let checksum = Sum::of(header).checksum();
    header.get_mut(10..12)?.copy_from_slice(&checksum);
    Some(())
}
