//! Connections over loopback.

mod ends;
mod hold;
mod replies;
mod times;
mod tls;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::mpsc,
    time::timeout,
};

use super::*;
use crate::telemetry::stream_counters::StreamCounters;
use corex_script::{SendError, settings::StreamSettings};

const PATIENCE: Duration = Duration::from_secs(20);

struct Lab {
    streams: Streams,
    inbox: mpsc::Receiver<StreamMessage>,
    address: SocketAddr,
    counters: Arc<StreamCounters>,
    woken: Arc<AtomicU64>,
}

fn lab(settings: StreamSettings) -> Lab {
    lab_with_inbox(settings, 100)
}

fn lab_with_inbox(settings: StreamSettings, room: usize) -> Lab {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, inbox) = mpsc::channel(room);
    let woken = Arc::new(AtomicU64::new(0));
    let wakes = Arc::clone(&woken);
    let counters = Arc::new(StreamCounters::default());
    let streams = Streams::start(
        Handle::current(),
        settings,
        vec![(SocketId(3), listener)],
        vec![Inbox {
            sender,
            wake: Arc::new(move || {
                wakes.fetch_add(1, Ordering::Relaxed);
            }),
        }],
        Arc::clone(&counters),
    )
    .unwrap();
    Lab {
        streams,
        inbox,
        address,
        counters,
        woken,
    }
}

impl Lab {
    async fn receive(&mut self) -> StreamMessage {
        timeout(PATIENCE, self.inbox.recv()).await.unwrap().unwrap()
    }

    /// Waits until the fate of everything that was queued is known.
    async fn at_rest(&self) {
        let balanced = async {
            while self.counters.imbalance() != 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let result = timeout(PATIENCE, balanced).await;
        assert!(result.is_ok(), "{:?}", self.counters.snapshot());
    }

    fn count(&self, name: &str) -> u64 {
        let all = self.counters.snapshot();
        all.iter().find(|(known, _)| *known == name).unwrap().1
    }

    async fn until(&self, name: &str, value: u64) {
        let reached = async {
            while self.count(name) < value {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let result = timeout(PATIENCE, reached).await;
        assert!(result.is_ok(), "{name}: {:?}", self.counters.snapshot());
    }

    fn send(
        &self,
        to: SocketAddr,
        connection: Option<ConnectionId>,
        text: &str,
    ) -> Result<(), SendError> {
        self.streams.send(delivery(to, connection, text))
    }

    fn reply(
        &self,
        to: SocketAddr,
        connection: Option<ConnectionId>,
        text: &str,
    ) -> Result<(), SendError> {
        let is_reply = true;
        let reply = delivery(to, connection, text);
        self.streams.send(Delivery { is_reply, ..reply })
    }
}

fn delivery(to: SocketAddr, connection: Option<ConnectionId>, text: &str) -> Delivery {
    Delivery {
        payload: Bytes::copy_from_slice(text.as_bytes()),
        to,
        transport: Transport::Tcp,
        server_name: None,
        connection,
        is_reply: false,
        socket: SocketId(3),
        copies: Default::default(),
    }
}

/// Reads the end of a connection, or the reset.
async fn assert_closed(stream: &mut TcpStream) {
    let end = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

fn request(body: &str) -> String {
    format!(
        "OPTIONS sip:a SIP/2.0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin), len: usize) -> String {
    let mut bytes = vec![0; len];
    timeout(PATIENCE, stream.read_exact(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_message_arrives_whole_and_its_reply_takes_the_same_connection() {
    let mut lab = lab(StreamSettings::default());
    let mut peer = TcpStream::connect(lab.address).await.unwrap();
    let text = request("hello");
    for piece in text.as_bytes().chunks(7) {
        peer.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let message = lab.receive().await;
    assert_eq!(message.payload, text);
    assert_eq!(message.source, peer.local_addr().unwrap());
    assert_eq!((message.local, message.socket), (lab.address, SocketId(3)));
    lab.until("messages_in", 1).await;
    assert!(lab.woken.load(Ordering::Relaxed) >= 1);
    let nowhere = "127.0.0.1:1".parse().unwrap();
    lab.send(nowhere, Some(message.connection), "reply")
        .unwrap();
    assert_eq!(read(&mut peer, 5).await, "reply");
    // A request to the same address takes the connection too.
    lab.send(message.source, None, "again").unwrap();
    assert_eq!(read(&mut peer, 5).await, "again");
    lab.until("delivered", 2).await;
    assert_eq!(lab.counters.imbalance(), 0);
}

#[tokio::test]
async fn messages_that_come_at_once_wake_the_worker_once_and_stay_in_order() {
    let mut lab = lab(StreamSettings::default());
    let mut peer = TcpStream::connect(lab.address).await.unwrap();
    let all: String = (0..20).map(|number| request(&number.to_string())).collect();
    peer.write_all(all.as_bytes()).await.unwrap();
    let mut connection = None;
    for number in 0..20 {
        let message = lab.receive().await;
        assert_eq!(message.payload, request(&number.to_string()).as_bytes());
        connection = Some(message.connection);
    }
    // Where the kernel cuts what was written at once, it may be a few times.
    let woken = lab.woken.load(Ordering::Relaxed);
    assert!((1..=4).contains(&woken), "{woken}");
    let replies: Vec<String> = (0..50).map(|number| request(&number.to_string())).collect();
    for reply in &replies {
        lab.reply(peer.local_addr().unwrap(), connection, reply)
            .unwrap();
    }
    let replies = replies.concat();
    assert_eq!(read(&mut peer, replies.len()).await, replies);
    lab.at_rest().await;
    assert_eq!(lab.count("delivered"), 50);
}

#[tokio::test]
async fn a_keep_alive_is_answered() {
    let lab = lab(StreamSettings::default());
    let mut peer = TcpStream::connect(lab.address).await.unwrap();
    peer.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut peer, 2).await, "\r\n");
    assert_eq!(lab.count("pings"), 1);
}

#[tokio::test]
async fn a_stalled_or_broken_connection_costs_nobody_else_anything() {
    let mut lab = lab(StreamSettings {
        message: Duration::from_millis(50),
        ..StreamSettings::default()
    });
    let mut stalled = TcpStream::connect(lab.address).await.unwrap();
    stalled
        .write_all(b"OPTIONS sip:a SIP/2.0\r\nContent-Len")
        .await
        .unwrap();
    let mut junk = TcpStream::connect(lab.address).await.unwrap();
    junk.write_all(b"\x1f\x8b\x08").await.unwrap();
    let mut good = TcpStream::connect(lab.address).await.unwrap();
    good.write_all(request("x").as_bytes()).await.unwrap();
    assert_eq!(lab.receive().await.payload, request("x"));
    for closed in [&mut stalled, &mut junk] {
        assert_closed(closed).await;
    }
    lab.until("closed_slow", 1).await;
    lab.until("closed_framing", 1).await;
    good.write_all(request("y").as_bytes()).await.unwrap();
    assert_eq!(lab.receive().await.payload, request("y"));
}

#[tokio::test]
async fn a_full_inbox_makes_the_peer_wait_and_loses_nothing() {
    const COUNT: usize = 500;
    let mut lab = lab_with_inbox(StreamSettings::default(), 2);
    let mut peer = TcpStream::connect(lab.address).await.unwrap();
    let writing = tokio::spawn(async move {
        for n in 0..COUNT {
            peer.write_all(request(&n.to_string()).as_bytes())
                .await
                .unwrap();
        }
        peer
    });
    for n in 0..COUNT {
        assert_eq!(lab.receive().await.payload, request(&n.to_string()));
    }
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_peer_that_reads_nothing_fills_its_own_queue_only() {
    let lab = lab(StreamSettings {
        queue_bytes: 1 << 20,
        send: Duration::from_millis(200),
        ..StreamSettings::default()
    });
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = deaf.local_addr().unwrap();
    let text = "x".repeat(60_000);
    let refused = (0..1000).any(|_| lab.send(to, None, &text).is_err());
    assert!(refused);
    let (_kept, _) = deaf.accept().await.unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    lab.send(other.local_addr().unwrap(), None, "hello")
        .unwrap();
    let (mut other, _) = other.accept().await.unwrap();
    assert_eq!(read(&mut other, 5).await, "hello");
    // Until the kernel's buffers are full as well.
    let stuck = async {
        while lab.count("drop_stuck") == 0 {
            let _ = lab.send(to, None, &text);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, stuck).await.unwrap();
    lab.until("closed_peer", 1).await;
    lab.at_rest().await;
}

#[tokio::test]
async fn messages_to_one_address_share_a_connection_in_order() {
    let lab = lab(StreamSettings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    for n in 0..10 {
        lab.send(to, None, &n.to_string()).unwrap();
    }
    let (mut peer, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut peer, 10).await, "0123456789");
    assert_eq!(lab.count("connected"), 1);
    // The peer goes; the next message opens a connection anew.
    drop(peer);
    lab.until("closed_peer", 1).await;
    lab.send(to, None, "new").unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut peer, 3).await, "new");
}

#[tokio::test]
async fn what_can_not_be_delivered_is_counted() {
    let lab = lab(StreamSettings::default());
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    lab.send(closed, None, "lost").unwrap();
    lab.until("drop_connect", 1).await;
    assert_eq!(lab.counters.imbalance(), 0);
}

#[tokio::test]
async fn a_reply_takes_the_connection_of_its_request_though_its_via_says_tls() {
    let mut lab = lab(StreamSettings::default());
    let mut peer = TcpStream::connect(lab.address).await.unwrap();
    peer.write_all(request("x").as_bytes()).await.unwrap();
    let message = lab.receive().await;
    let reply = Delivery {
        payload: Bytes::from_static(b"reply"),
        to: "127.0.0.1:1".parse().unwrap(),
        transport: Transport::Tls,
        server_name: None,
        connection: Some(message.connection),
        is_reply: true,
        socket: SocketId(3),
        copies: Default::default(),
    };
    lab.streams.send(reply).unwrap();
    assert_eq!(read(&mut peer, 5).await, "reply");
}

#[tokio::test]
async fn connections_are_limited_and_a_closed_one_makes_room() {
    let mut lab = lab(StreamSettings {
        max_connections: 1,
        ..StreamSettings::default()
    });
    let mut first = TcpStream::connect(lab.address).await.unwrap();
    first.write_all(request("1").as_bytes()).await.unwrap();
    let held = lab.receive().await;
    let mut second = TcpStream::connect(lab.address).await.unwrap();
    assert_closed(&mut second).await;
    lab.until("refused_limit", 1).await;
    // None is opened by us either, and the one that is there still serves.
    assert!(lab.send(lab.address, None, "x").is_err());
    assert_eq!(lab.count("refused_limit"), 2);
    lab.send(held.source, Some(held.connection), "reply")
        .unwrap();
    assert_eq!(read(&mut first, 5).await, "reply");
    drop(first);
    lab.until("closed_peer", 1).await;
    let mut third = TcpStream::connect(lab.address).await.unwrap();
    third.write_all(request("3").as_bytes()).await.unwrap();
    assert_eq!(lab.receive().await.payload, request("3"));
}

#[tokio::test]
async fn one_peer_takes_its_share_and_leaves_the_rest_to_others_and_to_corex() {
    let lab = lab(StreamSettings {
        max_connections: 8,
        per_peer: Some(2),
        reserve: Some(5),
        ..StreamSettings::default()
    });
    let connect = async |from: [u8; 4]| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(lab.address).await.unwrap()
    };
    let (_a, _b) = (connect([127, 0, 0, 1]).await, connect([127, 0, 0, 1]).await);
    assert_closed(&mut connect([127, 0, 0, 1]).await).await;
    lab.until("refused_peer", 1).await;
    assert_eq!(lab.count("refused_limit"), 0);
    let _c = connect([127, 0, 0, 2]).await;
    lab.until("accepted", 3).await;
    // Three of eight are taken, and the rest is for corex.
    assert_closed(&mut connect([127, 0, 0, 3]).await).await;
    lab.until("refused_limit", 1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    lab.send(listener.local_addr().unwrap(), None, "out")
        .unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut peer, 3).await, "out");
}

#[tokio::test]
async fn a_message_too_long_for_any_queue_opens_no_connection() {
    let lab = lab(StreamSettings {
        max_connections: 1,
        queue_bytes: 10,
        ..StreamSettings::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    assert_eq!(lab.send(to, None, "eleven long"), Err(SendError::QueueFull));
    // The only place is still free.
    lab.send("127.0.0.1:1".parse().unwrap(), None, "ten chars!")
        .unwrap();
    lab.until("drop_connect", 1).await;
    lab.at_rest().await;
}

#[tokio::test]
async fn a_connection_feeds_one_worker_and_several_share_the_workers() {
    const PEERS: usize = 4;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (inboxes, mut receivers): (Vec<Inbox>, Vec<_>) = (0..2)
        .map(|_| {
            let (sender, receiver) = mpsc::channel(100);
            let wake = Arc::new(|| {});
            (Inbox { sender, wake }, receiver)
        })
        .unzip();
    let listeners = vec![(SocketId(0), listener)];
    let counters = Arc::new(StreamCounters::default());
    let settings = StreamSettings::default();
    let _streams =
        Streams::start(Handle::current(), settings, listeners, inboxes, counters).unwrap();
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        let mut peer = TcpStream::connect(address).await.unwrap();
        for n in 0..3 {
            peer.write_all(request(&n.to_string()).as_bytes())
                .await
                .unwrap();
        }
        peers.push(peer);
    }
    for receiver in &mut receivers {
        let mut found = std::collections::BTreeMap::<_, Vec<Bytes>>::new();
        for _ in 0..PEERS / 2 * 3 {
            let message = timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap();
            found
                .entry(message.source)
                .or_default()
                .push(message.payload);
        }
        assert_eq!(found.len(), PEERS / 2);
        for payloads in found.values() {
            assert_eq!(payloads, &[request("0"), request("1"), request("2")]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_connections_on_several_threads_keep_their_order() {
    const PEERS: usize = 20;
    const MESSAGES: usize = 100;
    let mut lab = lab(StreamSettings::default());
    let peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let address = lab.address;
            tokio::spawn(async move {
                let mut peer = TcpStream::connect(address).await.unwrap();
                for n in 0..MESSAGES {
                    let text = request(&n.to_string());
                    peer.write_all(text.as_bytes()).await.unwrap();
                }
                peer
            })
        })
        .collect();
    let mut next = std::collections::HashMap::<SocketAddr, usize>::new();
    for _ in 0..PEERS * MESSAGES {
        let message = lab.receive().await;
        let n = next.entry(message.source).or_default();
        assert_eq!(message.payload, request(&n.to_string()));
        *n += 1;
    }
    assert_eq!(next.len(), PEERS);
    for peer in peers {
        drop(peer.await.unwrap());
    }
}
