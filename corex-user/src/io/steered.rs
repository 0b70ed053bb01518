//! From a steered frame to the datagram in it.

use corex_common::meta::FrameMeta;

use super::xdp::{Frame, Umem};
use crate::{
    packet::{self, Sum, UdpChecksum, UdpFrame},
    script::SocketId,
};

/// A datagram in a steered frame, checked.
pub struct Steered {
    /// Where it is, and its addresses.
    pub datagram: UdpFrame,
    /// The listen socket that the XDP program found; `None`: to be looked up.
    pub socket: Option<SocketId>,
    /// The payload's sum, if the check computed it.
    pub payload_sum: Option<Sum>,
}

/// Why a steered frame isn't handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The headers can't be read.
    Frame,
    /// The IPv4 header checksum is wrong.
    IpChecksum,
    /// The UDP checksum is wrong, or missing over IPv6.
    UdpChecksum,
}

/// Reads the XDP program's record, or the headers where the driver can't carry records, and
/// verifies the checksums, which nobody else has.
///
/// # Errors
/// What is wrong with the frame.
pub fn read(umem: &Umem, frame: &Frame, cookie: u32) -> Result<Steered, Unreadable> {
    let packet = umem.packet(frame);
    let record = umem
        .before(frame, FrameMeta::LEN)
        .try_into()
        .ok()
        .map(FrameMeta::from_bytes)
        .filter(|record| record.cookie == cookie);
    let (datagram, socket) = match record {
        Some(record) => (
            UdpFrame::at(
                packet,
                record.l3.into(),
                record.l4.into(),
                record.payload_len.into(),
                record.flags & FrameMeta::IPV6 != 0,
            ),
            Some(SocketId(record.socket)),
        ),
        None => (packet::parse(packet).ok(), None),
    };
    let datagram = datagram.ok_or(Unreadable::Frame)?;
    if !packet::verify_ipv4_header(packet, &datagram) {
        return Err(Unreadable::IpChecksum);
    }
    let payload_sum = match packet::verify_udp(packet, &datagram) {
        UdpChecksum::Good(sum) => Some(sum),
        UdpChecksum::Zero | UdpChecksum::Partial => None,
        UdpChecksum::Bad => return Err(Unreadable::UdpChecksum),
    };
    Ok(Steered {
        datagram,
        socket,
        payload_sum,
    })
}
