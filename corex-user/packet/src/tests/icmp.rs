//! What tells a sender that its datagram is too long.

use std::net::IpAddr;

use super::{datagram::*, *};

fn error(frame: &[u8], mtu: usize, from: IpAddr) -> Option<Vec<u8>> {
    let view = View::parse(frame).unwrap();
    // What is in the buffer already isn't part of it.
    let mut out = vec![0xee; 30];
    too_big(frame, &view, mtu, from, &mut out).then_some(out)
}

fn about(datagram: &Datagram, mtu: usize) -> Option<Vec<u8>> {
    error(&datagram.frame(), mtu, datagram.dst)
}

#[test]
fn it_goes_back_to_the_sender_with_the_mtu_and_the_datagrams_beginning() {
    let router: IpAddr = "203.0.113.1".parse().unwrap();
    let datagram = Datagram {
        tags: vec![[0x81, 0, 0x20, 9]],
        ..Datagram::v4(b"hello")
    };
    let frame = datagram.frame();
    let error = error(&frame, 1_400, router).unwrap();
    assert_eq!((&error[..6], &error[6..12]), (&frame[6..12], &frame[..6]));
    assert_eq!(error[12..18], frame[12..18]);
    let (ip, icmp) = error[18..].split_at(20);
    assert_eq!(ip[..2], [0x45, 0]);
    assert_eq!(
        usize::from(u16::from_be_bytes([ip[2], ip[3]])),
        error.len() - 18
    );
    assert_eq!((ip[9], naive_sum(&[ip])), (1, 0xffff));
    assert_eq!(ip[12..16], [203, 0, 113, 1]);
    assert_eq!(ip[16..20], datagram.addresses()[..4]);
    assert_eq!(icmp[..2], [3, 4]);
    assert_eq!(icmp[4..8], [0, 0, 0x05, 0x78]);
    assert_eq!(naive_sum(&[icmp]), 0xffff);
    assert_eq!(icmp[8..], frame[18..]);
}

#[test]
fn over_ipv6_too() {
    let datagram = Datagram {
        extensions: vec![(60, 16)],
        ..Datagram::v6(b"hello!!")
    };
    let frame = datagram.frame();
    let error = about(&datagram, 1_400).unwrap();
    assert_eq!((&error[..6], &error[6..12]), (&frame[6..12], &frame[..6]));
    assert_eq!(error[12..14], [0x86, 0xdd]);
    let (ip, icmp) = error[14..].split_at(40);
    assert_eq!(ip[..4], [0x60, 0, 0, 0]);
    assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), icmp.len());
    assert_eq!(ip[6], 58);
    assert_eq!(ip[8..24], datagram.addresses()[16..]);
    assert_eq!(ip[24..40], datagram.addresses()[..16]);
    assert_eq!(icmp[..2], [2, 0]);
    assert_eq!(icmp[4..8], 1_400u32.to_be_bytes());
    let len = (icmp.len() as u32).to_be_bytes();
    assert_eq!(naive_sum(&[&ip[8..40], &len, &[0, 0, 0, 58], icmp]), 0xffff);
    assert_eq!(icmp[8..], frame[14..]);
}

#[test]
fn no_more_is_quoted_than_the_error_may_be_long() {
    for (datagram, most) in [(Datagram::v4(b""), 576), (Datagram::v6(b""), 1_280)] {
        for payload in [most - 100, most, 5_000] {
            let datagram = Datagram {
                payload: vec![7; payload],
                ..datagram.clone()
            };
            let (frame, error) = (datagram.frame(), about(&datagram, 1_400).unwrap());
            let packet = &frame[14..];
            let headers = if datagram.is_ipv4() { 28 } else { 48 };
            let quoted = packet.len().min(most - headers);
            assert_eq!(error.len(), 14 + headers + quoted);
            assert_eq!(error[14 + headers..], packet[..quoted]);
        }
    }
}

#[test]
fn padding_is_not_quoted() {
    let mut frame = Datagram::v4(b"").frame();
    let len = frame.len();
    frame.resize(60, 0xee);
    let error = error(&frame, 1_400, Datagram::v4(b"").dst).unwrap();
    assert_eq!(error.len(), len + 28);
}

#[test]
fn the_mtu_is_what_the_field_can_say_and_ipv6_can_have() {
    for (mtu, v4, v6) in [
        (0, 0, 1_280),
        (600, 600, 1_280),
        (1_279, 1_279, 1_280),
        (1_281, 1_281, 1_281),
        (70_000, 0xffff, 70_000),
        (usize::MAX, 0xffff, u32::MAX),
    ] {
        let error = about(&Datagram::v4(b""), mtu).unwrap();
        assert_eq!(error[40..42], u16::to_be_bytes(v4));
        let error = about(&Datagram::v6(b""), mtu).unwrap();
        assert_eq!(error[58..62], u32::to_be_bytes(v6));
    }
}

#[test]
fn nobody_is_told_who_is_not_one_host() {
    for src in [
        "0.0.0.0",
        "224.0.0.1",
        "239.1.2.3",
        "255.255.255.255",
        "::",
        "ff02::1",
    ] {
        let src: IpAddr = src.parse().unwrap();
        let datagram = match src {
            IpAddr::V4(_) => Datagram::v4(b""),
            IpAddr::V6(_) => Datagram::v6(b""),
        };
        let from = datagram.dst;
        let datagram = Datagram { src, ..datagram };
        assert_eq!(error(&datagram.frame(), 1_400, from), None, "{src}");
        // Nor does it come from there.
        let datagram = Datagram {
            src: from,
            dst: from,
            ..datagram
        };
        assert_eq!(error(&datagram.frame(), 1_400, src), None, "{src}");
    }
}

#[test]
fn over_ipv4_nobody_is_told_of_what_went_to_many() {
    let from: IpAddr = "198.51.100.7".parse().unwrap();
    for dst in ["224.0.0.1", "255.255.255.255", "0.0.0.0"] {
        let datagram = Datagram {
            dst: dst.parse().unwrap(),
            ..Datagram::v4(b"")
        };
        assert_eq!(error(&datagram.frame(), 1_400, from), None, "{dst}");
    }
    let mut to_all = Datagram::v4(b"");
    to_all.macs[0] = [0xff; 6];
    assert_eq!(about(&to_all, 1_400), None);
    // Over IPv6 that is how the path to a group is measured.
    let to_group = Datagram {
        dst: "ff0e::7".parse().unwrap(),
        macs: [[0x33, 0x33, 0, 0, 0, 7], [2, 0, 0, 0, 0, 1]],
        ..Datagram::v6(b"")
    };
    let from = "2001:db8::1".parse().unwrap();
    assert!(error(&to_group.frame(), 1_400, from).is_some());
}

#[test]
fn it_is_about_the_first_fragment_only() {
    for datagram in Datagram::both(&[]) {
        for (offset, more, is_told) in [(0, true, true), (8, true, false), (8, false, false)] {
            let frame = datagram.fragment(1, offset, more, &[7; 16]);
            let error = error(&frame, 1_400, datagram.dst);
            assert_eq!(error.is_some(), is_told);
        }
    }
}

#[test]
fn an_address_of_the_other_family_tells_nothing() {
    let [v4, v6] = Datagram::both(b"");
    assert_eq!(error(&v4.frame(), 1_400, v6.dst), None);
    assert_eq!(error(&v6.frame(), 1_400, v4.dst), None);
}
