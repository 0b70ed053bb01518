//! What is asked of messages before they are forwarded.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use corex_sip::compose::{
    Circle, Edits, Fingerprint, Forward, HopLimit, Reply, ReplyKeys, SentBy, write_reply,
    write_request,
};
use corex_sip::strict::{Rules, check};
use corex_sip::{SipView, Transport, Uri};

/// Takes the input for a message. What passes can be read in all parts that a proxy goes by, and once
/// forwarded passes again; what doesn't can be answered.
///
/// # Panics
/// When something of that doesn't hold.
pub fn strict(data: &[u8]) {
    let view = SipView::parse(data).ok();
    let Some(message) = view.or_else(|| SipView::parse_refused(data)) else {
        return;
    };
    for is_stream in [false, true] {
        let rules = Rules {
            is_stream,
            replaces_uri: false,
            keeps_hops: false,
            extensions: &[],
        };
        match check(&message, &rules) {
            Ok(_) => passes(&message, &rules),
            Err(fault) => {
                assert!(matches!(fault.status, 400 | 414 | 416 | 420 | 483 | 505));
                assert!(!fault.reason.is_empty() && fault.reason.is_ascii());
                answer(&message, fault.status, fault.reason);
            }
        }
    }
}

fn passes(message: &SipView<'_>, rules: &Rules<'_>) {
    assert!(message.refused().is_none());
    for name in [
        &b"From"[..],
        b"To",
        b"Call-ID",
        b"CSeq",
        b"Content-Length",
        b"Content-Type",
    ] {
        let count = message.headers_named(name).count();
        let least = usize::from(!name.starts_with(b"Content"));
        assert!(
            (least..=1).contains(&count),
            "{count} of {}",
            name.escape_ascii()
        );
    }
    for address in [message.from(), message.to()] {
        let address = address.expect("an address");
        assert_eq!(
            address.params.get(b"tag").is_some(),
            address.tag().is_some()
        );
    }
    assert!(message.cseq().is_some() && message.call_id().is_some());
    assert!(message.vias().all(|via| via.is_some()));
    let top = message.top_via().expect("a topmost Via");
    assert!(top.transport().is_some());
    if let Some(len) = message.content_length() {
        assert!(len as usize <= message.body().len());
    }
    let Some(uri) = message.request_uri() else {
        return;
    };
    assert!(Uri::parse(uri).is_ok() || uri.to_ascii_lowercase().starts_with(b"urn:"));
    let forwarded = forward(message);
    let forwarded = SipView::parse(&forwarded).expect("what is forwarded is SIP");
    let rules = Rules {
        // It may be 0 by now.
        keeps_hops: true,
        ..*rules
    };
    assert!(check(&forwarded, &rules).is_ok_and(|passed| passed.is_marked));
}

const OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5060);

fn forward(request: &SipView<'_>) -> Vec<u8> {
    let forward = Forward {
        request_uri: None,
        routes: b"",
        transport: Transport::Udp,
        sent_by: SentBy {
            host: None,
            ip: OURS.ip(),
            port: OURS.port(),
        },
        fingerprint: Fingerprint::of(request),
        index: 0,
        connection: Some(7),
        circle: Some(Circle::new(7, OURS, OURS)),
        is_sealed: true,
        local_rport: true,
        source: OURS,
        force_rport: true,
        hop_limit: HopLimit::CountDown,
    };
    let mut out = Vec::new();
    let mut own = Edits::default();
    write_request(request, &Edits::default(), &forward, &mut own, &mut out);
    ReplyKeys::of_bytes(b"a key").seal(&mut out);
    out
}

fn answer(request: &SipView<'_>, code: u16, reason: &str) {
    if !request.is_request() {
        return;
    }
    let reply = Reply {
        code,
        reason: reason.as_bytes(),
        headers: b"",
        server: b"corex",
        fingerprint: Fingerprint::of(request),
        source: OURS,
        force_rport: true,
    };
    let mut out = Vec::new();
    write_reply(request, &reply, &mut out);
    let sent = SipView::parse(&out).expect("our answer is SIP");
    assert_eq!(sent.status(), Some(code));
}
