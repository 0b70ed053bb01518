//! The eBPF object: embedded at build time, loaded here.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{
        Array, DevMapHash, HashMap, LpmTrie, Map, MapData, MapError, PerCpuHashMap, ProgramArray,
        XskMap,
    },
    programs::{ProgramError, SchedClassifier, Xdp},
};
use corex_common::{
    INGRESS_PROGRAM, ROADS_PROGRAM,
    counters::{CounterSet, DetourCounters, EgressCounters, KernelCounters, SocketCounters},
    guard, host, inline, maps, overload, road,
};
use tokio::sync::watch;

use super::{
    cpu_counters::{self, CpuCounters},
    guard::{GuardMaps, GuardRecord, KernelList},
    guard_rates::RateMaps,
    host::{HostMaps, Links},
    inline::Heartbeats,
    knobs::Knobs,
    map_use::{MapUse, map_use},
    memory::Memory,
    overload::OverloadMaps,
    pins::{PinError, Pins},
    reverse_paths::ReverseMaps,
    roads::{RoadMaps, len_of},
    worker_counters::WorkerSlots,
};

/// The object file, 8-byte aligned as the ELF reader wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/corex-ebpf"));

/// Why the kernel side couldn't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The object couldn't be read, or a map not be made.
    #[error("load the eBPF object")]
    Load(#[from] EbpfError),
    /// The verifier or the kernel refused the program.
    #[error("load the XDP program")]
    Program(#[from] ProgramError),
    /// A map operation failed.
    #[error("map {name}")]
    Map {
        /// Name of the map.
        name: &'static str,
        /// The kernel's answer.
        source: MapError,
    },
    /// The object lacks something that this program was built to find in it.
    #[error("the embedded eBPF object has no {0}; build corex again")]
    Missing(&'static str),
    /// A map's descriptor couldn't be duplicated.
    #[error("duplicate a map's descriptor")]
    Descriptor(#[source] std::io::Error),
    /// The number of CPUs isn't known.
    #[error("count the CPUs")]
    Cpus(#[source] std::io::Error),
    /// A map couldn't be mapped into memory.
    #[error("map counters and settings into memory")]
    Mapping(#[source] std::io::Error),
}

/// The program's settings beside those of [`Knobs`].
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// Frames longer than this are left to the kernel.
    pub max_frame_len: u32,
    /// Whether rare events are logged.
    pub log: bool,
    /// Traffic class of answers.
    pub traffic_class: u8,
}

/// Which of the object's programs are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// Proxy mode: corex owns the listen addresses.
    Proxy,
    /// The same, and the kernel sends messages on where it can.
    Offload,
    /// Inline mode: a server owns them, and corex stands in its way.
    Inline,
}

/// What the programs have beside what they always have; the maps GUARD and CONFIG switch it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The guard.
    pub is_guarded: bool,
    /// What sheds under load.
    pub sheds: bool,
}

impl Parts {
    /// All of them.
    pub const ALL: Parts = Parts {
        is_guarded: true,
        sheds: true,
    };
}

/// The loaded object.
pub struct Object {
    ebpf: Ebpf,
    cookie: u32,
    road: Road,
    parts: Parts,
    counters: CpuCounters<KernelCounters>,
    socket_counters: CpuCounters<SocketCounters>,
    inline_counters: (CpuCounters<EgressCounters>, CpuCounters<DetourCounters>),
}

type Result<T> = std::result::Result<T, ObjectError>;

macro_rules! map {
    ($self:ident, $kind:ident, $name:expr) => {
        $kind::try_from(
            $self
                .ebpf
                .map_mut($name)
                .ok_or(ObjectError::Missing($name))?,
        )
        .map_err(|source| ObjectError::Map {
            name: $name,
            source,
        })
    };
}

fn at<T>(name: &'static str, result: std::result::Result<T, MapError>) -> Result<T> {
    result.map_err(|source| ObjectError::Map { name, source })
}

/// What isn't there needn't be removed: a socket that ends leaves its slot.
fn gone(removed: std::result::Result<(), MapError>) -> std::result::Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        other => other,
    }
}

impl Object {
    /// Loads program and maps; nothing is attached yet.
    ///
    /// # Errors
    /// What the kernel says; the verifier's log is part of it.
    pub fn load(road: Road) -> Result<Self> {
        Self::load_with(road, Parts::default())
    }

    /// The same with these parts in the programs.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(road: Road, parts: Parts) -> Result<Self> {
        let mut object = Self::open(road, parts, VerifierLogLevel::default())?;
        object.program()?.load()?;
        if parts.is_guarded {
            object.load_guard()?;
        }
        if road == Road::Inline {
            object.xdp(inline::DETOUR_PROGRAM)?.load()?;
            for name in [
                inline::EGRESS_PROGRAM,
                inline::RETURN_PROGRAM,
                inline::INJECT_PROGRAM,
            ] {
                object.classifier(name)?.load()?;
            }
        }
        Ok(object)
    }

    /// The same without loading a program: maps alone. `log` is what the verifier says of a program that
    /// can't be loaded then.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(road: Road, parts: Parts, log: VerifierLogLevel) -> Result<Self> {
        let cpus = cpu_counters::cpu_numbers().map_err(ObjectError::Cpus)?;
        let mut loader = EbpfLoader::new();
        loader.verifier_log_level(log);
        loader.map_max_entries(maps::SOCKET_COUNTS, cpus * maps::MAX_SOCKETS);
        for counters in [maps::COUNTERS, inline::EGRESS_COUNTS, inline::DETOUR_COUNTS] {
            loader.map_max_entries(counters, cpus);
        }
        loader.map_max_entries(road::ROAD_COUNTS, cpus * road::MAX_ROADS);
        let rate_counts = cpus * guard::rates::MAX_RATES as u32;
        loader.map_max_entries(guard::rates::GUARD_RATE_COUNTS, rate_counts);
        let (is_guarded, sheds) = (u32::from(parts.is_guarded), u32::from(parts.sheds));
        loader.override_global(guard::GUARDED, &is_guarded, true);
        loader.override_global(overload::SHEDS, &sheds, true);
        let ebpf = loader.load(OBJECT)?;
        // Any number will do that an older load's leftovers don't have by chance.
        let cookie = RandomState::new().hash_one(std::process::id()) as u32 | 1;
        Ok(Self {
            cookie,
            road,
            parts,
            counters: cpu_counters(&ebpf, maps::COUNTERS, cpus, 1)?,
            socket_counters: cpu_counters(&ebpf, maps::SOCKET_COUNTS, cpus, maps::MAX_SOCKETS)?,
            inline_counters: (
                cpu_counters(&ebpf, inline::EGRESS_COUNTS, cpus, 1)?,
                cpu_counters(&ebpf, inline::DETOUR_COUNTS, cpus, 1)?,
            ),
            ebpf,
        })
    }

    /// The XDP program for interfaces.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] for an object that isn't corex's.
    pub fn program(&mut self) -> Result<&mut Xdp> {
        self.xdp(match self.road {
            Road::Proxy => INGRESS_PROGRAM,
            Road::Offload => ROADS_PROGRAM,
            Road::Inline => inline::INLINE_PROGRAM,
        })
    }

    /// An XDP program by its name.
    ///
    /// # Errors
    /// As [`Self::program`].
    pub fn xdp(&mut self, name: &'static str) -> Result<&mut Xdp> {
        Ok(self
            .ebpf
            .program_mut(name)
            .ok_or(ObjectError::Missing(name))?
            .try_into()?)
    }

    /// A TC program by its name.
    ///
    /// # Errors
    /// As [`Self::program`].
    pub fn classifier(&mut self, name: &'static str) -> Result<&mut SchedClassifier> {
        Ok(self
            .ebpf
            .program_mut(name)
            .ok_or(ObjectError::Missing(name))?
            .try_into()?)
    }

    /// For aya-log, which takes its map out of the object.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Pins every map that a person may want to look at, by its name.
    ///
    /// # Errors
    /// What the file system says.
    pub fn pin(&self, pins: &Pins) -> std::result::Result<(), PinError> {
        let used = match self.road {
            Road::Proxy | Road::Offload => maps::SHOWN_ALWAYS,
            Road::Inline => maps::SHOWN.len(),
        };
        for name in maps::SHOWN.into_iter().take(used) {
            let place = pins.place(name);
            let pinned = self.ebpf.map(name).map(|map| map.pin(&place));
            if let Some(Err(error)) = pinned {
                return Err(PinError::Refused {
                    path: place,
                    source: std::io::Error::other(error),
                });
            }
        }
        Ok(())
    }

    /// Which of the programs it was loaded for.
    pub fn road(&self) -> Road {
        self.road
    }

    /// What the programs have in them.
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// Marks the records of this load, [`corex_common::meta::FrameMeta::cookie`].
    pub fn cookie(&self) -> u32 {
        self.cookie
    }

    /// The kernel's id of the XDP program for interfaces.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn program_id(&mut self) -> Result<u32> {
        Ok(self.program()?.info()?.id())
    }

    /// Instructions that the verifier walked (the kernel's limit is a million); `None`
    /// before Linux 5.16.
    pub fn verified_instructions(&mut self) -> Option<u32> {
        self.program()
            .ok()?
            .info()
            .ok()?
            .verified_instruction_count()
    }

    /// Writes the program's settings; they hold from the next packet on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn configure(&mut self, filter: Filter) -> Result<()> {
        let config = maps::Config {
            max_frame_len: filter.max_frame_len,
            cookie: self.cookie,
            log: filter.log.into(),
            traffic_class: filter.traffic_class.into(),
            ..maps::Config::default()
        };
        let mut map: Array<_, maps::Config> = map!(self, Array, maps::CONFIG)?;
        at(maps::CONFIG, map.set(0, config, 0))
    }

    /// Adds the listen socket with that address.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_socket(&mut self, address: SocketAddr, entry: maps::SocketEntry) -> Result<()> {
        let mut key = key_of(address);
        if self.road == Road::Inline {
            // What leaves comes by another interface than what arrives.
            key.ifindex = 0;
        }
        // The bit first: without it the program doesn't look for the socket.
        let (word, bit) = maps::port_bit(key.port);
        let mut ports: Array<_, u64> = map!(self, Array, maps::PORTS)?;
        let others = at(maps::PORTS, ports.get(&word, 0))?;
        at(maps::PORTS, ports.set(word, others | bit, 0))?;
        let mut map: HashMap<_, maps::SocketKey, maps::SocketEntry> =
            map!(self, HashMap, maps::SOCKETS)?;
        at(maps::SOCKETS, map.insert(key, entry, 0))
    }

    /// Tells the program where an interface's queues are in the XSKMAP.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_interface(&mut self, ifindex: u32, interface: maps::Interface) -> Result<()> {
        let mut map: HashMap<_, u32, maps::Interface> = map!(self, HashMap, maps::INTERFACES)?;
        at(maps::INTERFACES, map.insert(ifindex, interface, 0))
    }

    /// An interface that had queues there is gone.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_interface(&mut self, ifindex: u32) -> Result<()> {
        let mut map: HashMap<_, u32, maps::Interface> = map!(self, HashMap, maps::INTERFACES)?;
        at(maps::INTERFACES, gone(map.remove(&ifindex)))
    }

    /// Opens a slot: packets of that queue are steered to the socket from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_queue(
        &mut self,
        slot: u32,
        queue: maps::Queue,
        socket: impl std::os::fd::AsRawFd,
    ) -> Result<()> {
        let mut info: Array<_, maps::Queue> = map!(self, Array, maps::QUEUES)?;
        at(maps::QUEUES, info.set(slot, queue, 0))?;
        let mut xsks: XskMap<_> = map!(self, XskMap, maps::XSKS)?;
        at(maps::XSKS, xsks.set(slot, socket, 0))
    }

    /// Empties a slot: packets of its queue go to no socket any more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_queue(&mut self, slot: u32) -> Result<()> {
        let mut xsks: XskMap<_> = map!(self, XskMap, maps::XSKS)?;
        at(maps::XSKS, gone(xsks.unset(slot)))?;
        let mut info: Array<_, maps::Queue> = map!(self, Array, maps::QUEUES)?;
        at(maps::QUEUES, info.set(slot, maps::Queue::default(), 0))
    }

    /// Tells the programs of inline mode what to go by.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn configure_inline(&mut self, settings: inline::Inline) -> Result<()> {
        let mut map: Array<_, inline::Inline> = map!(self, Array, inline::INLINE)?;
        at(inline::INLINE, map.set(0, settings, 0))
    }

    /// Tells the programs of a NIC's detour.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_detour(&mut self, detour: inline::Detour) -> Result<()> {
        let mut map: HashMap<_, u32, inline::Detour> = map!(self, HashMap, inline::DETOURS)?;
        for ifindex in [detour.nic, detour.own, detour.peer] {
            at(inline::DETOURS, map.insert(ifindex, detour, 0))?;
        }
        Ok(())
    }

    /// A NIC that had a detour is gone.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_detour(&mut self, nic: u32) -> Result<()> {
        let mut map: HashMap<_, u32, inline::Detour> = map!(self, HashMap, inline::DETOURS)?;
        at(inline::DETOURS, gone(map.remove(&nic)))
    }

    /// Adds an address of which fragments are steered, with the number of sockets on it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_address(&mut self, address: IpAddr, sockets: u32) -> Result<()> {
        let mut map: HashMap<_, inline::Address, u32> = map!(self, HashMap, inline::ADDRESSES)?;
        let maps::SocketKey { addr, family, .. } = key_of(SocketAddr::new(address, 0));
        let key = inline::Address {
            addr,
            family: family.into(),
        };
        at(inline::ADDRESSES, map.insert(key, sockets, 0))
    }

    /// What the programs of inline mode counted, summed over CPUs.
    pub fn inline_counters(&self) -> (EgressCounters, DetourCounters) {
        let (egress, detour) = &self.inline_counters;
        (egress.sum(0), detour.sum(0))
    }

    /// The workers' signs of life, mapped into memory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn heartbeats(&mut self) -> Result<Heartbeats> {
        let Some(Map::Array(data)) = self.ebpf.map(inline::HEARTBEATS) else {
            return Err(ObjectError::Missing(inline::HEARTBEATS));
        };
        Heartbeats::of_map(data.fd().as_fd()).map_err(ObjectError::Mapping)
    }

    /// The maps of the host's MACs and addresses, to be kept in step with it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn host_maps(&self) -> Result<HostMaps> {
        let macs = HashMap::try_from(self.own_map(host::HOST_MACS)?);
        let addresses = HashMap::try_from(self.own_map(host::HOST_ADDRESSES)?);
        let state = Array::try_from(self.own_map(host::HOST_STATE)?);
        Ok(HostMaps::new(
            at(host::HOST_MACS, macs)?,
            at(host::HOST_ADDRESSES, addresses)?,
            at(host::HOST_STATE, state)?,
        ))
    }

    /// The maps for reverse-path filtering.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn reverse_maps(&self, links: watch::Receiver<Arc<Links>>) -> Result<ReverseMaps> {
        let paths = HashMap::try_from(self.own_map(host::REVERSE_PATHS)?);
        let state = Array::try_from(self.own_map(host::REVERSE_STATE)?);
        Ok(ReverseMaps {
            paths: at(host::REVERSE_PATHS, paths)?,
            state: at(host::REVERSE_STATE, state)?,
            links,
        })
    }

    /// The maps of roads.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn road_maps(&self) -> Result<RoadMaps> {
        let cpus = cpu_counters::cpu_numbers().map_err(ObjectError::Cpus)?;
        let sources = LpmTrie::try_from(self.own_map(road::ROAD_SOURCES)?);
        let devices = DevMapHash::try_from(self.own_map(road::ROAD_DEVICES)?);
        let peers = PerCpuHashMap::try_from(self.own_map(road::ROAD_PEERS)?);
        let mapped = |name, len| match self.ebpf.map(name) {
            Some(Map::Array(data)) => {
                Memory::of_map(data.fd().as_fd(), len).map_err(ObjectError::Mapping)
            }
            _ => Err(ObjectError::Missing(name)),
        };
        Ok(RoadMaps {
            sockets: mapped(
                road::ROAD_SOCKETS,
                len_of::<road::RoadSocket>(maps::MAX_SOCKETS),
            )?,
            classes: mapped(
                road::ROAD_CLASSES,
                len_of::<road::RoadClass>(road::MAX_ROAD_CLASSES),
            )?,
            roads: mapped(road::ROADS, len_of::<road::Road>(road::MAX_ROADS))?,
            hops: mapped(
                road::ROAD_HOPS,
                len_of::<road::RoadHop>(2 * road::MAX_ROADS),
            )?,
            counts: cpu_counters(&self.ebpf, road::ROAD_COUNTS, cpus, road::MAX_ROADS)?,
            sources: at(road::ROAD_SOURCES, sources)?,
            devices: at(road::ROAD_DEVICES, devices)?,
            peers: at(road::ROAD_PEERS, peers)?,
        })
    }

    /// The guard's maps.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn guard_maps(&self) -> Result<GuardMaps> {
        let list = |name| match self.ebpf.map(name) {
            Some(Map::LpmTrie(data)) => data
                .fd()
                .as_fd()
                .try_clone_to_owned()
                .map_err(ObjectError::Descriptor),
            _ => Err(ObjectError::Missing(name)),
        };
        let Some(Map::Array(record)) = self.ebpf.map(guard::GUARD) else {
            return Err(ObjectError::Missing(guard::GUARD));
        };
        Ok(GuardMaps {
            record: GuardRecord::of_map(record.fd().as_fd()).map_err(ObjectError::Mapping)?,
            allow: KernelList::new(list(guard::GUARD_ALLOW_V4)?, list(guard::GUARD_ALLOW_V6)?),
            block: KernelList::new(list(guard::GUARD_BLOCK_V4)?, list(guard::GUARD_BLOCK_V6)?),
            trust: KernelList::new(list(guard::GUARD_TRUST_V4)?, list(guard::GUARD_TRUST_V6)?),
            rates: self.rate_maps()?,
        })
    }

    /// The rules of rates, and the map with the buckets of sources.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn buckets(&self) -> Result<(guard::rates::Rates, OwnedFd)> {
        let name = guard::rates::GUARD_RATES;
        let rates = Array::try_from(self.own_map(name)?);
        let rates: Array<MapData, guard::rates::Rates> = at(name, rates)?;
        let name = guard::rates::GUARD_SOURCES;
        let Some(Map::LruHashMap(sources)) = self.ebpf.map(name) else {
            return Err(ObjectError::Missing(name));
        };
        let sources = sources.fd().as_fd().try_clone_to_owned();
        let rates = at(guard::rates::GUARD_RATES, rates.get(&0, 0))?;
        Ok((rates, sources.map_err(ObjectError::Descriptor)?))
    }

    fn rate_maps(&self) -> Result<RateMaps> {
        let cpus = cpu_counters::cpu_numbers().map_err(ObjectError::Cpus)?;
        let rates = Array::try_from(self.own_map(guard::rates::GUARD_RATES)?);
        let automaton = Array::try_from(self.own_map(guard::signatures::GUARD_AUTOMATON)?);
        let sources = HashMap::try_from(self.own_map(guard::rates::GUARD_SOURCES)?);
        let listeners = Array::try_from(self.own_map(guard::rates::GUARD_LISTENERS)?);
        let offenders = HashMap::try_from(self.own_map(guard::rates::GUARD_OFFENDERS)?);
        Ok(RateMaps {
            rates: at(guard::rates::GUARD_RATES, rates)?,
            automaton: at(guard::signatures::GUARD_AUTOMATON, automaton)?,
            sources: at(guard::rates::GUARD_SOURCES, sources)?,
            listeners: at(guard::rates::GUARD_LISTENERS, listeners)?,
            offenders: at(guard::rates::GUARD_OFFENDERS, offenders)?,
            counters: Arc::new(cpu_counters(
                &self.ebpf,
                guard::rates::GUARD_RATE_COUNTS,
                cpus,
                guard::rates::MAX_RATES as u32,
            )?),
        })
    }

    /// Loads the program for signatures and rates, and has it and that of interfaces call each other.
    fn load_guard(&mut self) -> Result<()> {
        self.xdp(guard::DEEP_PROGRAM)?.load()?;
        let deep = self.xdp(guard::DEEP_PROGRAM)?.fd()?.try_clone();
        let entry = self.program()?.fd()?.try_clone();
        let mut programs: ProgramArray<_> = map!(self, ProgramArray, guard::GUARD_PROGRAMS)?;
        for (slot, program) in [(guard::GUARD_PROGRAM, deep), (guard::ENTRY_PROGRAM, entry)] {
            let program = program.map_err(ObjectError::Descriptor)?;
            at(guard::GUARD_PROGRAMS, programs.set(slot, &program, 0))?;
        }
        Ok(())
    }

    /// A hash or an array by a descriptor of its own.
    fn own_map(&self, name: &'static str) -> Result<Map> {
        let own = |data| own_descriptor(name, data);
        match self.ebpf.map(name) {
            Some(Map::HashMap(data)) => Ok(Map::HashMap(own(data)?)),
            Some(Map::LruHashMap(data)) => Ok(Map::LruHashMap(own(data)?)),
            Some(Map::PerCpuLruHashMap(data)) => Ok(Map::PerCpuLruHashMap(own(data)?)),
            Some(Map::Array(data)) => Ok(Map::Array(own(data)?)),
            Some(Map::LpmTrie(data)) => Ok(Map::LpmTrie(own(data)?)),
            Some(Map::DevMapHash(data)) => Ok(Map::DevMapHash(own(data)?)),
            _ => Err(ObjectError::Missing(name)),
        }
    }

    /// What every map takes, by name.
    pub fn memory(&self) -> Vec<MapUse> {
        let mut uses: Vec<MapUse> = self
            .ebpf
            .maps()
            .filter_map(|(name, map)| {
                let data = match map {
                    Map::Array(data)
                    | Map::HashMap(data)
                    | Map::LruHashMap(data)
                    | Map::PerCpuLruHashMap(data)
                    | Map::PerCpuArray(data)
                    | Map::RingBuf(data)
                    | Map::LpmTrie(data)
                    | Map::DevMapHash(data)
                    | Map::XskMap(data) => data,
                    _ => return None,
                };
                let entries = match name {
                    maps::SOCKETS => {
                        let map = HashMap::<_, maps::SocketKey, maps::SocketEntry>::try_from(map);
                        map.ok().map(|map| map.keys().count() as u64)
                    }
                    maps::INTERFACES => {
                        let map = HashMap::<_, u32, maps::Interface>::try_from(map);
                        map.ok().map(|map| map.keys().count() as u64)
                    }
                    host::HOST_MACS => {
                        let map = HashMap::<_, host::HostMac, u32>::try_from(map);
                        map.ok().map(|map| map.keys().count() as u64)
                    }
                    host::HOST_ADDRESSES => {
                        let map = HashMap::<_, host::HostAddress, u32>::try_from(map);
                        map.ok().map(|map| map.keys().count() as u64)
                    }
                    _ => None,
                };
                Some(map_use(name, data.fd().as_fd(), entries))
            })
            .collect();
        uses.sort_by(|one, other| one.name.cmp(&other.name));
        uses
    }

    /// The program's counters, summed over CPUs.
    pub fn counters(&self) -> KernelCounters {
        self.counters.sum(0)
    }

    /// The counters of one listen socket, summed over CPUs.
    pub fn socket_counters(&self, id: usize) -> SocketCounters {
        self.socket_counters.sum(id)
    }

    /// The settings that may be changed while the program runs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn knobs(&mut self) -> Result<Knobs> {
        let Some(Map::Array(data)) = self.ebpf.map(maps::CONFIG) else {
            return Err(ObjectError::Missing(maps::CONFIG));
        };
        Knobs::of_map(data.fd().as_fd()).map_err(ObjectError::Mapping)
    }

    /// What workers and programs go by under load, mapped into memory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn overload_maps(&self) -> Result<OverloadMaps> {
        let fd = |name| match self.ebpf.map(name) {
            Some(Map::Array(data)) => Ok(data.fd().as_fd()),
            _ => Err(ObjectError::Missing(name)),
        };
        let (pressure, peers) = (fd(overload::PRESSURE)?, fd(overload::KNOWN_PEERS)?);
        OverloadMaps::of_maps(pressure, peers, self.cookie).map_err(ObjectError::Mapping)
    }

    /// The worker counters' map, mapped into memory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn worker_slots(&mut self) -> Result<WorkerSlots> {
        let Some(Map::Array(data)) = self.ebpf.map(maps::WORKERS) else {
            return Err(ObjectError::Missing(maps::WORKERS));
        };
        WorkerSlots::of_map(data.fd().as_fd(), maps::MAX_WORKERS as usize)
            .map_err(ObjectError::Mapping)
    }
}

/// The same map by another descriptor.
fn own_descriptor(name: &'static str, data: &MapData) -> Result<MapData> {
    let fd = data.fd().as_fd().try_clone_to_owned();
    let fd = fd.map_err(ObjectError::Descriptor)?;
    at(name, MapData::from_fd(fd))
}

/// A map of counters, mapped into memory.
fn cpu_counters<C: CounterSet>(
    ebpf: &Ebpf,
    name: &'static str,
    cpus: u32,
    sets: u32,
) -> Result<CpuCounters<C>> {
    let Some(Map::Array(data)) = ebpf.map(name) else {
        return Err(ObjectError::Missing(name));
    };
    CpuCounters::of_map(data.fd().as_fd(), cpus, sets).map_err(ObjectError::Mapping)
}

/// A local address as the maps have it.
fn key_of(address: SocketAddr) -> maps::SocketKey {
    let mut addr = [0; 16];
    let family = match address.ip() {
        IpAddr::V4(ip) => {
            addr[..4].copy_from_slice(&ip.octets());
            maps::FAMILY_V4
        }
        IpAddr::V6(ip) => {
            addr.copy_from_slice(&ip.octets());
            maps::FAMILY_V6
        }
    };
    maps::SocketKey {
        addr,
        port: address.port(),
        proto: corex_common::ip::PROTOCOL_UDP,
        family,
        ifindex: match address {
            SocketAddr::V6(address) if address.ip().is_unicast_link_local() => address.scope_id(),
            _ => 0,
        },
    }
}
