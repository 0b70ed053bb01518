//! The laboratory itself works: without that, no other test here says anything.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use corex_lab::{
    Capture, Frame, Kamailio, Namespace, RawSocket, WorkDir,
    capture::{Tshark, write_pcap},
    frame::UdpChecksum,
    namespace,
    process::output_of,
    sipp::SippOptions,
    veth, wait,
};

const LIMIT: Duration = Duration::from_secs(5);

/// Two hosts and a cable: 10.9.0.1 and fd09::1 on `left`, .2 on `right`, both `eth0`.
fn cable() -> Result<(Namespace, Namespace)> {
    let (left, right) = (Namespace::new("l")?, Namespace::new("r")?);
    veth((&left, "eth0"), (&right, "eth0"))?;
    for (namespace, host) in [(&left, 1), (&right, 2)] {
        namespace.address("eth0", &format!("10.9.0.{host}/24"))?;
        namespace.address("eth0", &format!("fd09::{host}/64"))?;
    }
    Ok((left, right))
}

fn at(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 0, host)), port)
}

fn at6(host: u8, port: u16) -> Result<SocketAddr> {
    Ok(format!("[fd09::{host}]:{port}").parse()?)
}

#[test]
fn a_dropped_namespace_is_gone_and_so_is_what_ran_in_it() -> Result<()> {
    let work = WorkDir::new()?;
    let namespace = Namespace::new("gone")?;
    let name = namespace.name().to_owned();
    let sleeper = namespace.spawn("sleep", &["60"], &work.join("sleep.log"))?;
    // `ip netns exec` takes a moment to get inside; what is on its way isn't what ran in it.
    let pid = sleeper.pid().to_string();
    wait::until("the process is inside", LIMIT, || {
        let inside = output_of(Command::new("ip").args(["netns", "pids", &name]))?;
        Ok(inside
            .split_whitespace()
            .any(|one| one == pid)
            .then_some(()))
    })?;
    assert!(sleeper.status()?.is_none());
    drop(namespace);
    wait::until("the process is gone", LIMIT, || sleeper.status())?;
    assert!(!output_of(Command::new("ip").args(["netns", "list"]))?.contains(&name));
    Ok(())
}

#[test]
fn a_namespace_whose_owner_died_is_swept() -> Result<()> {
    // Beyond the largest process id that Linux gives out (proc(5), pid_max).
    let orphan = "cx4194999-0orphan";
    output_of(Command::new("ip").args(["netns", "add", orphan]))?;
    let mine = Namespace::new("mine")?;
    assert!(namespace::sweep()?.contains(&orphan.to_owned()));
    let left = output_of(Command::new("ip").args(["netns", "list"]))?;
    assert!(!left.contains(orphan));
    assert!(left.contains(mine.name()));
    Ok(())
}

#[test]
fn sipp_calls_sipp_over_ipv4_and_ipv6() -> Result<()> {
    let work = WorkDir::new()?;
    let (left, right) = cable()?;
    for (caller, answerer) in [(at(1, 5060), at(2, 5060)), (at6(1, 5060)?, at6(2, 5060)?)] {
        let uas = SippOptions::uas(answerer).start(&right, work.path(), "uas")?;
        let uac = SippOptions::uac(caller, answerer, 50, 100).start(&left, work.path(), "uac")?;
        uac.finish(Duration::from_secs(20))?.check(50)?;
        uas.stop()?.check(50)?;
    }
    Ok(())
}

#[test]
fn crafted_frames_reach_a_socket_unless_their_checksum_is_wrong() -> Result<()> {
    let (left, right) = cable()?;
    let macs = (left.mac("eth0")?, right.mac("eth0")?);
    let raw = RawSocket::open(&left, "eth0")?;
    for (from, to) in [(at(1, 4000), at(2, 4000)), (at6(1, 4000)?, at6(2, 4000)?)] {
        let socket = right.udp(to)?;
        let mut frame = Frame::udp((macs.0, from), (macs.1, to), b"wrong");
        frame.udp_checksum = UdpChecksum::Wrong;
        raw.send(&frame.build())?;
        frame.udp_checksum = UdpChecksum::Right;
        frame.payload = vec![b'f'; 3000];
        for fragment in frame.fragments(1400) {
            raw.send(&fragment)?;
        }
        let mut buffer = [0; 4096];
        let (len, peer) = socket.recv_from(&mut buffer).context("no datagram")?;
        assert_eq!(&buffer[..len], frame.payload);
        assert_eq!(peer, from);
    }
    Ok(())
}

#[test]
fn a_frame_is_received_as_it_was_sent_with_its_vlan_tags() -> Result<()> {
    let (left, right) = cable()?;
    let macs = (left.mac("eth0")?, right.mac("eth0")?);
    let (sender, receiver) = (
        RawSocket::open(&left, "eth0")?,
        RawSocket::open(&right, "eth0")?,
    );
    let mut frame = Frame::udp((macs.0, at(1, 1)), (macs.1, at(2, 2)), b"tagged twice");
    frame.vlans = vec![(0x88a8, 5), (0x8100, 6)];
    frame.ttl = 7;
    sender.send(&frame.build())?;
    let received = receiver.receive_udp(LIMIT, |udp| udp.payload == frame.payload)?;
    assert_eq!(received.vlans, frame.vlans);
    assert_eq!(received.ttl, 7);
    assert!(received.ip_checksum_right && received.udp_checksum_right);
    Ok(())
}

#[test]
fn tshark_reads_a_capture_and_judges_its_checksums() -> Result<()> {
    let work = WorkDir::new()?;
    let (left, right) = cable()?;
    let macs = (left.mac("eth0")?, right.mac("eth0")?);
    let capture = Capture::start(&right, "eth0")?;
    let raw = RawSocket::open(&left, "eth0")?;
    let mut frame = Frame::udp((macs.0, at(1, 7000)), (macs.1, at(2, 7001)), b"payload");
    raw.send(&frame.build())?;
    frame.udp_checksum = UdpChecksum::Wrong;
    raw.send(&frame.build())?;
    let file = work.join("cable.pcap");
    write_pcap(&capture.stop()?, &file)?;
    let rows =
        Tshark::open(&file)?.fields("udp.port == 7001 and not icmp", &["udp.checksum.status"])?;
    assert_eq!(rows, [["1"], ["0"]]);
    Ok(())
}

#[test]
fn kamailio_answers_in_a_namespace() -> Result<()> {
    let work = WorkDir::new()?;
    let (left, right) = cable()?;
    let config = "#!KAMAILIO\n\
        children=1\n\
        disable_tcp=yes\n\
        listen=udp:10.9.0.2:5060\n\
        loadmodule \"corex.so\"\n\
        request_route { send_udp(\"10.9.0.1:5090\"); exit; }\n";
    let kamailio = Kamailio::start(&right, work.path(), "kamailio", config, 5060)?;
    let peer = left.udp(at(1, 5090))?;
    let request = "OPTIONS sip:x@10.9.0.2 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.9.0.1:5090;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
        Content-Length: 0\r\n\r\n";
    peer.send_to(request.as_bytes(), at(2, 5060))?;
    let mut buffer = [0; 2048];
    let (len, from) = peer.recv_from(&mut buffer).context("no answer")?;
    assert_eq!((from, &buffer[..len]), (at(2, 5060), request.as_bytes()));
    kamailio.stop();
    Ok(())
}
