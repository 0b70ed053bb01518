//! What the XDP programs must decide about a frame by the word of user space's two parsers.
//!
//! Proxy mode: `corex_ingress` and `parse` see the same in every frame.
//!
//! | `parse` | `corex_ingress` |
//! |---|---|
//! | `Ok` | by destination, MAC, source and length: `pass_no_socket`, `pass_foreign_mac`, `pass_martian`, `pass_not_local`, `drop_probe`, `pass_too_long`, or `steered` with a record of the same offsets |
//! | `Err(NotIp)`, `Err(VlanDepth)`, … | `pass_not_ip`, `pass_vlan_depth`, …: the counter of that name |
//!
//! Inline mode: what `View` shows is what `corex_inline` went by.
//!
//! | `View::parse` | `View::udp` | `corex_inline` |
//! |---|---|---|
//! | `Ok` | `Ok` | by destination, length, MAC and source: `pass_no_socket`, `pass_short`, `…_foreign_mac`, `…_martian`, `…_too_long`, `steered` with the payload's bytes |
//! | `Ok` | `Err(Malformed)` | `pass_malformed` |
//! | `Ok` | `Err(NotUdp)` | `pass_not_udp` |
//! | `Ok` | `Err(Fragment)` | of UDP, or of what may be UDP behind other extension headers: by address `pass_fragment`, `…_foreign_mac`, `…_martian`, `…_too_long`, `steered`; `pass_malformed` for a first one without ports; else `pass_not_udp` |
//! | `Err(NotIp)`, `Err(VlanDepth)` | | `pass_not_ip`, `pass_vlan_depth`; the latter with "closed" `drop_vlan_depth` |
//! | `Err(ExtHeader)`, `Err(Malformed)` | | see below |
//!
//! `View` refuses a packet that its frame doesn't hold, or whose headers exceed it, before all
//! else. The program looks at no more than it needs: it gives such a frame the verdict of the same
//! headers in a packet that is long enough, unless it meets the end: then `pass_malformed`. What
//! it steers of these, user space hands back and the kernel's stack drops. `Err(ExtHeader)` is
//! `pass_ext_header`, or with "closed" and to a protected address `drop_ext_header`, unless a
//! header in front is longer than the packet.
//!
//! `parse` and `View` are compared in [`same_in_user_space`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use corex_common::{
    ip::{
        AUTHENTICATION, DESTINATION_OPTIONS, ETHERNET_LEN, ETHERTYPE_IPV4, HOP_BY_HOP, IPV4_LEN,
        IPV6_LEN, MAX_IP_LEN, MAX_VLAN_TAGS, PROTOCOL_UDP, ROUTING, VLAN_TAG_LEN, is_vlan_tag,
    },
    meta::FrameMeta,
};
use corex_packet::{ParseError, UdpFrame, View, parse};
use proptest::{prelude::*, test_runner::TestCaseError};

use super::{LISTENERS, LOCALS, MAX_FRAME_LEN, MIN_MSG_LEN, OWN_MACS, PROBE_LEN, SUBNET_BROADCAST};

/// What a program decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The counter of this name.
    Counted(&'static str),
    /// To AF_XDP, and so many bytes of payload; 0 for a fragment.
    Steered { bytes: u64 },
}
use Verdict::{Counted, Steered};

fn listeners() -> impl Iterator<Item = SocketAddr> {
    LISTENERS.iter().map(|text| text.parse().unwrap())
}

/// The addresses of listeners, wildcards apart.
pub fn protected() -> impl Iterator<Item = IpAddr> {
    let addresses = listeners().map(|listener| listener.ip());
    addresses.filter(|address| !address.is_unspecified())
}

fn is_protected(address: IpAddr) -> bool {
    protected().any(|protected| protected == address)
}

/// Which of the listeners has exactly this address.
fn listener(wanted: SocketAddr) -> Option<usize> {
    listeners().position(|listener| listener == wanted)
}

/// Whether it is an address of the host on the interface.
fn is_local(address: IpAddr) -> bool {
    LOCALS.iter().any(|text| address == parsed(text))
}

/// Whether nothing on the wire can have this address.
fn is_martian(address: IpAddr) -> bool {
    let is_special = match address {
        IpAddr::V4(ip) => {
            ip.octets()[0] == 0 || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast()
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.to_ipv4_mapped().is_some()
        }
    };
    is_special || is_local(address) || address == parsed(SUBNET_BROADCAST)
}

/// Whether the stack takes nothing from this address, as its settings are here.
fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_broadcast()
                || is_local(address)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_multicast() || ip.to_ipv4_mapped().is_some(),
    }
}

fn parsed(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn is_too_long(frame: &[u8]) -> bool {
    frame.len() > MAX_FRAME_LEN as usize
}

/// What `corex_ingress` must say, and write in front, by the word of `parse`.
pub fn by_parsing(frame: &[u8], cookie: u32) -> (Verdict, Option<FrameMeta>) {
    let datagram = match parse(frame) {
        Ok(datagram) => datagram,
        Err(error) => return (Counted(passed(error)), None),
    };
    let wanted = datagram.dst;
    let any: IpAddr = match wanted {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let any = SocketAddr::new(any, wanted.port());
    let Some(socket) = listener(wanted).or_else(|| listener(any)) else {
        return (Counted("pass_no_socket"), None);
    };
    if !OWN_MACS.iter().any(|mac| frame.starts_with(mac)) {
        return (Counted("pass_foreign_mac"), None);
    }
    if is_martian(datagram.src.ip()) {
        return (Counted("pass_martian"), None);
    }
    if !is_local(wanted.ip()) {
        return (Counted("pass_not_local"), None);
    }
    let len = datagram.payload_len;
    if len < PROBE_LEN as usize {
        return (Counted("drop_probe"), None);
    }
    if is_too_long(frame) {
        return (Counted("pass_too_long"), None);
    }
    let mut flags = 0;
    if len < MIN_MSG_LEN as usize {
        flags |= FrameMeta::SHORT;
    }
    if datagram.dst.is_ipv6() {
        flags |= FrameMeta::IPV6;
    }
    let record = FrameMeta {
        cookie,
        socket: socket as u16,
        flags,
        l3: datagram.l3 as u16,
        l4: datagram.l4 as u16,
        payload: datagram.payload_range().start as u16,
        payload_len: len as u16,
    };
    (Steered { bytes: len as u64 }, Some(record))
}

fn passed(error: ParseError) -> &'static str {
    match error {
        ParseError::NotIp => "pass_not_ip",
        ParseError::VlanDepth => "pass_vlan_depth",
        ParseError::IpOptions => "pass_ip_options",
        ParseError::Fragment => "pass_fragment",
        ParseError::ExtHeader => "pass_ext_header",
        ParseError::NotUdp => "pass_not_udp",
        ParseError::Malformed => "pass_malformed",
    }
}

/// What `corex_inline` may say, by the word of `View`; one or two verdicts.
pub fn by_view(frame: &[u8], is_closed: bool) -> Vec<Verdict> {
    let malformed = Counted("pass_malformed");
    match View::parse(frame) {
        Ok(view) => vec![shown(&view, frame, is_closed, is_too_long(frame))],
        Err(ParseError::VlanDepth) if is_closed => vec![Counted("drop_vlan_depth")],
        Err(error @ (ParseError::NotIp | ParseError::VlanDepth)) => vec![Counted(passed(error))],
        Err(_) => {
            let Some((longer, dst)) = lengthened(frame) else {
                return vec![malformed];
            };
            // Where the frame alone is too short, the packet's own length counts.
            let longer = completed(frame).unwrap_or(longer);
            let verdict = match View::parse(&longer) {
                Ok(view) => shown(&view, &longer, is_closed, is_too_long(frame)),
                Err(ParseError::ExtHeader) if is_closed && is_protected(dst) => {
                    Counted("drop_ext_header")
                }
                Err(error) => Counted(passed(error)),
            };
            vec![verdict, malformed]
        }
    }
}

/// What `corex_inline` must say about a packet that is all there.
fn shown(view: &View, frame: &[u8], is_closed: bool, is_too_long: bool) -> Verdict {
    let or_drop = |passed, dropped| Counted(if is_closed { dropped } else { passed });
    let is_for_all = frame.first().is_some_and(|first| first & 1 != 0);
    let is_foreign = !is_for_all && !OWN_MACS.iter().any(|mac| frame.starts_with(mac));
    let steered = |bytes| {
        if is_foreign {
            or_drop("pass_foreign_mac", "drop_foreign_mac")
        } else if is_martian(view.src) && (is_closed || is_refused(view.src)) {
            or_drop("pass_martian", "drop_martian")
        } else if is_too_long {
            or_drop("pass_too_long", "drop_too_long")
        } else {
            Steered { bytes }
        }
    };
    match (view.udp(frame), view.fragment) {
        (Ok(datagram), _) => {
            if listener(datagram.dst).is_none() {
                Counted("pass_no_socket")
            } else if datagram.payload_len < MIN_MSG_LEN as usize {
                Counted("pass_short")
            } else {
                steered(datagram.payload_len as u64)
            }
        }
        (Err(_), Some(fragment)) => {
            let is_udp = view.protocol == PROTOCOL_UDP;
            let may_be_udp = view.dst.is_ipv6()
                && [HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION_OPTIONS]
                    .contains(&view.protocol);
            if !is_udp && !may_be_udp {
                Counted("pass_not_udp")
            } else if is_udp && fragment.offset == 0 && frame.len() < view.header_end + 4 {
                Counted("pass_malformed")
            } else if is_protected(view.dst) {
                steered(0)
            } else {
                Counted("pass_fragment")
            }
        }
        (Err(error), None) => Counted(passed(error)),
    }
}

/// The frame with the longest packet that its IP header can begin, filled with zeros, and its
/// destination. `None` if there is no whole IP header.
fn lengthened(frame: &[u8]) -> Option<(Vec<u8>, IpAddr)> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut l3 = ETHERNET_LEN;
    for _ in 0..MAX_VLAN_TAGS {
        if is_vlan_tag(word(l3 - 2)?) {
            l3 += VLAN_TAG_LEN;
        }
    }
    let mut longer = frame.to_vec();
    let (dst, field, len): (IpAddr, _, _) = if word(l3 - 2)? == ETHERTYPE_IPV4 {
        let dst: [u8; 4] = *frame.get(l3..l3 + IPV4_LEN)?.last_chunk()?;
        (dst.into(), l3 + 2, MAX_IP_LEN)
    } else {
        let dst: [u8; 16] = *frame.get(l3..l3 + IPV6_LEN)?.last_chunk()?;
        (dst.into(), l3 + 4, MAX_IP_LEN + IPV6_LEN)
    };
    longer.get_mut(field..field + 2)?.fill(0xff);
    longer.resize(l3 + len, 0);
    Some((longer, dst))
}

/// The frame with all of its packet, filled with zeros. `None` where headers exceed the packet.
fn completed(frame: &[u8]) -> Option<Vec<u8>> {
    let mut longer = frame.to_vec();
    longer.resize(frame.len() + MAX_IP_LEN + IPV6_LEN, 0);
    let end = View::parse(&longer).ok()?.ip_end;
    // One without a length has no more than its frame.
    (end < longer.len()).then(|| {
        longer.truncate(end);
        longer
    })
}

/// Whether what `parse` says of a frame is what `View` shows; `parse` leaves more to the kernel.
pub fn same_in_user_space(frame: &[u8]) -> Result<(), TestCaseError> {
    let is_same = match (parse(frame), View::parse(frame)) {
        (Ok(datagram), Ok(view)) => {
            (view.l3, view.header_end) == (datagram.l3, datagram.l4)
                && view.udp(frame) == Ok(datagram)
        }
        // The datagram is there, but not all of the packet.
        (Ok(datagram), Err(error)) => {
            error == ParseError::Malformed && ip_end(frame, &datagram) > frame.len()
        }
        (Err(error @ (ParseError::NotIp | ParseError::VlanDepth)), seen) => seen == Err(error),
        // Lengths are not looked at where something else is a reason to stop.
        (Err(_), Err(ParseError::Malformed)) => true,
        (Err(ParseError::IpOptions), Ok(view)) => {
            view.src.is_ipv4() && view.header_end > view.l3 + IPV4_LEN
        }
        (Err(error @ (ParseError::Fragment | ParseError::NotUdp)), Ok(view)) => {
            view.udp(frame) == Err(error)
        }
        // A routing header.
        (Err(ParseError::ExtHeader), Ok(view)) => {
            view.src.is_ipv6() && view.per_fragment_end > view.l3 + IPV6_LEN
        }
        // Extension headers that exceed the packet, in front of one that isn't walked.
        (Err(ParseError::ExtHeader | ParseError::Malformed), Err(error)) => {
            error == ParseError::ExtHeader
        }
        (Err(ParseError::Malformed), Ok(view)) => view.udp(frame) == Err(ParseError::Malformed),
        (Err(_), Err(_)) => false,
    };
    prop_assert!(
        is_same,
        "parse: {:?}\nview: {:?}",
        parse(frame),
        View::parse(frame)
    );
    Ok(())
}

/// End of the packet by its IP header.
fn ip_end(frame: &[u8], datagram: &UdpFrame) -> usize {
    let word = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    match datagram.src.is_ipv4() {
        true => datagram.l3 + word(datagram.l3 + 2),
        false => match (word(datagram.l3 + 4), frame[datagram.l3 + 6]) {
            // Linux takes it for the rest of the frame.
            (0, HOP_BY_HOP) => frame.len(),
            (len, _) => datagram.l3 + IPV6_LEN + len,
        },
    }
}
