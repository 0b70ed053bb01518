//! What is answered before anybody takes a datagram for a message: keep-alives and STUN.

use std::net::SocketAddr;

use corex_common::answer::{
    KEEPALIVE_DROP, KEEPALIVE_PASS, KEEPALIVE_PONG, PONG,
    stun::{BINDING_ERROR, BINDING_SUCCESS, HEADER_LEN, MAGIC_COOKIE},
};
use corex_user::answer::{Answer, answer as of, may_be_sip};

/// Takes the input for a datagram, from either family, under each setting.
///
/// # Panics
/// When an answer isn't one, is much longer than its request, or SIP is answered.
pub fn answer(data: &[u8]) {
    for source in ["192.0.2.1:5062", "[2001:db8::1]:5062"] {
        let source: SocketAddr = source.parse().expect("an address");
        for keepalive in [KEEPALIVE_PASS, KEEPALIVE_DROP, KEEPALIVE_PONG] {
            for stun in [false, true] {
                one(data, source, (keepalive, stun));
            }
        }
    }
}

fn one(datagram: &[u8], source: SocketAddr, settings: (u32, bool)) {
    let mut buffer = b"kept".to_vec();
    let found = of(datagram, source, settings, &mut buffer);
    let (keepalive, stun) = settings;
    match found {
        Answer::None | Answer::KeepaliveDropped | Answer::StunDropped => {
            assert_eq!(buffer, b"kept");
        }
        Answer::Pong => assert_eq!(buffer, PONG),
        Answer::Stun => binding(datagram, &buffer),
    }
    assert!(found == Answer::None || !may_be_sip(datagram));
    if matches!(found, Answer::Stun | Answer::StunDropped) {
        assert!(stun);
    }
    if matches!(found, Answer::Pong | Answer::KeepaliveDropped) {
        assert!(keepalive != KEEPALIVE_PASS);
    }
}

/// An answer has the request's transaction, the length that it says, and nothing that a sender of
/// forged requests could have made long (RFC 8489 §6.3).
fn binding(request: &[u8], answer: &[u8]) {
    let word = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    assert!(matches!(word(0), BINDING_SUCCESS | BINDING_ERROR));
    assert_eq!(usize::from(word(2)), answer.len() - HEADER_LEN);
    assert!(answer.len().is_multiple_of(4));
    assert_eq!(answer[4..8], MAGIC_COOKIE.to_be_bytes());
    assert_eq!(answer[4..HEADER_LEN], request[4..HEADER_LEN]);
    assert!(answer.len() <= request.len() + 44, "{}", answer.len());
}
