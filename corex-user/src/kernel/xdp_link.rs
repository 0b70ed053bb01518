//! An XDP program's link to an interface, as a descriptor of ours that another process can be handed:
//! aya gives out none.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use super::bpf_call::{Attributes, bpf};

/// Commands of bpf(2), and the type of attachment: include/uapi/linux/bpf.h.
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_XDP: u32 = 37;

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// A link. The program is attached for as long as a process has its descriptor.
#[derive(Debug)]
pub struct XdpLink(OwnedFd);

impl XdpLink {
    /// Attaches a program to an interface, with flags XDP_FLAGS_… (linux/if_link.h).
    ///
    /// # Errors
    /// What the kernel says; EINVAL where it has no links for XDP (before Linux 5.9).
    pub fn create(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<XdpLink> {
        // Of `link_create`: program, interface, type of attachment, flags.
        let attributes = Attributes::of(&[number(program), ifindex, BPF_XDP, flags]);
        let fd = i32::try_from(bpf(BPF_LINK_CREATE, &attributes)?).map_err(io::Error::other)?;
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(XdpLink(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The link that another process has handed over.
    pub fn received(fd: OwnedFd) -> XdpLink {
        XdpLink(fd)
    }

    /// Puts a program in the place of the one that the link has, without a packet that neither sees.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        // Of `link_update`: link, program, flags.
        let attributes = Attributes::of(&[number(self.0.as_fd()), number(program), 0]);
        bpf(BPF_LINK_UPDATE, &attributes).map(drop)
    }
}

impl AsFd for XdpLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until no CPU runs a program any more that was in a link's place before: each has gone through
/// a moment without programs then (membarrier(2), which waits for RCU). Without it, nothing happens.
pub fn wait_for_running_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;
    // SAFETY: no pointers. Where the kernel has no such call, the wait is left out.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
}
