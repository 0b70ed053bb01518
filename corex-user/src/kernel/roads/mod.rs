//! The maps of roads: what they hold follows from the configuration, the next hops, and what the
//! devices can do.
//!
//! Next hops come from the table that AF_XDP sends by ([`super::routes`]), not from
//! bpf_fib_lookup(): that answers nothing on a host that doesn't forward packets, as hosts of
//! proxies shouldn't, and knows neither policy rules nor which source address a packet will have.

mod features;
mod layout;
mod traffic;

use std::{
    collections::HashMap,
    fmt, mem,
    path::Path as FilePath,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use aya::{
    Pod,
    maps::{DevMapHash, LpmTrie, MapData, MapError, PerCpuHashMap, lpm_trie::Key},
};
use corex_common::{
    counters::RoadCounters,
    road::{
        MAX_ROADS, Road, RoadClass, RoadHop, RoadPeer, RoadPeerCounts, RoadSocket, RoadSource,
        hop_slot,
    },
};

use self::{
    features::Features,
    layout::{road, source},
};
pub use self::{
    layout::{Action, Layout, RoadSpec, SocketSpec},
    traffic::Traffic,
};
use super::{
    attach::Mode,
    cpu_counters::CpuCounters,
    knobs::Knobs,
    memory::Memory,
    routes::{LinkNextHop, NextHopTable, Path},
};

/// How long a hop is used beyond the time when the kernel is to see a packet of its path.
const GRACE: Duration = Duration::from_secs(5);
/// So long after roads were closed, or a hop was withdrawn, no program goes by them any more.
const SETTLE: Duration = Duration::from_millis(10);

/// The maps, as the loaded object has them.
pub struct RoadMaps {
    pub(super) sockets: Memory<AtomicU64>,
    pub(super) classes: Memory<AtomicU64>,
    pub(super) roads: Memory<AtomicU64>,
    pub(super) hops: Memory<AtomicU64>,
    pub(super) counts: CpuCounters<RoadCounters>,
    pub(super) sources: LpmTrie<MapData, RoadSource, u32>,
    pub(super) devices: DevMapHash<MapData>,
    pub(super) peers: PerCpuHashMap<MapData, RoadPeer, RoadPeerCounts>,
}

/// Roads, and what is known of each.
pub struct Roads {
    inner: Mutex<Inner>,
    knobs: Knobs,
    next_hops: Arc<ArcSwap<NextHopTable>>,
}

struct Inner {
    maps: RoadMaps,
    layout: Layout,
    /// What roads did that there are no more.
    former: Traffic,
    /// What is in the trie.
    sources: Vec<(u32, RoadSource)>,
    /// By road.
    hops: Vec<Option<Hop>>,
    /// By road: when its hop was withdrawn last, and which of the two it was.
    withdrawn: Vec<(Option<Instant>, u32)>,
    features: Option<Features>,
    /// By interface: whether what came by it may leave by it.
    reflecting: HashMap<u32, bool>,
    /// The interfaces in the map of devices.
    redirecting: Vec<u32>,
    is_installed: bool,
    is_held: bool,
}

/// A hop in use.
struct Hop {
    /// As [`Road::hop`] has it.
    number: u32,
    value: RoadHop,
    fresh_until: Instant,
}

/// A road as people are told of it.
#[derive(Clone, Debug)]
pub struct RoadLine {
    /// Its number.
    pub number: usize,
    /// The listen socket's id.
    pub socket: u32,
    /// What happens.
    pub action: Action,
    /// `open`, or why messages are steered instead.
    pub state: &'static str,
    /// The interface that it leaves by; 0: that isn't known.
    pub ifindex: u32,
    /// What it did.
    pub counters: RoadCounters,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(to) => write!(f, "{to}"),
            Self::DropScript => f.write_str("drop"),
            Self::DropUnrouted => f.write_str("drop, sent nowhere"),
        }
    }
}

impl Roads {
    /// Without any road yet.
    pub fn new(maps: RoadMaps, knobs: Knobs, next_hops: Arc<ArcSwap<NextHopTable>>) -> Self {
        let features = Features::open();
        if let Err(error) = &features {
            tracing::info!(
                "the kernel doesn't tell what devices can send for XDP (Linux 6.3 does): roads \
                 lead back by the NIC where a message came only: {error}"
            );
        }
        Self {
            inner: Mutex::new(Inner {
                maps,
                layout: Layout::default(),
                former: Traffic::default(),
                sources: Vec::new(),
                hops: Vec::new(),
                withdrawn: Vec::new(),
                features: features.ok(),
                reflecting: HashMap::new(),
                redirecting: Vec::new(),
                is_installed: false,
                is_held: false,
            }),
            knobs,
            next_hops,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on no message takes a road.
    pub fn close(&self) {
        self.knobs.set_roads(false);
        self.lock().is_installed = false;
    }

    /// Puts other roads in the place of those that there were; they are closed until [`Self::look`].
    ///
    /// # Errors
    /// What the kernel says of the trie of sources: the sockets that need it have no roads then.
    pub fn install(&self, layout: Layout) -> Result<(), MapError> {
        self.knobs.set_roads(false);
        thread::sleep(SETTLE);
        let mut inner = self.lock();
        inner.is_installed = false;
        let installed = inner.write(layout);
        inner.is_installed = true;
        installed
    }

    /// While `is_held`, no message takes a road.
    pub fn hold(&self, is_held: bool) {
        if is_held {
            self.knobs.set_roads(false);
        }
        self.lock().is_held = is_held;
    }

    /// Opens the roads, unless something is against it; `is_watched` tells whether somebody looks
    /// at messages. Takes in how the devices and the next hops are now.
    pub fn look(&self, devices: &[(u32, &str, Mode)], is_watched: impl Fn() -> bool) {
        let mut inner = self.lock();
        inner.take_devices(devices);
        inner.take_hops(&self.next_hops.load());
        let may_open = inner.is_installed && !inner.is_held && !inner.layout.sockets.is_empty();
        self.knobs.set_roads(may_open && !is_watched());
        if is_watched() {
            // Who began to look meanwhile has closed them, or does now.
            self.knobs.set_roads(false);
        }
    }

    /// Takes in how the next hops are now.
    pub fn follow(&self) {
        self.lock().take_hops(&self.next_hops.load());
    }

    /// What people are told.
    pub fn lines(&self) -> Vec<RoadLine> {
        let is_open = self.knobs.roads();
        let inner = self.lock();
        let now = Instant::now();
        let line = |(number, spec): (usize, &RoadSpec)| {
            let hop = inner.hops.get(number).and_then(Option::as_ref);
            let state = match (spec.action, hop) {
                _ if !is_open => "closed",
                (Action::Send(_), None) => "no next hop",
                (Action::Send(_), Some(hop)) if now >= hop.fresh_until + GRACE => "no next hop",
                (Action::Send(_), Some(hop)) if !inner.can_leave(hop.value.ifindex) => {
                    "the device doesn't send for XDP"
                }
                _ => "open",
            };
            RoadLine {
                number,
                socket: spec.socket,
                action: spec.action,
                state,
                ifindex: hop.map_or(0, |hop| hop.value.ifindex),
                counters: inner.maps.counts.sum(number),
            }
        };
        inner.layout.roads.iter().enumerate().map(line).collect()
    }
}

impl Inner {
    fn write(&mut self, layout: Layout) -> Result<(), MapError> {
        for word in self.maps.sockets.words() {
            word.store(0, Ordering::Relaxed);
        }
        self.former = self.traffic_of_roads();
        self.maps.counts.reset();
        self.hops = layout.roads.iter().map(|_| None).collect();
        self.withdrawn = layout.roads.iter().map(|_| (None, 0)).collect();
        for number in 0..MAX_ROADS as usize {
            let spec = layout.roads.get(number);
            let value = spec.map_or(Road::default(), |spec| road(spec, &layout));
            store(&self.maps.roads, number, value);
        }
        let mut outcome = self.forget_sources();
        let mut class = 0_u32;
        for spec in &layout.sockets {
            let by_source = spec.classes.len() > 1;
            let mut is_whole = true;
            for (at, (network, value)) in spec.classes.iter().enumerate() {
                store(&self.maps.classes, class as usize + at, *value);
                if at > 0
                    && let Err(error) =
                        self.add_source(spec.socket, *network, class + at as u32 + 1)
                {
                    outcome = Err(error);
                    is_whole = false;
                }
            }
            if is_whole {
                let from = RoadSocket {
                    class: class + 1,
                    by_source: by_source.into(),
                };
                store(&self.maps.sockets, spec.socket as usize, from);
            }
            class += spec.classes.len() as u32;
        }
        self.layout = layout;
        outcome
    }

    fn forget_sources(&mut self) -> Result<(), MapError> {
        let mut outcome = Ok(());
        for (len, source) in mem::take(&mut self.sources) {
            if let Err(error) = self.maps.sources.remove(&Key::new(len, source)) {
                self.sources.push((len, source));
                outcome = Err(error);
            }
        }
        outcome
    }

    fn add_source(
        &mut self,
        socket: u32,
        network: (std::net::IpAddr, u8),
        class: u32,
    ) -> Result<(), MapError> {
        let (len, source) = source(socket, network);
        self.maps.sources.insert(&Key::new(len, source), class, 0)?;
        self.sources.push((len, source));
        Ok(())
    }

    /// Whether frames can leave by an interface.
    fn can_leave(&self, ifindex: u32) -> bool {
        self.redirecting.contains(&ifindex) || self.reflecting.get(&ifindex) == Some(&true)
    }

    fn take_devices(&mut self, devices: &[(u32, &str, Mode)]) {
        let mut reflecting = HashMap::new();
        let mut redirecting = Vec::new();
        for (ifindex, name, mode) in devices {
            let sends = self
                .features
                .as_ref()
                .and_then(|all| all.sends(*ifindex).ok());
            // A driver of hardware that takes the program sends what it returns, too.
            let is_hardware = FilePath::new("/sys/class/net")
                .join(name)
                .join("device")
                .exists();
            let may_reflect = *mode == Mode::Skb || is_hardware || sends == Some(true);
            reflecting.insert(*ifindex, may_reflect);
            if *mode == Mode::Native && sends == Some(true) {
                redirecting.push(*ifindex);
            }
        }
        for ifindex in mem::take(&mut self.redirecting) {
            if redirecting.contains(&ifindex) {
                self.redirecting.push(ifindex);
            } else if let Err(error) = self.maps.devices.remove(ifindex) {
                // The kernel takes a device out that is gone.
                tracing::debug!(%error, "take interface {ifindex} from the map of devices");
            }
        }
        for ifindex in redirecting {
            if self.redirecting.contains(&ifindex) {
                continue;
            }
            match self.maps.devices.insert(ifindex, ifindex, None, 0) {
                Ok(()) => self.redirecting.push(ifindex),
                Err(error) => {
                    tracing::debug!(%error, "put interface {ifindex} into the map of devices");
                }
            }
        }
        self.reflecting = reflecting;
    }

    fn take_hops(&mut self, table: &NextHopTable) {
        for number in 0..self.layout.roads.len() {
            let Some(RoadSpec {
                from,
                action: Action::Send(to),
                ..
            }) = self.layout.roads.get(number)
            else {
                continue;
            };
            let found = table.get(&Path::new(*from, *to));
            self.take_hop(number, found);
        }
    }

    fn take_hop(&mut self, number: usize, found: Option<&LinkNextHop>) {
        let wanted = found.map(|hop| RoadHop {
            ifindex: hop.ifindex,
            mtu: hop.mtu,
            destination_mac: hop.destination_mac,
            source_mac: hop.source_mac,
            may_reflect: (self.reflecting.get(&hop.ifindex) == Some(&true)).into(),
        });
        let Some(place) = self.hops.get_mut(number) else {
            return;
        };
        if let Some(hop) = place
            && wanted != Some(hop.value)
        {
            set_hop(&self.maps.roads, number, 0);
            if let Some(withdrawn) = self.withdrawn.get_mut(number) {
                *withdrawn = (Some(Instant::now()), hop.number);
            }
            *place = None;
        }
        let (Some(value), Some(found)) = (wanted, found) else {
            return;
        };
        match place {
            Some(hop) if hop.fresh_until == found.fresh_until => {}
            Some(hop) => {
                hop.fresh_until = found.fresh_until;
                set_times(&self.maps.roads, number, found.fresh_until);
            }
            None => {
                let (at, before) = self.withdrawn.get(number).copied().unwrap_or_default();
                // The other one may be in use by a program still that began before the last change.
                if at.is_some_and(|at| at.elapsed() < SETTLE) {
                    return;
                }
                let next = if before == 1 { 2 } else { 1 };
                store(
                    &self.maps.hops,
                    hop_slot(number as u32, next) as usize,
                    value,
                );
                set_times(&self.maps.roads, number, found.fresh_until);
                set_hop(&self.maps.roads, number, next);
                *place = Some(Hop {
                    number: next,
                    value,
                    fresh_until: found.fresh_until,
                });
            }
        }
    }
}

/// Words of a value in a map, which is an array of such values.
const fn words<T>() -> usize {
    size_of::<T>() / size_of::<u64>()
}

/// Writes a value of a map.
fn store<T: Pod>(map: &Memory<AtomicU64>, at: usize, value: T) {
    const { assert!(size_of::<T>().is_multiple_of(size_of::<u64>())) };
    // SAFETY: plain data without padding, of whole words; bytes may be read from any of it.
    let bytes =
        unsafe { std::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<T>()) };
    let start = at * words::<T>();
    let all = map.words().iter().skip(start);
    for (word, bytes) in all.zip(bytes.as_chunks().0) {
        word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
    }
}

/// The word of a road that a field is in.
fn field(map: &Memory<AtomicU64>, number: usize, offset: usize) -> Option<&AtomicU64> {
    map.words()
        .get(number * words::<Road>() + offset / size_of::<u64>())
}

const _: () = assert!(mem::offset_of!(Road, action) == 0 && mem::offset_of!(Road, hop) == 4);

fn set_hop(map: &Memory<AtomicU64>, number: usize, hop: u32) {
    let Some(word) = field(map, number, mem::offset_of!(Road, action)) else {
        return;
    };
    // Action and hop share a word.
    let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
    let [a, b, c, d, ..] = bytes;
    let [e, f, g, h] = hop.to_ne_bytes();
    // Behind what it leads to.
    word.store(
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        Ordering::Release,
    );
}

fn set_times(map: &Memory<AtomicU64>, number: usize, fresh_until: Instant) {
    let (here, now) = (Instant::now(), monotonic());
    let at = |instant: Instant| now + instant.saturating_duration_since(here);
    for (offset, at) in [
        (mem::offset_of!(Road, sample_at), at(fresh_until)),
        (mem::offset_of!(Road, valid_until), at(fresh_until + GRACE)),
    ] {
        if let Some(word) = field(map, number, offset) {
            word.store(at.as_nanos() as u64, Ordering::Relaxed);
        }
    }
}

/// CLOCK_MONOTONIC, which bpf_ktime_get_ns() reads.
fn monotonic() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` lives through the call. It can't fail with this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// As many words as a map of `len` values has.
pub(super) const fn len_of<T>(len: u32) -> usize {
    len as usize * words::<T>()
}

const _: () = assert!(
    size_of::<RoadSocket>() == 8 && size_of::<RoadClass>() == 128 && size_of::<RoadHop>() == 24
);
