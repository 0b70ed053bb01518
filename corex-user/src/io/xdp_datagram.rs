//! Finds and checks the datagram in a frame that the XDP program has steered to a worker.

use corex_common::meta::FrameMeta;

use corex_packet as packet;
use corex_packet::{Sum, UdpChecksum, UdpFrame};
use corex_script::SocketId;

use corex_xdp::{Frame, Umem};

/// A datagram in a steered frame, checked.
pub struct XdpDatagram {
    /// Where it is, and its addresses.
    pub datagram: UdpFrame,
    /// The listen socket that the XDP program found; `None`: to be looked up.
    pub socket: Option<SocketId>,
    /// The payload's sum, if the check computed it.
    pub payload_sum: Option<Sum>,
    /// The XDP program says that it is above a rate of the guard.
    pub is_limited: bool,
}

/// Why a steered frame isn't handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreadableFrame {
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
#[inline]
pub fn read(umem: &Umem, frame: &Frame, cookie: u32) -> Result<XdpDatagram, UnreadableFrame> {
    let packet = umem.packet(frame);
    let record = umem
        .before(frame, FrameMeta::LEN)
        .try_into()
        .ok()
        .map(FrameMeta::from_bytes)
        .filter(|record| record.cookie == cookie);
    let is_limited = record
        .as_ref()
        .is_some_and(|record| record.flags & FrameMeta::LIMITED != 0);
    let socket = record.as_ref().map(|record| SocketId(record.socket));
    let datagram = match record {
        Some(record) => UdpFrame::at(
            packet,
            record.l3.into(),
            record.l4.into(),
            record.payload_len.into(),
            record.flags & FrameMeta::IPV6 != 0,
        ),
        None => packet::parse(packet).ok(),
    };
    let Some(datagram) = datagram else {
        return Err(UnreadableFrame::Frame);
    };
    if !packet::verify_ipv4_header(packet, &datagram) {
        return Err(UnreadableFrame::IpChecksum);
    }
    let payload_sum = match packet::verify_udp(packet, &datagram) {
        UdpChecksum::Good(sum) => Some(sum),
        UdpChecksum::Zero | UdpChecksum::Partial => None,
        UdpChecksum::Bad => return Err(UnreadableFrame::UdpChecksum),
    };
    Ok(XdpDatagram {
        datagram,
        socket,
        payload_sum,
        is_limited,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use corex_packet::{Envelope, build_udp};
    use corex_xdp::FramePool;

    const COOKIE: u32 = 0x5eed;
    const PAYLOAD: &[u8] = b"OPTIONS sip:x@y SIP/2.0\r\n\r\n";

    /// A frame as the kernel leaves it: the record, or whatever was there, then the packet.
    fn frame(umem: &Umem, pool: &mut FramePool, record: &[u8; 16], packet: &[u8]) -> Frame {
        let mut frame = pool.take().unwrap();
        let room = umem.room_mut(&mut frame);
        room[..16].copy_from_slice(record);
        room[16..16 + packet.len()].copy_from_slice(packet);
        umem.set_packet(&mut frame, 16 + packet.len());
        umem.advance(&mut frame, 16);
        frame
    }

    fn packet() -> Vec<u8> {
        let envelope = Envelope {
            src_mac: [2; 6],
            dst_mac: [4; 6],
            src: "10.0.0.9:5070".parse().unwrap(),
            dst: "10.0.0.1:5060".parse().unwrap(),
            ttl: 64,
            identification: None,
            traffic_class: 0,
        };
        let mut packet = vec![0; 200];
        let len = build_udp(&mut packet, &envelope, PAYLOAD).unwrap();
        packet.truncate(len);
        packet
    }

    /// The record's bytes, as the XDP program writes them.
    fn record(cookie: u32, payload_len: u16) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&cookie.to_ne_bytes());
        let fields: [u16; 6] = [3, 0, 14, 34, 42, payload_len];
        for (at, field) in fields.into_iter().enumerate() {
            bytes[4 + 2 * at..6 + 2 * at].copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    fn read_one(record: &[u8; 16], packet: &[u8]) -> Result<XdpDatagram, UnreadableFrame> {
        let (umem, mut pool) = Umem::new(2, 2048).unwrap();
        let frame = frame(&umem, &mut pool, record, packet);
        read(&umem, &frame, COOKIE)
    }

    #[test]
    fn the_record_says_where_the_datagram_is_and_whose() {
        let steered = read_one(&record(COOKIE, PAYLOAD.len() as u16), &packet()).unwrap();
        assert_eq!(steered.socket, Some(SocketId(3)));
        assert_eq!(steered.datagram.payload(&packet()), PAYLOAD);
        assert!(steered.payload_sum.is_some());
    }

    #[test]
    fn without_a_record_of_this_load_the_headers_are_read() {
        for other in [[0; 16], record(COOKIE + 1, 5), [0xff; 16]] {
            let steered = read_one(&other, &packet()).unwrap();
            assert_eq!(steered.socket, None);
            assert_eq!(steered.datagram.dst, "10.0.0.1:5060".parse().unwrap());
            assert_eq!(steered.datagram.payload(&packet()), PAYLOAD);
        }
    }

    #[test]
    fn a_record_beyond_the_frame_is_refused() {
        let read = read_one(&record(COOKIE, 60_000), &packet());
        assert_eq!(read.err(), Some(UnreadableFrame::Frame));
    }

    #[test]
    fn wrong_checksums_are_told_apart() {
        let good = record(COOKIE, PAYLOAD.len() as u16);
        let mut bad = packet();
        bad[22] ^= 1;
        assert_eq!(
            read_one(&good, &bad).err(),
            Some(UnreadableFrame::IpChecksum)
        );
        let mut bad = packet();
        bad[50] ^= 1;
        assert_eq!(
            read_one(&good, &bad).err(),
            Some(UnreadableFrame::UdpChecksum)
        );
    }
}
