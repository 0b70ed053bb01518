//! Reverse-path filtering (RFC 3704): a source that the routes don't lead back to by the interface that
//! its packet came by is kept out, by AF_XDP as by the kernel's sockets.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Frame, RawSocket, WorkDir,
    config::{self, Family},
    corex::CorexOptions,
    topology::{Inline, LabHost, PORT, Relay},
    wait,
};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// How long to wait for what is to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of the network behind the interface `core`, not the one where it arrives.
const OTHER_SIDE: LabHost = LabHost {
    v4: Ipv4Addr::new(10, 0, 2, 99),
    v6: Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 99),
};

/// Of a network that no route leads to, unless a test makes one.
fn nowhere(family: Family) -> IpAddr {
    family.of(LabHost {
        v4: [192, 0, 2, 9].into(),
        v6: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 9].into(),
    })
}

fn request(name: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:x@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: {name}\r\nCSeq: 1 OPTIONS\r\n\r\n"
    )
    .into_bytes()
}

fn sip(family: Family, host: LabHost) -> SocketAddr {
    SocketAddr::new(family.of(host), PORT)
}

/// The Call-ID of what comes next.
fn next(socket: &UdpSocket) -> Result<String> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer)?;
    let text = String::from_utf8_lossy(&buffer[..len]);
    let name = text.split("Call-ID: ").nth(1).unwrap_or_default();
    Ok(name
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// A corex that sends to the answering host whatever it takes.
struct Bench {
    family: Family,
    raw: RawSocket,
    answerer: UdpSocket,
    corex: Corex,
    relay: Relay,
    sent: u32,
    _work: WorkDir,
}

impl Bench {
    /// `parameter` is the value of rp_filter, if one is written; `sysctl` that of the stack.
    fn new(family: Family, engine: &str, parameter: Option<i32>, sysctl: u8) -> Result<Self> {
        let any = match family {
            Family::V4 => "0.0.0.0",
            Family::V6 => "[::]",
        };
        let work = WorkDir::new()?;
        let relay = Relay::new()?;
        let answerer = sip(family, Relay::UAS);
        let mac = relay.uas.mac("eth0")?;
        relay.corex.neighbour("core", answerer.ip(), mac)?;
        let parameter = parameter.map_or(String::new(), |value| {
            format!("modparam(\"corex\", \"rp_filter\", {value})\n")
        });
        let text = format!(
            "listen=udp:{any}:{PORT}\nloadmodule \"corex.so\"\n{parameter}\
             request_route {{ send(\"{answerer}\"); }}\n"
        );
        let config = work.write("corex.cfg", text)?;
        set_sysctl(&relay, sysctl)?;
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
            sent: 0,
            _work: work,
        })
    }

    fn ip(&self, words: &str) -> Result<String> {
        let family = match self.family {
            Family::V4 => "-4",
            Family::V6 => "-6",
        };
        self.relay.corex.ip(&format!("{family} {words}"))
    }

    /// Sends a request from that address by the interface `user`.
    fn send(&self, source: IpAddr, name: &str) -> Result<()> {
        let frame = Frame::udp(
            (self.relay.uac.mac("eth0")?, SocketAddr::new(source, PORT)),
            (
                self.relay.corex.mac("user")?,
                sip(self.family, Relay::USER_SIDE),
            ),
            &request(name),
        );
        self.raw.send(&frame.build())
    }

    /// Whether corex takes what that address sends. Requests from an address that is beyond doubt go
    /// along, so that something comes in any case.
    fn takes(&mut self, source: IpAddr) -> Result<bool> {
        self.sent += 1;
        let (name, fence) = (format!("try-{}", self.sent), format!("fence-{}", self.sent));
        let before = self.refused()?;
        self.send(source, &name)?;
        let mut is_taken = false;
        let deadline = Instant::now() + PATIENCE;
        // Which of two roads is faster isn't certain: what isn't taken is counted.
        while !is_taken && self.refused()? == before {
            ensure!(Instant::now() < deadline, "neither taken nor refused");
            self.send(self.family.of(Relay::UAC), &fence)?;
            is_taken = next(&self.answerer)? == name;
        }
        Ok(is_taken)
    }

    /// What corex or the stack kept out.
    fn refused(&self) -> Result<u64> {
        let stack = self.relay.corex.exec("cat", &["/proc/net/netstat"])?;
        let mut lines = stack.lines().filter(|line| line.starts_with("TcpExt:"));
        let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let mut counters = names.split_whitespace().zip(values.split_whitespace());
        let by_stack = counters.find(|(name, _)| *name == "IPReversePathFilter");
        let by_stack: u64 = by_stack.map_or(Ok(0), |(_, value)| value.parse())?;
        Ok(by_stack + self.corex.books()?.get("user.dropped.rp_filter"))
    }

    /// Waits until corex takes what that address sends, or doesn't.
    fn until_taken(&mut self, source: IpAddr, is_taken: bool) -> Result<()> {
        wait::until(
            &format!("{source} is {}taken", if is_taken { "" } else { "not " }),
            PATIENCE,
            || Ok((self.takes(source)? == is_taken).then_some(())),
        )
        .with_context(|| format!("corex says:\n{}", self.corex.log()))
    }

    /// Waits until what that address sends goes by AF_XDP.
    fn until_steered(&mut self, source: IpAddr) -> Result<()> {
        const NAME: &str = "steered";
        const REQUESTS: u64 = 5;
        wait::until(&format!("{source} is steered"), PATIENCE, || {
            let before = self.corex.books()?.get("kernel.steered");
            for _ in 0..REQUESTS {
                self.send(source, NAME)?;
                while next(&self.answerer)? != NAME {}
            }
            // Not by one of the others, which may be under way.
            let steered = self.corex.books()?.get("kernel.steered") - before;
            Ok((steered >= REQUESTS).then_some(()))
        })
    }
}

fn set_sysctl(relay: &Relay, value: u8) -> Result<()> {
    for name in ["all", "user", "core"] {
        let key = format!("net.ipv4.conf.{name}.rp_filter");
        relay.corex.sysctl(&key, &value.to_string())?;
    }
    Ok(())
}

#[test]
fn strict_keeps_out_what_the_way_back_of_is_another_and_loose_what_has_none() -> Result<()> {
    for family in FAMILIES {
        for engine in ["xdp", "socket"] {
            for (mode, by_other_side) in [(1, false), (2, true)] {
                let mut bench = Bench::new(family, engine, Some(mode), 0)?;
                let whole = format!("{family:?}, {engine}, {mode}");
                for (source, expected) in [
                    (family.of(Relay::UAC), true),
                    (family.of(OTHER_SIDE), by_other_side),
                    (nowhere(family), false),
                ] {
                    for _ in 0..2 {
                        let is_taken = bench.takes(source)?;
                        ensure!(is_taken == expected, "{whole}: {source}");
                    }
                }
                if engine == "xdp" {
                    bench.until_steered(family.of(Relay::UAC))?;
                    ensure!(!bench.takes(nowhere(family))?, "{whole}");
                }
                bench.corex.stop()?.check_balance()?;
            }
        }
    }
    Ok(())
}

/// Nothing is written in the configuration.
#[test]
fn af_xdp_asks_of_a_source_what_the_stack_asks_as_the_sysctl_is_now() -> Result<()> {
    let family = Family::V4;
    let other_side = family.of(OTHER_SIDE);
    for engine in ["xdp", "socket"] {
        let mut bench = Bench::new(family, engine, None, 1)?;
        let is_xdp = engine == "xdp";
        ensure!(bench.takes(family.of(Relay::UAC))?, "{engine}");
        if is_xdp {
            bench.until_steered(family.of(Relay::UAC))?;
        }
        ensure!(!bench.takes(other_side)?, "{engine}");
        ensure!(!bench.takes(nowhere(family))?, "{engine}");
        set_sysctl(&bench.relay, 2)?;
        bench.until_taken(other_side, true)?;
        ensure!(!bench.takes(nowhere(family))?, "{engine}");
        set_sysctl(&bench.relay, 0)?;
        bench.until_taken(nowhere(family), true)?;
        if is_xdp {
            bench.until_steered(nowhere(family))?;
        }
        set_sysctl(&bench.relay, 1)?;
        bench.until_taken(nowhere(family), false)?;
        ensure!(!bench.takes(other_side)?, "{engine}");
        ensure!(bench.takes(family.of(Relay::UAC))?, "{engine}");
        let books = bench.corex.stop()?;
        ensure!(books.get("user.dropped.rp_filter") == 0, "by the stack");
        books.check_balance()?;
    }
    Ok(())
}

#[test]
fn with_rp_filter_0_af_xdp_takes_what_the_stack_would_not() -> Result<()> {
    let mut bench = Bench::new(Family::V4, "xdp", Some(0), 1)?;
    ensure!(bench.takes(nowhere(Family::V4))?);
    let books = bench.corex.stop()?;
    ensure!(books.get("kernel.passed.rp_filter") == 0);
    books.check_balance()
}

#[test]
fn a_route_that_changes_changes_at_once_who_is_let_in() -> Result<()> {
    for family in FAMILIES {
        // With -1 the stack is the judge; of IPv6 it asks nothing.
        let modes: &[(i32, u8)] = match family {
            Family::V4 => &[(1, 0), (-1, 1)],
            Family::V6 => &[(1, 0)],
        };
        for (mode, sysctl) in modes {
            let mut bench = Bench::new(family, "xdp", Some(*mode), *sysctl)?;
            let source = nowhere(family);
            let network = match family {
                Family::V4 => "192.0.2.0/24",
                Family::V6 => "2001:db8::/32",
            };
            let (user, core) = (family.of(Relay::UAC), family.of(Relay::UAS));
            ensure!(!bench.takes(source)?);
            bench.ip(&format!("route add {network} via {user} dev user"))?;
            bench.until_steered_after(source)?;
            bench.ip(&format!("route replace {network} via {core} dev core"))?;
            bench.until_taken(source, false)?;
            // One of several ways back is enough.
            bench.ip(&format!("route del {network}"))?;
            bench.ip(&format!(
                "route add {network} nexthop via {user} dev user nexthop via {core} dev core"
            ))?;
            bench.until_steered_after(source)?;
            // A rule that leads elsewhere comes before the table.
            bench.ip(&format!("route add default via {core} dev core table 100"))?;
            bench.ip(&format!("rule add to {network} lookup 100"))?;
            bench.until_taken(source, false)?;
            bench.ip(&format!("rule del to {network} lookup 100"))?;
            bench.until_steered_after(source)?;
            ensure!(bench.takes(family.of(Relay::UAC))?);
            bench.corex.stop()?.check_balance()?;
        }
    }
    Ok(())
}

impl Bench {
    /// Waits until that address is let in, and then until it goes by AF_XDP.
    fn until_steered_after(&mut self, source: IpAddr) -> Result<()> {
        self.until_taken(source, true)?;
        self.until_steered(source)
    }
}

/// What corex hands to the stack of the server's host goes through its filter.
#[test]
fn inline_the_stack_filters_what_has_met_the_hook() -> Result<()> {
    let lab = Inline::new()?;
    let work = WorkDir::new()?;
    let server = lab.server.udp(Inline::SERVER.sip())?;
    for name in ["all", "eth0"] {
        lab.server
            .sysctl(&format!("net.ipv4.conf.{name}.rp_filter"), "1")?;
    }
    lab.server.ip("link add aside type veth peer name other")?;
    lab.server.ip("link set aside up")?;
    lab.server.ip("link set other up")?;
    lab.server.ip("addr add 192.0.2.1/24 dev aside")?;
    let text = config::inline(&[Inline::SERVER.sip()], "", &config::mark());
    let config = work.write("corex.cfg", text)?;
    let corex =
        CorexOptions::new(&config)
            .interface("eth0")
            .start(&lab.server, work.path(), "corex")?;
    let raw = RawSocket::open(&lab.internet, "s")?;
    let mut names = BTreeSet::new();
    for (source, name) in [
        (nowhere(Family::V4), "aside"),
        (IpAddr::V4(Inline::DEVICE.v4), "ordinary"),
    ] {
        let frame = Frame::udp(
            (lab.internet.mac("s")?, SocketAddr::new(source, PORT)),
            (lab.server.mac("eth0")?, Inline::SERVER.sip()),
            &request(name),
        );
        raw.send(&frame.build())?;
    }
    // They keep their order.
    names.insert(next(&server)?);
    ensure!(
        names == BTreeSet::from(["ordinary".to_owned()]),
        "{names:?}"
    );
    let books = corex.stop()?;
    ensure!(books.get("user.hook_in") == 2, "both met the hook");
    books.check_balance()
}
