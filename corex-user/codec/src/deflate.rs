//! DEFLATE (RFC 1951), bare and in the formats of gzip (RFC 1952) and zlib (RFC 1950), over
//! libdeflate, which takes whole buffers: what a datagram is.
//!
//! Encoding makes one member. Decoding takes the first member and ignores what follows it, as
//! `IO::Uncompress::Gunzip` of Kamailio's Perl example does by default. Unlike that default, input
//! that isn't of the format is an error and not passed through, and the trailer must be there and
//! right.

#[cfg(test)]
mod tests;

use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor};

use crate::codec::Role;
use crate::codec::{Codec, Fault, append, scratch};
use crate::link::{Arguments, CodecDef, Materials, Mistake, Recipe};

pub(crate) const GZIP: CodecDef = CodecDef {
    name: "gzip",
    form: "gzip, or gzip(level=0…12)",
    doc: "Compression, RFC 1952.",
    is_bare: true,
    read: |arguments| read(arguments, Format::Gzip),
};

pub(crate) const DEFLATE: CodecDef = CodecDef {
    name: "deflate",
    form: "deflate, or deflate(level=0…12)",
    doc: "Compression, RFC 1951: as gzip without head and checksum, 18 bytes shorter.",
    is_bare: true,
    read: |arguments| read(arguments, Format::Deflate),
};

pub(crate) const ZLIB: CodecDef = CodecDef {
    name: "zlib",
    form: "zlib, or zlib(level=0…12)",
    doc: "Compression, RFC 1950: as gzip with a shorter head and checksum.",
    is_bare: true,
    read: |arguments| read(arguments, Format::Zlib),
};

/// libdeflate's levels; 1 to 9 mean about what they mean to the `gzip` command.
const MIN_LEVEL: i64 = 0;
const MAX_LEVEL: i64 = 12;
const DEFAULT_LEVEL: i64 = 6;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Gzip,
    Zlib,
    Deflate,
}

struct DeflateRecipe {
    format: Format,
    level: CompressionLvl,
}

fn read(arguments: &mut Arguments<'_>, format: Format) -> Result<Box<dyn Recipe>, Mistake> {
    let level = arguments.number("level", MIN_LEVEL..MAX_LEVEL + 1)?;
    let level = compression_level(level.unwrap_or(DEFAULT_LEVEL));
    // `number` lets nothing else through.
    let level = level.unwrap_or_default();
    Ok(Box::new(DeflateRecipe { format, level }))
}

impl Recipe for DeflateRecipe {
    fn make(&self, _: Role, _: &dyn Materials) -> Result<Box<dyn Codec>, Mistake> {
        Ok(Box::new(Deflate::with(self.format, self.level)))
    }
}

fn compression_level(level: i64) -> Result<CompressionLvl, Fault> {
    let known = i32::try_from(level).ok();
    let known = known.and_then(|level| CompressionLvl::new(level).ok());
    known.ok_or(Fault::OutOfRange {
        what: "level",
        value: level,
        min: MIN_LEVEL,
        max: MAX_LEVEL,
    })
}

/// Compressor and decompressor with their tables, kept between messages.
struct Deflate {
    format: Format,
    compressor: Compressor,
    decompressor: Decompressor,
    /// Output lands here first.
    scratch: Vec<u8>,
}

impl Deflate {
    fn with(format: Format, level: CompressionLvl) -> Self {
        Self {
            format,
            compressor: Compressor::new(level),
            decompressor: Decompressor::new(),
            scratch: Vec::new(),
        }
    }
}

impl Codec for Deflate {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let compressor = &mut self.compressor;
        let bound = match self.format {
            Format::Gzip => compressor.gzip_compress_bound(input.len()),
            Format::Zlib => compressor.zlib_compress_bound(input.len()),
            Format::Deflate => compressor.deflate_compress_bound(input.len()),
        };
        let scratch = scratch(&mut self.scratch, max.min(bound));
        let packed = match self.format {
            Format::Gzip => compressor.gzip_compress(input, scratch),
            Format::Zlib => compressor.zlib_compress(input, scratch),
            Format::Deflate => compressor.deflate_compress(input, scratch),
        };
        // Insufficient space is the only failure that libdeflate knows here.
        let len = packed.map_err(|_| Fault::TooLong(max))?;
        append(out, scratch, len)
    }

    /// The trailer's ISIZE is not looked at in advance: it is the length modulo 2^32 of what
    /// may not be the last member, written by whoever sent it.
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let scratch = scratch(&mut self.scratch, max);
        let unpacked = match self.format {
            Format::Gzip => self.decompressor.gzip_decompress(input, scratch),
            Format::Zlib => self.decompressor.zlib_decompress(input, scratch),
            Format::Deflate => self.decompressor.deflate_decompress(input, scratch),
        };
        let len = unpacked.map_err(|e| match e {
            DecompressionError::BadData => Fault::Malformed,
            DecompressionError::InsufficientSpace => Fault::TooLong(max),
        })?;
        append(out, scratch, len)
    }
}
