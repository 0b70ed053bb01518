//! Transformations of whole messages, by name: what `codec_encode` and `codec_decode` of the
//! configuration run.
//!
//! A codec knows nothing of SIP or of sockets: bytes in, bytes out, the output bounded by the
//! caller. [`CODECS`] describes all of them: what the configuration can call them, what sets them
//! up, what they do. [`Codecs`] holds the state of all of them, one per worker, so that a message
//! costs no allocation once buffers have grown.

mod gzip;

#[cfg(test)]
mod tests;

use std::fmt;

use corex_script::function::Parameter;
use corex_script::settings;

/// All codecs.
pub const CODECS: &[CodecDef] = &[gzip::CODEC];

/// What there is to know of a codec: a line of the table.
#[derive(Debug)]
pub struct CodecDef {
    /// Its name in configurations, in lower case.
    pub name: &'static str,
    /// The parameters of the module `codec` that set it up. What they are set to is in
    /// [`settings::Codec::of_codecs`].
    pub parameters: &'static [Parameter],
    /// Makes what one worker keeps of it.
    new: fn(&settings::Codec) -> Result<Box<dyn Codec>, Fault>,
}

/// A codec at work: what one worker keeps of it from message to message.
trait Codec: Send {
    /// Encodes `input` and appends the result, at most `max` bytes, to `out`. An error may leave a
    /// part of the result there.
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault>;

    /// Decodes in the same way. Never writes more than `max` bytes anywhere, whatever the input
    /// claims or expands to.
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault>;
}

/// A place in [`CODECS`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CodecId(usize);

impl CodecId {
    /// The codec of this name.
    pub fn find(name: &[u8]) -> Option<Self> {
        let is = |codec: &CodecDef| codec.name.as_bytes() == name;
        CODECS.iter().position(is).map(Self)
    }

    /// The codec at this place; `None` if the table has no such place.
    pub fn at(place: usize) -> Option<Self> {
        (place < CODECS.len()).then_some(Self(place))
    }

    /// Its place in [`CODECS`].
    pub fn place(self) -> usize {
        self.0
    }
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CODECS[self.0].name)
    }
}

/// What went wrong in a codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The input is not what the codec makes, or it is cut off or damaged.
    Malformed,
    /// The output would exceed so many bytes.
    TooLong(usize),
    /// A parameter is out of range.
    OutOfRange {
        /// What it sets.
        what: &'static str,
        /// What it is set to.
        value: i64,
        /// The least that it may be.
        min: i64,
        /// The most.
        max: i64,
    },
}

/// Why a transformation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodecError {
    /// The codec that stopped.
    pub codec: CodecId,
    /// What went wrong in it.
    pub fault: Fault,
}

impl std::error::Error for CodecError {}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codec = self.codec;
        write!(f, "{codec}: ")?;
        match self.fault {
            Fault::Malformed => write!(
                f,
                "the input is not {codec} data, or it is damaged or cut off"
            ),
            Fault::TooLong(max) => write!(f, "the output exceeds {max} bytes"),
            Fault::OutOfRange {
                what,
                value,
                min,
                max,
            } => write!(f, "{what} {value} is not from {min} to {max}"),
        }
    }
}

/// The codecs of one worker, in the order of [`CODECS`].
pub struct Codecs(Vec<Box<dyn Codec>>);

impl Codecs {
    /// Sets all codecs up.
    ///
    /// # Errors
    /// A parameter is out of range.
    pub fn new(settings: &settings::Codec) -> Result<Self, CodecError> {
        let made = CODECS.iter().enumerate().map(|(place, codec)| {
            (codec.new)(settings).map_err(|fault| CodecError {
                codec: CodecId(place),
                fault,
            })
        });
        made.collect::<Result<_, _>>().map(Self)
    }

    /// Encodes `input` and appends the result, at most `max` bytes, to `out`, which an error
    /// leaves as it was.
    ///
    /// # Errors
    /// The result would be longer.
    pub fn encode(
        &mut self,
        codec: CodecId,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        self.append(codec, out, |codec, out| codec.encode(input, out, max))
    }

    /// Decodes `input` and appends the result, at most `max` bytes, to `out`, which an error
    /// leaves as it was. Never writes more than `max` bytes anywhere, whatever the input
    /// claims or expands to.
    ///
    /// # Errors
    /// The result would be longer, or the input is damaged or not of that kind.
    pub fn decode(
        &mut self,
        codec: CodecId,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        self.append(codec, out, |codec, out| codec.decode(input, out, max))
    }

    fn append(
        &mut self,
        codec: CodecId,
        out: &mut Vec<u8>,
        run: impl FnOnce(&mut dyn Codec, &mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), CodecError> {
        let len = out.len();
        // One of each is here, so the place is too.
        run(&mut *self.0[codec.0], out).map_err(|fault| {
            out.truncate(len);
            CodecError { codec, fault }
        })
    }
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codecs").finish_non_exhaustive()
    }
}
