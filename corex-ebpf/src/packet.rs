//! Finds the UDP datagram in a frame: Ethernet, up to two VLAN tags, IPv4 or IPv6, UDP.

use aya_ebpf::programs::XdpContext;
use corex_common::maps::{FAMILY_V4, FAMILY_V6, PROTO_UDP, SocketKey};

/// Why a packet is left to the kernel's stack.
pub enum Pass {
    NotIp,
    VlanDepth,
    IpOptions,
    Fragment,
    ExtHeader,
    NotUdp,
    Malformed,
}

/// A UDP datagram; offsets count from the start of the frame.
pub struct Datagram {
    pub destination: SocketKey,
    pub l3: u16,
    pub l4: u16,
    pub payload_len: u16,
}

const ETHERNET_LEN: usize = 14;
const VLAN_LEN: usize = 4;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Length of a UDP header.
pub const UDP_LEN: usize = 8;
/// IPv6 extension headers that are walked, each at most this long. RFC 8200 allows 2,048
/// bytes; on a path to a SIP server a few dozen are already rare.
const MAX_EXT_HEADERS: usize = 4;
const MAX_EXT_HEADER_LEN: usize = 256;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;

const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_DSTOPTS: u8 = 60;

/// `N` bytes at `offset`, or a cut-off header.
#[inline(always)]
pub fn bytes<'a, const N: usize>(ctx: &XdpContext, offset: usize) -> Result<&'a [u8; N], Pass> {
    let start = ctx.data() + offset;
    if start + N > ctx.data_end() {
        return Err(Pass::Malformed);
    }
    // SAFETY: within data..data_end, which the verifier checks again; align 1.
    Ok(unsafe { &*(start as *const [u8; N]) })
}

#[inline(always)]
fn be16(hi: u8, lo: u8) -> u16 {
    u16::from_be_bytes([hi, lo])
}

/// Walks the headers.
#[inline(always)]
pub fn locate(ctx: &XdpContext) -> Result<Datagram, Pass> {
    let eth = bytes::<ETHERNET_LEN>(ctx, 0)?;
    let mut l3 = ETHERNET_LEN;
    let mut ethertype = be16(eth[12], eth[13]);
    for _ in 0..2 {
        if ethertype != ETH_P_8021Q && ethertype != ETH_P_8021AD {
            break;
        }
        let tag = bytes::<VLAN_LEN>(ctx, l3)?;
        ethertype = be16(tag[2], tag[3]);
        l3 += VLAN_LEN;
    }
    match ethertype {
        ETH_P_IP => ipv4(ctx, l3),
        ETH_P_IPV6 => ipv6(ctx, l3),
        ETH_P_8021Q | ETH_P_8021AD => Err(Pass::VlanDepth),
        _ => Err(Pass::NotIp),
    }
}

#[inline(always)]
fn ipv4(ctx: &XdpContext, l3: usize) -> Result<Datagram, Pass> {
    let ip = bytes::<IPV4_LEN>(ctx, l3)?;
    if ip[0] != 0x45 {
        return Err(if ip[0] >> 4 == 4 && ip[0] & 0xf > 5 {
            Pass::IpOptions
        } else {
            Pass::Malformed
        });
    }
    // More fragments, or an offset: all bits but DF (RFC 791).
    if be16(ip[6], ip[7]) & 0x3fff != 0 {
        return Err(Pass::Fragment);
    }
    if ip[9] != PROTO_UDP {
        return Err(Pass::NotUdp);
    }
    let total_len = usize::from(be16(ip[2], ip[3]));
    if total_len < IPV4_LEN + UDP_LEN {
        return Err(Pass::Malformed);
    }
    let mut addr = [0u8; 16];
    addr[0] = ip[16];
    addr[1] = ip[17];
    addr[2] = ip[18];
    addr[3] = ip[19];
    udp(
        ctx,
        l3,
        l3 + IPV4_LEN,
        total_len - IPV4_LEN,
        addr,
        FAMILY_V4,
    )
}

#[inline(always)]
fn ipv6(ctx: &XdpContext, l3: usize) -> Result<Datagram, Pass> {
    let ip = bytes::<IPV6_LEN>(ctx, l3)?;
    if ip[0] >> 4 != 6 {
        return Err(Pass::Malformed);
    }
    let mut addr = [0u8; 16];
    addr.copy_from_slice(&ip[24..40]);
    let mut remaining = usize::from(be16(ip[4], ip[5]));
    let mut next = ip[6];
    let mut l4 = l3 + IPV6_LEN;
    for _ in 0..MAX_EXT_HEADERS {
        if next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS {
            break;
        }
        let ext = bytes::<2>(ctx, l4)?;
        let len = (usize::from(ext[1]) + 1) * 8;
        if len > MAX_EXT_HEADER_LEN {
            return Err(Pass::ExtHeader);
        }
        if len > remaining {
            return Err(Pass::Malformed);
        }
        next = ext[0];
        l4 += len;
        remaining -= len;
    }
    match next {
        PROTO_UDP => udp(ctx, l3, l4, remaining, addr, FAMILY_V6),
        IPPROTO_FRAGMENT => Err(Pass::Fragment),
        // Routing, AH and a fifth option header: not walked, the stack knows them.
        IPPROTO_HOPOPTS | IPPROTO_DSTOPTS | 43 | 51 => Err(Pass::ExtHeader),
        _ => Err(Pass::NotUdp),
    }
}

#[inline(always)]
fn udp(
    ctx: &XdpContext,
    l3: usize,
    l4: usize,
    ip_payload: usize,
    addr: [u8; 16],
    family: u8,
) -> Result<Datagram, Pass> {
    let udp = bytes::<UDP_LEN>(ctx, l4)?;
    let udp_len = usize::from(be16(udp[4], udp[5]));
    if udp_len < UDP_LEN || udp_len > ip_payload {
        return Err(Pass::Malformed);
    }
    // The frame holds all of it: the lengths are the IP and UDP ones, padding isn't payload.
    if ctx.data() + l4 + udp_len > ctx.data_end() {
        return Err(Pass::Malformed);
    }
    Ok(Datagram {
        destination: SocketKey {
            addr,
            port: be16(udp[2], udp[3]),
            proto: PROTO_UDP,
            family,
        },
        l3: l3 as u16,
        l4: l4 as u16,
        payload_len: (udp_len - UDP_LEN) as u16,
    })
}
