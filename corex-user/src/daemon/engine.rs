//! Chooses the engine and sets it up: kernel sockets alone, or AF_XDP in front of them.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use aya::Ebpf;
use corex_common::maps;

use super::{
    Options,
    control::Ending,
    inline::{self, Detours},
};
use crate::{
    io::{
        egress::TransmitSide,
        inline::{Fragments, InlineSide},
        worker::XdpSide,
        xdp::{self, Bound, QueueSocket, Umem},
    },
    kernel::{
        attach::{self, Attachment, Mode},
        capabilities,
        inline::Predecessor,
        interfaces::{self, Interface},
        knobs::Knobs,
        limits,
        map_use::MapUse,
        object::{Filter, Object, Road},
        pins::{self, PinError, Pins},
        routes::NextHops,
        worker_counters::WorkerSlots,
    },
    pipeline::{Listener, Shared},
    script::settings::Settings,
    sip::Transport,
    telemetry::{
        books::{self, Books, InterfaceLine, LatencyLine, PredecessorLine, SocketLine, WorkerLine},
        gauges::{QueueGauges, SocketTally, WorkerLink},
        latency,
        log::Log,
        peers,
        stream_counters::StreamCounters,
    },
};

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

/// Frames of packet memory for each queue and for sending.
const FRAMES_PER_QUEUE: u32 = 2048;
const FRAMES_TO_SEND: u32 = 2048;
/// Ethernet header and two VLAN tags.
const LINK_HEADERS: u32 = 22;

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
    interfaces: Vec<InterfaceLine>,
    queues: Vec<QueueLine>,
    /// Bytes, over all workers.
    packet_memory: u64,
    /// Behind the object: pins go last. `None` where there is no file system for them.
    pins: Option<Pins>,
}

impl Xdp {
    fn queue_lines(&self) -> Vec<books::QueueLine> {
        let line = |queue: &QueueLine| {
            let mut of_queue = self.interfaces.iter();
            let interface = of_queue.find(|i| i.index == queue.bound.ifindex)?;
            Some(books::QueueLine {
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

    fn start_xdp(
        settings: &Settings,
        listeners: &[Listener],
        options: &Options,
        next_hops: &NextHops,
    ) -> anyhow::Result<Self> {
        let missing = capabilities::missing();
        if !missing.is_empty() {
            bail!("this process lacks {}", missing.join(", "));
        }
        limits::raise_memlock();
        let settings_inline = &settings.corex.inline;
        let asked = if options.interfaces.is_empty() {
            &settings.corex.interfaces
        } else {
            &options.interfaces
        };
        let mut interfaces = choose_interfaces(listeners, asked)?;
        let mut object = Object::load(if settings_inline.is_on {
            Road::Inline
        } else {
            Road::Proxy
        })?;
        let mtu = interfaces.iter().map(|i| i.mtu).max().unwrap_or(1500);
        let chunk_size = if mtu + LINK_HEADERS <= Umem::capacity_of(2048) {
            2048
        } else {
            4096
        };
        let mut max_frame_len = Umem::capacity_of(chunk_size);
        if settings_inline.is_on {
            max_frame_len = max_frame_len.min(inline::MAX_FRAME_LEN);
        }
        if mtu + LINK_HEADERS > max_frame_len {
            tracing::info!("frames above {max_frame_len} bytes don't go by AF_XDP");
        }
        object.configure(Filter {
            max_frame_len,
            log: options.ebpf_log,
        })?;
        let knobs = object.knobs()?;
        knobs.follow(&settings.corex);

        let (pins, predecessor) = pin(&object, options)?;
        let mut attachments = Vec::new();
        let mut detours = None;
        let mut modes = Vec::new();
        if settings_inline.is_on {
            let pins = pins.as_ref();
            let made = Detours::start(
                &mut object,
                settings_inline,
                listeners,
                interfaces,
                (pins, predecessor),
                options,
            )?;
            interfaces = Vec::new();
            for nic in &made.nics {
                modes.push((nic.interface.index, nic.mode));
                modes.push((nic.pair.own.index, Mode::Native));
                interfaces.extend([nic.interface.clone(), nic.pair.own.clone()]);
            }
            detours = Some(made);
        } else {
            if let Some(pins) = &pins {
                inline::clean(pins)?;
            }
            for interface in &mut interfaces {
                let attachment = attach::attach(object.program()?, interface, options.xdp_mode)?;
                // Attaching may change the queue count (virtio does).
                *interface = Interface::by_name(&interface.name)?;
                tracing::info!(
                    "{}: XDP attached ({} mode), {} receive queue{}",
                    interface.name,
                    attachment.mode,
                    interface.queues,
                    if interface.queues == 1 { "" } else { "s" }
                );
                modes.push((interface.index, attachment.mode));
                attachments.push(attachment);
            }
        }

        let mut slots = Vec::new();
        let mut first_slot = 0;
        for interface in &interfaces {
            let queues = interface.queues.min(maps::MAX_QUEUES - first_slot);
            if queues < interface.queues {
                tracing::warn!(
                    "{}: {} of {} queues are served; the rest goes to the kernel sockets",
                    interface.name,
                    queues,
                    interface.queues
                );
            }
            object.add_interface(interface.index, maps::Interface { first_slot, queues })?;
            slots.extend((0..queues).map(|queue| (first_slot + queue, interface.index, queue)));
            first_slot += queues;
        }
        let heartbeats = object.heartbeats()?;
        let fragments = Arc::<Fragments>::default();
        let most_queues = interfaces.iter().map(|i| i.queues).max().unwrap_or(1);
        let workers = options
            .workers
            .unwrap_or(most_queues)
            .clamp(1, maps::MAX_WORKERS);

        let mut sides = Vec::new();
        let mut lines = Vec::new();
        let mut packet_memory = 0;
        for worker in 0..workers {
            let mine: Vec<_> = slots
                .iter()
                .filter(|(_, _, queue)| queue % workers == worker)
                .collect();
            if mine.is_empty() {
                sides.push(None);
                continue;
            }
            let queues: Vec<(u32, u32)> = mine.iter().map(|(_, i, q)| (*i, *q)).collect();
            let (umem, pool, sockets) = bind(&queues, chunk_size, options.copy)?;
            packet_memory += umem.size();
            let mut gauges = Vec::new();
            for ((slot, _, _), socket) in mine.iter().zip(&sockets) {
                let own = Arc::<QueueGauges>::default();
                gauges.push(Arc::clone(&own));
                lines.push(QueueLine {
                    gauges: own,
                    slot: *slot,
                    worker,
                    bound: socket.bound(),
                    fd: socket
                        .as_fd()
                        .try_clone_to_owned()
                        .context("duplicate a socket descriptor")?,
                });
            }
            let inline = detours.as_ref().map(|detours: &Detours| {
                InlineSide::new(
                    detours.ends(&queues),
                    Arc::clone(&fragments),
                    settings_inline.tells_too_big,
                    heartbeats.clone(),
                    object.cookie().rotate_left(worker),
                )
            });
            sides.push(Some(XdpWorker {
                umem,
                transmit: TransmitSide::new(sockets, pool, next_hops.clone()),
                cookie: object.cookie(),
                gauges,
                inline,
            }));
        }
        Ok(Self {
            slots: object.worker_slots()?,
            knobs,
            links: worker_links(workers, settings, listeners),
            workers: sides,
            xdp: Some(Xdp {
                object,
                interfaces: interface_lines(&interfaces, &modes, &lines),
                attachments,
                detours,
                modes,
                queues: lines,
                packet_memory,
                pins,
            }),
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
    pub fn queue_lines(&self) -> Vec<books::QueueLine> {
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

    /// All counters as they are now.
    pub fn books(&mut self, shared: &Shared, log: &Log, streams: &StreamCounters) -> Books {
        let listeners = &shared.listeners;
        let languages = &shared.config.program.languages;
        let mut kernel = None;
        let mut inline = None;
        let mut predecessor = None;
        let mut interfaces = Vec::new();
        let mut sockets: Vec<SocketLine> = listeners
            .iter()
            .enumerate()
            .map(|(id, l)| SocketLine {
                name: l.to_string(),
                counters: Default::default(),
                tally: SocketTally::sum(self.links.iter().filter_map(|link| link.sockets.get(id))),
            })
            .collect();
        if let Some(xdp) = &mut self.xdp {
            match xdp.object.counters() {
                Ok(counters) => kernel = Some(counters),
                Err(error) => tracing::error!(%error, "read the XDP program's counters"),
            }
            if let Some(detours) = &xdp.detours {
                predecessor = detours.predecessor.map(|left| PredecessorLine {
                    kernel: left.kernel,
                    egress: left.egress,
                    detour: left.detour,
                    in_hand: left.in_hand(),
                });
                match xdp.object.inline_counters() {
                    Ok(counters) => inline = Some(counters),
                    Err(error) => tracing::error!(%error, "read the counters of inline mode"),
                }
            }
            for (id, line) in sockets.iter_mut().enumerate() {
                if let Ok(counters) = xdp.object.socket_counters(id as u32) {
                    line.counters = counters;
                }
            }
            interfaces.clone_from(&xdp.interfaces);
        }
        let latencies = latency::Kind::ALL.into_iter().flat_map(|kind| {
            latency::WAYS.into_iter().enumerate().map(move |(at, way)| {
                let histogram = shared.config.program.latencies.total(kind, at);
                LatencyLine {
                    kind,
                    way,
                    histogram,
                }
            })
        });
        Books {
            workers: self
                .links
                .iter()
                .enumerate()
                .map(|(id, link)| WorkerLine {
                    counters: self.slots.of(id),
                    gauges: link.gauges.values(),
                })
                .collect(),
            queues: self.queue_lines(),
            latencies: latencies.filter(|l| l.histogram.count() > 0).collect(),
            peers: peers::Summary::of(self.links.iter().map(|link| &*link.peers)),
            started: shared.config.program.started,
            engine: self.name(),
            interfaces,
            sockets,
            kernel,
            inline,
            predecessor,
            user: self.slots.total(),
            streams: streams.snapshot(),
            streams_imbalance: streams.imbalance(),
            languages: [
                ("lua", languages.lua.snapshot()),
                ("perl", languages.perl.snapshot()),
            ],
            log_lines_dropped: log.dropped(),
        }
    }
}

fn worker_links(workers: u32, settings: &Settings, listeners: &[Listener]) -> Vec<Arc<WorkerLink>> {
    let peers = settings.corex.max_peers as usize;
    let link = |_| Arc::new(WorkerLink::new(listeners.len(), peers));
    (0..workers).map(link).collect()
}

/// Pins the maps under the instance's name. Where nobody asked for a name, another instance that
/// has the same or a system without the file system is no reason not to run.
///
/// Returns as well what an instance of that name, which has ended, counted in inline mode.
fn pin(object: &Object, options: &Options) -> anyhow::Result<(Option<Pins>, Option<Predecessor>)> {
    let name = pins::instance_of(&options.config);
    let taken = match &options.instance {
        _ if options.take_over => Pins::take_over(options.instance.as_ref().unwrap_or(&name)),
        Some(name) => Pins::take(name),
        None => match Pins::take(&name) {
            Err(PinError::Taken(_)) => Pins::take(&format!("{name}-{}", std::process::id())),
            other => other,
        },
    };
    let pinned = taken.and_then(|pins| {
        let predecessor = Predecessor::open(&pins);
        pins.clear();
        object.pin(&pins)?;
        Ok((pins, predecessor))
    });
    match pinned {
        Ok((pins, predecessor)) => {
            tracing::info!("maps pinned in {}", pins.path().display());
            Ok((Some(pins), predecessor))
        }
        Err(error) if options.instance.is_some() || options.take_over => Err(error.into()),
        Err(error) => {
            tracing::warn!("maps are not pinned: {error}");
            Ok((None, None))
        }
    }
}

fn interface_lines(
    interfaces: &[Interface],
    modes: &[(u32, Mode)],
    queues: &[QueueLine],
) -> Vec<InterfaceLine> {
    interfaces
        .iter()
        .zip(modes)
        .map(|(interface, (_, mode))| {
            let of_interface = || queues.iter().filter(|q| q.bound.ifindex == interface.index);
            InterfaceLine {
                index: interface.index,
                name: interface.name.clone(),
                mode: mode.to_string(),
                queues: of_interface().count() as u32,
                zero_copy: of_interface().all(|q| q.bound.zero_copy),
            }
        })
        .collect()
}

/// Binds a worker's queues: for zero copy where all drivers can, else in copy mode.
fn bind(
    queues: &[(u32, u32)],
    chunk_size: u32,
    copy: bool,
) -> anyhow::Result<(Umem, xdp::FramePool, Vec<QueueSocket>)> {
    let attempt = |copy| -> anyhow::Result<_> {
        let frames = FRAMES_PER_QUEUE * queues.len() as u32 + FRAMES_TO_SEND;
        let (umem, mut pool) = Umem::new(frames, chunk_size).context("packet memory")?;
        let sockets = xdp::open(&umem, &mut pool, queues, copy)?;
        Ok((umem, pool, sockets))
    };
    match attempt(copy) {
        Err(error) if !copy && queues.len() > 1 => {
            // Sockets that share memory share the mode; one driver may not have zero copy.
            tracing::info!("{error:#}; trying copy mode");
            attempt(true)
        }
        outcome => outcome,
    }
}

/// The interfaces asked for, or those that carry listen addresses.
fn choose_interfaces(listeners: &[Listener], asked: &[String]) -> anyhow::Result<Vec<Interface>> {
    let mut names: BTreeSet<String> = asked.iter().cloned().collect();
    if names.is_empty() {
        names = interfaces::addresses()
            .into_iter()
            .filter(|(name, ip)| {
                name != "lo"
                    && listeners
                        .iter()
                        .any(|l| l.address.ip() == *ip || l.address.ip().is_unspecified())
            })
            .map(|(name, _)| name)
            .collect();
        if names.is_empty() {
            bail!("no interface but loopback carries a listen address; name one with --interface");
        }
    }
    names
        .iter()
        .map(|name| Interface::by_name(name).map_err(Into::into))
        .collect()
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
        proto: maps::PROTO_UDP,
        family,
    }
}
