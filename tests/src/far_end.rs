//! The far end of a guest's NIC: sends messages to corex in the guest when the guest asks for them, and says
//! whether all came back.
//!
//! The guest asks by the same cable, by a datagram of text: a number of its own, and what corex
//! puts behind each message. The answer is the number, and what was wrong.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::namespace::Namespace;

/// How many messages are sent, each from a port of its own: enough for each of a few queues to get some.
pub const MESSAGES: u16 = 60;
/// The first port that they come from.
const FIRST_PORT: u16 = 20_000;
/// How long a message may take, by an emulated machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(60);
/// After it nothing more is expected.
const SILENCE: Duration = Duration::from_millis(500);
/// How often a thread looks whether it is to end.
const STEP: Duration = Duration::from_millis(200);
/// When the guest asks again, in case a datagram was lost.
const AGAIN: Duration = Duration::from_secs(2);

/// The network of a guest's NIC and its far end, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cable(pub u8);

impl Cable {
    const fn address(self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, self.0, host)), port)
    }

    /// The hardware address of the guest's NIC.
    pub fn mac(self) -> String {
        format!("52:54:00:00:00:{:02x}", self.0)
    }

    /// The guest's address, with the length of the prefix.
    pub fn guest(self) -> String {
        format!("{}/24", self.sip().ip())
    }

    /// The far end's address, with the length of the prefix.
    pub fn far(self) -> String {
        format!("{}/24", self.back().ip())
    }

    /// Where the guest speaks SIP.
    pub const fn sip(self) -> SocketAddr {
        self.address(1, 5060)
    }

    /// Where the far end expects messages back.
    pub const fn back(self) -> SocketAddr {
        self.address(2, 7000)
    }

    /// Where the far end is asked.
    const fn desk(self) -> SocketAddr {
        self.address(2, 6999)
    }

    /// Has the far end send its messages to where the guest speaks SIP, and expect them back with
    /// `ending` behind them. From within the guest's `namespace`.
    ///
    /// # Errors
    /// Not all came back so; or the far end doesn't answer.
    pub fn ask(self, namespace: &Namespace, ending: &str) -> Result<()> {
        let socket = namespace.udp(self.address(1, 0))?;
        socket.connect(self.desk())?;
        socket.set_read_timeout(Some(AGAIN))?;
        let number = socket.local_addr()?.port().to_string();
        let question = format!("{number} {ending}");
        let deadline = Instant::now() + 3 * LIMIT;
        let mut buffer = [0; 2048];
        while Instant::now() < deadline {
            socket.send(question.as_bytes())?;
            // Nothing yet, or nobody there yet.
            let Ok(len) = socket.recv(&mut buffer) else {
                continue;
            };
            let answer = String::from_utf8_lossy(&buffer[..len]);
            if let Some((of, wrong)) = answer.split_once(' ')
                && of == number
            {
                ensure!(wrong.is_empty(), "the far end: {wrong}");
                return Ok(());
            }
        }
        bail!("the far end doesn't answer");
    }
}

/// A far end at work, until it is dropped.
#[derive(Debug)]
pub struct FarEnd {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FarEnd {
    /// In a namespace where an interface has the address already.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(namespace: &Namespace, cable: Cable) -> Result<Self> {
        let ports = FIRST_PORT..FIRST_PORT + MESSAGES;
        let senders = ports.map(|port| namespace.udp(cable.address(2, port)));
        let bench = Bench {
            desk: namespace.udp(cable.desk())?,
            back: namespace.udp(cable.back())?,
            senders: senders.collect::<Result<_>>()?,
            sip: cable.sip(),
        };
        bench.desk.set_read_timeout(Some(STEP))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&is_over);
        Ok(Self {
            is_over,
            thread: Some(thread::spawn(move || bench.serve(&end))),
        })
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to return.
            let _ = thread.join();
        }
    }
}

struct Bench {
    desk: UdpSocket,
    back: UdpSocket,
    senders: Vec<UdpSocket>,
    sip: SocketAddr,
}

impl Bench {
    fn serve(&self, is_over: &AtomicBool) {
        let mut buffer = [0; 2048];
        // What was asked last, and the answer.
        let mut last = (String::new(), String::new());
        while !is_over.load(Ordering::Relaxed) {
            let Ok((len, from)) = self.desk.recv_from(&mut buffer) else {
                continue;
            };
            let question = String::from_utf8_lossy(&buffer[..len]).into_owned();
            let Some((number, ending)) = question.split_once(' ') else {
                continue;
            };
            if question != last.0 {
                let wrong = match self.run(number, ending, is_over) {
                    Ok(()) => String::new(),
                    Err(error) => format!("{error:#}"),
                };
                last = (question.clone(), format!("{number} {wrong}"));
            }
            // It asks again if this doesn't arrive.
            let _ = self.desk.send_to(last.1.as_bytes(), from);
        }
    }

    /// Sends all, and waits until all are back, once each.
    fn run(&self, number: &str, ending: &str, is_over: &AtomicBool) -> Result<()> {
        self.back.set_read_timeout(Some(STEP))?;
        let mut buffer = vec![0; 65_536];
        let mut away = HashMap::new();
        for (which, sender) in self.senders.iter().enumerate() {
            let message = request(&format!("{number}-{which}"), sender.local_addr()?);
            sender.send_to(&message, self.sip).context("send")?;
            let mut expected = message;
            expected.extend(ending.as_bytes());
            away.insert(expected, which);
        }
        let deadline = Instant::now() + LIMIT;
        while !away.is_empty() {
            if Instant::now() > deadline || is_over.load(Ordering::Relaxed) {
                let mut lost: Vec<usize> = away.into_values().collect();
                lost.sort_unstable();
                bail!("of {MESSAGES} messages these didn't come back: {lost:?}");
            }
            let Ok(len) = self.back.recv(&mut buffer) else {
                continue;
            };
            ensure!(
                away.remove(&buffer[..len]).is_some(),
                "this isn't what was sent: {:?}",
                String::from_utf8_lossy(&buffer[..len])
            );
        }
        self.back.set_read_timeout(Some(SILENCE))?;
        ensure!(self.back.recv(&mut buffer).is_err(), "one too many");
        Ok(())
    }
}

fn request(name: &str, from: SocketAddr) -> Vec<u8> {
    format!(
        "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{name}\r\n\
         From: <sip:alice@example.com>;tag={name}\r\nTo: <sip:bob@example.com>\r\n\
         Call-ID: {name}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}
