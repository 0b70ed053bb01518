//! Chooses the engine and sets it up: kernel sockets alone, or AF_XDP in front of them.

mod books;
mod start;

use std::{
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use aya::Ebpf;
use corex_common::{ip::PROTOCOL_UDP, maps};

use self::start::worker_links;
use super::{
    Options,
    control::Ending,
    inline::{self, Detours},
};
use crate::{
    io::{
        egress::TransmitSide,
        inline::InlineSide,
        worker::XdpSide,
        xdp::{Bound, Umem},
    },
    kernel::{
        attach::{self, Attachment, Mode},
        knobs::Knobs,
        limits,
        map_use::MapUse,
        object::Object,
        pins::Pins,
        routes::NextHops,
        worker_counters::WorkerSlots,
    },
    pipeline::Listener,
    script::settings::Settings,
    telemetry::{
        books as lines,
        gauges::{QueueGauges, WorkerLink},
    },
};
use corex_sip::Transport;

/// Which engine the operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineChoice {
    /// AF_XDP where privileges and interfaces allow it, else kernel sockets.
    #[default]
    Auto,
    /// AF_XDP in front of kernel sockets; or fail.
    Xdp,
    /// Kernel sockets alone. Needs no privileges.
    Socket,
}

/// The engine, set up.
pub struct Engine {
    slots: WorkerSlots,
    knobs: Knobs,
    links: Vec<Arc<WorkerLink>>,
    /// What each worker gets; taken when they start.
    workers: Vec<Option<XdpWorker>>,
    xdp: Option<Xdp>,
}

struct Xdp {
    object: Object,
    /// Empty after the detachment, and in inline mode.
    attachments: Vec<Attachment>,
    /// Inline mode.
    detours: Option<Detours>,
    /// How the program is attached, by interface index.
    modes: Vec<(u32, Mode)>,
    interfaces: Vec<lines::InterfaceLine>,
    queues: Vec<QueueLine>,
    /// Bytes, over all workers.
    packet_memory: u64,
    /// Behind the object: pins go last. `None` where there is no file system for them.
    pins: Option<Pins>,
}

impl Xdp {
    fn queue_lines(&self) -> Vec<lines::QueueLine> {
        let line = |queue: &QueueLine| {
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
struct QueueLine {
    slot: u32,
    worker: u32,
    bound: Bound,
    fd: OwnedFd,
    gauges: Arc<QueueGauges>,
}

/// A worker's part of AF_XDP.
pub struct XdpWorker {
    umem: Umem,
    transmit: TransmitSide,
    cookie: u32,
    gauges: Vec<Arc<QueueGauges>>,
    inline: Option<InlineSide>,
}

impl XdpWorker {
    /// As the worker wants it.
    pub fn into_side(self) -> XdpSide {
        XdpSide {
            umem: self.umem,
            transmit: self.transmit,
            cookie: self.cookie,
            gauges: self.gauges,
            inline: self.inline,
        }
    }
}

impl Engine {
    /// Loads, attaches and binds what the choice asks for. Nothing is steered yet.
    ///
    /// # Errors
    /// With [`EngineChoice::Xdp`] whatever keeps AF_XDP from working.
    pub fn start(
        settings: &Settings,
        listeners: &[Listener],
        options: &Options,
        next_hops: &NextHops,
    ) -> anyhow::Result<Self> {
        if settings.corex.inline.is_on {
            if options.engine == EngineChoice::Socket {
                bail!("inline mode needs AF_XDP: leave `--engine socket` out");
            }
            return Self::start_xdp(settings, listeners, options, next_hops)
                .context("inline mode, which needs AF_XDP");
        }
        let has_datagrams = listeners.iter().any(|l| l.transport == Transport::Udp);
        if options.engine != EngineChoice::Socket && has_datagrams {
            match Self::start_xdp(settings, listeners, options, next_hops) {
                Ok(engine) => return Ok(engine),
                Err(error) if options.engine == EngineChoice::Xdp => return Err(error),
                Err(error) => tracing::warn!("no AF_XDP: {error:#}; using kernel sockets alone"),
            }
        }
        let cpus = limits::allowed_cpus().len().max(1) as u32;
        let workers = options
            .workers
            .unwrap_or_else(|| settings.children.map_or(cpus, |c| c.clamp(1, cpus)))
            .clamp(1, maps::MAX_WORKERS);
        let knobs = Knobs::on_heap();
        knobs.follow(&settings.corex);
        Ok(Self {
            knobs,
            links: worker_links(workers, settings, listeners),
            slots: WorkerSlots::on_heap(workers as usize),
            workers: (0..workers).map(|_| None).collect(),
            xdp: None,
        })
    }

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
            xdp.object.add_socket(key_of(listener.address), entry)?;
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
    pub fn take_workers(&mut self) -> Vec<Option<XdpWorker>> {
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

/// A local address as the maps have it.
pub(super) fn key_of(address: SocketAddr) -> maps::SocketKey {
    let mut addr = [0; 16];
    let family = match address.ip() {
        std::net::IpAddr::V4(ip) => {
            addr[..4].copy_from_slice(&ip.octets());
            maps::FAMILY_V4
        }
        std::net::IpAddr::V6(ip) => {
            addr.copy_from_slice(&ip.octets());
            maps::FAMILY_V6
        }
    };
    maps::SocketKey {
        addr,
        port: address.port(),
        proto: PROTOCOL_UDP,
        family,
    }
}
