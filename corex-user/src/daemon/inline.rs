//! Sets inline mode up: for each NIC a veth pair, the programs, and AF_XDP sockets on the NIC
//! and on the pair.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, bail};
use corex_common::{inline as shared, maps};

use super::{Options, engine};
use crate::{
    io::inline::End,
    kernel::{
        attach::{Mode, ModeChoice},
        inline::{Caretaker, Links, Pair, links, veth},
        interfaces::Interface,
        object::Object,
        pins::Pins,
    },
    pipeline::Listener,
    script::{Direction, settings},
};

/// Folder of the links' pins, in the instance's.
const LINKS: &str = "links";
/// Above this a veth refuses native XDP on its other end (a page less headroom and skb_shared_info).
const MAX_DETOUR_MTU: u32 = 3_498;

/// What corex's own packets are known by.
#[derive(Clone, Copy, Debug)]
struct Secrets {
    /// Packet mark.
    mark: u32,
    /// Locally administered unicast MAC.
    mac: [u8; 6],
}

impl Secrets {
    /// New ones.
    fn draw() -> Self {
        let [a, b, c, d, e, m0, m1, m2] = RandomState::new().hash_one(0).to_ne_bytes();
        Self {
            mark: u32::from_ne_bytes([m0, m1, m2, a]) | 1,
            mac: [0x02, a, b, c, d, e],
        }
    }
}

/// A NIC and what belongs to it.
pub struct Nic {
    /// The NIC.
    pub interface: Interface,
    /// How its XDP program is attached.
    pub mode: Mode,
    /// Its detour.
    pub pair: Pair,
}

/// What keeps inline mode up; ends in two steps.
pub struct Detours {
    /// The NICs, in order.
    pub nics: Vec<Nic>,
    secrets: Secrets,
    caretaker: Caretaker,
    nic_links: Links,
    veth_links: Links,
}

impl Detours {
    /// Makes the pairs and tells the programs of them, of the protected sockets and of what to go
    /// by; then attaches the programs: those of the NICs last, when all is known.
    ///
    /// # Errors
    /// What the kernel says, with a remedy where one is known.
    pub fn start(
        object: &mut Object,
        settings: &settings::Inline,
        listeners: &[Listener],
        interfaces: Vec<Interface>,
        pins: Option<&Pins>,
        options: &Options,
    ) -> anyhow::Result<Self> {
        if pins.is_none() && settings.is_closed {
            bail!(
                "on_failure is \"closed\", which holds after corex's death only with programs \
                 pinned, and nothing can be pinned here (see the warning above)"
            );
        }
        let instance = pins.map_or_else(|| "corex".to_owned(), Pins::instance);
        let caretaker = Caretaker::start().context("start the thread for the network")?;
        let secrets = Secrets::draw();
        let mut mac = [0; 8];
        mac[..6].copy_from_slice(&secrets.mac);
        object.configure_inline(shared::Inline {
            watchdog_ns: u64::from(settings.watchdog) * 1_000_000,
            closed: settings.is_closed.into(),
            mark: secrets.mark,
            mac,
        })?;
        for (id, listener) in listeners.iter().enumerate() {
            let entry = maps::SocketEntry {
                id: id as u32,
                steer: 1,
            };
            object.add_socket(engine::key_of(listener.address), entry)?;
            let same = listeners
                .iter()
                .filter(|l| l.address.ip() == listener.address.ip());
            object.add_address(address(listener.address.ip()), same.count() as u32)?;
        }

        let folder = pins.map(|pins| pins.path().join(LINKS));
        let mut nic_links = Links::new(folder.clone(), options.tc);
        let mut veth_links = Links::new(folder, options.tc);
        let mut nics = Vec::new();
        for (number, mut interface) in interfaces.into_iter().enumerate() {
            let names = veth::names(&instance, number as u32);
            let mtu = interface.mtu.min(MAX_DETOUR_MTU);
            let pair = caretaker
                .make(names, &interface.name, interface.queues, mtu)
                .with_context(|| format!("make the veth pair for {}", interface.name))?;
            object.add_detour(shared::Detour {
                nic: interface.index,
                own: pair.own.index,
                peer: pair.peer.index,
            })?;
            // In generic mode packets that TC redirects never reach XDP.
            let own = object.xdp(shared::DETOUR_PROGRAM)?;
            veth_links.xdp(own, &pair.own, ModeChoice::Native)?;
            for (program, end) in [
                (shared::RETURN_PROGRAM, &pair.own),
                (shared::INJECT_PROGRAM, &pair.peer),
            ] {
                veth_links.tc(object.classifier(program)?, program, end, false)?;
            }
            let mode = nic_links.xdp(object.program()?, &interface, options.xdp_mode)?;
            let program = shared::EGRESS_PROGRAM;
            nic_links.tc(object.classifier(program)?, program, &interface, true)?;
            // Attaching may change the queue count (virtio does).
            interface = Interface::by_name(&interface.name)?;
            tracing::info!(
                "{}: XDP attached ({mode} mode), {} receive queue{}; detour by {} and {}",
                interface.name,
                interface.queues,
                if interface.queues == 1 { "" } else { "s" },
                pair.own.name,
                pair.peer.name,
            );
            nics.push(Nic {
                interface,
                mode,
                pair,
            });
        }
        Ok(Self {
            nics,
            secrets,
            caretaker,
            nic_links,
            veth_links,
        })
    }

    /// The ends of a worker's queues, given by interface index and in the order of its sockets.
    pub fn ends(&self, queues: &[(u32, u32)]) -> Vec<End> {
        let place = |ifindex: u32, queue: u32| queues.iter().position(|q| *q == (ifindex, queue));
        queues
            .iter()
            .enumerate()
            .filter_map(|(from, (ifindex, queue))| {
                let nic = self
                    .nics
                    .iter()
                    .find(|n| [n.interface.index, n.pair.own.index].contains(ifindex))?;
                let mac = (nic.mode == Mode::Skb).then_some(self.secrets.mac);
                if *ifindex == nic.interface.index {
                    Some(End {
                        way: Direction::Incoming,
                        to: place(nic.pair.own.index, *queue)?,
                        mtu: nic.pair.peer.mtu as usize,
                        source_mac: mac,
                        from,
                        back_mac: None,
                    })
                } else {
                    Some(End {
                        way: Direction::Outgoing,
                        to: place(nic.interface.index, *queue)?,
                        mtu: nic.interface.mtu as usize,
                        source_mac: None,
                        from,
                        back_mac: mac,
                    })
                }
            })
            .collect()
    }

    /// From here on the NICs' packets go their way without corex.
    pub fn let_go(&mut self) {
        let filters = self.nic_links.end();
        self.take_off(filters);
        for nic in &self.nics {
            tracing::info!("{}: XDP and TC detached", nic.interface.name);
        }
    }

    /// Takes the pairs down; nothing may be on its way through them any more.
    pub fn take_down(&mut self) {
        let filters = self.veth_links.end();
        self.take_off(filters);
        for nic in &self.nics {
            if let Err(error) = self.caretaker.remove(&nic.pair.own.name) {
                tracing::warn!("remove {}: {error}", nic.pair.own.name);
            }
        }
    }

    fn take_off(&self, filters: Vec<links::Filter>) {
        for filter in filters {
            let taken =
                self.caretaker
                    .detach_filter(&filter.interface, filter.egress, filter.program);
            if let Err(error) = taken {
                tracing::warn!("{}: take off {}: {error}", filter.interface, filter.program);
            }
        }
    }
}

fn address(ip: IpAddr) -> shared::Address {
    let key = engine::key_of(SocketAddr::new(ip, 0));
    shared::Address {
        addr: key.addr,
        family: key.family.into(),
    }
}

/// Removes what an instance in inline mode left behind: its programs and veth pairs. Nothing
/// happens where there is nothing.
///
/// # Errors
/// What the kernel says.
pub fn clean(instance: &str, folder: &Path) -> anyhow::Result<()> {
    let links = folder.join(LINKS);
    if !links.exists() {
        return Ok(());
    }
    links::clear(&links);
    let caretaker = Caretaker::start().context("start the thread for the network")?;
    for number in 0..maps::MAX_INTERFACES {
        let (own, _) = veth::names(instance, number);
        caretaker
            .remove(&own)
            .with_context(|| format!("remove {own}"))?;
    }
    Ok(())
}
