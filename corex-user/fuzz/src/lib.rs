//! What the fuzz targets do with their input: everything that reads bytes from outside, and
//! what must hold of the result. `cargo xtask fuzz` runs them; the tests here run all seeds.

mod answer;
mod binrpc;
mod capture;
mod codec;
mod compose;
mod decode;
mod device;
mod dialect;
mod dns;
mod idle;
mod inline;
mod json;
mod lists;
mod route;
mod signature;
mod sip;
mod stream;
mod strict;
mod transform;
mod wires;

pub use answer::answer;
pub use binrpc::binrpc;
pub use capture::capture;
pub use codec::{aead, chain_text, deflate, http, itv, text, zstd};
pub use compose::compose;
pub use decode::decode_lines;
pub use device::{device, enrol};
pub use dialect::dialect;
pub use dns::dns;
pub use inline::inline;
pub use json::json;
pub use lists::lists;
pub use route::route;
pub use signature::signature;
pub use sip::sip;
pub use stream::stream;
pub use strict::strict;
pub use transform::{pattern, transform};
pub use wires::{lua_pattern, netlink, perl, record};

#[cfg(test)]
mod tests;
