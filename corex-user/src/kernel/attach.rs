//! Attaches the XDP program to interfaces: native where the driver can, else generic.

use std::{fmt, io, os::fd::AsFd as _};

use aya::{
    programs::{
        ProgramError, Xdp,
        links::{FdLink, LinkError},
        xdp::XdpMode,
    },
    sys::SyscallError,
};

use super::{extack, interfaces::Interface, offload, xdp_link::XdpLink, xdp_owner::XdpOwner};

/// Flags of linux/if_link.h: generic XDP, and in the driver.
const XDP_FLAGS_SKB_MODE: u32 = 2;
const XDP_FLAGS_DRV_MODE: u32 = 4;

/// Which attachment the operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ModeChoice {
    /// Native if the driver accepts it, else generic.
    #[default]
    Auto,
    /// In the driver, before the kernel allocates a packet; or fail.
    Native,
    /// Generic XDP: works everywhere, after the kernel's packet allocation.
    Skb,
}

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// Generic XDP.
    Skb,
}

impl Mode {
    /// Value of [`corex_common::maps::Queue::mode`].
    pub fn number(self) -> u32 {
        match self {
            Self::Native => 1,
            Self::Skb => 2,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Skb => "skb",
        })
    }
}

/// An attachment, which ends when this is dropped. The kernel takes the program off when the
/// process ends, however it ends: the link is a file descriptor (bpf_link, Linux 5.9).
pub struct Attachment<L> {
    /// How it is attached.
    pub mode: Mode,
    /// What it is attached by.
    pub link: L,
}

/// How a link is made: of a program to an interface by its index.
pub type MakeLink<L> = fn(&mut Xdp, u32, Mode) -> Result<L, ProgramError>;

/// Makes a link that can be pinned.
///
/// # Errors
/// What the kernel says.
pub fn pinnable(program: &mut Xdp, ifindex: u32, mode: Mode) -> Result<FdLink, ProgramError> {
    let flag = match mode {
        Mode::Native => XdpMode::Driver,
        Mode::Skb => XdpMode::Skb,
    };
    let link = program.attach_to_if_index(ifindex, flag)?;
    let link = program.take_link(link)?;
    FdLink::try_from(link).map_err(|_: LinkError| no_links())
}

/// Makes a link that another process can be handed.
///
/// # Errors
/// What the kernel says.
pub fn own(program: &mut Xdp, ifindex: u32, mode: Mode) -> Result<XdpLink, ProgramError> {
    let flags = match mode {
        Mode::Native => XDP_FLAGS_DRV_MODE,
        Mode::Skb => XDP_FLAGS_SKB_MODE,
    };
    XdpLink::create(program.fd()?.as_fd(), ifindex, flags).map_err(|io_error| {
        let call = "bpf_link_create";
        SyscallError { call, io_error }.into()
    })
}

fn no_links() -> ProgramError {
    let text = "XDP has links that end with corex from Linux 5.9 on";
    io::Error::new(io::ErrorKind::Unsupported, text).into()
}

/// Why no attachment was possible.
#[derive(Debug, thiserror::Error)]
#[error("attach to {interface} ({mode}): {reason}{}", .remedy.map_or(String::new(), |r| format!("; {}", r.replace("IF", .interface))))]
pub struct AttachError {
    interface: String,
    mode: Mode,
    reason: String,
    remedy: Option<&'static str>,
}

/// Attaches `program` to `interface`. In [`ModeChoice::Auto`] a refused native attachment is
/// logged with the kernel's reason and a remedy, and generic XDP is tried.
///
/// # Errors
/// The last refusal.
pub fn attach<L>(
    program: &mut Xdp,
    interface: &Interface,
    choice: ModeChoice,
    make: MakeLink<L>,
) -> Result<Attachment<L>, AttachError> {
    let name = &interface.name;
    if offload::strips_tags_of_vlans(name) {
        tracing::warn!(
            "{name} takes VLAN tags off before XDP sees them, so its VLANs look like one; \
             `ethtool -K {name} rxvlan off` leaves them on"
        );
    }
    if choice != ModeChoice::Skb {
        match attach_in(program, interface, Mode::Native, make) {
            Ok(attachment) => return Ok(attachment),
            Err(error) if choice == ModeChoice::Auto && error.worth_a_fallback() => {
                tracing::warn!("{error}; falling back to skb mode, which is slower");
            }
            Err(error) => return Err(error),
        }
    }
    attach_in(program, interface, Mode::Skb, make)
}

fn attach_in<L>(
    program: &mut Xdp,
    interface: &Interface,
    mode: Mode,
    make: MakeLink<L>,
) -> Result<Attachment<L>, AttachError> {
    match make(program, interface.index, mode) {
        Ok(link) => Ok(Attachment { mode, link }),
        Err(error) => {
            // bpf_link doesn't return the driver's own words; netlink does.
            let words = program
                .fd()
                .ok()
                .and_then(|fd| extack::why_not(interface.index, fd.as_fd(), mode == Mode::Native));
            let errno = errno(&error);
            let remedy = remedy(errno, words.as_deref(), interface);
            let mut reason = words.unwrap_or_else(|| describe(&error));
            if remedy == Some(OCCUPIED)
                && let Some(owner) = XdpOwner::of(&interface.name, interface.index)
            {
                reason = format!("{reason}: {owner}");
            }
            Err(AttachError {
                interface: interface.name.clone(),
                mode,
                remedy,
                reason,
            })
        }
    }
}

impl AttachError {
    /// A foreign program in the way stays in the way in any mode.
    fn worth_a_fallback(&self) -> bool {
        self.remedy != Some(OCCUPIED)
    }
}

fn errno(error: &ProgramError) -> Option<i32> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.raw_os_error();
        }
        source = error.source();
    }
    None
}

fn describe(error: &ProgramError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

const OCCUPIED: &str = "another XDP program is attached: `ip link show` names it, \
    `ip link set dev IF xdp off` removes it (`cargo xtask detach` if it was corex)";

fn remedy(errno: Option<i32>, words: Option<&str>, interface: &Interface) -> Option<&'static str> {
    let words = words.unwrap_or_default().to_ascii_lowercase();
    if matches!(errno, Some(libc::EBUSY | libc::EEXIST)) || words.contains("already attached") {
        return Some(OCCUPIED);
    }
    if words.contains("mtu") || (errno == Some(libc::ERANGE) && interface.mtu > 3_000) {
        return Some("lower the MTU: `ip link set dev IF mtu 1500`");
    }
    if words.contains("lro") || words.contains("gro_hw") {
        return Some("switch receive aggregation off: `ethtool -K IF lro off rx-gro-hw off`");
    }
    if words.contains("queue") || words.contains("channel") {
        return Some("change the queue count: `ethtool -L IF combined N`");
    }
    match errno {
        Some(libc::EOPNOTSUPP) => Some("the driver has no native XDP; use --xdp-mode skb"),
        Some(libc::EPERM) => Some("run as root or with CAP_NET_ADMIN and CAP_BPF"),
        _ => None,
    }
}
