//! A datagram with another payload, in the same headers: addresses, options, extension headers,
//! VLAN tags, TTL, DSCP, flow label and identification stay.

use corex_common::ip::{
    FRAGMENT, FRAGMENT_HEADER_LEN, IPV4_LEN, IPV4_MORE_FRAGMENTS, IPV6_LEN, IPV6_MORE_FRAGMENTS,
    UDP_LEN,
};

use super::{
    Sum, UdpChecksum, UdpFrame, View, bytes_at, reassemble::write_ipv4_checksum, verify_udp,
};

/// How a datagram leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manner {
    /// Replaces the source MAC.
    pub src_mac: Option<[u8; 6]>,
    /// Largest IP packet, in bytes.
    pub mtu: usize,
    /// Of IPv6 fragments, and of IPv4 ones when the datagram's is zero, as many senders leave it
    /// where they don't expect fragments (RFC 6864 §4.1).
    pub identification: u32,
    /// Whether one that has DF set, or is IPv6, may be fragmented nevertheless: who gets it
    /// takes fragments, or who sent it has fragmented it itself.
    pub may_fragment: bool,
}

/// What left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Frames; several if the datagram was fragmented.
    pub frames: usize,
}

/// Why a datagram can't leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RewriteError {
    /// Longer than the MTU, and may not be fragmented.
    #[error("the datagram is longer than the MTU and must not be fragmented")]
    TooBig,
    /// The payload exceeds what IP's 16-bit lengths can say behind these headers.
    #[error("{0} bytes are too long for a datagram with these headers")]
    TooLong(usize),
    /// A frame was not taken.
    #[error("a frame was not taken, after {sent} others")]
    Refused {
        /// Frames that were.
        sent: usize,
    },
    /// The view isn't that of the frame.
    #[error("the frame is not the one that was parsed")]
    OtherFrame,
}

/// Makes such datagrams; keeps its buffers.
#[derive(Default)]
pub struct Rewriter {
    whole: Vec<u8>,
    piece: Vec<u8>,
}

impl Rewriter {
    /// Gives `emit` the frames of the datagram in `frame` with `payload` in place of its own.
    /// `emit` returns whether it has taken the frame.
    ///
    /// A UDP checksum of zero over IPv4 stays zero; any other is computed in full. A datagram
    /// longer than [`Manner::mtu`] is fragmented: IPv4 options are copied into all fragments or
    /// the first only, as each says itself (RFC 791 §3.1); IPv6 gets a fragment header behind
    /// its per-fragment headers (RFC 8200 §4.5).
    ///
    /// # Errors
    ///
    /// See [`RewriteError`]; nothing was emitted unless it says so.
    pub fn replace_payload(
        &mut self,
        frame: &[u8],
        view: &View,
        udp: &UdpFrame,
        payload: &[u8],
        manner: &Manner,
        emit: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Sent, RewriteError> {
        self.build(frame, view, udp, payload)?;
        if let Some(mac) = manner.src_mac
            && let Some(to) = self.whole.get_mut(6..12)
        {
            to.copy_from_slice(&mac);
        }
        if self.whole.len() - view.l3 <= manner.mtu {
            return if emit(&self.whole) {
                Ok(Sent { frames: 1 })
            } else {
                Err(RewriteError::Refused { sent: 0 })
            };
        }
        if view.dont_fragment && !manner.may_fragment {
            return Err(RewriteError::TooBig);
        }
        self.fragment(view, manner, emit)
    }

    /// The datagram in one frame.
    fn build(
        &mut self,
        frame: &[u8],
        view: &View,
        udp: &UdpFrame,
        payload: &[u8],
    ) -> Result<(), RewriteError> {
        let other = || RewriteError::OtherFrame;
        let too_long = |_| RewriteError::TooLong(payload.len());
        let headers = frame.get(..view.header_end).ok_or_else(other)?;
        let mut udp_header = *bytes_at::<UDP_LEN>(frame, view.header_end).ok_or_else(other)?;
        let udp_len = UDP_LEN + payload.len();
        let ip_headers = view.header_end.checked_sub(view.l3).ok_or_else(other)?;
        let is_ipv4 = view.src.is_ipv4();
        let counted = if is_ipv4 {
            ip_headers
        } else {
            ip_headers.checked_sub(IPV6_LEN).ok_or_else(other)?
        };
        let ip_len = u16::try_from(counted + udp_len).map_err(too_long)?;
        let udp_len = u16::try_from(udp_len).map_err(too_long)?;

        let has_checksum = udp_header[6..] != [0, 0] || !is_ipv4;
        udp_header[4..6].copy_from_slice(&udp_len.to_be_bytes());
        udp_header[6..].fill(0);
        if has_checksum {
            let sum = Sum::of_pseudo_header(udp.src.ip(), udp.dst.ip(), udp_len)
                .plus(Sum::of(&udp_header))
                .plus(Sum::of(payload));
            udp_header[6..].copy_from_slice(&udp_checksum(sum));
        }

        self.whole.clear();
        self.whole.extend_from_slice(headers);
        self.whole.extend_from_slice(&udp_header);
        self.whole.extend_from_slice(payload);
        let at = view.l3 + if is_ipv4 { 2 } else { 4 };
        self.whole
            .get_mut(at..at + 2)
            .ok_or_else(other)?
            .copy_from_slice(&ip_len.to_be_bytes());
        if is_ipv4 {
            let header = self.whole.get_mut(view.l3..view.header_end);
            header.and_then(write_ipv4_checksum).ok_or_else(other)?;
        }
        Ok(())
    }

    /// Emits what was built in pieces.
    fn fragment(
        &mut self,
        view: &View,
        manner: &Manner,
        emit: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Sent, RewriteError> {
        let (headers, data) = self
            .whole
            .split_at_checked(view.per_fragment_end)
            .ok_or(RewriteError::OtherFrame)?;
        let is_ipv4 = view.src.is_ipv4();
        let added = if is_ipv4 { 0 } else { FRAGMENT_HEADER_LEN };
        // The first fragment has the longest headers.
        let room = manner.mtu.saturating_sub(headers.len() - view.l3 + added) & !7;
        if room == 0 {
            return Err(RewriteError::TooBig);
        }
        let mut sent = 0;
        for offset in (0..data.len()).step_by(room) {
            let end = data.len().min(offset + room);
            let more = end < data.len();
            let part = data.get(offset..end).ok_or(RewriteError::OtherFrame)?;
            self.piece.clear();
            self.piece.extend_from_slice(headers);
            let written = if is_ipv4 {
                ipv4_piece(&mut self.piece, view, manner, offset, more, part)
            } else {
                ipv6_piece(&mut self.piece, view, manner, offset, more, part)
            };
            written.ok_or(RewriteError::OtherFrame)?;
            if !emit(&self.piece) {
                return Err(RewriteError::Refused { sent });
            }
            sent += 1;
        }
        Ok(Sent { frames: sent })
    }
}

/// Makes a fragment of the datagram's headers, which are in `piece`.
fn ipv4_piece(
    piece: &mut Vec<u8>,
    view: &View,
    manner: &Manner,
    offset: usize,
    more: bool,
    data: &[u8],
) -> Option<()> {
    if offset > 0 {
        let options = piece.get(view.l3 + IPV4_LEN..)?;
        let copied = copied_options(options);
        piece.truncate(view.l3 + IPV4_LEN);
        piece.extend_from_slice(&copied);
    }
    let header_len = piece.len() - view.l3;
    piece.extend_from_slice(data);
    let total_len = u16::try_from(piece.len() - view.l3).ok()?;
    let header = piece.get_mut(view.l3..view.l3 + header_len)?;
    *header.first_mut()? = 0x40 | u8::try_from(header_len / 4).ok()?;
    header
        .get_mut(2..4)?
        .copy_from_slice(&total_len.to_be_bytes());
    if header.get(4..6)? == [0, 0] {
        let id = (manner.identification as u16).max(1);
        header.get_mut(4..6)?.copy_from_slice(&id.to_be_bytes());
    }
    let flag = if more { IPV4_MORE_FRAGMENTS } else { 0 };
    let field = u16::try_from(offset / 8).ok()? | flag;
    header.get_mut(6..8)?.copy_from_slice(&field.to_be_bytes());
    write_ipv4_checksum(header)
}

/// The options that each fragment has, padded to a multiple of four bytes (RFC 791 §3.1).
fn copied_options(options: &[u8]) -> Vec<u8> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    let mut copied = Vec::new();
    let mut rest = options;
    while let Some(&kind) = rest.first() {
        let len = match kind {
            END => break,
            NO_OPERATION => 1,
            _ => rest.get(1).copied().map_or(0, usize::from).max(2),
        };
        let Some((option, behind)) = rest.split_at_checked(len) else {
            break;
        };
        if kind & COPIED != 0 {
            copied.extend_from_slice(option);
        }
        rest = behind;
    }
    copied.resize(copied.len().next_multiple_of(4), END);
    copied
}

/// As [`ipv4_piece`].
fn ipv6_piece(
    piece: &mut Vec<u8>,
    view: &View,
    manner: &Manner,
    offset: usize,
    more: bool,
    data: &[u8],
) -> Option<()> {
    let next = std::mem::replace(piece.get_mut(view.next_at)?, FRAGMENT);
    let flag = if more { IPV6_MORE_FRAGMENTS } else { 0 };
    let field = u16::try_from(offset).ok()? | flag;
    piece.extend_from_slice(&[next, 0]);
    piece.extend_from_slice(&field.to_be_bytes());
    piece.extend_from_slice(&manner.identification.to_be_bytes());
    piece.extend_from_slice(data);
    let len = u16::try_from(piece.len() - view.l3 - IPV6_LEN).ok()?;
    let at = view.l3 + 4;
    piece
        .get_mut(at..at + 2)?
        .copy_from_slice(&len.to_be_bytes());
    Some(())
}

/// Writes the UDP checksum that was left to hardware ([`UdpChecksum::Partial`]); any other
/// stays.
pub fn complete_checksum(frame: &mut [u8], udp: &UdpFrame) {
    if verify_udp(frame, udp) != UdpChecksum::Partial {
        return;
    }
    let end = udp.payload_range().end;
    let Some(datagram) = frame.get_mut(udp.l4..end) else {
        return;
    };
    let Ok(len) = u16::try_from(datagram.len()) else {
        return;
    };
    datagram[6..UDP_LEN].fill(0);
    let sum = Sum::of_pseudo_header(udp.src.ip(), udp.dst.ip(), len).plus(Sum::of(datagram));
    datagram[6..UDP_LEN].copy_from_slice(&udp_checksum(sum));
}

/// A computed zero goes out as all ones, since zero says "none" (RFC 768).
fn udp_checksum(sum: Sum) -> [u8; 2] {
    match sum.checksum() {
        [0, 0] => [0xff, 0xff],
        checksum => checksum,
    }
}
