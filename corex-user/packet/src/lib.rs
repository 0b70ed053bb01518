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
mod headers;
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

/// `N` bytes at `offset`; `None` beyond the end.
fn bytes_at<const N: usize>(data: &[u8], offset: usize) -> Option<&[u8; N]> {
    data.get(offset..)?.first_chunk()
}

/// Two bytes at `offset` in network order.
fn be16_at(data: &[u8], offset: usize) -> Option<u16> {
    bytes_at(data, offset).copied().map(u16::from_be_bytes)
}
