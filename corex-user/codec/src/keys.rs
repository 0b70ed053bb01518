//! Secrets: where they are read, and who holds them. They are overwritten when they go, and nothing
//! prints them.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use crate::link::{Materials, Mistake, Word, shown};

/// The most bytes of a secret: an ITV table of all characters that a phone writes fits.
const MAX_SECRET: u64 = 65_536;
/// What a chain calls the key of the device at the other side.
pub(crate) const DEVICE: &str = "device";
/// Bits of a mode that let others than the owner read or write.
const OTHERS: u32 = 0o077;
/// The same, but for the group: a credential of systemd's may be given to a service by an access
/// control list, whose mask shows there.
const OTHERS_OF_CREDENTIAL: u32 = 0o007;

/// A line that names a key: `NAME=[ID:]SOURCE`. Lines of one name make the set of [`Keys`] that is
/// valid at a time; the first is the one that encodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretFile {
    /// What chains call it.
    pub name: String,
    /// What messages call it: a receiver that has several tells them apart by it.
    pub id: u8,
    /// Where it is.
    pub source: KeySource,
}

/// Where a secret is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// In a file that only its owner can read.
    File(PathBuf),
    /// In a variable of the process's environment.
    Environment(String),
    /// In a credential that systemd passes: `LoadCredential=NAME:…` (systemd.exec(5)).
    Credential(String),
}

impl KeySource {
    /// The file it is in, where that is known without asking the environment.
    pub fn path(&self) -> Option<&Path> {
        match self {
            KeySource::File(path) => Some(path),
            KeySource::Environment(_) | KeySource::Credential(_) => None,
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::File(path) => write!(f, "the file {}", path.display()),
            KeySource::Environment(name) => write!(f, "the environment's {name}"),
            KeySource::Credential(name) => write!(f, "systemd's credential {name}"),
        }
    }
}

/// Why a secret can't be had.
#[derive(Debug, thiserror::Error)]
#[error("{source_text}: {reason}")]
pub struct SecretError {
    source_text: String,
    reason: io::Error,
}

impl SecretFile {
    /// Reads `NAME=[ID:]SOURCE`; without an ID it is 1.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<SecretFile, Mistake> {
        const HELP: &str = "its form is NAME=[ID:]file:PATH, env:VARIABLE or credential:NAME, as in \
                            \"edge=7:file:/etc/corex/edge-7.key\"";
        let whole = 0..text.len();
        let mistake = |at, what: &str| Err(Mistake::new(at, what, HELP));
        let Some((name, rest)) = text.split_once('=') else {
            return mistake(whole, "it names no source");
        };
        let start = name.len() + 1;
        let name = name.trim();
        if !is_name(name) {
            return mistake(0..start - 1, "a key's name has letters, digits, - and _");
        }
        if name == DEVICE {
            return Err(Mistake::new(
                0..start - 1,
                "`device` is what chains call the key that each device brings",
                "give the key another name",
            ));
        }
        let (id, source, start) = match rest.split_once(':') {
            Some((id, source)) if id.trim().bytes().all(|byte| byte.is_ascii_digit()) => {
                let Ok(id) = id.trim().parse::<u8>() else {
                    return mistake(start..start + id.len(), "an ID is a number from 0 to 255");
                };
                (id, source, start + rest.len() - source.len())
            }
            _ => (1, rest, start),
        };
        let source = match source.trim().split_once(':') {
            Some(("file", path)) if path.starts_with('/') => KeySource::File(path.into()),
            Some(("file", _)) => {
                return mistake(start..text.len(), "a file's path must be absolute");
            }
            Some(("env", name)) if is_variable(name) => KeySource::Environment(name.to_owned()),
            Some(("credential", name)) if is_credential(name) => {
                KeySource::Credential(name.to_owned())
            }
            _ => return mistake(start..text.len(), "this is no source of keys"),
        };
        Ok(SecretFile {
            name: name.to_owned(),
            id,
            source,
        })
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// When it isn't there, is empty or too long, or others could read it.
    pub fn read(&self, reader: &SecretReader<'_>) -> Result<Secret, SecretError> {
        let read = match &self.source {
            KeySource::File(path) => read_file(reader, path, OTHERS),
            KeySource::Environment(name) => std::env::var(name)
                .map(|value| Zeroizing::new(value.into_bytes()))
                .map_err(|_| io::Error::new(io::ErrorKind::NotFound, "there is no such variable")),
            KeySource::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(folder) => {
                    let path = Path::new(&folder).join(name);
                    read_file(reader, &path, OTHERS_OF_CREDENTIAL)
                }
                None => Err(refused(
                    "systemd passes none: see LoadCredential= in systemd.exec(5)",
                )),
            },
        };
        let secret = read.and_then(|bytes| match bytes.len() as u64 {
            0 => Err(refused("it is empty")),
            1..=MAX_SECRET => Ok(Secret { id: self.id, bytes }),
            _ => Err(refused("it is longer than 65536 bytes")),
        });
        secret.map_err(|reason| SecretError {
            source_text: self.source.to_string(),
            reason,
        })
    }
}

/// Whether a key, a dictionary or a chain may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.bytes().all(is_good)
}

fn is_variable(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(is_good)
}

/// Whether a credential may be called so: it becomes a file's name.
fn is_credential(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Who reads secrets.
pub struct SecretReader<'a> {
    /// Opens a file.
    pub open: &'a dyn Fn(&Path) -> io::Result<File>,
    /// The user, beside root, whose files are good.
    pub user: u32,
}

fn read_file(
    reader: &SecretReader<'_>,
    path: &Path,
    others: u32,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = (reader.open)(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(refused("it is no regular file"));
    }
    if found.mode() & others != 0 {
        return Err(refused(
            "others than its owner may read or write it: chmod 600",
        ));
    }
    let owner = found.uid();
    if owner != 0 && owner != reader.user {
        return Err(refused(
            "it belongs to neither root nor the user that corex runs as",
        ));
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET as usize + 2));
    file.take(MAX_SECRET + 1).read_to_end(&mut bytes)?;
    Ok(Zeroizing::new(bytes.to_vec()))
}

/// A secret, as it was read.
pub struct Secret {
    id: u8,
    bytes: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// One of these bytes.
    pub fn new(id: u8, bytes: &[u8]) -> Secret {
        Secret {
            id,
            bytes: Zeroizing::new(bytes.to_vec()),
        }
    }

    /// What messages call it.
    pub(crate) fn id(&self) -> u8 {
        self.id
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A key of 32 bytes, which stand there as they are, in hexadecimal digits or in base64.
    pub fn of_32_bytes(&self) -> Option<Zeroizing<[u8; 32]>> {
        of_32_bytes(&self.bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, …)", self.id)
    }
}

/// Seconds since 1970.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The keys of one name: those that are valid at a time. The first encodes.
pub struct Keys {
    first: Key,
    others: Vec<Key>,
    clock: Clock,
    judges_age: bool,
}

impl Keys {
    /// A set of them; `None` if it is empty, or has an id twice.
    pub fn new(secrets: Vec<Secret>) -> Option<Keys> {
        let clock = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            since.map_or(0, |since| since.as_secs())
        };
        Self::with_clock(secrets, Arc::new(clock))
    }

    /// As [`Self::new`], by another clock.
    pub(crate) fn with_clock(secrets: Vec<Secret>, clock: Clock) -> Option<Keys> {
        let mut keys = secrets.into_iter().map(Key::new);
        let first = keys.next()?;
        let others: Vec<Key> = keys.collect();
        let ids = || std::iter::once(&first).chain(&others).map(|key| key.id);
        let is_unique = ids().all(|id| ids().filter(|other| *other == id).count() == 1);
        is_unique.then_some(Keys {
            first,
            others,
            clock,
            judges_age: true,
        })
    }

    /// The same keys for somebody who looks at captures: messages may be as old as they like, and
    /// decode as often as somebody looks. Never for a receiver, who would take a replay for new.
    pub fn for_captures(self) -> Keys {
        Keys {
            judges_age: false,
            ..self
        }
    }

    /// Those that a configuration calls so.
    pub(crate) fn find(materials: &dyn Materials, name: &Word) -> Result<Arc<Keys>, Mistake> {
        materials.keys(&name.text).ok_or_else(|| {
            Mistake::new(
                name.at.clone(),
                format!("there is no key {}", shown(&name.text)),
                format!(
                    "add the line: modparam(\"codec\", \"key\", \"{}=file:/PATH\")",
                    name.text
                ),
            )
        })
    }

    /// The one that encodes.
    pub(crate) fn first(&self) -> &Key {
        &self.first
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether what is old, or was received before, is refused.
    pub(crate) fn judges_age(&self) -> bool {
        self.judges_age
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

/// One of them.
pub(crate) struct Key {
    pub id: u8,
    bytes: Zeroizing<Vec<u8>>,
}

impl Key {
    fn new(secret: Secret) -> Key {
        Key {
            id: secret.id,
            bytes: secret.bytes,
        }
    }

    /// The bytes of the file, without the end of its line.
    pub fn bytes(&self) -> &[u8] {
        without_line_end(&self.bytes)
    }

    /// A key of 32 bytes, which stand there as they are, in hexadecimal digits or in base64.
    pub fn of_32_bytes(&self) -> Option<Zeroizing<[u8; 32]>> {
        of_32_bytes(&self.bytes)
    }
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    match bytes {
        // Of 32 bytes, the last may be anything.
        bytes if bytes.len() == 32 => bytes,
        [rest @ .., b'\r', b'\n'] | [rest @ .., b'\n'] if !rest.is_empty() => rest,
        bytes => bytes,
    }
}

fn of_32_bytes(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    let plain = without_line_end(bytes);
    let text = bytes.trim_ascii();
    let is_done = match text.len() {
        _ if plain.len() == 32 => {
            key.copy_from_slice(plain);
            true
        }
        64 => HEXLOWER_PERMISSIVE.decode_mut(text, &mut key[..]).is_ok(),
        44 => {
            // The decoder wants room for what padding may stand for.
            let mut room = Zeroizing::new([0; 33]);
            let len = BASE64.decode_mut(text, &mut room[..]).ok();
            key.copy_from_slice(&room[..32]);
            len == Some(32)
        }
        _ => false,
    };
    is_done.then_some(key)
}
