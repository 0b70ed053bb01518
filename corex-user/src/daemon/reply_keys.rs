//! The keys that replies are told by: those in a file, or one of this process.

use std::{io, path::PathBuf};

use anyhow::Context as _;

use crate::{http::secret_in, kernel::root_files};
use corex_script::settings;
use corex_sip::compose::ReplyKeys;

/// Bytes of a key that is made here: as many as SHA-256 has.
pub const LEN: usize = 32;

/// Finds the keys for one configuration after the other.
pub struct Keyring {
    /// Made once: neither a reload nor a successor must lose replies that are on their way.
    own: ReplyKeys,
    secret: [u8; LEN],
    /// What was read last, and where.
    last: Option<(PathBuf, ReplyKeys)>,
}

impl Keyring {
    /// With a key that nobody else knows.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn new() -> anyhow::Result<Keyring> {
        let mut key = [0; LEN];
        getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("random bytes: {error}"))?;
        Ok(Self::received(key))
    }

    /// With the key of a predecessor.
    pub fn received(secret: [u8; LEN]) -> Keyring {
        Keyring {
            own: ReplyKeys::of_bytes(&secret),
            secret,
            last: None,
        }
    }

    /// The key that nobody else knows, for a successor.
    pub fn secret(&self) -> [u8; LEN] {
        self.secret
    }

    /// The keys that a configuration asks for; `None`: it wants no check.
    ///
    /// # Errors
    /// When the file that it names can't be read, or has no keys. One that was read at the start,
    /// before privileges were given up, and can't be read any more is as it was.
    pub fn of(&mut self, settings: &settings::Corex) -> anyhow::Result<Option<ReplyKeys>> {
        if !settings.reply_check {
            return Ok(None);
        }
        let Some(path) = &settings.reply_key_file else {
            return Ok(Some(self.own.clone()));
        };
        let what = || format!("read the keys in {} (reply_key_file)", path.display());
        let keys = match (root_files::open(path).and_then(secret_in), &self.last) {
            (Err(error), Some((known, keys)))
                if error.kind() == io::ErrorKind::PermissionDenied && known == path =>
            {
                tracing::warn!(
                    "{}: {error}; the keys stay as they were at the start",
                    what()
                );
                keys.clone()
            }
            (read, _) => ReplyKeys::parse(&read.with_context(what)?).with_context(what)?,
        };
        self.last = Some((path.clone(), keys.clone()));
        Ok(Some(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    #[test]
    fn a_file_that_others_may_read_or_that_has_no_key_is_refused_by_its_name() {
        let path = std::env::temp_dir().join(format!("corex-keys-{}", std::process::id()));
        let settings = settings::Corex {
            reply_key_file: Some(path.clone()),
            ..Default::default()
        };
        let mut keyring = Keyring::new().unwrap();
        let cases = [
            ("0123456789abcdef\n", 0o644, Some("chmod 600")),
            ("short\n", 0o600, Some("line 1: a key has 16 characters")),
            ("# nothing\n", 0o600, Some("has no key")),
            ("# two\n0123456789abcdef\nfedcba9876543210\n", 0o600, None),
        ];
        for (text, mode, expected) in cases {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match (keyring.of(&settings), expected) {
                (Ok(keys), None) => assert!(keys.is_some()),
                (Err(error), Some(expected)) => {
                    let error = format!("{error:#}");
                    assert!(error.contains(expected), "{error}");
                    assert!(error.contains(path.to_str().unwrap()), "{error}");
                }
                (outcome, _) => panic!("{text}: {outcome:?}"),
            }
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn no_check_needs_no_key() {
        let settings = settings::Corex {
            reply_check: false,
            reply_key_file: Some("/nonexistent".into()),
            ..Default::default()
        };
        assert!(Keyring::new().unwrap().of(&settings).unwrap().is_none());
    }
}
