//! What is answered without a script where the XDP program doesn't: keep-alives and STUN in datagrams.
//!
//! The rules and the bytes are those of `corex-ebpf/src/answer`; a test has both answer the same
//! requests.

mod stun;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use corex_common::answer::{
    KEEPALIVE_DROP, KEEPALIVE_PONG, MAX_KEEPALIVE_LEN, PING, PONG, is_keepalive_byte,
};

/// What becomes of a datagram before it is taken for a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It may be a message.
    None,
    /// A keep-alive: the answer stands in the buffer.
    Pong,
    /// A keep-alive that gets none.
    KeepaliveDropped,
    /// A STUN request: the answer stands in the buffer.
    Stun,
    /// A STUN message that gets none.
    StunDropped,
}

/// Whether a datagram is none that [`answer`] has anything to say of: SIP begins with a letter.
#[inline]
pub fn may_be_sip(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first >= b' ')
}

/// Looks at a datagram from `source`. `keepalive` is what [`KEEPALIVE_DROP`] and its like say, `stun`
/// whether STUN is answered; the answer replaces what is in `buffer`.
pub fn answer(
    datagram: &[u8],
    source: SocketAddr,
    (keepalive, stun): (u32, bool),
    buffer: &mut Vec<u8>,
) -> Answer {
    if may_be_sip(datagram) {
        return Answer::None;
    }
    let is_keepalive = matches!(keepalive, KEEPALIVE_DROP | KEEPALIVE_PONG)
        && datagram.len() <= MAX_KEEPALIVE_LEN
        && datagram.iter().all(|byte| is_keepalive_byte(*byte));
    if is_keepalive {
        if keepalive != KEEPALIVE_PONG || datagram != PING {
            return Answer::KeepaliveDropped;
        }
        buffer.clear();
        buffer.extend_from_slice(&PONG);
        return Answer::Pong;
    }
    match stun.then(|| stun::answer(datagram, source, buffer)) {
        None | Some(stun::Outcome::NoStun) => Answer::None,
        Some(stun::Outcome::Ignored) => Answer::StunDropped,
        Some(stun::Outcome::Answered) => Answer::Stun,
    }
}
