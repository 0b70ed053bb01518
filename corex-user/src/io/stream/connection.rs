//! One connection: a task that reads and writes until either side ends.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    pin,
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Inbox, StreamMessage,
    frame::{Decoder, Frame, FrameError},
    table::Waiting,
};
use crate::telemetry::stream_counters::StreamCounters;
use corex_script::{ConnectionId, SocketId, settings::StreamSettings};
use corex_sip::Transport;

/// The answer to a keep-alive (RFC 5626 §3.5.1).
const PONG: &[u8] = b"\r\n";
/// Room asked for at each read.
const READ: usize = 8 << 10;

/// How long after its last message a connection stays open for replies when the peer has shut its
/// side down. Kamailio answers such a peer too.
const HALF_CLOSED: Duration = Duration::from_secs(1);

/// What waits to be written.
pub(super) enum Item {
    /// A message.
    Message(Bytes),
    /// The answer to a keep-alive.
    Pong,
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
}

/// What the end of an idle connection goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When it came about.
    opened: Instant,
    /// When anything was read or written last.
    traffic: Instant,
    /// When a whole message was read or written last.
    message: Option<Instant>,
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

    fn times(&self) -> MutexGuard<'_, Times> {
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

    /// Reads and writes until the connection ends. What is in the queue then is left there.
    /// `half_closed` is called when the peer sends no more but may wait for replies.
    pub async fn run(
        &self,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        queue: &mut mpsc::Receiver<Item>,
        pongs: &mpsc::WeakSender<Item>,
        half_closed: impl FnOnce(),
    ) -> End {
        let mut handed_over = None;
        let writing = self.write(writer, queue);
        pin!(writing);
        let end = tokio::select! {
            end = self.read(reader, pongs, &mut handed_over) => end,
            end = &mut writing => return end,
        };
        match (end, handed_over) {
            (End::Closed, Some(at)) => {
                half_closed();
                timeout_at(at + HALF_CLOSED, writing)
                    .await
                    .unwrap_or(End::Closed)
            }
            (end, _) => end,
        }
    }

    /// Reads until the connection ends. `handed_over` is when a message came last.
    async fn read(
        &self,
        mut from: impl AsyncRead + Unpin,
        pongs: &mpsc::WeakSender<Item>,
        handed_over: &mut Option<Instant>,
    ) -> End {
        let mut decoder = Decoder::new(self.settings.max_message);
        let mut buffer = BytesMut::new();
        // When the first byte of an incomplete message came.
        let mut begun: Option<Instant> = None;
        loop {
            buffer.reserve(READ);
            let (deadline, end) = match begun {
                Some(begun) => (begun + self.settings.message, End::Slow),
                None => self.times().end(&self.settings),
            };
            match timeout_at(deadline, from.read_buf(&mut buffer)).await {
                // Something may have been written meanwhile.
                Err(_) if begun.is_none() && self.times().end(&self.settings).0 > deadline => {
                    continue;
                }
                Err(_) => return end,
                Ok(Ok(0)) => return End::Closed,
                Ok(Ok(_)) => self.touch(false),
                Ok(Err(error)) => return End::Io(error),
            }
            loop {
                match decoder.next(&buffer) {
                    Err(error) => return End::Framing(error),
                    Ok(Frame::Incomplete) => break,
                    Ok(Frame::Blank(len)) => buffer.advance(len),
                    Ok(Frame::Ping(len)) => {
                        buffer.advance(len);
                        self.counters.add(|c| &c.pings);
                        // A peer that reads no answers gets none.
                        if let Some(pongs) = pongs.upgrade() {
                            let _ = pongs.try_send(Item::Pong);
                        }
                    }
                    Ok(Frame::Message(len)) => {
                        begun = None;
                        self.touch(true);
                        if !self.hand_over(buffer.split_to(len).freeze()).await {
                            return End::Stopping;
                        }
                        *handed_over = Some(Instant::now());
                    }
                }
            }
            let is_blank = buffer.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            begun = if is_blank {
                None
            } else {
                begun.or_else(|| Some(Instant::now()))
            };
        }
    }

    /// Waits for room in the inbox. `false`: there is no worker any more.
    async fn hand_over(&self, payload: Bytes) -> bool {
        let Ok(place) = self.inbox.sender.reserve().await else {
            return false;
        };
        self.counters.add(|c| &c.messages_in);
        place.send(StreamMessage {
            payload,
            source: self.peer,
            local: self.local,
            transport: self.transport,
            socket: self.socket,
            connection: self.id,
        });
        (self.inbox.wake)();
        true
    }

    async fn write(
        &self,
        mut to: impl AsyncWrite + Unpin,
        queue: &mut mpsc::Receiver<Item>,
    ) -> End {
        loop {
            let Some(item) = queue.recv().await else {
                return End::Stopping;
            };
            let pending = match &item {
                Item::Message(bytes) => Some(Pending {
                    line: self,
                    len: bytes.len(),
                    fate: |c| &c.drop_closed,
                }),
                Item::Pong => None,
            };
            let bytes = match &item {
                Item::Message(bytes) => bytes,
                Item::Pong => PONG,
            };
            let written = timeout(self.settings.send, async {
                to.write_all(bytes).await?;
                to.flush().await
            })
            .await;
            if let Some(mut pending) = pending {
                pending.fate = match written {
                    Ok(Ok(())) => |c| &c.delivered,
                    Ok(Err(_)) => |c| &c.drop_closed,
                    Err(_) => |c| &c.drop_stuck,
                };
            }
            match written {
                Ok(Ok(())) => self.touch(matches!(item, Item::Message(_))),
                Ok(Err(error)) => return End::Io(error),
                Err(_) => return End::Stuck,
            }
        }
    }
}

/// A message that is being written: counted when it is done, also where the connection ends in the
/// middle of it.
struct Pending<'l> {
    line: &'l Line,
    len: usize,
    fate: fn(&StreamCounters) -> &AtomicU64,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.line.waiting.give_back(self.len);
        self.line.counters.add(self.fate);
    }
}
