//! Rates: token buckets of sources and listeners, and networks that are blocked since theirs ran
//! over time and again. One arithmetic for the XDP program and for user space.
//!
//! A bucket is one number, as in the generic cell rate algorithm (ITU-T I.371, annex A): the time
//! at which it will be full again. A message is let through if that is at most `room` away, and
//! moves it by `interval`. Of what was let through between two readings of the clock that are d
//! apart there are thus never more than d / interval + burst, in whatever order CPUs with such
//! readings come to the bucket: each message let through finds the time at least an interval
//! further on than the one before it left it, and at most `room` ahead of its own clock.

/// An IPv4 address, as `SocketKey` has it.
const FAMILY_V4: u8 = 4;

/// Array with one [`Rates`].
pub const GUARD_RATES: &str = "GUARD_RATES";
/// LRU hash: [`SourceKey`] to [`Source`]. The kernel draws its hash's seed.
pub const GUARD_SOURCES: &str = "GUARD_SOURCES";
/// Array of [`Listener`], by listen socket.
pub const GUARD_LISTENERS: &str = "GUARD_LISTENERS";
/// Array of [`LOCKS`] spin locks: who works at a bucket holds the one of [`lock_of`].
pub const GUARD_LOCKS: &str = "GUARD_LOCKS";
/// Hash: [`SourceKey`] to [`Offender`], those that user space hasn't put on its list yet.
pub const GUARD_OFFENDERS: &str = "GUARD_OFFENDERS";
/// Memory-mapped array of [`RateCounters`](crate::counters::RateCounters), by [`rate_count`].
pub const GUARD_RATE_COUNTS: &str = "GUARD_RATE_COUNTS";

/// Rules at most.
pub const MAX_RATES: usize = 8;
/// Different prefixes at most that rules divide sources by.
pub const MAX_GROUPS: usize = 2;
/// Sources at most whose buckets are kept, of all groups; the one seen longest ago goes first.
pub const MAX_SOURCES: u32 = 65_536;
/// Blocked networks at most that wait for user space.
pub const MAX_OFFENDERS: u32 = 1_024;
/// Locks of buckets.
pub const LOCKS: u32 = 1_024;
/// The largest burst.
pub const MAX_BURST: u64 = 1_000_000;
/// Messages in a second at most: of a shorter interval a nanosecond's rounding would be seen.
pub const MAX_PER_SECOND: u64 = 10_000_000;
/// The longest time that one message may take, in nanoseconds: a day.
pub const MAX_INTERVAL: u64 = 86_400 * 1_000_000_000;
/// How far apart two CPUs' readings of the clock may be, generously, in nanoseconds.
const SKEW: u64 = 1_000_000_000;

/// A kind of message, and its bit among [`ANY`]: requests to register.
pub const REGISTER: u32 = 0;
/// Requests for a call.
pub const INVITE: u32 = 1;
/// OPTIONS.
pub const OPTIONS: u32 = 2;
/// Requests with any other method.
pub const OTHER: u32 = 3;
/// Replies.
pub const REPLY: u32 = 4;
/// What doesn't begin as a SIP message does: encoded ones, and junk.
pub const OPAQUE: u32 = 5;
/// Kinds of messages.
pub const KINDS: usize = 8;
/// The bits of all of them.
pub const ANY: u32 = (1 << (OPAQUE + 1)) - 1;

/// The scope of rules that have a bucket for each listener. Others are the numbers of groups of
/// sources.
pub const LISTENER: u32 = MAX_GROUPS as u32;
/// Scopes that there may be, a power of two.
pub const SCOPES: usize = 4;

/// The longest that a bucket may be ahead, in nanoseconds: with it no time overflows.
const MAX_ROOM: u64 = 1 << 61;

/// A rule: how many messages are let through.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Nanoseconds that one message takes, rounded up.
    pub interval: u64,
    /// Nanoseconds that a bucket may be ahead: one interval less than a burst takes.
    pub room: u64,
}

impl Rule {
    /// A rule for `count` messages in `period` nanoseconds, `burst` of them at once.
    pub const fn new(count: u64, period: u64, burst: u64) -> Self {
        let interval = period.div_ceil(if count == 0 { 1 } else { count });
        let interval = if interval > MAX_INTERVAL {
            MAX_INTERVAL
        } else {
            interval
        };
        let more = if burst == 0 { 0 } else { burst - 1 };
        let room = interval.saturating_mul(more);
        Self {
            interval,
            room: if room > MAX_ROOM { MAX_ROOM } else { room },
        }
    }

    /// How many messages a bucket lets through at once.
    pub const fn left(&self, full_at: u64, now: u64) -> u64 {
        let full_at = if full_at > now { full_at } else { now };
        let limit = now.saturating_add(self.room);
        if self.interval == 0 || full_at > limit {
            return 0;
        }
        (limit - full_at) / self.interval + 1
    }
}

/// How sources are told apart in a group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Bits of an IPv4 address that count.
    pub prefix_v4: u32,
    /// Bits of an IPv6 address that count.
    pub prefix_v6: u32,
}

/// All rules.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// The rules.
    pub rules: [Rule; MAX_RATES],
    /// Bits of the rules of each scope: groups of sources, [`LISTENER`].
    pub of_scope: [u32; SCOPES],
    /// Bits of the rules for each kind of messages.
    pub of_kind: [u32; KINDS],
    /// The groups of sources.
    pub groups: [Group; MAX_GROUPS],
    /// Bits of rules that only count.
    pub dry_run: u32,
    /// Bits of rules whose messages go to user space when there are too many, to
    /// `event_route[guard:limit]`; of others they are dropped.
    pub to_route: u32,
    /// A source is blocked by so many messages above its rates; 0: none is.
    pub block_after: u32,
    /// Non-zero: who would be blocked is counted only.
    pub block_dry_run: u32,
    /// ... within so many nanoseconds.
    pub block_within: u64,
    /// ... for so many nanoseconds.
    pub block_for: u64,
}

impl Rates {
    /// Bits of the rules of a scope that a kind of messages falls under.
    #[inline(always)]
    pub const fn of(&self, scope: u32, kind: u32) -> u32 {
        self.of_scope[scope as usize & (SCOPES - 1)] & self.of_kind[kind as usize & (KINDS - 1)]
    }

    /// What becomes of a message that is above the rules whose bits are in `over`. No route runs for
    /// replies that are one too many.
    #[inline(always)]
    pub const fn outcome(&self, over: u32, kind: u32) -> Outcome {
        let over = over & ALL_RATES & !self.dry_run;
        if over & !self.to_route != 0 || over != 0 && kind == REPLY {
            Outcome::Drop
        } else if over != 0 {
            Outcome::Route
        } else {
            Outcome::Pass
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Pass,
    /// It goes to `event_route[guard:limit]`.
    Route,
    /// It is dropped.
    Drop,
}

impl Group {
    /// Bits of an address of this family that count.
    #[inline(always)]
    pub const fn bits(&self, family: u8) -> u32 {
        if family == FAMILY_V4 {
            self.prefix_v4
        } else {
            self.prefix_v6
        }
    }
}

/// Which sources share buckets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SourceKey {
    /// The network's address in network order; IPv4 fills the first four bytes.
    pub addr: [u8; 16],
    /// 4 or 6.
    pub family: u16,
    /// The number of the group.
    pub group: u16,
}

impl SourceKey {
    /// That of a source.
    #[inline(always)]
    pub const fn new(addr: [u8; 16], family: u8, number: u32, group: &Group) -> Self {
        Self {
            addr: network(addr, group.bits(family)),
            family: family as u16,
            group: number as u16,
        }
    }
}

/// The first `bits` of an address.
#[inline(always)]
pub const fn network(addr: [u8; 16], bits: u32) -> [u8; 16] {
    let number = u128::from_be_bytes(addr);
    let (high, low) = ((number >> 64) as u64, number as u64);
    // A number of 64 bits each, since BPF has none of 128.
    let high = high & ones(if bits > 64 { 64 } else { bits });
    let low = low & ones(bits.saturating_sub(64));
    let high = high.to_be_bytes();
    let low = low.to_be_bytes();
    let mut addr = [0; 16];
    let mut i = 0;
    while i < 8 {
        addr[i] = high[i];
        addr[8 + i] = low[i];
        i += 1;
    }
    addr
}

/// A number whose first `bits` are ones.
#[inline(always)]
const fn ones(bits: u32) -> u64 {
    if bits == 0 {
        0
    } else {
        u64::MAX << (64 - if bits > 64 { 64 } else { bits })
    }
}

/// What is known of sources that share buckets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The bucket of each rule.
    pub full_at: [u64; MAX_RATES],
    /// When the first of the offences was, in nanoseconds.
    pub offences_since: u64,
    /// Until when they are blocked.
    pub blocked_until: u64,
    /// Messages above the rates since then.
    pub offences: u32,
    /// Where the program writes its judgement of a message, while it has the lock.
    pub judgement: u32,
}

/// The buckets of a listen socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// The bucket of each rule.
    pub full_at: [u64; MAX_RATES],
    /// As [`Source::judgement`].
    pub judgement: u32,
    /// Nothing.
    pub unused: u32,
}

/// A network that the program has blocked.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offender {
    /// CLOCK_MONOTONIC in nanoseconds: until when.
    pub until: u64,
    /// Bits of the network's address.
    pub prefix: u32,
    /// The offences that it took.
    pub offences: u32,
}

/// Bits of all rules.
pub const ALL_RATES: u32 = (1 << MAX_RATES) - 1;
/// In a judgement, beside the bits of rules: the source is blocked since before, and nothing else was
/// looked at.
pub const BLOCKED: u32 = 1 << 8;
/// In a judgement: with this message the source had enough offences.
pub const BECOMES_BLOCKED: u32 = 1 << 9;

/// Where a judgement is written. What the verifier sees in a register multiplies what it walks: for
/// the programs it is memory.
pub trait Judgement {
    /// Adds bits.
    fn add(&mut self, bits: u32);
    /// All that were added.
    fn bits(&self) -> u32;
}

impl Judgement for u32 {
    #[inline(always)]
    fn add(&mut self, bits: u32) {
        *self |= bits;
    }

    #[inline(always)]
    fn bits(&self) -> u32 {
        *self
    }
}

/// Takes one message from a bucket; false if it is above the rate. `now` is less than 2^62, more than
/// a hundred years.
#[inline(always)]
pub const fn charge(full_at: &mut u64, now: u64, rule: &Rule) -> bool {
    let at = *full_at;
    let limit = now.wrapping_add(rule.room);
    if at > limit {
        // No message of this rule leaves it so far ahead: the rule is another one since a reload.
        let most = limit.wrapping_add(rule.interval);
        if at > most.wrapping_add(SKEW) {
            *full_at = most;
        }
        return false;
    }
    let from = if at > now { at } else { now };
    *full_at = from.wrapping_add(rule.interval);
    true
}

/// Takes a message from the buckets of the rules whose bits are in `rules`, and adds the bits of
/// those that it is above.
#[inline(always)]
pub fn charge_all(
    buckets: &mut [u64; MAX_RATES],
    rates: &Rates,
    rules: u32,
    now: u64,
    judgement: &mut impl Judgement,
) {
    for (i, (bucket, rule)) in buckets.iter_mut().zip(&rates.rules).enumerate() {
        if rules & 1 << i != 0 && !charge(bucket, now, rule) {
            judgement.add(1 << i);
        }
    }
}

/// Judges a message by those rules of a group of sources whose bits are in `rules`.
#[inline(always)]
pub fn judge(
    source: &mut Source,
    rates: &Rates,
    rules: u32,
    now: u64,
    judgement: &mut impl Judgement,
) {
    if now < source.blocked_until {
        judgement.add(BLOCKED);
        return;
    }
    charge_all(&mut source.full_at, rates, rules, now, judgement);
    if judgement.bits() & ALL_RATES & !rates.dry_run != 0 && offend(source, rates, now) {
        judgement.add(BECOMES_BLOCKED);
    }
}

/// Counts an offence; whether it is one too many. Those count that lie within `block_within` of the
/// first; then the next one is the first.
#[inline(always)]
pub const fn offend(source: &mut Source, rates: &Rates, now: u64) -> bool {
    if rates.block_after == 0 {
        return false;
    }
    // Of two CPUs the one behind may have the earlier clock.
    let since = now.wrapping_sub(source.offences_since);
    if source.offences == 0 || since >= rates.block_within && now >= source.offences_since {
        source.offences = 0;
        source.offences_since = now;
    }
    source.offences = source.offences.wrapping_add(1);
    if source.offences < rates.block_after {
        return false;
    }
    source.offences = 0;
    if rates.block_dry_run == 0 {
        source.blocked_until = now.wrapping_add(rates.block_for);
    }
    true
}

/// Which lock a source's buckets have. Not seeded: sources that share one only wait for each other.
#[inline(always)]
pub const fn lock_of(key: &SourceKey) -> u32 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = key.addr;
    let word = u32::from_ne_bytes([a, b, c, d])
        ^ u32::from_ne_bytes([e, f, g, h]).rotate_left(11)
        ^ u32::from_ne_bytes([i, j, k, l]).rotate_left(22)
        ^ key.group as u32;
    // Knuth's multiplicative hash: the upper bits are the good ones.
    word.wrapping_mul(0x9e37_79b1) >> (32 - LOCKS.trailing_zeros())
}

/// Where a rule's counters of one CPU are in [`GUARD_RATE_COUNTS`].
#[inline(always)]
pub const fn rate_count(cpu: u32, rule: u32) -> u32 {
    cpu.wrapping_mul(MAX_RATES as u32).wrapping_add(rule)
}

/// What kind of message begins with these bytes. Methods are compared as they are (RFC 3261 §7.1:
/// they are case-sensitive).
#[inline(always)]
pub const fn kind_of(head: &[u8; 16]) -> u32 {
    let [a, b, c, d, e, f, g, h, ..] = *head;
    let word = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let [.., i, j, k, l, m, n, o, p] = *head;
    let next = u64::from_le_bytes([i, j, k, l, m, n, o, p]);
    if word == word_of(b"REGISTER") && next & 0xff == b' ' as u64 {
        REGISTER
    } else if word & word_mask(7) == word_of(b"INVITE ") {
        INVITE
    } else if word == word_of(b"OPTIONS ") {
        OPTIONS
    } else if word == word_of(b"SIP/2.0 ") {
        REPLY
    } else {
        other(word, next)
    }
}

/// [`OTHER`] for 1 to 15 capital letters and a space, as all methods of the RFCs are written.
#[inline(always)]
const fn other(word: u64, next: u64) -> u32 {
    let (mut ends, mut text) = (no_capitals(word), word);
    if ends == 0 {
        ends = no_capitals(next);
        text = next;
    } else if ends & 0x80 != 0 {
        return OPAQUE;
    }
    let at = ends.trailing_zeros() & 0x38;
    if ends != 0 && (text >> at) & 0xff == b' ' as u64 {
        OTHER
    } else {
        OPAQUE
    }
}

/// The highest bit of every byte that is no capital letter.
#[inline(always)]
const fn no_capitals(word: u64) -> u64 {
    const ALL: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ALL;
    let seven = word & !HIGH;
    let is_low = !(seven + (0x80 - b'A' as u64) * ALL);
    let is_high = seven + (0x80 - (b'Z' + 1) as u64) * ALL;
    (word | is_low | is_high) & HIGH
}

const fn word_of(text: &[u8]) -> u64 {
    let mut word = 0;
    let mut i = 0;
    while i < text.len() {
        word |= (text[i] as u64) << (8 * i);
        i += 1;
    }
    word
}

const fn word_mask(len: u32) -> u64 {
    u64::MAX >> (64 - 8 * len)
}

#[cfg(feature = "user")]
mod pod {
    use super::*;
    use crate::counters::RateCounters;
    // SAFETY: `repr(C)`, integers and arrays of integers only, no padding, any bit pattern valid.
    unsafe impl aya::Pod for Rates {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SourceKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Source {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Listener {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Offender {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RateCounters {}
}

#[cfg(test)]
mod tests;
