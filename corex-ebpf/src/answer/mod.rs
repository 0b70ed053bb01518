//! What is answered in the kernel, by the way that it came: keep-alives and STUN Binding requests.
//!
//! [`wish`] only looks; what it finds is then dropped, or [`give`] makes an answer of the frame.
//! `give` takes what it can tell all of: no VLAN tag, IPv4 without options or IPv6 without extension
//! headers, right checksums, a STUN request without anything that asks for more than an address. The
//! rest goes the way of a message, and a worker answers it.

mod crc;
mod datagram;
mod stun;
mod sum;

use core::ptr::read_volatile;

use aya_ebpf::programs::XdpContext;
use corex_common::{
    answer::{
        ANSWER_WORDS as ANSWER, KEEPALIVE_DROP, KEEPALIVE_PASS, KEEPALIVE_PONG, MAX_KEEPALIVE_LEN,
        PING, PONG, REQUEST_WORDS as ROOM, Room, is_keepalive_byte, stun::HEADER_LEN,
    },
    counters::{KernelCounters, SocketCounters},
    maps::Config,
};

use self::datagram::{Family, V4, V6};
use crate::{
    maps::{INTERFACES, answer_room},
    packet::{Datagram, bytes},
};

/// What a datagram to a listener asks for beside being delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    Nothing,
    /// A keep-alive that wants no answer.
    Silence,
    /// A keep-alive that wants CRLF.
    Pong,
    /// A STUN Binding request.
    Address,
    /// Something that only user space tells: behind headers that it reads, or no SIP.
    Unknown,
}

/// What this datagram wishes, by what may be answered at all.
#[inline(always)]
pub fn wish(ctx: &XdpContext, datagram: &Datagram, config: &Config) -> Wish {
    // SAFETY: reads a local variable, so that the verifier knows less of it and finds more states alike.
    let len = usize::from(unsafe { read_volatile(&datagram.payload_len) });
    let may_be_keepalive = config.keepalive != KEEPALIVE_PASS && len <= MAX_KEEPALIVE_LEN;
    let may_be_stun = config.stun != 0 && len >= HEADER_LEN && len.is_multiple_of(4);
    if !may_be_keepalive && !may_be_stun {
        return Wish::Nothing;
    }
    if datagram::is_plain::<V4>(datagram) {
        wish_in::<V4>(ctx, len, config.keepalive)
    } else if datagram::is_plain::<V6>(datagram) {
        wish_in::<V6>(ctx, len, config.keepalive)
    } else {
        Wish::Unknown
    }
}

#[inline(always)]
fn wish_in<F: Family>(ctx: &XdpContext, len: usize, keepalive: u32) -> Wish {
    let payload = datagram::payload::<F>();
    if len > MAX_KEEPALIVE_LEN {
        return match bytes(ctx, payload) {
            // SIP begins with a letter.
            Ok(head) if head[0] >= b' ' => Wish::Nothing,
            Ok(head) if stun::is_request(*head, len) => Wish::Address,
            _ => Wish::Unknown,
        };
    }
    let mut others = false;
    for at in 0..MAX_KEEPALIVE_LEN {
        if at < len {
            // With the byte in front of it, since for one alone the compiler writes "not at the end",
            // which the verifier takes for nothing.
            match bytes::<_, 2>(ctx, payload + at - 1) {
                Ok([_, byte]) => others |= !is_keepalive_byte(*byte),
                Err(_) => return Wish::Unknown,
            }
        }
    }
    let is_ping = len == PING.len() && bytes(ctx, payload).is_ok_and(|found| *found == PING);
    match keepalive {
        _ if others => Wish::Nothing,
        KEEPALIVE_PONG if is_ping => Wish::Pong,
        KEEPALIVE_DROP | KEEPALIVE_PONG => Wish::Silence,
        _ => Wish::Nothing,
    }
}

/// What became of a wish for an answer.
pub enum Given {
    /// The frame holds the answer, to be transmitted as it is.
    Answer,
    /// Nothing has changed, and it isn't answered here.
    Nothing,
    /// The frame doesn't hold what its headers say. Apart from that it stands for what can't be, which
    /// the verifier wants to see ended.
    Malformed,
}

/// Makes the answer of the frame.
#[inline(always)]
pub fn give(ctx: &XdpContext, datagram: &Datagram, config: &Config, wish: Wish) -> Given {
    // SAFETY: entries are replaced as a whole; see `steer::listener`.
    let interface = unsafe { INTERFACES.get(&(ctx.ingress_ifindex() as u32)) };
    if interface.is_none_or(|interface| interface.answers == 0) {
        return Given::Nothing;
    }
    let Some(room) = answer_room() else {
        return Given::Malformed;
    };
    let given = if datagram::is_plain::<V4>(datagram) {
        give_in::<V4>(ctx, datagram, config, wish, room)
    } else if datagram::is_plain::<V6>(datagram) {
        give_in::<V6>(ctx, datagram, config, wish, room)
    } else {
        None
    };
    given.unwrap_or(Given::Malformed)
}

#[inline(always)]
fn give_in<F: Family>(
    ctx: &XdpContext,
    datagram: &Datagram,
    config: &Config,
    wish: Wish,
    room: &mut Room,
) -> Option<Given> {
    // SAFETY: reads a local variable, so that the verifier knows less of it and finds more states alike.
    let len = usize::from(unsafe { read_volatile(&datagram.payload_len) });
    if len > size_of_val(&room.request) {
        return Some(Given::Nothing);
    }
    datagram::read::<F>(ctx, len, room)?;
    room.len = len as u32;
    if !datagram::may_be_answered(ctx, datagram)? || !datagram::is_intact::<F>(ctx, &room.request)?
    {
        return Some(Given::Nothing);
    }
    room.answer = [0; ANSWER];
    let answer_len = match wish {
        Wish::Pong => {
            room.answer[0] = u32::from_ne_bytes([PONG[0], PONG[1], 0, 0]);
            PONG.len()
        }
        Wish::Address => match stun::answer::<F>(room, datagram) {
            Some(len) => len,
            None => return Some(Given::Nothing),
        },
        Wish::Nothing | Wish::Silence | Wish::Unknown => return None,
    };
    if !datagram::resize::<F>(ctx, answer_len, room)? {
        return Some(Given::Nothing);
    }
    datagram::write::<F>(ctx, &room.answer, answer_len, config)?;
    Some(Given::Answer)
}

/// Counts a wish that was granted.
#[inline(always)]
pub fn count(wish: Wish, counters: &mut KernelCounters, socket: &mut SocketCounters) {
    match wish {
        Wish::Nothing | Wish::Unknown => {}
        Wish::Silence => {
            counters.drop_keepalive += 1;
            socket.drop_keepalive += 1;
        }
        Wish::Pong => {
            counters.keepalive_answered += 1;
            socket.answered += 1;
        }
        Wish::Address => {
            counters.stun_answered += 1;
            socket.answered += 1;
        }
    }
}
