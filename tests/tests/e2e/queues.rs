//! Queues that don't transmit: messages leave by others, and what is stuck isn't among those sent.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{Corex, Mounts, Namespace, ObservedBooks, WorkDir, corex::CorexOptions, wait};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);
/// After it nothing more is expected.
const SILENCE: Duration = Duration::from_millis(200);
/// Senders: enough for each of four queues to get some.
const PORTS: u16 = 64;
const MESSAGES: u64 = PORTS as u64;

/// A host with corex and one that speaks to it, over a veth pair of four receive queues.
struct Pair {
    corex: Namespace,
    peer: Namespace,
    work: WorkDir,
    arrived: UdpSocket,
}

impl Pair {
    const COREX: SocketAddr = address(1, 5060);
    const PEER: SocketAddr = address(2, 7000);

    /// `transmit`: how many queues of corex's end transmit.
    fn new(transmit: u32) -> Result<Self> {
        let (corex, peer) = (Namespace::new("corex")?, Namespace::new("peer")?);
        corex.ip(&format!(
            "link add name nic numrxqueues 4 numtxqueues {transmit} \
             type veth peer name eth0 numrxqueues 4 numtxqueues 4 netns {}",
            peer.name()
        ))?;
        for (namespace, interface, host) in [(&corex, "nic", 1), (&peer, "eth0", 2)] {
            namespace.ip(&format!("link set dev {interface} up"))?;
            namespace.address(interface, &format!("10.0.9.{host}/24"))?;
        }
        wait::until("the veth pair is up", LIMIT, || {
            let state = corex.ip("-brief link show dev nic")?;
            Ok(state.contains("LOWER_UP").then_some(()))
        })?;
        let arrived = peer.udp(Self::PEER)?;
        Ok(Self {
            corex,
            peer,
            work: WorkDir::new()?,
            arrived,
        })
    }

    fn options(&self, arguments: &[&str]) -> Result<CorexOptions> {
        self.options_with("", arguments)
    }

    /// `parameters`: lines for the configuration.
    fn options_with(&self, parameters: &str, arguments: &[&str]) -> Result<CorexOptions> {
        let text = format!(
            "listen=udp:{}\nloadmodule \"corex.so\"\n{parameters}\n\
             request_route {{ send(\"{}\"); }}\n",
            Self::COREX,
            Self::PEER
        );
        let file = self.work.write("corex.cfg", text)?;
        let mut options = CorexOptions::new(&file).engine("xdp").interface("nic");
        for argument in arguments {
            options = options.argument(argument);
        }
        Ok(options)
    }

    fn start(&self, arguments: &[&str]) -> Result<Corex> {
        let options = self.options(arguments)?;
        options.start(&self.corex, self.work.path(), "corex")
    }

    /// One request from each of many ports, so that every queue gets some.
    fn send(&self, first_port: u16) -> Result<()> {
        for port in first_port..first_port + PORTS {
            let sender = self.peer.udp(address(2, port))?;
            let request = format!(
                "OPTIONS sip:{port}@10.0.9.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.9.2:{port};\
                 branch=z9hG4bK{port}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n\
                 Call-ID: {port}\r\nCSeq: 1 OPTIONS\r\n\r\n"
            );
            sender.send_to(request.as_bytes(), Self::COREX)?;
        }
        Ok(())
    }

    /// So many messages arrive, and no more.
    fn expect(&self, count: u64) -> Result<()> {
        let mut buffer = [0; 2048];
        self.arrived.set_read_timeout(Some(LIMIT))?;
        for number in 1..=count {
            self.arrived
                .recv(&mut buffer)
                .with_context(|| format!("message {number} of {count}"))?;
        }
        self.arrived.set_read_timeout(Some(SILENCE))?;
        ensure!(self.arrived.recv(&mut buffer).is_err(), "one too many");
        Ok(())
    }
}

const fn address_of(net: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, net, host))
}

const fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(address_of(9, host), port)
}

fn handled(corex: &Corex, messages: u64) -> Result<ObservedBooks> {
    wait::until("every message has its verdict", LIMIT, || {
        let books = corex.books()?;
        let decided = books.get("user.sent") + books.sum("user.dropped");
        Ok((decided == messages).then_some(books))
    })
}

#[test]
fn what_comes_by_a_queue_that_only_receives_leaves_by_one_that_transmits() -> Result<()> {
    let pair = Pair::new(1)?;
    // With as many workers as there are receive queues, some have none that transmits.
    for (arguments, by_socket) in [(&[][..], false), (&["--workers", "4"][..], true)] {
        let corex = pair.start(arguments)?;
        pair.send(20_000)?;
        handled(&corex, MESSAGES)?;
        pair.expect(MESSAGES).with_context(|| corex.log())?;
        pair.send(21_000)?;
        pair.expect(MESSAGES).with_context(|| corex.log())?;
        let books = corex.stop()?;
        books.check_balance()?;
        ensure!(books.get("user.sent") == 2 * MESSAGES);
        ensure!(books.get("user.out_xdp") > 0, "{:#}", books.0);
        ensure!(
            (books.get("user.out_socket_no_queue") > 0) == by_socket,
            "{:#}",
            books.0
        );
    }
    Ok(())
}

#[test]
fn messages_come_through_queues_that_workers_poll_themselves() -> Result<()> {
    let pair = Pair::new(4)?;
    let budget = "modparam(\"corex\", \"busy_poll\", 64)";
    let options = pair.options_with(budget, &["--workers", "2"])?;
    let corex = options.start(&pair.corex, pair.work.path(), "corex")?;
    pair.send(20_000)?;
    handled(&corex, MESSAGES)?;
    pair.expect(MESSAGES).with_context(|| corex.log())?;
    pair.send(21_000)?;
    pair.expect(MESSAGES).with_context(|| corex.log())?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.sent") == 2 * MESSAGES);
    ensure!(books.get("user.xdp_in") == 2 * MESSAGES, "{:#}", books.0);
    Ok(())
}

/// The kernel is made to show four queues that transmit where there is one.
fn pretend_four(pair: &Pair) -> Result<Mounts> {
    let mounts = Mounts::new(&pair.corex, pair.work.path())?;
    let queues = pair.work.path().join("queues");
    for queue in ["rx-", "tx-"].map(|way| (0..4).map(move |number| format!("{way}{number}"))) {
        for name in queue {
            fs::create_dir_all(queues.join(name))?;
        }
    }
    let shown = queues.to_string_lossy();
    mounts.run(&["mount", "--bind", &shown, "/sys/class/net/nic/queues"])?;
    Ok(mounts)
}

/// The books when each queue has sent its frames or is known not to.
fn settled(corex: &Corex) -> Result<ObservedBooks> {
    wait::until("frames are sent or known to be stuck", LIMIT, || {
        let books = corex.books()?;
        let is_settled = |queue: &Value| queue["tx_in_flight"] == 0 || queue["transmits"] == 0;
        let queues = books.0["queues"].as_array();
        let all = queues.is_some_and(|queues| queues.iter().all(is_settled));
        let is_done = books.get("user.xdp_in") == books.get("user.steered");
        Ok((all && is_done && books.get("imbalance.user") == 0).then_some(books))
    })
}

#[test]
fn frames_that_do_not_leave_are_a_fault_and_what_follows_goes_by_kernel_sockets() -> Result<()> {
    let pair = Pair::new(1)?;
    let mounts = pretend_four(&pair)?;
    let corex = pair
        .options(&[])?
        .start_in(&mounts, pair.work.path(), "corex")?;
    // Queues 1 to 3 take frames and send none of them, and the kernel says nothing. Before the next
    // hop is known, messages leave by kernel sockets: not every queue has its fault at once.
    let (mut stuck, mut sent) = (0, 0);
    let mut ports = (20_000..).step_by(PORTS.into());
    wait::until("three queues are stuck", LIMIT, || {
        pair.send(ports.next().unwrap_or_default())?;
        sent += MESSAGES;
        let books = settled(&corex)?;
        let before = std::mem::replace(&mut stuck, books.get("user.dropped.tx_stuck"));
        ensure!(books.get("user.sent") + stuck == sent, "{:#}", books.0);
        // What counts as sent is what left.
        pair.expect(MESSAGES - (stuck - before))?;
        Ok((books.get("user.tx_faults") == 3).then_some(()))
    })?;
    ensure!(
        corex.log().matches("has sent none of").count() == 3,
        "{}",
        corex.log()
    );
    ensure!(stuck > 0);
    pair.send(ports.next().unwrap_or_default())?;
    pair.expect(MESSAGES).with_context(|| corex.log())?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.dropped.tx_stuck") == stuck, "{:#}", books.0);
    ensure!(books.get("user.out_socket_no_queue") > 0, "{:#}", books.0);
    Ok(())
}

#[test]
fn what_a_device_without_a_carrier_refuses_is_not_among_the_sent() -> Result<()> {
    let pair = Pair::new(4)?;
    // The route is known, and goes to where nothing goes out: the far end of another pair is down.
    let corex = &pair.corex;
    corex.ip("link add name out type veth peer name far")?;
    corex.ip("link set dev out up")?;
    corex.ip("link set dev far up")?;
    corex.address("out", "10.0.8.1/24")?;
    let far = corex.mac("far")?;
    corex.neighbour("out", address_of(8, 2), far)?;
    let text = format!(
        "listen=udp:{}\nloadmodule \"corex.so\"\nrequest_route {{ send(\"10.0.8.2:7000\"); }}\n",
        Pair::COREX
    );
    let file = pair.work.write("corex.cfg", text)?;
    let corex = CorexOptions::new(&file)
        .engine("xdp")
        .interface("nic")
        .interface("out")
        .argument("--workers")
        .argument("1")
        .start(&pair.corex, pair.work.path(), "corex")?;
    let mut messages = 0;
    let books = wait::until("the next hop is known", LIMIT, || {
        pair.send(20_000)?;
        messages += MESSAGES;
        let books = handled(&corex, messages)?;
        Ok((books.get("user.out_xdp") > 0).then_some(books))
    })?;
    ensure!(books.get("user.dropped.send_error") == 0, "{:#}", books.0);
    let (sent, by_xdp) = (books.get("user.sent"), books.get("user.out_xdp"));
    pair.corex.ip("link set dev far down")?;
    pair.send(21_000)?;
    let books = handled(&corex, messages + MESSAGES)?;
    let refused = books.get("user.dropped.send_error");
    // What leaves by kernel sockets, as the neighbour went with the carrier, isn't known to be lost.
    ensure!(
        refused == books.get("user.out_xdp") - by_xdp,
        "{:#}",
        books.0
    );
    ensure!(
        books.get("user.sent") - sent + refused == MESSAGES,
        "{:#}",
        books.0
    );
    corex.stop()?.check_balance()
}
