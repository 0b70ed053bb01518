//! What the kernel's stack looks at before a socket gets a packet, which what is steered to
//! AF_XDP doesn't see: whether a frame is for this host, whether its source address can be, and
//! whether its destination is a local address. What isn't so is left to the stack.

use aya_ebpf::programs::XdpContext;
use corex_common::{
    host::{
        ACCEPT_LOCAL, BROADCAST, CHECK_V4, CHECK_V6, HostAddress, HostMac, HostState, KnownHost,
        KnownSource, LOCAL, ROUTE_LOCALNET, ReversePath, source_slot,
    },
    ip::{
        ETHERNET_LEN, is_loopback_v4, is_martian_v4, is_martian_v6, is_refused_v4, is_refused_v6,
    },
    maps::{FAMILY_V4, SocketKey},
};

use crate::{
    maps::{
        HOST_ADDRESSES, HOST_MACS, HOST_STATE, KNOWN_HOST, KNOWN_SOURCES, REVERSE_PATHS,
        REVERSE_STATE,
    },
    packet::{Datagram, bytes},
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

/// What a source address can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Another host.
    Host,
    /// Nothing that has come by the wire in an orderly way, but the stack takes it.
    Odd,
    /// Nothing that the stack takes (ip_route_input_slow() and fib_validate_source() in
    /// net/ipv4, ip6_rcv_core() in net/ipv6).
    Refused,
}

/// The host as it is now.
#[inline(always)]
pub fn host_state() -> HostState {
    match HOST_STATE.get(0) {
        Some(state) => *state,
        None => HostState::default(),
    }
}

/// What this CPU found last.
#[inline(always)]
fn known<'a>() -> Option<&'a mut KnownHost> {
    // SAFETY: the slot belongs to this CPU; see `maps::counters`.
    KNOWN_HOST.get_ptr_mut(0).map(|p| unsafe { &mut *p })
}

/// Whom the destination MAC means.
#[inline(always)]
pub fn addressee(ctx: &XdpContext, state: HostState) -> Addressee {
    let Ok(mac) = bytes::<_, 6>(ctx, 0) else {
        return Addressee::Other;
    };
    if mac[0] & 1 != 0 {
        return Addressee::Group;
    }
    let ifindex = ctx.ingress_ifindex() as u32;
    let number = u64::from_ne_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0]);
    let known = known();
    if let Some(known) = &known
        && known.mac == number
        && known.ifindex == ifindex
        && known.mac_version == state.version
    {
        return Addressee::Host;
    }
    let key = HostMac {
        ifindex,
        mac: *mac,
        unused: [0; 2],
    };
    // SAFETY: entries are replaced as a whole; see `steer::listener`.
    if unsafe { HOST_MACS.get(&key) }.is_none() {
        return Addressee::Other;
    }
    if let Some(known) = known {
        known.mac = number;
        known.ifindex = ifindex;
        known.mac_version = state.version;
    }
    Addressee::Host
}

/// What the source address can be, the host's own ones among them.
#[inline(always)]
pub fn origin(ctx: &XdpContext, source: &SocketKey, state: HostState) -> Origin {
    let ifindex = ctx.ingress_ifindex() as u32;
    let key = HostAddress::at(source.addr, source.family, ifindex);
    let numbers = key.numbers();
    // SAFETY: the slot belongs to this CPU; see `maps::counters`.
    let known = KNOWN_SOURCES
        .get_ptr_mut(source_slot(&numbers))
        .map(|p| unsafe { &mut *p });
    if let Some(known) = &known
        && is_same(&known.address, &numbers)
        && known.ifindex == ifindex
        && known.version == state.version
    {
        return Origin::Host;
    }
    let origin = find_origin(&key, state);
    if let (Origin::Host, Some(known)) = (origin, known) {
        *known = KnownSource {
            address: numbers,
            version: state.version,
            ifindex,
        };
    }
    origin
}

#[inline(always)]
fn find_origin(key: &HostAddress, state: HostState) -> Origin {
    let [a, b, c, d, ..] = key.addr;
    let v4 = [a, b, c, d];
    let is_v4 = key.family == u32::from(FAMILY_V4);
    let (is_refused, is_special) = if is_v4 {
        let is_refused = if is_loopback_v4(v4) {
            state.flags & ROUTE_LOCALNET == 0
        } else {
            is_refused_v4(v4)
        };
        (is_refused, is_martian_v4(v4))
    } else {
        (is_refused_v6(&key.addr), is_martian_v6(&key.addr))
    };
    if is_refused {
        return Origin::Refused;
    }
    // SAFETY: as in `addressee`.
    match unsafe { HOST_ADDRESSES.get(key) } {
        None if !is_special => Origin::Host,
        Some(kind) if is_v4 && *kind != BROADCAST && state.flags & ACCEPT_LOCAL == 0 => {
            Origin::Refused
        }
        // Over IPv6 the stack doesn't ask where a packet comes from.
        _ => Origin::Odd,
    }
}

/// Whether it is an address of the host.
#[inline(always)]
pub fn is_local(ctx: &XdpContext, destination: &SocketKey, state: HostState) -> bool {
    let ifindex = ctx.ingress_ifindex() as u32;
    let key = HostAddress::at(destination.addr, destination.family, ifindex);
    let numbers = key.numbers();
    let known = known();
    if let Some(known) = &known
        && is_same(&known.address, &numbers)
        && known.address_version == state.version
    {
        return true;
    }
    // SAFETY: as in `addressee`.
    if unsafe { HOST_ADDRESSES.get(&key) }.copied() != Some(LOCAL) {
        return false;
    }
    if let Some(known) = known {
        known.address = numbers;
        known.address_version = state.version;
    }
    true
}

/// Whether reverse-path filtering lets it in, as far as is known: user space asks the kernel for
/// what came by the stack. Of a frame with a tag only the stack knows which interface it is for.
#[inline(always)]
pub fn has_way_back(ctx: &XdpContext, datagram: &Datagram) -> bool {
    let Some(state) = REVERSE_STATE.get(0) else {
        return true;
    };
    let is_v4 = datagram.source.family == FAMILY_V4;
    if state.flags & if is_v4 { CHECK_V4 } else { CHECK_V6 } == 0 {
        return true;
    }
    if usize::from(datagram.l3) != ETHERNET_LEN {
        return false;
    }
    let path = ReversePath {
        source: datagram.source.addr,
        local: datagram.destination.addr,
        family: datagram.source.family.into(),
        ifindex: ctx.ingress_ifindex() as u32,
    };
    // SAFETY: the value is one aligned integer, which isn't torn.
    unsafe { REVERSE_PATHS.get(&path) }.copied() == Some(state.version)
}

#[inline(always)]
fn is_same(one: &[u64; 3], other: &[u64; 3]) -> bool {
    one[0] == other[0] && one[1] == other[1] && one[2] == other[2]
}
