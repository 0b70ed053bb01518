//! One application of a transformation: its input, its arguments, where its output goes.

use super::{Arg, Argument, Error, Input, MAX_OUTPUT, Output};
use crate::run::value::Decimal;

/// Where output is appended; no more than [`MAX_OUTPUT`] bytes.
pub(super) struct Sink<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Sink<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Sink<'a> {
        let start = out.len();
        Sink { out, start }
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.bytes().len() + bytes.len() > MAX_OUTPUT {
            return Err(Error::TooLong);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    pub fn byte(&mut self, byte: u8) -> Result<(), Error> {
        self.push(&[byte])
    }

    /// Two hexadecimal digits.
    pub fn hexa(&mut self, byte: u8, digits: &[u8; 16]) -> Result<(), Error> {
        let digit = |value: u8| digits.get(usize::from(value)).copied().unwrap_or(b'0');
        self.push(&[digit(byte >> 4), digit(byte & 15)])
    }

    pub fn number(&mut self, number: i64) -> Result<(), Error> {
        self.push(Decimal::new(number).bytes())
    }

    /// What was appended so far.
    pub fn bytes(&self) -> &[u8] {
        self.out.get(self.start..).unwrap_or_default()
    }

    /// The same, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.out.get_mut(self.start..).unwrap_or_default()
    }
}

/// An argument as text.
pub(super) enum ArgText<'a> {
    Bytes(&'a [u8]),
    Number(Decimal),
}

impl ArgText<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            ArgText::Bytes(bytes) => bytes,
            ArgText::Number(decimal) => decimal.bytes(),
        }
    }
}

/// One application.
pub(super) struct Call<'a> {
    /// The value as it is.
    pub input: Input<'a>,
    /// The value as text; empty for `$null`.
    pub text: &'a [u8],
    pub literals: &'a [Arg],
    pub args: &'a [Argument<'a>],
    pub out: Sink<'a>,
}

impl<'a> Call<'a> {
    /// The argument at this place, `None` where none was written.
    pub fn arg(&self, at: usize) -> Option<Argument<'a>> {
        let written = self.literals.get(at)?;
        let given = || self.args.get(at).copied().unwrap_or(Input::Null);
        Some(written.literal().unwrap_or_else(given))
    }

    /// An argument that is an integer; `default` where none was written.
    pub fn integer_or(&self, at: usize, default: i64) -> Result<i64, Error> {
        match self.arg(at) {
            None => Ok(default),
            Some(Input::Int(number)) => Ok(number),
            Some(Input::Str(_)) => Err(Error::NotInteger),
            Some(Input::Null) => Err(Error::NullArgument),
        }
    }

    /// An argument that is an integer.
    pub fn integer(&self, at: usize) -> Result<i64, Error> {
        self.integer_or(at, 0)
    }

    /// An argument as text.
    pub fn argument(&self, at: usize) -> Result<ArgText<'a>, Error> {
        match self.arg(at) {
            Some(Input::Str(text)) => Ok(ArgText::Bytes(text)),
            Some(Input::Int(number)) => Ok(ArgText::Number(Decimal::new(number))),
            Some(Input::Null) => Err(Error::NullArgument),
            None => Ok(ArgText::Bytes(b"")),
        }
    }

    /// The first byte of an argument; `None` if it is empty.
    pub fn sign(&self, at: usize) -> Result<Option<u8>, Error> {
        Ok(self.argument(at)?.bytes().first().copied())
    }

    /// The whole input.
    pub fn whole(&self) -> Output {
        Output::Part(0..self.text.len())
    }

    /// `part`, which must be a subslice of the input.
    pub fn part(&self, part: &[u8]) -> Output {
        let start = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr());
        match start.and_then(|start| Some(start..start.checked_add(part.len())?)) {
            Some(range) if range.end <= self.text.len() => Output::Part(range),
            _ if part.is_empty() => Output::Part(0..0),
            _ => Output::Null,
        }
    }
}

/// The index that counts from the end when it is negative; `None` outside of `0..len`.
pub(super) fn place(index: i64, len: usize) -> Option<usize> {
    let index = isize::try_from(index).ok()?;
    let place = if index < 0 {
        len.checked_sub(index.unsigned_abs())?
    } else {
        index.unsigned_abs()
    };
    (place < len).then_some(place)
}

/// A length that an argument gives; what is negative is `None`.
pub(super) fn length(number: i64) -> Option<usize> {
    usize::try_from(number).ok()
}
