//! What is answered without a script: keep-alives and STUN Binding requests, in the XDP programs and
//! in user space alike.

/// Value of [`Config::keepalive`](crate::maps::Config::keepalive): keep-alives are nothing special.
pub const KEEPALIVE_PASS: u32 = 0;
/// The same: they are dropped.
pub const KEEPALIVE_DROP: u32 = 1;
/// The same: CRLF CRLF is answered with CRLF, others are dropped.
pub const KEEPALIVE_PONG: u32 = 2;

/// Longest datagram of line breaks and NULs that is taken for a keep-alive; those that are known have
/// four bytes or less.
pub const MAX_KEEPALIVE_LEN: usize = 8;
/// What wants an answer (RFC 5626 §4.4.1).
pub const PING: [u8; 4] = *b"\r\n\r\n";
/// The answer to [`PING`].
pub const PONG: [u8; 2] = *b"\r\n";

/// Whether a keep-alive may hold this byte: CR and LF (RFC 5626 §3.5.1), or NUL, which some phones and
/// servers send instead.
#[inline(always)]
pub const fn is_keepalive_byte(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

/// STUN (RFC 8489). Numbers are in host order.
pub mod stun {
    /// Bytes of the header: type, length, cookie, transaction id (§5).
    pub const HEADER_LEN: usize = 20;
    /// In front of each attribute's value: its type and length (§14).
    pub const ATTRIBUTE_HEADER_LEN: usize = 4;
    /// In each message behind type and length; RFC 3489 had none (§5).
    pub const MAGIC_COOKIE: u32 = 0x2112_a442;
    /// Message type of a Binding request (§3).
    pub const BINDING_REQUEST: u16 = 0x0001;
    /// Message type of a Binding success response.
    pub const BINDING_SUCCESS: u16 = 0x0101;
    /// Message type of a Binding error response.
    pub const BINDING_ERROR: u16 = 0x0111;
    /// The two bits in front of each message type, which are zero (§5).
    pub const NO_STUN: u16 = 0xc000;
    /// Attribute ERROR-CODE (§14.8).
    pub const ERROR_CODE: u16 = 0x0009;
    /// Attribute UNKNOWN-ATTRIBUTES (§14.13).
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    /// Attribute XOR-MAPPED-ADDRESS (§14.2).
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    /// Attribute FINGERPRINT (§14.7), always the last one.
    pub const FINGERPRINT: u16 = 0x8028;
    /// Bytes of FINGERPRINT, its header included.
    pub const FINGERPRINT_LEN: usize = 8;
    /// What the CRC-32 in FINGERPRINT is XORed with (§14.7).
    pub const FINGERPRINT_XOR: u32 = 0x5354_554e;
    /// Family of an IPv4 address in an attribute (§14.1).
    pub const FAMILY_V4: u8 = 1;
    /// Family of an IPv6 address.
    pub const FAMILY_V6: u8 = 2;
    /// Attributes of this type or a higher one may be ignored (§14).
    pub const OPTIONAL: u16 = 0x8000;
    /// Longest request that the XDP programs answer: the header, FINGERPRINT, and 32 bytes of SOFTWARE
    /// or the like fit.
    pub const MAX_KERNEL_REQUEST: usize = 64;
    /// Attributes of a request that the XDP programs answer.
    pub const MAX_KERNEL_ATTRIBUTES: usize = 2;
}
