//! Messages by peer: the address that they came from or went to.
//!
//! Each worker has a table of its own, of a fixed number of places, that it alone writes, without
//! a lock; whoever looks reads beside it. A peer keeps its place as long as it is heard of: only
//! one that was silent for `SILENCE` makes room for another, so that a flood of invented
//! addresses takes no place from those who talk. Nothing is lost from the sums: a peer that
//! finds no place is counted among the others, and one that loses it among the former ones.

use std::{
    cmp::Reverse,
    collections::HashMap,
    mem::take,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use corex_lockfree::Versioned;

/// A peer that is silent for so long may lose its place.
const SILENCE: Duration = Duration::from_secs(60);

/// Messages and bytes, received and sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Messages received.
    pub packets_in: u64,
    /// Their bytes, before the hook.
    pub bytes_in: u64,
    /// Messages sent.
    pub packets_out: u64,
    /// Their bytes, after the hook.
    pub bytes_out: u64,
}

impl Counts {
    /// Messages, both ways.
    pub fn packets(&self) -> u64 {
        self.packets_in.wrapping_add(self.packets_out)
    }

    fn of([packets_in, bytes_in, packets_out, bytes_out]: [u64; 4]) -> Counts {
        Counts {
            packets_in,
            bytes_in,
            packets_out,
            bytes_out,
        }
    }

    fn words(&self) -> [u64; 4] {
        [
            self.packets_in,
            self.bytes_in,
            self.packets_out,
            self.bytes_out,
        ]
    }

    fn add(&mut self, more: &Counts) {
        self.packets_in = self.packets_in.wrapping_add(more.packets_in);
        self.bytes_in = self.bytes_in.wrapping_add(more.bytes_in);
        self.packets_out = self.packets_out.wrapping_add(more.packets_out);
        self.bytes_out = self.bytes_out.wrapping_add(more.bytes_out);
    }
}

#[derive(Debug, Default)]
struct Cells([AtomicU64; 4]);

impl Cells {
    fn read(&self) -> Counts {
        Counts::of(self.0.each_ref().map(|cell| cell.load(Ordering::Relaxed)))
    }

    /// Counts messages. There is one writer, so no exchange is needed.
    fn count(&self, way: Way, count: u64, sum: u64) {
        let [packets_in, bytes_in, packets_out, bytes_out] = &self.0;
        let (packets, all) = match way {
            Way::In => (packets_in, bytes_in),
            Way::Out => (packets_out, bytes_out),
        };
        let add = |cell: &AtomicU64, more: u64| {
            let sum = cell.load(Ordering::Relaxed).wrapping_add(more);
            cell.store(sum, Ordering::Relaxed);
        };
        add(packets, count);
        add(all, sum);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In = 0,
    Out = 1,
}

/// A place: both halves of its peer's address, and what is counted for that.
#[derive(Debug, Default)]
struct Place(Versioned<6>);

impl Place {
    fn read(&self) -> (IpAddr, Counts) {
        let [high, low, counts @ ..] = self.0.read();
        let bits = (u128::from(high) << 64) | u128::from(low);
        let address = IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical();
        (address, Counts::of(counts))
    }

    /// Another peer moves in, with nothing counted.
    fn settle(&self, address: IpAddr) {
        let bits = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let [high, low] = [(bits >> 64) as u64, bits as u64];
        self.0.replace([high, low, 0, 0, 0, 0]);
    }

    /// Counts messages.
    fn count(&self, way: Way, count: u64, sum: u64) {
        let at = 2 + 2 * way as usize;
        self.0.add(at, count);
        self.0.add(at + 1, sum);
    }
}

/// What one worker counted. The worker writes through [`Peers`].
#[derive(Debug, Default)]
pub struct Table {
    places: Box<[Place]>,
    /// Places that have a peer: the first ones.
    taken: AtomicUsize,
    others: Cells,
    /// Of peers that lost their place.
    former: Versioned<4>,
}

impl Table {
    /// A table for so many peers; 0: nothing is counted.
    pub fn new(places: usize) -> Table {
        Table {
            places: (0..places).map(|_| Place::default()).collect(),
            ..Table::default()
        }
    }
}

/// Messages of one peer that follow one another: what they come to is put into the table at their end.
#[derive(Clone, Copy, Debug)]
struct Row {
    address: IpAddr,
    at: usize,
    packets: u64,
    bytes: u64,
}

/// Counts the messages of one worker into its [`Table`].
#[derive(Debug)]
pub struct Peers {
    table: Arc<Table>,
    index: HashMap<IpAddr, usize>,
    heard: Vec<Instant>,
    now: Instant,
    /// Nobody can lose a place before.
    full_until: Instant,
    /// The last peer of each way: mostly it is the next one, too.
    last: [Option<Row>; 2],
}

impl Default for Peers {
    /// Counts nothing.
    fn default() -> Peers {
        Peers::new(Arc::default())
    }
}

impl Peers {
    /// Counts into this table, which nobody else may write.
    pub fn new(table: Arc<Table>) -> Peers {
        let now = Instant::now();
        Peers {
            index: HashMap::with_capacity(table.places.len()),
            heard: Vec::with_capacity(table.places.len()),
            table,
            now,
            full_until: now,
            last: [None; 2],
        }
    }

    /// Says what time it is for the messages that follow, and publishes those before.
    pub fn tick(&mut self, now: Instant) {
        self.publish();
        self.now = now;
    }

    /// Puts all that is counted where others see it.
    pub fn publish(&mut self) {
        self.put(Way::In);
        self.put(Way::Out);
    }

    fn put(&mut self, way: Way) {
        let Some(Some(row)) = self.last.get_mut(way as usize) else {
            return;
        };
        let (packets, bytes) = (take(&mut row.packets), take(&mut row.bytes));
        let place = self.table.places.get(row.at);
        if packets > 0
            && let (Some(place), Some(heard)) = (place, self.heard.get_mut(row.at))
        {
            place.count(way, packets, bytes);
            *heard = self.now;
        }
    }

    /// Counts a message that came from there.
    #[inline]
    pub fn received(&mut self, from: IpAddr, bytes: usize) {
        self.count(Some(from), Way::In, bytes);
    }

    /// Counts a message that went there; `None`: to a name whose address isn't known yet.
    #[inline]
    pub fn sent(&mut self, to: Option<IpAddr>, bytes: usize) {
        self.count(to, Way::Out, bytes);
    }

    #[inline]
    fn count(&mut self, address: Option<IpAddr>, way: Way, bytes: usize) {
        if let (Some(Some(row)), Some(address)) = (self.last.get_mut(way as usize), address)
            && row.address == address
        {
            row.packets += 1;
            row.bytes += bytes as u64;
            return;
        }
        self.count_other(address, way, bytes);
    }

    /// Counts a message of another peer than the last one's.
    fn count_other(&mut self, address: Option<IpAddr>, way: Way, bytes: usize) {
        if self.table.places.is_empty() {
            return;
        }
        let address = address.map(|address| address.to_canonical());
        let place = address.and_then(|address| Some((address, self.place(address)?)));
        let Some((address, at)) = place else {
            self.table.others.count(way, 1, bytes as u64);
            return;
        };
        self.put(way);
        if let Some(last) = self.last.get_mut(way as usize) {
            *last = Some(Row {
                address,
                at,
                packets: 1,
                bytes: bytes as u64,
            });
        }
    }

    fn place(&mut self, address: IpAddr) -> Option<usize> {
        match self.index.get(&address) {
            Some(at) => Some(*at),
            None => self.settle(address),
        }
    }

    /// Finds a place for a peer that has none.
    fn settle(&mut self, address: IpAddr) -> Option<usize> {
        let taken = self.heard.len();
        let at = if taken < self.table.places.len() {
            self.table.places.get(taken)?.settle(address);
            self.heard.push(self.now);
            self.table.taken.store(self.heard.len(), Ordering::Release);
            taken
        } else {
            let (at, former) = self.vacate()?;
            let place = self.table.places.get(at)?;
            // Who reads finds what moves in one of both, and not in both.
            let settle = || place.settle(address);
            self.table.former.replace_with(former.words(), settle);
            at
        };
        self.index.insert(address, at);
        Some(at)
    }

    /// The place of the peer that was silent for longest, if it was for long enough; and what peers that
    /// lost their place have counted, this one too.
    fn vacate(&mut self) -> Option<(usize, Counts)> {
        if self.now < self.full_until {
            return None;
        }
        self.publish();
        let oldest = self
            .heard
            .iter()
            .enumerate()
            .min_by_key(|(_, heard)| **heard);
        let (at, heard) = oldest?;
        if self.now.duration_since(*heard) < SILENCE {
            self.full_until = *heard + SILENCE;
            return None;
        }
        let (address, counts) = self.table.places.get(at)?.read();
        let mut former = Counts::of(self.table.former.read());
        former.add(&counts);
        self.index.remove(&address);
        self.last = [None; 2];
        Some((at, former))
    }
}

/// Messages and bytes: in all, and by address.
pub type ByAddress = ((u64, u64), HashMap<IpAddr, (u64, u64)>);

/// Those with the most messages first.
fn rank((address, counts): &(IpAddr, Counts)) -> (Reverse<u64>, IpAddr) {
    (Reverse(counts.packets()), *address)
}

/// What all workers counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Peers, those with the most messages first.
    pub peers: Vec<(IpAddr, Counts)>,
    /// Those that found no place, and names whose address wasn't known.
    pub others: Counts,
    /// Those that lost their place.
    pub former: Counts,
}

impl Summary {
    /// Adds up the tables of all workers.
    pub fn of<'t>(tables: impl IntoIterator<Item = &'t Table>) -> Summary {
        let mut summary = Summary::default();
        let mut by_address: HashMap<IpAddr, Counts> = HashMap::new();
        for table in tables {
            // Only who was silent for long loses its place, so that this hardly ever has to begin anew.
            let (former, peers) = table.former.read_with(|| {
                let taken = table.taken.load(Ordering::Acquire);
                let places = table.places.iter().take(taken);
                places.map(Place::read).collect::<Vec<_>>()
            });
            for (address, counts) in peers {
                by_address.entry(address).or_default().add(&counts);
            }
            summary.others.add(&table.others.read());
            summary.former.add(&Counts::of(former));
        }
        summary.peers = by_address.into_iter().collect();
        summary.peers.sort_by_key(rank);
        summary
    }

    /// Adds what others than workers counted: messages received and sent, each in all and by address.
    /// Of addresses that no worker knows, the `most` with the most messages get a row; the rest is
    /// counted among the others, and what has no address any more among the former ones.
    pub fn add(&mut self, received: &ByAddress, sent: &ByAddress, most: usize) {
        let mut all: HashMap<IpAddr, Counts> = HashMap::new();
        for (address, (packets, bytes)) in &received.1 {
            let counts = all.entry(address.to_canonical()).or_default();
            (counts.packets_in, counts.bytes_in) = (*packets, *bytes);
        }
        for (address, (packets, bytes)) in &sent.1 {
            let counts = all.entry(address.to_canonical()).or_default();
            (counts.packets_out, counts.bytes_out) = (*packets, *bytes);
        }
        let mut known = Counts::default();
        all.values().for_each(|counts| known.add(counts));
        // Read one after the other, so an address may have more than there was in all.
        self.former.add(&Counts {
            packets_in: received.0.0.saturating_sub(known.packets_in),
            bytes_in: received.0.1.saturating_sub(known.bytes_in),
            packets_out: sent.0.0.saturating_sub(known.packets_out),
            bytes_out: sent.0.1.saturating_sub(known.bytes_out),
        });
        for (address, counts) in &mut self.peers {
            if let Some(more) = all.remove(address) {
                counts.add(&more);
            }
        }
        let mut strangers: Vec<_> = all.into_iter().collect();
        strangers.sort_by_key(rank);
        let rest = strangers.split_off(most.min(strangers.len()));
        rest.iter().for_each(|(_, counts)| self.others.add(counts));
        self.peers.extend(strangers);
        self.peers.sort_by_key(rank);
    }

    /// All rows by name; `other` and `former` last, where they have anything.
    pub fn rows(&self) -> Vec<(String, Counts)> {
        let peers = self.peers.iter();
        let mut rows: Vec<_> = peers
            .map(|(address, counts)| (address.to_string(), *counts))
            .collect();
        for (name, counts) in [("other", self.others), ("former", self.former)] {
            if counts.packets() > 0 {
                rows.push((name.to_owned(), counts));
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn shown(table: &Table) -> Vec<(String, u64, u64)> {
        let rows = Summary::of([table]).rows().into_iter();
        rows.map(|(name, counts)| (name, counts.packets_in, counts.packets_out))
            .collect()
    }

    #[test]
    fn what_others_counted_is_added_and_no_message_of_it_is_missing() {
        let table = Arc::new(Table::new(2));
        let mut peers = Peers::new(Arc::clone(&table));
        peers.received(peer(1), 10);
        peers.sent(Some(peer(9)), 10);
        peers.publish();
        let mut summary = Summary::of([&*table]);
        let received = HashMap::from([
            (peer(1), (3, 30)),
            (peer(2), (5, 50)),
            (peer(3), (4, 40)),
            (peer(4), (1, 10)),
        ]);
        let sent = HashMap::from([(peer(9), (15, 150))]);
        summary.add(&((20, 200), received), &((16, 160), sent), 2);
        let rows = summary.rows();
        let told =
            |(name, counts): &(String, Counts)| row(name, counts.packets_in, counts.packets_out);
        let told: Vec<_> = rows.iter().map(told).collect();
        let expected = [
            row("192.0.2.9", 0, 16),
            row("192.0.2.2", 5, 0),
            row("192.0.2.1", 4, 0),
            row("192.0.2.3", 4, 0),
            row("other", 1, 0),
            row("former", 7, 1),
        ];
        assert_eq!(told, expected);
        let bytes = rows
            .iter()
            .map(|(_, counts)| counts.bytes_in + counts.bytes_out);
        assert_eq!(bytes.sum::<u64>(), 200 + 160 + 20);
    }

    fn row(name: &str, packets_in: u64, packets_out: u64) -> (String, u64, u64) {
        (name.to_owned(), packets_in, packets_out)
    }

    #[test]
    fn who_reads_while_peers_lose_their_places_counts_no_message_twice_and_misses_none() {
        const PEERS: u32 = 20_000;
        let table = Arc::new(Table::new(2));
        let mut peers = Peers::new(Arc::clone(&table));
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let begin = peers.now;
                for number in 0..PEERS {
                    peers.tick(begin + number * SILENCE);
                    peers.received(IpAddr::from(number.to_be_bytes()), 1);
                }
                peers.publish();
            });
            let mut last = 0;
            loop {
                let is_over = writer.is_finished();
                let summary = Summary::of([&*table]);
                let counts = summary.peers.iter().map(|(_, counts)| counts.packets_in);
                let sum = counts.sum::<u64>() + summary.former.packets_in;
                assert!(
                    (last..=u64::from(PEERS)).contains(&sum),
                    "{sum} behind {last}"
                );
                last = sum;
                if is_over {
                    return assert_eq!(sum, u64::from(PEERS));
                }
            }
        });
    }

    #[test]
    fn messages_and_bytes_are_counted_by_address_and_way() {
        let table = Arc::new(Table::new(4));
        let mut peers = Peers::new(Arc::clone(&table));
        peers.received(peer(1), 100);
        peers.received("::ffff:192.0.2.1".parse().unwrap(), 11);
        peers.sent(Some(peer(2)), 50);
        peers.received("2001:db8::1".parse().unwrap(), 7);
        peers.sent(None, 3);
        peers.publish();
        let summary = Summary::of([&*table]);
        let of = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            let mut peers = summary.peers.iter();
            peers.find(|(known, _)| *known == address).unwrap().1
        };
        let one = of("192.0.2.1");
        assert_eq!((one.packets_in, one.bytes_in, one.packets_out), (2, 111, 0));
        let two = of("192.0.2.2");
        assert_eq!((two.packets_out, two.bytes_out), (1, 50));
        assert_eq!(of("2001:db8::1").bytes_in, 7);
        assert_eq!(
            (summary.others.packets_out, summary.others.bytes_out),
            (1, 3)
        );
        assert_eq!(summary.peers[0].0, peer(1), "the busiest first");
    }

    #[test]
    fn invented_addresses_take_no_place_from_those_who_talk() {
        let table = Arc::new(Table::new(2));
        let mut peers = Peers::new(Arc::clone(&table));
        let start = Instant::now();
        peers.tick(start);
        peers.received(peer(1), 1);
        peers.received(peer(2), 1);
        for seconds in (0..600).step_by(30) {
            peers.tick(start + Duration::from_secs(seconds));
            peers.received(peer(1), 1);
            peers.received(peer(2), 1);
            for invented in 0..10 {
                peers.received(peer(100 + invented), 1);
            }
        }
        peers.publish();
        assert_eq!(
            shown(&table),
            [
                row("192.0.2.1", 21, 0),
                row("192.0.2.2", 21, 0),
                row("other", 200, 0)
            ]
        );
    }

    #[test]
    fn who_was_silent_makes_room_and_stays_in_the_sum() {
        let table = Arc::new(Table::new(2));
        let mut peers = Peers::new(Arc::clone(&table));
        let start = Instant::now();
        peers.tick(start);
        for _ in 0..5 {
            peers.received(peer(1), 1);
            peers.sent(Some(peer(2)), 1);
        }
        peers.tick(start + Duration::from_secs(59));
        peers.sent(Some(peer(2)), 1);
        peers.received(peer(3), 1);
        peers.tick(start + Duration::from_secs(61));
        peers.received(peer(3), 1);
        peers.received(peer(3), 1);
        // The first comes back, but has lost its place.
        peers.received(peer(1), 1);
        peers.publish();
        assert_eq!(
            shown(&table),
            [
                row("192.0.2.2", 0, 6),
                row("192.0.2.3", 2, 0),
                row("other", 2, 0),
                row("former", 5, 0)
            ]
        );
    }

    #[test]
    fn messages_that_follow_one_another_are_seen_once_they_are_published_each_once() {
        let table = Arc::new(Table::new(3));
        let mut peers = Peers::new(Arc::clone(&table));
        for turn in 0..10 {
            peers.received(peer(1 + turn % 2), 1);
            peers.received(peer(1), 1);
            peers.sent(Some(peer(3)), 1);
            peers.tick(Instant::now());
        }
        peers.publish();
        peers.publish();
        assert_eq!(
            shown(&table),
            [
                row("192.0.2.1", 15, 0),
                row("192.0.2.3", 0, 10),
                row("192.0.2.2", 5, 0)
            ]
        );
    }

    #[test]
    fn who_talks_just_now_keeps_its_place_before_that_is_published() {
        let table = Arc::new(Table::new(2));
        let mut peers = Peers::new(Arc::clone(&table));
        let start = Instant::now();
        peers.tick(start);
        peers.received(peer(1), 1);
        peers.sent(Some(peer(2)), 1);
        peers.tick(start + SILENCE * 2);
        peers.received(peer(1), 1);
        peers.sent(Some(peer(3)), 1);
        peers.publish();
        let expected = [row("192.0.2.1", 2, 0), row("192.0.2.3", 0, 1)];
        assert_eq!(shown(&table)[..2], expected);
    }

    #[test]
    fn without_places_nothing_is_counted() {
        let mut peers = Peers::default();
        peers.received(peer(1), 1);
        peers.publish();
        assert!(Summary::of([&*peers.table]).rows().is_empty());
    }

    #[test]
    fn workers_that_hear_the_same_peer_are_added_up() {
        let tables = [Arc::new(Table::new(2)), Arc::new(Table::new(2))];
        for table in &tables {
            let mut peers = Peers::new(Arc::clone(table));
            peers.received(peer(1), 10);
            peers.publish();
        }
        let summary = Summary::of(tables.iter().map(|table| &**table));
        assert_eq!(summary.peers.len(), 1);
        assert_eq!(summary.peers[0].1.bytes_in, 20);
    }

    #[test]
    fn a_reader_never_sees_the_counts_of_one_peer_under_another() {
        let table = Arc::new(Table::new(1));
        let mut peers = Peers::new(Arc::clone(&table));
        let start = Instant::now();
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                for turn in 0..20_000_u64 {
                    peers.tick(start + SILENCE * (turn as u32 + 1));
                    // An address and the bytes that go with it.
                    let last = (turn % 200) as u8 + 1;
                    peers.received(peer(last), usize::from(last));
                }
            });
            while !writer.is_finished() {
                for (address, counts) in Summary::of([&*table]).peers {
                    let IpAddr::V4(address) = address else {
                        panic!("{address}");
                    };
                    let last = u64::from(address.octets()[3]);
                    assert!(
                        [0, last].contains(&counts.bytes_in),
                        "{address}: {counts:?}"
                    );
                }
            }
        });
    }
}
