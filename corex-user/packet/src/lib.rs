//! UDP datagrams in Ethernet frames: where they are, whether they are intact, and the headers
//! of those that leave.
//!
//! Functions over byte slices; nothing here knows where a frame's memory comes from. A frame
//! of proxy mode goes [`parse()`] (or [`UdpFrame::at`], when the XDP program has already
//! looked) → [`verify_udp`] → [`rewrite_in_place`] for a payload that stays where it is, or
//! [`build_udp`] for a new one. One of inline mode goes [`View::parse`] → [`Reassembler`] if it
//! is a fragment → [`verify_udp`] → [`Rewriter`], which keeps its headers.

#![forbid(unsafe_code)]

mod build;
mod checksum;
mod icmp;
mod parse;
mod quote;
mod reassemble;
mod rewrite;
mod view;

#[cfg(test)]
mod tests;

pub use build::{BuildError, Envelope, MAX_HEADERS_LEN, build_udp, rewrite_in_place};
pub use checksum::{Sum, UdpChecksum, verify_ipv4_header, verify_udp};
pub use icmp::too_big;
pub use parse::{ParseError, UdpFrame, parse};
pub use quote::cut_quote;
pub use reassemble::{Limits, Lost, Reassembler, Whole};
pub use rewrite::{Manner, RewriteError, Rewriter, Sent, complete_checksum};
pub use view::{FragmentField, View};

use parse::link_header;

const ETHERNET_LEN: usize = 14;
const VLAN_LEN: usize = 4;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

const FRAGMENT_HEADER_LEN: usize = 8;

const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMPV6: u8 = 58;

// IPv6 extension headers (IANA protocol numbers).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Extension headers that are walked and the longest that is, as in the XDP program.
const MAX_EXT_HEADERS: usize = 4;
const MAX_EXT_HEADER_LEN: usize = 256;

/// `N` bytes at `offset`; `None` beyond the end.
fn bytes_at<const N: usize>(data: &[u8], offset: usize) -> Option<&[u8; N]> {
    data.get(offset..)?.first_chunk()
}

/// Two bytes at `offset` in network order.
fn be16_at(data: &[u8], offset: usize) -> Option<u16> {
    bytes_at(data, offset).copied().map(u16::from_be_bytes)
}
