//! Holding all connections between two bytes, so that a successor goes on with them or, where
//! nothing comes of it, this process.
//!
//! Those who hold have reading stop first, while the workers handle what has come and write their
//! replies. Then each task gives its connection out of its hands, with all that is known of it beside
//! the kernel.

use std::{
    collections::VecDeque, mem, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration,
};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpStream,
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    Delivery,
    connection::{Flow, Inward, Item, Line, Outward, Times},
    places::Opener,
    registry::Streams,
    table::Entry,
    task::Opened,
};
use crate::hep::Copies;
use crate::io::byte_text::ByteText;
use corex_script::{ConnectionId, SocketId};
use corex_sip::Transport;

/// How long the tasks may take to give their connections: each stops at once, but there are many.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most connections that are handed over.
const MOST: usize = 60_000;
/// The most bytes that go with them.
const MOST_BYTES: usize = 64 << 20;

/// What a connection's task says when it is asked for it.
pub(super) struct Report {
    pub lent: Lent,
    /// Tells the task that it is gone for good; dropped, that it goes on.
    pub taken: oneshot::Sender<()>,
}

/// What is lent of a connection.
pub(super) enum Lent {
    /// All: it was open.
    Open(ConnectionCopy, Arc<OwnedFd>),
    /// Messages for one that doesn't exist yet.
    Unopened(Vec<Bytes>),
}

/// All connections, for another process.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsCopy {
    /// Open ones, in the order of their descriptors.
    pub open: Vec<ConnectionCopy>,
    /// Messages for others.
    pub unopened: Vec<UnopenedCopy>,
}

/// What is known of an open connection beside its descriptor. Ages are in milliseconds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCopy {
    id: u64,
    peer: SocketAddr,
    local: SocketAddr,
    /// The number of the listen socket that stands for it.
    pub socket: u16,
    is_ours: bool,
    /// Whether requests to the peer take it.
    is_listed: bool,
    opened: u64,
    traffic: u64,
    message: Option<u64>,
    handed_over: Option<u64>,
    begun: Option<u64>,
    /// What was read and is no whole message yet, or waits for a worker.
    unread: ByteText,
    /// What waits to be written; `None`: the answer to a keep-alive.
    unwritten: Vec<Option<ByteText>>,
    /// How many bytes of the first of these are written.
    written: usize,
}

/// Messages for a connection that was about to be opened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnopenedCopy {
    to: SocketAddr,
    is_tls: bool,
    server_name: Option<String>,
    /// The listen socket that stands for us.
    pub socket: u16,
    messages: Vec<ByteText>,
}

impl ConnectionCopy {
    fn bytes(&self) -> usize {
        let unwritten = self.unwritten.iter().flatten();
        self.unread.size() + unwritten.map(ByteText::size).sum::<usize>()
    }

    fn messages(&self) -> usize {
        self.unwritten.iter().flatten().count()
    }
}

impl Lent {
    /// All of an open connection, but who opened it and whether it is listed.
    pub fn open(line: &Line, flow: &Flow, descriptor: &Arc<OwnedFd>) -> Lent {
        let now = Instant::now();
        let age = |at: Instant| now.saturating_duration_since(at).as_millis() as u64;
        let times = *line.times();
        let Flow { inward, outward } = flow;
        let unwritten = outward.current.iter().chain(&outward.next);
        let copy = ConnectionCopy {
            id: line.id.0,
            peer: line.peer,
            local: line.local,
            socket: line.socket.0,
            is_ours: false,
            is_listed: false,
            opened: age(times.opened),
            traffic: age(times.traffic),
            message: times.message.map(age),
            handed_over: inward.handed_over.map(age),
            begun: inward.begun.map(age),
            unread: inward.buffer.clone().freeze().into(),
            unwritten: unwritten
                .map(|item| match item {
                    Item::Message(bytes, _) => Some(bytes.clone().into()),
                    Item::Pong => None,
                })
                .collect(),
            written: outward.written,
        };
        Lent::Open(copy, Arc::clone(descriptor))
    }
}

/// All connections, held. Dropped, it lets them go on where they stopped.
pub struct Hold {
    streams: Streams,
    taken: Vec<(ConnectionId, oneshot::Sender<()>)>,
    open: usize,
    messages: usize,
}

impl Streams {
    /// Has no connection accepted and no message go to a worker from here on.
    pub fn hold(&self) -> Hold {
        let state = self.state();
        self.inner.held.send_replace(true);
        drop(state);
        Hold {
            streams: self.clone(),
            taken: Vec::new(),
            open: 0,
            messages: 0,
        }
    }

    /// Goes on with a predecessor's connections. Returns how many there was no room for: they are
    /// closed. What is wrong with a single one ends that one.
    pub fn take_over(&self, copy: StreamsCopy, descriptors: Vec<OwnedFd>) -> usize {
        let _inside = self.inner.handle.enter();
        let open = copy.open.into_iter().zip(descriptors);
        let closed = open
            .map(|(copy, descriptor)| self.take_over_one(copy, descriptor))
            .filter(|is_open| !is_open)
            .count();
        for unopened in copy.unopened {
            let transport = if unopened.is_tls {
                Transport::Tls
            } else {
                Transport::Tcp
            };
            for message in unopened.messages {
                self.inner.counters.add(|c| &c.queued);
                let sent = self.send_counted(Delivery {
                    payload: message.into(),
                    to: unopened.to,
                    transport,
                    server_name: unopened.server_name.clone(),
                    connection: None,
                    // Where it was one, a connection was to be opened for it.
                    is_reply: false,
                    socket: SocketId(unopened.socket),
                    // What it was before the hook stays with the predecessor.
                    copies: Copies::default(),
                });
                if sent.is_err() {
                    self.inner.counters.add(|c| &c.drop_queue_full);
                }
            }
        }
        closed
    }

    fn take_over_one(&self, copy: ConnectionCopy, descriptor: OwnedFd) -> bool {
        let counters = &self.inner.counters;
        let messages = copy.messages();
        counters.add_many(|c| &c.queued, messages);
        let opener = if copy.is_ours {
            Opener::Corex
        } else {
            Opener::Peer
        };
        let (id, socket) = (ConnectionId(copy.id), SocketId(copy.socket));
        let key = (copy.peer, Transport::Tcp, None);
        let place = {
            let mut state = self.state();
            let place = self.register_as(id, &mut state, key.clone(), copy.local, socket, opener);
            if place.is_ok() && copy.is_listed {
                state.by_peer.insert(key, id);
            }
            place
        };
        let stream = TcpStream::from_std(descriptor.into());
        let (mut place, stream) = match (place, stream) {
            (Ok(place), Ok(stream)) => (place, stream),
            (place, _) => {
                match place {
                    Ok(_) => self.forget(id),
                    Err(why) => self.refuse(copy.peer, why),
                }
                counters.add(|c| &c.closed_takeover);
                counters.add_many(|c| &c.drop_closed, messages);
                return false;
            }
        };
        let now = Instant::now();
        let at = |age: u64| now.checked_sub(Duration::from_millis(age)).unwrap_or(now);
        *place.line.times() = Times {
            opened: at(copy.opened),
            traffic: at(copy.traffic),
            message: copy.message.map(at),
        };
        let mut next: VecDeque<Item> = copy
            .unwritten
            .into_iter()
            .map(|item| {
                let message = |bytes: ByteText| Item::Message(bytes.into(), Copies::default());
                item.map_or(Item::Pong, message)
            })
            .collect();
        let waiting = next.iter().map(Item::len_of_message).sum();
        place.line.waiting.take_over(waiting);
        place.flow = Flow {
            inward: Inward {
                buffer: BytesMut::from(&Bytes::from(copy.unread)[..]),
                begun: copy.begun.map(at),
                handed_over: copy.handed_over.map(at),
            },
            outward: Outward {
                current: if copy.written > 0 {
                    next.pop_front()
                } else {
                    None
                },
                written: copy.written,
                next,
            },
        };
        counters.add(|c| &c.connections_taken_over);
        tokio::spawn(self.clone().serve(place, Opened::Tcp(stream)));
        true
    }
}

impl Hold {
    /// Has every task give its connection. Nothing may be sent by streams meanwhile. Those that can't
    /// be handed over stay, and go on.
    pub async fn lend(&mut self) -> (StreamsCopy, Vec<Arc<OwnedFd>>) {
        let asked: Vec<_> = {
            let state = self.streams.state();
            let entries = state.connections.iter();
            let ask = |(id, entry): (&ConnectionId, &Entry)| {
                let (sender, report) = oneshot::channel();
                let is_listed = state.by_peer.get(&entry.key) == Some(id);
                entry.orders.try_send(sender).ok()?;
                Some((
                    *id,
                    entry.key.clone(),
                    entry.socket,
                    entry.opener,
                    is_listed,
                    report,
                ))
            };
            entries.filter_map(ask).collect()
        };
        let deadline = Instant::now() + PATIENCE;
        let (mut copy, mut descriptors) = (StreamsCopy::default(), Vec::new());
        let mut bytes = 0;
        for (id, key, socket, opener, is_listed, report) in asked {
            // It has ended meanwhile, can't be handed over, or takes too long.
            let Ok(Ok(Report { lent, taken })) = timeout_at(deadline, report).await else {
                continue;
            };
            match lent {
                Lent::Open(connection, descriptor) => {
                    let with_it = bytes + connection.bytes();
                    if with_it > MOST_BYTES || copy.open.len() >= MOST {
                        continue;
                    }
                    bytes = with_it;
                    self.messages += connection.messages();
                    copy.open.push(ConnectionCopy {
                        is_ours: opener == Opener::Corex,
                        is_listed,
                        ..connection
                    });
                    descriptors.push(descriptor);
                }
                Lent::Unopened(messages) => {
                    let with_it = bytes + messages.iter().map(Bytes::len).sum::<usize>();
                    if with_it > MOST_BYTES {
                        continue;
                    }
                    bytes = with_it;
                    self.messages += messages.len();
                    let (to, transport, server_name) = key;
                    copy.unopened.push(UnopenedCopy {
                        to,
                        is_tls: transport == Transport::Tls,
                        server_name,
                        socket: socket.0,
                        messages: messages.into_iter().map(ByteText::from).collect(),
                    });
                }
            }
            self.taken.push((id, taken));
        }
        self.open = copy.open.len();
        (copy, descriptors)
    }

    /// What was lent is a successor's now. The rest goes on.
    pub fn leave(mut self) {
        let mut state = self.streams.state();
        for (id, taken) in mem::take(&mut self.taken) {
            // Its task waits for nothing else.
            let _ = taken.send(());
            state.remove(id);
        }
        drop(state);
        let counters = &self.streams.inner.counters;
        counters.add_many(|c| &c.connections_handed_over, self.open);
        counters.add_many(|c| &c.handed_over, self.messages);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.taken.clear();
        self.streams.inner.held.send_replace(false);
    }
}
