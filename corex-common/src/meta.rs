//! The record that the XDP program puts in front of a steered frame.
//!
//! It lies in the XDP metadata area (kernel: Documentation/networking/xdp-rx-metadata.rst),
//! the 16 bytes before the Ethernet header, and spares user space a second parse. A driver
//! without metadata support leaves these bytes as they were; so [`FrameMeta::cookie`] is a
//! number drawn at load, and user space wipes it when it gives the frame back.

/// The record. All offsets count bytes from the start of the frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameMeta {
    /// [`crate::maps::Config::cookie`] of this load: the record is there.
    pub cookie: u32,
    /// Index of the listen socket, [`crate::maps::SocketEntry::id`].
    pub socket: u16,
    /// [`Self::SHORT`] and others.
    pub flags: u16,
    /// Offset of the IP header; 14 plus 4 for each VLAN tag.
    pub l3: u16,
    /// Offset of the UDP header.
    pub l4: u16,
    /// Offset of the payload.
    pub payload: u16,
    /// Length of the payload, from the UDP header.
    pub payload_len: u16,
}

impl FrameMeta {
    /// Size of the record in bytes; the kernel wants a multiple of 4, at most 32.
    pub const LEN: usize = size_of::<Self>();
    /// The payload is shorter than `min_msg_len`: the hook is skipped.
    pub const SHORT: u16 = 1;
    /// The packet is IPv6.
    pub const IPV6: u16 = 2;

    /// The message is above a rate of the guard, and is for `event_route[guard:limit]`.
    pub const LIMITED: u16 = 4;

    /// Reads a record from its bytes.
    pub fn from_bytes(b: &[u8; Self::LEN]) -> Self {
        let u16_at = |i: usize| u16::from_ne_bytes([b[i], b[i + 1]]);
        Self {
            cookie: u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
            socket: u16_at(4),
            flags: u16_at(6),
            l3: u16_at(8),
            l4: u16_at(10),
            payload: u16_at(12),
            payload_len: u16_at(14),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_sixteen_bytes_in_declared_order() {
        let mut b = [0u8; FrameMeta::LEN];
        b[..4].copy_from_slice(&0x0102_0304u32.to_ne_bytes());
        b[12..14].copy_from_slice(&42u16.to_ne_bytes());
        let m = FrameMeta::from_bytes(&b);
        assert_eq!((m.cookie, m.payload, FrameMeta::LEN), (0x0102_0304, 42, 16));
    }
}
