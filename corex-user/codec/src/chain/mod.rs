//! Codecs one after the other.

mod parse;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::codec::{Codec, CodecError, Fault};
use crate::link::{Materials, Mistake, Recipe, Role};

/// A chain as a configuration writes it, checked: `NAME = CODEC | CODEC(ARGUMENTS) | …`. What it needs
/// by name, keys and dictionaries, is looked for by [`Chain::new`].
pub struct ChainSpec {
    name: String,
    role: Role,
    links: Vec<(&'static str, Box<dyn Recipe>)>,
}

impl ChainSpec {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<ChainSpec, Mistake> {
        parse::parse(text)
    }

    /// Reads one codec with its arguments, which makes a chain of the codec's name.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn single(text: &str) -> Result<ChainSpec, Mistake> {
        parse::single(text)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of its codecs, in the order of encoding.
    pub fn codecs(&self) -> impl Iterator<Item = &'static str> {
        self.links.iter().map(|(name, _)| *name)
    }
}

impl fmt::Debug for ChainSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codecs: Vec<_> = self.codecs().collect();
        write!(f, "{}({:?})={}", self.name, self.role, codecs.join("|"))
    }
}

/// A chain at work: what one worker keeps of it. Encoding runs the codecs in the order in which they
/// are written, decoding in the other one; the result of each is bounded like that of the whole.
pub struct Chain {
    links: Vec<(&'static str, Box<dyn Codec>)>,
    /// What is on its way from one codec to the next.
    between: [Vec<u8>; 2],
}

impl Chain {
    /// Makes one.
    ///
    /// # Errors
    /// What is wrong with a key or a dictionary that it names.
    pub fn new(spec: &ChainSpec, materials: &dyn Materials) -> Result<Chain, Mistake> {
        Self::at(spec, spec.role, materials)
    }

    /// Makes the chain of this side of the wire, whichever the text names.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn at(spec: &ChainSpec, role: Role, materials: &dyn Materials) -> Result<Chain, Mistake> {
        let made = spec.links.iter().map(|(name, recipe)| {
            let codec = recipe.make(role, materials)?;
            Ok((*name, codec))
        });
        Ok(Chain {
            links: made.collect::<Result<_, Mistake>>()?,
            between: [Vec::new(), Vec::new()],
        })
    }

    /// One of these codecs.
    #[cfg(test)]
    pub(crate) fn of(links: Vec<(&'static str, Box<dyn Codec>)>) -> Chain {
        Chain {
            links,
            between: [Vec::new(), Vec::new()],
        }
    }

    /// Encodes `input` and appends the result, at most `max` bytes, to `out`, which an error
    /// leaves as it was.
    ///
    /// # Errors
    /// What went wrong, and in which codec.
    pub fn encode(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        let Chain { links, between } = self;
        let run =
            |codec: &mut dyn Codec, from: &[u8], to: &mut Vec<u8>| codec.encode(from, to, max);
        through(links.iter_mut(), between, input, out, run)
    }

    /// Decodes in the same way. Never writes more than `max` bytes, or than the input has,
    /// anywhere, whatever the input claims or expands to.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn decode(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        let Chain { links, between } = self;
        let run =
            |codec: &mut dyn Codec, from: &[u8], to: &mut Vec<u8>| codec.decode(from, to, max);
        through(links.iter_mut().rev(), between, input, out, run)
    }

    /// Decodes as [`Self::decode`] does, and keeps what each codec made: for people who look into
    /// a message.
    pub fn decode_stepwise(&mut self, input: &[u8], max: usize) -> Stepwise {
        let mut steps: Vec<Step> = Vec::with_capacity(self.links.len());
        for (codec, link) in self.links.iter_mut().rev() {
            let mut output = Vec::new();
            let source = steps.last().map_or(input, |step| &step.output[..]);
            if let Err(fault) = link.decode(source, &mut output, max) {
                let error = Some(CodecError { codec, fault });
                return Stepwise { steps, error };
            }
            steps.push(Step { codec, output });
        }
        Stepwise { steps, error: None }
    }
}

/// What became of a message, codec by codec.
#[derive(Debug)]
pub struct Stepwise {
    /// What the codecs made of it, in the order of decoding, up to the one that failed.
    pub steps: Vec<Step>,
    /// Why it went no further.
    pub error: Option<CodecError>,
}

/// What one codec made.
#[derive(Debug)]
pub struct Step {
    /// The codec's name.
    pub codec: &'static str,
    /// Its result; that of the last one is the plain message.
    pub output: Vec<u8>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codecs: Vec<_> = self.links.iter().map(|(name, _)| *name).collect();
        write!(f, "Chain({})", codecs.join("|"))
    }
}

/// Runs the links in their order; the last one writes to `out`.
fn through<'l>(
    mut links: impl ExactSizeIterator<Item = &'l mut (&'static str, Box<dyn Codec>)>,
    between: &mut [Vec<u8>; 2],
    input: &[u8],
    out: &mut Vec<u8>,
    run: impl Fn(&mut dyn Codec, &[u8], &mut Vec<u8>) -> Result<(), Fault>,
) -> Result<(), CodecError> {
    let start = out.len();
    let [from, to] = between;
    let mut is_first = true;
    while let Some((name, codec)) = links.next() {
        let source = if is_first { input } else { &from[..] };
        let is_last = links.len() == 0;
        let result = if is_last {
            run(&mut **codec, source, out)
        } else {
            to.clear();
            run(&mut **codec, source, to)
        };
        if let Err(fault) = result {
            out.truncate(start);
            return Err(CodecError { codec: name, fault });
        }
        std::mem::swap(from, to);
        is_first = false;
    }
    Ok(())
}
