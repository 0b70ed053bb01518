//! Transformations of whole messages, by name: what `codec_encode` and `codec_decode` of the
//! configuration run.
//!
//! A codec knows nothing of SIP or of sockets: bytes in, bytes out, the output bounded by the
//! caller. [`Codecs`] holds the state of all of them, one per worker, so that a message costs
//! no allocation once buffers have grown.

mod gzip;

#[cfg(test)]
mod tests;

use std::fmt;

use gzip::Gzip;

/// The codecs there are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// The gzip file format (RFC 1952).
    ///
    /// Encoding makes one member. Decoding takes the first member and ignores what follows
    /// it, as `IO::Uncompress::Gunzip` of Kamailio's Perl example does by default. Unlike
    /// that default, input that isn't gzip is an error and not passed through, and the
    /// trailer must be there and its CRC and length right.
    Gzip,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Gzip];

    /// The codec of this name, in lower case as the documentation writes it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }

    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the operator can set about the codecs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodecConfig {
    /// Compression level of gzip, 0 (stored) to 12 (slowest); 1 to 9 mean about what they
    /// mean to `gzip`.
    pub gzip_level: u8,
}

impl Default for CodecConfig {
    fn default() -> Self {
        Self { gzip_level: 6 }
    }
}

/// Why a transformation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// The input is not what the codec makes, or it is cut off or damaged.
    #[error("{0}: the input is not {0} data, or it is damaged or cut off")]
    Malformed(Codec),
    /// The output would exceed the bound.
    #[error("{codec}: the output exceeds {max} bytes")]
    TooLong {
        /// The codec that stopped.
        codec: Codec,
        /// The bound in bytes.
        max: usize,
    },
    /// A compression level out of range.
    #[error("gzip: level {0} is not from 0 to 12")]
    Level(u8),
}

/// The codecs of one worker.
pub struct Codecs {
    gzip: Gzip,
}

impl Codecs {
    /// Sets all codecs up. [`CodecError::Level`] if a level is out of range.
    pub fn new(config: &CodecConfig) -> Result<Self, CodecError> {
        Ok(Self {
            gzip: Gzip::new(config.gzip_level)?,
        })
    }

    /// Encodes `input` and appends the result, at most `max` bytes, to `out`, which an error
    /// leaves as it was.
    pub fn encode(
        &mut self,
        codec: Codec,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        match codec {
            Codec::Gzip => self.gzip.encode(input, out, max),
        }
    }

    /// Decodes `input` and appends the result, at most `max` bytes, to `out`, which an error
    /// leaves as it was. Never writes more than `max` bytes anywhere, whatever the input
    /// claims or expands to.
    pub fn decode(
        &mut self,
        codec: Codec,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        match codec {
            Codec::Gzip => self.gzip.decode(input, out, max),
        }
    }
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codecs").finish_non_exhaustive()
    }
}
