//! What the IP headers say of messages that corex sends: the same by AF_XDP and by kernel sockets.

use std::{net::UdpSocket, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Books, Corex, WorkDir, capture::Capture, corex::CorexOptions, raw::Seen, topology::Chain,
};

const ENGINES: [&str; 2] = ["socket", "xdp"];

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

/// What arrives at a socket until nothing more does.
fn arrived(socket: &UdpSocket) -> Result<Vec<Vec<u8>>> {
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut buffer = vec![0; 65_535];
    let mut all = Vec::new();
    while let Ok((len, _)) = socket.recv_from(&mut buffer) {
        all.push(buffer[..len].to_vec());
    }
    Ok(all)
}

/// The first corex of a chain, whose script sends every message to where the second one would
/// be, over a link for packets of 1,200 bytes at most; and whose host isn't told so.
struct NarrowPath {
    answerer: UdpSocket,
    caller: UdpSocket,
    capture: Capture,
    corex: Corex,
    _chain: Chain,
    _work: WorkDir,
}

impl NarrowPath {
    fn new(engine: &str, parameters: &str) -> Result<Self> {
        let work = WorkDir::new()?;
        let chain = Chain::new()?;
        chain.internet.ip("link set dev b mtu 1200")?;
        chain.b.ip("link set dev wire mtu 1200")?;
        // ICMP's "fragmentation needed" is ignored, as if a firewall had dropped it.
        chain.a.sysctl("net.ipv4.ip_no_pmtu_disc", "2")?;
        let (from, to) = (Chain::A_WIRE.sip(), Chain::B_WIRE.sip());
        let user = Chain::A_USER.sip();
        let text = format!(
            "listen=udp:{user}\nlisten=udp:{from}\nmhomed=1\n{parameters}\n\
             loadmodule \"corex.so\"\nrequest_route {{ send(\"{to}\"); }}\n"
        );
        let config = work.write("corex.cfg", text)?;
        let corex = CorexOptions::new(&config)
            .interface("user")
            .interface("wire")
            .engine(engine)
            .start(&chain.a, work.path(), "corex")?;
        Ok(Self {
            answerer: chain.b.udp(to)?,
            caller: chain.uac.udp(Chain::UAC.sip())?,
            capture: Capture::start(&chain.internet, "a")?,
            corex,
            _chain: chain,
            _work: work,
        })
    }

    fn send(&self, messages: usize, len: usize) -> Result<()> {
        for _ in 0..messages {
            self.caller.send_to(&request(len), Chain::A_USER.sip())?;
            // Time for the next hop to be known.
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Flags and identifications of what corex sent, and the books.
    fn close(self) -> Result<(Vec<(u16, u16)>, Books)> {
        let frames = self.capture.stop()?;
        let corex_sent = |seen: &&Seen| {
            let udp = seen.udp();
            udp.is_some_and(|udp| udp.source == Chain::A_WIRE.sip())
        };
        let frames = frames.iter().map(|captured| &captured.frame);
        let words = frames.filter(corex_sent).filter_map(flags_and_id).collect();
        let books = self.corex.stop()?;
        books.check_balance()?;
        Ok((words, books))
    }
}

#[test]
fn a_message_larger_than_a_later_link_arrives_though_nobody_tells_of_the_link() -> Result<()> {
    for engine in ENGINES {
        let path = NarrowPath::new(engine, "")?;
        path.send(6, 1300)?;
        let all = arrived(&path.answerer)?;
        ensure!(
            all == vec![request(1300); 6],
            "{engine}: {} of 6 arrived",
            all.len()
        );
        let (words, books) = path.close()?;
        let (by_xdp, by_socket) = (books.get("user.out_xdp"), books.get("user.out_socket"));
        ensure!(
            if engine == "xdp" {
                by_xdp > 0
            } else {
                by_socket == 6
            },
            "{engine}: {by_xdp} by AF_XDP, {by_socket} by kernel sockets"
        );
        ensure!(words.len() == 6, "{engine}: {words:?}");
        ensure!(
            words.iter().all(|(flags, _)| *flags == 0),
            "{engine}: {words:?}"
        );
        // Fragments of two datagrams are not to be taken for one's.
        let mut ids: Vec<u16> = words.iter().map(|(_, id)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        ensure!(ids.len() == 6, "{engine}: {words:?}");
    }
    Ok(())
}

#[test]
fn with_pmtu_discovery_no_router_may_fragment() -> Result<()> {
    for engine in ENGINES {
        let path = NarrowPath::new(engine, "pmtu_discovery=1")?;
        path.send(4, 400)?;
        path.send(1, 1300)?;
        let all = arrived(&path.answerer)?;
        ensure!(
            all == vec![request(400); 4],
            "{engine}: {} arrived",
            all.len()
        );
        let (words, _) = path.close()?;
        ensure!(words.len() == 5, "{engine}: {words:?}");
        ensure!(
            words.iter().all(|(flags, _)| *flags == 0x4000),
            "{engine}: {words:?}"
        );
    }
    Ok(())
}
