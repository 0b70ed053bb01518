//! Finds the UDP datagram in a frame: Ethernet, up to two VLAN tags, IPv4 or IPv6, UDP.

use core::ptr::read_volatile;

use aya_ebpf::programs::{TcContext, XdpContext};
use corex_common::{
    inline::FragmentKey,
    ip::{
        ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FRAGMENT, FRAGMENT_HEADER_LEN, ICMP_LEN,
        IPV4_FRAGMENT, IPV4_FRAGMENT_OFFSET, IPV4_LEN, IPV6_FRAGMENT_OFFSET, IPV6_LEN,
        MAX_EXT_HEADER_LEN, MAX_EXT_HEADERS, MAX_IP_LEN, MAX_IPV4_LEN, MAX_LINK_LEN, MAX_VLAN_TAGS,
        PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP, ROUTING, UDP_LEN, VLAN_TAG_LEN,
        ext_header_len, ipv4_header_len, ipv6_is_rest_of_frame, is_extension, is_icmp_error,
        is_icmpv6_error, is_vlan_tag, is_walked,
    },
    maps::{FAMILY_V4, FAMILY_V6, SocketKey},
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
    NoSocket,
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
pub const HEADERS_LEN: u32 =
    (MAX_LINK_LEN + MAX_IPV4_LEN + ICMP_LEN + MAX_IPV4_LEN + PORTS_LEN) as u32;

/// Both ports, with which the UDP header begins.
const PORTS_LEN: usize = 4;

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

/// A number below `N`, a power of two, which the verifier sees to be so: the compiler, which knows it
/// too, would leave the mask out.
#[inline(always)]
pub fn below<const N: usize>(number: usize) -> usize {
    const { assert!(N.is_power_of_two()) };
    // SAFETY: reads a local variable.
    unsafe { read_volatile(&number) & (N - 1) }
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
    for _ in 0..MAX_VLAN_TAGS {
        if !is_vlan_tag(ethertype) {
            break;
        }
        let tag = bytes::<F, VLAN_TAG_LEN>(ctx, l3)?;
        ethertype = be16(tag[2], tag[3]);
        l3 += VLAN_TAG_LEN;
    }
    Ok((l3, ethertype))
}

/// What is known of a whole UDP datagram before its addresses are looked at.
pub struct Outline {
    pub from: u16,
    pub to: u16,
    /// Offset behind its last byte.
    end: usize,
}

impl Outline {
    /// Whether the frame holds all of it: the lengths are the IP and UDP ones, padding isn't payload.
    #[inline(always)]
    pub fn is_in<F: Frame>(&self, ctx: &F) -> bool {
        ctx.start() + self.end <= ctx.end()
    }
}

/// Walks the headers. `WHOLE_IP`: IPv4 options and fragments are no reason to stop.
///
/// What `refuse` says of a whole datagram comes before its addresses are copied, which costs more
/// than the rest: most packets of a busy host are for others.
#[inline(always)]
pub fn locate<F: Frame, const WHOLE_IP: bool>(
    ctx: &F,
    refuse: impl Fn(&Outline) -> Option<Pass>,
) -> Result<Datagram, Pass> {
    let (l3, ethertype) = link_header(ctx)?;
    match ethertype {
        ETHERTYPE_IPV4 => ipv4::<F, WHOLE_IP>(ctx, l3, refuse),
        ETHERTYPE_IPV6 => ipv6::<F, WHOLE_IP>(ctx, l3, refuse),
        tag if is_vlan_tag(tag) => Err(Pass::VlanDepth),
        _ => Err(Pass::NotIp),
    }
}

/// The destination address of an IPv6 packet, whatever follows its header.
#[inline(always)]
pub fn destination_v6<F: Frame>(ctx: &F) -> Result<[u8; 16], Pass> {
    let (l3, ethertype) = link_header(ctx)?;
    if ethertype != ETHERTYPE_IPV6 {
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
    if ethertype == ETHERTYPE_IPV4 {
        let ip = bytes::<F, IPV4_LEN>(ctx, l3)?;
        let icmp_at = l3 + ipv4_header_len(ip[0]);
        let icmp = bytes::<F, ICMP_LEN>(ctx, icmp_at)?;
        if ip[9] != PROTOCOL_ICMP || !is_icmp_error(icmp[0]) {
            return Err(Pass::NotUdp);
        }
        let inner_at = icmp_at + ICMP_LEN;
        let inner = bytes::<F, IPV4_LEN>(ctx, inner_at)?;
        if inner[9] != PROTOCOL_UDP {
            return Err(Pass::NotUdp);
        }
        let ports = bytes::<F, PORTS_LEN>(ctx, inner_at + ipv4_header_len(inner[0]))?;
        let addr = address_v4([inner[16], inner[17], inner[18], inner[19]]);
        return Ok(key(addr, be16(ports[2], ports[3]), FAMILY_V4));
    }
    if ethertype != ETHERTYPE_IPV6 {
        return Err(Pass::NotIp);
    }
    let ip = bytes::<F, IPV6_LEN>(ctx, l3)?;
    let icmp_at = l3 + IPV6_LEN;
    let icmp = bytes::<F, ICMP_LEN>(ctx, icmp_at)?;
    if ip[6] != PROTOCOL_ICMPV6 || !is_icmpv6_error(icmp[0]) {
        return Err(Pass::NotUdp);
    }
    let inner_at = icmp_at + ICMP_LEN;
    let inner = bytes::<F, IPV6_LEN>(ctx, inner_at)?;
    if inner[6] != PROTOCOL_UDP {
        return Err(Pass::NotUdp);
    }
    let ports = bytes::<F, PORTS_LEN>(ctx, inner_at + IPV6_LEN)?;
    let mut addr = [0u8; 16];
    addr.copy_from_slice(&inner[24..40]);
    Ok(key(addr, be16(ports[2], ports[3]), FAMILY_V6))
}

#[inline(always)]
fn ipv4<F: Frame, const WHOLE_IP: bool>(
    ctx: &F,
    l3: usize,
    refuse: impl Fn(&Outline) -> Option<Pass>,
) -> Result<Datagram, Pass> {
    let ip = bytes::<F, IPV4_LEN>(ctx, l3)?;
    let header_len = ipv4_header_len(ip[0]);
    if ip[0] >> 4 != 4 || header_len < IPV4_LEN {
        return Err(Pass::Malformed);
    }
    if !WHOLE_IP && header_len > IPV4_LEN {
        return Err(Pass::IpOptions);
    }
    let fragment = be16(ip[6], ip[7]) & IPV4_FRAGMENT;
    if !WHOLE_IP && fragment != 0 {
        return Err(Pass::Fragment);
    }
    if ip[9] != PROTOCOL_UDP {
        return Err(Pass::NotUdp);
    }
    let total_len = usize::from(be16(ip[2], ip[3]));
    let addresses = || {
        (
            address_v4([ip[12], ip[13], ip[14], ip[15]]),
            address_v4([ip[16], ip[17], ip[18], ip[19]]),
        )
    };
    if WHOLE_IP && fragment != 0 {
        let place = Place {
            l3,
            l4: l3 + header_len,
            id: u32::from(be16(ip[4], ip[5])),
            has_ports: fragment & IPV4_FRAGMENT_OFFSET == 0,
        };
        return part(ctx, &place, addresses(), FAMILY_V4);
    }
    if total_len < header_len + UDP_LEN {
        return Err(Pass::Malformed);
    }
    let ip_payload = total_len - header_len;
    let at = (l3, l3 + header_len);
    udp(ctx, at, ip_payload, FAMILY_V4, refuse, addresses)
}

#[inline(always)]
fn ipv6<F: Frame, const WHOLE_IP: bool>(
    ctx: &F,
    l3: usize,
    refuse: impl Fn(&Outline) -> Option<Pass>,
) -> Result<Datagram, Pass> {
    let ip = bytes::<F, IPV6_LEN>(ctx, l3)?;
    if ip[0] >> 4 != 6 {
        return Err(Pass::Malformed);
    }
    let addresses = || {
        let mut source = [0u8; 16];
        source.copy_from_slice(&ip[8..24]);
        let mut destination = [0u8; 16];
        destination.copy_from_slice(&ip[24..40]);
        (source, destination)
    };
    let mut next = ip[6];
    let mut remaining = usize::from(be16(ip[4], ip[5]));
    let is_rest = ipv6_is_rest_of_frame(remaining, next);
    if is_rest {
        remaining = ctx.end() - ctx.start() - l3 - IPV6_LEN;
    }
    let mut l4 = l3 + IPV6_LEN;
    for _ in 0..MAX_EXT_HEADERS {
        if !is_walked(next, WHOLE_IP) {
            break;
        }
        // Segments left: the packet is on its way to another address (RFC 8200 §4.4).
        if next == ROUTING && bytes::<F, 4>(ctx, l4)?[3] != 0 {
            return Err(Pass::ExtHeader);
        }
        let ext = bytes::<F, 2>(ctx, l4)?;
        let len = ext_header_len(ext[1]);
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
    if WHOLE_IP && next == FRAGMENT {
        // Linux takes no fragment without a length (RFC 2675 §4).
        if is_rest {
            return Err(Pass::Malformed);
        }
        let header = bytes::<F, FRAGMENT_HEADER_LEN>(ctx, l4)?;
        // Behind another extension header there may be UDP; the whole datagram tells.
        let may_be_udp = header[0] == PROTOCOL_UDP || is_extension(header[0]);
        if !may_be_udp {
            return Err(Pass::NotUdp);
        }
        let place = Place {
            l3,
            l4: l4 + FRAGMENT_HEADER_LEN,
            id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            has_ports: be16(header[2], header[3]) & IPV6_FRAGMENT_OFFSET == 0
                && header[0] == PROTOCOL_UDP,
        };
        return part(ctx, &place, addresses(), FAMILY_V6);
    }
    match next {
        PROTOCOL_UDP => udp(ctx, (l3, l4), remaining, FAMILY_V6, refuse, addresses),
        FRAGMENT => Err(Pass::Fragment),
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
        proto: PROTOCOL_UDP,
        family,
        ifindex: 0,
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
        let ports = bytes::<F, PORTS_LEN>(ctx, place.l4)?;
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
    (l3, l4): (usize, usize),
    ip_payload: usize,
    family: u8,
    refuse: impl Fn(&Outline) -> Option<Pass>,
    addresses: impl Fn() -> ([u8; 16], [u8; 16]),
) -> Result<Datagram, Pass> {
    let udp = bytes::<F, UDP_LEN>(ctx, l4)?;
    let mut udp_len = usize::from(be16(udp[4], udp[5]));
    if family == FAMILY_V6 && udp_len == 0 {
        // Linux takes it for all that there is (RFC 2675 §4).
        udp_len = ip_payload;
    }
    if udp_len < UDP_LEN || udp_len > ip_payload || udp_len > MAX_IP_LEN {
        return Err(Pass::Malformed);
    }
    // Verifiers before Linux 6.8 know nothing of a number whose bytes were swapped.
    let udp_len = below::<{ MAX_IP_LEN + 1 }>(udp_len);
    let outline = Outline {
        from: be16(udp[0], udp[1]),
        to: be16(udp[2], udp[3]),
        end: l4 + udp_len,
    };
    if let Some(reason) = refuse(&outline) {
        return Err(reason);
    }
    let (source, destination) = addresses();
    Ok(Datagram {
        source: key(source, outline.from, family),
        destination: key(destination, outline.to, family),
        part: Part::Whole,
        id: 0,
        l3: l3 as u16,
        l4: l4 as u16,
        payload_len: (udp_len - UDP_LEN) as u16,
    })
}
