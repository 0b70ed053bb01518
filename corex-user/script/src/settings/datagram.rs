//! What the headers of our datagrams say.

/// Core parameters for datagrams that are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DatagramSettings {
    /// `pmtu_discovery`: IPv4 goes out with DF set. What is larger than the path's MTU is then
    /// lost, and the sender is told; else it is fragmented on the way. IPv6 has no such bit:
    /// there the sender alone fragments.
    pub dont_fragment: bool,
    /// `tos`: the byte of DSCP and ECN, IPv4's type of service and IPv6's traffic class. The two
    /// lowest bits are ECN's and 0: what we send doesn't slow down when a router asks for it
    /// (RFC 3168 §5).
    pub traffic_class: u8,
}
