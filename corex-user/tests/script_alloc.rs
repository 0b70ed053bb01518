//! Interpreting a message, and transforming it, allocates nothing once buffers have grown.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use corex_common::counters::WorkerCounters;
use corex_script::host::FileError;
use corex_script::{
    Direction, Env, HookOutcome, Host, NetworkHook, NextHop, Outgoing, RouteEnd, Runtime,
    SendError, SocketId, Target, load_str,
};
use corex_sip::compose::SentBy;
use corex_sip::{SipView, Transport};
use corex_user::chain::{Native, Passed};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn count() {
    // Fails only while the thread ends.
    let _ = ALLOCATIONS.try_with(|counter| counter.set(counter.get() + 1));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONFIG: &str = r#"
loadmodule "corex.so"
loadmodule "xlog.so"
loadmodule "codec.so"
listen=udp:192.0.2.2:5060
modparam("corex", "network_io_intercept", 1)
modparam("corex", "msg_avp", "$avp(msg)")
event_route[network:msg] {
    $var(count) += 1;
    if (is_incoming()) {
        if (!codec_decode("gzip", "" + $mb + "", "$avp(msg)")) {
            $avp(msg) = $mb;
        }
    } else if ($ml > 100 && $mb !~ "^HTTP/") {
        if (!codec_encode("gzip", $mb, $avp(msg))) {
            $avp(msg) = "x" + $mb;
        }
    } else {
        $avp(msg) = $mb;
    }
}
request_route {
    xlog("L_DBG", "$rm $ru from $si:$sp\n");
    if ($rm =~ "^(INVITE|ACK|BYE)$" && uri == myself && src_ip == 192.0.2.0/24) {
        $rU = "carol" + $cs;
        $du = "sip:192.0.2.9:" + 5070;
        $avp(note) = $ru;
        codec_encode("gzip", "$fu $tu $ci $ua $proto $Ri:$Rp", $avp(note));
        $var(now) = $Ts;
        $var(last) = $avp(note);
        $fs = "udp:192.0.2.2:5060";
        switch ($rd) {
            case "example.com": route(SEND); break;
            case /"org$": drop;
            default: exit;
        }
    }
}
route[SEND] {
    $var(i) = 0;
    while ($var(i) < 3) { $var(i) = $var(i) + 1; }
    if (!send()) { exit; }
    send("192.0.2.$var(i)");
    send("[2001:db8::1]:5080");
    send("peer.example.com");
    return 1;
}
reply_route {
    if ($rs >= 200 && $rr == "OK") { send("192.0.2.1:5060"); }
}
"#;

const INVITE: &[u8] = b"INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n\
    From: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@example.com>\r\n\
    Call-ID: abc@192.0.2.1\r\nCSeq: 7 INVITE\r\nUser-Agent: test/1\r\n\
    Content-Length: 0\r\n\r\n";

const REPLY: &[u8] = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060\r\nCSeq: 7 INVITE\r\n\r\n";

/// Does what the pipeline does with what is sent, and nothing that allocates.
#[derive(Default)]
struct Peer {
    sent: u32,
    by_name: u32,
    out: Vec<u8>,
}

fn env() -> Env {
    Env {
        src: SocketAddr::from(([192, 0, 2, 1], 5060)),
        dst: SocketAddr::from(([192, 0, 2, 2], 5060)),
        transport: Transport::Udp,
        socket: SocketId(0),
        connection: None,
    }
}

impl Host for Peer {
    fn next_hop<'t>(
        &mut self,
        to: Target<'t>,
        _: Option<Transport>,
        _: Option<SocketId>,
    ) -> Result<NextHop<'t>, SendError> {
        Ok(NextHop {
            to,
            transport: Transport::Udp,
            socket: SocketId(0),
            local: env().dst,
        })
    }

    fn sent_by(&self, hop: &NextHop<'_>) -> SentBy<'_> {
        SentBy {
            host: None,
            ip: hop.local.ip(),
            port: hop.local.port(),
        }
    }

    fn consume(&mut self) {}

    fn file_read(&self, _: &Path) -> Result<Arc<[u8]>, FileError> {
        Err(FileError::Path)
    }

    fn file_write(&self, _: &Path, _: &[u8]) -> Result<(), FileError> {
        Err(FileError::Path)
    }

    fn send(&mut self, hook: &mut dyn NetworkHook, out: Outgoing<'_>) -> Result<(), SendError> {
        let mut encoded = std::mem::take(&mut self.out);
        let outcome =
            hook.run_network_msg(&env(), out.payload, Direction::Outgoing, self, &mut encoded);
        self.out = encoded;
        assert!(matches!(
            outcome,
            HookOutcome::Replaced | HookOutcome::Unchanged
        ));
        self.sent += 1;
        self.by_name += u32::from(matches!(out.hop.to, Target::Name { .. }));
        Ok(())
    }

    fn is_myself(&self, host: &[u8], _: u16, _: Option<Transport>) -> bool {
        host == b"example.com"
    }
}

fn handle(runtime: &mut Runtime, peer: &mut Peer, wire: &[u8], decoded: &mut Vec<u8>) {
    runtime.begin_message();
    let outcome = runtime.run_network_msg(&env(), wire, Direction::Incoming, peer, decoded);
    let message = match outcome {
        HookOutcome::Replaced => decoded.as_slice(),
        HookOutcome::Unchanged => wire,
        other => panic!("{other:?}"),
    };
    let view = SipView::parse(message).expect("a SIP message");
    assert_eq!(runtime.run_route(&env(), &view, peer), RouteEnd::Finished);
}

#[test]
fn a_message_costs_no_allocation_after_the_first_ones() {
    let loaded = load_str("alloc.cfg", CONFIG, corex_user::module::MODULES);
    assert!(loaded.report.diagnostics().is_empty(), "{}", loaded.report);
    let config = loaded.config.expect("a configuration that is right");
    let mut runtime = Runtime::new(config.program, 0);
    let mut peer = Peer::default();

    let mut packed = Vec::new();
    runtime.begin_message();
    let outcome =
        runtime.run_network_msg(&env(), INVITE, Direction::Outgoing, &mut peer, &mut packed);
    assert_eq!(outcome, HookOutcome::Replaced);

    let mut decoded = Vec::new();
    let mut all = |runtime: &mut Runtime, peer: &mut Peer| {
        for wire in [INVITE, &packed, REPLY] {
            handle(runtime, peer, wire, &mut decoded);
        }
    };
    for _ in 0..3 {
        all(&mut runtime, &mut peer);
    }
    peer.sent = 0;
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        all(&mut runtime, &mut peer);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!((peer.sent, peer.by_name > 0), (900, true));
}

const FORWARDS: &str = r#"
loadmodule "corex.so"
listen=udp:192.0.2.2:5060
request_route { forward("192.0.2.9"); }
"#;

#[test]
fn what_is_forwarded_is_checked_without_an_allocation() {
    let loaded = load_str("alloc.cfg", FORWARDS, corex_user::module::MODULES);
    let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.report));
    let mut runtime = Runtime::new(config.program, 0);
    let mut peer = Peer::default();
    let reply = String::from_utf8_lossy(INVITE)
        .replacen("INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK", 1)
        .replacen(
            "Via: ",
            "Via: SIP/2.0/UDP example.com;branch=z9hG4bK0\r\nVia: ",
            1,
        );
    let all = |runtime: &mut Runtime, peer: &mut Peer| {
        for message in [INVITE, reply.as_bytes()] {
            let view = SipView::parse(message).expect("a SIP message");
            runtime.begin_message();
            assert_eq!(runtime.run_route(&env(), &view, peer), RouteEnd::Finished);
        }
    };
    for _ in 0..3 {
        all(&mut runtime, &mut peer);
    }
    peer.sent = 0;
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        all(&mut runtime, &mut peer);
    }
    assert_eq!((ALLOCATIONS.get() - before, peer.sent), (0, 200));
}

/// A key's file that only its owner can read.
fn key_file() -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = std::env::temp_dir().join(format!("corex-alloc-{}.key", std::process::id()));
    std::fs::write(&path, [7; 32]).expect("a file");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, mode).expect("a mode");
    path
}

#[test]
fn chains_cost_no_allocation_after_the_first_messages() {
    let key = key_file();
    let codecs = "zstd(sip) | gzip | xor(text=x) | aead(aes-256-gcm, key=k) | hex | base64 | \
                  itv(key=table) | http(post, host=example.org)";
    let table = std::env::temp_dir().join(format!("corex-alloc-{}.table", std::process::id()));
    let pairs = (b' '..=b'~').map(|value| [value, value]);
    std::fs::write(&table, pairs.flatten().collect::<Vec<u8>>()).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&table, mode).expect("a mode");
    let mut sides = ["client", "server"].map(|role| {
        let text = format!(
            "loadmodule \"corex.so\"\nloadmodule \"codec.so\"\n\
             modparam(\"codec\", \"key\", \"k=file:{}\")\n\
             modparam(\"codec\", \"key\", \"table=file:{}\")\n\
             modparam(\"codec\", \"chain\", \"all({role})={codecs}\")\n\
             modparam(\"corex\", \"codec_in\", \"all;peer=192.0.2.0/24\")\n\
             modparam(\"corex\", \"codec_out\", \"all\")\n",
            key.display(),
            table.display()
        );
        let loaded = load_str("alloc.cfg", &text, corex_user::module::MODULES);
        let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.report));
        Native::new(&config.program, 0)
    });
    std::fs::remove_file(key).expect("it is there");
    std::fs::remove_file(table).expect("it is there");
    let [client, server] = &mut sides;
    let (peer, own) = (env().src, env().dst);
    let mut counters = WorkerCounters::default();
    let (mut wire, mut back) = (Vec::new(), Vec::new());
    let mut pass = || {
        for message in [INVITE, REPLY] {
            let passed = client.encode(peer, own, message, &mut wire, &mut counters);
            assert_eq!(passed, Passed::Changed);
            let passed = server.decode(peer, own, &wire, &mut back, &mut counters);
            assert_eq!((passed, back.as_slice()), (Passed::Changed, message));
        }
    };
    for _ in 0..3 {
        pass();
    }
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        pass();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
