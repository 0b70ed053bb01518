//! What the IP headers say of messages that corex sends: the same by AF_XDP and by kernel sockets.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use corex_lab::{
    Corex, Frame, ObservedBooks, RawSocket, WorkDir,
    capture::{Capture, Captured},
    config::Family,
    corex::CorexOptions,
    frame::Mac,
    raw::Seen,
    topology::{Chain, LabHost},
    wait,
};

const ENGINES: [&str; 2] = ["socket", "xdp"];
/// How long what is to come may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nothing more comes when nothing has come for so long.
const SETTLE: Duration = Duration::from_millis(500);

/// A request of `len` bytes.
fn request(len: usize) -> Vec<u8> {
    let mut text = b"MESSAGE sip:x@10.0.2.2 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n\r\n"
        .to_vec();
    text.resize(len, b'b');
    text
}

/// IPv4's word of flags and fragment offset, and its identification.
fn flags_and_id(frame: &Seen) -> Option<(u16, u16)> {
    let at = |at: usize| {
        let word = frame.bytes.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(word))
    };
    (at(12)? == 0x0800).then_some((at(20)?, at(18)?))
}

/// What arrives at a socket: at least so much, and all until nothing more does.
fn arrived(socket: &UdpSocket, wanted: usize) -> Result<Vec<Vec<u8>>> {
    let mut buffer = vec![0; 65_535];
    let mut all = Vec::new();
    loop {
        let limit = if all.len() < wanted { PATIENCE } else { SETTLE };
        socket.set_read_timeout(Some(limit))?;
        let Ok((len, _)) = socket.recv_from(&mut buffer) else {
            break;
        };
        all.push(buffer[..len].to_vec());
    }
    Ok(all)
}

/// The first corex of a chain, whose script sends every message to where the second one would
/// be.
struct Path {
    family: Family,
    answerer: UdpSocket,
    raw: RawSocket,
    macs: (Mac, Mac),
    capture: Capture,
    corex: Corex,
    chain: Chain,
    _work: WorkDir,
}

impl Path {
    fn new(engine: &str, family: Family, parameters: &str) -> Result<Self> {
        let [user, from, to] =
            [Chain::A_USER, Chain::A_WIRE, Chain::B_WIRE].map(|host| sip(family, host));
        let text = format!(
            "listen=udp:{user}\nlisten=udp:{from}\nmhomed=1\n{parameters}\n\
             loadmodule \"corex.so\"\nrequest_route {{ send(\"{to}\"); }}\n"
        );
        Self::with_config(engine, family, &text)
    }

    fn with_config(engine: &str, family: Family, text: &str) -> Result<Self> {
        let work = WorkDir::new()?;
        let chain = Chain::new()?;
        let config = work.write("corex.cfg", text)?;
        let corex = CorexOptions::new(&config)
            .interface("user")
            .interface("wire")
            .engine(engine)
            .start(&chain.a, work.path(), "corex")?;
        Ok(Self {
            family,
            answerer: chain.b.udp(sip(family, Chain::B_WIRE))?,
            raw: RawSocket::open(&chain.uac, "eth0")?,
            macs: (chain.uac.mac("eth0")?, chain.a.mac("user")?),
            capture: Capture::start(&chain.internet, "a")?,
            corex,
            chain,
            _work: work,
        })
    }

    /// The link behind the router takes packets of 1,200 bytes at most, and corex's host isn't
    /// told so.
    fn narrow(&self) -> Result<()> {
        self.chain.internet.ip("link set dev b mtu 1200")?;
        self.chain.b.ip("link set dev wire mtu 1200")?;
        // ICMP's "fragmentation needed" is ignored, as if a firewall had dropped it.
        self.chain.a.sysctl("net.ipv4.ip_no_pmtu_disc", "2")
    }

    fn frame(&self, len: usize) -> Frame {
        Frame::udp(
            (self.macs.0, sip(self.family, Chain::UAC)),
            (self.macs.1, sip(self.family, Chain::A_USER)),
            &request(len),
        )
    }

    /// Each has a verdict before the next one comes: those that wait together leave as one frame, which the
    /// kernel divides behind where it is captured (UDP_SEGMENT).
    fn send(&self, messages: usize, frame: &Frame) -> Result<()> {
        let decided = || -> Result<u64> {
            let books = self.corex.books()?;
            Ok(books.get("user.sent") + books.sum("user.dropped"))
        };
        let before = decided()?;
        for more in 1..=messages as u64 {
            self.raw.send(&frame.build())?;
            wait::until("it has a verdict", PATIENCE, || {
                Ok((decided()? >= before + more).then_some(()))
            })?;
            // Time for the next hop to be known.
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// What corex sent, and the books.
    fn close(self) -> Result<(Vec<Seen>, ObservedBooks)> {
        let source = sip(self.family, Chain::A_WIRE);
        let frames = self.capture.stop()?.into_iter().map(|it| it.frame);
        let frames = frames
            .filter(|seen| seen.udp().is_some_and(|udp| udp.source == source))
            .collect();
        let books = self.corex.stop()?;
        books.check_balance()?;
        Ok((frames, books))
    }
}

fn sip(family: Family, host: LabHost) -> SocketAddr {
    match family {
        Family::V4 => host.sip(),
        Family::V6 => host.sip6(),
    }
}

/// That the messages left by the road which the engine stands for; before the next hop is known,
/// they leave by a kernel socket in any case.
fn check_road(engine: &str, books: &ObservedBooks) -> Result<()> {
    let road = match engine {
        "xdp" => "user.out_xdp",
        _ => "user.out_socket",
    };
    ensure!(books.get(road) > 0, "{engine}: {:#}", books.0);
    Ok(())
}

#[test]
fn a_message_larger_than_a_later_link_arrives_though_nobody_tells_of_the_link() -> Result<()> {
    for engine in ENGINES {
        let path = Path::new(engine, Family::V4, "")?;
        path.narrow()?;
        path.send(6, &path.frame(1300))?;
        let all = arrived(&path.answerer, 6)?;
        ensure!(
            all == vec![request(1300); 6],
            "{engine}: {} of 6 arrived",
            all.len()
        );
        let (frames, books) = path.close()?;
        check_road(engine, &books)?;
        let words: Vec<_> = frames.iter().filter_map(flags_and_id).collect();
        ensure!(words.len() == 6, "{engine}: {words:?}");
        ensure!(
            words.iter().all(|(flags, _)| *flags == 0),
            "{engine}: {words:?}"
        );
        // Fragments of two datagrams are not to be taken for one's.
        let ids: BTreeSet<u16> = words.iter().map(|(_, id)| *id).collect();
        ensure!(ids.len() == 6, "{engine}: {words:?}");
    }
    Ok(())
}

#[test]
fn with_pmtu_discovery_no_router_may_fragment() -> Result<()> {
    for engine in ENGINES {
        let path = Path::new(engine, Family::V4, "pmtu_discovery=1")?;
        path.narrow()?;
        path.send(4, &path.frame(400))?;
        path.send(1, &path.frame(1300))?;
        let all = arrived(&path.answerer, 4)?;
        ensure!(
            all == vec![request(400); 4],
            "{engine}: {} arrived",
            all.len()
        );
        let (frames, books) = path.close()?;
        check_road(engine, &books)?;
        let words: Vec<_> = frames.iter().filter_map(flags_and_id).collect();
        ensure!(words.len() == 5, "{engine}: {words:?}");
        ensure!(
            words.iter().all(|(flags, _)| *flags == 0x4000),
            "{engine}: {words:?}"
        );
    }
    Ok(())
}

#[test]
fn messages_have_the_type_of_service_that_is_set_and_no_ecn_whatever_they_came_with() -> Result<()>
{
    for (engine, family) in [
        ("socket", Family::V4),
        ("xdp", Family::V4),
        ("socket", Family::V6),
        ("xdp", Family::V6),
    ] {
        for (parameters, tos) in [("", 0), ("tos=0xb9", 0xb8), ("tos=IPTOS_LOWDELAY", 0x10)] {
            let path = Path::new(engine, family, parameters)?;
            let mut frame = path.frame(400);
            // DSCP AF31, "congestion experienced".
            frame.tos = 0x6b;
            path.send(5, &frame)?;
            let (frames, books) = path.close()?;
            check_road(engine, &books)?;
            let sent: Vec<u8> = frames
                .iter()
                .filter_map(Seen::udp)
                .map(|udp| udp.tos)
                .collect();
            ensure!(
                sent == [tos; 5],
                "{engine} {family:?} {parameters}: {sent:x?}"
            );
        }
    }
    Ok(())
}

/// Every way to send, each to `to`, which the checker can't know.
fn every_send(to: &str) -> String {
    let [send, uri] = ["send", "send_data"].map(|function| format!("{function}(\"$var(to)"));
    format!(
        "$var(to) = \"{to}\"; {send}\"); $var(to) = \"sip:{to}\"; {uri}\", \"$mb\"); \
         $du = \"sip:{to}\"; send(); forward();"
    )
}

#[test]
fn nothing_that_a_script_sends_to_corex_itself_leaves() -> Result<()> {
    let [user, wire] = [Chain::A_USER, Chain::A_WIRE].map(|host| host.sip().to_string());
    let exact = format!("listen=udp:{user}\nlisten=udp:{wire} advertise 203.0.113.1\nmhomed=1");
    let wildcard = "listen=udp:0.0.0.0:5060".to_owned();
    let cases = [
        (&exact, user.as_str()),
        (&exact, &wire),
        (&exact, "203.0.113.1:5060"),
        (&exact, "0.0.0.0:5060"),
        (&wildcard, &user),
        (&wildcard, &wire),
        (&wildcard, "127.0.0.9:5060"),
        // All of a loopback interface's network is the host's.
        (&wildcard, "10.77.0.9:5060"),
    ];
    for engine in ENGINES {
        for (listen, to) in cases {
            let text = format!(
                "{listen}\nloadmodule \"corex.so\"\nrequest_route {{ {} }}\n",
                every_send(to)
            );
            let path = Path::with_config(engine, Family::V4, &text)?;
            path.chain.a.ip("address add 10.77.0.1/24 dev lo")?;
            path.send(3, &path.frame(400))?;
            ensure!(arrived(&path.answerer, 0)?.is_empty(), "{engine} {to}");
            let (_, books) = path.close()?;
            ensure!(
                books.get("user.xdp_in") + books.get("user.socket_in") == 3
                    && books.get("user.dropped.send_self") == 3,
                "{engine} {to}: {:#}",
                books.0
            );
        }
    }
    Ok(())
}

#[test]
fn what_is_sent_as_it_is_has_a_hop_less_on_either_road() -> Result<()> {
    for (engine, family) in [
        ("socket", Family::V4),
        ("xdp", Family::V4),
        ("socket", Family::V6),
        ("xdp", Family::V6),
    ] {
        let path = Path::new(engine, family, "")?;
        let mut frame = path.frame(400);
        for (ttl, count) in [(17, 5), (2, 1), (1, 2)] {
            frame.ttl = ttl;
            path.send(count, &frame)?;
        }
        let (frames, books) = path.close()?;
        check_road(engine, &books)?;
        let sent: Vec<u8> = frames
            .iter()
            .filter_map(Seen::udp)
            .map(|udp| udp.ttl)
            .collect();
        ensure!(
            sent == [16, 16, 16, 16, 16, 1],
            "{engine} {family:?}: {sent:?}"
        );
        ensure!(
            books.get("user.dropped.send_ttl") == 2,
            "{engine} {family:?}: {:#}",
            books.0
        );
    }
    Ok(())
}

/// Two hosts whose scripts name each other, with a router between them.
#[test]
fn a_loop_between_two_hosts_ends() -> Result<()> {
    for engine in ENGINES {
        let work = WorkDir::new()?;
        let chain = Chain::new()?;
        let [user, a, b] =
            [Chain::A_USER, Chain::A_WIRE, Chain::B_WIRE].map(|host| host.sip().to_string());
        let start = |name, namespace, listen: &str, to: &str, interfaces: &[&str]| {
            let text = format!(
                "{listen}\nmhomed=1\nloadmodule \"corex.so\"\nrequest_route {{ send(\"{to}\"); }}\n"
            );
            let config = work.write(&format!("{name}.cfg"), text)?;
            let mut options = CorexOptions::new(&config).engine(engine);
            for interface in interfaces {
                options = options.interface(interface);
            }
            options.start(namespace, work.path(), name)
        };
        let listen = format!("listen=udp:{user}\nlisten=udp:{a}");
        let first = start("a", &chain.a, &listen, &b, &["user", "wire"])?;
        let second = start("b", &chain.b, &format!("listen=udp:{b}"), &a, &["wire"])?;
        let macs = (chain.uac.mac("eth0")?, chain.a.mac("user")?);
        let mut frame = Frame::udp(
            (macs.0, Chain::UAC.sip()),
            (macs.1, Chain::A_USER.sip()),
            &request(400),
        );
        // Odd, so that it ends at a corex and not at the router, which counts down as well.
        frame.ttl = 63;
        RawSocket::open(&chain.uac, "eth0")?.send(&frame.build())?;
        thread::sleep(Duration::from_secs(2));
        let books = [first.stop()?, second.stop()?];
        let count = |path| books.iter().map(|books| books.get(path)).sum::<u64>();
        ensure!(
            count("user.sent") == 31 && count("user.dropped.send_ttl") == 1,
            "{engine}: {} sent, {:#} {:#}",
            count("user.sent"),
            books[0].0,
            books[1].0
        );
    }
    Ok(())
}

/// The type of service of the packets that a host sends by TCP over IPv4.
fn tcp_services(frames: &[Captured], source: SocketAddr) -> Vec<u8> {
    let IpAddr::V4(source) = source.ip() else {
        return Vec::new();
    };
    let is_ours = |bytes: &[u8]| {
        bytes.get(12..14) == Some(&[8, 0][..])
            && bytes.get(23) == Some(&6)
            && bytes.get(26..30) == Some(&source.octets()[..])
    };
    let all = frames.iter().map(|seen| &seen.frame.bytes);
    all.filter(|bytes| is_ours(bytes))
        .filter_map(|bytes| bytes.get(15).copied())
        .collect()
}

#[test]
fn tcp_has_the_same_type_of_service_as_datagrams_both_ways() -> Result<()> {
    for engine in ENGINES {
        for (parameter, tos) in [("", 0), ("tos=0xb9", 0xb8)] {
            let (work, chain) = (WorkDir::new()?, Chain::new()?);
            let [user, from, to] = [Chain::A_USER, Chain::A_WIRE, Chain::B_WIRE].map(|it| it.sip());
            let config = work.write(
                "corex.cfg",
                format!(
                    "listen=tcp:{user}\nlisten=tcp:{from}\n{parameter}\nloadmodule \"corex.so\"\n\
                     loadmodule \"sl.so\"\n\
                     request_route {{ send_tcp(\"{to}\"); sl_send_reply(\"200\", \"OK\"); }}\n"
                ),
            )?;
            let corex = CorexOptions::new(&config)
                .interface("user")
                .interface("wire")
                .engine(engine)
                .start(&chain.a, work.path(), "corex")?;
            let callee = chain.b.enter(|| Ok(TcpListener::bind(to)?))?;
            let accepted = Capture::start(&chain.uac, "eth0")?;
            let opened = Capture::start(&chain.internet, "a")?;
            let mut caller = chain.uac.enter(|| Ok(TcpStream::connect(user)?))?;
            let text = "OPTIONS sip:x@10.0.2.2 SIP/2.0\r\n\
                Via: SIP/2.0/TCP 10.0.1.2:5060;branch=z9hG4bK1\r\n\
                From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
                Content-Length: 0\r\n\r\n";
            caller.write_all(text.as_bytes())?;
            let (mut callee, _) = callee.accept()?;
            for stream in [&mut callee, &mut caller] {
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                ensure!(stream.read(&mut [0; 2048])? > 0);
            }
            let (accepted, opened) = (accepted.stop()?, opened.stop()?);
            for (frames, source) in [(&accepted, user), (&opened, from)] {
                let services = tcp_services(frames, source);
                ensure!(
                    services.len() >= 2 && services.iter().all(|it| *it == tos),
                    "{engine}, {parameter}, from {source}: {services:x?}"
                );
            }
            corex.stop()?.check_balance()?;
        }
    }
    Ok(())
}
