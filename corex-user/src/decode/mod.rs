//! `corex decode` and `corex encode`: a chain at work on single messages, outside the daemon: for
//! captures, for scripts, and for Wireshark, whose dissector asks line by line.

mod devices;
mod lines;
mod source;

#[cfg(test)]
mod tests;

pub use devices::MAX_KEYS;
pub use lines::serve;
pub use source::Source;

use std::fmt;
use std::io::Read;

use anyhow::{Context as _, bail};
use corex_codec::enrol::Packet;
use corex_codec::{Chain, CodecError, Fault, Role, Step, Stepwise};
use data_encoding::HEXLOWER_PERMISSIVE;

use devices::SOMEBODY;
use source::Opened;

/// The most bytes of a message that are read: what comes by a stream may be longer than a datagram.
pub const MAX_MESSAGE: usize = 1 << 20;
/// The first byte of a message that doesn't name its device: docs/enrolment.md.
const BY_ADDRESS: u8 = 0xc6;

/// Towards whom a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Towards {
    /// Towards the server: the side that doesn't send first.
    Server,
    /// Towards the client.
    Client,
    /// One of the two, or either: some chains make the same both ways.
    #[default]
    Either,
}

impl Towards {
    const ALL: [Towards; 3] = [Towards::Server, Towards::Client, Towards::Either];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Towards::Server => "to-server",
            Towards::Client => "to-client",
            Towards::Either => "either",
        }
    }

    fn find(name: &[u8]) -> Option<Towards> {
        Self::ALL
            .into_iter()
            .find(|it| it.name().as_bytes() == name)
    }
}

impl fmt::Display for Towards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads messages of a chain, whichever way they went, however old they are, and as often as
/// somebody asks.
pub struct Decoder {
    opened: Opened,
    server: Chain,
    client: Chain,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({:?})", self.opened.spec)
    }
}

/// What became of a message.
#[derive(Debug)]
pub struct Decoded {
    /// Which way it went, as far as it shows.
    pub towards: Towards,
    /// What each codec made of it.
    pub made: Stepwise,
}

impl Decoded {
    /// The plain message.
    ///
    /// # Errors
    /// Why there is none.
    pub fn plain(&self) -> Result<&[u8], CodecError> {
        match (self.made.error, self.made.steps.last()) {
            (Some(error), _) => Err(error),
            (None, last) => Ok(last.map_or(&[], |step| &step.output)),
        }
    }
}

impl Decoder {
    /// One for the chain that is meant.
    ///
    /// # Errors
    /// What is wrong with the configuration, the chain, or what it names.
    pub fn open(source: &Source) -> anyhow::Result<Decoder> {
        let opened = source::open(source)?;
        Ok(Decoder {
            server: opened.chain(Role::Server)?,
            client: opened.chain(Role::Client)?,
            opened,
        })
    }

    /// Decodes a message. What belongs to enrolment is a step, `enrolment`, `answer` or `notice`, which
    /// leaves the message that came with it, or nothing; the key that it brings is kept, if it can be
    /// opened.
    pub fn decode(&mut self, towards: Towards, message: &[u8]) -> Decoded {
        let mut by = |towards: Towards| Decoded {
            towards,
            made: match towards {
                Towards::Client => run(&self.opened, &mut self.client, message),
                Towards::Server | Towards::Either => run(&self.opened, &mut self.server, message),
            },
        };
        if towards != Towards::Either {
            return by(towards);
        }
        let (server, client) = (by(Towards::Server), by(Towards::Client));
        match (server.made.error, client.made.error) {
            (None, Some(_)) => server,
            (Some(_), None) => client,
            (one, other) if one == other => Decoded {
                towards: Towards::Either,
                ..server
            },
            // The right way leads further.
            _ if client.made.steps.len() > server.made.steps.len() => client,
            _ => server,
        }
    }
}

/// Decodes a message, with what came before it in its packet.
fn run(opened: &Opened, chain: &mut Chain, message: &[u8]) -> Stepwise {
    let mut made = with_any_key(opened, message, |message| {
        chain.decode_stepwise(Some(SOMEBODY), message, opened.max)
    });
    let Some(CodecError {
        codec,
        fault: Fault::Enrolment,
    }) = made.error
    else {
        return made;
    };
    let packet = made.steps.last().map_or(message, |step| &step.output[..]);
    let read = match Packet::read(packet) {
        Ok(read) => read,
        Err(fault) => {
            made.error = Some(CodecError { codec, fault });
            return made;
        }
    };
    let rest = match read {
        Packet::Enrolment { message } => {
            let enroller = opened.enroller.as_ref();
            // Whoever hasn't the key to open it still sees that it is there.
            if let Some(Ok(enrolled)) = enroller.map(|it| it.look(packet, u64::MAX)) {
                opened.devices.add(enrolled.into_key());
            }
            message.to_vec()
        }
        Packet::Answer | Packet::Notice => Vec::new(),
    };
    made.error = None;
    made.steps.push(Step {
        codec: read.name(),
        output: rest.clone(),
    });
    if !rest.is_empty() {
        let inner = with_any_key(opened, &rest, |rest| {
            chain.decode_rest_stepwise(Some(SOMEBODY), rest, opened.max)
        });
        made.steps.extend(inner.steps);
        made.error = inner.error;
    }
    made
}

/// Decodes with one key of a device after the other, where the message is sealed with one and
/// doesn't say with whose.
fn with_any_key(
    opened: &Opened,
    message: &[u8],
    mut decode: impl FnMut(&[u8]) -> Stepwise,
) -> Stepwise {
    opened.devices.try_number(0);
    let first = decode(message);
    let is_closed = |made: &Stepwise| {
        let sealed = made.steps.last().map_or(message, |step| &step.output);
        let fault = made.error.map(|error| error.fault);
        fault == Some(Fault::NotAuthentic) && sealed.first() == Some(&BY_ADDRESS)
    };
    if !is_closed(&first) {
        return first;
    }
    for number in 1..opened.devices.len() {
        opened.devices.try_number(number);
        let next = decode(message);
        if next.steps.len() > first.steps.len() {
            return next;
        }
        if !is_closed(&next) {
            break;
        }
    }
    first
}

/// Encodes a message with the chain that is meant. `Err` within is the chain's. Where the key is the
/// device's, it is the first of those that are given.
///
/// # Errors
/// What is wrong with the configuration, the chain, or what it names.
pub fn encode(
    source: &Source,
    towards: Towards,
    message: &[u8],
) -> anyhow::Result<Result<Vec<u8>, CodecError>> {
    let opened = source::open(source)?;
    let role = match towards {
        Towards::Client => Role::Server,
        Towards::Server | Towards::Either => Role::Client,
    };
    let mut out = Vec::new();
    let mut chain = opened.chain(role)?;
    let done = chain.encode_for(Some(SOMEBODY), message, &mut out, opened.max);
    Ok(done.map(|()| out))
}

/// Reads a message, as it is or in hexadecimal digits, between which blanks and colons may stand.
///
/// # Errors
/// When it can't be read, is too long, or isn't digits.
pub fn message(input: &mut dyn Read, is_hex: bool) -> anyhow::Result<Vec<u8>> {
    // Room for two digits and a colon.
    let max = MAX_MESSAGE * if is_hex { 3 } else { 1 };
    let mut bytes = Vec::new();
    input.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        bail!("it is longer than {MAX_MESSAGE} bytes");
    }
    if is_hex {
        bytes.retain(|byte| !byte.is_ascii_whitespace() && *byte != b':');
        bytes = HEXLOWER_PERMISSIVE
            .decode(&bytes)
            .context("these are no pairs of hexadecimal digits")?;
    }
    Ok(bytes)
}
