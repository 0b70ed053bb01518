//! Sheds what goes first while a worker can't keep up (`corex_common::overload`).
//!
//! Only what is certainly to go is dropped here: what a bounded look doesn't tell is steered, and
//! user space, which reads whole messages, decides.

use core::ptr::read_volatile;

use aya_ebpf::{bindings::xdp_md, helpers::bpf_ktime_get_ns, programs::XdpContext};
use corex_common::{
    ip::UDP_LEN,
    maps::Config,
    overload::{CALM, SHED_NEW, TO_WINDOW, WAYS, peer_key_v4, peer_key_v6, peer_set},
};

use crate::{
    guard,
    maps::{CONFIG, KNOWN_PEERS, PRESSURE, QUEUES, guard_desk},
    packet::{Datagram, bytes},
    steer::slot,
    words::{first, is_equal},
};

/// Bytes of To that are looked at.
const MAX_FIELD: usize = 128;
/// Offsets that the verifier is told of: what is looked at is nearer.
const MAX_OFFSET: u32 = 0x3fff;

/// Set by the loader, which leaves it 0 only where the kernel refuses the programs else. What the kernel
/// knows to be 0 it takes out, with all that hangs on it.
#[unsafe(no_mangle)]
static SHEDS: u32 = 0;

/// How To begins behind a line break, as numbers of which the first byte, the line break, comes lowest:
/// `to:`, `t:`, `to`, and `t` with white space.
const TO_COLON: u32 = 0x3a6f_7400;
const TO_COLON_MASK: u32 = 0xffff_ff00;
const T_COLON: u32 = 0x003a_7400;
const T_COLON_MASK: u32 = 0x00ff_ff00;
const TO: u32 = 0x006f_7400;
const TO_MASK: u32 = 0x00ff_ff00;
/// A tab is `)` in lower case, which begins no name.
const T_SPACE: u32 = 0x0020_7400;
const T_SPACE_MASK: u32 = 0x00f6_ff00;

/// Whether a datagram goes, if it isn't answered or sent on in the kernel.
#[inline(always)]
pub fn sheds(ctx: &XdpContext, datagram: &Datagram, config: &Config) -> bool {
    // SAFETY: a constant. Read so that the compiler doesn't take it for the value that stands here.
    if unsafe { read_volatile(&raw const SHEDS) } == 0 {
        return false;
    }
    let place = u32::from(datagram.l3) | u32::from(datagram.l4) << 16;
    corex_goes(ctx.ctx, place, config.overload) != 0
}

/// The same by where the headers are, as in [`corex_sheds`]: 1 if it goes. `overload`: 0 where nothing does.
///
/// All that this hangs on is in here: with a branch more in whoever calls, the verifier walks all that
/// comes behind once more.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn corex_goes(ctx: *mut xdp_md, place: u32, overload: u32) -> u32 {
    if overload == 0 || corex_sheds(ctx, place) == 0 {
        return 0;
    }
    u32::from(corex_trusted(ctx, place) == 0)
}

/// Whether it is to make room, by where the IP header is, the lower half of `place`, and the UDP header,
/// its upper half: then 1.
///
/// This and what it calls are global functions: the verifier walks each once, by itself, and not for all
/// ways that lead to a call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn corex_sheds(ctx: *mut xdp_md, place: u32) -> u32 {
    let frame = XdpContext::new(ctx);
    let Some(config) = CONFIG.get(0) else {
        return 0;
    };
    let Some(worker) = worker(&frame) else {
        return 0;
    };
    let Some(pressure) = PRESSURE.get_ptr_mut(worker) else {
        return 0;
    };
    // SAFETY: aligned words, which user space changes one by one.
    let level = unsafe { (&raw const (*pressure).level).read_volatile() };
    if level == CALM || guard::has_allowed() {
        return 0;
    }
    let l3 = (place & 0xff) as usize;
    let payload = ((place >> 16) & 0xfff) + UDP_LEN as u32;
    if is_known(&frame, config.cookie, l3) {
        return 0;
    }
    let is_kept = level == SHED_NEW
        && match start(&frame, payload as usize) {
            Start::New => false,
            Start::UnderWay => true,
            Start::Request => match corex_find_to(ctx, payload) {
                0 => true,
                field => corex_untagged(ctx, payload + field) == 0,
            },
        };
    // SAFETY: as above. CPUs that take from it at once let a few more through, and what a worker replies
    // to is bounded by itself.
    u32::from(!is_kept && !unsafe { takes_credit(&raw mut (*pressure).credit) })
}

/// Whether the source is trusted, by where the headers are as in [`corex_sheds`]: then 1.
///
/// A function of its own, and not called by that one: a chain of calls has 512 bytes of stack, of which roads
/// take most.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn corex_trusted(ctx: *mut xdp_md, place: u32) -> u32 {
    let ctx = XdpContext::new(ctx);
    let l3 = (place & 0xff) as usize;
    let Ok(version) = bytes::<_, 2>(&ctx, l3) else {
        return 0;
    };
    let is_trusted = if version[0] >> 4 == 4 {
        let address = bytes::<_, 4>(&ctx, l3 + 12);
        address.is_ok_and(|address| guard::is_trusted_v4(guard_desk(), *address))
    } else {
        let address = bytes::<_, 16>(&ctx, l3 + 8);
        address.is_ok_and(|address| guard::is_trusted_v6(guard_desk(), *address))
    };
    is_trusted.into()
}

/// The worker that serves the packet's queue.
#[inline(always)]
fn worker(ctx: &XdpContext) -> Option<u32> {
    let slot = slot(ctx)?;
    QUEUES.get(slot).map(|queue| queue.worker)
}

/// Takes one from the messages that are to be replied to, if there are any left.
///
/// # Safety
/// It leads to an aligned word.
#[inline(always)]
unsafe fn takes_credit(credit: *mut u32) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        let left = credit.read_volatile();
        if left == 0 {
            return false;
        }
        credit.write_volatile(left - 1);
    }
    true
}

/// Whether the source is a known peer.
#[inline(always)]
fn is_known(ctx: &XdpContext, seed: u32, l3: usize) -> bool {
    let Ok(version) = bytes::<_, 2>(ctx, l3) else {
        return true;
    };
    let key = if version[0] >> 4 == 4 {
        match bytes::<_, 4>(ctx, l3 + 12) {
            Ok(address) => peer_key_v4(*address),
            Err(_) => return true,
        }
    } else {
        match bytes::<_, 16>(ctx, l3 + 8) {
            Ok(address) => peer_key_v6(*address),
            Err(_) => return true,
        }
    };
    let first = peer_set(key, seed);
    let mut way = 0;
    while way < WAYS {
        if let Some(peer) = KNOWN_PEERS.get(first + way)
            && peer.key[0] == key[0]
            && peer.key[1] == key[1]
        {
            // SAFETY: the helper has no preconditions.
            return unsafe { bpf_ktime_get_ns() } / 1_000_000_000 < peer.until;
        }
        way += 1;
    }
    false
}

/// What a message begins as.
enum Start {
    /// No SIP.
    New,
    /// A reply, a request that ends a transaction, or what user space must read.
    UnderWay,
    /// Another request: To says whether it is in a dialog.
    Request,
}

#[inline(always)]
fn start(ctx: &XdpContext, payload: usize) -> Start {
    let Ok(head) = bytes::<_, 8>(ctx, payload) else {
        return Start::New;
    };
    // A message may begin with line breaks (RFC 3261 §7.5).
    let is_break = (head[0] == b'\r') | (head[0] == b'\n');
    if is_break || *head == *b"SIP/2.0 " || head[..4] == *b"ACK " || head[..7] == *b"CANCEL " {
        return Start::UnderWay;
    }
    let is_letter = |byte: u8| byte.wrapping_sub(b'A') < 26;
    if is_letter(head[0]) & is_letter(head[1]) & is_letter(head[2]) {
        Start::Request
    } else {
        Start::New
    }
}

/// Where the line break in front of the first To is in the message at `payload`, if it stands soon and
/// can't be mistaken; else 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn corex_find_to(ctx: *mut xdp_md, payload: u32) -> u32 {
    let ctx = XdpContext::new(ctx);
    let payload = (payload & MAX_OFFSET) as usize;
    let mut at = 0;
    while at < TO_WINDOW {
        let Ok(eight) = bytes::<_, 8>(&ctx, payload + at) else {
            return 0;
        };
        let breaks = is_equal(u64::from_le_bytes(*eight), b'\n');
        if breaks != 0 {
            let place = at + first(breaks) as usize;
            let Ok(line) = bytes::<_, 4>(&ctx, payload + (place & (2 * TO_WINDOW - 1))) else {
                return 0;
            };
            // Behind the line break, in lower case; the first byte lowest.
            let lower = u32::from_le_bytes(*line) | 0x2020_2000;
            let is = |text: u32, mask: u32| u64::from((lower ^ text) & mask);
            // A product is 0 where one of its factors is: a branch for each is walked by the verifier.
            if is(TO_COLON, TO_COLON_MASK) * is(T_COLON, T_COLON_MASK) == 0 {
                return place as u32;
            }
            // It may be To with white space in front of the colon, or one may follow in these bytes.
            let others = breaks & (breaks - 1);
            if is(TO, TO_MASK) * is(T_SPACE, T_SPACE_MASK) == 0 || others != 0 {
                return 0;
            }
        }
        at += 8;
    }
    0
}

/// Whether the header field at `field`, with the line break in front of it, is certainly one without
/// a tag: then 1. One with any parameter may have one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn corex_untagged(ctx: *mut xdp_md, field: u32) -> u32 {
    let ctx = XdpContext::new(ctx);
    let field = (field & MAX_OFFSET) as usize;
    let mut at = 1;
    while at < MAX_FIELD {
        let Ok(eight) = bytes::<_, 8>(&ctx, field + at) else {
            return 0;
        };
        let word = u64::from_le_bytes(*eight);
        if is_equal(word, b'=') != 0 {
            return 0;
        }
        let breaks = is_equal(word, b'\n');
        if breaks != 0 {
            let behind = field + ((at + first(breaks) as usize) & (2 * MAX_FIELD - 1));
            let Ok([_, next]) = bytes::<_, 2>(&ctx, behind) else {
                return 0;
            };
            // A line that begins with white space goes on with the one before (RFC 3261 §7.3.1).
            return u32::from(*next > b' ' || *next == b'\r');
        }
        at += 8;
    }
    0
}
