//! Codecs one after the other.

mod parse;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;

use crate::codec::Role;
use crate::codec::{Codec, CodecError, Fault, append_all};
use crate::link::{Materials, Mistake, Recipe};

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

    /// The place of the codec whose key is the device's.
    fn by_device(&self) -> Option<usize> {
        self.links
            .iter()
            .position(|(_, recipe)| recipe.is_by_device())
    }

    /// Whether one of its codecs has the key of the device at the other side.
    pub fn is_by_device(&self) -> bool {
        self.by_device().is_some()
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
    /// The place of the codec whose key is the device's.
    by_device: Option<usize>,
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
            by_device: spec.by_device(),
        })
    }

    /// One of these codecs.
    #[cfg(test)]
    pub(crate) fn of(links: Vec<(&'static str, Box<dyn Codec>)>) -> Chain {
        Chain {
            links,
            between: [Vec::new(), Vec::new()],
            by_device: None,
        }
    }

    /// Whether one of its codecs has the key of the device at the other side: whoever runs it says
    /// who that is, by [`Self::encode_for`] and [`Self::decode_from`].
    pub fn is_by_device(&self) -> bool {
        self.by_device.is_some()
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
        self.encode_for(None, input, out, max)
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
        self.decode_from(None, input, out, max)
    }

    /// As [`Self::encode`], for the device at this address.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_for(
        &mut self,
        peer: Option<SocketAddr>,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        self.set_peer(peer);
        let Chain { links, between, .. } = self;
        through(links.iter_mut(), between, input, out, encoding(max))
    }

    /// As [`Self::decode`], from the device at this address.
    ///
    /// # Errors
    /// As [`Self::encode`]. After [`Fault::Enrolment`], [`Fault::UnknownDevice`],
    /// [`Fault::KeyPending`] and [`Fault::KeyExpired`], [`Self::stopped_at`] has what it stopped at.
    pub fn decode_from(
        &mut self,
        peer: Option<SocketAddr>,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        self.set_peer(peer);
        let Chain { links, between, .. } = self;
        through(links.iter_mut().rev(), between, input, out, decoding(max))
    }

    /// What the device's codec couldn't decode of `input`, directly after that: the codecs behind it
    /// are taken off.
    pub fn stopped_at<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        match self.by_device {
            Some(at) if at + 1 < self.links.len() => &self.between[0],
            _ => input,
        }
    }

    /// Encodes what isn't a message but a part of enrolment: only by the codecs behind the device's.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_control(
        &mut self,
        packet: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        let outside = self.by_device.map_or(0, |at| at + 1);
        let Chain { links, between, .. } = self;
        let links = links.get_mut(outside..).unwrap_or_default();
        if links.is_empty() {
            let too_long = |fault| CodecError {
                codec: "codec",
                fault,
            };
            return append_all(out, packet, max).map_err(too_long);
        }
        through(links.iter_mut(), between, packet, out, encoding(max))
    }

    /// Encodes a message that goes along with an enrolment: by the codecs before the device's and that
    /// one. [`Self::encode_control`] does the rest.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_rest(
        &mut self,
        peer: Option<SocketAddr>,
        message: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        self.set_peer(peer);
        let inside = self.by_device.map_or(self.links.len(), |at| at + 1);
        let Chain { links, between, .. } = self;
        let links = links.get_mut(..inside).unwrap_or_default();
        through(links.iter_mut(), between, message, out, encoding(max))
    }

    /// Decodes what [`Self::stopped_at`] had, or a message that came with an enrolment: by the
    /// device's codec and those before it.
    ///
    /// # Errors
    /// As [`Self::decode_from`].
    pub fn decode_rest(
        &mut self,
        peer: Option<SocketAddr>,
        message: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        self.set_peer(peer);
        let inside = self.by_device.map_or(self.links.len(), |at| at + 1);
        let Chain { links, between, .. } = self;
        let links = links.get_mut(..inside).unwrap_or_default();
        through(links.iter_mut().rev(), between, message, out, decoding(max))
    }

    /// Decodes as [`Self::decode_from`] does, and keeps what each codec made: for people who look
    /// into a message.
    pub fn decode_stepwise(
        &mut self,
        peer: Option<SocketAddr>,
        input: &[u8],
        max: usize,
    ) -> Stepwise {
        self.set_peer(peer);
        stepwise(&mut self.links, input, max)
    }

    /// The same for a message that came with an enrolment, as [`Self::decode_rest`] does.
    pub fn decode_rest_stepwise(
        &mut self,
        peer: Option<SocketAddr>,
        message: &[u8],
        max: usize,
    ) -> Stepwise {
        self.set_peer(peer);
        let inside = self.by_device.map_or(self.links.len(), |at| at + 1);
        stepwise(
            self.links.get_mut(..inside).unwrap_or_default(),
            message,
            max,
        )
    }

    fn set_peer(&mut self, peer: Option<SocketAddr>) {
        let at = self.by_device;
        if let Some((_, codec)) = at.and_then(|at| self.links.get_mut(at)) {
            codec.set_peer(peer);
        }
    }
}

fn encoding(max: usize) -> impl Fn(&mut dyn Codec, &[u8], &mut Vec<u8>) -> Result<(), Fault> {
    move |codec, from, to| codec.encode(from, to, max)
}

fn decoding(max: usize) -> impl Fn(&mut dyn Codec, &[u8], &mut Vec<u8>) -> Result<(), Fault> {
    move |codec, from, to| codec.decode(from, to, max)
}

fn stepwise(links: &mut [(&'static str, Box<dyn Codec>)], input: &[u8], max: usize) -> Stepwise {
    let mut steps: Vec<Step> = Vec::with_capacity(links.len());
    for (codec, link) in links.iter_mut().rev() {
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
