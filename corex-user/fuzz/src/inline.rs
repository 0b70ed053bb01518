//! Frames of inline mode.

use std::time::Duration;

use corex_packet::{
    Limits, Lost, Manner, ParseError, Reassembler, RewriteError, Rewriter, UdpChecksum, View,
    complete_checksum, parse, too_big, verify_udp,
};

const LIMITS: Limits = Limits {
    max_bytes: 4_096,
    max_datagrams: 8,
    max_of_source: 4,
    max_pieces: 8,
    lifetime: Duration::from_secs(1),
};

/// Takes the input for frames, each behind a byte with what the clock goes forward and two with its
/// length. They are put together, and each datagram is given another payload.
///
/// # Panics
/// When a fragment is neither kept nor counted, or what comes out isn't what went in.
pub fn inline(data: &[u8]) {
    let mut reassembler = Reassembler::new(LIMITS);
    let mut rewriter = Rewriter::default();
    let mut lost = Lost::default();
    let mut now = Duration::ZERO;
    let (mut pushed, mut given) = (0, 0);
    let mut rest = data;
    while let Some(([wait, hi, lo], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*hi, *lo])).min(behind.len());
        let (frame, after) = behind.split_at(len);
        rest = after;
        now += Duration::from_millis(u64::from(*wait));
        let Ok(view) = View::parse(frame) else {
            continue;
        };
        assert!(view.l3 < view.next_at && view.next_at < view.per_fragment_end);
        assert!(view.per_fragment_end <= view.header_end && view.header_end <= view.ip_end);
        assert!(view.ip_end <= frame.len());
        if view.fragment.is_none() {
            datagram(&mut rewriter, frame, &view);
            continue;
        }
        pushed += 1;
        if let Some(whole) = reassembler.push(frame, &view, now, &mut lost) {
            given += whole.pieces.len();
            match View::parse(&whole.frame) {
                Ok(view) => {
                    assert_eq!(view.ip_end, whole.frame.len());
                    assert!(view.header_is_intact(&whole.frame));
                    datagram(&mut rewriter, &whole.frame, &view);
                }
                // Only now is seen what was behind the fragment header.
                Err(error) => {
                    assert!(view.src.is_ipv6(), "{error}");
                    assert!(matches!(
                        error,
                        ParseError::ExtHeader | ParseError::Malformed
                    ));
                }
            }
        }
        let counted = lost.overlap + lost.duplicate + lost.malformed + lost.full + lost.timeout;
        let held = reassembler.held();
        assert_eq!(pushed, given + counted as usize + held);
        assert!(held <= LIMITS.max_datagrams * LIMITS.max_pieces);
    }
    reassembler.expire(Duration::MAX, &mut lost);
    assert_eq!(reassembler.held(), 0);
}

/// Goes out with another payload, whole and in pieces.
fn datagram(rewriter: &mut Rewriter, frame: &[u8], view: &View) {
    let mut error = Vec::new();
    if too_big(frame, view, 1_400, view.dst, &mut error) {
        let shown = View::parse(&error).expect("our own error");
        assert_eq!((shown.src, shown.dst), (view.dst, view.src));
    }
    let Ok(udp) = view.udp(frame) else { return };
    if let Ok(parsed) = parse(frame) {
        assert_eq!(parsed, udp);
    }
    let mut completed = frame.to_vec();
    complete_checksum(&mut completed, &udp);
    let is_good = |checksum| checksum != UdpChecksum::Bad;
    assert_eq!(
        is_good(verify_udp(&completed, &udp)),
        is_good(verify_udp(frame, &udp))
    );

    let payload: Vec<u8> = udp
        .payload(frame)
        .iter()
        .rev()
        .copied()
        .chain(0..200)
        .collect();
    for (mtu, may_fragment) in [
        (usize::MAX, false),
        (1_280, true),
        (200, true),
        (200, false),
    ] {
        let manner = Manner {
            src_mac: None,
            mtu,
            identification: 7,
            may_fragment,
        };
        let mut frames = Vec::new();
        let result = rewriter.replace_payload(frame, view, &udp, &payload, &manner, &mut |frame| {
            frames.push(frame.to_vec());
            true
        });
        match result {
            Ok(sent) => {
                assert_eq!(sent.frames, frames.len());
                arrives(&frames, mtu, view, &payload);
            }
            Err(RewriteError::TooBig | RewriteError::TooLong(_)) => {
                assert!(frames.is_empty());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The frames are those of a datagram with this payload.
fn arrives(frames: &[Vec<u8>], mtu: usize, original: &View, payload: &[u8]) {
    let limits = Limits {
        max_bytes: usize::MAX,
        max_pieces: usize::MAX,
        ..LIMITS
    };
    let mut reassembler = Reassembler::new(limits);
    let mut lost = Lost::default();
    let mut arrived = None;
    for frame in frames {
        let view = View::parse(frame).expect("our own frame");
        assert!(view.ip_end == frame.len() && frame.len() - view.l3 <= mtu);
        assert!(view.header_is_intact(frame));
        assert!(arrived.is_none(), "something behind the end");
        arrived = match view.fragment {
            None => Some(frame.clone()),
            Some(_) => reassembler
                .push(frame, &view, Duration::ZERO, &mut lost)
                .map(|whole| whole.frame),
        };
    }
    assert_eq!(lost, Lost::default());
    let whole = arrived.expect("all of it");
    let view = View::parse(&whole).expect("our own frame");
    assert_eq!((view.src, view.dst), (original.src, original.dst));
    assert_eq!(view.header_end, original.header_end);
    let udp = view.udp(&whole).expect("our own datagram");
    assert_eq!(udp.payload(&whole), payload);
    assert_ne!(verify_udp(&whole, &udp), UdpChecksum::Bad);
}
