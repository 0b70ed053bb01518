//! gzip (RFC 1952) over libdeflate, which takes whole buffers: what a datagram is.

use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor};

use super::{Codec, CodecError};

/// Compressor and decompressor with their tables, kept between messages.
pub(super) struct Gzip {
    compressor: Compressor,
    decompressor: Decompressor,
    /// Output lands here first: libdeflate wants initialised memory of the bound's size, and
    /// clearing that much in the caller's buffer for every message costs more than copying
    /// what came out.
    pub(super) scratch: Vec<u8>,
}

impl Gzip {
    pub(super) fn new(level: u8) -> Result<Self, CodecError> {
        let lvl = CompressionLvl::new(i32::from(level)).map_err(|_| CodecError::Level(level))?;
        Ok(Self {
            compressor: Compressor::new(lvl),
            decompressor: Decompressor::new(),
            scratch: Vec::new(),
        })
    }

    pub(super) fn encode(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        let room = max.min(self.compressor.gzip_compress_bound(input.len()));
        let scratch = scratch(&mut self.scratch, room);
        // Insufficient space is the only failure that libdeflate knows here.
        let len = self
            .compressor
            .gzip_compress(input, scratch)
            .map_err(|_| too_long(max))?;
        append(out, scratch, len)
    }

    /// The trailer's ISIZE is not looked at in advance: it is the length modulo 2^32 of what
    /// may not be the last member, written by whoever sent it.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        let scratch = scratch(&mut self.scratch, max);
        let len = self
            .decompressor
            .gzip_decompress(input, scratch)
            .map_err(|e| match e {
                DecompressionError::BadData => CodecError::Malformed(Codec::Gzip),
                DecompressionError::InsufficientSpace => too_long(max),
            })?;
        append(out, scratch, len)
    }
}

const fn too_long(max: usize) -> CodecError {
    CodecError::TooLong {
        codec: Codec::Gzip,
        max,
    }
}

/// The first `len` bytes of the scratch buffer, which grows to the largest bound in use.
fn scratch(buf: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buf.len() < len {
        buf.resize(len, 0);
    }
    &mut buf[..len]
}

fn append(out: &mut Vec<u8>, from: &[u8], len: usize) -> Result<(), CodecError> {
    let result = from.get(..len).ok_or(CodecError::Malformed(Codec::Gzip))?;
    out.extend_from_slice(result);
    Ok(())
}
