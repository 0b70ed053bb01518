//! One connection: a task that reads and writes until either side ends.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    pin,
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

use super::{
    Inbox, StreamMessage,
    frame::{Decoder, Frame, FrameError},
    table::Waiting,
};
use crate::hep::Copies;
use crate::telemetry::stream_counters::StreamCounters;
use corex_script::{ConnectionId, SocketId, settings::StreamSettings};
use corex_sip::Transport;

/// The answer to a keep-alive (RFC 5626 §3.5.1).
const PONG: &[u8] = b"\r\n";
/// Room asked for at each read.
const READ: usize = 8 << 10;

/// Messages that are written at once, at most.
const WRITTEN_AT_ONCE: usize = 16;

/// How long after its last message a connection stays open for replies when the peer has shut its
/// side down. Kamailio answers such a peer too.
const HALF_CLOSED: Duration = Duration::from_secs(1);

/// What waits to be written.
pub(super) enum Item {
    /// A message, and its copies for a collector.
    Message(Bytes, Copies),
    /// The answer to a keep-alive.
    Pong,
}

impl Item {
    fn bytes(&self) -> &[u8] {
        match self {
            Item::Message(bytes, _) => bytes,
            Item::Pong => PONG,
        }
    }

    /// The bytes of a message; 0: it is none.
    pub fn len_of_message(&self) -> usize {
        match self {
            Item::Message(bytes, _) => bytes.len(),
            Item::Pong => 0,
        }
    }
}

/// How far reading and writing are. It outlives both, so that they can be left at any place and
/// gone on with, in this process or in another.
#[derive(Default)]
pub(super) struct Flow {
    pub inward: Inward,
    pub outward: Outward,
}

/// How far reading is.
#[derive(Default)]
pub(super) struct Inward {
    /// Bytes that were read and aren't handed over yet.
    pub buffer: BytesMut,
    /// When the first byte of an incomplete message came.
    pub begun: Option<Instant>,
    /// When a message was handed over last.
    pub handed_over: Option<Instant>,
}

/// How far writing is.
#[derive(Default)]
pub(super) struct Outward {
    /// What is being written.
    pub current: Option<Item>,
    /// How many bytes of it the kernel has taken.
    pub written: usize,
    /// What comes next, in front of the queue.
    pub next: VecDeque<Item>,
}

impl Outward {
    /// The messages among what waits, the one that is being written first.
    pub fn messages(&self) -> Vec<Bytes> {
        let all = self.current.iter().chain(&self.next);
        all.filter_map(|item| match item {
            Item::Message(bytes, _) => Some(bytes.clone()),
            Item::Pong => None,
        })
        .collect()
    }
}

/// What belongs to one connection for its whole life.
pub(super) struct Line {
    pub id: ConnectionId,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub transport: Transport,
    pub socket: SocketId,
    pub inbox: Inbox,
    pub settings: Arc<StreamSettings>,
    pub counters: Arc<StreamCounters>,
    /// Bytes that wait in the queue.
    pub waiting: Arc<Waiting>,
    /// When what was read or written.
    pub times: Mutex<Times>,
    /// While it is true, no message is handed over.
    pub held: watch::Receiver<bool>,
}

/// What the end of an idle connection goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When it came about.
    pub opened: Instant,
    /// When anything was read or written last.
    pub traffic: Instant,
    /// When a whole message was read or written last.
    pub message: Option<Instant>,
}

impl Times {
    /// For a connection that comes about now.
    pub fn now() -> Self {
        let now = Instant::now();
        Self {
            opened: now,
            traffic: now,
            message: None,
        }
    }

    /// When the connection ends unless something comes, and why. Keep-alives put the end off, but
    /// not for ever, and on a connection that never carried a message not at all.
    fn end(&self, settings: &StreamSettings) -> (Instant, End) {
        let idle = self.traffic + settings.idle;
        let (silent, why) = match self.message {
            Some(at) => (at + settings.keepalive.max(settings.idle), End::KeepAlive),
            None => (self.opened + settings.idle, End::Idle),
        };
        if silent < idle {
            (silent, why)
        } else {
            (idle, End::Idle)
        }
    }
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the peer closed it")]
    Closed,
    #[error("idle")]
    Idle,
    #[error("nothing but keep-alives for too long")]
    KeepAlive,
    #[error("a message took too long to arrive whole")]
    Slow,
    #[error("the peer takes nothing")]
    Stuck,
    #[error("{0}")]
    Framing(#[from] FrameError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("corex stops")]
    Stopping,
    #[error("corex stops, and what waited took too long")]
    Abandoned,
}

impl End {
    /// Whether the peer may still be told of it.
    pub fn is_orderly(&self) -> bool {
        !matches!(self, End::Io(_) | End::Stuck | End::Abandoned)
    }
}

impl Line {
    /// The connection has come about.
    pub fn opened(&mut self, local: SocketAddr) {
        self.local = local;
        *self.times() = Times::now();
    }

    pub fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was read or written; `is_message`: a whole message.
    fn touch(&self, is_message: bool) {
        let now = Instant::now();
        let mut times = self.times();
        times.traffic = now;
        if is_message {
            times.message = Some(now);
        }
    }

    /// Reads and writes until the connection ends. What is in the queue then is left there, and
    /// what is being written in `flow`. May be dropped at any time, and called again with the same
    /// `flow`.
    /// `half_closed` is called when the peer sends no more but may wait for replies.
    pub async fn run(
        &self,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        queue: &mut mpsc::Receiver<Item>,
        pongs: &mpsc::WeakSender<Item>,
        flow: &mut Flow,
        half_closed: impl FnOnce(),
    ) -> End {
        let writing = self.write(writer, queue, &mut flow.outward);
        pin!(writing);
        let end = tokio::select! {
            end = self.read(reader, pongs, &mut flow.inward) => end,
            end = &mut writing => return end,
        };
        match (end, flow.inward.handed_over) {
            (End::Closed, Some(at)) => {
                half_closed();
                timeout_at(at + HALF_CLOSED, writing)
                    .await
                    .unwrap_or(End::Closed)
            }
            (end, _) => end,
        }
    }

    /// Reads until the connection ends.
    async fn read(
        &self,
        mut from: impl AsyncRead + Unpin,
        pongs: &mpsc::WeakSender<Item>,
        inward: &mut Inward,
    ) -> End {
        let mut decoder = Decoder::new(self.settings.max_message);
        loop {
            let mut has_news = false;
            loop {
                match decoder.next(&inward.buffer) {
                    Err(error) => {
                        self.wake_worker(&mut has_news);
                        return End::Framing(error);
                    }
                    Ok(Frame::Incomplete) => break,
                    Ok(Frame::Blank(len)) => inward.buffer.advance(len),
                    Ok(Frame::Ping(len)) => {
                        inward.buffer.advance(len);
                        self.counters.add(|c| &c.pings);
                        // A peer that reads no answers gets none.
                        if let Some(pongs) = pongs.upgrade() {
                            let _ = pongs.try_send(Item::Pong);
                        }
                    }
                    Ok(Frame::Message(len)) => {
                        inward.begun = None;
                        self.touch(true);
                        if !self.hand_over(&mut inward.buffer, len, &mut has_news).await {
                            return End::Stopping;
                        }
                        inward.handed_over = Some(Instant::now());
                    }
                }
            }
            self.wake_worker(&mut has_news);
            let is_blank = inward
                .buffer
                .iter()
                .all(|byte| matches!(byte, b'\r' | b'\n'));
            inward.begun = if is_blank {
                None
            } else {
                inward.begun.or_else(|| Some(Instant::now()))
            };
            inward.buffer.reserve(READ);
            let (deadline, end) = match inward.begun {
                Some(begun) => (begun + self.settings.message, End::Slow),
                None => self.times().end(&self.settings),
            };
            match timeout_at(deadline, from.read_buf(&mut inward.buffer)).await {
                // Something may have been written meanwhile.
                Err(_)
                    if inward.begun.is_none() && self.times().end(&self.settings).0 > deadline => {}
                Err(_) => return end,
                Ok(Ok(0)) => return End::Closed,
                Ok(Ok(_)) => self.touch(false),
                Ok(Err(error)) => return End::Io(error),
            }
        }
    }

    /// Wakes the worker, if it is to learn of anything.
    fn wake_worker(&self, has_news: &mut bool) {
        if std::mem::take(has_news) {
            (self.inbox.wake)();
        }
    }

    /// Takes a message of so many bytes off the buffer, once there is room in the inbox. The worker is
    /// woken for all that came at once, or before anything is waited for. `false`: there is no worker
    /// any more.
    async fn hand_over(&self, buffer: &mut BytesMut, len: usize, has_news: &mut bool) -> bool {
        loop {
            let place = match self.inbox.sender.try_reserve() {
                Ok(place) => place,
                Err(_) => {
                    self.wake_worker(has_news);
                    let Ok(place) = self.inbox.sender.reserve().await else {
                        return false;
                    };
                    place
                }
            };
            {
                // Whoever holds the streams waits for this borrow: what is sent here is in the
                // inbox by then.
                let held = self.held.borrow();
                if !*held {
                    self.counters.add(|c| &c.messages_in);
                    place.send(StreamMessage {
                        payload: buffer.split_to(len).freeze(),
                        source: self.peer,
                        local: self.local,
                        transport: self.transport,
                        socket: self.socket,
                        connection: self.id,
                    });
                    *has_news = true;
                    return true;
                }
            }
            drop(place);
            self.wake_worker(has_news);
            if self.held.clone().wait_for(|held| !held).await.is_err() {
                return false;
            }
        }
    }

    async fn write(
        &self,
        mut to: impl AsyncWrite + Unpin,
        queue: &mut mpsc::Receiver<Item>,
        outward: &mut Outward,
    ) -> End {
        let Outward {
            current,
            written,
            next,
        } = outward;
        let mut deadline = None;
        loop {
            if current.is_none() {
                *written = 0;
                deadline = None;
                *current = match next.pop_front() {
                    Some(item) => Some(item),
                    None => queue.recv().await,
                };
            }
            let Some(item) = current else {
                return End::Stopping;
            };
            // What waits as well goes with it.
            while next.len() < WRITTEN_AT_ONCE - 1
                && let Ok(more) = queue.try_recv()
            {
                next.push_back(more);
            }
            let rest = item.bytes().get(*written..).unwrap_or_default();
            let all = std::iter::once(rest).chain(next.iter().map(Item::bytes));
            let mut slices = [IoSlice::new(&[]); WRITTEN_AT_ONCE];
            let mut count = 0;
            for (slice, bytes) in slices.iter_mut().zip(all) {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            let until = *deadline.get_or_insert_with(|| Instant::now() + self.settings.send);
            let outcome = timeout_at(until, to.write_vectored(&slices[..count])).await;
            let (end, fate): (_, fn(&StreamCounters) -> &AtomicU64) = match outcome {
                Ok(Ok(0)) if !rest.is_empty() => {
                    (End::Io(io::ErrorKind::WriteZero.into()), |c| &c.drop_closed)
                }
                Ok(Ok(taken)) => {
                    *written += taken;
                    // Whole messages are done with; the next one has a time of its own.
                    while let Some(len) = current.as_ref().map(|item| item.bytes().len())
                        && *written >= len
                    {
                        *written -= len;
                        deadline = None;
                        self.written(current.take());
                        *current = next.pop_front();
                    }
                    match timeout_at(until, to.flush()).await {
                        Ok(Ok(())) => continue,
                        Ok(Err(error)) => return End::Io(error),
                        Err(_) => return End::Stuck,
                    }
                }
                Ok(Err(error)) => (End::Io(error), |c| &c.drop_closed),
                Err(_) => (End::Stuck, |c| &c.drop_stuck),
            };
            if let Some(Item::Message(bytes, _)) = current.take() {
                self.waiting.give_back(bytes.len());
                self.counters.add(fate);
            }
            return end;
        }
    }

    /// The kernel has taken a whole item.
    fn written(&self, item: Option<Item>) {
        self.touch(matches!(item, Some(Item::Message(..))));
        if let Some(Item::Message(bytes, copies)) = item {
            self.waiting.give_back(bytes.len());
            self.counters.add(|c| &c.delivered);
            copies.pass(self.transport, self.local, self.peer);
        }
    }
}
