//! AF_XDP goes past the kernel's stack, and must take no more than the stack does: frames for this
//! host, from sources that can be, to local addresses, as the host is now.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Frame, ObservedBooks, RawSocket, WorkDir,
    config::{self, Family, MARK},
    corex::CorexOptions,
    frame::Mac,
    topology::{Inline, LabHost, PORT, Relay},
    wait,
};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// How long what is handled takes to arrive, at most.
const SETTLE: Duration = Duration::from_millis(700);
/// How long what is to come may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);
const FOREIGN: &str = "02:11:22:33:44:55";
const BROADCAST: &str = "ff:ff:ff:ff:ff:ff";
const MULTICAST: &str = "01:00:5e:00:00:01";

/// A request that is known by its name.
fn request(name: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:x@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: {name}\r\nCSeq: 1 OPTIONS\r\n\r\n"
    )
    .into_bytes()
}

/// Names of the requests that arrive: at least so many, and all until nothing comes for a while.
fn arrived(socket: &UdpSocket, wanted: usize) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    socket.set_read_timeout(Some(if wanted == 0 { SETTLE } else { PATIENCE }))?;
    let mut buffer = [0; 2048];
    while let Ok(len) = socket.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..len]);
        let name = text.split("Call-ID: ").nth(1).context("no Call-ID")?;
        let name = name.split_whitespace().next().unwrap_or_default();
        names.insert(name.to_owned());
        if names.len() >= wanted {
            socket.set_read_timeout(Some(SETTLE))?;
        }
    }
    Ok(names)
}

fn sip(family: Family, host: LabHost) -> SocketAddr {
    SocketAddr::new(family.of(host), PORT)
}

/// A corex that listens on the wildcard address and sends all to the answering host.
struct Bench {
    family: Family,
    raw: RawSocket,
    answerer: UdpSocket,
    corex: Corex,
    relay: Relay,
    _work: WorkDir,
}

impl Bench {
    fn new(family: Family, engine: &str) -> Result<Self> {
        let any = match family {
            Family::V4 => "0.0.0.0",
            Family::V6 => "[::]",
        };
        Self::listening(family, any, engine)
    }

    fn listening(family: Family, on: &str, engine: &str) -> Result<Self> {
        let work = WorkDir::new()?;
        let relay = Relay::new()?;
        let answerer = sip(family, Relay::UAS);
        // A host whose link-local address is still tentative asks for no neighbour.
        let mac = relay.uas.mac("eth0")?;
        relay.corex.neighbour("core", answerer.ip(), mac)?;
        let text = format!(
            "listen=udp:{on}:{PORT}\nloadmodule \"corex.so\"\n\
             request_route {{ send(\"{answerer}\"); }}\n"
        );
        let config = work.write("corex.cfg", text)?;
        let corex = CorexOptions::new(&config)
            .interface("user")
            .engine(engine)
            .start(&relay.corex, work.path(), "corex")?;
        Ok(Self {
            family,
            raw: RawSocket::open(&relay.uac, "eth0")?,
            answerer: relay.uas.udp(answerer)?,
            corex,
            relay,
            _work: work,
        })
    }

    /// An ordinary one.
    fn frame(&self, name: &str) -> Result<Frame> {
        Ok(Frame::udp(
            (self.relay.uac.mac("eth0")?, sip(self.family, Relay::UAC)),
            (
                self.relay.corex.mac("user")?,
                sip(self.family, Relay::USER_SIDE),
            ),
            &request(name),
        ))
    }

    fn send(&self, frame: &Frame) -> Result<()> {
        self.raw.send(&frame.build())
    }

    /// Whether it arrives under that name.
    fn arrives(&self, frame: &Frame, name: &str) -> Result<bool> {
        self.send(frame)?;
        Ok(arrived(&self.answerer, 1)?.contains(name))
    }

    /// Whether nothing comes of it.
    fn is_left_alone(&self, frame: &Frame) -> Result<bool> {
        self.send(frame)?;
        Ok(arrived(&self.answerer, 0)?.is_empty())
    }

    /// Waits until the log has told so many times that something has changed: the maps know it then.
    fn until_told(&self, change: &str, times: u64) -> Result<()> {
        self.until_told_one_of(&[change], times)
    }

    /// The same, in one of these ways.
    fn until_told_one_of(&self, changes: &[&str], times: u64) -> Result<()> {
        wait::until(&changes.join(" or "), PATIENCE, || {
            let log = self.corex.log();
            let told = log.lines().filter(|line| {
                line.contains("the host has changed: ")
                    && changes.iter().any(|change| line.contains(change))
            });
            Ok((told.count() as u64 >= times).then_some(()))
        })
    }

    /// An address of corex's host on this side that it doesn't have yet.
    fn floating(&self) -> IpAddr {
        self.family.of(LabHost {
            v4: [10, 0, 1, 77].into(),
            v6: [0xfd00, 0, 0, 1, 0, 0, 0, 0x77].into(),
        })
    }
}

/// What arrives of these frames, to which an ordinary one is added, with AF_XDP and by the
/// kernel's sockets alone; and the books of the first.
fn on_both_engines(
    family: Family,
    frames: impl Fn(&Bench) -> Result<Vec<Frame>>,
) -> Result<(BTreeSet<String>, ObservedBooks)> {
    let mut outcomes = Vec::new();
    for engine in ["xdp", "socket"] {
        let bench = Bench::new(family, engine)?;
        for frame in frames(&bench)? {
            bench.send(&frame)?;
        }
        bench.send(&bench.frame("ordinary")?)?;
        let names = arrived(&bench.answerer, 1)?;
        ensure!(
            names.contains("ordinary"),
            "{engine}: {}",
            bench.corex.log()
        );
        outcomes.push((names, bench.corex.stop()?));
    }
    let by_socket = outcomes.pop().context("two engines")?.0;
    let (by_xdp, books) = outcomes.pop().context("two engines")?;
    ensure!(
        by_xdp == by_socket,
        "{by_xdp:?}, by the stack {by_socket:?}"
    );
    Ok((by_xdp, books))
}

/// Those of [`martians`] that the stack takes where `rp_filter` is 0: its decision.
const TAKEN: [&str; 2] = ["from-0.1.2.3", "from-10.0.1.255"];

fn martians(family: Family) -> Vec<IpAddr> {
    let texts: &[&str] = match family {
        Family::V4 => &[
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.1.2.3",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "10.0.1.255",
            "10.0.1.1",
            "10.0.2.1",
        ],
        Family::V6 => &[
            "::",
            "::1",
            "ff02::1",
            "ff0e::1",
            "::ffff:10.0.1.2",
            "::ffff:127.0.0.1",
            "fd00:0:0:1::1",
            "fd00:0:0:2::1",
        ],
    };
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

#[test]
fn a_source_that_the_wire_cannot_have_is_left_to_the_stack() -> Result<()> {
    for family in FAMILIES {
        let sources = martians(family);
        let (names, books) = on_both_engines(family, |bench| {
            let of_source = |source: &IpAddr| {
                let mut frame = bench.frame(&format!("from-{source}"))?;
                frame.source = SocketAddr::new(*source, PORT);
                Ok(frame)
            };
            sources.iter().map(of_source).collect()
        })?;
        ensure!(
            books.get("kernel.passed.martian") == sources.len() as u64
                && books.get("kernel.steered") == 1,
            "{:?}",
            books.group("kernel.passed")
        );
        let mut refused = names.iter().filter(|name| !TAKEN.contains(&name.as_str()));
        let refused_only = refused.all(|name| name == "ordinary");
        // Of IPv6 it takes its own addresses and the unspecified one, too.
        ensure!(family == Family::V6 || refused_only, "{names:?}");
        books.check_balance()?;
    }
    Ok(())
}

#[test]
fn a_frame_for_another_mac_or_for_a_group_is_left_to_the_stack() -> Result<()> {
    for family in FAMILIES {
        let macs = [FOREIGN, BROADCAST, MULTICAST];
        let (names, books) = on_both_engines(family, |bench| {
            let to_mac = |mac: &&str| {
                let mut frame = bench.frame(mac)?;
                frame.ethernet.0 = mac.parse()?;
                Ok(frame)
            };
            macs.iter().map(to_mac).collect()
        })?;
        ensure!(
            books.get("kernel.passed.foreign_mac") == macs.len() as u64
                && books.get("kernel.steered") == 1,
            "{:?}",
            books.group("kernel.passed")
        );
        ensure!(!names.contains(FOREIGN), "{names:?}");
        books.check_balance()?;
    }
    Ok(())
}

#[test]
fn a_router_with_a_wildcard_listener_forwards_sip_for_other_hosts() -> Result<()> {
    for family in FAMILIES {
        let bench = Bench::new(family, "xdp")?;
        let corex = &bench.relay.corex;
        corex.sysctl("net.ipv4.ip_forward", "1")?;
        corex.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        let caller = bench.relay.uac.udp(sip(family, Relay::UAC))?;
        // A keep-alive, which would be a probe if it were for corex, among them.
        let short: &[u8] = b"\r\n\r\n";
        let transit = request("transit");
        for payload in [short, &transit, short, &transit] {
            caller.send_to(payload, sip(family, Relay::UAS))?;
            let mut buffer = [0; 2048];
            let (len, from) = bench.answerer.recv_from(&mut buffer)?;
            ensure!(&buffer[..len] == payload, "{len} bytes");
            ensure!(from == sip(family, Relay::UAC), "from {from}");
        }
        caller.send_to(&request("ours"), sip(family, Relay::USER_SIDE))?;
        ensure!(
            arrived(&bench.answerer, 1)?.contains("ours"),
            "not by corex"
        );
        let books = bench.corex.stop()?;
        ensure!(books.get("kernel.passed.not_local") == 4);
        ensure!(books.get("kernel.steered") == 1 && books.get("user.sent") == 1);
        books.check_balance()?;
    }
    Ok(())
}

/// A listener on the wildcard address, and one on an address that comes and goes.
#[test]
fn an_address_is_served_from_when_it_is_there_until_it_is_gone() -> Result<()> {
    for family in FAMILIES {
        let bench = Bench::new(family, "xdp")?;
        let floating = bench.floating();
        let mut frame = bench.frame("floating")?;
        frame.destination = SocketAddr::new(floating, PORT);
        ensure!(bench.is_left_alone(&frame)?, "not ours yet");
        let len = if floating.is_ipv4() { 24 } else { 64 };
        for round in 1..=2 {
            let corex = &bench.relay.corex;
            corex.address("user", &format!("{floating}/{len}"))?;
            bench.until_told(&format!("user got {floating}"), round)?;
            ensure!(bench.arrives(&frame, "floating")?, "{round}");
            ensure!(bench.corex.books()?.get("kernel.steered") == round);
            corex.ip(&format!("address del {floating}/{len} dev user"))?;
            bench.until_told(&format!("user lost {floating}"), round)?;
            ensure!(bench.is_left_alone(&frame)?, "ours no more");
            let books = bench.corex.books()?;
            ensure!(books.get("kernel.steered") == round);
            ensure!(books.get("kernel.passed.not_local") == round + 1);
        }
        for line in
            ["got", "lost"].map(|verb| format!("the host has changed: user {verb} {floating}"))
        {
            let log = bench.corex.log();
            ensure!(log.matches(&line).count() == 2, "{line}\n{log}");
        }
    }
    Ok(())
}

#[test]
fn a_listener_whose_address_has_moved_to_another_host_takes_its_packets_no_more() -> Result<()> {
    let address = Relay::USER_SIDE.v4.to_string();
    let bench = Bench::listening(Family::V4, &address, "xdp")?;
    let frame = bench.frame("moving")?;
    ensure!(bench.arrives(&frame, "moving")?);
    bench
        .relay
        .corex
        .ip(&format!("address del {address}/24 dev user"))?;
    bench.until_told(&format!("user lost {address}"), 1)?;
    ensure!(bench.is_left_alone(&frame)?);
    let books = bench.corex.books()?;
    ensure!(books.get("kernel.steered") == 1 && books.get("kernel.passed.not_local") == 1);
    Ok(())
}

#[test]
fn a_mac_that_changes_is_followed() -> Result<()> {
    for family in FAMILIES {
        let bench = Bench::new(family, "xdp")?;
        let old = bench.frame("old")?;
        ensure!(bench.arrives(&old, "old")?);
        let mac = "02:00:00:00:07:07";
        bench
            .relay
            .corex
            .ip(&format!("link set dev user address {mac}"))?;
        bench.until_told(&format!("user has the MAC {mac}"), 1)?;
        let mut new = bench.frame("new")?;
        new.ethernet.0 = mac.parse()?;
        ensure!(bench.arrives(&new, "new")?);
        ensure!(bench.is_left_alone(&old)?);
        let books = bench.corex.stop()?;
        ensure!(books.get("kernel.steered") == 2);
        ensure!(books.get("kernel.passed.foreign_mac") == 1);
    }
    Ok(())
}

/// What VRRP does: a macvlan with the virtual router's MAC comes and goes.
#[test]
fn the_mac_of_a_macvlan_is_ours_as_long_as_it_is_there() -> Result<()> {
    let bench = Bench::new(Family::V4, "xdp")?;
    let virtual_mac = "00:00:5e:00:01:07";
    let mut frame = bench.frame("virtual")?;
    frame.ethernet.0 = virtual_mac.parse()?;
    ensure!(bench.is_left_alone(&frame)?);
    let corex = &bench.relay.corex;
    corex.ip(&format!(
        "link add link user name vrrp7 address {virtual_mac} type macvlan mode bridge"
    ))?;
    corex.ip("link set dev vrrp7 up")?;
    // At once, or with a look between.
    bench.until_told_one_of(&["vrrp7 is up", "vrrp7 is new and up"], 1)?;
    ensure!(bench.arrives(&frame, "virtual")?);
    corex.ip("link del dev vrrp7")?;
    bench.until_told("vrrp7 is gone", 1)?;
    ensure!(bench.is_left_alone(&frame)?);
    let books = bench.corex.stop()?;
    ensure!(books.get("kernel.steered") == 1);
    ensure!(books.get("kernel.passed.foreign_mac") == 2);
    books.check_balance()
}

#[test]
fn a_burst_of_changes_is_followed_to_its_end() -> Result<()> {
    let bench = Bench::new(Family::V4, "xdp")?;
    let batch: String = (0..200)
        .flat_map(|n| ["add", "del"].map(|verb| format!("address {verb} 10.9.{n}.1/32 dev user\n")))
        .chain([format!("address add {}/32 dev user\n", bench.floating())])
        .collect();
    let file = bench._work.write("burst", batch)?;
    bench
        .relay
        .corex
        .ip(&format!("-batch {}", file.display()))?;
    let mut frame = bench.frame("floating")?;
    frame.destination = SocketAddr::new(bench.floating(), PORT);
    // The line in the log may have been cut before it names the last address.
    wait::until("the address is served", PATIENCE, || {
        Ok((!bench.is_left_alone(&frame)?).then_some(()))
    })?;
    ensure!(bench.corex.books()?.get("kernel.steered") >= 1);
    let log = bench.corex.log();
    let lines = log.matches("the host has changed").count();
    ensure!(lines <= 400, "{lines} lines");
    Ok(())
}

/// Inline mode in front of a server, and raw frames towards it.
fn inline(parameters: &str) -> Result<(Inline, WorkDir, Corex, UdpSocket, RawSocket)> {
    let lab = Inline::new()?;
    let work = WorkDir::new()?;
    let server = lab.server.udp(Inline::SERVER.sip())?;
    let text = config::inline(&[Inline::SERVER.sip()], parameters, &config::mark());
    let config = work.write("corex.cfg", text)?;
    let corex =
        CorexOptions::new(&config)
            .interface("eth0")
            .start(&lab.server, work.path(), "corex")?;
    let raw = RawSocket::open(&lab.internet, "s")?;
    Ok((lab, work, corex, server, raw))
}

fn inline_frame(lab: &Inline, mac: Mac, source: IpAddr, name: &str) -> Result<Frame> {
    let from = (lab.internet.mac("s")?, SocketAddr::new(source, PORT));
    Ok(Frame::udp(
        from,
        (mac, Inline::SERVER.sip()),
        &request(name),
    ))
}

#[test]
fn inline_mode_takes_no_more_than_the_stack_and_closed_lets_nothing_past_the_hook() -> Result<()> {
    let closed = "modparam(\"corex\", \"on_failure\", \"closed\")";
    for (parameters, verdict, taken) in [("", "passed", 0), (closed, "dropped", 2)] {
        let (lab, _work, corex, server, raw) = inline(parameters)?;
        let own = lab.server.mac("eth0")?;
        let device = IpAddr::V4(Inline::DEVICE.v4);
        let send = |mac: Mac, source, name: &str| -> Result<()> {
            raw.send(&inline_frame(&lab, mac, source, name)?.build())
        };
        send(FOREIGN.parse()?, device, "foreign")?;
        // The last two are taken by the stack where `rp_filter` is 0.
        let martians = ["127.0.0.1", "0.0.0.0", "224.0.0.1", "10.0.2.2"];
        let taken = ["10.0.2.255", "0.1.2.3"].into_iter().take(taken);
        let mut sent = 0;
        for source in martians.into_iter().chain(taken) {
            send(own, source.parse()?, "martian")?;
            sent += 1;
        }
        send(own, device, "ordinary")?;
        // The stack takes it, so it must meet the hook.
        send(BROADCAST.parse()?, device, "to-all")?;
        server.set_read_timeout(Some(PATIENCE))?;
        let mut buffer = [0; 2048];
        let mut names = BTreeSet::new();
        while let Ok(len) = server.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..len]);
            ensure!(text.ends_with(MARK), "past the hook: {text}");
            names.extend(
                ["ordinary", "to-all", "foreign", "martian"]
                    .map(|name| {
                        text.contains(&format!("Call-ID: {name}\r\n"))
                            .then_some(name)
                    })
                    .into_iter()
                    .flatten(),
            );
            if names.len() == 2 {
                server.set_read_timeout(Some(SETTLE))?;
            }
        }
        ensure!(names == BTreeSet::from(["ordinary", "to-all"]), "{names:?}");
        let books = corex.books()?;
        for (reason, number) in [("foreign_mac", 1), ("martian", sent)] {
            let counted = books.get(&format!("kernel.{verdict}.{reason}"));
            ensure!(counted == number, "{verdict} {reason}: {counted}");
        }
    }
    Ok(())
}

/// The checksum of a UDP datagram whose length field is set to 0 and whose length is another.
fn without_udp_length(frame: &mut [u8], udp: usize) {
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    // RFC 1624, equation 3.
    let sum = u32::from(!word(udp + 6)) + u32::from(!word(udp + 4));
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[udp + 4..udp + 6].fill(0);
    frame[udp + 6..udp + 8].copy_from_slice(&checksum.to_be_bytes());
}

/// What the stack delivers though it is odd: over IPv6 without lengths and from any source, over IPv4
/// from what it doesn't take for martian where `rp_filter` is 0, with tags that name no VLAN.
#[test]
fn what_the_stack_delivers_meets_the_hook() -> Result<()> {
    const IPV6: usize = 14 + 40;
    let closed = "modparam(\"corex\", \"on_failure\", \"closed\")";
    for (parameters, is_closed) in [("", false), (closed, true)] {
        let lab = Inline::new()?;
        let work = WorkDir::new()?;
        for interface in ["all", "eth0"] {
            lab.server
                .sysctl(&format!("net.ipv4.conf.{interface}.rp_filter"), "0")?;
        }
        let servers = [Inline::SERVER.sip(), Inline::SERVER.sip6()];
        let sockets = [lab.server.udp(servers[0])?, lab.server.udp(servers[1])?];
        let text = config::inline(&servers, parameters, &config::mark());
        let config = work.write("corex.cfg", text)?;
        let corex = CorexOptions::new(&config).interface("eth0").start(
            &lab.server,
            work.path(),
            "corex",
        )?;
        let raw = RawSocket::open(&lab.internet, "s")?;
        let (mac, from) = (lab.server.mac("eth0")?, lab.internet.mac("s")?);
        let frame = |to: SocketAddr, source: &str, name: &str| -> Result<Frame> {
            let source = SocketAddr::new(source.parse()?, PORT);
            Ok(Frame::udp((from, source), (mac, to), &request(name)))
        };
        let device = Inline::DEVICE;
        let (v4, v6) = (device.v4.to_string(), device.v6.to_string());
        let mut frames = Vec::new();
        let mut no_udp_length = frame(servers[1], &v6, "no-udp-length")?.build();
        without_udp_length(&mut no_udp_length, IPV6);
        frames.push(no_udp_length);
        let mut options = frame(servers[1], &v6, "no-ip-length")?;
        options.extensions = vec![0];
        let mut no_ip_length = options.build();
        no_ip_length[14 + 4..14 + 6].fill(0);
        frames.push(no_ip_length);
        for source in ["0.1.2.3", "10.0.2.255"] {
            frames.push(frame(servers[0], source, &format!("from-{source}"))?.build());
        }
        for source in ["::".to_owned(), Inline::SERVER.v6.to_string()] {
            frames.push(frame(servers[1], &source, &format!("from-{source}"))?.build());
        }
        if is_closed {
            let mut tagged = frame(servers[0], &v4, "tagged")?;
            tagged.vlans = vec![(0x8100, 0); 3];
            frames.push(tagged.build());
        }
        for frame in &frames {
            raw.send(frame)?;
        }
        let mut names = BTreeSet::new();
        for (server, source) in servers.into_iter().zip([&v4, &v6]) {
            raw.send(&frame(server, source, "ordinary")?.build())?;
        }
        for socket in &sockets {
            socket.set_read_timeout(Some(PATIENCE))?;
            let mut buffer = [0; 2048];
            while let Ok(len) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..len]);
                ensure!(text.ends_with(MARK), "past the hook: {text}");
                let name = text.split("Call-ID: ").nth(1).context("no Call-ID")?;
                let name = name.split_whitespace().next().unwrap_or_default();
                if name == "ordinary" {
                    socket.set_read_timeout(Some(SETTLE))?;
                }
                names.insert(name.to_owned());
            }
        }
        let mut expected = BTreeSet::from(["ordinary", "no-udp-length", "no-ip-length"]);
        if !is_closed {
            expected.extend(["from-0.1.2.3", "from-10.0.2.255", "from-::"]);
            expected.insert("from-fd00:0:0:2::2");
        }
        let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
        ensure!(names == expected, "{parameters}: {names:?}");
        let books = corex.stop()?;
        let dropped = if is_closed { (4, 1) } else { (0, 0) };
        let counted = (
            books.get("kernel.dropped.martian"),
            books.get("kernel.dropped.vlan_depth"),
        );
        ensure!(counted == dropped, "{counted:?}");
        books.check_balance()?;
    }
    Ok(())
}
