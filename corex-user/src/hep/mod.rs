//! Copies of messages for a collector such as Homer, as HEPv3: workers put them into a queue that
//! is bounded in count and bytes, and a thread of its own sends them. Nobody waits for it: what
//! finds no room is lost, and counted.

mod packet;
mod sender;

#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::SystemTime,
};

use arc_swap::ArcSwap;

use crate::telemetry::hep_counters::HepCounters;
use corex_script::{
    Copied, Direction,
    settings::{Collector, OwnSockets, Siptrace},
};
use corex_sip::{SipView, Transport};

use self::sender::Sender;

/// Copies that may wait to be sent.
const MOST: usize = 4096;
/// And the bytes of messages in them.
const MOST_BYTES: usize = 8 << 20;

/// A message or line to be copied.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Its bytes, in the form that nobody has encoded.
    pub payload: &'a [u8],
    /// What it is.
    pub kind: Copied,
    /// Which way it goes: which of the addresses is ours.
    pub way: Direction,
    /// The transport that it came or goes by.
    pub transport: Transport,
    /// The address that sent it.
    pub source: SocketAddr,
    /// The address that gets it.
    pub destination: SocketAddr,
    /// The collector; `None`: the one of `duplicate_uri`.
    pub to: Option<Collector>,
    /// What the collector finds things together by; `None`: the message's Call-ID.
    pub correlation: Option<&'a [u8]>,
}

/// A copy on its way to the thread.
#[derive(Debug)]
struct Job {
    payload: Vec<u8>,
    kind: Copied,
    way: Direction,
    transport: Transport,
    source: SocketAddr,
    destination: SocketAddr,
    at: SystemTime,
    to: Option<Collector>,
    correlation: Option<Vec<u8>>,
}

impl Job {
    fn new(record: &Record<'_>) -> Job {
        Job {
            payload: record.payload.to_vec(),
            kind: record.kind,
            way: record.way,
            transport: record.transport,
            source: record.source,
            destination: record.destination,
            at: SystemTime::now(),
            to: record.to.clone(),
            correlation: record.correlation.map(<[u8]>::to_vec),
        }
    }

    fn len(&self) -> usize {
        self.payload.len() + self.correlation.as_ref().map_or(0, Vec::len)
    }
}

/// What waits in the queue.
enum Item {
    Copy(Box<Job>),
    /// Nothing: the thread is to look whether it should end.
    Wake,
}

/// What copies are sent by: of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What the configuration says.
    pub settings: Siptrace,
    /// The address to send from; `None`: the kernel chooses.
    pub send_from: Option<IpAddr>,
    /// Where copies would come back to us.
    pub own: Arc<OwnSockets>,
}

/// What the thread asks of the rest of corex.
pub trait World: Send + Sync {
    /// Has a host looked up; the answer may come at any time, or not at all. `port`: the one that
    /// its URI names.
    fn look_up(&self, host: &str, port: Option<u16>, answer: mpsc::Sender<Option<SocketAddr>>);

    /// Whether an address is this host's.
    fn is_local(&self, ip: IpAddr) -> bool;
}

/// Takes copies, for the life of the process: configurations come and go.
#[derive(Debug, Default)]
pub struct Exporter {
    is_on: AtomicBool,
    plan: ArcSwap<Plan>,
    /// Leads to the thread; empty until a configuration needs it.
    queue: OnceLock<SyncSender<Item>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    is_stopping: AtomicBool,
    waiting: AtomicUsize,
    /// What became of the copies.
    pub counters: HepCounters,
}

impl Exporter {
    /// Goes by a configuration from now on, and by what it says of being on or off.
    pub fn follow(&self, plan: Plan) {
        self.is_on.store(plan.settings.is_on, Ordering::Relaxed);
        self.plan.store(Arc::new(plan));
    }

    /// Starts the thread, unless it runs. It has the rights of the calling one.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(self: &Arc<Self>, world: Arc<dyn World>) -> io::Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return Ok(());
        }
        let (queue, items) = mpsc::sync_channel(MOST);
        let sender = Sender::new(Arc::clone(self), world);
        let spawned = thread::Builder::new()
            .name("corex-hep".to_owned())
            .spawn(move || sender.run(&items))?;
        *thread = Some(spawned);
        // The thread is started once.
        let _ = self.queue.set(queue);
        Ok(())
    }

    /// Whether tracing is on.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Switches it on or off.
    pub fn set_on(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Copies a message that passes, or a line.
    pub fn copy(self: &Arc<Self>, record: &Record<'_>) {
        if let Some(held) = self.hold(record) {
            held.pass(record.transport, record.source, record.destination);
        }
    }

    /// Copies a message that may pass later, by [`Held::pass`]. `None`: there is no room for it,
    /// which is counted, or it is no SIP.
    pub fn hold(self: &Arc<Self>, record: &Record<'_>) -> Option<Held> {
        if record.kind == Copied::Message && SipView::parse(record.payload).is_err() {
            self.counters.add(|c| &c.not_sip);
            return None;
        }
        let len = record.payload.len() + record.correlation.map_or(0, <[u8]>::len);
        if !self.reserve(len) {
            self.counters.add(|c| &c.copied);
            self.counters.add(|c| &c.drop_full);
            return None;
        }
        Some(Held {
            exporter: Arc::clone(self),
            job: Some(Box::new(Job::new(record))),
        })
    }

    fn reserve(&self, len: usize) -> bool {
        let fits = self.waiting.fetch_add(len, Ordering::Relaxed) + len <= MOST_BYTES;
        if !fits {
            self.give_back(len);
        }
        fits
    }

    fn give_back(&self, len: usize) {
        self.waiting.fetch_sub(len, Ordering::Relaxed);
    }

    fn submit(&self, job: Box<Job>) {
        self.counters.add(|c| &c.copied);
        let len = job.len();
        let Some(queue) = self.queue.get() else {
            self.give_back(len);
            self.counters.add(|c| &c.drop_stopping);
            return;
        };
        let refused = match queue.try_send(Item::Copy(job)) {
            Ok(()) => return,
            Err(refused) => refused,
        };
        self.give_back(len);
        self.counters.add(match refused {
            TrySendError::Full(_) => |c| &c.drop_full,
            TrySendError::Disconnected(_) => |c| &c.drop_stopping,
        });
    }

    /// Ends the thread, which sends first what waits, as long as that takes no time.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Some(queue) = self.queue.get() {
            // Where it is full the thread has something to do, and looks.
            let _ = queue.try_send(Item::Wake);
        }
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // It has logged why, if it didn't end well.
            let _ = thread.join();
        }
    }
}

/// A copy of a message that is on its way to leave. Dropped, it counts for nothing: the message
/// didn't leave.
#[derive(Debug)]
pub struct Held {
    exporter: Arc<Exporter>,
    job: Option<Box<Job>>,
}

impl Held {
    /// The message leaves now, by this transport, and between these addresses.
    pub fn pass(mut self, transport: Transport, source: SocketAddr, destination: SocketAddr) {
        if let Some(mut job) = self.job.take() {
            job.transport = transport;
            job.source = source;
            job.destination = destination;
            job.at = SystemTime::now();
            self.exporter.submit(job);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            self.exporter.give_back(job.len());
        }
    }
}

/// The copies of one message that is about to leave: of those that are made of all messages, and
/// of what a script asked for.
#[derive(Debug, Default)]
pub struct Copies {
    /// What `trace_mode` has made.
    pub automatic: Option<Held>,
    /// What the message's flag has made.
    pub asked: Option<Held>,
}

impl Copies {
    /// The message leaves now: see [`Held::pass`].
    pub fn pass(self, transport: Transport, source: SocketAddr, destination: SocketAddr) {
        for held in [self.automatic, self.asked].into_iter().flatten() {
            held.pass(transport, source, destination);
        }
    }
}
