//! What scanners send, and what is no SIP (`corex_common::guard::signatures`).

use aya_ebpf::programs::XdpContext;
use corex_common::guard::signatures::{SHORTEST, VIA_WITHIN, WINDOW, Walk, is_refused};

use crate::{maps::GUARD_AUTOMATON, packet::bytes};

/// Bytes that are read at a time.
const WORD: usize = 8;

/// Whether the message at `at`, of `len` bytes and of a
/// [kind](corex_common::guard::rates::kind_of), is such.
#[inline(always)]
pub fn matches(ctx: &XdpContext, at: usize, len: usize, kind: u32) -> bool {
    let Some(automaton) = GUARD_AUTOMATON.get(0) else {
        return false;
    };
    if automaton.active == 0 {
        return false;
    }
    // Two bytes: of a single one the verifier loses the bound.
    let first = match bytes::<_, 2>(ctx, at) {
        Ok([first, _]) if len >= 2 => *first,
        _ => 0,
    };
    let len = if len < SHORTEST {
        0
    } else if len < WINDOW {
        len
    } else {
        WINDOW
    };
    let mut walk = Walk::default();
    let mut via = 0;
    let mut done = 0;
    while done < WINDOW {
        if done + WORD > len {
            break;
        }
        let Ok(word) = bytes::<_, WORD>(ctx, at + done) else {
            break;
        };
        for byte in *word {
            walk = walk.step(automaton, byte);
        }
        done += WORD;
        if done <= VIA_WITHIN {
            via = walk.flags;
        }
    }
    // What is left over, when the message ends within a word: the last bytes of the last eight.
    let left = len & (WORD - 1);
    let last = len.wrapping_sub(WORD) & automaton.ones as usize;
    if left != 0
        && let Ok(word) = bytes::<_, WORD>(ctx, at + (last & (WINDOW - 1)))
    {
        for (i, byte) in word.iter().enumerate() {
            if i + left >= WORD {
                walk = walk.step(automaton, *byte);
            }
        }
        if len <= VIA_WITHIN {
            via = walk.flags;
        }
    }
    is_refused(automaton.active, walk.flags, via, kind, first)
}

const _: () =
    assert!(WINDOW.is_multiple_of(WORD) && VIA_WITHIN.is_multiple_of(WORD) && SHORTEST >= WORD);
