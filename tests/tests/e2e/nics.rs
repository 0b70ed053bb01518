//! NICs change while corex runs: their queues, their MTU, their names; they go, and come back.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Namespace, WorkDir, config,
    corex::CorexOptions,
    namespace::{veth, veth_with_queues},
    topology::{Inline, LabHost, PORT, Relay},
    wait,
};
use serde_json::Value;

/// How long anything may take on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(60);
/// Queues of the NICs that have several.
const QUEUES: u32 = 4;
/// Flows, so that each queue gets some.
const FLOWS: u16 = 24;
/// Adds these.
const HOOK: &str = r#"if (is_incoming()) $avp(msg) = $mb + "+in"; else $avp(msg) = $mb + "+out";"#;

fn request(name: &str, len: usize) -> Vec<u8> {
    let mut text = format!(
        "OPTIONS sip:x@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: {name}\r\nCSeq: 1 OPTIONS\r\n\r\n"
    );
    let padding = len.saturating_sub(text.len());
    text.push_str(&"x".repeat(padding));
    text.into_bytes()
}

/// The next datagram, which must begin and end so.
fn expect(socket: &UdpSocket, begins: &[u8], ends: &str) -> Result<()> {
    socket.set_read_timeout(Some(LIMIT))?;
    let mut buffer = vec![0; 65_536];
    let len = socket.recv(&mut buffer).context("nothing arrived")?;
    let got = &buffer[..len];
    let is_it = got.strip_prefix(begins) == Some(ends.as_bytes());
    ensure!(is_it, "{}", String::from_utf8_lossy(got));
    Ok(())
}

/// A server with a corex in front of it.
struct Protected {
    corex: Corex,
    server: UdpSocket,
    net: Inline,
    sent: u32,
    _work: WorkDir,
}

impl Protected {
    fn new(net: Inline, parameters: &str, mode: &str) -> Result<Self> {
        Self::with(net, parameters, mode, "auto")
    }

    fn with(net: Inline, parameters: &str, mode: &str, tc: &str) -> Result<Self> {
        let work = WorkDir::new()?;
        let text = config::inline(&[Inline::SERVER.sip()], parameters, HOOK);
        let corex = CorexOptions::new(&work.write("edge.cfg", text)?)
            .interface("eth0")
            .xdp_mode(mode)
            .argument("--tc")
            .argument(tc)
            .start(&net.server, work.path(), "corex")?;
        let server = net.server.udp(Inline::SERVER.sip())?;
        Ok(Self {
            corex,
            server,
            net,
            sent: 0,
            _work: work,
        })
    }

    /// Sends a message each way for each of so many flows; all of them meet the hook.
    fn check(&mut self, flows: u16, len: usize) -> Result<()> {
        for flow in 0..flows {
            let peer = SocketAddr::new(Inline::DEVICE.v4.into(), 6000 + flow);
            let device = self.net.device.udp(peer)?;
            self.sent += 1;
            let message = request(&self.sent.to_string(), len);
            device.send_to(&message, Inline::SERVER.sip())?;
            expect(&self.server, &message, "+in").with_context(|| format!("in, {flow}"))?;
            self.server.send_to(&message, peer)?;
            expect(&device, &message, "+out").with_context(|| format!("out, {flow}"))?;
        }
        Ok(())
    }

    fn ethtool(&self, words: &str) -> Result<()> {
        let words: Vec<&str> = words.split_whitespace().collect();
        self.net.server.exec("ethtool", &words).map(drop)
    }

    fn stop(self) -> Result<corex_lab::ObservedBooks> {
        let books = self.corex.stop()?;
        books.check_balance()?;
        Ok(books)
    }
}

/// With a NIC that begins with one queue, and gets others.
fn change_queues(parameters: &str) -> Result<corex_lab::ObservedBooks> {
    let net = Inline::with_queues(QUEUES)?;
    net.server.exec("ethtool", &["-L", "eth0", "rx", "1"])?;
    // In native mode a veth has as many queues as its peer sends by.
    let mut bench = Protected::new(net, parameters, "skb")?;
    bench.check(FLOWS, 0)?;
    for queues in [QUEUES, 1, 3, QUEUES] {
        // Linux takes no queue away that has an AF_XDP socket.
        if let Err(refused) = bench.ethtool(&format!("-L eth0 rx {queues}")) {
            ensure!(
                refused.to_string().contains("existing zerocopy"),
                "{refused}"
            );
        }
        bench.check(FLOWS, 0)?;
    }
    bench.stop()
}

#[test]
fn inline_every_message_meets_the_hook_whatever_queues_the_nic_gets() -> Result<()> {
    for on_failure in ["open", "closed"] {
        let parameters = format!("modparam(\"corex\", \"on_failure\", \"{on_failure}\")");
        let work = change_queues(&parameters).context(on_failure)?;
        ensure!(
            work.sum("user.dropped") == 0,
            "{:?}",
            work.group("user.dropped")
        );
    }
    Ok(())
}

#[test]
fn inline_queues_without_sockets_are_served_by_the_veth_pair() -> Result<()> {
    let books = change_queues("modparam(\"corex\", \"reattach\", 0)")?;
    ensure!(books.get("kernel.detoured") > 0, "none came by the pair");
    Ok(())
}

#[test]
fn inline_queues_that_come_get_sockets() -> Result<()> {
    let net = Inline::with_queues(QUEUES)?;
    net.server.exec("ethtool", &["-L", "eth0", "rx", "1"])?;
    let mut bench = Protected::new(net, "", "skb")?;
    bench.ethtool(&format!("-L eth0 rx {QUEUES}"))?;
    // From then on none needs the pair.
    wait::until("all queues have sockets", LIMIT, || {
        let before = bench.corex.books()?.get("kernel.detoured");
        bench.check(FLOWS, 0)?;
        let after = bench.corex.books()?.get("kernel.detoured");
        Ok((before == after).then_some(()))
    })?;
    bench.stop()?;
    Ok(())
}

#[test]
fn inline_queues_of_a_native_veth_that_come_meet_the_hook() -> Result<()> {
    let net = Inline::with_queues(QUEUES)?;
    // In native mode a veth has at least as many queues as its peer sends by.
    net.internet.exec("ethtool", &["-L", "s", "tx", "1"])?;
    net.server.exec("ethtool", &["-L", "eth0", "rx", "1"])?;
    let mut bench = Protected::new(net, "", "native")?;
    bench.check(3, 0)?;
    bench.ethtool(&format!("-L eth0 rx {QUEUES}"))?;
    let said = format!("eth0: {QUEUES} receive queues in place of 1");
    bench.corex.process.wait_for_output(&said, LIMIT)?;
    bench
        .net
        .internet
        .exec("ethtool", &["-L", "s", "tx", "4"])?;
    bench.check(FLOWS, 0)?;
    bench.stop()?;
    Ok(())
}

/// Takes corex's XDP program off an interface, and off others that have it, as somebody might.
fn take_off(corex: &Corex, namespace: &Namespace, interface: &str) -> Result<()> {
    let text = namespace.ip(&format!("-details -json link show dev {interface}"))?;
    let shown: Value = serde_json::from_str(&text)?;
    let program = &shown[0]["xdp"]["prog"]["id"];
    let links: Value = serde_json::from_str(&corex.beside(&["bpftool", "-j", "link", "show"])?)?;
    let links = links.as_array().context("no links")?.iter();
    // bpftool of Debian 12 doesn't say which interface an XDP link is on.
    let of_program: Vec<_> = links.filter(|link| link["prog_id"] == *program).collect();
    ensure!(!of_program.is_empty(), "{text}");
    for link in of_program {
        let id = link["id"].to_string();
        corex.beside(&["bpftool", "link", "detach", "id", &id])?;
    }
    Ok(())
}

/// Takes the TCX program of that name off. Its link is pinned.
fn take_off_tcx(corex: &Corex, name: &str) -> Result<()> {
    let pinned = corex.beside(&["find", "/sys/fs/bpf/corex", "-name", &format!("{name}-*")])?;
    ensure!(pinned.lines().count() == 1, "{pinned}");
    corex.beside(&["bpftool", "link", "detach", "pinned", pinned.trim()])?;
    Ok(())
}

/// eth0 has been attached again so often, and the workers serve it.
fn until_back(bench: &Protected, times: u64) -> Result<()> {
    wait::until("the workers serve it", LIMIT, || {
        let books = bench.corex.books()?;
        let is_back = books.get("interfaces.eth0.reattached") == times;
        Ok((is_back && books.get("interfaces.eth0.queues") > 0).then_some(()))
    })
}

#[test]
fn inline_a_program_that_somebody_takes_off_is_attached_again() -> Result<()> {
    let mut bench = Protected::new(Inline::new()?, "", "auto")?;
    take_off(&bench.corex, &bench.net.server, "eth0")?;
    let process = &bench.corex.process;
    process.wait_for_output("eth0 has lost corex's program", LIMIT)?;
    until_back(&bench, 1)?;
    bench.check(3, 0)?;
    bench.stop()?;
    Ok(())
}

#[test]
fn inline_a_tc_program_that_somebody_takes_off_is_attached_again() -> Result<()> {
    for &tc in corex_lab::sys::tc_choices() {
        let mut bench = Protected::with(Inline::new()?, "", "auto", tc)?;
        let pair = bench.net.server.ip("-brief link show type veth")?;
        let pair: Vec<&str> = pair
            .lines()
            .filter_map(|line| line.split([' ', '@']).next())
            .filter(|name| name.starts_with("cx"))
            .collect();
        let [one, other] = pair[..] else {
            anyhow::bail!("{pair:?}");
        };
        let server = &bench.net.server;
        if tc == "tcx" {
            take_off_tcx(&bench.corex, "corex_egress")?;
        } else {
            server.exec("tc", &["filter", "del", "dev", "eth0", "egress"])?;
        }
        until_back(&bench, 1)?;
        bench.check(3, 0)?;
        let server = &bench.net.server;
        if tc == "tcx" {
            take_off_tcx(&bench.corex, "corex_inject")?;
        } else {
            for end in [one, other] {
                server.exec("tc", &["qdisc", "del", "dev", end, "clsact"])?;
            }
        }
        until_back(&bench, 2)?;
        bench.check(3, 0)?;
        bench.stop()?;
    }
    Ok(())
}

#[test]
fn proxy_a_program_that_somebody_takes_off_is_attached_again() -> Result<()> {
    let mut bench = Proxy::new()?;
    take_off(&bench.corex, &bench.relay.corex, "user")?;
    let process = &bench.corex.process;
    process.wait_for_output("user has lost corex's program", LIMIT)?;
    bench.until_fast()?;
    bench.stop()
}

fn set_mtu(ends: [(&Namespace, &str); 2], mtu: u32) -> Result<()> {
    for (namespace, interface) in ends {
        namespace.ip(&format!("link set dev {interface} mtu {mtu}"))?;
    }
    Ok(())
}

#[test]
fn inline_a_message_longer_than_a_lowered_mtu_arrives_in_fragments() -> Result<()> {
    let mut bench = Protected::new(Inline::new()?, "", "auto")?;
    // With what the hook adds, above the lower MTU and below the higher one.
    let message = request("long", 1350);
    let device = bench.net.device.udp(Inline::DEVICE.sip())?;
    for mtu in [1300, 1500, 1280] {
        let ends = [(&bench.net.server, "eth0"), (&bench.net.internet, "s")];
        set_mtu(ends, mtu)?;
        let said = format!("eth0 has the MTU {mtu}");
        bench.corex.process.wait_for_output(&said, LIMIT)?;
        for _ in 0..3 {
            bench.server.send_to(&message, Inline::DEVICE.sip())?;
            expect(&device, &message, "+out").with_context(|| format!("MTU {mtu}"))?;
        }
        bench.check(3, 0)?;
    }
    bench.stop()?;
    Ok(())
}

#[test]
fn inline_a_sender_is_told_of_a_lowered_mtu_and_what_is_too_long_is_counted() -> Result<()> {
    let parameters = "modparam(\"corex\", \"too_big\", \"icmp\")";
    let mut bench = Protected::new(Inline::new()?, parameters, "auto")?;
    bench.check(3, 1270)?;
    let ends = [(&bench.net.server, "eth0"), (&bench.net.internet, "s")];
    set_mtu(ends, 1300)?;
    bench
        .corex
        .process
        .wait_for_output("eth0 has the MTU 1300", LIMIT)?;
    // With headers, just what fits before the hook and not behind it: Linux sets DF by itself.
    let message = request("long", 1271);
    let device = bench.net.device.udp(Inline::DEVICE.sip())?;
    wait::until("the server sends what fits", LIMIT, || {
        bench.server.send_to(&message, Inline::DEVICE.sip())?;
        device.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut buffer = [0; 2048];
        Ok(device.recv(&mut buffer).ok())
    })?;
    let books = bench.stop()?;
    ensure!(
        books.get("user.dropped.too_big") == 1,
        "{:?}",
        books.group("user.dropped")
    );
    Ok(())
}

/// A corex that listens on all addresses and sends all to the answering host.
struct Proxy {
    corex: Corex,
    answerer: UdpSocket,
    relay: Relay,
    sent: u32,
    _work: WorkDir,
}

impl Proxy {
    fn new() -> Result<Self> {
        Self::in_network(Relay::new()?)
    }

    fn in_network(relay: Relay) -> Result<Self> {
        let work = WorkDir::new()?;
        let answerer = Relay::UAS.sip();
        let text = format!(
            "listen=udp:0.0.0.0:{PORT}\nloadmodule \"corex.so\"\n\
             request_route {{ send(\"{answerer}\"); }}\n"
        );
        let corex = CorexOptions::new(&work.write("corex.cfg", text)?)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .start(&relay.corex, work.path(), "corex")?;
        Ok(Self {
            corex,
            answerer: relay.uas.udp(answerer)?,
            relay,
            sent: 0,
            _work: work,
        })
    }

    fn send(&mut self, len: usize) -> Result<()> {
        self.sent += 1;
        let message = request(&self.sent.to_string(), len);
        let caller = self
            .relay
            .uac
            .udp(SocketAddr::new(Relay::UAC.v4.into(), 0))?;
        caller.send_to(&message, Relay::USER_SIDE.sip())?;
        expect(&self.answerer, &message, "")
    }

    /// Sends until messages come and go by AF_XDP, by which all have to arrive.
    fn until_fast(&mut self) -> Result<()> {
        wait::until("AF_XDP is used both ways", LIMIT, || {
            let before = self.corex.books()?;
            self.send(0)?;
            let after = self.corex.books()?;
            let grows = |name: &str| after.get(name) > before.get(name);
            Ok((grows("user.xdp_in") && grows("user.out_xdp")).then_some(()))
        })
    }

    fn stop(self) -> Result<()> {
        self.corex.stop()?.check_balance()
    }
}

fn addresses(namespace: &Namespace, interface: &str, host: LabHost) -> Result<()> {
    namespace.address(interface, &format!("{}/24", host.v4))?;
    namespace.address(interface, &format!("{}/64", host.v6))
}

#[test]
fn proxy_a_nic_that_is_removed_and_made_again_is_on_the_fast_road_again() -> Result<()> {
    let mut bench = Proxy::new()?;
    bench.until_fast()?;
    for times in 1..=2 {
        bench.relay.corex.ip("link del dev user")?;
        let gone =
            || Ok((bench.corex.log().matches("user is gone").count() == times).then_some(()));
        wait::until("corex notices", LIMIT, gone)?;
        veth((&bench.relay.uac, "eth0"), (&bench.relay.corex, "user"))?;
        addresses(&bench.relay.uac, "eth0", Relay::UAC)?;
        addresses(&bench.relay.corex, "user", Relay::USER_SIDE)?;
        bench.until_fast()?;
    }
    ensure!(bench.corex.log().matches("user is back").count() == 2);
    let books = bench.corex.books()?;
    ensure!(books.get("interfaces.user.reattached") == 2, "{books:?}");
    bench.stop()
}

#[test]
fn proxy_a_nic_that_is_renamed_or_was_down_stays_on_the_fast_road() -> Result<()> {
    let mut bench = Proxy::new()?;
    for command in [
        "link set dev user down",
        "link set dev user up",
        "link set dev user down",
        "link set dev user name wan",
        "link set dev wan up",
    ] {
        bench.relay.corex.ip(command)?;
    }
    bench.until_fast()?;
    bench.stop()
}

#[test]
fn proxy_messages_longer_than_a_lowered_mtu_arrive() -> Result<()> {
    let mut bench = Proxy::new()?;
    bench.until_fast()?;
    for mtu in [1300, 1500, 1280] {
        let ends = [(&bench.relay.corex, "core"), (&bench.relay.uas, "eth0")];
        set_mtu(ends, mtu)?;
        let said = format!("core has the MTU {mtu}");
        bench.corex.process.wait_for_output(&said, LIMIT)?;
        for _ in 0..3 {
            bench.send(1350).with_context(|| format!("MTU {mtu}"))?;
        }
        bench.until_fast()?;
    }
    bench.stop()
}

#[test]
fn proxy_queues_that_come_get_sockets() -> Result<()> {
    let relay = Relay::new()?;
    relay.corex.ip("link del dev user")?;
    veth_with_queues((&relay.uac, "eth0"), (&relay.corex, "user"), QUEUES)?;
    addresses(&relay.uac, "eth0", Relay::UAC)?;
    addresses(&relay.corex, "user", Relay::USER_SIDE)?;
    // In native mode a veth has at least as many queues as its peer sends by.
    let queues = |namespace: &Namespace, interface, way, count: &str| {
        namespace.exec("ethtool", &["-L", interface, way, count])
    };
    queues(&relay.uac, "eth0", "tx", "1")?;
    queues(&relay.corex, "user", "rx", "1")?;
    let mut bench = Proxy::in_network(relay)?;
    bench.until_fast()?;
    queues(&bench.relay.corex, "user", "rx", "4")?;
    queues(&bench.relay.uac, "eth0", "tx", "4")?;
    wait::until("no queue is without a socket", LIMIT, || {
        let before = bench.corex.books()?;
        for _ in 0..FLOWS {
            bench.send(0)?;
        }
        let after = bench.corex.books()?;
        let by_sockets = after.get("user.socket_in") - before.get("user.socket_in");
        Ok((by_sockets == 0).then_some(()))
    })?;
    bench.stop()
}

#[test]
fn inline_a_nic_that_is_removed_and_made_again_is_served_again() -> Result<()> {
    for mode in ["native", "skb"] {
        let mut bench = Protected::new(Inline::new()?, "", mode)?;
        bench.check(3, 0)?;
        bench.net.server.ip("link del dev eth0")?;
        bench.corex.process.wait_for_output("eth0 is gone", LIMIT)?;
        veth((&bench.net.server, "eth0"), (&bench.net.internet, "s"))?;
        addresses(&bench.net.server, "eth0", Inline::SERVER)?;
        let router = LabHost {
            v4: [10, 0, 2, 254].into(),
            v6: [0xfd00, 0, 0, 2, 0, 0, 0, 254].into(),
        };
        addresses(&bench.net.internet, "s", router)?;
        bench
            .net
            .server
            .ip(&format!("route add default via {} dev eth0", router.v4))?;
        bench.corex.process.wait_for_output("eth0 is back", LIMIT)?;
        wait::until("the workers serve it", LIMIT, || {
            let queues = bench.corex.books()?.get("interfaces.eth0.queues");
            Ok((queues > 0).then_some(()))
        })?;
        bench.check(3, 0)?;
        bench.stop()?;
    }
    Ok(())
}
