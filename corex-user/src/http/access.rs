//! Whom the server answers: by what name it is asked, and who asks.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::http::uri::Authority;
use subtle::ConstantTimeEq as _;

/// The fewest characters of a token: 128 bits in hexadecimal digits are 32.
const MIN_TOKEN: usize = 16;
/// The most bytes of a file with a secret.
const MAX_SECRET: u64 = 4096;
/// Bits of a mode that let others read or write.
const OTHERS: u32 = 0o077;

/// Whom the server answers.
#[derive(Clone, Debug, Default)]
pub struct HttpAccess {
    /// The names and addresses that it may be asked by, beside `localhost` and the address that the
    /// connection came to. A web page whose name leads to that address (DNS rebinding) asks by
    /// its own.
    pub names: Vec<String>,
    /// What a client must show; `None`: nothing.
    pub token: Option<Token>,
}

impl HttpAccess {
    /// Whether a request may name its host (RFC 9110 §7.2, `host` or `host:port`) so, on a
    /// connection to `local`.
    pub(super) fn is_ours(&self, host: &[u8], local: IpAddr) -> bool {
        let Ok(authority) = Authority::try_from(host) else {
            return false;
        };
        // `user@host` has no business there.
        if host.contains(&b'@') {
            return false;
        }
        let host = plain(authority.host());
        match host.parse::<IpAddr>() {
            Ok(address) if address.to_canonical() == local.to_canonical() => true,
            _ => {
                host.eq_ignore_ascii_case("localhost")
                    || self
                        .names
                        .iter()
                        .any(|name| plain(name).eq_ignore_ascii_case(host))
            }
        }
    }
}

/// A host without brackets and the dot of the root.
fn plain(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = inner.unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

/// What a client shows to be let in: a bearer token (RFC 6750 §2.1).
#[derive(Clone)]
pub struct Token(Box<[u8]>);

impl Token {
    /// Reads the token in a file, without the line's end.
    ///
    /// # Errors
    /// When the file can't be read, others than its owner may read it, it isn't ours or root's, or
    /// it holds no token.
    pub fn read(path: &Path) -> io::Result<Token> {
        let content = read_secret(path)?;
        let token = content.trim_ascii();
        if token.len() < MIN_TOKEN {
            return refused("a token has from 16 to 4096 characters: openssl rand -hex 32");
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return refused("a token has letters, digits and signs alone, in one line");
        }
        Ok(Token(token.into()))
    }

    /// Whether the value of Authorization shows it. Takes as long for any value of its length.
    pub(super) fn is_shown(&self, authorization: &[u8]) -> bool {
        const SCHEME: &[u8] = b"bearer ";
        match authorization.split_at_checked(SCHEME.len()) {
            Some((scheme, shown)) if scheme.eq_ignore_ascii_case(SCHEME) => {
                shown.trim_ascii().ct_eq(&self.0).into()
            }
            _ => false,
        }
    }
}

impl std::fmt::Debug for Token {
    /// A secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Reads a file whose content is a secret.
///
/// # Errors
/// When the file can't be read, others than its owner may read it, it isn't ours or root's, or it
/// has more than 4096 bytes.
fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    secret_in(File::open(path)?)
}

/// The secret in a file that is open.
///
/// # Errors
/// When it is no regular file, others than its owner may read it, it isn't ours or root's, or it has
/// more than 4096 bytes.
pub fn secret_in(file: File) -> io::Result<Vec<u8>> {
    let found = file.metadata()?;
    if !found.is_file() {
        return refused("it is no regular file");
    }
    if found.mode() & OTHERS != 0 {
        return refused("others than its owner may read or write it: chmod 600");
    }
    let owner = found.uid();
    if owner != 0 && owner != nix::unistd::Uid::effective().as_raw() {
        return refused("it belongs to neither root nor the user that corex runs as");
    }
    let mut content = Vec::new();
    file.take(MAX_SECRET + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_SECRET {
        return refused("it has more than 4096 bytes");
    }
    Ok(content)
}

fn refused<T>(reason: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// Requests that were refused, by why.
#[derive(Debug, Default)]
pub struct HttpRefusals {
    /// Asked by a name that isn't the server's.
    pub host: AtomicU64,
    /// Without the token.
    pub token: AtomicU64,
    /// Sent by a web page.
    pub page: AtomicU64,
}

impl HttpRefusals {
    /// Adds one.
    pub(super) fn count(&self, why: fn(&Self) -> &AtomicU64) {
        why(self).fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn own_names_and_addresses_are_told_from_others() {
        let access = HttpAccess {
            names: vec!["edge.example".to_owned(), "[2001:db8::7]".to_owned()],
            token: None,
        };
        let v4 = "10.0.1.1".parse().unwrap();
        for host in [
            "10.0.1.1",
            "10.0.1.1:9470",
            "localhost",
            "LOCALHOST:1",
            "edge.example",
            "Edge.Example.:9470",
            "[2001:db8::7]:9470",
        ] {
            assert!(access.is_ours(host.as_bytes(), v4), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "10.0.1.2",
            "10.0.1.1.evil.example",
            "edge.example.evil.example",
            "localhost.evil.example",
            "edge.example@evil.example",
            "evil.example@edge.example",
            "edge.example, evil.example",
            "edge.example/",
            "\u{e9}dge.example",
        ] {
            assert!(!access.is_ours(host.as_bytes(), v4), "{host}");
        }
        let mapped = "::ffff:10.0.1.1".parse().unwrap();
        assert!(access.is_ours(b"10.0.1.1", mapped));
        assert!(access.is_ours(b"[::1]:9470", "::1".parse().unwrap()));
        assert!(!access.is_ours(b"[::2]", "::1".parse().unwrap()));
    }

    #[test]
    fn a_token_is_read_from_a_file_that_nobody_else_reads() {
        let path = std::env::temp_dir().join(format!("corex-token-{}", std::process::id()));
        let set = |content: &str, mode: u32| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Token::read(&path)
        };
        let token = set("0123456789abcdef\n", 0o600).unwrap();
        assert!(token.is_shown(b"Bearer 0123456789abcdef"));
        assert!(token.is_shown(b"bearer  0123456789abcdef "));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
        ] {
            assert!(!token.is_shown(wrong.as_bytes()), "{wrong}");
        }
        assert!(!format!("{token:?}").contains("0123"));
        assert!(set("0123456789abcdef", 0o400).is_ok());
        for (content, mode) in [
            ("0123456789abcdef", 0o640),
            ("0123456789abcdef", 0o604),
            ("short", 0o600),
            ("", 0o600),
            ("0123456789abcdef\nmore", 0o600),
        ] {
            assert!(set(content, mode).is_err(), "{content:?} {mode:o}");
        }
        assert!(set(&"x".repeat(5000), 0o600).is_err());
        fs::remove_file(&path).unwrap();
        assert!(Token::read(&path).is_err());
        assert!(Token::read(&std::env::temp_dir()).is_err());
    }
}
