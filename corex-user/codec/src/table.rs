//! All codecs there are.

use crate::link::CodecDef;
use crate::{aead, deflate, http, itv, text, xor, zstd};

/// All codecs.
pub const CODECS: &[CodecDef] = &[
    deflate::GZIP,
    deflate::DEFLATE,
    deflate::ZLIB,
    zstd::CODEC,
    text::BASE64,
    text::HEX,
    xor::CODEC,
    aead::CODEC,
    http::CODEC,
    itv::CODEC,
];

/// The codec of this name.
pub fn find(name: &str) -> Option<&'static CodecDef> {
    CODECS.iter().find(|codec| codec.name == name)
}
