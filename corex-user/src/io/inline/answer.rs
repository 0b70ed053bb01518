//! What corex itself says to who sent a datagram to the protected server.

use corex_packet as packet;
use corex_packet::{BuildError, Envelope, UdpFrame};
use corex_script::settings::DatagramSettings;

use crate::pipeline::INITIAL_TTL;

/// Makes the frame of an answer: from where the datagram in `original` went, to where it came from,
/// with its VLAN tags.
///
/// # Errors
/// When the payload is too long.
pub fn frame(
    original: &[u8],
    datagram: &UdpFrame,
    payload: &[u8],
    settings: &DatagramSettings,
    identification: u32,
    out: &mut Vec<u8>,
) -> Result<(), BuildError> {
    let link = original.get(..datagram.l3).ok_or(BuildError::Space)?;
    let (dst, rest) = link.split_first_chunk::<6>().ok_or(BuildError::Space)?;
    let (src, tags) = rest.split_first_chunk::<6>().ok_or(BuildError::Space)?;
    let envelope = Envelope {
        src_mac: *dst,
        dst_mac: *src,
        src: datagram.dst,
        dst: datagram.src,
        ttl: INITIAL_TTL,
        identification: (!settings.dont_fragment).then_some(identification as u16),
        traffic_class: settings.traffic_class,
    };
    out.clear();
    // Where the tags will be, which the builder doesn't write.
    let tagged = tags.len() - 2;
    out.resize(tagged + envelope.headers_len() + payload.len(), 0);
    let room = out.get_mut(tagged..).ok_or(BuildError::Space)?;
    packet::build_udp(room, &envelope, payload)?;
    let head = out.get_mut(..12 + tags.len()).ok_or(BuildError::Space)?;
    head[..6].copy_from_slice(src);
    head[6..12].copy_from_slice(dst);
    head[12..].copy_from_slice(tags);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use corex_packet::View;

    fn datagram(tags: &[u8]) -> Vec<u8> {
        let envelope = Envelope {
            src_mac: [1; 6],
            dst_mac: [2; 6],
            src: "192.0.2.1:5061".parse().unwrap(),
            dst: "192.0.2.2:5060".parse().unwrap(),
            ttl: 9,
            identification: Some(7),
            traffic_class: 0,
        };
        let mut frame = vec![0; envelope.headers_len() + 5];
        packet::build_udp(&mut frame, &envelope, b"hello").unwrap();
        frame.splice(12..12, tags.iter().copied());
        frame
    }

    #[test]
    fn an_answer_goes_back_where_the_datagram_came_from_with_its_tags() {
        for tags in [&[][..], &[0x81, 0, 0, 5]] {
            let original = datagram(tags);
            let view = View::parse(&original).unwrap();
            let udp = view.udp(&original).unwrap();
            let mut out = Vec::new();
            let settings = DatagramSettings::default();
            frame(&original, &udp, b"welcome", &settings, 1, &mut out).unwrap();
            let view = View::parse(&out).unwrap();
            let answer = view.udp(&out).unwrap();
            assert_eq!((answer.src, answer.dst), (udp.dst, udp.src));
            assert_eq!(answer.payload(&out), b"welcome");
            assert_eq!(&out[..12], [[1; 6], [2; 6]].concat());
            assert_eq!(out[12..12 + tags.len()], *tags);
            assert_eq!(answer.ttl, INITIAL_TTL);
            assert!(packet::verify_ipv4_header(&out, &answer));
            let checksum = packet::verify_udp(&out, &answer);
            assert!(matches!(checksum, packet::UdpChecksum::Good(_)));
        }
    }
}
