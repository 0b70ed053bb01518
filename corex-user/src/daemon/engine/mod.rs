//! Chooses the engine and sets it up: kernel sockets alone, or AF_XDP in front of them.

mod books;
mod heritage;
mod start;

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    sync::Arc,
};

use aya::Ebpf;
use corex_common::maps;
use corex_sip::Transport;
use corex_xdp::Bound;

use super::inline::{self, Detours};
use crate::{
    io::xdp_side::XdpSide,
    kernel::{
        attach::{self, Attachment, Mode},
        host::HostFollower,
        knobs::Knobs,
        map_use::MapUse,
        object::Object,
        pins::Pins,
        worker_counters::WorkerSlots,
    },
    pipeline::Listener,
    telemetry::{
        books as lines,
        gauges::{QueueGauges, WorkerLink},
    },
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
    knobs: Knobs,
    links: Vec<Arc<WorkerLink>>,
    /// What each worker gets; taken when they start.
    workers: Vec<Option<XdpSide>>,
    xdp: Option<Xdp>,
    /// Packets that the predecessor's program had steered, and that the workers find in the rings.
    taken_over: u64,
    /// Packets that the program had steered, and that are in the rings for the successor.
    handed_over: u64,
}

struct Xdp {
    object: Object,
    /// Keeps the maps of the host's addresses in step.
    _host: HostFollower,
    /// Empty after the detachment, and in inline mode.
    attachments: Vec<Attachment>,
    /// Inline mode.
    detours: Option<Detours>,
    /// How the program is attached, by interface index.
    modes: Vec<(u32, Mode)>,
    interfaces: Vec<lines::InterfaceLine>,
    queues: Vec<BoundQueue>,
    /// Bytes, over all workers.
    packet_memory: u64,
    /// Behind the object: pins go last. `None` where there is no file system for them.
    pins: Option<Pins>,
}

impl Xdp {
    fn queue_lines(&self) -> Vec<lines::QueueLine> {
        let line = |queue: &BoundQueue| {
            let mut of_queue = self.interfaces.iter();
            let interface = of_queue.find(|i| i.index == queue.bound.ifindex)?;
            Some(lines::QueueLine {
                interface: interface.name.clone(),
                queue: queue.bound.queue,
                worker: queue.worker,
                mode: interface.mode.clone(),
                zero_copy: queue.bound.zero_copy,
                gauges: queue.gauges.values(),
            })
        };
        self.queues.iter().filter_map(line).collect()
    }
}

/// A bound queue: its slot in the XSKMAP, and the descriptor to put there.
struct BoundQueue {
    slot: u32,
    worker: u32,
    bound: Bound,
    fd: OwnedFd,
    gauges: Arc<QueueGauges>,
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
        if let Some(detours) = &mut xdp.detours {
            detours.serve();
            // Until the workers run; they are started next.
            let heartbeats = xdp.object.heartbeats()?;
            xdp.queues
                .iter()
                .for_each(|line| heartbeats.beat(line.worker as usize));
        }
        for line in &xdp.queues {
            let mode = xdp
                .modes
                .iter()
                .find(|(index, _)| *index == line.bound.ifindex)
                .map_or(0, |(_, mode)| mode.number());
            let queue = maps::Queue {
                ifindex: line.bound.ifindex,
                queue: line.bound.queue,
                worker: line.worker,
                mode,
                zero_copy: line.bound.zero_copy.into(),
            };
            xdp.object
                .add_queue(line.slot, queue, line.fd.as_raw_fd())?;
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

    /// What the eBPF maps take.
    pub fn maps(&self) -> Vec<MapUse> {
        self.xdp
            .as_ref()
            .map_or(Vec::new(), |xdp| xdp.object.memory())
    }

    /// Bytes of packet memory, over all workers.
    pub fn packet_memory(&self) -> u64 {
        self.xdp.as_ref().map_or(0, |xdp| xdp.packet_memory)
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
    pub fn take_workers(&mut self) -> Vec<Option<XdpSide>> {
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
        self.xdp.as_ref()?.detours.as_ref()?.fault()
    }

    /// Takes the programs off all interfaces; or, where a successor is to find them, leaves them
    /// there with nobody to steer to. Returns whether they are left.
    pub fn detach(&mut self, ending: Ending, is_closed: bool) -> bool {
        let Some(xdp) = &mut self.xdp else {
            return false;
        };
        if ending == Ending::HandedOver {
            // The successor has the links, and its own programs in them.
            xdp.attachments.clear();
            return true;
        }
        if let (Some(detours), Some(pins)) = (&mut xdp.detours, &mut xdp.pins)
            && (ending == Ending::HandOver || is_closed)
        {
            let slots = xdp.queues.iter().map(|line| line.slot);
            if let Err(error) = inline::close(&mut xdp.object, slots) {
                tracing::warn!("{error:#}");
            }
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
        if let Some(detours) = &mut xdp.detours {
            detours.let_go();
        }
        for attachment in xdp.attachments.drain(..) {
            let name = attachment.interface.name.clone();
            let detached = xdp
                .object
                .program()
                .map_err(anyhow::Error::from)
                .and_then(|program| Ok(attach::detach(program, attachment)?));
            match detached {
                Ok(()) => tracing::info!("{name}: XDP detached"),
                // The link is a descriptor of this process: its end detaches in any case.
                Err(error) => tracing::warn!("{name}: detach: {error:#}"),
            }
        }
        false
    }

    /// Takes down what the workers needed to the last.
    pub fn take_down(&mut self) {
        if let Some(detours) = self.xdp.as_mut().and_then(|xdp| xdp.detours.as_mut()) {
            detours.take_down();
        }
    }
}
