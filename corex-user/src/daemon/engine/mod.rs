//! Chooses the engine and sets it up: kernel sockets alone, or AF_XDP in front of them.

mod books;
mod follow;
mod heritage;
mod host;
mod nics;
mod refusal;
mod slots;
mod start;
mod units;

use std::{
    io,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
};

use aya::Ebpf;
use corex_common::maps;
use corex_sip::Transport;
use tokio::sync::watch;

use self::{
    follow::{Hand, Unit},
    nics::Nics,
    slots::Slots,
    units::{BoundQueue, Builder},
};
use super::{inline, options::Options};
use crate::{
    io::{order::Order, xdp_side::XdpSide},
    kernel::{
        guard::{GuardMaps, Left},
        host::{HostFollower, Links},
        knobs::Knobs,
        map_use::MapUse,
        object::Object,
        overload::OverloadMaps,
        pins::Pins,
        presence::{Hook, Place},
        reverse_paths::ReversePaths,
        roads::Roads,
        worker_counters::WorkerSlots,
    },
    pipeline::Listener,
    telemetry::{books as lines, gauges::WorkerLink},
};

/// How corex ends, and so what becomes of the programs on the interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// For good.
    Stop,
    /// A successor takes over when this one has ended.
    HandOver,
    /// A successor has taken over.
    HandedOver,
}

/// The engine, set up.
pub struct PacketEngine {
    slots: WorkerSlots,
    overload: OverloadMaps,
    knobs: Knobs,
    links: Vec<Arc<WorkerLink>>,
    /// What each worker gets; taken when they start.
    workers: Vec<WorkerSide>,
    xdp: Option<Xdp>,
    /// What is asked of the way back to sources, if anything.
    reverse_paths: Option<ReversePaths>,
    /// Packets that the predecessor's program had steered, and that the workers find in the rings.
    taken_over: u64,
    /// Packets that the program had steered, and that are in the rings for the successor.
    handed_over: u64,
}

/// What a worker gets.
pub struct WorkerSide {
    /// Its AF_XDP queues.
    pub sides: Vec<XdpSide>,
    /// What it will be told of them.
    pub orders: Receiver<Order>,
}

impl WorkerSide {
    /// Of a worker without AF_XDP.
    fn sockets_alone() -> Self {
        let (_, orders) = mpsc::channel();
        Self {
            sides: Vec::new(),
            orders,
        }
    }
}

struct Xdp {
    object: Object,
    /// Messages that the kernel handles; `None` where the configuration doesn't ask for it.
    roads: Option<Arc<Roads>>,
    /// Keeps the maps of the host's addresses in step.
    host: HostFollower,
    nics: Nics,
    builder: Builder,
    options: Options,
    /// Whether NICs that come back, and queues that come, are to be served.
    may_attach: bool,
    slots: Slots,
    queues: Vec<BoundQueue>,
    /// The units, by number.
    units: Vec<Unit>,
    /// The workers.
    hands: Vec<Hand>,
    /// Packet memory of one worker's part of a unit, in bytes.
    memory: Vec<(u32, u64)>,
    /// Behind the object: pins go last. `None` where there is no file system for them.
    pins: Option<Pins>,
    /// A successor is about to have all this: nothing is to be changed.
    is_frozen: bool,
    /// Whom the guard's lists had of an instance that has ended.
    guard_left: Vec<Left>,
}

impl Xdp {
    fn queue_lines(&self) -> Vec<lines::QueueLine> {
        let line = |queue: &BoundQueue| {
            let index = queue.bound.ifindex;
            let mut served = self.nics.served();
            let (interface, mode, _) = served.find(|(one, ..)| one.index == index)?;
            Some(lines::QueueLine {
                interface: interface.name.clone(),
                queue: queue.bound.queue,
                worker: queue.worker,
                mode: mode.to_string(),
                zero_copy: queue.bound.zero_copy,
                gauges: queue.gauges.values(),
            })
        };
        self.queues.iter().filter_map(line).collect()
    }
}

impl PacketEngine {
    /// Starts steering: the queues and then the listen sockets become known to the program.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open_queues(&mut self, listeners: &[Listener]) -> anyhow::Result<()> {
        let Some(xdp) = &mut self.xdp else {
            return Ok(());
        };
        if let Some(detours) = &mut xdp.nics.detours {
            detours.serve();
            // Until the workers run; they are started next.
            let heartbeats = xdp.object.heartbeats()?;
            xdp.queues
                .iter()
                .for_each(|line| heartbeats.beat(line.worker as usize));
        }
        for unit in units::all(&xdp.nics) {
            xdp.open(unit)?;
        }
        let datagram = |(_, l): &(usize, &Listener)| l.transport == Transport::Udp;
        for (id, listener) in listeners.iter().enumerate().filter(datagram) {
            let entry = maps::SocketEntry {
                id: id as u32,
                steer: 1,
            };
            xdp.object.add_socket(listener.address, entry)?;
        }
        Ok(())
    }

    /// Lets the workers be woken when they are told of their queues.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn set_wakers(&mut self, wakers: &[&UnixStream]) -> io::Result<()> {
        let Some(xdp) = &mut self.xdp else {
            return Ok(());
        };
        for (hand, waker) in xdp.hands.iter_mut().zip(wakers) {
            hand.waker = Some(waker.try_clone()?);
        }
        Ok(())
    }

    /// By which workers judge what kernel sockets bring.
    pub fn reverse_paths(&self) -> Option<ReversePaths> {
        self.reverse_paths.clone()
    }

    /// The guard's maps in the programs' memory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn guard_maps(&self) -> anyhow::Result<Option<GuardMaps>> {
        let maps = self.xdp.as_ref().map(|xdp| xdp.object.guard_maps());
        Ok(maps.transpose()?)
    }

    /// Whether all that judges can have a guard.
    pub fn may_be_guarded(&self) -> bool {
        let object = self.xdp.as_ref().map(|xdp| &xdp.object);
        object.is_none_or(|object| object.parts().is_guarded)
    }

    /// Whom the guard's lists had of an instance that has ended.
    pub fn take_guard_left(&mut self) -> Vec<Left> {
        let xdp = self.xdp.as_mut();
        xdp.map_or_else(Vec::new, |xdp| std::mem::take(&mut xdp.guard_left))
    }

    /// Messages that the kernel handles, if it may.
    pub fn roads(&self) -> Option<Arc<Roads>> {
        self.xdp.as_ref()?.roads.clone()
    }

    /// Opens the roads that are there, with the NICs as they are now; `is_watched` tells whether
    /// somebody looks at messages.
    pub fn look_at_roads(&self, is_watched: impl Fn() -> bool) {
        let Some(xdp) = &self.xdp else {
            return;
        };
        if let Some(roads) = &xdp.roads {
            let served = xdp.nics.served();
            let devices: Vec<_> = served
                .map(|(interface, mode, _)| (interface.index, &*interface.name, mode))
                .collect();
            roads.look(&devices, is_watched);
        }
    }

    /// The host's links, as they are and as they become; `None` without AF_XDP.
    pub fn host_links(&self) -> Option<watch::Receiver<Arc<Links>>> {
        Some(self.xdp.as_ref()?.host.links())
    }

    /// Whether NICs that come back, and queues that come, are to be served.
    pub fn may_attach(&self) -> bool {
        self.xdp.as_ref().is_some_and(|xdp| xdp.may_attach)
    }

    /// The NICs that programs are on, by index, with the places where these must be found.
    pub fn attached(&mut self) -> Vec<(u32, Vec<Place>)> {
        let Some(xdp) = self.xdp.as_mut().filter(|xdp| !xdp.is_frozen) else {
            return Vec::new();
        };
        let program = xdp.object.program_id().ok();
        let nics = xdp.nics.all.iter().enumerate();
        nics.filter_map(|(number, nic)| {
            let index = nic.on.as_ref()?.interface.index;
            let places = match &xdp.nics.detours {
                Some(detours) => detours.places(number).collect(),
                None => {
                    let hook = Hook::Xdp(program?);
                    vec![Place { index, hook }]
                }
            };
            Some((index, places))
        })
        .collect()
    }

    /// Does what is to be done now that the links are these, and a program isn't where it was, of the NICs
    /// with the indices of `detached`. Returns whether there will be more to do in a moment.
    pub fn follow(&mut self, links: &Links, detached: &[u32]) -> bool {
        let xdp = self.xdp.as_mut().filter(|xdp| !xdp.is_frozen);
        xdp.is_some_and(|xdp| xdp.follow(links, detached))
    }

    /// What may be changed while the engine runs.
    pub fn knobs(&self) -> Knobs {
        self.knobs.clone()
    }

    /// `xdp` or `socket`.
    pub fn name(&self) -> &'static str {
        if self.is_xdp() { "xdp" } else { "socket" }
    }

    /// Whether AF_XDP is used.
    pub fn is_xdp(&self) -> bool {
        self.xdp.is_some()
    }

    /// Where the workers publish their counters.
    pub fn slots(&self) -> WorkerSlots {
        self.slots.clone()
    }

    /// What workers and programs go by under load.
    pub fn overload_maps(&self) -> OverloadMaps {
        self.overload.clone()
    }

    /// What the eBPF maps take.
    pub fn maps(&self) -> Vec<MapUse> {
        self.xdp
            .as_ref()
            .map_or(Vec::new(), |xdp| xdp.object.memory())
    }

    /// Bytes of packet memory, over all workers.
    pub fn packet_memory(&self) -> u64 {
        let memory = self.xdp.iter().flat_map(|xdp| &xdp.memory);
        memory.map(|(_, bytes)| bytes).sum()
    }

    /// The queues with an AF_XDP socket.
    pub fn queue_lines(&self) -> Vec<lines::QueueLine> {
        self.xdp.as_ref().map_or(Vec::new(), Xdp::queue_lines)
    }

    /// The links to the workers, in order.
    pub fn links(&self) -> &[Arc<WorkerLink>] {
        &self.links
    }

    /// The workers' parts, one for each worker to be started; empty the second time.
    pub fn take_workers(&mut self) -> Vec<WorkerSide> {
        std::mem::take(&mut self.workers)
    }

    /// Where maps are pinned, if they are.
    pub fn pins(&self) -> Option<&Path> {
        Some(self.xdp.as_ref()?.pins.as_ref()?.path())
    }

    /// The instance's name and pins, which go when this is dropped.
    pub fn take_pins(&mut self) -> Option<Pins> {
        self.xdp.as_mut()?.pins.take()
    }

    /// The loaded object, for its log.
    pub fn ebpf(&mut self) -> Option<&mut Ebpf> {
        self.xdp.as_mut().map(|x| x.object.ebpf())
    }

    /// Why a detour of inline mode can't carry packets, if so.
    pub fn fault(&self) -> Option<String> {
        self.xdp.as_ref()?.nics.detours.as_ref()?.fault()
    }

    /// Takes the programs off all interfaces; or, where a successor is to find them, leaves them
    /// there with nobody to steer to. Returns whether they are left.
    pub fn detach(&mut self, ending: Ending, is_closed: bool) -> bool {
        let Some(xdp) = &mut self.xdp else {
            return false;
        };
        if let Some(roads) = &xdp.roads {
            roads.close();
        }
        if ending == Ending::HandedOver {
            // The successor has the links, and its own programs in them.
            return true;
        }
        if let (Some(detours), Some(pins)) = (&mut xdp.nics.detours, &mut xdp.pins)
            && (ending == Ending::HandOver || is_closed)
        {
            if let Err(error) = xdp.slots.empty(&mut xdp.object) {
                tracing::warn!("{:#}", anyhow::Error::from(error));
            }
            // What is on its way to the workers has a moment to arrive there.
            thread::sleep(inline::SETTLE);
            if ending == Ending::Stop {
                tracing::warn!(
                    "on_failure is \"closed\": the programs stay, and the server's SIP is dropped \
                     until corex runs again; `corex detach {}` takes them off",
                    pins.instance()
                );
            }
            pins.keep();
            detours.leave();
            return true;
        }
        let what = match &mut xdp.nics.detours {
            None => "XDP",
            Some(detours) => {
                detours.let_go();
                "XDP and TC"
            }
        };
        for on in xdp.nics.all.iter_mut().filter_map(|nic| nic.on.as_mut()) {
            drop(on.link.take());
            tracing::info!("{}: {what} detached", on.interface.name);
        }
        false
    }

    /// Takes down what the workers needed to the last.
    pub fn take_down(&mut self) {
        if let Some(detours) = self.xdp.as_mut().and_then(|xdp| xdp.nics.detours.as_mut()) {
            detours.take_down();
        }
    }
}
