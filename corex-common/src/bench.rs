//! What the benchmark's XDP programs and their user side agree on.

/// Array of `u64`, by CPU: UDP packets that came back.
pub const RETURNED: &str = "RETURNED";
/// CPUs that are counted on.
pub const CPUS: u32 = 16;
/// Array with one [`Load`].
pub const LOAD: &str = "LOAD";

/// A measurement: what is asked for, and what was seen. Times are in nanoseconds of the
/// kernel's monotonic clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How long to send.
    pub duration: u64,
    /// Frames on their way at most.
    pub window: u64,
    /// When the first frame was sent; 0: not yet.
    pub begin: u64,
    /// When the time was up; 0: not yet.
    pub end: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames that didn't come back in [`PATIENCE`].
    pub lost: u64,
    /// The returned count at the beginning.
    pub returned_before: u64,
    /// The returned count when it last changed; at the end, the last one.
    pub returned: u64,
    /// When it changed.
    pub progress: u64,
}

/// Frames that don't come back in this time are lost, in nanoseconds.
pub const PATIENCE: u64 = 50_000_000;

/// The beginning of the generator's request, up to four decimal digits of the Call-ID that
/// vary.
pub const REQUEST_HEAD: &str = "OPTIONS sip:ping@10.77.0.1 SIP/2.0\r\nCall-ID: x";
/// Offset of these digits in the payload; even, so that they are whole words of the checksum.
pub const DIGITS: usize = REQUEST_HEAD.len();
const _: () = assert!(DIGITS.is_multiple_of(2));

/// Source ports vary over this many from [`FIRST_PORT`].
pub const PORTS: u32 = 1024;
/// The first source port.
pub const FIRST_PORT: u16 = 20_000;

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers of one size, no padding, any bit pattern valid.
unsafe impl aya::Pod for Load {}
