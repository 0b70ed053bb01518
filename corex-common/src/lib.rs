//! What the kernel side and the user side of corex must agree on, byte for byte:
//! the maps' keys and values ([`maps`], [`host`], [`inline`], [`road`], [`guard`]), the counters ([`counters`]), the record in front of a
//! steered frame ([`meta`]), the headers that they both read ([`ip`]), what they both answer
//! ([`answer`]), and what goes first under load ([`overload`]).
//!
//! Every structure here is `repr(C)`, has no padding and is valid for any bit pattern, so that
//! a map value may be copied out of the kernel and in again without interpretation, and
//! `bpftool map dump` prints every field by its name.

#![no_std]

pub mod answer;
pub mod bench;
pub mod counters;
pub mod guard;
pub mod host;
pub mod inline;
pub mod ip;
pub mod maps;
pub mod meta;
pub mod overload;
pub mod road;
#[cfg(feature = "user")]
pub mod shown;

/// Name of the XDP program, as `ip link` and `bpftool prog` show it (at most 15 characters).
pub const INGRESS_PROGRAM: &str = "corex_ingress";
/// Name of the same program with roads ([`road`]).
pub const ROADS_PROGRAM: &str = "corex_roads";
