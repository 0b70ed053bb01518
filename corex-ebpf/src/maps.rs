//! The maps, declared with BTF so that `bpftool map dump` prints names.
//! Their meaning stands in `corex_common::maps`.

use aya_ebpf::{
    btf_maps::{
        Array, DevMapHash, HashMap, LpmTrie, LruHashMap, LruPerCpuHashMap, PerCpuArray,
        ProgramArray, XskMap,
    },
    helpers::generated::bpf_get_smp_processor_id,
    macros::btf_map,
};
use corex_common::{
    answer::Room,
    counters::{
        DetourCounters, EgressCounters, KernelCounters, RateCounters, RoadCounters, SocketCounters,
        WorkerCounters,
    },
    guard::{
        Guard, Listed, MAX_LISTED, NetV4, NetV6,
        rates::{
            LOCKS, Listener, MAX_OFFENDERS, MAX_RATES, MAX_SOURCES, Offender, Rates, Source,
            SourceKey, rate_count,
        },
        signatures::Automaton,
    },
    host::{
        HostAddress, HostMac, HostState, KnownHost, KnownSource, MAX_HOST_ADDRESSES, MAX_HOST_MACS,
        MAX_KNOWN_SOURCES, MAX_REVERSE_PATHS, ReversePath, ReverseState,
    },
    inline::{Address, Detour, FragmentKey, Inline, MAX_FRAGMENTS},
    maps::{
        Config, Interface, MAX_INTERFACES, MAX_QUEUES, MAX_SOCKETS, MAX_WORKERS, PORT_WORDS, Queue,
        SocketEntry, SocketKey, port_bit, socket_count,
    },
    overload::{KnownPeer, MAX_KNOWN_PEERS, Pressure},
    road::{
        MAX_ROAD_CLASSES, MAX_ROAD_DEVICES, MAX_ROAD_PEERS, MAX_ROAD_SOURCES, MAX_ROADS, Road,
        RoadClass, RoadHop, RoadPeer, RoadPeerCounts, RoadSocket, RoadSource, road_count,
    },
};

use crate::desk::{Desk, Lock};

/// A list of the guard's.
pub type List<K> = LpmTrie<K, Listed, { MAX_LISTED as usize }>;

/// uapi/linux/bpf.h: the map may be mapped into user space.
const BPF_F_MMAPABLE: usize = 1 << 10;

#[btf_map]
pub static SOCKETS: HashMap<SocketKey, SocketEntry, { MAX_SOCKETS as usize }> = HashMap::new();

#[btf_map]
pub static PORTS: Array<u64, { PORT_WORDS as usize }> = Array::new();

// Counters have an entry for each CPU, and the loader says how many CPUs there are. Per-CPU maps
// can't be mapped into user space.

#[btf_map]
pub static SOCKET_COUNTS: Array<SocketCounters, { MAX_SOCKETS as usize }, BPF_F_MMAPABLE> =
    Array::new();

#[btf_map]
pub static COUNTERS: Array<KernelCounters, 1, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static CONFIG: Array<Config, 1, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static INTERFACES: HashMap<u32, Interface, { MAX_INTERFACES as usize }> = HashMap::new();

#[btf_map]
pub static XSKS: XskMap<{ MAX_QUEUES as usize }> = XskMap::new();

#[btf_map]
pub static QUEUES: Array<Queue, { MAX_QUEUES as usize }> = Array::new();

#[btf_map]
pub static WORKERS: Array<WorkerCounters, { MAX_WORKERS as usize }, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static PRESSURE: Array<Pressure, { MAX_WORKERS as usize }, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static KNOWN_PEERS: Array<KnownPeer, { MAX_KNOWN_PEERS as usize }, BPF_F_MMAPABLE> =
    Array::new();

#[btf_map]
pub static HOST_MACS: HashMap<HostMac, u32, { MAX_HOST_MACS as usize }> = HashMap::new();

#[btf_map]
pub static HOST_ADDRESSES: HashMap<HostAddress, u32, { MAX_HOST_ADDRESSES as usize }> =
    HashMap::new();

#[btf_map]
pub static HOST_STATE: Array<HostState, 1> = Array::new();

#[btf_map]
pub static KNOWN_HOST: PerCpuArray<KnownHost, 1> = PerCpuArray::new();

#[btf_map]
pub static KNOWN_SOURCES: PerCpuArray<KnownSource, { MAX_KNOWN_SOURCES as usize }> =
    PerCpuArray::new();

#[btf_map]
pub static REVERSE_PATHS: LruHashMap<ReversePath, u32, { MAX_REVERSE_PATHS as usize }> =
    LruHashMap::new();

#[btf_map]
pub static REVERSE_STATE: Array<ReverseState, 1> = Array::new();

#[btf_map]
pub static ANSWER_ROOM: PerCpuArray<Room, 1> = PerCpuArray::new();

#[btf_map]
pub static GUARD: Array<Guard, 1, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static GUARD_ALLOW_V4: List<NetV4> = List::new();

#[btf_map]
pub static GUARD_ALLOW_V6: List<NetV6> = List::new();

#[btf_map]
pub static GUARD_BLOCK_V4: List<NetV4> = List::new();

#[btf_map]
pub static GUARD_BLOCK_V6: List<NetV6> = List::new();

#[btf_map]
pub static GUARD_TRUST_V4: List<NetV4> = List::new();

#[btf_map]
pub static GUARD_TRUST_V6: List<NetV6> = List::new();

#[btf_map]
pub static GUARD_DESK: PerCpuArray<Desk, 1> = PerCpuArray::new();

#[btf_map]
pub static ROAD_SOCKETS: Array<RoadSocket, { MAX_SOCKETS as usize }, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static ROAD_SOURCES: LpmTrie<RoadSource, u32, { MAX_ROAD_SOURCES as usize }> = LpmTrie::new();

#[btf_map]
pub static ROAD_CLASSES: Array<RoadClass, { MAX_ROAD_CLASSES as usize }, BPF_F_MMAPABLE> =
    Array::new();

#[btf_map]
pub static ROADS: Array<Road, { MAX_ROADS as usize }, BPF_F_MMAPABLE> = Array::new();

/// Two for each road.
#[btf_map]
pub static ROAD_HOPS: Array<RoadHop, { 2 * MAX_ROADS as usize }, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static ROAD_COUNTS: Array<RoadCounters, { MAX_ROADS as usize }, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static ROAD_PEERS: LruPerCpuHashMap<RoadPeer, RoadPeerCounts, { MAX_ROAD_PEERS as usize }> =
    LruPerCpuHashMap::new();

#[btf_map]
pub static ROAD_DEVICES: DevMapHash<{ MAX_ROAD_DEVICES as usize }> = DevMapHash::new();

#[btf_map]
pub static INLINE: Array<Inline, 1> = Array::new();

/// Three entries for each interface.
#[btf_map]
pub static DETOURS: HashMap<u32, Detour, { 3 * MAX_INTERFACES as usize }> = HashMap::new();

#[btf_map]
pub static ADDRESSES: HashMap<Address, u32, { MAX_SOCKETS as usize }> = HashMap::new();

#[btf_map]
pub static FRAGMENTS: LruHashMap<FragmentKey, u32, { MAX_FRAGMENTS as usize }> = LruHashMap::new();

#[btf_map]
pub static HEARTBEATS: Array<u64, { MAX_WORKERS as usize }, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static EGRESS_COUNTS: Array<EgressCounters, 1, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static DETOUR_COUNTS: Array<DetourCounters, 1, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static GUARD_PROGRAMS: ProgramArray<2> = ProgramArray::new();

#[btf_map]
pub static GUARD_RATES: Array<Rates, 1> = Array::new();

#[btf_map]
pub static GUARD_SOURCES: LruHashMap<SourceKey, Source, { MAX_SOURCES as usize }> =
    LruHashMap::new();

#[btf_map]
pub static GUARD_LISTENERS: Array<Listener, { MAX_SOCKETS as usize }> = Array::new();

#[btf_map]
pub static GUARD_LOCKS: Array<Lock, { LOCKS as usize }> = Array::new();

#[btf_map]
pub static GUARD_OFFENDERS: HashMap<SourceKey, Offender, { MAX_OFFENDERS as usize }> =
    HashMap::new();

#[btf_map]
pub static GUARD_RATE_COUNTS: Array<RateCounters, { MAX_RATES }, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static GUARD_AUTOMATON: Array<Automaton, 1> = Array::new();

/// Whether any socket in [`SOCKETS`] has this port.
#[inline(always)]
pub fn has_port(port: u16) -> bool {
    let (word, bit) = port_bit(port);
    PORTS.get(word).is_some_and(|bits| bits & bit != 0)
}

#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: it reads a number, and no program moves to another CPU while it runs.
    unsafe { bpf_get_smp_processor_id() }
}

/// This CPU's counters. `None` never happens; the verifier wants to see it handled.
#[inline(always)]
pub fn counters<'a>() -> Option<&'a mut KernelCounters> {
    // SAFETY: the slot belongs to this CPU, and an XDP program isn't preempted by another
    // run of itself on the same CPU.
    COUNTERS.get_ptr_mut(cpu()).map(|p| unsafe { &mut *p })
}

/// This CPU's counters of one listen socket.
#[inline(always)]
pub fn socket_counters<'a>(id: u32) -> Option<&'a mut SocketCounters> {
    // SAFETY: as in `counters`.
    SOCKET_COUNTS
        .get_ptr_mut(socket_count(cpu(), id))
        .map(|p| unsafe { &mut *p })
}

/// This CPU's place to write answers in.
#[inline(always)]
pub fn answer_room<'a>() -> Option<&'a mut Room> {
    // SAFETY: as in `counters`.
    ANSWER_ROOM.get_ptr_mut(0).map(|p| unsafe { &mut *p })
}

/// This CPU's place for what the guard has at hand.
#[inline(always)]
pub fn guard_desk<'a>() -> Option<&'a mut Desk> {
    // SAFETY: as in `counters`.
    GUARD_DESK.get_ptr_mut(0).map(|p| unsafe { &mut *p })
}

/// This CPU's counters of one road.
#[inline(always)]
pub fn road_counters<'a>(road: u32) -> Option<&'a mut RoadCounters> {
    // SAFETY: as in `counters`.
    ROAD_COUNTS
        .get_ptr_mut(road_count(cpu(), road))
        .map(|p| unsafe { &mut *p })
}

/// This CPU's counters of one rule of the guard's rates.
#[inline(always)]
pub fn rate_counters<'a>(rule: u32) -> Option<&'a mut RateCounters> {
    // SAFETY: as in `counters`.
    GUARD_RATE_COUNTS
        .get_ptr_mut(rate_count(cpu(), rule))
        .map(|p| unsafe { &mut *p })
}

/// This CPU's counters of packets that leave.
#[inline(always)]
pub fn egress_counters<'a>() -> Option<&'a mut EgressCounters> {
    // SAFETY: as in `counters`; a TC program is preempted by none of its kind either, as
    // transmission runs with bottom halves off.
    EGRESS_COUNTS.get_ptr_mut(cpu()).map(|p| unsafe { &mut *p })
}

/// This CPU's counters of the detour.
#[inline(always)]
pub fn detour_counters<'a>() -> Option<&'a mut DetourCounters> {
    // SAFETY: as in `counters`.
    DETOUR_COUNTS.get_ptr_mut(cpu()).map(|p| unsafe { &mut *p })
}
