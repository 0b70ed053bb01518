//! The guard: who is let in, and what of it. The programs on NICs judge a packet once it is known to
//! be for a listener, before it is answered, sent on or steered; user space judges what they didn't
//! see. Both go by the same rules in the same order ([`ALLOW`] to [`RATES`]) and by the same lists
//! ([`lists`]).

pub mod lists;
pub mod rates;
pub mod signatures;

pub use lists::{
    GUARD_ALLOW_V4, GUARD_ALLOW_V6, GUARD_BLOCK_V4, GUARD_BLOCK_V6, GUARD_TRUST_V4, GUARD_TRUST_V6,
    Listed, MAX_LISTED, NetV4, NetV6, Network,
};

/// Memory-mapped array with one [`Guard`].
pub const GUARD: &str = "GUARD";

/// PROG_ARRAY: the programs that call each other, at [`GUARD_PROGRAM`] and [`ENTRY_PROGRAM`].
pub const GUARD_PROGRAMS: &str = "GUARD_PROGRAMS";
/// Where [`DEEP_PROGRAM`] is.
pub const GUARD_PROGRAM: u32 = 0;
/// Where the program of interfaces is.
pub const ENTRY_PROGRAM: u32 = 1;
/// Name of the program for signatures and rates.
pub const DEEP_PROGRAM: &str = "corex_guard";

/// Name of the constant in the programs that says whether they have the guard in them: one that is 0
/// has the kernel take it out as code that never runs. Whether it is switched on says [`Guard::is_on`].
pub const GUARDED: &str = "GUARDED";

/// Rule: who is on the list of those allowed is let in, and no rule behind this one is looked at.
pub const ALLOW: u32 = 1 << 0;
/// Rule: who is on the list of those blocked isn't let in.
pub const BLOCK: u32 = 1 << 1;
/// Rule: sources and methods that get no answer at all.
pub const STEALTH: u32 = 1 << 2;
/// Rule: what scanners send, and what is no SIP.
pub const SIGNATURES: u32 = 1 << 3;
/// Rule: who sends too much.
pub const RATES: u32 = 1 << 4;

/// The rules by name, in the order in which they are looked at.
pub const RULES: [(&str, u32); 5] = [
    ("allow", ALLOW),
    ("block", BLOCK),
    ("stealth", STEALTH),
    ("signature", SIGNATURES),
    ("rate", RATES),
];

/// What the guard goes by; may be changed while the programs run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// The rules that are looked at: [`ALLOW`] and its like. 0: all is let in.
    pub rules: u32,
    /// Those of them that only count what they would have done.
    pub dry_run: u32,
    /// Which [shapes](lists::shape) the entries of [`GUARD_ALLOW_V4`] have, by bit.
    pub allow_v4: u32,
    /// The same of [`GUARD_ALLOW_V6`].
    pub allow_v6: u32,
    /// The same of [`GUARD_BLOCK_V4`].
    pub block_v4: u32,
    /// The same of [`GUARD_BLOCK_V6`].
    pub block_v6: u32,
    /// Methods that get no answer, by bit: the kinds of [`crate::road::METHODS`], from 1, and
    /// [`crate::road::OTHER`].
    pub stealth_methods: u32,
    /// Non-zero: there is a guard. Set before [`Self::rules`] become any, and 0 only once they are none
    /// and all packets have left the programs that came when there were some: a packet that is with the
    /// program for signatures and rates finds it set when it begins anew.
    pub is_on: u32,
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, integers and arrays of integers only, no padding, any bit pattern valid.
    unsafe impl aya::Pod for super::Guard {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_a_bit_of_its_own() {
        let all = RULES.iter().fold(0, |all, (name, bit)| {
            assert_eq!(all & bit, 0, "{name}");
            all | bit
        });
        assert_eq!(all, 0b1_1111);
        assert_eq!(size_of::<Guard>() % 8, 0);
    }
}
