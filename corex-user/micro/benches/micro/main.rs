//! What single functions cost, by criterion: `cargo xtask bench micro`.

mod alias;
mod codec;
mod message;
mod packet;
mod script;
mod tables;

use std::time::Duration;

use criterion::Criterion;

/// A phone's INVITE without a body.
const INVITE: &[u8] = b"INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@example.org>;tag=1928301774\r\n\
    To: <sip:bob@example.com>\r\n\
    Call-ID: a84b4c76e66710@192.0.2.1\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@192.0.2.1:5060>\r\n\
    User-Agent: phone/1.0\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n\
    Supported: outbound, path\r\n\
    Content-Length: 0\r\n\r\n";

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    message::bench(&mut criterion);
    alias::bench(&mut criterion);
    script::bench(&mut criterion);
    codec::bench(&mut criterion);
    packet::bench(&mut criterion);
    tables::bench(&mut criterion);
    criterion.final_summary();
}
