//! The gzip file format (RFC 1952) over libdeflate, which takes whole buffers: what a datagram is.
//!
//! Encoding makes one member. Decoding takes the first member and ignores what follows it, as
//! `IO::Uncompress::Gunzip` of Kamailio's Perl example does by default. Unlike that default, input
//! that isn't gzip is an error and not passed through, and the trailer must be there and its CRC
//! and length right.

#[cfg(test)]
mod tests;

use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor};

use super::{Codec, CodecDef, Fault};
use corex_script::function::{Parameter, ParameterKind};

pub(super) const CODEC: CodecDef = CodecDef {
    name: "gzip",
    parameters: &[Parameter {
        name: LEVEL,
        aliases: &[],
        kind: ParameterKind::Int {
            min: MIN_LEVEL,
            max: MAX_LEVEL,
            set: |settings, value| {
                settings.codec.of_codecs.insert(LEVEL, value);
            },
        },
        doc: "Compression level of gzip: 0 (none), 1 (fastest) to 12 (slowest). Default: 6.",
    }],
    new: |settings| {
        let level = settings.of_codecs.get(LEVEL).copied();
        Ok(Box::new(Gzip::new(level.unwrap_or(DEFAULT_LEVEL))?))
    },
};

const LEVEL: &str = "gzip_level";

/// libdeflate's levels; 1 to 9 mean about what they mean to the `gzip` command.
const MIN_LEVEL: i64 = 0;
const MAX_LEVEL: i64 = 12;
const DEFAULT_LEVEL: i64 = 6;

/// Compressor and decompressor with their tables, kept between messages.
struct Gzip {
    compressor: Compressor,
    decompressor: Decompressor,
    /// Output lands here first: libdeflate wants initialised memory of the bound's size, and
    /// clearing that much in the caller's buffer for every message costs more than copying
    /// what came out.
    scratch: Vec<u8>,
}

impl Gzip {
    fn new(level: i64) -> Result<Self, Fault> {
        let known = i32::try_from(level).ok();
        let known = known.and_then(|level| CompressionLvl::new(level).ok());
        let level = known.ok_or(Fault::OutOfRange {
            what: "level",
            value: level,
            min: MIN_LEVEL,
            max: MAX_LEVEL,
        })?;
        Ok(Self {
            compressor: Compressor::new(level),
            decompressor: Decompressor::new(),
            scratch: Vec::new(),
        })
    }
}

impl Codec for Gzip {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let room = max.min(self.compressor.gzip_compress_bound(input.len()));
        let scratch = scratch(&mut self.scratch, room);
        // Insufficient space is the only failure that libdeflate knows here.
        let len = self
            .compressor
            .gzip_compress(input, scratch)
            .map_err(|_| Fault::TooLong(max))?;
        append(out, scratch, len)
    }

    /// The trailer's ISIZE is not looked at in advance: it is the length modulo 2^32 of what
    /// may not be the last member, written by whoever sent it.
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let scratch = scratch(&mut self.scratch, max);
        let len = self
            .decompressor
            .gzip_decompress(input, scratch)
            .map_err(|e| match e {
                DecompressionError::BadData => Fault::Malformed,
                DecompressionError::InsufficientSpace => Fault::TooLong(max),
            })?;
        append(out, scratch, len)
    }
}

/// The first `len` bytes of the scratch buffer, which grows to the largest bound in use.
fn scratch(buf: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buf.len() < len {
        buf.resize(len, 0);
    }
    &mut buf[..len]
}

fn append(out: &mut Vec<u8>, from: &[u8], len: usize) -> Result<(), Fault> {
    let result = from.get(..len).ok_or(Fault::Malformed)?;
    out.extend_from_slice(result);
    Ok(())
}
