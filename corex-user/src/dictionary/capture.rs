//! Captures: the SIP in UDP datagrams of pcap and pcapng files.

use std::io::Read;

use anyhow::{Context as _, bail};
use corex_sip::SipView;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

use super::samples::Samples;

/// The most bytes of one packet in a file, and what is read at a time.
const BUFFER: usize = 1 << 20;

/// A block of pcapng has its type and length in front, and the length again behind.
const LEAST_BLOCK: u32 = 12;

/// Whether a file begins so: pcap in either byte order, with micro- or nanoseconds, or pcapng.
pub fn is_magic(first: [u8; 4]) -> bool {
    matches!(
        u32::from_be_bytes(first),
        0xa1b2_c3d4 | 0xd4c3_b2a1 | 0xa1b2_3c4d | 0x4d3c_b2a1 | 0x0a0d_0d0a
    )
}

/// Takes in the messages of a capture.
///
/// # Errors
/// When it is damaged. One that ends in the middle of a packet is as good as a whole one.
pub fn read(file: impl Read + Send + 'static, samples: &mut Samples) -> anyhow::Result<()> {
    let mut reader = create_reader(BUFFER, file)
        .map_err(|error| anyhow::anyhow!("{error:?}"))
        .context("it is no capture")?;
    // Those of interfaces, in order; a pcap file has one.
    let mut links: Vec<Linktype> = Vec::new();
    let mut has_blocks = false;
    loop {
        // The reader takes a length for granted that some blocks can't have.
        if has_blocks && is_too_short(reader.data()) {
            bail!("it is damaged: a block says that it has less than {LEAST_BLOCK} bytes");
        }
        match reader.next() {
            Ok((len, block)) => {
                has_blocks = matches!(block, PcapBlockOwned::NG(_));
                match block {
                    PcapBlockOwned::LegacyHeader(header) => links = vec![header.network],
                    PcapBlockOwned::Legacy(packet) => take(&links, 0, packet.data, samples),
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => links.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        links.push(interface.linktype);
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let len = packet.caplen as usize;
                        let data = packet.data.get(..len).unwrap_or(packet.data);
                        take(&links, packet.if_id as usize, data, samples);
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                        take(&links, 0, packet.data, samples);
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                reader.consume(len);
            }
            Err(PcapError::Eof | PcapError::UnexpectedEof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => {
                if reader.reader_exhausted() {
                    return Ok(());
                }
                reader
                    .refill()
                    .map_err(|error| anyhow::anyhow!("{error:?}"))
                    .context("it can't be read on")?;
            }
            Err(error) => bail!("it is damaged: {error:?}"),
        }
    }
}

/// Whether a block of pcapng says that it is shorter than one can be. In either byte order: a length that is
/// possible is a large number in the other one.
fn is_too_short(block: &[u8]) -> bool {
    let length = block.get(4..8).and_then(|length| length.try_into().ok());
    length.is_some_and(|length: [u8; 4]| {
        u32::from_le_bytes(length).min(u32::from_be_bytes(length)) < LEAST_BLOCK
    })
}

fn take(links: &[Linktype], interface: usize, packet: &[u8], samples: &mut Samples) {
    let link = links.get(interface).copied();
    let message = link.and_then(|link| payload(link, packet));
    match message.filter(|message| SipView::parse(message).is_ok()) {
        Some(message) => samples.take(&message),
        None => samples.skipped += 1,
    }
}

/// The payload of a UDP datagram.
fn payload(link: Linktype, packet: &[u8]) -> Option<Vec<u8>> {
    // How much stands in front of the IP header.
    let head = match link {
        Linktype::ETHERNET => {
            let found = corex_packet::parse(packet).ok()?;
            return Some(found.payload(packet).to_vec());
        }
        Linktype::NULL | Linktype::LOOP => 4,
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => 0,
        Linktype::LINUX_SLL => 16,
        Linktype::LINUX_SLL2 => 20,
        _ => return None,
    };
    let ip = packet.get(head..)?;
    let ethertype: [u8; 2] = match ip.first()? >> 4 {
        4 => [0x08, 0x00],
        6 => [0x86, 0xdd],
        _ => return None,
    };
    let frame = [&[0; 12], &ethertype[..], ip].concat();
    let found = corex_packet::parse(&frame).ok()?;
    Some(found.payload(&frame).to_vec())
}
