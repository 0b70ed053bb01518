//! The lists of networks that are allowed and blocked.

use core::ptr::NonNull;

use aya_ebpf::{btf_maps::lpm_trie::Key, helpers::bpf_map_lookup_elem};
use corex_common::guard::lists::{Listed, NetV4, NetV6, OF_PORT, OF_PROTO, SEEN_NS, SHAPES};

use super::Case;
use crate::{
    desk::Desk,
    maps::{
        GUARD_ALLOW_V4, GUARD_ALLOW_V6, GUARD_BLOCK_V4, GUARD_BLOCK_V6, GUARD_TRUST_V4,
        GUARD_TRUST_V6, List,
    },
};

/// Whether the source is allowed.
#[inline(always)]
pub fn is_allowed(case: &mut Case<'_>) -> bool {
    if case.desk.is_v4 {
        let shapes = case.desk.guard.allow_v4;
        find(case, shapes, |case, to| v4(case, &GUARD_ALLOW_V4, to)).is_some()
    } else {
        let shapes = case.desk.guard.allow_v6;
        find(case, shapes, |case, to| v6(case, &GUARD_ALLOW_V6, to)).is_some()
    }
}

/// What becomes of packets of this source, if it is blocked: [`Listed::action`].
#[inline(always)]
pub fn blocked(case: &mut Case<'_>) -> Option<u32> {
    if case.desk.is_v4 {
        let shapes = case.desk.guard.block_v4;
        find(case, shapes, |case, to| v4(case, &GUARD_BLOCK_V4, to))
    } else {
        let shapes = case.desk.guard.block_v6;
        find(case, shapes, |case, to| v6(case, &GUARD_BLOCK_V6, to))
    }
}

/// Whether the source of the packet at hand is trusted.
#[inline(always)]
pub fn is_trusted(desk: &mut Desk) -> bool {
    if desk.is_v4 {
        let [a, b, c, d, ..] = desk.source;
        is_trusted_v4(Some(desk), [a, b, c, d])
    } else {
        let source = desk.source;
        is_trusted_v6(Some(desk), source)
    }
}

/// The same of an address; what is on the desk for looking up is overwritten.
#[inline(always)]
pub fn is_trusted_v4(desk: Option<&mut Desk>, addr: [u8; 4]) -> bool {
    let Some(desk) = desk else { return false };
    let net = NetV4 {
        addr,
        ..NetV4::default()
    };
    desk.key_v4 = Key::new(u8::BITS * size_of::<NetV4>() as u32, net);
    look_up(&GUARD_TRUST_V4, &desk.key_v4).is_some()
}

/// As [`is_trusted_v4`].
#[inline(always)]
pub fn is_trusted_v6(desk: Option<&mut Desk>, addr: [u8; 16]) -> bool {
    let Some(desk) = desk else { return false };
    let net = NetV6 {
        addr,
        ..NetV6::default()
    };
    desk.key_v6 = Key::new(u8::BITS * size_of::<NetV6>() as u32, net);
    look_up(&GUARD_TRUST_V6, &desk.key_v6).is_some()
}

/// Transport and port that an entry names.
type To = (u8, [u8; 2]);

#[inline(always)]
fn v4(case: &mut Case<'_>, list: &List<NetV4>, (proto, port): To) -> Option<NonNull<Listed>> {
    let [a, b, c, d, ..] = case.desk.source;
    let net = NetV4 {
        proto,
        unused: 0,
        port,
        addr: [a, b, c, d],
    };
    case.desk.key_v4 = Key::new(u8::BITS * size_of::<NetV4>() as u32, net);
    look_up(list, &case.desk.key_v4)
}

#[inline(always)]
fn v6(case: &mut Case<'_>, list: &List<NetV6>, (proto, port): To) -> Option<NonNull<Listed>> {
    let net = NetV6 {
        proto,
        unused: 0,
        port,
        zero: [0; 4],
        addr: case.desk.source,
    };
    case.desk.key_v6 = Key::new(u8::BITS * size_of::<NetV6>() as u32, net);
    look_up(list, &case.desk.key_v6)
}

/// The action of the entry that counts for the source, of a list whose entries have these shapes.
/// Counts that it was found.
#[inline(always)]
fn find(
    case: &mut Case<'_>,
    shapes: u32,
    look_up: impl Fn(&mut Case<'_>, To) -> Option<NonNull<Listed>>,
) -> Option<u32> {
    for shape in (0..SHAPES).rev() {
        if shapes & 1 << shape == 0 {
            continue;
        }
        let proto = if shape & OF_PROTO != 0 {
            case.desk.proto
        } else {
            0
        };
        let port = if shape & OF_PORT != 0 {
            case.desk.port
        } else {
            [0; 2]
        };
        let Some(listed) = look_up(case, (proto, port)) else {
            continue;
        };
        // SAFETY: a value of the map, of which only single aligned integers change.
        let found = unsafe { listed.as_ref() };
        if !found.is_alive(case.desk.now) {
            continue;
        }
        let action = found.action;
        let is_stale = case.desk.now.saturating_sub(found.last_seen) > SEEN_NS;
        let hits = found.hits.wrapping_add(1);
        // SAFETY: as above. What two CPUs count at once may count as one: all of them would else wait
        // for the line of the cache that the entry is in.
        unsafe {
            (&raw mut (*listed.as_ptr()).hits).write_volatile(hits);
            if is_stale {
                (&raw mut (*listed.as_ptr()).last_seen).write_volatile(case.desk.now);
            }
        }
        return Some(action);
    }
    None
}

/// As `LpmTrie::get`, for a value that is changed.
#[inline(always)]
fn look_up<K>(list: &List<K>, key: &Key<K>) -> Option<NonNull<Listed>> {
    // SAFETY: the helper takes a map, which the static stands for, and a key of its type; it returns
    // nothing or a value of the map.
    let value = unsafe {
        bpf_map_lookup_elem(
            core::ptr::from_ref(list).cast_mut().cast(),
            core::ptr::from_ref(key).cast(),
        )
    };
    NonNull::new(value.cast())
}
