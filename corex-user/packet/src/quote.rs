//! ICMP errors of a protected server's stack: they quote what the hook made of a message, which
//! must not leave.

use corex_common::ip::{
    ICMP_LEN, IPV4_LEN, IPV6_LEN, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP, UDP_LEN,
    ipv4_header_len, is_icmp_error, is_icmpv6_error,
};

use super::{Sum, View, bytes_at, reassemble::write_ipv4_checksum};

/// Cuts what an ICMP error quotes down to the IP and UDP headers, which is all that the sender's
/// stack needs to find the socket (RFC 792; RFC 1122 §3.2.2 asks for no more), and puts lengths
/// and checksums right. Returns the frame's new length; `None` for anything but an error about a
/// UDP datagram with more than headers.
pub fn cut_quote(frame: &mut [u8], view: &View) -> Option<usize> {
    let icmp_at = view.header_end;
    let kind = *frame.get(icmp_at)?;
    let inner_at = icmp_at + ICMP_LEN;
    let (is_error, protocol, header_len) = if view.src.is_ipv4() {
        let inner = bytes_at::<IPV4_LEN>(frame, inner_at)?;
        let is_error = view.protocol == PROTOCOL_ICMP && is_icmp_error(kind);
        (is_error, inner[9], ipv4_header_len(inner[0]))
    } else {
        let inner = bytes_at::<IPV6_LEN>(frame, inner_at)?;
        let is_error = view.protocol == PROTOCOL_ICMPV6 && is_icmpv6_error(kind);
        (is_error, inner[6], IPV6_LEN)
    };
    let end = inner_at + header_len + UDP_LEN;
    if !is_error || protocol != PROTOCOL_UDP || view.fragment.is_some() || end >= view.ip_end {
        return None;
    }
    let icmp_len = u16::try_from(end - icmp_at).ok()?;
    frame.get_mut(icmp_at + 2..icmp_at + 4)?.fill(0);
    let mut sum = Sum::of(frame.get(icmp_at..end)?);
    if view.src.is_ipv4() {
        let len = u16::try_from(end - view.l3).ok()?;
        let header = frame.get_mut(view.l3..icmp_at)?;
        header.get_mut(2..4)?.copy_from_slice(&len.to_be_bytes());
        write_ipv4_checksum(header)?;
    } else {
        let pseudo = Sum::of_pseudo_header_for(PROTOCOL_ICMPV6, view.src, view.dst, icmp_len);
        sum = sum.plus(pseudo);
        let len = u16::try_from(end - view.l3 - IPV6_LEN).ok()?;
        frame
            .get_mut(view.l3 + 4..view.l3 + 6)?
            .copy_from_slice(&len.to_be_bytes());
    }
    frame
        .get_mut(icmp_at + 2..icmp_at + 4)?
        .copy_from_slice(&sum.checksum());
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::too_big;

    /// Ethernet, IPv4 or IPv6, UDP with a payload.
    fn datagram(v6: bool) -> Vec<u8> {
        let mut frame = vec![0u8; 12];
        let payload = [0x53; 400];
        let udp_len = (UDP_LEN + payload.len()) as u16;
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(udp_len.to_be_bytes());
            frame.extend([PROTOCOL_UDP, 64]);
            frame.extend([0xfd; 16]);
            frame.extend([0xfe; 16]);
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((IPV4_LEN as u16 + udp_len).to_be_bytes());
            frame.extend([0, 1, 0, 0, 64, PROTOCOL_UDP, 0, 0]);
            frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        }
        frame.extend([0x13, 0xc4, 0x13, 0xc5]);
        frame.extend(udp_len.to_be_bytes());
        frame.extend([1, 2]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn an_error_keeps_the_headers_it_quotes_and_nothing_behind_them() {
        for v6 in [false, true] {
            let original = datagram(v6);
            let view = View::parse(&original).unwrap();
            let mut error = Vec::new();
            assert!(too_big(&original, &view, 1300, view.dst, &mut error));
            let before = View::parse(&error).unwrap();
            let len = cut_quote(&mut error, &before).unwrap();
            error.truncate(len);
            let view = View::parse(&error).unwrap();
            assert_eq!(view.ip_end, len);
            assert!(view.header_is_intact(&error));
            let quoted = &error[view.header_end + ICMP_LEN..];
            assert!(original[14..].starts_with(quoted));
            assert!(quoted.ends_with(&[1, 2]), "up to the UDP checksum");
            let icmp = Sum::of(&error[view.header_end..]);
            let sum = if v6 {
                let len = (len - view.header_end) as u16;
                icmp.plus(Sum::of_pseudo_header_for(
                    PROTOCOL_ICMPV6,
                    view.src,
                    view.dst,
                    len,
                ))
            } else {
                icmp
            };
            assert!(sum.is_intact());
            assert_eq!(cut_quote(&mut error, &view), None, "nothing more to cut");
        }
    }

    #[test]
    fn what_is_no_error_about_a_datagram_stays() {
        for v6 in [false, true] {
            let mut other = datagram(v6);
            let view = View::parse(&other).unwrap();
            let same = other.clone();
            assert_eq!(cut_quote(&mut other, &view), None);
            assert_eq!(other, same);
        }
    }
}
