//! Interpreting a message allocates nothing once buffers have grown.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use corex_sip::{SipView, Transport};
use corex_user::pipeline::files::FileError;
use corex_user::script::{
    Direction, Env, HookOutcome, Host, NextHop, Outgoing, RouteEnd, Runtime, SendError, SentBy,
    SocketId, Target, load_str,
};

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
        codec_encode("gzip", "$fu $tu $ci $ua $proto $Ri:$Rp $Ts", $avp(note));
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

    fn send(&mut self, runtime: &mut Runtime, out: Outgoing<'_>) -> Result<(), SendError> {
        let mut encoded = std::mem::take(&mut self.out);
        let outcome =
            runtime.run_network_msg(&env(), out.payload, Direction::Outgoing, self, &mut encoded);
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
    let loaded = load_str("alloc.cfg", CONFIG);
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
