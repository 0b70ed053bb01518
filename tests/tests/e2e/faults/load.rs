//! A steady load of numbered messages, and what arrives of it.

use std::{
    collections::BTreeMap,
    fmt,
    net::{SocketAddr, UdpSocket},
    ops::Range,
    slice,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{config::MARK, wait};

/// What happens at all happens in this time.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two messages: what waits while a busy machine makes a worker wait fits into its rings and
/// buffers many times over.
const PACE: Duration = Duration::from_millis(1);
/// No load is longer.
const MOST: u32 = 120_000;
/// Nothing that has arrived waits to be read for longer than that.
const SILENCE: Duration = Duration::from_millis(300);

/// A request with a number, to the user `user`.
fn message(number: u32, user: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:{user}@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.0.1.2;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
         To: <sip:{user}@example.com>\r\nFrom: <sip:alice@example.com>;tag=x\r\n\
         Call-ID: {number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// The number of a message that arrived, and whether the hook has put its mark behind it.
fn read(bytes: &[u8]) -> Option<(u32, bool)> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let number = lines.find_map(|line| line.strip_prefix("Call-ID: "))?;
    Some((number.parse().ok()?, text.ends_with(MARK)))
}

/// What a load sends from, where to, and where it arrives.
pub struct Road {
    pub from: UdpSocket,
    pub to: SocketAddr,
    pub at: UdpSocket,
    /// Whom the messages are for.
    pub user: &'static str,
}

/// Someone who goes on sending, and what arrives.
pub struct Load {
    is_over: Arc<AtomicBool>,
    is_read: Arc<AtomicBool>,
    next: Arc<AtomicU32>,
    arrivals: Arc<Mutex<Arrivals>>,
    road: Road,
    sender: JoinHandle<Result<()>>,
    receiver: JoinHandle<Result<()>>,
}

/// What arrived: by number, whether the hook has seen it.
#[derive(Default)]
struct Arrivals {
    hooked: BTreeMap<u32, bool>,
    twice: Vec<u32>,
}

/// What became of a load.
pub struct Tally {
    pub sent: u32,
    /// Arrived with the hook's mark.
    pub hooked: u32,
    /// Arrived without.
    pub plain: u32,
    /// Didn't arrive, in order.
    pub missing: Vec<u32>,
}

impl Tally {
    fn new(sent: u32, arrivals: &Arrivals) -> Self {
        let came = |number: &u32| arrivals.hooked.contains_key(number);
        let hooked = arrivals.hooked.values().filter(|hooked| **hooked).count() as u32;
        Self {
            sent,
            hooked,
            plain: arrivals.hooked.len() as u32 - hooked,
            missing: (0..sent).filter(|number| !came(number)).collect(),
        }
    }

    pub fn lost(&self) -> u64 {
        self.missing.len() as u64
    }

    /// Whether all that is missing has one of these numbers.
    pub fn is_missing_only_within(&self, window: &Range<u32>) -> bool {
        self.is_missing_only_in(slice::from_ref(window))
    }

    /// Whether all that is missing was sent in one of these times.
    pub fn is_missing_only_in(&self, windows: &[Range<u32>]) -> bool {
        let in_one = |number: &u32| windows.iter().any(|window| window.contains(number));
        self.missing.iter().all(in_one)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            hooked,
            plain,
            missing,
        } = self;
        write!(f, "{sent} sent, {hooked} arrived with the hook's mark")?;
        write!(f, ", {plain} without, {} didn't", missing.len())
    }
}

impl Load {
    /// About a thousand messages a second.
    pub fn start(road: Road) -> Result<Self> {
        let (is_over, is_read) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let next = Arc::<AtomicU32>::default();
        let arrivals = Arc::<Mutex<Arrivals>>::default();
        let (from, to, user) = (road.from.try_clone()?, road.to, road.user);
        let (stop, number) = (Arc::clone(&is_over), Arc::clone(&next));
        let sender = thread::spawn(move || {
            while !stop.load(Relaxed) && number.load(Relaxed) < MOST {
                send(&from, to, user, &number)?;
                thread::sleep(PACE);
            }
            Ok(())
        });
        let at = road.at.try_clone()?;
        at.set_read_timeout(Some(SILENCE))?;
        let (stop, came) = (Arc::clone(&is_read), Arc::clone(&arrivals));
        let receiver = thread::spawn(move || receive(&at, &stop, &came));
        Ok(Self {
            is_over,
            is_read,
            next,
            arrivals,
            road,
            sender,
            receiver,
        })
    }

    /// How many were sent, those that are being sent among them; the number of the next one.
    pub fn sent(&self) -> u32 {
        self.next.load(Relaxed)
    }

    /// How many have arrived.
    pub fn arrived(&self) -> u32 {
        lock(&self.arrivals).hooked.len() as u32
    }

    /// The first number after those that have arrived.
    pub fn newest(&self) -> u32 {
        let newest = lock(&self.arrivals).hooked.last_key_value().map(|it| *it.0);
        newest.map_or(0, |number| number + 1)
    }

    /// Waits until so many more have been sent.
    pub fn sends(&self, messages: u32) -> Result<()> {
        let before = self.sent();
        wait::until("more is sent", LIMIT, || {
            ensure!(!self.sender.is_finished(), "the sender has ended");
            Ok((self.sent() >= before + messages).then_some(()))
        })
    }

    /// Waits until so many more have arrived.
    pub fn more(&self, messages: u32) -> Result<()> {
        let before = self.arrived();
        wait::until("messages go through", LIMIT, || {
            Ok((self.arrived() >= before + messages).then_some(()))
        })
    }

    /// Sends so many more at once.
    pub fn burst(&self, messages: u32) -> Result<()> {
        let Road { from, to, user, .. } = &self.road;
        (0..messages).try_for_each(|_| send(from, *to, user, &self.next))
    }

    /// Waits until one has arrived that was sent after now: what waited in front of it is gone.
    pub fn passes(&self) -> Result<()> {
        let next = self.sent();
        wait::until("what is sent now arrives", LIMIT, || {
            Ok((self.newest() > next).then_some(()))
        })
    }

    /// Sends no more, and waits until `is_settled` says that all that was sent is accounted for.
    pub fn finish(self, mut is_settled: impl FnMut(&Tally) -> Result<bool>) -> Result<Tally> {
        self.is_over.store(true, Relaxed);
        self.sender.join().ok().context("the sender")??;
        let sent = self.next.load(Relaxed);
        let tally = || Tally::new(sent, &lock(&self.arrivals));
        let settled = wait::until("all messages are accounted for", LIMIT, || {
            Ok(is_settled(&tally())?.then_some(()))
        });
        self.is_read.store(true, Relaxed);
        self.receiver.join().ok().context("the receiver")??;
        let tally = tally();
        settled.with_context(|| format!("{tally}: {:?}", tally.missing))?;
        let twice = &lock(&self.arrivals).twice;
        ensure!(twice.is_empty(), "twice: {twice:?}");
        Ok(tally)
    }

    /// As [`Self::finish`]: all arrive.
    pub fn finish_whole(self) -> Result<Tally> {
        self.finish(|tally| Ok(tally.missing.is_empty()))
    }
}

fn lock(arrivals: &Mutex<Arrivals>) -> MutexGuard<'_, Arrivals> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(from: &UdpSocket, to: SocketAddr, user: &str, next: &AtomicU32) -> Result<()> {
    // Counted before it is sent: what has arrived is among those sent.
    let number = next.fetch_add(1, Relaxed);
    from.send_to(&message(number, user), to)?;
    Ok(())
}

fn receive(socket: &UdpSocket, is_over: &AtomicBool, arrivals: &Mutex<Arrivals>) -> Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let Ok(len) = socket.recv(&mut buffer) else {
            if is_over.load(Relaxed) {
                return Ok(());
            }
            continue;
        };
        let (number, hooked) = read(&buffer[..len]).context("no message of the load")?;
        let mut arrivals = lock(arrivals);
        if arrivals.hooked.insert(number, hooked).is_some() {
            arrivals.twice.push(number);
        }
    }
}
