//! What the benchmark's XDP programs and their user side agree on.

/// Array of `u64`, by CPU: UDP packets that came back.
pub const RETURNED: &str = "RETURNED";
/// CPUs that are counted on.
pub const CPUS: u32 = 16;
/// Array with one [`Load`].
pub const LOAD: &str = "LOAD";
/// Array of [`Template`].
pub const TEMPLATES: &str = "TEMPLATES";
/// Array of `u64`, by [`bucket`]: how many packets took so long to come back.
pub const LATENCIES: &str = "LATENCIES";
/// Array with one [`Extremes`].
pub const EXTREMES: &str = "EXTREMES";

/// A measurement: what is asked for, and what was seen. Times are in nanoseconds of the
/// kernel's monotonic clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How long to send.
    pub duration: u64,
    /// Frames on their way at most, where no rate is given.
    pub window: u64,
    /// Frames to send each second, whatever comes back; 0: as many as come back.
    pub rate: u64,
    /// Templates that take turns.
    pub templates: u64,
    /// Bytes of the frame that the program is run with, at least those of any template.
    pub room: u64,
    /// Source addresses that take turns.
    pub peers: u64,
    /// When the first frame was sent; 0: not yet.
    pub begin: u64,
    /// When the time was up; 0: not yet.
    pub end: u64,
    /// How often the program has run until then.
    pub turns: u64,
    /// Frames sent that are to come back.
    pub sent: u64,
    /// Frames sent that nobody answers.
    pub unanswered: u64,
    /// Frames that the rate asked for, and that weren't sent as the generator was late by more
    /// than [`BURST`].
    pub held_back: u64,
    /// Frames that didn't come back in [`PATIENCE`].
    pub lost: u64,
    /// The returned count at the beginning.
    pub returned_before: u64,
    /// The returned count when it last changed; at the end, the last one.
    pub returned: u64,
    /// When it changed.
    pub progress: u64,
}

/// What the sink saw, beside counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extremes {
    /// The longest time that a packet took to come back, in nanoseconds.
    pub longest: u64,
    /// Packets without a number in them, which were taken to come back in the order in which they
    /// were sent.
    pub by_order: u64,
}

/// The largest frame.
pub const FRAME_LEN: usize = 1528;

/// A frame to send, but for what varies.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// Bytes of the frame.
    pub len: u32,
    /// Whether it comes back.
    pub answered: u16,
    /// Whether the payload has digits at [`DIGITS`].
    pub numbered: u16,
    /// Ethernet, IP, UDP with a checksum, and the payload.
    pub frame: [u8; FRAME_LEN],
}

/// Templates at most.
pub const MAX_TEMPLATES: u32 = 32;

/// Frames that don't come back in this time are lost, in nanoseconds.
pub const PATIENCE: u64 = 50_000_000;

/// Frames that are sent at once after the generator was late, at most.
pub const BURST: u64 = 128;

/// Offset in the payload of four decimal digits that vary, in the Call-ID: the number of the
/// frame, modulo [`NUMBERS`]. Even, so that they are whole words of the checksum. Messages begin
/// with a line that is as long as it takes, and Call-ID follows.
pub const DIGITS: usize = 46;
const _: () = assert!(DIGITS.is_multiple_of(2));
/// What stands in front of them.
pub const BEFORE_DIGITS: u8 = b'x';
/// Numbers of frames.
pub const NUMBERS: u32 = 10_000;

/// Source ports vary over this many from [`FIRST_PORT`].
pub const PORTS: u32 = 1024;
/// The first source port.
pub const FIRST_PORT: u16 = 20_000;
/// The last sixteen bits of the first source address; of further ones they count up.
pub const FIRST_PEER: u16 = 2;

/// Shorter payloads that come back aren't counted: answers to keep-alives.
pub const MIN_PAYLOAD: u16 = 32;

/// Each power of two has this many buckets: a bucket is 3 % wide.
const PARTS: u32 = 32;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
/// Buckets for times up to 2^41 ns, which is half an hour.
pub const BUCKETS: u32 = (41 - PARTS_BITS + 1) * PARTS;

/// The bucket that a time in nanoseconds falls in; longer ones in the last.
#[inline(always)]
pub fn bucket(nanoseconds: u64) -> u32 {
    if nanoseconds < PARTS as u64 {
        return nanoseconds as u32;
    }
    let shift = 63 - PARTS_BITS - nanoseconds.leading_zeros();
    let bucket = (shift + 1) * PARTS + ((nanoseconds >> shift) as u32 & (PARTS - 1));
    if bucket < BUCKETS {
        bucket
    } else {
        BUCKETS - 1
    }
}

/// The shortest time that falls in a bucket, in nanoseconds.
#[cfg(feature = "user")]
pub fn shortest(bucket: u32) -> u64 {
    match bucket / PARTS {
        0 => u64::from(bucket),
        power => u64::from(PARTS + bucket % PARTS) << (power - 1),
    }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers of one size, no padding, any bit pattern valid.
unsafe impl aya::Pod for Load {}
#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for Extremes {}
#[cfg(feature = "user")]
// SAFETY: `repr(C)`, 4 + 2 + 2 bytes and then bytes, no padding, any bit pattern valid.
unsafe impl aya::Pod for Template {}

#[cfg(all(test, feature = "user"))]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_begins_where_the_one_before_ends_and_is_three_percent_wide() {
        for index in 0..BUCKETS {
            let begin = shortest(index);
            assert_eq!(bucket(begin), index, "{begin}");
            if index > 0 {
                assert_eq!(bucket(begin - 1), index - 1, "{begin}");
                let width = begin - shortest(index - 1);
                assert!(width == 1 || width * u64::from(PARTS) <= begin, "{begin}");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
