//! What time does to a connection. Time stands still here until everybody waits for it.

use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
    time::Instant,
};

use super::*;
use crate::hep::Copies;
use crate::io::stream::connection::{End, Flow, Item, Line, Times};

/// A connection without a network.
struct Bench {
    peer: DuplexStream,
    queue: mpsc::Sender<Item>,
    inbox: mpsc::Receiver<StreamMessage>,
    counters: Arc<StreamCounters>,
    running: JoinHandle<End>,
    begun: Instant,
    _held: tokio::sync::watch::Sender<bool>,
}

/// `room`: bytes that the network holds.
fn bench(settings: StreamSettings, room: usize) -> Bench {
    let (peer, ours) = duplex(room);
    let (queue, mut receiver) = mpsc::channel(10);
    let (sender, inbox) = mpsc::channel(10);
    let counters = Arc::new(StreamCounters::default());
    let address = "127.0.0.1:5060".parse().unwrap();
    let (held, is_held) = tokio::sync::watch::channel(false);
    let line = Line {
        id: ConnectionId(1),
        peer: address,
        local: address,
        transport: Transport::Tcp,
        socket: SocketId(0),
        inbox: Inbox {
            sender,
            wake: Arc::new(|| {}),
        },
        settings: Arc::new(settings),
        counters: Arc::clone(&counters),
        waiting: Arc::default(),
        times: std::sync::Mutex::new(Times::now()),
        held: is_held,
    };
    let pongs = queue.downgrade();
    let running = tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(ours);
        let mut flow = Flow::default();
        let run = line.run(reader, writer, &mut receiver, &pongs, &mut flow, || {});
        run.await
    });
    Bench {
        peer,
        queue,
        inbox,
        counters,
        running,
        begun: Instant::now(),
        _held: held,
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_connection_without_traffic_ends_after_the_idle_time() {
    let bench = bench(StreamSettings::default(), 1000);
    let end = bench.running.await.unwrap();
    assert!(matches!(end, End::Idle), "{end}");
    assert_eq!(bench.begun.elapsed().as_secs(), 120);
}

#[tokio::test(start_paused = true)]
async fn traffic_in_either_direction_puts_the_idle_end_off() {
    let mut bench = bench(StreamSettings::default(), 1000);
    bench.peer.write_all(request("").as_bytes()).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    bench.peer.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut bench.peer, 2).await, "\r\n");
    tokio::time::sleep(100 * SECOND).await;
    let item = Item::Message(Bytes::from_static(b"hello"), Copies::default());
    assert!(bench.queue.send(item).await.is_ok());
    assert_eq!(read(&mut bench.peer, 5).await, "hello");
    let end = bench.running.await.unwrap();
    assert!(matches!(end, End::Idle), "{end}");
    assert_eq!(bench.begun.elapsed().as_secs(), 320);
}

/// Sends a keep-alive every 100 seconds until the connection ends. Returns the seconds since it
/// began, and the end.
async fn keep_alive(mut bench: Bench) -> (u64, End) {
    while !bench.running.is_finished() {
        tokio::time::sleep(100 * SECOND).await;
        let mut pong = [0; 2];
        if bench.peer.write_all(b"\r\n\r\n").await.is_err()
            || bench.peer.read_exact(&mut pong).await.is_err()
        {
            break;
        }
    }
    let end = bench.running.await.unwrap();
    (bench.begun.elapsed().as_secs(), end)
}

#[tokio::test(start_paused = true)]
async fn keep_alives_alone_hold_no_connection_that_never_carried_a_message() {
    let bench = bench(StreamSettings::default(), 1000);
    let (seconds, end) = keep_alive(bench).await;
    assert!(matches!(end, End::Idle), "{end}");
    assert!((120..=200).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn keep_alives_hold_a_connection_for_so_long_after_its_last_message() {
    let mut bench = bench(StreamSettings::default(), 1000);
    // One that came, and much later one that went.
    bench.peer.write_all(request("").as_bytes()).await.unwrap();
    for _ in 0..36 {
        tokio::time::sleep(100 * SECOND).await;
        bench.peer.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut bench.peer, 2).await, "\r\n");
    }
    let item = Item::Message(Bytes::from_static(b"hello"), Copies::default());
    assert!(bench.queue.send(item).await.is_ok());
    assert_eq!(read(&mut bench.peer, 5).await, "hello");
    let (seconds, end) = keep_alive(bench).await;
    assert!(matches!(end, End::KeepAlive), "{end}");
    assert!((10_800..=10_900).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_only_drips_ends_the_connection() {
    let bench = bench(StreamSettings::default(), 1000);
    let mut peer = bench.peer;
    tokio::spawn(async move {
        // A byte each second is traffic, but no message.
        for _ in 0..1000 {
            tokio::time::sleep(SECOND).await;
            if peer.write_all(b"x").await.is_err() {
                break;
            }
        }
    });
    let end = bench.running.await.unwrap();
    assert!(matches!(end, End::Slow), "{end}");
    assert_eq!(bench.begun.elapsed().as_secs(), 21);
}

#[tokio::test(start_paused = true)]
async fn the_time_for_a_message_begins_anew_with_each() {
    let mut bench = bench(StreamSettings::default(), 1000);
    for n in 0..10 {
        let text = request(&n.to_string());
        let (head, tail) = text.split_at(20);
        bench.peer.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(15 * SECOND).await;
        bench.peer.write_all(tail.as_bytes()).await.unwrap();
        assert_eq!(bench.inbox.recv().await.unwrap().payload, text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_ends_the_connection_and_the_loss_is_counted() {
    let bench = bench(StreamSettings::default(), 10);
    for _ in 0..2 {
        let item = Item::Message(Bytes::from_static(b"eleven long"), Copies::default());
        assert!(bench.queue.send(item).await.is_ok());
    }
    let end = bench.running.await.unwrap();
    assert!(matches!(end, End::Stuck), "{end}");
    assert_eq!(bench.begun.elapsed().as_secs(), 10);
    // The second one is still in the queue, whose owner counts it.
    assert_eq!(bench.counters.drop_stuck.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_shut_its_side_down_is_waited_for_no_longer_than_a_second() {
    let mut bench = bench(StreamSettings::default(), 1000);
    tokio::time::sleep(SECOND).await;
    bench.peer.write_all(request("").as_bytes()).await.unwrap();
    bench.peer.shutdown().await.unwrap();
    assert!(bench.inbox.recv().await.is_some());
    tokio::time::sleep(SECOND / 2).await;
    let item = Item::Message(Bytes::from_static(b"reply"), Copies::default());
    assert!(bench.queue.send(item).await.is_ok());
    assert_eq!(read(&mut bench.peer, 5).await, "reply");
    let end = bench.running.await.unwrap();
    assert!(matches!(end, End::Closed), "{end}");
    assert_eq!(bench.begun.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_and_waits_for_nothing_is_gone_at_once() {
    let bench = bench(StreamSettings::default(), 1000);
    drop(bench.peer);
    let end = bench.running.await.unwrap();
    assert!(matches!(end, End::Closed), "{end}");
    assert_eq!(bench.begun.elapsed(), Duration::ZERO);
}
