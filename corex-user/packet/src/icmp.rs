//! What tells a sender that its datagram is too long for the path.

use std::net::IpAddr;

use corex_common::ip::{
    ETHERNET_LEN, ICMP_FRAGMENTATION_NEEDED, ICMP_LEN, ICMP_UNREACHABLE, ICMPV6_PACKET_TOO_BIG,
    IPV4_LEN, IPV6_LEN, IPV6_MIN_MTU, PROTOCOL_ICMP, PROTOCOL_ICMPV6,
};

use super::{Sum, View, reassemble::write_ipv4_checksum};

/// Largest ICMP error over IPv4, IP header included (RFC 1812 §4.3.2.3).
const MAX_V4_LEN: usize = 576;
const HOP_LIMIT: u8 = 64;

/// Writes the error for the packet in `frame` into `out`, as a frame back to who sent it: ICMP
/// "fragmentation needed" (RFC 1191 §4) or ICMPv6 "packet too big" (RFC 4443 §3.2), with the
/// `mtu` in bytes, from `from`. Tags of VLANs are those of `frame`.
///
/// False if there is none to send: `from` is of another family or no unicast address, the
/// sender has none, the packet is a fragment but the first, or, over IPv4, went to more than
/// one host (RFC 1122 §3.2.2; RFC 4443 §2.4 e lets IPv6 senders know).
pub fn too_big(frame: &[u8], view: &View, mtu: usize, from: IpAddr, out: &mut Vec<u8>) -> bool {
    out.clear();
    let is_later_fragment = view.fragment.is_some_and(|fragment| fragment.offset > 0);
    let is_for_many = view.dst.is_ipv4() && (!is_unicast(view.dst) || is_group(frame));
    if is_later_fragment || is_for_many || !is_unicast(view.src) || !is_unicast(from) {
        return false;
    }
    write(frame, view, mtu, from, out).is_some()
}

fn is_unicast(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}

/// Whether the destination MAC is a group's; a broadcast is one to all.
fn is_group(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 != 0)
}

fn write(frame: &[u8], view: &View, mtu: usize, from: IpAddr, out: &mut Vec<u8>) -> Option<()> {
    let (link, packet) = frame.get(..view.ip_end)?.split_at_checked(view.l3)?;
    let (dst_mac, src_mac) = (link.get(..6)?, link.get(6..12)?);
    out.extend_from_slice(src_mac);
    out.extend_from_slice(dst_mac);
    out.extend_from_slice(link.get(ETHERNET_LEN - 2..)?);
    match (from, view.src) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let quoted = packet.get(..packet.len().min(MAX_V4_LEN - IPV4_LEN - ICMP_LEN))?;
            let len = u16::try_from(IPV4_LEN + ICMP_LEN + quoted.len()).ok()?;
            let mut ip = [0u8; IPV4_LEN];
            ip[0] = 0x45;
            ip[2..4].copy_from_slice(&len.to_be_bytes());
            ip[8] = HOP_LIMIT;
            ip[9] = PROTOCOL_ICMP;
            ip[12..16].copy_from_slice(&from.octets());
            ip[16..].copy_from_slice(&to.octets());
            write_ipv4_checksum(&mut ip)?;
            let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
            let mut icmp = [0u8; ICMP_LEN];
            icmp[..2].copy_from_slice(&[ICMP_UNREACHABLE, ICMP_FRAGMENTATION_NEEDED]);
            icmp[6..].copy_from_slice(&mtu.to_be_bytes());
            let sum = Sum::of(&icmp).plus(Sum::of(quoted));
            icmp[2..4].copy_from_slice(&sum.checksum());
            out.extend_from_slice(&ip);
            out.extend_from_slice(&icmp);
            out.extend_from_slice(quoted);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            // The whole error fits into the smallest MTU (RFC 4443 §2.4 c).
            let quoted = packet.get(..packet.len().min(IPV6_MIN_MTU - IPV6_LEN - ICMP_LEN))?;
            let len = u16::try_from(ICMP_LEN + quoted.len()).ok()?;
            let mut ip = [0u8; IPV6_LEN];
            ip[0] = 0x60;
            ip[4..6].copy_from_slice(&len.to_be_bytes());
            ip[6] = PROTOCOL_ICMPV6;
            ip[7] = HOP_LIMIT;
            ip[8..24].copy_from_slice(&from.octets());
            ip[24..].copy_from_slice(&to.octets());
            // A sender doesn't go below (RFC 8201 §4).
            let mtu = u32::try_from(mtu.max(IPV6_MIN_MTU)).unwrap_or(u32::MAX);
            let mut icmp = [0u8; ICMP_LEN];
            icmp[0] = ICMPV6_PACKET_TOO_BIG;
            icmp[4..].copy_from_slice(&mtu.to_be_bytes());
            let sum = Sum::of_pseudo_header_for(PROTOCOL_ICMPV6, from.into(), view.src, len)
                .plus(Sum::of(&icmp))
                .plus(Sum::of(quoted));
            icmp[2..4].copy_from_slice(&sum.checksum());
            out.extend_from_slice(&ip);
            out.extend_from_slice(&icmp);
            out.extend_from_slice(quoted);
        }
        _ => return None,
    }
    Some(())
}
