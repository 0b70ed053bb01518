//! The NICs that corex is on, by the names that it was given; some may be gone.

use anyhow::Context as _;

use super::{refusal::Refusal, units::BoundQueue};
use crate::{
    daemon::{
        handover::Heir,
        inline::{Detour, Detours},
        options::Options,
    },
    io::transmit::refusal,
    kernel::{
        attach::{self, Mode, ModeChoice},
        host::{LiveMtu, Mtus},
        interfaces::Interface,
        object::Object,
        xdp_link::XdpLink,
    },
    telemetry::books::InterfaceLine,
};

/// A NIC.
pub struct Nic {
    /// The name that corex was given.
    pub name: String,
    /// It, as the program is attached to it. `None`: it is gone, or nothing is attached.
    pub on: Option<Attached>,
    /// How often the program was attached to it again.
    pub reattached: u64,
    /// Why it couldn't be.
    pub refusal: Refusal,
}

/// A NIC with the program.
pub struct Attached {
    /// The NIC as it was when its queues were bound last.
    pub interface: Interface,
    /// How the program is attached.
    pub mode: Mode,
    /// Its MTU now.
    pub mtu: LiveMtu,
    /// What the program is attached by, in proxy mode.
    pub link: Option<XdpLink>,
}

/// All of them.
pub struct Nics {
    /// In order.
    pub all: Vec<Nic>,
    /// Inline mode: their detours, by number.
    pub detours: Option<Detours>,
    /// How many workers there are.
    pub workers: u32,
    /// Where MTUs are read.
    mtus: Mtus,
}

impl Nics {
    /// These, with nothing attached yet.
    pub fn new(interfaces: &[Interface], mtus: Mtus) -> Self {
        let nic = |interface: &Interface| Nic {
            name: interface.name.clone(),
            on: None,
            reattached: 0,
            refusal: Refusal::default(),
        };
        Self {
            all: interfaces.iter().map(nic).collect(),
            detours: None,
            workers: 1,
            mtus,
        }
    }

    /// How many queues each has, of those that are there, that receive and transmit.
    pub fn queues(&self) -> impl Iterator<Item = u32> {
        let on = self.all.iter().filter_map(|nic| nic.on.as_ref());
        on.map(|on| on.interface.queues.min(on.interface.transmit_queues))
    }

    /// Attaches the program to a NIC by its number.
    ///
    /// # Errors
    /// What the kernel says, with a remedy where one is known.
    pub fn attach(
        &mut self,
        object: &mut Object,
        number: usize,
        interface: &Interface,
        options: &Options,
    ) -> anyhow::Result<()> {
        let nic = self.all.get_mut(number).context("no such NIC")?;
        let attached = match &mut self.detours {
            None => {
                let (program, choice) = (object.program()?, options.xdp_mode);
                let attached = attach::attach(program, interface, choice, attach::own)?;
                Attached {
                    // Attaching may change the queue count (virtio does).
                    interface: Interface::by_name(&interface.name)?,
                    mode: attached.mode,
                    mtu: self.mtus.of(interface.index, interface.mtu),
                    link: Some(attached.link),
                }
            }
            Some(detours) => {
                let detour = detours.attach(object, number, interface, self.workers, options)?;
                Attached {
                    interface: detour.nic.clone(),
                    mode: detour.mode,
                    mtu: self.mtus.of(interface.index, interface.mtu),
                    link: None,
                }
            }
        };
        tracing::info!(
            "{}: XDP attached ({} mode), {} receive queue{}",
            attached.interface.name,
            attached.mode,
            attached.interface.queues,
            if attached.interface.queues == 1 {
                ""
            } else {
                "s"
            },
        );
        nic.on = Some(attached);
        Ok(())
    }

    /// Takes the link of a predecessor's program on a NIC by its number; ours takes its place later.
    ///
    /// # Errors
    /// It has none there.
    pub fn succeed(
        &mut self,
        number: usize,
        interface: &Interface,
        heir: &mut Heir,
    ) -> anyhow::Result<()> {
        let (mode, link) = heir.link(interface)?;
        let nic = self.all.get_mut(number).context("no such NIC")?;
        nic.on = Some(Attached {
            interface: interface.clone(),
            mode,
            mtu: self.mtus.of(interface.index, interface.mtu),
            link: Some(XdpLink::received(link)),
        });
        Ok(())
    }

    /// Has a NIC's driver run the program for queues that are new. Drivers of hardware do; that of
    /// veth doesn't until the program is attached anew (veth_set_channels()).
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn renew(&mut self, object: &mut Object, number: usize) -> anyhow::Result<()> {
        let Some(on) = self.all.get_mut(number).and_then(|nic| nic.on.as_mut()) else {
            return Ok(());
        };
        if on.mode != Mode::Native || on.interface.is_hardware() {
            return Ok(());
        }
        let choice = ModeChoice::Native;
        if let Some(detours) = &mut self.detours {
            return detours.renew(object, &on.interface, choice);
        }
        drop(on.link.take());
        on.link = Some(attach::attach(object.program()?, &on.interface, choice, attach::own)?.link);
        Ok(())
    }

    /// A NIC is gone, or its program.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lose(&mut self, object: &mut Object, number: usize) -> anyhow::Result<()> {
        if let Some(nic) = self.all.get_mut(number) {
            nic.on = None;
        }
        match &mut self.detours {
            Some(detours) => detours.lose(object, number),
            None => Ok(()),
        }
    }

    /// The MTU now of an interface by its index.
    pub fn mtu(&self, index: u32) -> LiveMtu {
        let mut served = self.served();
        let interface = served.find(|(interface, ..)| interface.index == index);
        self.mtus
            .of(index, interface.map_or(0, |(interface, ..)| interface.mtu))
    }

    /// The detour of a NIC by its number.
    pub fn detour(&self, number: usize) -> Option<&Detour> {
        self.detours.as_ref()?.of(number)
    }

    /// The interfaces whose queues have AF_XDP sockets, with how programs are attached to them, and
    /// the number of the NIC that they are or belong to.
    pub fn served(&self) -> impl Iterator<Item = (&Interface, Mode, usize)> {
        self.all.iter().enumerate().flat_map(|(number, nic)| {
            let on = nic.on.as_ref();
            let own = on.map(|on| (&on.interface, on.mode, number));
            let detour = self.detour(number).filter(|_| on.is_some());
            let pair = detour.map(|detour| (&detour.pair.own, Mode::Native, number));
            own.into_iter().chain(pair)
        })
    }

    /// What the books show of them. One that is gone is there without queues.
    pub fn lines(&self, queues: &[BoundQueue]) -> Vec<InterfaceLine> {
        let line = |interface: &Interface, mode: Mode, reattached| {
            let of_interface = || queues.iter().filter(|q| q.bound.ifindex == interface.index);
            InterfaceLine {
                index: interface.index,
                name: interface.name.clone(),
                mode: mode.to_string(),
                queues: of_interface().count() as u32,
                zero_copy: of_interface().all(|q| q.bound.zero_copy),
                zero_copy_refusal: of_interface().find_map(|q| q.bound.refusal).map(refusal),
                reattached,
            }
        };
        let there = self.served().map(|(interface, mode, number)| {
            let nic = self.all.get(number);
            let is_nic = nic.and_then(|nic| nic.on.as_ref());
            let is_nic = is_nic.is_some_and(|on| on.interface.index == interface.index);
            let reattached = nic.filter(|_| is_nic).map_or(0, |nic| nic.reattached);
            line(interface, mode, reattached)
        });
        let gone = self.all.iter().filter(|nic| nic.on.is_none());
        let gone = gone.map(|nic| InterfaceLine {
            index: 0,
            name: nic.name.clone(),
            mode: "none".to_owned(),
            queues: 0,
            zero_copy: false,
            zero_copy_refusal: None,
            reattached: nic.reattached,
        });
        there.chain(gone).collect()
    }
}
