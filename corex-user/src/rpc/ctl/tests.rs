use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::*;
use crate::rpc::Rpc;
use crate::rpc::binrpc::{self, Cookie, Kind, Packet, Progress, request_bytes};
use crate::rpc::commands;
use crate::rpc::fronts::FrontCounters;
use crate::rpc::limits::RpcLimits;
use crate::rpc::tests::{Fake, Folder, runtime};
use crate::rpc::value::Value;
use corex_script::settings::control::{Access, BinrpcAddress};

/// Never reached where things work.
const LONG: Duration = Duration::from_secs(20);

struct Served {
    rpc: Arc<Rpc>,
    folder: Folder,
    serving: JoinHandle<io::Result<()>>,
    runtime: Runtime,
}

fn bind(kind: &str, path: &Path, access: &Access) -> io::Result<Listener> {
    let text = format!("{kind}:{}", path.display());
    Listener::bind(&BinrpcAddress::parse(&text).unwrap(), access, false)
}

fn serve(kind: &str, limits: RpcLimits) -> Served {
    let folder = Folder::new();
    let listener = bind(kind, &folder.join("ctl"), &Access::default()).unwrap();
    let rpc = Arc::new(Rpc::new(commands::ALL, Arc::new(Fake::new()), limits));
    let runtime = runtime();
    let serving = runtime.spawn(listener.serve(Arc::clone(&rpc)));
    Served {
        rpc,
        folder,
        serving,
        runtime,
    }
}

impl Served {
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.join("ctl")).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    fn count(&self, counter: fn(&FrontCounters) -> &std::sync::atomic::AtomicU64) -> u64 {
        counter(&self.rpc.fronts.counters).load(Ordering::Relaxed)
    }

    /// Waits for a counter that is written after the client has seen its connection end.
    fn wait_for(
        &self,
        counter: fn(&FrontCounters) -> &std::sync::atomic::AtomicU64,
        expected: u64,
    ) {
        for _ in 0..2000 {
            if self.count(counter) == expected {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.count(counter), expected);
    }
}

fn version() -> Packet {
    request_bytes(Cookie::new(&[7]), "core.prints", &["a".into()])
}

/// The reply to [`version`].
const REPLY: &[u8] = b"\xa1\x10\x03\x07\x21a\0";

/// What comes until the connection ends.
fn rest(mut stream: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn is_served(stream: &mut UnixStream) {
    stream.write_all(&version()).unwrap();
    let mut reply = [0; REPLY.len()];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply, REPLY);
}

#[test]
fn requests_may_come_in_pieces_and_several_at_once() {
    let served = serve("unixs", RpcLimits::default());
    let mut stream = served.connect();
    for byte in version().iter() {
        stream.write_all(&[*byte]).unwrap();
    }
    stream.write_all(&[version(), version()].concat()).unwrap();
    let mut replies = [0; 3 * REPLY.len()];
    stream.read_exact(&mut replies).unwrap();
    assert_eq!(replies, *REPLY.repeat(3));
    assert_eq!(served.count(|counters| &counters.requests), 3);
}

#[test]
fn malformed_input_is_answered_closed_and_counted() {
    let served = serve("unixs", RpcLimits::default());
    let mut other = served.connect();
    is_served(&mut other);
    for (bytes, reason) in [
        (&b"\xb1\0\x01\x01\x01"[..], "bad request: corrupted packet"),
        (
            b"\xa1\x0c\xff\xff\xff\xff\x01",
            "bad request: packet too long",
        ),
        (b"\xa1\x10\x00\x01", "bad request: corrupted packet"),
        (
            b"\xa1\x00\x00\x01",
            "bad request method: end of packet encountered",
        ),
        (
            b"\xa1\x00\x02\x01\x10\x05",
            "bad request method: record doesn't match type",
        ),
    ] {
        let mut stream = served.connect();
        stream.write_all(bytes).unwrap();
        let answer = rest(stream);
        let Ok(Progress::Whole(frame)) = binrpc::progress(&answer, 1000) else {
            panic!("{answer:x?}");
        };
        assert_eq!(frame.kind, Kind::Fault);
        assert_eq!(
            binrpc::payload(&answer[frame.header..]).unwrap(),
            [Value::Int(400), reason.into()]
        );
    }
    assert_eq!(served.count(|counters| &counters.malformed), 5);
    is_served(&mut other);
}

#[test]
fn a_client_that_never_ends_its_request_is_sent_away() {
    let limits = RpcLimits {
        request: Duration::from_millis(50),
        ..RpcLimits::default()
    };
    let served = serve("unixs", limits);
    let mut slow = served.connect();
    slow.write_all(&version()[..5]).unwrap();
    let mut other = served.connect();
    is_served(&mut other);
    assert_eq!(rest(slow), b"");
    served.wait_for(|counters| &counters.too_slow, 1);
    is_served(&mut other);
}

#[test]
fn a_client_that_reads_nothing_is_sent_away() {
    let limits = RpcLimits {
        reply: Duration::from_millis(50),
        burst: 1_000_000,
        ..RpcLimits::default()
    };
    let served = serve("unixs", limits);
    let mut deaf = served.connect();
    deaf.set_write_timeout(Some(LONG)).unwrap();
    let request = request_bytes(Cookie::new(&[1]), "system.listMethods", &[]);
    // Sooner or later the way back is full, and then the way there ends.
    while deaf.write_all(&request).is_ok() {}
    served.wait_for(|counters| &counters.too_slow, 1);
    is_served(&mut served.connect());
}

#[test]
fn too_many_connections_are_refused_and_others_are_served_on() {
    let limits = RpcLimits {
        connections: 2,
        ..RpcLimits::default()
    };
    let served = serve("unixs", limits);
    let mut first = served.connect();
    is_served(&mut first);
    let mut second = served.connect();
    is_served(&mut second);
    assert_eq!(rest(served.connect()), b"");
    served.wait_for(|counters| &counters.refused, 1);
    drop(second);
    is_served(&mut first);
    for _ in 0..2000 {
        if served.rpc.fronts.connections().len() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    is_served(&mut served.connect());
}

#[test]
fn a_client_that_asks_too_fast_waits_for_its_replies() {
    let limits = RpcLimits {
        burst: 1,
        rate: 100,
        ..RpcLimits::default()
    };
    let served = serve("unixs", limits);
    let mut stream = served.connect();
    stream.write_all(&version().repeat(5)).unwrap();
    let mut replies = [0; 5 * REPLY.len()];
    stream.read_exact(&mut replies).unwrap();
    assert_eq!(replies, *REPLY.repeat(5));
}

#[test]
fn datagrams_beyond_the_rate_are_dropped_and_counted() {
    let limits = RpcLimits {
        burst: 2,
        rate: 1,
        ..RpcLimits::default()
    };
    let served = serve("unixd", limits);
    let client = UnixDatagram::bind(served.folder.join("client")).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client.connect(served.folder.join("ctl")).unwrap();
    for _ in 0..5 {
        client.send(&version()).unwrap();
    }
    served.wait_for(|counters| &counters.refused, 3);
    let mut buffer = [0; 100];
    for _ in 0..2 {
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], REPLY);
    }
}

#[test]
fn datagrams_that_cannot_be_read_or_answered_are_counted() {
    let served = serve("unixd", RpcLimits::default());
    let nameless = UnixDatagram::unbound().unwrap();
    nameless.connect(served.folder.join("ctl")).unwrap();
    nameless.send(&version()).unwrap();
    served.wait_for(|counters| &counters.undelivered, 1);
    nameless.send(b"\xa1\x00\x02\x01\x21").unwrap();
    nameless.send(b"x").unwrap();
    served.wait_for(|counters| &counters.malformed, 2);
}

#[test]
fn socket_files_are_for_their_owner_unless_told_otherwise() {
    let folder = Folder::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for kind in ["unixs", "unixd"] {
        let path = folder.join(kind);
        let listener = bind(kind, &path, &Access::default()).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(listener);
        let access = Access {
            mode: 0o660,
            user: Some("0".to_owned()),
            group: Some("daemon".to_owned()),
        };
        let _listener = bind(kind, &path, &access).unwrap();
        assert_eq!(mode(&path), 0o660);
        let access = Access {
            user: Some("nobody-of-this-name".to_owned()),
            ..Access::default()
        };
        let error = bind(kind, &folder.join("other"), &access).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!folder.join("other").exists());
    }
}

#[test]
fn a_socket_goes_with_its_listener_and_only_a_dead_one_is_replaced() {
    let folder = Folder::new();
    let path = folder.join("ctl");
    let access = Access::default();
    for kind in ["unixs", "unixd"] {
        let listener = bind(kind, &path, &access).unwrap();
        let error = bind(kind, &path, &access).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "{kind}");
        drop(listener);
        assert!(!path.exists());
    }
    // What a process that was killed leaves behind.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(bind("unixs", &path, &access).unwrap());
    drop(UnixDatagram::bind(&path).unwrap());
    drop(bind("unixd", &path, &access).unwrap());
    fs::write(&path, "precious").unwrap();
    let error = bind("unixs", &path, &access).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn the_end_of_serving_ends_connections_and_removes_the_file() {
    let served = serve("unixs", RpcLimits::default());
    let mut stream = served.connect();
    is_served(&mut stream);
    served.serving.abort();
    assert_eq!(rest(stream), b"");
    drop(served.runtime);
    assert!(!served.folder.join("ctl").exists());
}
