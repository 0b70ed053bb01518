//! The Internet checksum (RFC 1071) and the checks on receive.
//!
//! A packet that AF_XDP delivers has not seen the kernel's stack: its checksums are ours to check.

use std::net::IpAddr;

use corex_common::ip::{IPV4_LEN, PROTOCOL_UDP, UDP_LEN};

use super::{UdpFrame, bytes_at};

/// A ones' complement sum of 16-bit words.
///
/// Kept in the byte order of memory, which such a sum doesn't depend on (RFC 1071 §2 B).
/// Equality is bitwise: 0 only for data that is all zero, 0xffff otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sum(u16);

impl Sum {
    /// Sums `data`; an odd byte at the end is padded with zero.
    pub fn of(data: &[u8]) -> Self {
        // Words of 64 bits into sums of 128, which is one addition with carry for each: other
        // carries wait for the end. Two sums, so that no addition waits for the last one.
        const LANES: usize = 2;
        let mut lanes = [0u128; LANES];
        let (blocks, rest) = data.as_chunks::<64>();
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            let (pairs, _) = words.as_chunks::<LANES>();
            for pair in pairs {
                for (lane, word) in lanes.iter_mut().zip(pair) {
                    *lane += u128::from(u64::from_ne_bytes(*word));
                }
            }
        }
        let mut sum: u128 = lanes.iter().sum();
        let (words, rest) = rest.as_chunks::<8>();
        for word in words {
            sum += u128::from(u64::from_ne_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0u8; 8];
            for (to, from) in last.iter_mut().zip(rest) {
                *to = *from;
            }
            sum += u128::from(u64::from_ne_bytes(last));
        }
        let low = sum as u64;
        Self::fold((low & 0xffff_ffff) + (low >> 32) + (sum >> 64) as u64)
    }

    /// As [`Self::of`], for a header of so many bytes, a multiple of four: without a loop.
    #[inline]
    pub(super) fn of_header<const N: usize>(header: &[u8; N]) -> Self {
        const { assert!(N.is_multiple_of(4)) };
        let (words, _) = header.as_chunks::<4>();
        let words = words
            .iter()
            .map(|word| u64::from(u32::from_ne_bytes(*word)));
        Self::fold(words.sum())
    }

    /// The pseudo-header of a UDP datagram of `udp_len` bytes, header included (RFC 768,
    /// RFC 8200 §8.1). For addresses of two families, which no datagram has, the sum of both.
    #[inline]
    pub fn of_pseudo_header(src: IpAddr, dst: IpAddr, udp_len: u16) -> Self {
        Self::of_pseudo_header_for(PROTOCOL_UDP, src, dst, udp_len)
    }

    /// As [`Self::of_pseudo_header`], for another protocol.
    #[inline]
    pub(super) fn of_pseudo_header_for(protocol: u8, src: IpAddr, dst: IpAddr, len: u16) -> Self {
        let word = |bytes| u64::from(u32::from_ne_bytes(bytes));
        let addr = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => word(ip.octets()),
            IpAddr::V6(ip) => {
                let octets = ip.octets();
                octets.as_chunks::<4>().0.iter().copied().map(word).sum()
            }
        };
        let [hi, lo] = len.to_be_bytes();
        Self::fold(addr(src) + addr(dst) + word([hi, lo, 0, protocol]))
    }

    /// The sum of both; right when the second's data follows at an even offset.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::fold(self.0 as u64 + other.0 as u64)
    }

    /// The sum of several; as with [`Self::plus`].
    #[inline]
    pub(super) fn of_all<const N: usize>(sums: [Self; N]) -> Self {
        Self::fold(sums.iter().map(|sum| u64::from(sum.0)).sum())
    }

    /// The checksum over what was summed, as the two bytes of a header: the complement.
    pub const fn checksum(self) -> [u8; 2] {
        (!self.0).to_ne_bytes()
    }

    /// The sum itself as the two bytes of a header.
    pub(super) const fn to_bytes(self) -> [u8; 2] {
        self.0.to_ne_bytes()
    }

    /// Whether this is the sum over data that includes its own, right checksum.
    pub(super) const fn is_intact(self) -> bool {
        self.0 == 0xffff
    }

    const fn fold(sum: u64) -> Self {
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        Self(sum as u16)
    }
}

/// Whether the checksum of the IPv4 header is right, options included. True for IPv6, whose
/// header has none.
/// False if `frame` is not the frame that was parsed and is shorter.
#[inline]
pub fn verify_ipv4_header(frame: &[u8], udp: &UdpFrame) -> bool {
    udp.src.is_ipv6()
        || frame
            .get(udp.l3..udp.l4)
            .is_some_and(|ip| match <&[u8; IPV4_LEN]>::try_from(ip) {
                Ok(without_options) => Sum::of_header(without_options).is_intact(),
                Err(_) => Sum::of(ip).is_intact(),
            })
}

/// What a received UDP checksum says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UdpChecksum {
    /// Right. The sum over the payload came out on the way and spares the sender a pass.
    Good(Sum),
    /// Zero over IPv4: the sender computed none, which is legal (RFC 768).
    Zero,
    /// The folded sum of the pseudo-header: the checksum was left to hardware that the packet
    /// never met, since veth or virtio delivered it on the same machine (kernel:
    /// Documentation/networking/checksum-offloads.rst). Good for receiving; must not leave so.
    Partial,
    /// Wrong, or zero over IPv6, where it is not legal (RFC 8200 §8.1).
    Bad,
}

/// Checks the checksum of a datagram. Only a full one costs a pass over the payload.
/// [`UdpChecksum::Bad`] if `frame` is not the frame that was parsed and is shorter.
#[inline]
pub fn verify_udp(frame: &[u8], udp: &UdpFrame) -> UdpChecksum {
    let header = bytes_at::<UDP_LEN>(frame, udp.l4);
    let payload = frame.get(udp.payload_range());
    let udp_len = u16::try_from(UDP_LEN + udp.payload_len);
    let (Some(header), Some(payload), Ok(udp_len)) = (header, payload, udp_len) else {
        return UdpChecksum::Bad;
    };
    let field = [header[6], header[7]];
    if field == [0, 0] {
        return if udp.src.is_ipv4() {
            UdpChecksum::Zero
        } else {
            UdpChecksum::Bad
        };
    }
    let pseudo_header = Sum::of_pseudo_header(udp.src.ip(), udp.dst.ip(), udp_len);
    if field == pseudo_header.to_bytes() {
        return UdpChecksum::Partial;
    }
    let payload_sum = Sum::of(payload);
    if Sum::of_all([pseudo_header, Sum::of_header(header), payload_sum]).is_intact() {
        UdpChecksum::Good(payload_sum)
    } else {
        UdpChecksum::Bad
    }
}
