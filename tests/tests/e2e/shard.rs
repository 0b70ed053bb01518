//! Sharding by Call-ID: one source is one 5-tuple, and so one of four queues; all workers take part.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Namespace, ObservedBooks, WorkDir, corex::CorexOptions, namespace::veth_with_queues,
    wait,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
const WORKERS: u32 = 4;
/// Enough that none of four workers has none of them, but for one time in 10⁷.
const CALLS: u64 = 64;
/// Messages of a run.
const MESSAGES: u64 = 40 * CALLS;
/// Messages that are on their way at a time: no buffer is too small for them.
const WINDOW: u64 = 64;
/// So many of a call's messages follow each other at once.
const BURST: u64 = 4;
const COREX: SocketAddr = address(1, 5060);
const PEER: SocketAddr = address(2, 7000);

const fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 9, host)), port)
}

struct Carrier {
    corex: Namespace,
    _peer: Namespace,
    work: WorkDir,
    /// One address and port, both ways.
    socket: UdpSocket,
    sent: u64,
    arrived: u64,
    /// The last number of each call.
    last: HashMap<u64, u64>,
    /// Messages that came before one of their call that was sent first, or behind one that wasn't.
    disordered: u64,
}

impl Carrier {
    fn new() -> Result<Self> {
        let (corex, peer) = (Namespace::new("corex")?, Namespace::new("peer")?);
        veth_with_queues((&corex, "nic"), (&peer, "eth0"), WORKERS)?;
        corex.address("nic", "10.0.9.1/24")?;
        peer.address("eth0", "10.0.9.2/24")?;
        let socket = peer.udp(PEER)?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(Self {
            corex,
            _peer: peer,
            work: WorkDir::new()?,
            socket,
            sent: 0,
            arrived: 0,
            last: HashMap::new(),
            disordered: 0,
        })
    }

    fn start(&self, engine: &str, shard: &str) -> Result<Corex> {
        let text = format!(
            "listen=udp:{COREX}\nloadmodule \"corex.so\"\nmodparam(\"corex\", \"shard\", \"{shard}\")\n\
             request_route {{ send(\"{PEER}\"); }}\n"
        );
        let file = self.work.write("corex.cfg", text)?;
        CorexOptions::new(&file)
            .engine(engine)
            .interface("nic")
            .argument("--workers")
            .argument(&WORKERS.to_string())
            .start(&self.corex, self.work.path(), "corex")
    }

    /// One more message, of each call some in turns, with the Call-ID in one of its forms.
    fn send(&mut self) -> Result<()> {
        let call = self.sent / BURST % CALLS;
        let number = self.sent / BURST / CALLS * BURST + self.sent % BURST + 1;
        let name = ["Call-ID: ", "i:"][(number % 2) as usize];
        let request = format!(
            "OPTIONS sip:x@10.0.9.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{call}-{number}\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n{name}{call}\r\nCSeq: {number} OPTIONS\r\n\r\n"
        );
        self.socket.send_to(request.as_bytes(), COREX)?;
        self.sent += 1;
        Ok(())
    }

    /// What comes next.
    fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; 2048];
        let len = self
            .socket
            .recv(&mut buffer)
            .with_context(|| format!("message {} of {}", self.arrived + 1, self.sent))?;
        let text = String::from_utf8_lossy(&buffer[..len]);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse::<u64>().ok())
        };
        let call = value("Call-ID:").or_else(|| value("i:"));
        let (call, number) = call.zip(value("CSeq:")).context("a message of ours")?;
        let last = self.last.entry(call).or_default();
        self.disordered += u64::from(number != *last + 1);
        *last = number.max(*last);
        self.arrived += 1;
        Ok(())
    }

    /// So many more messages there and back, a window of them at a time.
    fn exchange(&mut self, messages: u64) -> Result<()> {
        let end = self.sent + messages;
        while self.arrived < end {
            while self.sent < end && self.sent < self.arrived + WINDOW {
                self.send()?;
            }
            self.receive()?;
        }
        Ok(())
    }
}

fn per_worker(books: &ObservedBooks, name: &str) -> Vec<u64> {
    let workers = books.0["workers"].as_array();
    let of = |worker: &Value| worker[name].as_u64().unwrap_or_default();
    workers.map_or(Vec::new(), |workers| workers.iter().map(of).collect())
}

/// The books when every message has its verdict.
fn settled(corex: &Corex, messages: u64) -> Result<ObservedBooks> {
    wait::until("every message has its verdict", LIMIT, || {
        let books = corex.books()?;
        let decided = books.get("user.sent") + books.sum("user.dropped");
        Ok((decided == messages).then_some(books))
    })
}

fn gained(before: &ObservedBooks, after: &ObservedBooks, name: &str) -> Vec<u64> {
    let pairs = per_worker(before, name)
        .into_iter()
        .zip(per_worker(after, name));
    pairs.map(|(before, after)| after - before).collect()
}

#[test]
fn the_messages_of_one_source_are_spread_by_call_id_and_each_call_keeps_its_order() -> Result<()> {
    for engine in ["xdp", "socket"] {
        let mut carrier = Carrier::new()?;
        let corex = carrier.start(engine, "on")?;
        // By two roads, as now and then for the neighbour's sake, messages may overtake each other.
        let by_other_road = |books: &ObservedBooks| match engine {
            "xdp" => books.get("user.out_socket"),
            _ => books.get("user.out_xdp"),
        };
        let (before, after, disordered) = wait::until("all take one road", LIMIT, || {
            let before = settled(&corex, carrier.sent)?;
            let disordered = carrier.disordered;
            carrier.exchange(MESSAGES).with_context(|| corex.log())?;
            let after = settled(&corex, carrier.sent)?;
            let is_one = by_other_road(&before) == by_other_road(&after);
            Ok(is_one.then_some((before, after, carrier.disordered - disordered)))
        })?;
        ensure!(disordered == 0, "{engine}: {disordered} of {MESSAGES}");
        let received = match engine {
            "xdp" => gained(&before, &after, "xdp_in"),
            _ => gained(&before, &after, "socket_in"),
        };
        let has_one = received.iter().filter(|count| **count > 0).count() == 1;
        ensure!(has_one, "one source is one queue: {received:?}");
        let sent = gained(&before, &after, "sent");
        ensure!(
            sent.len() == WORKERS as usize && sent.iter().all(|count| *count > 0),
            "{engine}: {sent:?}"
        );
        ensure!(sent.iter().sum::<u64>() == MESSAGES, "{sent:?}");
        ensure!(after.get("user.shard_out") == after.get("user.shard_in"));
        // What is on its way from worker to worker when corex is told to stop isn't lost.
        for _ in 0..WINDOW {
            carrier.send()?;
        }
        wait::until("all have come in", LIMIT, || {
            let books = corex.books()?;
            let came = books.get("user.xdp_in") + books.get("user.socket_in");
            Ok((came == carrier.sent).then_some(()))
        })?;
        let books = corex.stop()?;
        books.check_balance()?;
        ensure!(books.get("user.sent") == carrier.sent, "{:#}", books.0);
        ensure!(books.sum("user.dropped") == 0, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn without_sharding_one_worker_has_all_messages_of_one_source() -> Result<()> {
    let mut carrier = Carrier::new()?;
    let corex = carrier.start("xdp", "off")?;
    carrier.exchange(MESSAGES)?;
    let books = settled(&corex, carrier.sent)?;
    let sent = per_worker(&books, "sent");
    let count = sent.iter().filter(|count| **count > 0).count();
    ensure!(count == 1, "{sent:?}");
    ensure!(books.get("user.shard_out") == 0);
    corex.stop()?.check_balance()
}
