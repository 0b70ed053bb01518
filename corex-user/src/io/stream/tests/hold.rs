//! Connections that are held, and go on here or elsewhere.

use std::os::fd::OwnedFd;

use super::{
    tls::{certificate, hello, lab_that_trusts},
    *,
};

/// What a successor in another process gets.
async fn lent(hold: &mut Hold) -> (StreamsCopy, Vec<OwnedFd>) {
    let (copy, descriptors) = hold.lend().await;
    let json = serde_json::to_vec(&copy).unwrap();
    let sent: StreamsCopy = serde_json::from_slice(&json).unwrap();
    assert_eq!(sent, copy);
    let copies = descriptors.iter().map(|fd| fd.try_clone().unwrap());
    (sent, copies.collect())
}

/// So that everything that could happen has.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test]
async fn what_is_held_goes_on_where_it_stopped() {
    let mut lab = lab(StreamSettings::default());
    let mut peer = TcpStream::connect(lab.address).await.unwrap();
    let mut later = TcpStream::connect(lab.address).await.unwrap();
    lab.until("accepted", 2).await;
    let text = request("hello");
    peer.write_all(&text.as_bytes()[..20]).await.unwrap();
    a_while().await;
    let mut newcomers = Vec::new();
    for asks in [false, true, true] {
        let mut hold = lab.streams.hold();
        if asks {
            let (copy, descriptors) = lent(&mut hold).await;
            let all = 2 + newcomers.len();
            assert_eq!((copy.open.len(), descriptors.len()), (all, all));
        }
        peer.write_all(&text.as_bytes()[20..]).await.unwrap();
        peer.write_all(&text.as_bytes()[..20]).await.unwrap();
        let mut newcomer = TcpStream::connect(lab.address).await.unwrap();
        let message = request("new");
        newcomer.write_all(message.as_bytes()).await.unwrap();
        a_while().await;
        assert!(lab.inbox.try_recv().is_err(), "nothing goes to a worker");
        let accepted = lab.count("accepted");
        drop(hold);
        let both = [lab.receive().await.payload, lab.receive().await.payload];
        assert!(both.contains(&text.clone().into()), "{both:?}");
        assert!(both.contains(&message.into()), "{both:?}");
        assert_eq!(lab.count("accepted"), accepted + 1);
        newcomers.push(newcomer);
    }
    // Nor does one that was silent lose anything.
    later.write_all(text.as_bytes()).await.unwrap();
    let message = lab.receive().await;
    assert_eq!(message.payload, text);
    lab.send(message.source, Some(message.connection), "reply")
        .unwrap();
    assert_eq!(read(&mut later, 5).await, "reply");
    assert_eq!(lab.count("closed_peer"), 0);
}

#[tokio::test]
async fn a_successor_goes_on_in_the_middle_of_messages_both_ways() {
    const MESSAGES: usize = 200;
    let (mut old, mut new) = (
        lab(StreamSettings::default()),
        lab(StreamSettings::default()),
    );
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut peer = socket.connect(old.address).await.unwrap();
    peer.write_all(request("first").as_bytes()).await.unwrap();
    let first = old.receive().await;
    let (to, id) = (first.source, Some(first.connection));
    // More than the kernel's buffers take: a message is written in part.
    let expected: String = (0..MESSAGES)
        .map(|n| format!("{n:05}").repeat(4000))
        .collect();
    for text in expected.as_bytes().chunks(20_000) {
        let text = std::str::from_utf8(text).unwrap();
        old.send(to, id, text).unwrap();
    }
    let half = request("second");
    peer.write_all(b"\r\n\r\n").await.unwrap();
    peer.write_all(&half.as_bytes()[..30]).await.unwrap();
    old.until("pings", 1).await;
    old.until("delivered", 1).await;
    a_while().await;
    let delivered = old.count("delivered");
    assert!((1..MESSAGES as u64).contains(&delivered), "{delivered}");

    let mut hold = old.streams.hold();
    let (copy, descriptors) = lent(&mut hold).await;
    assert_eq!(new.streams.take_over(copy, descriptors), 0);
    hold.leave();
    assert_eq!(old.streams.stop(PATIENCE).await, 0);
    assert_eq!(old.counters.imbalance(), 0);
    assert_eq!(old.count("handed_over"), MESSAGES as u64 - delivered);
    assert_eq!(old.count("connections_handed_over"), 1);
    assert_eq!(new.count("connections_taken_over"), 1);

    peer.write_all(&half.as_bytes()[30..]).await.unwrap();
    let second = new.receive().await;
    assert_eq!(second.payload, half);
    assert_eq!(second.connection, first.connection);
    assert_eq!((second.source, second.local), (to, first.local));
    assert_eq!(read(&mut peer, expected.len()).await, expected);
    assert_eq!(read(&mut peer, 2).await, "\r\n");
    // By its number, and as the one to that address.
    new.reply("127.0.0.1:1".parse().unwrap(), id, "reply")
        .unwrap();
    assert_eq!(read(&mut peer, 5).await, "reply");
    new.send(to, None, "request").unwrap();
    assert_eq!(read(&mut peer, 7).await, "request");
    assert_eq!(new.count("connected"), 0);
    new.at_rest().await;
    drop(peer);
    new.until("closed_peer", 1).await;
}

#[tokio::test]
async fn messages_that_are_read_and_wait_for_a_worker_go_along_in_order() {
    let (mut old, mut new) = (
        lab_with_inbox(StreamSettings::default(), 2),
        lab(StreamSettings::default()),
    );
    let mut peer = TcpStream::connect(old.address).await.unwrap();
    for n in 0..50 {
        let text = request(&n.to_string());
        peer.write_all(text.as_bytes()).await.unwrap();
    }
    old.until("messages_in", 2).await;
    let mut hold = old.streams.hold();
    let mut next = 0;
    // As workers do when they park.
    while let Ok(message) = old.inbox.try_recv() {
        assert_eq!(message.payload, request(&next.to_string()));
        next += 1;
        tokio::task::yield_now().await;
    }
    let (copy, descriptors) = lent(&mut hold).await;
    assert_eq!(new.streams.take_over(copy, descriptors), 0);
    hold.leave();
    a_while().await;
    assert!(old.inbox.try_recv().is_err());
    for n in next..50 {
        assert_eq!(new.receive().await.payload, request(&n.to_string()));
    }
}

#[tokio::test]
async fn those_that_a_successor_has_no_room_for_are_closed_and_counted() {
    let settings = |per_peer| StreamSettings {
        per_peer: Some(per_peer),
        ..StreamSettings::default()
    };
    let (old, new) = (lab(settings(10)), lab(settings(2)));
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(TcpStream::connect(old.address).await.unwrap());
    }
    old.until("accepted", 3).await;
    let mut hold = old.streams.hold();
    let (copy, descriptors) = lent(&mut hold).await;
    assert_eq!(new.streams.take_over(copy, descriptors), 1);
    hold.leave();
    assert_eq!(new.count("closed_takeover"), 1);
    assert_eq!(new.count("refused_peer"), 1);
    let ends = async {
        loop {
            for (at, peer) in peers.iter().enumerate() {
                if matches!(peer.try_read(&mut [0; 1]), Ok(0)) {
                    return at;
                }
            }
            a_while().await;
        }
    };
    let closed = timeout(PATIENCE, ends).await.unwrap();
    peers.remove(closed);
    // The places of the others are taken.
    let mut one_more = TcpStream::connect(new.address).await.unwrap();
    assert_closed(&mut one_more).await;
    drop(peers.pop());
    new.until("closed_peer", 1).await;
    let _room = TcpStream::connect(new.address).await.unwrap();
    new.until("accepted", 1).await;
}

#[tokio::test]
async fn messages_for_a_connection_that_is_being_opened_wait_or_go_along() {
    let old = lab_that_trusts("held", &certificate("edge.example").cert.pem());
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = mute.local_addr().unwrap();
    old.streams.send(hello(to, Some("edge.example"))).unwrap();
    let _shaking = mute.accept().await.unwrap();
    let mut hold = old.streams.hold();
    let (copy, _) = lent(&mut hold).await;
    assert_eq!((copy.open.len(), copy.unopened.len()), (0, 1));
    drop(hold);
    // It begins again.
    let _again = timeout(PATIENCE, mute.accept()).await.unwrap().unwrap();
    let mut hold = old.streams.hold();
    let (copy, descriptors) = lent(&mut hold).await;
    let new = lab_that_trusts("heir", &certificate("edge.example").cert.pem());
    assert_eq!(new.streams.take_over(copy, descriptors), 0);
    hold.leave();
    let _there = timeout(PATIENCE, mute.accept()).await.unwrap().unwrap();
    assert_eq!((old.count("handed_over"), new.count("queued")), (1, 1));
    assert_eq!(old.streams.stop(PATIENCE).await, 0);
    assert_eq!(old.counters.imbalance(), 0);
}

#[tokio::test]
async fn a_peer_that_shut_its_side_down_gets_its_reply_from_the_successor() {
    let (mut old, new) = (
        lab(StreamSettings::default()),
        lab(StreamSettings::default()),
    );
    let mut peer = TcpStream::connect(old.address).await.unwrap();
    peer.write_all(request("x").as_bytes()).await.unwrap();
    peer.shutdown().await.unwrap();
    let message = old.receive().await;
    let mut hold = old.streams.hold();
    let (copy, descriptors) = lent(&mut hold).await;
    assert_eq!(new.streams.take_over(copy, descriptors), 0);
    hold.leave();
    new.reply(message.source, Some(message.connection), "reply")
        .unwrap();
    assert_eq!(read(&mut peer, 5).await, "reply");
    assert_closed(&mut peer).await;
}
