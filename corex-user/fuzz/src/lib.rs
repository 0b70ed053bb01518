//! What the fuzz targets do with their input: everything that reads bytes from outside, and
//! what must hold of the result. `cargo xtask fuzz` runs them; the tests here run all seeds.

mod binrpc;
mod codec;
mod compose;
mod decode;
mod device;
mod dialect;
mod idle;
mod inline;
mod json;
mod sip;
mod strict;

pub use binrpc::binrpc;
pub use codec::{aead, chain_text, deflate, http, itv, text, zstd};
pub use compose::compose;
pub use decode::decode_lines;
pub use device::{device, enrol};
pub use dialect::dialect;
pub use inline::inline;
pub use json::json;
pub use sip::sip;
pub use strict::strict;

#[cfg(test)]
mod tests;
