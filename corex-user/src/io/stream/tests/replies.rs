//! Which connection a reply goes by, and that who forges one gets none.

use std::collections::HashSet;

use super::*;

/// The number of a connection that is gone.
async fn gone(lab: &mut Lab) -> ConnectionId {
    let mut peer = TcpStream::connect(lab.address).await.unwrap();
    peer.write_all(request("x").as_bytes()).await.unwrap();
    let gone = lab.receive().await.connection;
    drop(peer);
    lab.until("closed_peer", 1).await;
    gone
}

#[tokio::test]
async fn a_reply_whose_connection_is_gone_goes_to_its_address_where_that_is_allowed() {
    let mut lab = lab(StreamSettings {
        reply_connect: true,
        ..StreamSettings::default()
    });
    let gone = gone(&mut lab).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    lab.reply(to, Some(gone), "reply").unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut peer, 5).await, "reply");
}

#[tokio::test]
async fn by_default_none_is_opened_for_a_reply() {
    let mut lab = lab(StreamSettings::default());
    let gone = gone(&mut lab).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    for connection in [Some(gone), None] {
        let sent = lab.reply(to, connection, "reply");
        assert_eq!(sent, Err(SendError::NoConnection));
    }
    assert_eq!((lab.count("connected"), lab.count("queued")), (0, 0));
    // A request gets one, and then there is one for replies.
    lab.send(to, None, "request").unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut peer, 7).await, "request");
    lab.reply(to, None, "reply").unwrap();
    assert_eq!(read(&mut peer, 5).await, "reply");
}

#[tokio::test]
async fn the_number_of_a_connection_can_not_be_guessed() {
    const PEERS: usize = 32;
    let mut lab = lab(StreamSettings::default());
    let mut peers = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..PEERS {
        let mut peer = TcpStream::connect(lab.address).await.unwrap();
        peer.write_all(request("x").as_bytes()).await.unwrap();
        ids.push(lab.receive().await.connection.0);
        peers.push(peer);
    }
    // Wherever $conid shows it, it isn't negative.
    assert!(ids.iter().all(|id| i64::try_from(*id).is_ok()));
    // No two are near each other, nor are the steps between them equal.
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] > 1 << 20));
    let steps: HashSet<u64> = ids
        .windows(2)
        .map(|pair| pair[1].wrapping_sub(pair[0]))
        .collect();
    assert_eq!(steps.len(), PEERS - 1);
}
