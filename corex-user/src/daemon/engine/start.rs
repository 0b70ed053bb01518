//! Sets AF_XDP up: interfaces, programs, pins, and the sockets of each worker.

use std::{collections::BTreeSet, os::fd::AsFd as _, sync::Arc};

use anyhow::{Context as _, bail};
use corex_common::{ip::MAX_LINK_LEN, maps};
use corex_script::settings::{self, Settings};
use corex_sip::Transport;
use corex_xdp::{FramePool, QueueSocket, Umem};

use super::{BoundQueue, PacketEngine, Xdp};
use crate::{
    daemon::{
        handover::Heir,
        inline::{self, Detours},
        options::{EngineChoice, Options},
    },
    io::{
        inline::{Fragments, InlineSide},
        transmit::TransmitSide,
        xdp_side::XdpSide,
    },
    kernel::{
        attach::{self, Attachment, Holder, Mode},
        capabilities,
        host::HostFollower,
        inline::Predecessor,
        interfaces::{self, Interface},
        knobs::Knobs,
        limits,
        object::{Filter, Object, Road},
        pins::{self, PinError, Pins},
        routes::NextHops,
        worker_counters::WorkerSlots,
    },
    pipeline::{Listener, set_knobs},
    telemetry::{
        books::InterfaceLine,
        gauges::{QueueGauges, WorkerLink},
    },
};

/// Frames of packet memory for each queue and for sending.
const FRAMES_PER_QUEUE: u32 = 2048;
const FRAMES_TO_SEND: u32 = 2048;
/// In front of what an MTU counts.
const LINK_HEADERS: u32 = MAX_LINK_LEN as u32;

impl PacketEngine {
    /// Loads, attaches and binds what the choice asks for. Nothing is steered yet. From an heir come
    /// the interfaces and queues that a predecessor serves until it is told to stop.
    ///
    /// # Errors
    /// With an heir, what can't be taken over, and why. With [`EngineChoice::Xdp`] whatever keeps AF_XDP from working.
    pub fn start(
        settings: &Settings,
        listeners: &[Listener],
        options: &Options,
        next_hops: &NextHops,
        mut heir: Option<&mut Heir>,
    ) -> anyhow::Result<Self> {
        if settings.corex.inline.is_on {
            if options.engine == EngineChoice::Socket {
                bail!("inline mode needs AF_XDP: leave `--engine socket` out");
            }
            return Self::start_xdp(settings, listeners, options, next_hops, None)
                .context("inline mode, which needs AF_XDP");
        }
        let has_datagrams = listeners.iter().any(|l| l.transport == Transport::Udp);
        if options.engine != EngineChoice::Socket && has_datagrams {
            let of_heir = heir.as_deref_mut().filter(|heir| heir.has_xdp());
            let is_heir = of_heir.is_some();
            match Self::start_xdp(settings, listeners, options, next_hops, of_heir) {
                Ok(engine) => return Ok(engine),
                Err(error) if is_heir => return Err(error),
                Err(error) if options.engine == EngineChoice::Xdp => return Err(error),
                Err(error) => tracing::warn!("no AF_XDP: {error:#}; using kernel sockets alone"),
            }
        }
        let cpus = limits::allowed_cpus().len().max(1) as u32;
        let workers = options
            .workers
            .unwrap_or_else(|| settings.children.map_or(cpus, |c| c.clamp(1, cpus)))
            .clamp(1, maps::MAX_WORKERS);
        if let Some(heir) = heir {
            heir.check_workers(workers)?;
        }
        let knobs = Knobs::on_heap();
        set_knobs(&knobs, &settings.corex);
        Ok(Self {
            knobs,
            links: worker_links(workers, settings, listeners),
            slots: WorkerSlots::on_heap(workers as usize),
            workers: (0..workers).map(|_| None).collect(),
            xdp: None,
            taken_over: 0,
            handed_over: 0,
        })
    }

    /// Loads, attaches and binds AF_XDP. Nothing is steered yet.
    fn start_xdp(
        settings: &Settings,
        listeners: &[Listener],
        options: &Options,
        next_hops: &NextHops,
        mut heir: Option<&mut Heir>,
    ) -> anyhow::Result<Self> {
        let missing = capabilities::missing();
        if !missing.is_empty() {
            bail!("this process lacks {}", missing.join(", "));
        }
        limits::raise_memlock();
        let inline = &settings.corex.inline;
        let asked = if options.interfaces.is_empty() {
            &settings.corex.interfaces
        } else {
            &options.interfaces
        };
        let interfaces = choose_interfaces(listeners, asked)?;
        let road = if inline.is_on {
            Road::Inline
        } else {
            Road::Proxy
        };
        let mut object = Object::load(road)?;
        let chunk_size = configure(&mut object, &interfaces, inline.is_on, options)?;
        let knobs = object.knobs()?;
        set_knobs(&knobs, &settings.corex);
        let host = HostFollower::start(object.host_maps()?, &interfaces)?;
        let attached = if inline.is_on {
            attach_inline(&mut object, inline, listeners, interfaces, options)?
        } else {
            match heir.as_deref_mut() {
                Some(heir) => succeed(interfaces, heir)?,
                None => attach_proxy(&mut object, interfaces, options)?,
            }
        };
        let slots = assign_slots(&mut object, &attached.interfaces)?;
        // A worker for each queue that receives and transmits: those that only receive go to one
        // of these, which sends for them too.
        let of_interface = |i: &Interface| i.queues.min(i.transmit_queues);
        let most_queues = attached.interfaces.iter().map(of_interface).max();
        let workers = options
            .workers
            .or(most_queues)
            .unwrap_or(1)
            .clamp(1, maps::MAX_WORKERS);
        if let Some(heir) = heir.as_deref_mut() {
            heir.check_workers(workers)?;
        }
        let links = worker_links(workers, settings, listeners);

        let heartbeats = object.heartbeats()?;
        let fragments = Arc::<Fragments>::default();
        let mut sides = Vec::new();
        let mut lines = Vec::new();
        let mut packet_memory = 0;
        for worker in 0..workers {
            let mine: Vec<Slot> = slots
                .iter()
                .filter(|slot| slot.queue % workers == worker)
                .copied()
                .collect();
            if mine.is_empty() {
                sides.push(None);
                continue;
            }
            let queues: Vec<(u32, u32)> = mine.iter().map(|s| (s.ifindex, s.queue)).collect();
            let (umem, pool, sockets) = match heir.as_deref_mut() {
                Some(heir) => {
                    let (umem, sockets) = heir.queues(worker as usize, &queues, chunk_size)?;
                    (umem, FramePool::empty(), sockets)
                }
                None => bind(&queues, chunk_size, options.copy)?,
            };
            packet_memory += umem.size();
            let mut gauges = Vec::new();
            for (slot, socket) in mine.iter().zip(&sockets) {
                let own = Arc::<QueueGauges>::default();
                gauges.push(Arc::clone(&own));
                lines.push(BoundQueue {
                    gauges: own,
                    slot: slot.number,
                    worker,
                    bound: socket.bound(),
                    fd: socket
                        .as_fd()
                        .try_clone_to_owned()
                        .context("duplicate a socket descriptor")?,
                });
            }
            let side = attached.detours.as_ref().map(|detours| {
                InlineSide::new(
                    detours.ends(&queues),
                    Arc::clone(&fragments),
                    inline.tells_too_big,
                    heartbeats.clone(),
                    object.cookie().rotate_left(worker),
                )
            });
            sides.push(Some(XdpSide {
                umem,
                transmit: TransmitSide::new(sockets, pool, next_hops.clone()),
                cookie: object.cookie(),
                gauges,
                inline: side,
            }));
        }
        Ok(Self {
            slots: object.worker_slots()?,
            knobs,
            links,
            workers: sides,
            taken_over: 0,
            handed_over: 0,
            xdp: Some(Xdp {
                object,
                _host: host,
                interfaces: interface_lines(&attached.interfaces, &attached.modes, &lines),
                attachments: attached.attachments,
                detours: attached.detours,
                modes: attached.modes,
                queues: lines,
                packet_memory,
                pins: attached.pins,
            }),
        })
    }
}

/// Tells the programs how long a frame may be, and returns the chunk size of packet memory.
fn configure(
    object: &mut Object,
    interfaces: &[Interface],
    is_inline: bool,
    options: &Options,
) -> anyhow::Result<u32> {
    let mtu = interfaces.iter().map(|i| i.mtu).max().unwrap_or(1500);
    let chunk_size = if mtu + LINK_HEADERS <= Umem::capacity_of(2048) {
        2048
    } else {
        4096
    };
    let mut max_frame_len = Umem::capacity_of(chunk_size);
    if is_inline {
        max_frame_len = max_frame_len.min(inline::MAX_FRAME_LEN);
    }
    if mtu + LINK_HEADERS > max_frame_len {
        tracing::info!("frames above {max_frame_len} bytes don't go by AF_XDP");
    }
    object.configure(Filter {
        max_frame_len,
        log: options.ebpf_log,
    })?;
    Ok(chunk_size)
}

/// The interfaces with a program on them, and what keeps it there.
struct Attached {
    interfaces: Vec<Interface>,
    /// In the order of the interfaces: their indices, and how.
    modes: Vec<(u32, Mode)>,
    attachments: Vec<Attachment>,
    detours: Option<Detours>,
    pins: Option<Pins>,
}

fn attach_inline(
    object: &mut Object,
    settings: &settings::Inline,
    listeners: &[Listener],
    interfaces: Vec<Interface>,
    options: &Options,
) -> anyhow::Result<Attached> {
    let (pins, predecessor) = pin(object, options)?;
    let before = (pins.as_ref(), predecessor);
    let detours = Detours::start(object, settings, listeners, interfaces, before, options)?;
    let mut attached = Attached {
        interfaces: Vec::new(),
        modes: Vec::new(),
        attachments: Vec::new(),
        detours: None,
        pins,
    };
    for nic in &detours.nics {
        let own = &nic.pair.own;
        attached.modes.push((nic.interface.index, nic.mode));
        attached.modes.push((own.index, Mode::Native));
        attached
            .interfaces
            .extend([nic.interface.clone(), own.clone()]);
    }
    attached.detours = Some(detours);
    Ok(attached)
}

fn attach_proxy(
    object: &mut Object,
    mut interfaces: Vec<Interface>,
    options: &Options,
) -> anyhow::Result<Attached> {
    let (pins, _) = pin(object, options)?;
    if let Some(pins) = &pins {
        inline::clean(pins)?;
    }
    let mut modes = Vec::new();
    let mut attachments = Vec::new();
    for interface in &mut interfaces {
        let (program, choice) = (object.program()?, options.xdp_mode);
        let attachment = attach::attach(program, interface, choice, Holder::Process)?;
        // Attaching may change the queue count (virtio does).
        *interface = Interface::by_name(&interface.name)?;
        tracing::info!(
            "{}: XDP attached ({} mode), {} receive queue{}, {} transmit",
            interface.name,
            attachment.mode,
            interface.queues,
            if interface.queues == 1 { "" } else { "s" },
            interface.transmit_queues
        );
        modes.push((interface.index, attachment.mode));
        attachments.push(attachment);
    }
    Ok(Attached {
        interfaces,
        modes,
        attachments,
        detours: None,
        pins,
    })
}

/// The interfaces that a predecessor has its program on; ours takes its place later.
fn succeed(interfaces: Vec<Interface>, heir: &mut Heir) -> anyhow::Result<Attached> {
    let mut modes = Vec::new();
    let mut attachments = Vec::new();
    for interface in &interfaces {
        let (mode, link) = heir.link(interface)?;
        modes.push((interface.index, mode));
        attachments.push(Attachment::received(interface.clone(), mode, link));
    }
    heir.check_links()?;
    Ok(Attached {
        interfaces,
        modes,
        attachments,
        detours: None,
        pins: None,
    })
}

/// A place in the XSKMAP for a queue.
#[derive(Clone, Copy)]
struct Slot {
    number: u32,
    ifindex: u32,
    queue: u32,
}

/// Gives every queue that can be served a slot, and tells the programs.
fn assign_slots(object: &mut Object, interfaces: &[Interface]) -> anyhow::Result<Vec<Slot>> {
    let mut slots = Vec::new();
    let mut first_slot = 0;
    for interface in interfaces {
        let ifindex = interface.index;
        let queues = interface.queues.min(maps::MAX_QUEUES - first_slot);
        if queues < interface.queues {
            tracing::warn!(
                "{}: {} of {} queues are served; the rest doesn't go by AF_XDP",
                interface.name,
                queues,
                interface.queues
            );
        }
        object.add_interface(ifindex, maps::Interface { first_slot, queues })?;
        slots.extend((0..queues).map(|queue| Slot {
            number: first_slot + queue,
            ifindex,
            queue,
        }));
        first_slot += queues;
    }
    Ok(slots)
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
    queues: &[BoundQueue],
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
) -> anyhow::Result<(Umem, FramePool, Vec<QueueSocket>)> {
    let attempt = |copy| -> anyhow::Result<_> {
        let frames = FRAMES_PER_QUEUE * queues.len() as u32 + FRAMES_TO_SEND;
        let (umem, mut pool) = Umem::new(frames, chunk_size).context("packet memory")?;
        let sockets = corex_xdp::open(&umem, &mut pool, queues, copy)?;
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
        names = listeners
            .iter()
            .flat_map(|l| interfaces::carrying(l.address, l.may_be_absent))
            .collect();
        if names.is_empty() {
            bail!(
                "no interface but loopback carries a listen address, or is in a network with one \
                 that is virtual; name one with --interface"
            );
        }
    }
    names
        .iter()
        .map(|name| Interface::by_name(name).map_err(Into::into))
        .collect()
}
