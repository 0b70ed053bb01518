//! Finds the UDP datagram in a frame: Ethernet, up to two VLAN tags, IPv4 or IPv6, UDP.

use aya_ebpf::programs::{TcContext, XdpContext};
use corex_common::{
    inline::FragmentKey,
    maps::{FAMILY_V4, FAMILY_V6, PROTO_UDP, SocketKey},
};

/// A packet's bytes, in any kind of program.
pub trait Frame {
    /// Address of the first byte.
    fn start(&self) -> usize;
    /// Address behind the last byte that can be read.
    fn end(&self) -> usize;
}

impl Frame for XdpContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }
}

impl Frame for TcContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }
}

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

/// A UDP datagram or a fragment of one; offsets count from the start of the frame. All fields are
/// set in each case: the verifier refuses to see an undefined one copied.
pub struct Datagram {
    /// In a later fragment without port.
    pub source: SocketKey,
    /// As above.
    pub destination: SocketKey,
    pub part: Part,
    /// Identification of a fragment, else 0.
    pub id: u32,
    pub l3: u16,
    pub l4: u16,
    /// 0 in a fragment.
    pub payload_len: u16,
}

/// How much of a datagram a frame holds.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    Whole,
    /// The fragment with the UDP header.
    First,
    /// One without.
    Later,
}

impl Datagram {
    /// What fragments of one datagram have in common.
    #[inline(always)]
    pub fn fragment_key(&self) -> FragmentKey {
        FragmentKey {
            src: self.source.addr,
            dst: self.destination.addr,
            id: self.id,
            family: self.source.family.into(),
        }
    }
}

/// What is at least there of a frame that holds all headers that are looked at, but for IPv6
/// extension headers: Ethernet, two tags, IPv4 with all options, ICMP, and the same IPv4 and the
/// ports of what it quotes.
pub const HEADERS_LEN: u32 = 14 + 8 + 60 + 8 + 60 + 4;

const ETHERNET_LEN: usize = 14;
const VLAN_LEN: usize = 4;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Length of a UDP header.
pub const UDP_LEN: usize = 8;
const ICMP_LEN: usize = 8;
/// IPv6 extension headers that are walked, each at most this long. RFC 8200 allows 2,048
/// bytes; on a path to a SIP server a few dozen are already rare.
const MAX_EXT_HEADERS: usize = 4;
const MAX_EXT_HEADER_LEN: usize = 256;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;

const IPPROTO_ICMP: u8 = 1;
const IPPROTO_ICMPV6: u8 = 58;
const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_ROUTING: u8 = 43;
const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_AH: u8 = 51;
const IPPROTO_DSTOPTS: u8 = 60;

/// `N` bytes at `offset`, or a cut-off header.
#[inline(always)]
pub fn bytes<'a, F: Frame, const N: usize>(ctx: &F, offset: usize) -> Result<&'a [u8; N], Pass> {
    let start = ctx.start() + offset;
    if start + N > ctx.end() {
        return Err(Pass::Malformed);
    }
    // SAFETY: within data..data_end, which the verifier checks again; align 1.
    Ok(unsafe { &*(start as *const [u8; N]) })
}

#[inline(always)]
fn be16(hi: u8, lo: u8) -> u16 {
    u16::from_be_bytes([hi, lo])
}

#[inline(always)]
fn address_v4(a: [u8; 4]) -> [u8; 16] {
    let mut addr = [0u8; 16];
    addr[0] = a[0];
    addr[1] = a[1];
    addr[2] = a[2];
    addr[3] = a[3];
    addr
}

/// Offset of the IP header, and the EtherType.
#[inline(always)]
fn link_header<F: Frame>(ctx: &F) -> Result<(usize, u16), Pass> {
    let eth = bytes::<F, ETHERNET_LEN>(ctx, 0)?;
    let mut l3 = ETHERNET_LEN;
    let mut ethertype = be16(eth[12], eth[13]);
    for _ in 0..2 {
        if ethertype != ETH_P_8021Q && ethertype != ETH_P_8021AD {
            break;
        }
        let tag = bytes::<F, VLAN_LEN>(ctx, l3)?;
        ethertype = be16(tag[2], tag[3]);
        l3 += VLAN_LEN;
    }
    Ok((l3, ethertype))
}

/// Walks the headers. `WHOLE_IP`: IPv4 options and fragments are no reason to stop.
#[inline(always)]
pub fn locate<F: Frame, const WHOLE_IP: bool>(ctx: &F) -> Result<Datagram, Pass> {
    let (l3, ethertype) = link_header(ctx)?;
    match ethertype {
        ETH_P_IP => ipv4::<F, WHOLE_IP>(ctx, l3),
        ETH_P_IPV6 => ipv6::<F, WHOLE_IP>(ctx, l3),
        ETH_P_8021Q | ETH_P_8021AD => Err(Pass::VlanDepth),
        _ => Err(Pass::NotIp),
    }
}

/// The destination address of an IPv6 packet, whatever follows its header.
#[inline(always)]
pub fn destination_v6<F: Frame>(ctx: &F) -> Result<[u8; 16], Pass> {
    let (l3, ethertype) = link_header(ctx)?;
    if ethertype != ETH_P_IPV6 {
        return Err(Pass::NotIp);
    }
    let ip = bytes::<F, IPV6_LEN>(ctx, l3)?;
    let mut addr = [0u8; 16];
    addr.copy_from_slice(&ip[24..40]);
    Ok(addr)
}

/// The destination of the UDP datagram that an ICMP error quotes (RFC 792, RFC 4443).
#[inline(always)]
pub fn quoted<F: Frame>(ctx: &F) -> Result<SocketKey, Pass> {
    let (l3, ethertype) = link_header(ctx)?;
    if ethertype == ETH_P_IP {
        let ip = bytes::<F, IPV4_LEN>(ctx, l3)?;
        let icmp_at = l3 + usize::from(ip[0] & 0xf) * 4;
        let icmp = bytes::<F, ICMP_LEN>(ctx, icmp_at)?;
        // Destination unreachable, time exceeded, parameter problem.
        if ip[9] != IPPROTO_ICMP || (icmp[0] != 3 && icmp[0] != 11 && icmp[0] != 12) {
            return Err(Pass::NotUdp);
        }
        let inner_at = icmp_at + ICMP_LEN;
        let inner = bytes::<F, IPV4_LEN>(ctx, inner_at)?;
        if inner[9] != PROTO_UDP {
            return Err(Pass::NotUdp);
        }
        let ports = bytes::<F, 4>(ctx, inner_at + usize::from(inner[0] & 0xf) * 4)?;
        let addr = address_v4([inner[16], inner[17], inner[18], inner[19]]);
        return Ok(key(addr, be16(ports[2], ports[3]), FAMILY_V4));
    }
    if ethertype != ETH_P_IPV6 {
        return Err(Pass::NotIp);
    }
    let ip = bytes::<F, IPV6_LEN>(ctx, l3)?;
    let icmp_at = l3 + IPV6_LEN;
    let icmp = bytes::<F, ICMP_LEN>(ctx, icmp_at)?;
    // Errors have types below 128.
    if ip[6] != IPPROTO_ICMPV6 || icmp[0] > 127 {
        return Err(Pass::NotUdp);
    }
    let inner_at = icmp_at + ICMP_LEN;
    let inner = bytes::<F, IPV6_LEN>(ctx, inner_at)?;
    if inner[6] != PROTO_UDP {
        return Err(Pass::NotUdp);
    }
    let ports = bytes::<F, 4>(ctx, inner_at + IPV6_LEN)?;
    let mut addr = [0u8; 16];
    addr.copy_from_slice(&inner[24..40]);
    Ok(key(addr, be16(ports[2], ports[3]), FAMILY_V6))
}

#[inline(always)]
fn ipv4<F: Frame, const WHOLE_IP: bool>(ctx: &F, l3: usize) -> Result<Datagram, Pass> {
    let ip = bytes::<F, IPV4_LEN>(ctx, l3)?;
    let header_len = usize::from(ip[0] & 0xf) * 4;
    if ip[0] >> 4 != 4 || header_len < IPV4_LEN {
        return Err(Pass::Malformed);
    }
    if !WHOLE_IP && header_len > IPV4_LEN {
        return Err(Pass::IpOptions);
    }
    // More fragments, or an offset: all bits but DF (RFC 791).
    let fragment = be16(ip[6], ip[7]) & 0x3fff;
    if !WHOLE_IP && fragment != 0 {
        return Err(Pass::Fragment);
    }
    if ip[9] != PROTO_UDP {
        return Err(Pass::NotUdp);
    }
    let total_len = usize::from(be16(ip[2], ip[3]));
    let source = address_v4([ip[12], ip[13], ip[14], ip[15]]);
    let destination = address_v4([ip[16], ip[17], ip[18], ip[19]]);
    if WHOLE_IP && fragment != 0 {
        let place = Place {
            l3,
            l4: l3 + header_len,
            id: u32::from(be16(ip[4], ip[5])),
            has_ports: fragment & 0x1fff == 0,
        };
        return part(ctx, &place, (source, destination), FAMILY_V4);
    }
    if total_len < header_len + UDP_LEN {
        return Err(Pass::Malformed);
    }
    let ip_payload = total_len - header_len;
    let l4 = l3 + header_len;
    udp(ctx, l3, l4, ip_payload, (source, destination), FAMILY_V4)
}

#[inline(always)]
fn is_extension(header: u8) -> bool {
    matches!(
        header,
        IPPROTO_HOPOPTS | IPPROTO_ROUTING | IPPROTO_AH | IPPROTO_DSTOPTS
    )
}

#[inline(always)]
fn ipv6<F: Frame, const WHOLE_IP: bool>(ctx: &F, l3: usize) -> Result<Datagram, Pass> {
    let ip = bytes::<F, IPV6_LEN>(ctx, l3)?;
    if ip[0] >> 4 != 6 {
        return Err(Pass::Malformed);
    }
    let mut source = [0u8; 16];
    source.copy_from_slice(&ip[8..24]);
    let mut destination = [0u8; 16];
    destination.copy_from_slice(&ip[24..40]);
    let mut remaining = usize::from(be16(ip[4], ip[5]));
    let mut next = ip[6];
    let mut l4 = l3 + IPV6_LEN;
    for _ in 0..MAX_EXT_HEADERS {
        let is_routing = WHOLE_IP && next == IPPROTO_ROUTING;
        if next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS && !is_routing {
            break;
        }
        let ext = bytes::<F, 2>(ctx, l4)?;
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
    if WHOLE_IP && next == IPPROTO_FRAGMENT {
        let header = bytes::<F, 8>(ctx, l4)?;
        // Behind another extension header there may be UDP; the whole datagram tells.
        let may_be_udp = header[0] == PROTO_UDP || is_extension(header[0]);
        if !may_be_udp {
            return Err(Pass::NotUdp);
        }
        let place = Place {
            l3,
            l4: l4 + 8,
            id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            has_ports: be16(header[2], header[3]) & 0xfff8 == 0 && header[0] == PROTO_UDP,
        };
        return part(ctx, &place, (source, destination), FAMILY_V6);
    }
    match next {
        PROTO_UDP => udp(ctx, l3, l4, remaining, (source, destination), FAMILY_V6),
        IPPROTO_FRAGMENT => Err(Pass::Fragment),
        // Routing, AH and a fifth option header: not walked, the stack knows them.
        next if is_extension(next) => Err(Pass::ExtHeader),
        _ => Err(Pass::NotUdp),
    }
}

/// Where a fragment's data begins, and what they are.
struct Place {
    l3: usize,
    l4: usize,
    id: u32,
    has_ports: bool,
}

#[inline(always)]
fn key(addr: [u8; 16], port: u16, family: u8) -> SocketKey {
    SocketKey {
        addr,
        port,
        proto: PROTO_UDP,
        family,
    }
}

#[inline(always)]
fn part<F: Frame>(
    ctx: &F,
    place: &Place,
    (source, destination): ([u8; 16], [u8; 16]),
    family: u8,
) -> Result<Datagram, Pass> {
    let (from, to, part) = if place.has_ports {
        let ports = bytes::<F, 4>(ctx, place.l4)?;
        let (from, to) = (be16(ports[0], ports[1]), be16(ports[2], ports[3]));
        (from, to, Part::First)
    } else {
        (0, 0, Part::Later)
    };
    Ok(Datagram {
        source: key(source, from, family),
        destination: key(destination, to, family),
        part,
        id: place.id,
        l3: place.l3 as u16,
        l4: place.l4 as u16,
        payload_len: 0,
    })
}

#[inline(always)]
fn udp<F: Frame>(
    ctx: &F,
    l3: usize,
    l4: usize,
    ip_payload: usize,
    (source, destination): ([u8; 16], [u8; 16]),
    family: u8,
) -> Result<Datagram, Pass> {
    let udp = bytes::<F, UDP_LEN>(ctx, l4)?;
    let udp_len = usize::from(be16(udp[4], udp[5]));
    if udp_len < UDP_LEN || udp_len > ip_payload {
        return Err(Pass::Malformed);
    }
    Ok(Datagram {
        source: key(source, be16(udp[0], udp[1]), family),
        destination: key(destination, be16(udp[2], udp[3]), family),
        part: Part::Whole,
        id: 0,
        l3: l3 as u16,
        l4: l4 as u16,
        payload_len: (udp_len - UDP_LEN) as u16,
    })
}
