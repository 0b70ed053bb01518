//! What the kernel's stack looks at before a socket gets a packet, which what is steered to
//! AF_XDP doesn't see: whether a frame is for this host, whether its source address can be, and
//! whether its destination is a local address. What isn't so is left to the stack.

use aya_ebpf::programs::XdpContext;
use corex_common::{
    host::{HostAddress, HostMac, LOCAL},
    ip::{is_martian_v4, is_martian_v6},
    maps::{FAMILY_V4, SocketKey},
};

use crate::{
    maps::{HOST_ADDRESSES, HOST_MACS},
    packet::bytes,
};

/// Whom a frame is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Addressee {
    /// The interface, or one that stands on it.
    Host,
    /// A group, or all (IEEE 802.3 §3.2.3).
    Group,
    /// Another host.
    Other,
}

/// Whom the destination MAC means.
#[inline(always)]
pub fn addressee(ctx: &XdpContext) -> Addressee {
    let Ok(mac) = bytes::<_, 6>(ctx, 0) else {
        return Addressee::Other;
    };
    if mac[0] & 1 != 0 {
        return Addressee::Group;
    }
    let key = HostMac {
        ifindex: ctx.ingress_ifindex() as u32,
        mac: *mac,
        unused: [0; 2],
    };
    // SAFETY: entries are replaced as a whole; see `steer::listener`.
    match unsafe { HOST_MACS.get(&key) } {
        Some(_) => Addressee::Host,
        None => Addressee::Other,
    }
}

/// Whether a source address can't come from the wire, the host's own among them.
#[inline(always)]
pub fn is_martian(ctx: &XdpContext, source: &SocketKey) -> bool {
    let [a, b, c, d, ..] = source.addr;
    let is_special = if source.family == FAMILY_V4 {
        is_martian_v4([a, b, c, d])
    } else {
        is_martian_v6(&source.addr)
    };
    is_special || kind(ctx, source).is_some()
}

/// Whether it is an address of the host.
#[inline(always)]
pub fn is_local(ctx: &XdpContext, destination: &SocketKey) -> bool {
    kind(ctx, destination) == Some(LOCAL)
}

#[inline(always)]
fn kind(ctx: &XdpContext, address: &SocketKey) -> Option<u32> {
    let ifindex = ctx.ingress_ifindex() as u32;
    let key = HostAddress::at(address.addr, address.family, ifindex);
    // SAFETY: as in `addressee`.
    unsafe { HOST_ADDRESSES.get(&key) }.copied()
}
