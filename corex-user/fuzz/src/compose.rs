//! The messages that a stateless proxy sends.

use corex_sip::compose::{
    Circle, Edits, Fingerprint, Forward, HopLimit, Reply, ReplyKeys, SentBy, strip_top_via, write,
    write_reply, write_request,
};
use corex_sip::{NameAddr, SipView, Transport};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Takes the input for a message. A request is forwarded and replied to, a reply returned; what is written
/// must be SIP and carry what the message had.
///
/// # Panics
/// When something of that doesn't hold.
pub fn compose(data: &[u8]) {
    let Ok(message) = SipView::parse(data) else {
        return;
    };
    if message.is_request() {
        forward(&message);
        reply(&message);
    } else {
        return_reply(&message);
    }
}

const OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5060);

/// A forwarded request is a request with our Via on top of the others.
fn forward(request: &SipView<'_>) {
    let forward = Forward {
        request_uri: Some(b"sip:next.example"),
        routes: b"",
        transport: Transport::Tcp,
        sent_by: SentBy {
            host: None,
            ip: OURS.ip(),
            port: OURS.port(),
        },
        fingerprint: Fingerprint::of(request),
        index: 0,
        connection: Some(7),
        is_sealed: true,
        local_rport: true,
        circle: Some(Circle::new(7, OURS, OURS)),
        source: SocketAddr::new(OURS.ip(), 5062),
        force_rport: true,
        hop_limit: HopLimit::CountDown,
    };
    let mut own = Edits::default();
    let mut out = Vec::new();
    write_request(request, &Edits::default(), &forward, &mut own, &mut out);
    let keys = ReplyKeys::of_bytes(b"a key");
    keys.seal(&mut out);
    let sent = SipView::parse(&out).expect("what is forwarded is SIP");
    assert_eq!(sent.request_uri(), forward.request_uri);
    assert_eq!(sent.method(), request.method());
    let top = sent.top_via().expect("our Via");
    assert_eq!(top.host_ip(), Some(OURS.ip()));
    assert_eq!(sent.vias().count(), request.vias().count() + 1);
}

/// A reply of our own has the request's Vias and dialog.
fn reply(request: &SipView<'_>) {
    let reply = Reply {
        code: 404,
        reason: b"Not Found",
        headers: b"",
        server: b"corex",
        fingerprint: Fingerprint::of(request),
        source: SocketAddr::new(OURS.ip(), 5062),
        force_rport: true,
    };
    let mut out = Vec::new();
    write_reply(request, &reply, &mut out);
    let sent = SipView::parse(&out).expect("our reply is SIP");
    assert_eq!(sent.status(), Some(404));
    assert_eq!(sent.vias().count(), request.vias().count());
    assert_eq!(sent.call_id(), request.call_id());
    assert_eq!(sent.cseq(), request.cseq());
    assert_eq!(sent.content_length(), Some(0));
    // Where quotes or brackets don't end, or a tag without a value stands in front, there is no
    // tag to be found.
    let is_whole = |to: NameAddr<'_>| {
        let value = request.header(b"To").map_or(&b""[..], |to| to.value);
        let count = |sign: u8| value.iter().filter(|byte| **byte == sign).count();
        let params = to.params.as_bytes().trim_ascii();
        let is_plain = count(b'<') + count(b'>') == 0;
        let is_bracketed = value.starts_with(b"<") && count(b'<') == 1 && count(b'>') == 1;
        count(b'"') == 0
            && (is_plain || is_bracketed)
            && matches!(params.first(), None | Some(b';'))
            && (to.params.get(b"tag").is_none() || to.tag().is_some())
    };
    if request.to().is_some_and(is_whole) {
        assert!(sent.to().is_some_and(|to| to.tag().is_some()));
    }
}

/// A reply on its way back has one Via less.
fn return_reply(reply: &SipView<'_>) {
    let mut edits = Edits::default();
    if strip_top_via(reply, &mut edits).is_none() {
        return;
    }
    let mut out = Vec::new();
    write(reply.message(), &edits, &Edits::default(), &mut out);
    let sent = SipView::parse(&out).expect("what goes back is SIP");
    assert_eq!(sent.status(), reply.status());
    assert_eq!(sent.vias().count() + 1, reply.vias().count());
}
