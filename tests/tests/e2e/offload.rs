//! Messages that the kernel sends on by itself: the same bytes and the same sums as by user space.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use corex_lab::{
    Corex, Frame, ObservedBooks, RawSocket, WorkDir,
    config::Family,
    corex::CorexOptions,
    frame::UdpChecksum,
    topology::{PORT, Relay},
    wait,
};

const LIMIT: Duration = Duration::from_secs(120);
/// How long what is handled takes to arrive, at most.
const SETTLE: Duration = Duration::from_secs(1);
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn address(family: Family, host: corex_lab::topology::LabHost) -> SocketAddr {
    SocketAddr::new(family.of(host), PORT)
}

struct Bench {
    relay: Relay,
    raw: RawSocket,
    wire: RawSocket,
    corex: Corex,
    work: WorkDir,
}

/// Where requests go on the answering host.
#[derive(Clone, Copy)]
enum Choice {
    /// To that port.
    One(u16),
    /// To one of four ports by the Call-ID.
    ByCallId,
}

impl Choice {
    fn statements(self, to: IpAddr) -> String {
        let send = |port| format!("send(\"{}\");", SocketAddr::new(to, port));
        match self {
            Self::One(port) => send(port) + " drop;",
            Self::ByCallId => {
                let case = |n: u16| format!("case {n}: {} drop;\n", send(PORT + n));
                let cases: String = (0..4).map(case).collect();
                format!("switch ($(ci{{s.corehash,4}})) {{ {cases} }}")
            }
        }
    }
}

/// All requests go to the answering host; replies too, but for those from its network, which are
/// dropped.
fn configuration(offload: u8, choice: Choice) -> String {
    let mut text = format!(
        "loadmodule \"corex.so\"\npmtu_discovery=1\nmodparam(\"corex\", \"offload\", {offload})\n"
    );
    let mut routes = String::new();
    for family in FAMILIES {
        let own = address(family, Relay::USER_SIDE);
        text += &format!("listen=udp:{own}\n");
        let own = own.ip();
        let statements = choice.statements(family.of(Relay::UAS));
        routes += &format!("if ($Ri == \"{own}\") {{ {statements} }}\n");
    }
    text + &format!("request_route {{ {routes} }}\nreply_route {{ if (method == \"x\") exit; }}\n")
}

impl Bench {
    fn new(offload: u8) -> Result<Self> {
        Self::with(offload, Choice::One(PORT))
    }

    fn with(offload: u8, choice: Choice) -> Result<Self> {
        let work = WorkDir::new()?;
        let relay = Relay::new()?;
        // Without it the far end of a pair takes nothing that XDP sends.
        relay.uas.offload("eth0", "gro", true)?;
        // What kernel sockets send, while a next hop is asked for, has its checksum as well.
        relay.corex.offload("core", "tx", false)?;
        // And no flow label.
        relay.corex.sysctl("net.ipv6.auto_flowlabels", "0")?;
        let mac = relay.uas.mac("eth0")?;
        for family in FAMILIES {
            relay.corex.neighbour("core", family.of(Relay::UAS), mac)?;
        }
        let config = work.write("corex.cfg", configuration(offload, choice))?;
        let corex = CorexOptions::new(&config)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .start(&relay.corex, work.path(), "corex")?;
        Ok(Self {
            raw: RawSocket::open(&relay.uac, "eth0")?,
            wire: RawSocket::open(&relay.uas, "eth0")?,
            relay,
            corex,
            work,
        })
    }

    fn frame(&self, family: Family, payload: &[u8]) -> Result<Frame> {
        Ok(Frame::udp(
            (self.relay.uac.mac("eth0")?, address(family, Relay::UAC)),
            (
                self.relay.corex.mac("user")?,
                address(family, Relay::USER_SIDE),
            ),
            payload,
        ))
    }

    /// Sends frames until the kernel sends messages of both families on by itself.
    fn open_roads(&self) -> Result<()> {
        for family in FAMILIES {
            let before = self.corex.books()?.get("kernel.offloaded");
            wait::until("messages take roads", LIMIT, || {
                let primer = self.frame(family, &request("primer"))?;
                self.raw.send(&primer.build())?;
                let now = self.corex.books()?.get("kernel.offloaded");
                Ok((now > before).then_some(()))
            })?;
        }
        Ok(())
    }

    /// The frames that arrive once all of these are handled.
    fn exchange(&self, frames: &[Frame]) -> Result<Vec<Vec<u8>>> {
        let seen = self.corex.books()?.get("kernel.seen");
        for frame in frames {
            self.raw.send(&frame.build())?;
        }
        wait::until("all is handled", LIMIT, || {
            let books = self.corex.books()?;
            let have_come = books.get("kernel.seen") >= seen + frames.len() as u64;
            Ok((have_come && books.check_balance().is_ok()).then_some(()))
        })?;
        let mut arrived = Vec::new();
        let mut since = Instant::now();
        while since.elapsed() < SETTLE {
            let Some(frame) = self.wire.poll()? else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            if let Some(udp) = frame.udp().filter(|_| !frame.outgoing)
                && udp.payload != request("primer")
            {
                since = Instant::now();
                arrived.push(frame.bytes);
            }
        }
        Ok(arrived)
    }
}

fn message(line: &str, name: &str, len: usize) -> Vec<u8> {
    let mut text = format!(
        "{line}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:x@b>\r\nCall-ID: {name}\r\nCSeq: 1 OPTIONS\r\n\r\n"
    )
    .into_bytes();
    text.resize(text.len() + len, b'x');
    text
}

fn request(name: &str) -> Vec<u8> {
    message("OPTIONS sip:x@example.com SIP/2.0", name, 0)
}

/// Messages of all sorts, plain and odd, of both families.
fn traffic(bench: &Bench) -> Result<Vec<Frame>> {
    let mut frames = Vec::new();
    for family in FAMILIES {
        for (number, line) in [
            "OPTIONS sip:x@example.com SIP/2.0",
            "INVITE sip:x@example.com;transport=udp SIP/2.0",
            "BYE sip:x@example.com  SIP/2.0",
            "FOO sip:x@example.com SIP/2.0",
            "foo sip:x@example.com SIP/2.0",
            "SIP/2.0 200 OK",
            "SIP/2.0 200",
            "not a message",
            "\r\nACK sip:x@example.com SIP/2.0",
        ]
        .into_iter()
        .enumerate()
        {
            for len in [0, 1, 700] {
                let payload = message(line, &format!("{number}-{len}"), len);
                frames.push(bench.frame(family, &payload)?);
            }
        }
        let plain = |name: &str| bench.frame(family, &request(name));
        for ttl in [0, 1, 2, 255] {
            let mut frame = plain(&format!("ttl-{ttl}"))?;
            frame.ttl = ttl;
            frames.push(frame);
        }
        let mut class = plain("class")?;
        class.tos = 0xb8;
        frames.push(class);
        let mut wrong = plain("wrong-header")?;
        wrong.wrong_ip_checksum = matches!(family, Family::V4);
        frames.push(wrong);
        let mut partial = plain("partial")?;
        partial.udp_checksum = UdpChecksum::Partial;
        frames.push(partial);
        let mut padded = plain("padded")?;
        padded.padding = 9;
        frames.push(padded);
        for header in [
            "Call-ID: 1@192.0.2.1",
            "i:2",
            "I: 3-3-3",
            "CALL-ID: a84b4c76e66710@pc33.atlanta.example.com",
            "Call-ID : 4",
            "Call-ID:\r\n 5",
            "Call-ID: 6\r\n 7",
            "Call-ID:   8  ",
            "To: <sip:nobody@b>",
            "To: x\r\n i: 9\r\ni: 10\r\nCall-ID: 11",
        ] {
            let text = format!(
                "INVITE sip:x@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
                 {header}\r\nCSeq: 1 INVITE\r\n\r\n"
            );
            frames.push(bench.frame(family, text.as_bytes())?);
        }
        for number in 0..32 {
            frames.push(plain(&format!("{number}@call.example.com"))?);
        }
        // What is routed on, comes from nowhere, or is for another host.
        let mut transit = plain("transit")?;
        transit.destination.set_port(5099);
        frames.push(transit);
        let mut martian = plain("martian")?;
        martian.source = address(family, Relay::USER_SIDE);
        frames.push(martian);
        let mut foreign = plain("foreign")?;
        foreign.ethernet.0 = "02:11:22:33:44:55".parse()?;
        frames.push(foreign);
    }
    Ok(frames)
}

/// What the two ways must count alike.
fn sums(books: &ObservedBooks) -> Vec<(String, u64)> {
    let mut sums = vec![("sent".to_owned(), books.get("sent"))];
    for reason in ["foreign_mac", "martian", "not_local", "no_socket"] {
        let path = format!("kernel.passed.{reason}");
        sums.push((path.clone(), books.get(&path)));
    }
    for reason in [
        "send_ttl",
        "not_sip",
        "ip_checksum",
        "reply_unrouted",
        "script",
    ] {
        let path = format!("user.dropped.{reason}");
        sums.push((path.clone(), books.get(&path)));
    }
    for host in [Relay::UAC, Relay::UAS] {
        for family in FAMILIES {
            let name = family.of(host).to_string();
            let rows = books.0["peers"].as_array();
            let row = rows.and_then(|rows| rows.iter().find(|row| row["peer"] == name.as_str()));
            for field in ["packets_in", "bytes_in", "packets_out", "bytes_out"] {
                let count = row.and_then(|row| row[field].as_u64());
                sums.push((format!("{name} {field}"), count.unwrap_or_default()));
            }
        }
    }
    sums
}

/// What the traffic adds to the books, and what arrives.
fn outcome(offload: u8, choice: Choice) -> Result<(Vec<Vec<u8>>, Vec<i64>, ObservedBooks)> {
    let bench = Bench::with(offload, choice)?;
    if offload == 1 {
        bench.open_roads()?;
    } else {
        // The next hops are known then, as with roads.
        for family in FAMILIES {
            bench
                .raw
                .send(&bench.frame(family, &request("primer"))?.build())?;
        }
        wait::until("next hops are known", LIMIT, || {
            for family in FAMILIES {
                bench
                    .raw
                    .send(&bench.frame(family, &request("primer"))?.build())?;
            }
            Ok((bench.corex.books()?.get("user.out_in_place") > 3).then_some(()))
        })?;
    }
    let before = wait::until("what came before is handled", LIMIT, || {
        let books = bench.corex.books()?;
        Ok(books.check_balance().is_ok().then(|| sums(&books)))
    })?;
    let frames = traffic(&bench)?;
    let mut arrived = bench.exchange(&frames)?;
    // MACs differ from one laboratory to the other.
    for frame in &mut arrived {
        frame.drain(..12);
    }
    arrived.sort();
    let books = bench.corex.stop()?;
    books.check_balance()?;
    let gained = sums(&books)
        .iter()
        .zip(&before)
        .map(|((_, after), (_, before))| *after as i64 - *before as i64)
        .collect();
    Ok((arrived, gained, books))
}

#[test]
fn the_kernel_sends_the_same_bytes_and_counts_the_same_as_user_space() -> Result<()> {
    compare(Choice::One(PORT))
}

#[test]
fn by_call_id_the_kernel_chooses_the_destination_that_user_space_does() -> Result<()> {
    compare(Choice::ByCallId)
}

fn compare(choice: Choice) -> Result<()> {
    let (by_user_space, gained, books) = outcome(0, choice)?;
    ensure!(books.get("kernel.offloaded") == 0);
    let (by_kernel, gained_by_kernel, books) = outcome(1, choice)?;
    ensure!(books.get("kernel.offloaded") > 10, "{books:?}");
    ensure!(
        by_user_space.len() == by_kernel.len(),
        "{} and {} datagrams",
        by_user_space.len(),
        by_kernel.len()
    );
    for (one, other) in by_user_space.iter().zip(&by_kernel) {
        ensure!(
            one == other,
            "{}\n{}",
            one.escape_ascii(),
            other.escape_ascii()
        );
    }
    ensure!(
        gained == gained_by_kernel,
        "{gained:?} {gained_by_kernel:?}"
    );
    Ok(())
}

#[test]
fn a_reload_under_traffic_changes_where_roads_lead_and_loses_nothing() -> Result<()> {
    let bench = Bench::new(1)?;
    bench.open_roads()?;
    let mut ports = Vec::new();
    let mut sent = 0_u32;
    let mut reloaded = None;
    let before = bench.corex.books()?.get("kernel.offloaded");
    let deadline = Instant::now() + LIMIT;
    // Until messages take the new road.
    let is_new = |reloaded: Option<u64>| -> Result<bool> {
        // Books take long on a busy machine.
        let Some(at) = reloaded else { return Ok(false) };
        Ok(bench.corex.books()?.get("kernel.offloaded") > at + 50)
    };
    let mut in_the_kernel = None;
    loop {
        for _ in 0..20 {
            bench
                .raw
                .send(&bench.frame(Family::V4, &request("load"))?.build())?;
            sent += 1;
        }
        while let Some(seen) = bench.wire.poll()? {
            if let Some(udp) = seen.udp().filter(|_| !seen.outgoing)
                && udp.payload == request("load")
            {
                ports.push(udp.destination.port());
            }
        }
        if sent == 400 {
            bench
                .work
                .write("corex.cfg", configuration(1, Choice::One(PORT + 1)))?;
            bench.corex.process.signal(libc::SIGHUP)?;
        }
        if in_the_kernel.is_none() && ports.contains(&(PORT + 1)) {
            in_the_kernel = Some(bench.corex.books()?.get("kernel.offloaded"));
        }
        reloaded = in_the_kernel.or(reloaded);
        if is_new(reloaded)? {
            break;
        }
        ensure!(Instant::now() < deadline, "{}", bench.corex.log());
    }
    ensure!(before > 0);
    wait::until("all arrive", LIMIT, || {
        while let Some(seen) = bench.wire.poll()? {
            if let Some(udp) = seen.udp().filter(|_| !seen.outgoing)
                && udp.payload == request("load")
            {
                ports.push(udp.destination.port());
            }
        }
        Ok((ports.len() as u32 == sent).then_some(()))
    })?;
    // None goes by the old configuration once one has gone by the new one, from one source.
    let first = ports.iter().position(|port| *port == PORT + 1).unwrap_or(0);
    ensure!(
        ports[first..].iter().all(|port| *port == PORT + 1),
        "{ports:?}"
    );
    let books = bench.corex.stop()?;
    books.check_balance()
}

#[test]
fn a_neighbour_that_changes_its_mac_is_sent_to_there() -> Result<()> {
    let bench = Bench::new(1)?;
    bench.open_roads()?;
    bench
        .relay
        .uas
        .ip("link set eth0 address 02:00:00:00:99:01")?;
    let to = Family::V4.of(Relay::UAS);
    bench
        .relay
        .corex
        .neighbour("core", to, "02:00:00:00:99:01".parse()?)?;
    wait::until("frames go to the new address", LIMIT, || {
        bench
            .raw
            .send(&bench.frame(Family::V4, &request("moved"))?.build())?;
        while let Some(seen) = bench.wire.poll()? {
            if !seen.outgoing && seen.bytes[..6] == [2, 0, 0, 0, 0x99, 1] {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })?;
    let books = bench.corex.stop()?;
    books.check_balance()
}

#[test]
fn a_destination_that_takes_nothing_from_xdp_gets_it_from_user_space() -> Result<()> {
    let bench = Bench::new(1)?;
    bench.open_roads()?;
    bench.relay.uas.offload("eth0", "gro", false)?;
    wait::until("corex has found out", LIMIT, || {
        let books = format!("{:?}", bench.corex.books()?);
        let closed = books.matches("doesn't send for XDP").count();
        Ok((closed == FAMILIES.len()).then_some(()))
    })?;
    let before = bench.corex.books()?.get("kernel.offloaded");
    let frames = [
        bench.frame(Family::V4, &request("one"))?,
        bench.frame(Family::V6, &request("other"))?,
    ];
    ensure!(bench.exchange(&frames)?.len() == 2);
    ensure!(bench.corex.books()?.get("kernel.offloaded") == before);
    Ok(())
}
