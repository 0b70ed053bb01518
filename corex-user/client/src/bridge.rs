//! Clients with sockets: a small proxy in front of plain SIP clients.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::client::{Client, Counters, Output};
use crate::options::{Loaded, Options, OptionsError};

/// The longest datagram.
const MAX_DATAGRAM: usize = 65_535;
/// So many datagrams are read of one socket before the others get their turn.
const BATCH: usize = 64;
/// Descriptors beside those of devices.
const OTHER_FILES: u64 = 64;
/// The listening socket's number; devices have those from 0.
const APPS: u64 = u64::MAX;

/// What a bridge is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgeOptions {
    /// Where apps send plain SIP, by UDP.
    pub listen: SocketAddr,
    /// The most devices: each address that sends there is one.
    pub devices: usize,
    /// What each of them is.
    pub client: Options,
}

/// Why a bridge can't begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Something about the client.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A UUID is one device's.
    #[error("one UUID is that of one device: leave it out, or take one device")]
    OneId,
    /// The socket for apps.
    #[error("listen on {0} for plain SIP: {1}")]
    Listen(SocketAddr, io::Error),
    /// The system refuses something.
    #[error("wait for packets: {0}")]
    Wait(io::Error),
}

/// One app, and its way to the server.
struct Line {
    app: SocketAddr,
    wire: UdpSocket,
    client: Client,
}

/// Stands in front of plain SIP clients: each address that sends to it is a device.
pub struct Bridge {
    loaded: Loaded,
    max: usize,
    apps: UdpSocket,
    epoll: Epoll,
    lines: Vec<Line>,
    by_app: HashMap<SocketAddr, usize>,
    /// Messages of apps beyond the most.
    turned_away: u64,
    room: Vec<u8>,
}

impl Bridge {
    /// Opens the socket for apps.
    ///
    /// # Errors
    /// When that can't be, or the options are wrong.
    pub fn new(options: &BridgeOptions) -> Result<Bridge, BridgeError> {
        if options.client.device.is_some() && options.devices > 1 {
            return Err(BridgeError::OneId);
        }
        let loaded = options.client.load()?;
        // Tried once, so that mistakes show at the start.
        Client::of(&loaded)?;
        allow_files(options.devices as u64 + OTHER_FILES);
        let apps = UdpSocket::bind(options.listen)
            .and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .map_err(|error| BridgeError::Listen(options.listen, error))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(wait)?;
        epoll
            .add(&apps, EpollEvent::new(EpollFlags::EPOLLIN, APPS))
            .map_err(wait)?;
        Ok(Bridge {
            loaded,
            max: options.devices,
            apps,
            epoll,
            lines: Vec::new(),
            by_app: HashMap::new(),
            turned_away: 0,
            room: vec![0; MAX_DATAGRAM],
        })
    }

    /// Where apps send to.
    ///
    /// # Errors
    /// When the system doesn't say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.apps.local_addr()
    }

    /// How many devices there are.
    pub fn devices(&self) -> usize {
        self.lines.len()
    }

    /// Messages of apps that came when there were as many devices as may be.
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// What all devices together did.
    pub fn counters(&self) -> Counters {
        let all = self.lines.iter().map(|line| line.client.counters());
        all.fold(Counters::default(), |sum, one| Counters {
            sent: sum.sent + one.sent,
            received: sum.received + one.received,
            enrolments: sum.enrolments + one.enrolments,
            accepted: sum.accepted + one.accepted,
            taken: sum.taken + one.taken,
            unknown: sum.unknown + one.unknown,
            refused: sum.refused + one.refused,
            dropped: sum.dropped + one.dropped,
        })
    }

    /// Waits at most so long for packets, and takes care of those that came.
    ///
    /// # Errors
    /// When the system refuses to wait.
    pub fn run_once(&mut self, longest: Duration) -> Result<(), BridgeError> {
        let now = now();
        let due = self.lines.iter().filter_map(|line| line.client.next_tick());
        let until = due.min().map_or(longest, |at| at.saturating_sub(now));
        // A millisecond more, so that what is due then is due.
        let millis = until.min(longest).as_millis().saturating_add(1);
        let timeout = EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX);
        let mut events = [EpollEvent::empty(); BATCH];
        let ready = match self.epoll.wait(&mut events, timeout) {
            Ok(ready) => ready,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(wait(error)),
        };
        for event in events.iter().take(ready) {
            match event.data() {
                APPS => self.serve_apps(),
                line => self.serve_server(line as usize),
            }
        }
        let now = self::now();
        for at in 0..self.lines.len() {
            let Some(line) = self.lines.get_mut(at) else {
                continue;
            };
            if line.client.next_tick().is_some_and(|due| due <= now) {
                line.client.tick(now);
                self.send(at);
            }
        }
        Ok(())
    }

    fn serve_apps(&mut self) {
        for _ in 0..BATCH {
            let Ok((len, app)) = self.apps.recv_from(&mut self.room) else {
                return;
            };
            let Some(at) = self.line(app) else {
                self.turned_away += 1;
                continue;
            };
            if let (Some(line), Some(message)) = (self.lines.get_mut(at), self.room.get(..len)) {
                line.client.send(now(), message);
            }
            self.send(at);
        }
    }

    /// The line of the app at this address, a new one if it has none.
    fn line(&mut self, app: SocketAddr) -> Option<usize> {
        if let Some(&at) = self.by_app.get(&app) {
            return Some(at);
        }
        if self.lines.len() >= self.max {
            return None;
        }
        let server = self.loaded.options.server;
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let wire = UdpSocket::bind(any).ok()?;
        wire.connect(server).ok()?;
        wire.set_nonblocking(true).ok()?;
        let client = Client::of(&self.loaded).ok()?;
        let at = self.lines.len();
        let event = EpollEvent::new(EpollFlags::EPOLLIN, at as u64);
        self.epoll.add(&wire, event).ok()?;
        self.lines.push(Line { app, wire, client });
        self.by_app.insert(app, at);
        Some(at)
    }

    fn serve_server(&mut self, at: usize) {
        for _ in 0..BATCH {
            let Some(line) = self.lines.get_mut(at) else {
                return;
            };
            match line.wire.recv(&mut self.room) {
                Ok(len) => {
                    if let Some(packet) = self.room.get(..len) {
                        line.client.receive(now(), packet);
                    }
                    self.send(at);
                }
                // Nobody listens at the server yet; that is over once it is read.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }

    /// Sends what a client has to send. What the system doesn't take is lost, as datagrams are.
    fn send(&mut self, at: usize) {
        let Some(line) = self.lines.get_mut(at) else {
            return;
        };
        while let Some(output) = line.client.next_output() {
            let _ = match output {
                Output::ToServer(packet) => match line.wire.send(&packet) {
                    // What was sent before wasn't wanted: this one may be.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        line.wire.send(&packet)
                    }
                    sent => sent,
                },
                Output::ToApp(message) => self.apps.send_to(&message, line.app),
            };
        }
    }
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bridge({:?}, {} devices)", self.apps, self.lines.len())
    }
}

fn wait(error: nix::errno::Errno) -> BridgeError {
    BridgeError::Wait(error.into())
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Lets the process have so many files, as far as it may. Where it may not, the devices beyond that
/// are turned away.
fn allow_files(wanted: u64) {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < wanted
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
}
