//! The thread that sends copies: it makes HEP packets of them, finds collectors by name, and sends
//! by sockets of its own, which no hook and no script sees.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    Exporter, Item, Job, Plan, World,
    packet::{Packet, TooLong},
};
use crate::telemetry::hep_counters::HepCounters;
use corex_script::{
    Direction,
    limiter::Limiter,
    settings::{Collector, Siptrace},
};
use corex_sip::{SipView, Transport};

/// Collectors that are known at a time: those that scripts name, too.
const COLLECTORS: usize = 16;
/// How long the first copies for a name wait for its address.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
/// How long an address is good before the name is looked up again, beside the traffic.
const FRESH: Duration = Duration::from_secs(30);
/// How long a name without an address is left alone.
const UNRESOLVED: Duration = Duration::from_secs(5);
/// How long a collector is left alone that there is no way to.
const PAUSE: Duration = Duration::from_secs(1);
/// How long what waits may take when corex stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a copy was lost.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("there is no collector")]
    NoCollector,
    #[error("its name has no address")]
    Unresolved,
    #[error("corex itself listens there: the copy would come back")]
    OwnSocket,
    #[error(transparent)]
    TooLong(#[from] TooLong),
    #[error("there was no way to it a moment ago")]
    Pause,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Lost {
    fn counter(&self) -> fn(&HepCounters) -> &AtomicU64 {
        match self {
            Lost::NoCollector | Lost::Unresolved => |c| &c.drop_unresolved,
            Lost::OwnSocket => |c| &c.drop_send_self,
            Lost::TooLong(_) => |c| &c.drop_too_long,
            Lost::Io(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => |c| &c.drop_too_long,
            Lost::Pause | Lost::Io(_) => |c| &c.drop_send_error,
        }
    }
}

/// The thread's own.
pub(super) struct Sender {
    exporter: Arc<Exporter>,
    world: Arc<dyn World>,
    plan: Arc<Plan>,
    /// Those in use, the one used last at the end.
    ways: Vec<Way>,
    packet: Vec<u8>,
    log: Limiter,
}

/// The way to one collector.
struct Way {
    collector: Collector,
    address: Option<SocketAddr>,
    /// When its name was asked for last.
    asked: Option<Instant>,
    answer: Option<Receiver<Option<SocketAddr>>>,
    socket: Option<UdpSocket>,
    /// When there was no way to it.
    failed: Option<Instant>,
}

impl Sender {
    pub fn new(exporter: Arc<Exporter>, world: Arc<dyn World>) -> Sender {
        Sender {
            plan: exporter.plan.load_full(),
            exporter,
            world,
            ways: Vec::new(),
            packet: Vec::new(),
            log: Limiter::default(),
        }
    }

    /// Sends what comes, until the exporter stops.
    pub fn run(mut self, items: &Receiver<Item>) {
        while !self.exporter.is_stopping.load(Ordering::Acquire) {
            match items.recv() {
                Ok(Item::Copy(job)) => self.send(&job),
                Ok(Item::Wake) => {}
                Err(mpsc::RecvError) => return,
            }
        }
        let deadline = Instant::now() + FAREWELL;
        while let Ok(item) = items.try_recv() {
            let Item::Copy(job) = item else { continue };
            if Instant::now() < deadline {
                self.send(&job);
            } else {
                self.exporter.give_back(job.len());
                self.exporter.counters.add(|c| &c.drop_stopping);
            }
        }
    }

    fn send(&mut self, job: &Job) {
        let plan = self.exporter.plan.load();
        if !Arc::ptr_eq(&plan, &self.plan) {
            self.plan = Arc::clone(&plan);
            self.ways.clear();
        }
        drop(plan);
        let sent = self.try_send(job);
        self.exporter.give_back(job.len());
        let counters = &self.exporter.counters;
        match sent {
            Ok(()) => {
                counters.add(|c| &c.exported);
                counters.add_many(|c| &c.exported_bytes, self.packet.len());
            }
            Err(lost) => {
                counters.add(lost.counter());
                if let Some(held_back) = self.log.allow() {
                    let to = job.to.as_ref().or(self.plan.settings.collector.as_ref());
                    let to = to.map_or("", |to| &to.host);
                    tracing::warn!(held_back, "copy for the collector {to}: {lost}");
                }
            }
        }
    }

    fn try_send(&mut self, job: &Job) -> Result<(), Lost> {
        let settings = &self.plan.settings;
        write(job, settings, &mut self.packet)?;
        let collector = job.to.as_ref().or(settings.collector.as_ref());
        let at = match collector {
            None => return Err(Lost::NoCollector),
            Some(collector) => find(&mut self.ways, collector),
        };
        let way = self.ways.get_mut(at).ok_or(Lost::NoCollector)?;
        let address = way.address(&*self.world).ok_or(Lost::Unresolved)?;
        let (ip, port) = (address.ip(), address.port());
        let is_local = |ip| self.world.is_local(ip);
        let own = &self.plan.own;
        if own.at_address(Transport::Udp, ip, port, is_local).is_some() {
            return Err(Lost::OwnSocket);
        }
        let refused = way.send(address, self.plan.send_from, &self.packet);
        let counters = &self.exporter.counters;
        refused.map(|refused| counters.add_many(|c| &c.refused, refused))
    }
}

/// Where the way to a collector is in the list; the one that wasn't used for longest makes room.
fn find(ways: &mut Vec<Way>, collector: &Collector) -> usize {
    match ways.iter().position(|way| way.collector == *collector) {
        Some(at) if at + 1 == ways.len() => {}
        Some(at) => {
            let way = ways.remove(at);
            ways.push(way);
        }
        None => {
            if ways.len() >= COLLECTORS {
                ways.remove(0);
            }
            ways.push(Way {
                collector: collector.clone(),
                address: collector.address(),
                asked: None,
                answer: None,
                socket: None,
                failed: None,
            });
        }
    }
    ways.len().saturating_sub(1)
}

/// Writes the HEP packet of a copy.
fn write(job: &Job, settings: &Siptrace, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let mut source = job.source;
    let mut destination = job.destination;
    if let Some(local) = settings.local {
        let own = match job.way {
            Direction::Incoming => &mut destination,
            Direction::Outgoing => &mut source,
        };
        if own.is_ipv4() == local.is_ipv4() {
            *own = local;
        }
    }
    let correlation = match &job.correlation {
        Some(given) => given,
        None => SipView::parse(&job.payload)
            .ok()
            .and_then(|view| view.call_id())
            .unwrap_or_default(),
    };
    let since = job.at.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    Packet {
        source,
        destination,
        transport: job.transport,
        // It wraps in 2106, as the field does.
        seconds: since.as_secs() as u32,
        micros: since.subsec_micros(),
        kind: job.kind,
        capture_id: settings.capture_id,
        correlation,
        auth_key: settings.auth_key.as_bytes(),
        payload: &job.payload,
    }
    .write(out)
}

impl Way {
    /// The collector's address, as far as it is known: a name is looked up beside the traffic, and
    /// only its first copies wait for it, not for long.
    fn address(&mut self, world: &dyn World) -> Option<SocketAddr> {
        if let Some(address) = self.collector.address() {
            return Some(address);
        }
        let life = match self.address {
            Some(_) => FRESH,
            None => UNRESOLVED,
        };
        let is_first = self.asked.is_none();
        if self.answer.is_none() && self.asked.is_none_or(|asked| asked.elapsed() >= life) {
            let (sender, answer) = mpsc::channel();
            let Collector { host, port } = &self.collector;
            world.look_up(host, *port, sender);
            self.asked = Some(Instant::now());
            self.answer = Some(answer);
        }
        let Some(answer) = &self.answer else {
            return self.address;
        };
        let found = if is_first {
            answer
                .recv_timeout(FIRST_ANSWER)
                .map_err(|error| match error {
                    RecvTimeoutError::Timeout => TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                })
        } else {
            answer.try_recv()
        };
        match found {
            Err(TryRecvError::Empty) => {}
            Ok(found) => {
                self.answer = None;
                // An address stays where the name has none any more: the collector may be there.
                if found.is_some() && found != self.address {
                    self.address = found;
                    self.socket = None;
                    self.failed = None;
                }
            }
            Err(TryRecvError::Disconnected) => self.answer = None,
        }
        self.address
    }

    /// Sends a packet. Returns how many earlier ones have come back.
    fn send(&mut self, to: SocketAddr, from: Option<IpAddr>, packet: &[u8]) -> Result<usize, Lost> {
        if self.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
            return Err(Lost::Pause);
        }
        let sent = match &self.socket {
            Some(socket) => deliver(socket, packet),
            None => open(to, from).and_then(|socket| {
                let sent = deliver(&socket, packet);
                self.socket = Some(socket);
                sent
            }),
        };
        let error = match sent {
            Ok(refused) => {
                self.failed = None;
                return Ok(refused);
            }
            Err(error) => error,
        };
        let is_for_now = error.kind() == io::ErrorKind::WouldBlock
            || matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS));
        if !is_for_now {
            self.socket = None;
            self.failed = Some(Instant::now());
        }
        Err(error.into())
    }
}

/// A socket that sends to a collector, and is told when nobody listens there.
fn open(to: SocketAddr, from: Option<IpAddr>) -> io::Result<UdpSocket> {
    let any = match to {
        SocketAddr::V4(_) => IpAddr::from([0; 4]),
        SocketAddr::V6(_) => IpAddr::from([0; 16]),
    };
    let socket = UdpSocket::bind((from.unwrap_or(any), 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    Ok(socket)
}

/// Sends a packet, again where the kernel has an earlier one's fate to tell instead. Returns
/// whether it had.
fn deliver(socket: &UdpSocket, packet: &[u8]) -> io::Result<usize> {
    match socket.send(packet) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            socket.send(packet).map(|_| 1)
        }
        sent => sent.map(|_| 0),
    }
}
