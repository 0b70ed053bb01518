//! What the headers of our datagrams say.

/// Core parameters for datagrams that are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DatagramSettings {
    /// `pmtu_discovery`: IPv4 goes out with DF set. What is larger than the path's MTU is then
    /// lost, and the sender is told; else it is fragmented on the way. IPv6 has no such bit:
    /// there the sender alone fragments.
    pub dont_fragment: bool,
}
