//! Which road a packet takes: AF_XDP, the kernel's stack, or none; and whether the hook runs.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Frame, ObservedBooks, RawSocket, WorkDir,
    config::{self, Family, MARK},
    corex::CorexOptions,
    frame::{Mac, UdpChecksum},
    topology::Relay,
};

const SECOND: Duration = Duration::from_secs(1);
/// How long what is to come may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request of exactly `len` bytes, at least 25.
fn request(len: usize) -> Vec<u8> {
    let mut text = b"OPTIONS sip:".to_vec();
    let rest: &[u8] = b" SIP/2.0\r\n\r\n";
    text.resize(len - rest.len(), b'x');
    text.extend(rest);
    text
}

/// A larger one: the body makes it `len` bytes long.
fn large_request(len: usize) -> Vec<u8> {
    let mut text = b"MESSAGE sip:x@10.0.2.2 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: large\r\nCSeq: 1 MESSAGE\r\n\r\n"
        .to_vec();
    text.resize(len, b'b');
    text
}

/// One corex with a marking hook, raw frames towards it, and a socket where its messages
/// arrive.
struct Bench {
    family: Family,
    macs: (Mac, Mac),
    raw: RawSocket,
    answerer: UdpSocket,
    corex: Corex,
    relay: Relay,
    _work: WorkDir,
}

impl Bench {
    fn new(family: Family, parameters: &str, engine: &str) -> Result<Self> {
        Self::with_hook(family, parameters, engine, &config::mark())
    }

    fn with_hook(family: Family, parameters: &str, engine: &str, hook: &str) -> Result<Self> {
        Self::with_config(family, engine, config::relay(family, parameters, hook))
    }

    fn with_config(family: Family, engine: &str, text: String) -> Result<Self> {
        let work = WorkDir::new()?;
        let relay = Relay::new()?;
        let config = work.write("corex.cfg", text)?;
        let corex = CorexOptions::new(&config)
            .interface("user")
            .interface("core")
            .engine(engine)
            .start(&relay.corex, work.path(), "corex")?;
        let answerer = relay.uas.udp(Self::sip(family, Relay::UAS))?;
        answerer.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            family,
            macs: (relay.uac.mac("eth0")?, relay.corex.mac("user")?),
            raw: RawSocket::open(&relay.uac, "eth0")?,
            answerer,
            corex,
            relay,
            _work: work,
        })
    }

    fn sip(family: Family, host: corex_lab::topology::LabHost) -> SocketAddr {
        match family {
            Family::V4 => host.sip(),
            Family::V6 => host.sip6(),
        }
    }

    fn frame(&self, payload: &[u8]) -> Frame {
        Frame::udp(
            (self.macs.0, Self::sip(self.family, Relay::UAC)),
            (self.macs.1, Self::sip(self.family, Relay::USER_SIDE)),
            payload,
        )
    }

    fn send(&self, frame: &Frame) -> Result<()> {
        self.raw.send(&frame.build())
    }

    /// The next message that corex sends on.
    fn arrived(&self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 65_535];
        let (len, _) = self
            .answerer
            .recv_from(&mut buffer)
            .with_context(|| format!("nothing arrived; corex says:\n{}", self.corex.log()))?;
        buffer.truncate(len);
        Ok(buffer)
    }

    /// Checks that nothing else was sent on, and returns the balanced books.
    fn close(self) -> Result<ObservedBooks> {
        self.answerer
            .set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut buffer = [0; 64];
        ensure!(
            self.answerer.recv_from(&mut buffer).is_err(),
            "one message too many: {:?}",
            String::from_utf8_lossy(&buffer)
        );
        let books = self.corex.stop()?;
        books.check_balance()?;
        Ok(books)
    }
}

fn marked(payload: &[u8]) -> Vec<u8> {
    [payload, MARK.as_bytes()].concat()
}

fn check(books: &ObservedBooks, expected: &[(&str, u64)]) -> Result<()> {
    for (path, count) in expected {
        ensure!(
            books.get(path) == *count,
            "{path} is not {count}: {:#}",
            books.0
        );
    }
    Ok(())
}

#[test]
fn a_datagram_of_31_bytes_is_dropped_as_a_probe_and_32_are_a_message() -> Result<()> {
    for family in [Family::V4, Family::V6] {
        let bench = Bench::new(family, "", "xdp")?;
        for len in [31, 32, 33] {
            bench.send(&bench.frame(&request(len)))?;
        }
        for len in [32, 33] {
            ensure!(bench.arrived()? == marked(&request(len)));
        }
        let books = bench.close()?;
        check(
            &books,
            &[("kernel.dropped.probe", 1), ("kernel.steered", 2)],
        )?;
    }
    Ok(())
}

#[test]
fn kernel_sockets_drop_probes_alike() -> Result<()> {
    let bench = Bench::new(Family::V4, "", "socket")?;
    for len in [31, 32, 33] {
        bench.send(&bench.frame(&request(len)))?;
    }
    for len in [32, 33] {
        ensure!(bench.arrived()? == marked(&request(len)));
    }
    check(
        &bench.close()?,
        &[("user.dropped.probe", 1), ("user.socket_in", 3)],
    )
}

#[test]
fn a_message_shorter_than_min_msg_len_skips_the_hook_on_both_roads() -> Result<()> {
    for engine in ["xdp", "socket"] {
        let parameter = "modparam(\"corex\", \"min_msg_len\", 200)";
        let bench = Bench::new(Family::V4, parameter, engine)?;
        for len in [199, 200, 201] {
            bench.send(&bench.frame(&request(len)))?;
        }
        ensure!(bench.arrived()? == request(199));
        ensure!(bench.arrived()? == marked(&request(200)));
        ensure!(bench.arrived()? == marked(&request(201)));
        check(
            &bench.close()?,
            &[("user.hook_in", 2), ("user.hook_out", 2)],
        )?;
    }
    Ok(())
}

#[test]
fn frames_with_one_and_two_vlan_tags_are_steered_and_with_three_are_not() -> Result<()> {
    let bench = Bench::new(Family::V4, "", "xdp")?;
    let mut frame = bench.frame(&request(100));
    for tags in 1..=3 {
        frame.vlans = vec![(0x8100, 7); tags];
        bench.send(&frame)?;
    }
    for _ in 0..2 {
        ensure!(bench.arrived()? == marked(&request(100)));
    }
    let books = bench.close()?;
    check(
        &books,
        &[("kernel.steered", 2), ("kernel.passed.vlan_depth", 1)],
    )
}

#[test]
fn a_message_of_20000_bytes_comes_and_goes_in_fragments_and_the_hook_runs() -> Result<()> {
    for family in [Family::V4, Family::V6] {
        let bench = Bench::new(family, "", "xdp")?;
        let message = large_request(20_000);
        let caller = bench.relay.uac.udp(Bench::sip(family, Relay::UAC))?;
        caller.send_to(&message, Bench::sip(family, Relay::USER_SIDE))?;
        ensure!(bench.arrived()? == marked(&message));
        drop(caller);
        let books = bench.close()?;
        ensure!(books.get("kernel.passed.fragment") >= 13, "{:#}", books.0);
        check(
            &books,
            &[
                ("user.socket_in", 1),
                ("user.hook_in", 1),
                ("user.out_socket", 1),
            ],
        )?;
    }
    Ok(())
}

#[test]
fn a_packet_with_ip_options_is_left_to_the_kernel_and_gets_the_same_treatment() -> Result<()> {
    let bench = Bench::new(Family::V4, "", "xdp")?;
    let mut frame = bench.frame(&request(100));
    // No operation, three times, and end of list (RFC 791, section 3.1).
    frame.options = vec![1, 1, 1, 0];
    bench.send(&frame)?;
    ensure!(bench.arrived()? == marked(&request(100)));
    check(
        &bench.close()?,
        &[("kernel.passed.ip_options", 1), ("user.socket_in", 1)],
    )
}

#[test]
fn ipv6_destination_options_are_walked() -> Result<()> {
    let bench = Bench::new(Family::V6, "", "xdp")?;
    let mut frame = bench.frame(&request(100));
    frame.extensions = vec![60];
    bench.send(&frame)?;
    ensure!(bench.arrived()? == marked(&request(100)));
    check(&bench.close()?, &[("kernel.steered", 1)])
}

#[test]
fn wrong_checksums_are_dropped_and_absent_and_partial_ones_are_not() -> Result<()> {
    let bench = Bench::new(Family::V4, "", "xdp")?;
    let mut frame = bench.frame(&request(100));
    frame.wrong_ip_checksum = true;
    bench.send(&frame)?;
    frame.wrong_ip_checksum = false;
    for checksum in [
        UdpChecksum::Wrong,
        UdpChecksum::Zero,
        UdpChecksum::Partial,
        UdpChecksum::Right,
    ] {
        frame.udp_checksum = checksum;
        bench.send(&frame)?;
    }
    for _ in 0..3 {
        ensure!(bench.arrived()? == marked(&request(100)));
    }
    check(
        &bench.close()?,
        &[
            ("user.dropped.ip_checksum", 1),
            ("user.dropped.udp_checksum", 1),
        ],
    )
}

#[test]
fn padding_behind_the_packet_is_no_part_of_the_message() -> Result<()> {
    let bench = Bench::new(Family::V4, "", "xdp")?;
    let mut frame = bench.frame(&request(40));
    frame.padding = 30;
    bench.send(&frame)?;
    ensure!(bench.arrived()? == marked(&request(40)));
    check(&bench.close()?, &[("kernel.steered", 1)])
}

#[test]
fn what_is_not_sip_after_the_hook_is_dropped_and_counted() -> Result<()> {
    let bench = Bench::new(Family::V4, "", "xdp")?;
    bench.send(&bench.frame(&[0xff; 100]))?;
    thread::sleep(Duration::from_millis(100));
    check(&bench.close()?, &[("user.dropped.not_sip", 1)])
}

#[test]
fn udp_to_another_port_is_left_to_whoever_listens_there() -> Result<()> {
    let bench = Bench::new(Family::V4, "", "xdp")?;
    let mut other = Relay::USER_SIDE.sip();
    other.set_port(9999);
    let listener = bench.relay.corex.udp(other)?;
    let mut frame = bench.frame(&request(100));
    frame.destination = other;
    bench.send(&frame)?;
    let mut buffer = [0; 200];
    let (len, _) = listener.recv_from(&mut buffer)?;
    ensure!(buffer[..len] == request(100));
    ensure!(bench.close()?.get("kernel.passed.no_socket") >= 1);
    Ok(())
}

#[test]
fn a_message_that_the_hook_makes_larger_than_the_mtu_leaves_whole_by_kernel_socket() -> Result<()> {
    let double = "$avp(msg) = $mb; if (!is_incoming()) { $avp(msg) = $mb + $mb; }";
    for family in [Family::V4, Family::V6] {
        let bench = Bench::with_hook(family, "", "xdp", double)?;
        let message = request(1200);
        // The first one makes the next hop known.
        for _ in 0..2 {
            bench.send(&bench.frame(&message))?;
            ensure!(bench.arrived()? == [&message[..], &message[..]].concat());
            thread::sleep(SECOND / 4);
        }
        let books = bench.close()?;
        check(&books, &[("kernel.steered", 2), ("user.out_socket", 2)])?;
        ensure!(books.get("user.out_socket_too_big") >= 1, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn a_message_that_the_route_sends_three_times_leaves_three_times_and_counts_once() -> Result<()> {
    let family = Family::V4;
    let send = format!("send(\"{}\");", Bench::sip(family, Relay::UAS));
    let text = config::relay(family, "", config::COPY);
    ensure!(text.contains(&send));
    let bench = Bench::with_config(family, "xdp", text.replace(&send, &send.repeat(3)))?;
    let message = request(300);
    for _ in 0..4 {
        bench.send(&bench.frame(&message))?;
        for _ in 0..3 {
            ensure!(bench.arrived()? == message);
        }
        // After the first message the next hop becomes known.
        thread::sleep(SECOND / 8);
    }
    let books = bench.close()?;
    check(&books, &[("user.sent", 4), ("user.late_send_errors", 0)])?;
    ensure!(
        books.get("user.out_xdp") + books.get("user.out_socket") == 12,
        "{:#}",
        books.0
    );
    // The last of three takes the frame that came in, the others a copy.
    ensure!(books.get("user.out_in_place") >= 1, "{:#}", books.0);
    ensure!(
        books.get("user.out_xdp") > books.get("user.out_in_place"),
        "{:#}",
        books.0
    );
    Ok(())
}
