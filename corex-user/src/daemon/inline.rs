//! Sets inline mode up: for each NIC a veth pair, the programs, and AF_XDP sockets on the NIC
//! and on the pair.

use std::{
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use corex_common::{
    inline as shared,
    ip::{ETHERNET_LEN, MAX_VLAN_TAGS, VLAN_TAG_LEN},
    maps,
};

use super::options::Options;
use crate::{
    io::inline::End,
    kernel::{
        attach::{Mode, ModeChoice},
        inline::{Caretaker, Left, Links, Pair, Predecessor, links, veth},
        interfaces::Interface,
        object::Object,
        pins::Pins,
    },
    pipeline::Listener,
};
use corex_script::{Direction, settings};

/// Folder of the links' pins, in the instance's.
const LINKS: &str = "links";
/// Above this a veth refuses native XDP on its other end (a page less headroom and skb_shared_info).
const MAX_DETOUR_MTU: u32 = 3_498;
/// Two VLAN tags, of which a veth admits one above its MTU (is_skb_forwardable()).
const TAGS_LEN: u32 = (MAX_VLAN_TAGS * VLAN_TAG_LEN) as u32;
/// The longest frame that takes a detour.
pub const MAX_FRAME_LEN: u32 = MAX_DETOUR_MTU + ETHERNET_LEN as u32;

/// How long a packet may take that is on its way through a detour as the road is closed.
const SETTLE: Duration = Duration::from_millis(20);
/// The programs that may be a clsact filter, and whether on egress.
const FILTERS: [(&str, bool); 3] = [
    (shared::EGRESS_PROGRAM, true),
    (shared::RETURN_PROGRAM, false),
    (shared::INJECT_PROGRAM, false),
];

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

/// What keeps inline mode up. It ends in two steps, [`Self::let_go`] and [`Self::take_down`], or
/// both when it is dropped; unless it [stays](Self::leave).
pub struct Detours {
    /// The NICs, in order.
    pub nics: Vec<Nic>,
    /// What the programs decided that an earlier corex had left here.
    pub predecessor: Option<Left>,
    instance: String,
    folder: Option<PathBuf>,
    secrets: Secrets,
    caretaker: Caretaker,
    nic_links: Links,
    veth_links: Links,
    /// Whether it stays when this is dropped.
    is_left: bool,
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
        (pins, predecessor): (Option<&Pins>, Option<Predecessor>),
        options: &Options,
    ) -> anyhow::Result<Self> {
        if pins.is_none() && settings.is_closed {
            bail!(
                "on_failure is \"closed\", which holds after corex's death only with programs \
                 pinned, and nothing can be pinned here (see the warning above)"
            );
        }
        let secrets = Secrets::draw();
        tell_programs(object, settings, listeners, &secrets)?;
        let folder = pins.map(|pins| pins.path().join(LINKS));
        let mut detours = Self {
            nics: Vec::new(),
            predecessor: None,
            instance: pins.map_or_else(|| "corex".to_owned(), Pins::instance),
            secrets,
            caretaker: Caretaker::start().context("start the thread for the network")?,
            nic_links: Links::new(folder.clone(), options.tc),
            veth_links: Links::new(folder.clone(), options.tc),
            folder,
            // What was closed stays closed should this start fail.
            is_left: settings.is_closed && predecessor.is_some(),
        };
        for interface in interfaces {
            detours.add(object, interface, options)?;
        }
        if let Some(folder) = &detours.folder {
            let kept = [&detours.nic_links, &detours.veth_links];
            forget(&detours.caretaker, folder, &kept);
        }
        let number = detours.nics.len() as u32;
        remove_pairs(&detours.caretaker, &detours.instance, number)?;
        detours.predecessor = predecessor.and_then(tell_of);
        Ok(detours)
    }

    /// Makes a NIC's pair and attaches the programs.
    fn add(
        &mut self,
        object: &mut Object,
        interface: Interface,
        options: &Options,
    ) -> anyhow::Result<()> {
        let names = veth::names(&self.instance, self.nics.len() as u32);
        let mtu = (interface.mtu + TAGS_LEN).min(MAX_DETOUR_MTU);
        let pair = self
            .caretaker
            .make(names, &interface.name, interface.queues, mtu)
            .with_context(|| format!("make the veth pair for {}", interface.name))?;
        object.add_detour(shared::Detour {
            nic: interface.index,
            own: pair.own.index,
            peer: pair.peer.index,
        })?;
        // In generic mode packets that TC redirects never reach XDP.
        let own = object.xdp(shared::DETOUR_PROGRAM)?;
        self.veth_links.xdp(own, &pair.own, ModeChoice::Native)?;
        for (program, end) in [
            (shared::RETURN_PROGRAM, &pair.own),
            (shared::INJECT_PROGRAM, &pair.peer),
        ] {
            let classifier = object.classifier(program)?;
            self.veth_links.tc(classifier, program, end, false)?;
        }
        let xdp = object.program()?;
        let mode = self.nic_links.xdp(xdp, &interface, options.xdp_mode)?;
        let program = shared::EGRESS_PROGRAM;
        let classifier = object.classifier(program)?;
        self.nic_links.tc(classifier, program, &interface, true)?;
        // Attaching may change the queue count (virtio does).
        let interface = Interface::by_name(&interface.name)?;
        tracing::info!(
            "{}: XDP attached ({mode} mode), {} receive queue{}; detour by {} and {}",
            interface.name,
            interface.queues,
            if interface.queues == 1 { "" } else { "s" },
            pair.own.name,
            pair.peer.name,
        );
        self.nics.push(Nic {
            interface,
            mode,
            pair,
        });
        Ok(())
    }

    /// Why a detour can't carry packets, if so.
    pub fn fault(&self) -> Option<String> {
        self.nics.iter().find_map(|nic| nic.pair.fault())
    }

    /// From here on the workers serve it: it ends with them.
    pub fn serve(&mut self) {
        self.is_left = false;
    }

    /// The ends of a worker's queues, given by interface index and in the order of its sockets.
    pub fn ends(&self, queues: &[(u32, u32)]) -> Vec<Option<End>> {
        // By the queue of the same number, or any: the two interfaces may have a different count.
        let place = |ifindex: u32, queue: u32| {
            let mut of_worker = queues.iter();
            of_worker
                .position(|q| *q == (ifindex, queue))
                .or_else(|| queues.iter().position(|q| q.0 == ifindex))
        };
        let end = |(from, (ifindex, queue)): (usize, &(u32, u32))| {
            let nic = self
                .nics
                .iter()
                .find(|n| [n.interface.index, n.pair.own.index].contains(ifindex))?;
            let mac = (nic.mode == Mode::Skb).then_some(self.secrets.mac);
            Some(if *ifindex == nic.interface.index {
                End {
                    way: Direction::Incoming,
                    to: place(nic.pair.own.index, *queue)?,
                    mtu: nic.interface.mtu.min(nic.pair.peer.mtu) as usize,
                    source_mac: mac,
                    from,
                    back_mac: None,
                }
            } else {
                End {
                    way: Direction::Outgoing,
                    to: place(nic.interface.index, *queue)?,
                    mtu: nic.interface.mtu as usize,
                    source_mac: None,
                    from,
                    back_mac: mac,
                }
            })
        };
        queues.iter().enumerate().map(end).collect()
    }

    /// From here on the NICs' packets go their way without corex.
    pub fn let_go(&mut self) {
        let filters = self.nic_links.end();
        self.take_off(filters);
        for nic in &self.nics {
            tracing::info!("{}: XDP and TC detached", nic.interface.name);
        }
        self.nics.clear();
    }

    /// Lets everything stay: links by their pins, and filters anyway.
    pub fn leave(&mut self) {
        self.is_left = true;
    }

    /// Takes the pairs down, unless they are to stay. What is on its way through them has a
    /// moment to arrive.
    pub fn take_down(&mut self) {
        if self.is_left {
            return;
        }
        thread::sleep(SETTLE);
        let filters = self.veth_links.end();
        self.take_off(filters);
        if let Err(error) = remove_pairs(&self.caretaker, &self.instance, 0) {
            tracing::warn!("{error:#}");
        }
        self.is_left = true;
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

impl Drop for Detours {
    fn drop(&mut self) {
        if !self.is_left {
            self.let_go();
            self.take_down();
        }
    }
}

/// Writes the protected sockets and the settings into the maps that the programs go by.
fn tell_programs(
    object: &mut Object,
    settings: &settings::Inline,
    listeners: &[Listener],
    secrets: &Secrets,
) -> anyhow::Result<()> {
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
        object.add_socket(listener.address, entry)?;
        let same = listeners
            .iter()
            .filter(|l| l.address.ip() == listener.address.ip());
        object.add_address(listener.address.ip(), same.count() as u32)?;
    }
    Ok(())
}

/// Leaves the programs where they are, for a successor; what is on its way to workers that are
/// to end has a moment to arrive there.
///
/// # Errors
/// What the kernel says.
pub fn close(object: &mut Object, slots: impl Iterator<Item = u32>) -> anyhow::Result<()> {
    for slot in slots {
        object.remove_queue(slot)?;
    }
    thread::sleep(SETTLE);
    Ok(())
}

/// Says what the programs of an earlier corex did while it was gone.
fn tell_of(predecessor: Predecessor) -> Option<Left> {
    match predecessor.read() {
        Ok(left) => {
            let (passed, dropped) = left.unserved();
            tracing::info!(
                "took over from an earlier corex; while nobody served its queues, {passed} packets \
                 passed and {dropped} were dropped; {} were in its hands when it ended",
                left.in_hand()
            );
            Some(left)
        }
        Err(error) => {
            tracing::warn!("took over from an earlier corex, but not what it counted: {error}");
            None
        }
    }
}

/// Takes off what `kept` doesn't hold of the programs in an instance's folder of links.
fn forget(caretaker: &Caretaker, folder: &Path, kept: &[&Links]) {
    for index in links::clear(folder, kept) {
        // One that is gone has no filters either.
        let Ok(name) = Interface::name_of(index) else {
            continue;
        };
        for (program, egress) in FILTERS {
            let _ = caretaker.detach_filter(&name, egress, program);
        }
        tracing::info!("{name}: took off what an earlier corex had left");
    }
}

/// Removes an instance's veth pairs from number `first` on.
fn remove_pairs(caretaker: &Caretaker, instance: &str, first: u32) -> anyhow::Result<()> {
    for number in first..maps::MAX_INTERFACES {
        let (own, _) = veth::names(instance, number);
        caretaker
            .remove(&own)
            .with_context(|| format!("remove {own}"))?;
    }
    Ok(())
}

/// Removes what an instance in inline mode left behind: its programs and veth pairs. Returns
/// whether there was anything.
///
/// # Errors
/// What the kernel says.
pub fn clean(pins: &Pins) -> anyhow::Result<bool> {
    let links: PathBuf = pins.path().join(LINKS);
    if !links.exists() {
        return Ok(false);
    }
    let caretaker = Caretaker::start().context("start the thread for the network")?;
    forget(&caretaker, &links, &[]);
    remove_pairs(&caretaker, &pins.instance(), 0)?;
    Ok(true)
}
