//! Apps with plain SIP on one side, a server of devices on the other, sockets in between.

#![allow(clippy::unwrap_used)]

mod server;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use corex_client::{Bridge, BridgeError, BridgeOptions, Counters, Options};
use corex_codec::DeviceId;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use server::Server;

const CHAIN: &str = "zstd(sip) | aead(aes-256-gcm, key=device) | http(post, host=cdn.example.org)";
/// Nobody waits so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// So often threads look whether it is over.
const GLANCE: Duration = Duration::from_millis(20);

fn local() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn options(server: SocketAddr, devices: usize, public: &str) -> BridgeOptions {
    let name = format!("corex-bridge-{}-{}", std::process::id(), server.port());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, public).unwrap();
    BridgeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        devices,
        client: Options {
            server_key: Some(format!("5:file:{}", path.display())),
            ..Options::new(CHAIN, server)
        },
    }
}

/// Answers each message until it is over.
fn serve(wire: &UdpSocket, mut server: Server, is_over: &AtomicBool) -> Server {
    wire.set_read_timeout(Some(GLANCE)).unwrap();
    let mut room = vec![0; 65_535];
    while !is_over.load(Ordering::Relaxed) {
        let Ok((len, peer)) = wire.recv_from(&mut room) else {
            continue;
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        server.take(peer, &room[..len], now.unwrap());
        for answer in server.answers.drain(..) {
            wire.send_to(&answer, peer).unwrap();
        }
        for message in std::mem::take(&mut server.messages) {
            let mut out = Vec::new();
            let reply = [b"re: ", &message[..]].concat();
            server
                .chain
                .encode_for(Some(peer), &reply, &mut out, 65_535)
                .unwrap();
            wire.send_to(&out, peer).unwrap();
        }
    }
    server
}

/// Runs a bridge and a server while `apps` has the bridge's address.
fn with_bridge(devices: usize, apps: impl FnOnce(SocketAddr)) -> (Counters, Server, Bridge) {
    let wire = local();
    let (server, public) = Server::new(CHAIN);
    let mut bridge = Bridge::new(&options(wire.local_addr().unwrap(), devices, &public)).unwrap();
    let address = bridge.address().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&wire, server, &is_over));
        let bridging = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                bridge.run_once(GLANCE).unwrap();
            }
            bridge
        });
        apps(address);
        is_over.store(true, Ordering::Relaxed);
        let bridge = bridging.join().unwrap();
        (bridge.counters(), serving.join().unwrap(), bridge)
    })
}

/// Says something until it is answered: datagrams may be lost.
fn ask(app: &UdpSocket, bridge: SocketAddr, message: &[u8]) {
    app.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let expected = [b"re: ", message].concat();
    let mut room = vec![0; 65_535];
    for _ in 0..30 {
        app.send_to(message, bridge).unwrap();
        while let Ok((len, from)) = app.recv_from(&mut room) {
            if room[..len] == expected {
                assert_eq!(from, bridge);
                return;
            }
        }
    }
    panic!("no answer to {}", String::from_utf8_lossy(message));
}

#[test]
fn each_app_is_a_device_and_gets_its_own_answers() {
    let (counted, server, bridge) = with_bridge(2, |bridge| {
        let (one, two) = (local(), local());
        for round in 0..3 {
            ask(&one, bridge, format!("OPTIONS one {round}").as_bytes());
            ask(&two, bridge, format!("OPTIONS two {round}").as_bytes());
        }
    });
    assert_eq!(counted.accepted, 2);
    assert!(counted.sent >= 6 && counted.received >= 6, "{counted:?}");
    assert_eq!((bridge.devices(), bridge.turned_away()), (2, 0));
    let keys = server.store.keys.lock().unwrap();
    let mut ids: Vec<_> = keys.iter().map(|key| key.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_thousand_devices_have_a_thousand_keys() {
    // The apps of this test, beside the devices.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(4096).min(hard), hard).unwrap();
    let (counted, server, bridge) = with_bridge(1000, |bridge| {
        let apps: Vec<_> = (0..1000).map(|_| local()).collect();
        for (at, app) in apps.iter().enumerate() {
            ask(app, bridge, format!("REGISTER {at}").as_bytes());
        }
        let late = local();
        late.send_to(b"one too many", bridge).unwrap();
        ask(&apps[0], bridge, b"REGISTER again");
    });
    assert_eq!((bridge.devices(), bridge.turned_away()), (1000, 1));
    assert_eq!(counted.accepted, 1000);
    let keys = server.store.keys.lock().unwrap();
    let mut secrets: Vec<_> = keys.iter().map(|key| *key.secret()).collect();
    secrets.sort_unstable();
    secrets.dedup();
    assert!(secrets.len() >= 1000);
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    let wire = local();
    let (_, public) = Server::new(CHAIN);
    let mut one_id = options(wire.local_addr().unwrap(), 2, &public);
    one_id.client.device = Some(DeviceId::random().unwrap());
    assert!(matches!(Bridge::new(&one_id), Err(BridgeError::OneId)));
    let mut taken = options(wire.local_addr().unwrap(), 1, &public);
    taken.listen = wire.local_addr().unwrap();
    let error = Bridge::new(&taken).unwrap_err().to_string();
    assert!(error.contains("listen on 127.0.0.1"), "{error}");
}
