//! Sets AF_XDP up: interfaces, programs, pins, and the sockets of each worker.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, mpsc},
};

use anyhow::{Context as _, bail};
use corex_common::{ip::MAX_LINK_LEN, maps};
use corex_script::settings::{RpFilter, Settings};
use corex_sip::Transport;
use corex_xdp::Umem;

use super::{
    PacketEngine, WorkerSide, Xdp,
    follow::{Hand, Unit},
    nics::Nics,
    slots::Slots,
    units::{self, Builder, InlineParts},
};
use crate::{
    daemon::{
        handover::Heir,
        inline::{self, Detours},
        options::{EngineChoice, Options},
    },
    kernel::{
        capabilities,
        guard::{Left, left_in},
        host::HostFollower,
        inline::Predecessor,
        interfaces::{self, Interface},
        knobs::Knobs,
        limits,
        object::{Filter, Object, Parts, Road},
        overload::OverloadMaps,
        pins::{self, PinError, Pins},
        reverse_paths::{self, Rule},
        roads::Roads,
        routes::NextHops,
        stacking::Stacking,
        worker_counters::WorkerSlots,
    },
    pipeline::{Listener, set_knobs},
    telemetry::gauges::WorkerLink,
};

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
            if heir.has_xdp() {
                bail!("it is on AF_XDP, and kernel sockets can't have what waits in its rings");
            }
            heir.check_workers(workers)?;
        }
        let knobs = Knobs::on_heap();
        set_knobs(&knobs, &settings.corex);
        Ok(Self {
            knobs,
            links: worker_links(workers, settings, listeners),
            slots: WorkerSlots::on_heap(workers as usize),
            overload: OverloadMaps::on_heap(RandomState::new().hash_one(workers) as u32),
            workers: (0..workers).map(|_| WorkerSide::sockets_alone()).collect(),
            xdp: None,
            reverse_paths: match rule(settings) {
                // The stack has looked at all that kernel sockets bring.
                None | Some(Rule::Stack) => None,
                Some(own) => Some(reverse_paths::start(own, None)?),
            },
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
        let mut object = load(settings)?;
        let chunk_size = configure(&mut object, &interfaces, settings, options)?;
        let knobs = object.knobs()?;
        set_knobs(&knobs, &settings.corex);
        let roads = match object.road() {
            Road::Offload => {
                let maps = object.road_maps()?;
                Some(Arc::new(Roads::new(maps, knobs.clone(), next_hops.table())))
            }
            Road::Proxy | Road::Inline => None,
        };
        let host = HostFollower::start(object.host_maps()?, &interfaces)?;
        let reverse_paths = match rule(settings) {
            // All that corex hands to the stack goes through it.
            _ if inline.is_on => None,
            None => None,
            Some(rule) => {
                let maps = object.reverse_maps(host.links())?;
                Some(reverse_paths::start(rule, Some(maps))?)
            }
        };
        let (pins, predecessor, guard_left) = match &heir {
            // It has the name still.
            Some(_) => (None, None, Vec::new()),
            None => pin(&object, options)?,
        };
        let mut nics = Nics::new(&interfaces, host.mtus());
        if inline.is_on {
            let before = (pins.as_ref(), predecessor);
            nics.detours = Some(Detours::start(
                &mut object,
                inline,
                listeners,
                before,
                options,
            )?);
        } else if let Some(pins) = &pins {
            inline::clean(pins)?;
        }
        nics.workers = options.workers.unwrap_or(maps::MAX_WORKERS);
        for (number, interface) in interfaces.iter().enumerate() {
            match heir.as_deref_mut() {
                Some(heir) => nics.succeed(number, interface, heir)?,
                None => nics.attach(&mut object, number, interface, options)?,
            }
        }
        if let Some(heir) = &heir {
            heir.check_links()?;
        }
        if let Some(detours) = &mut nics.detours {
            detours.take_over(interfaces.len() as u32)?;
        }
        // A worker for each queue that receives and transmits: those that only receive go to one
        // of these, which sends for them too.
        let most_queues = nics.queues().max();
        nics.workers = options
            .workers
            .or(most_queues)
            .unwrap_or(1)
            .clamp(1, maps::MAX_WORKERS);
        if let Some(heir) = &heir {
            heir.check_workers(nics.workers)?;
        }

        let builder = Builder {
            chunk_size,
            copy: options.copy,
            busy_poll: settings.corex.busy_poll,
            next_hops: next_hops.clone(),
            cookie: object.cookie(),
            inline: match inline.is_on {
                false => None,
                true => Some(InlineParts {
                    fragments: Arc::default(),
                    tells_too_big: inline.tells_too_big,
                    heartbeats: object.heartbeats()?,
                }),
            },
        };
        let mut workers = Vec::new();
        let mut hands = Vec::new();
        let mut queues = Vec::new();
        let mut memory = Vec::new();
        for worker in 0..nics.workers {
            let mut sides = Vec::new();
            for unit in units::all(&nics) {
                let heir = heir.as_deref_mut();
                if let Some((side, lines)) = builder.side(&nics, unit, worker, heir)? {
                    memory.push((unit, side.umem.size()));
                    queues.extend(lines);
                    sides.push(side);
                }
            }
            let (orders, receiver) = mpsc::channel();
            hands.push(Hand {
                orders,
                waker: None,
            });
            workers.push(WorkerSide {
                sides,
                orders: receiver,
            });
        }
        Ok(Self {
            slots: object.worker_slots()?,
            overload: object.overload_maps()?,
            knobs,
            links: worker_links(nics.workers, settings, listeners),
            workers,
            taken_over: 0,
            handed_over: 0,
            reverse_paths,
            xdp: Some(Xdp {
                object,
                roads,
                host,
                units: units::all(&nics).map(|_| Unit::served()).collect(),
                nics,
                builder,
                options: options.clone(),
                may_attach: settings.corex.reattach,
                slots: Slots::default(),
                queues,
                hands,
                memory,
                pins,
                is_frozen: false,
                guard_left,
            }),
        })
    }
}

/// Loads the programs that the configuration asks for. A kernel that refuses those with roads gets
/// those without.
fn load(settings: &Settings) -> anyhow::Result<Object> {
    if settings.corex.inline.is_on {
        return load_on(Road::Inline, settings);
    }
    if settings.corex.offload {
        match load_on(Road::Offload, settings) {
            Ok(object) => return Ok(object),
            Err(error) => tracing::warn!(
                "offload: the kernel refuses the program with roads, so all messages go by user \
                 space: {error:#}"
            ),
        }
    }
    load_on(Road::Proxy, settings)
}

/// Loads the programs with all parts, so that a reload can switch them on. A kernel that refuses these
/// gets those with the parts that are wanted now.
fn load_on(road: Road, settings: &Settings) -> anyhow::Result<Object> {
    let wanted = Parts {
        is_guarded: settings.corex.guard.is_wanted(),
        sheds: settings.corex.overload.is_on,
    };
    match Object::load_with(road, Parts::ALL) {
        Err(error) if wanted != Parts::ALL => {
            let object = Object::load_with(road, wanted)?;
            tracing::warn!(
                "the kernel refuses the programs with the guard and with overload, so that a reload can't \
                 switch them on: {:#}",
                anyhow::Error::from(error)
            );
            Ok(object)
        }
        loaded => Ok(loaded?),
    }
}

/// What is asked of the way back to sources.
fn rule(settings: &Settings) -> Option<Rule> {
    match settings.corex.rp_filter {
        RpFilter::Kernel => Some(Rule::Stack),
        RpFilter::Off => None,
        RpFilter::Strict => Some(Rule::Strict),
        RpFilter::Loose => Some(Rule::Loose),
    }
}

/// Tells the programs how long a frame may be, and returns the chunk size of packet memory.
fn configure(
    object: &mut Object,
    interfaces: &[Interface],
    settings: &Settings,
    options: &Options,
) -> anyhow::Result<u32> {
    let mtu = interfaces.iter().map(|i| i.mtu).max().unwrap_or(1500);
    let chunk_size = if mtu + LINK_HEADERS <= Umem::capacity_of(2048) {
        2048
    } else {
        4096
    };
    let mut max_frame_len = Umem::capacity_of(chunk_size);
    if settings.corex.inline.is_on {
        max_frame_len = max_frame_len.min(inline::MAX_FRAME_LEN);
    }
    if mtu + LINK_HEADERS > max_frame_len {
        tracing::info!("frames above {max_frame_len} bytes don't go by AF_XDP");
    }
    object.configure(Filter {
        max_frame_len,
        log: options.ebpf_log,
        traffic_class: settings.datagrams.traffic_class,
    })?;
    Ok(chunk_size)
}

fn worker_links(workers: u32, settings: &Settings, listeners: &[Listener]) -> Vec<Arc<WorkerLink>> {
    let peers = settings.corex.max_peers as usize;
    let link = |_| Arc::new(WorkerLink::new(listeners.len(), peers));
    (0..workers).map(link).collect()
}

/// Pins the maps under the instance's name. Where nobody asked for a name, another instance that
/// has the same or a system without the file system is no reason not to run.
///
/// Returns as well what an instance of that name, which has ended, counted in inline mode, and whom
/// its guard's lists had.
fn pin(object: &Object, options: &Options) -> anyhow::Result<Pinned> {
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
        let guard_left = left_in(&pins);
        pins.clear();
        object.pin(&pins)?;
        Ok((pins, predecessor, guard_left))
    });
    match pinned {
        Ok((pins, predecessor, guard_left)) => {
            tracing::info!("maps pinned in {}", pins.path().display());
            Ok((Some(pins), predecessor, guard_left))
        }
        Err(error) if options.instance.is_some() || options.take_over => Err(error.into()),
        Err(error) => {
            tracing::warn!("maps are not pinned: {error}");
            Ok((None, None, Vec::new()))
        }
    }
}

/// The pins, and what an instance before has left.
type Pinned = (Option<Pins>, Option<Predecessor>, Vec<Left>);

/// The interfaces asked for, or those that carry listen addresses; or what these stand on.
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
    let mut interfaces: Vec<Interface> = Vec::new();
    for name in &names {
        let interface = Interface::by_name(name)?;
        let stacking = Stacking::of(&interface);
        let what_it_means = stacking.to_string();
        if !what_it_means.is_empty() {
            tracing::info!("{what_it_means}");
        }
        let found = match stacking.in_its_stead() {
            None => vec![interface],
            Some(members) => members
                .iter()
                .map(|member| Interface::by_name(member))
                .collect::<Result<_, _>>()?,
        };
        for interface in found {
            if !interfaces.contains(&interface) {
                interfaces.push(interface);
            }
        }
    }
    Ok(interfaces)
}
