//! What a client is told: its chain, and the keys and dictionaries that this names.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use corex_codec::enrol::{EnrolmentKey, EnrolmentKeyError};
use corex_codec::{
    ChainSpec, DeviceId, Devices, Dictionary, DictionaryError, KeySource, Keys, Materials, Mistake,
    Secret, SecretError, SecretFile, SecretReader,
};

/// The most bytes that are read of a dictionary's file.
const MAX_DICTIONARY: u64 = 1 << 20;
/// The most bytes that are read of a public key's file.
const MAX_PUBLIC: u64 = 16_384;

/// What makes a client. Its texts are those of corex's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The chain, as the server's line has it behind `NAME=`: `zstd(sip) | aead(…)`.
    pub chain: String,
    /// Where its packets go.
    pub server: SocketAddr,
    /// Keys that the chain names: `NAME=[ID:]SOURCE`.
    pub keys: Vec<String>,
    /// Dictionaries that it names: `NAME=/PATH`.
    pub dictionaries: Vec<String>,
    /// For `key=device`: what enrolments are sealed with, `[ID:]SOURCE`. The server's public key in
    /// PEM, or the secret that it shares with its devices.
    pub server_key: Option<String>,
    /// Of HPKE's two ciphers, take AES-256-GCM.
    pub prefers_aes: bool,
    /// What the device is called; `None`: a new UUID, and another one if the server says that it is
    /// taken.
    pub device: Option<DeviceId>,
}

impl Options {
    /// With this chain to this server, and nothing else.
    pub fn new(chain: impl Into<String>, server: SocketAddr) -> Options {
        Options {
            chain: chain.into(),
            server,
            keys: Vec::new(),
            dictionaries: Vec::new(),
            server_key: None,
            prefers_aes: false,
            device: None,
        }
    }

    /// Reads keys and dictionaries.
    pub(crate) fn load(&self) -> Result<Loaded, OptionsError> {
        let text = format!("{PREFIX}{}", self.chain);
        let spec = ChainSpec::parse(&text).map_err(|mistake| self.of_chain(&mistake))?;
        let server_key = match (&self.server_key, spec.is_by_device()) {
            (Some(text), true) => Some(Arc::new(server_key(text)?)),
            (None, false) => None,
            (None, true) => return Err(OptionsError::NoServerKey),
            (Some(_), false) => return Err(OptionsError::ServerKeyUnused),
        };
        Ok(Loaded {
            options: self.clone(),
            spec: Arc::new(spec),
            materials: Arc::new(Named {
                keys: keys(&self.keys)?,
                dictionaries: dictionaries(&self.dictionaries)?,
            }),
            server_key,
        })
    }

    /// A mistake with the place in what the caller wrote.
    fn of_chain(&self, mistake: &Mistake) -> OptionsError {
        let at = mistake.at.start.saturating_sub(PREFIX.len());
        OptionsError::Chain {
            column: 1 + self.chain.get(..at).map_or(0, |text| text.chars().count()),
            mistake: mistake.to_string(),
        }
    }
}

/// Makes a chain's text of what stands behind its name.
const PREFIX: &str = "client(client)=";

/// Why a client can't be made, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The chain is wrong, or a key or dictionary that it names isn't there.
    #[error("the chain, column {column}: {mistake}")]
    Chain {
        /// From 1.
        column: usize,
        /// What is wrong with it, and what to do.
        mistake: String,
    },
    /// A key's line is wrong.
    #[error("the key {text}: {mistake}")]
    Key {
        /// The line.
        text: String,
        /// What is wrong with it.
        mistake: Mistake,
    },
    /// Two keys have one ID.
    #[error("the key {0} is there twice with one ID: write another ID in front, NAME=ID:SOURCE")]
    TwoKeys(String),
    /// A key can't be read.
    #[error("the key {text}: {reason}")]
    Secret {
        /// The line.
        text: String,
        /// Why not.
        reason: SecretError,
    },
    /// A file can't be read.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        reason: std::io::Error,
    },
    /// The dictionary's line is wrong.
    #[error("the dictionary {0}: its form is NAME=/PATH")]
    DictionaryLine(String),
    /// The file is no dictionary.
    #[error("the dictionary {text}: {reason}")]
    Dictionary {
        /// The line.
        text: String,
        /// Why not.
        reason: DictionaryError,
    },
    /// Enrolments can't be sealed.
    #[error(
        "the chain says key=device, and there is nothing to enrol with: name the server's public key \
         (what `corex keys public` prints) or the secret that it shares with its devices"
    )]
    NoServerKey,
    /// Nothing enrols.
    #[error("there is a key to enrol with, but the chain doesn't say key=device: leave one out")]
    ServerKeyUnused,
    /// It isn't what enrolments are sealed with.
    #[error("the server's key {text}: {reason}")]
    ServerKey {
        /// The line.
        text: String,
        /// Why not.
        reason: EnrolmentKeyError,
    },
    /// There are no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
}

/// Options with what they name: clients are made of it, one or a thousand.
pub(crate) struct Loaded {
    pub options: Options,
    pub spec: Arc<ChainSpec>,
    pub materials: Arc<Named>,
    pub server_key: Option<Arc<EnrolmentKey>>,
}

impl Loaded {
    /// That a chain can't be made of it.
    pub fn of_chain(&self, mistake: &Mistake) -> OptionsError {
        self.options.of_chain(mistake)
    }
}

/// Keys and dictionaries by name.
pub(crate) struct Named {
    keys: HashMap<String, Arc<Keys>>,
    dictionaries: HashMap<String, Vec<Arc<Dictionary>>>,
}

/// The same, with the keys of one device.
pub(crate) struct WithDevice<'n> {
    pub named: &'n Named,
    pub devices: Arc<dyn Devices>,
}

impl Materials for WithDevice<'_> {
    fn keys(&self, name: &str) -> Option<Arc<Keys>> {
        self.named.keys.get(name).cloned()
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        let own = self.named.dictionaries.get(name).cloned();
        own.or_else(|| Dictionary::shipped(name))
    }

    fn devices(&self) -> Option<Arc<dyn Devices>> {
        Some(Arc::clone(&self.devices))
    }
}

fn secret(text: &str, line: &str) -> Result<(String, Secret), OptionsError> {
    let file = SecretFile::parse(line).map_err(|mistake| OptionsError::Key {
        text: text.to_owned(),
        mistake,
    })?;
    let reader = SecretReader {
        open: &|path| File::open(path),
        user: own_user(),
    };
    let read = file.read(&reader).map_err(|reason| OptionsError::Secret {
        text: text.to_owned(),
        reason,
    })?;
    Ok((file.name, read))
}

/// Whom this process runs as: who owns what it makes.
fn own_user() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |found| found.uid())
}

fn keys(lines: &[String]) -> Result<HashMap<String, Arc<Keys>>, OptionsError> {
    let mut by_name: HashMap<String, Vec<Secret>> = HashMap::new();
    for line in lines {
        let (name, secret) = secret(line, line)?;
        by_name.entry(name).or_default().push(secret);
    }
    let made = by_name.into_iter().map(|(name, secrets)| {
        let keys = Keys::new(secrets).ok_or_else(|| OptionsError::TwoKeys(name.clone()))?;
        Ok((name, Arc::new(keys)))
    });
    made.collect()
}

fn dictionaries(lines: &[String]) -> Result<HashMap<String, Vec<Arc<Dictionary>>>, OptionsError> {
    let mut all: HashMap<String, Vec<Arc<Dictionary>>> = HashMap::new();
    for line in lines {
        let (name, path) = line
            .split_once('=')
            .ok_or_else(|| OptionsError::DictionaryLine(line.clone()))?;
        let bytes = read(path, MAX_DICTIONARY + 1)?;
        let made = Dictionary::new(bytes).map_err(|reason| OptionsError::Dictionary {
            text: line.clone(),
            reason,
        })?;
        let named = all.entry(name.trim().to_owned()).or_default();
        named.push(Arc::new(made));
    }
    Ok(all)
}

fn read(path: &str, max: u64) -> Result<Vec<u8>, OptionsError> {
    let mut bytes = Vec::new();
    File::open(path.trim())
        .and_then(|file| file.take(max).read_to_end(&mut bytes))
        .map_err(|reason| OptionsError::File {
            path: path.to_owned(),
            reason,
        })?;
    Ok(bytes)
}

/// A public key may be in anybody's file; what is shared must be as secret as other keys.
fn server_key(text: &str) -> Result<EnrolmentKey, OptionsError> {
    let line = format!("server={text}");
    let file = SecretFile::parse(&line).map_err(|mistake| OptionsError::Key {
        text: text.to_owned(),
        mistake,
    })?;
    let public = match &file.source {
        KeySource::File(path) => {
            let bytes = read(&path.to_string_lossy(), MAX_PUBLIC)?;
            let is_public = bytes
                .trim_ascii_start()
                .starts_with(b"-----BEGIN PUBLIC KEY");
            is_public.then_some(bytes)
        }
        KeySource::Environment(_) | KeySource::Credential(_) => None,
    };
    let secret = match public {
        Some(bytes) => Secret::new(file.id, &bytes),
        None => secret(text, &line)?.1,
    };
    EnrolmentKey::new(&secret).map_err(|reason| OptionsError::ServerKey {
        text: text.to_owned(),
        reason,
    })
}
