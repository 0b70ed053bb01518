//! `corex decode` and `corex encode`: a chain at work on single messages, outside the daemon: for
//! captures, for scripts, and for Wireshark, whose dissector asks line by line.

mod lines;

#[cfg(test)]
mod tests;

pub use lines::serve;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use corex_codec::{Chain, CodecError, Role, Stepwise};
use corex_script::function::{ParameterKind, PartMistake};
use corex_script::load_parameters;
use corex_script::settings::{NamedText, Settings};
use data_encoding::HEXLOWER_PERMISSIVE;

use crate::chain::{CHAIN, ChainId, Chains, DICTIONARY, KEY, Unusable, names};
use crate::module::MODULES;

/// The module that chains belong to.
const MODULE: &str = "codec";
/// The most bytes of a message that are read: what comes by a stream may be longer than a datagram.
pub const MAX_MESSAGE: usize = 1 << 20;

/// Where a chain and what it names come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// A configuration, of which only what it sets of the module codec counts.
    pub config: Option<PathBuf>,
    /// The chain's name; not needed where there is one only.
    pub chain: Option<String>,
    /// `NAME=CODEC | …`
    pub chain_line: Option<String>,
    /// `NAME=[ID:]SOURCE`, instead of the configuration's keys of these names.
    pub keys: Vec<String>,
    /// `NAME=/PATH`, in the same way.
    pub dictionaries: Vec<String>,
}

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
#[derive(Debug)]
pub struct Decoder {
    name: String,
    codecs: Vec<&'static str>,
    server: Chain,
    client: Chain,
    max: usize,
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
        let (settings, id, name) = chosen(source)?;
        let chains = Chains::for_captures(&settings).map_err(|unusable| said(&unusable))?;
        Ok(Decoder {
            name,
            codecs: chains.codecs(id).collect(),
            server: chains.at(id, Role::Server)?,
            client: chains.at(id, Role::Client)?,
            max: settings.codec.max_output as usize,
        })
    }

    /// Decodes a message.
    pub fn decode(&mut self, towards: Towards, message: &[u8]) -> Decoded {
        let mut by = |towards: Towards| Decoded {
            towards,
            made: match towards {
                Towards::Client => self.client.decode_stepwise(message, self.max),
                Towards::Server | Towards::Either => self.server.decode_stepwise(message, self.max),
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

/// Encodes a message with the chain that is meant. `Err` within is the chain's.
///
/// # Errors
/// What is wrong with the configuration, the chain, or what it names.
pub fn encode(
    source: &Source,
    towards: Towards,
    message: &[u8],
) -> anyhow::Result<Result<Vec<u8>, CodecError>> {
    let (settings, id, _) = chosen(source)?;
    let chains = Chains::load(&settings).map_err(|unusable| said(&unusable))?;
    let role = match towards {
        Towards::Client => Role::Server,
        Towards::Server | Towards::Either => Role::Client,
    };
    let mut out = Vec::new();
    let done = chains
        .at(id, role)?
        .encode(message, &mut out, settings.codec.max_output as usize);
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

/// What is set of the module codec, and the chain that is meant.
fn chosen(source: &Source) -> anyhow::Result<(Settings, ChainId, String)> {
    let mut settings = match &source.config {
        Some(path) => {
            let (report, settings) = load_parameters(path, MODULES, MODULE);
            if report.has_errors() {
                bail!(
                    "the configuration has errors\n{}",
                    report.render(false).trim_end()
                );
            }
            settings
        }
        None => Settings::default(),
    };
    let codec = &mut settings.codec;
    let (keys, dictionaries) = (codec.keys.split_off(0), codec.dictionaries.split_off(0));
    for key in &source.keys {
        set(&mut settings, KEY, key)?;
    }
    for dictionary in &source.dictionaries {
        set(&mut settings, DICTIONARY, dictionary)?;
    }
    add_others(&mut settings.codec.keys, keys);
    add_others(&mut settings.codec.dictionaries, dictionaries);
    if let Some(line) = &source.chain_line {
        settings.codec.chains.clear();
        set(&mut settings, CHAIN, line)?;
    }
    let name = match (&source.chain, &settings.codec.chains[..]) {
        (Some(name), _) => name.clone(),
        (None, [only]) => only.name.clone(),
        (None, []) => bail!("there is no chain: name a codec, or one's configuration or line"),
        (None, several) => {
            let names: Vec<_> = several.iter().map(|chain| &*chain.name).collect();
            bail!("there are several chains, name one: {}", names.join(", "))
        }
    };
    let Some(id) = ChainId::find(&settings, name.as_bytes()) else {
        let known: Vec<_> = names(&settings).collect();
        bail!(
            "there is no chain `{name}`: expected one of {}",
            known.join(", ")
        );
    };
    Ok((settings, id, name))
}

/// Adds the configuration's lines to those of the command line, but for the names that these have.
fn add_others(own: &mut Vec<NamedText>, configured: Vec<NamedText>) {
    let is_own = |line: &NamedText| own.iter().any(|known| known.name == line.name);
    let others: Vec<_> = configured
        .into_iter()
        .filter(|line| !is_own(line))
        .collect();
    own.extend(others);
}

/// Sets a parameter of the module codec.
fn set(settings: &mut Settings, name: &'static str, text: &str) -> anyhow::Result<()> {
    let module = MODULES.find(MODULE);
    let mut parameters = module.into_iter().flat_map(|module| module.parameters);
    let kind = parameters
        .find(|parameter| parameter.name == name)
        .map(|parameter| parameter.kind);
    if let Some(ParameterKind::Notation { set }) = kind
        && let Err(PartMistake { part, what, help }) = set(settings, text)
    {
        let place = text.get(part).unwrap_or_default();
        bail!("{name} \"{text}\": at \"{place}\": {what}; {help}");
    }
    Ok(())
}

fn said(unusable: &Unusable) -> anyhow::Error {
    let Unusable {
        parameter,
        what,
        help,
        ..
    } = unusable;
    anyhow::anyhow!("{parameter}: {what}; {help}")
}
