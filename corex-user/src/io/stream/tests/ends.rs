//! How connections end: by the peer, and when corex stops.

use super::{
    tls::{certificate, hello, lab_that_trusts},
    *,
};

#[tokio::test]
async fn what_waits_is_still_written_when_corex_stops() {
    let lab = lab(StreamSettings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    lab.send(listener.local_addr().unwrap(), None, "last words")
        .unwrap();
    lab.streams.stop(PATIENCE).await;
    assert_eq!(lab.counters.imbalance(), 0);
    let (mut peer, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut peer, 10).await, "last words");
    assert_closed(&mut peer).await;
    assert_eq!(lab.send(lab.address, None, "x"), Err(SendError::QueueFull));
}

#[tokio::test]
async fn nobody_is_accepted_any_more_when_corex_has_stopped() {
    let lab = lab(StreamSettings::default());
    let mut peer = TcpStream::connect(lab.address).await.unwrap();
    lab.until("accepted", 1).await;
    lab.streams.stop(PATIENCE).await;
    assert_closed(&mut peer).await;
    let refused = TcpStream::connect(lab.address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn what_can_not_be_written_in_time_is_counted_when_corex_stops() {
    let lab = lab_that_trusts("mute", &certificate("edge.example").cert.pem());
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = deaf.local_addr().unwrap();
    let text = "x".repeat(60_000);
    // More than the kernel's buffers take.
    while lab.send(to, None, &text).is_ok() {
        tokio::task::yield_now().await;
    }
    // One whose peer never answers the handshake.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = mute.local_addr().unwrap();
    lab.streams.send(hello(to, Some("edge.example"))).unwrap();
    let _shaking = mute.accept().await.unwrap();
    lab.streams.stop(Duration::from_millis(50)).await;
    assert_eq!(lab.counters.imbalance(), 0, "{:?}", lab.counters.snapshot());
    assert!(lab.count("drop_closed") > 0);
    assert_eq!(lab.count("drop_connect"), 1);
}

#[tokio::test]
async fn a_peer_that_shut_its_side_down_gets_its_reply_but_no_requests() {
    let mut lab = lab(StreamSettings::default());
    let mut peer = TcpStream::connect(lab.address).await.unwrap();
    peer.write_all(request("x").as_bytes()).await.unwrap();
    peer.shutdown().await.unwrap();
    let message = lab.receive().await;
    lab.send(message.source, Some(message.connection), "reply")
        .unwrap();
    assert_eq!(read(&mut peer, 5).await, "reply");
    // Nobody listens at its address: a request fails, where the old connection would take it.
    lab.send(message.source, None, "request").unwrap();
    lab.until("drop_connect", 1).await;
    assert_closed(&mut peer).await;
    lab.until("closed_peer", 1).await;
    lab.at_rest().await;
}

#[tokio::test]
async fn a_connection_ends_when_its_worker_is_gone() {
    let lab = lab(StreamSettings::default());
    let mut peer = TcpStream::connect(lab.address).await.unwrap();
    drop(lab.inbox);
    peer.write_all(request("x").as_bytes()).await.unwrap();
    assert_closed(&mut peer).await;
}
