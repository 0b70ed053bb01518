//! Sets inline mode up: for each NIC a veth pair, the programs, and AF_XDP sockets on the NIC
//! and on the pair.

use std::{
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use corex_common::{inline as shared, ip::ETHERNET_LEN, maps};

use super::options::Options;
use crate::{
    kernel::{
        attach::{Mode, ModeChoice},
        inline::{Caretaker, Left, Links, Pair, Predecessor, links, veth},
        interfaces::Interface,
        object::Object,
        pins::Pins,
        presence::Place,
    },
    pipeline::Listener,
};
use corex_script::settings;

/// Folder of the links' pins, in the instance's.
const LINKS: &str = "links";
/// Above this a veth refuses native XDP on its other end (a page less headroom and skb_shared_info).
const MAX_DETOUR_MTU: u32 = 3_498;
/// The longest frame that takes a detour.
pub const MAX_FRAME_LEN: u32 = MAX_DETOUR_MTU + ETHERNET_LEN as u32;

/// How long a packet may take that is on its way through a detour as the road is closed.
pub const SETTLE: Duration = Duration::from_millis(20);
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

/// A NIC's detour, with the programs in place.
pub struct Detour {
    /// The NIC.
    pub nic: Interface,
    /// How its XDP program is attached.
    pub mode: Mode,
    /// The pair.
    pub pair: Pair,
}

/// What keeps inline mode up. It ends in two steps, [`Self::let_go`] and [`Self::take_down`], or
/// both when it is dropped; unless it [stays](Self::leave).
pub struct Detours {
    /// By the NIC's number; `None` while the NIC is gone.
    detours: Vec<Option<Detour>>,
    /// What the programs decided that an earlier corex had left here.
    pub predecessor: Option<Left>,
    /// It, until all programs have taken the places of its.
    before: Option<Predecessor>,
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
    /// Tells the programs of the protected sockets and of what to go by. Nothing is attached yet.
    ///
    /// # Errors
    /// What the kernel says, with a remedy where one is known.
    pub fn start(
        object: &mut Object,
        settings: &settings::Inline,
        listeners: &[Listener],
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
        Ok(Self {
            detours: Vec::new(),
            predecessor: None,
            // What was closed stays closed should this start fail.
            is_left: settings.is_closed && predecessor.is_some(),
            before: predecessor,
            instance: pins.map_or_else(|| "corex".to_owned(), Pins::instance),
            secrets,
            caretaker: Caretaker::start().context("start the thread for the network")?,
            nic_links: Links::new(folder.clone(), options.tc),
            veth_links: Links::new(folder.clone(), options.tc),
            folder,
        })
    }

    /// Takes off what an earlier corex has left beyond what `number` NICs need, and says what that
    /// did; when all programs have taken the places of its.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take_over(&mut self, number: u32) -> anyhow::Result<()> {
        if let Some(folder) = &self.folder {
            let kept = [&self.nic_links, &self.veth_links];
            forget(&self.caretaker, folder, &kept);
        }
        remove_pairs(&self.caretaker, &self.instance, number)?;
        self.predecessor = self.before.take().and_then(tell_of);
        Ok(())
    }

    /// Makes the pair of a NIC by its number, where it isn't there as it must be, with one queue for
    /// each worker that sends by the NIC, of `workers` at most; and attaches the programs.
    ///
    /// # Errors
    /// What the kernel says, with a remedy where one is known. What was done by then stays, and is
    /// used the next time.
    pub fn attach(
        &mut self,
        object: &mut Object,
        number: usize,
        interface: &Interface,
        workers: u32,
        options: &Options,
    ) -> anyhow::Result<&Detour> {
        let of = |nic: &Interface| nic.queues.min(nic.transmit_queues).clamp(1, workers.max(1));
        let queues = of(interface);
        let mut pair = self.lead(object, number, interface, queues)?;
        self.nic_links.forget(interface);
        let xdp = object.program()?;
        let mode = self.nic_links.xdp(xdp, interface, options.xdp_mode)?;
        let program = shared::EGRESS_PROGRAM;
        let classifier = object.classifier(program)?;
        self.nic_links.tc(classifier, program, interface, true)?;
        // Attaching may change the queue count (virtio does).
        let nic = Interface::by_name(&interface.name)?;
        if of(&nic) < queues {
            pair = self.lead(object, number, &nic, of(&nic))?;
        }
        if self.detours.len() <= number {
            self.detours.resize_with(number + 1, || None);
        }
        let place = self.detours.get_mut(number).context("no such NIC")?;
        Ok(place.insert(Detour { nic, mode, pair }))
    }

    /// Makes a NIC's pair and attaches the pair's programs.
    fn lead(
        &mut self,
        object: &mut Object,
        number: usize,
        nic: &Interface,
        queues: u32,
    ) -> anyhow::Result<Pair> {
        let names = veth::names(&self.instance, number as u32);
        let pair = self
            .caretaker
            .make(names, &nic.name, queues, MAX_DETOUR_MTU)
            .with_context(|| format!("make the veth pair for {}", nic.name))?;
        object.add_detour(shared::Detour {
            nic: nic.index,
            own: pair.own.index,
            peer: pair.peer.index,
        })?;
        // Those of an earlier attempt, or of an earlier NIC of this number.
        self.veth_links.forget(&pair.own);
        self.veth_links.forget(&pair.peer);
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
        Ok(pair)
    }

    /// Attaches a NIC's XDP program anew.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn renew(
        &mut self,
        object: &mut Object,
        interface: &Interface,
        choice: ModeChoice,
    ) -> anyhow::Result<()> {
        self.nic_links.forget_xdp(interface);
        self.nic_links.xdp(object.program()?, interface, choice)?;
        Ok(())
    }

    /// A NIC is gone. Its pair stays, for when it is back.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lose(&mut self, object: &mut Object, number: usize) -> anyhow::Result<()> {
        let Some(detour) = self.detours.get_mut(number).and_then(Option::take) else {
            return Ok(());
        };
        self.nic_links.forget(&detour.nic);
        object.remove_detour(detour.nic.index)?;
        Ok(())
    }

    /// The detour of a NIC by its number; `None` while the NIC is gone.
    pub fn of(&self, number: usize) -> Option<&Detour> {
        self.detours.get(number)?.as_ref()
    }

    /// Where the programs of a NIC by its number must be found, its pair's included.
    pub fn places(&self, number: usize) -> impl Iterator<Item = Place> {
        let detour = self.of(number);
        detour.into_iter().flat_map(|Detour { nic, pair, .. }| {
            let own = self.veth_links.places(pair.own.index);
            let peer = self.veth_links.places(pair.peer.index);
            self.nic_links.places(nic.index).chain(own).chain(peer)
        })
    }

    /// The MAC by which the programs know what corex hands to a NIC's stack; where they need one.
    pub fn mark(&self, mode: Mode) -> Option<[u8; 6]> {
        (mode == Mode::Skb).then_some(self.secrets.mac)
    }

    /// Why a detour can't carry packets, if so.
    pub fn fault(&self) -> Option<String> {
        let mut detours = self.detours.iter().flatten();
        detours.find_map(|detour| detour.pair.fault())
    }

    /// From here on the workers serve it: it ends with them.
    pub fn serve(&mut self) {
        self.is_left = false;
    }

    /// From here on the NICs' packets go their way without corex.
    pub fn let_go(&mut self) {
        let filters = self.nic_links.end();
        self.take_off(filters);
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
