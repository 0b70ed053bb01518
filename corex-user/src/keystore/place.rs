//! Where keys are kept, as a configuration writes it.

use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

/// `memory`, `redis://…`, `rediss://…` or `memcached://…`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorePlace {
    /// In this process alone.
    Memory,
    /// In a server.
    Server(ServerPlace),
}

/// A server that instances share.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerPlace {
    /// Which one.
    pub kind: ServerKind,
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user, where one is named.
    pub user: Option<String>,
    /// The password, where it stands in the line.
    pub password: Option<Zeroizing<String>>,
    /// The number of redis' database.
    pub database: u32,
}

/// What a server speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerKind {
    /// Redis.
    Redis,
    /// Redis within TLS.
    RedisTls,
    /// Memcached's text protocol.
    Memcached,
}

/// What is wrong with the text, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlaceMistake {
    /// The part.
    pub part: Range<usize>,
    /// What is wrong.
    pub what: &'static str,
}

impl StorePlace {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<StorePlace, PlaceMistake> {
        if text == "memory" {
            return Ok(StorePlace::Memory);
        }
        let mistake = |part, what| Err(PlaceMistake { part, what });
        let whole = 0..text.len();
        let Some((scheme, rest)) = text.split_once("://") else {
            return mistake(whole, "this is no keystore");
        };
        let (kind, port) = match scheme {
            "redis" => (ServerKind::Redis, 6379),
            "rediss" => (ServerKind::RedisTls, 6379),
            "memcached" => (ServerKind::Memcached, 11211),
            _ => return mistake(0..scheme.len(), "there is no keystore of this kind"),
        };
        let start = scheme.len() + 3;
        let (login, rest, start) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest, start + login.len() + 1),
            None => (None, rest, start),
        };
        let (server, database) = match rest.split_once('/') {
            Some((server, "")) => (server, None),
            Some((server, database)) => (server, Some(database)),
            None => (rest, None),
        };
        let at_server = start..start + server.len();
        let after = start + server.len()..text.len();
        let (host, port) = match server.rsplit_once(':') {
            // An address of IPv6 without a port.
            Some(_) if server.ends_with(']') => (server, port),
            Some((host, number)) => match number.parse::<u16>() {
                Ok(number) if number > 0 => (host, number),
                _ => return mistake(at_server, "the port is none"),
            },
            None => (server, port),
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_host = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(is_good),
        };
        if !is_host {
            return mistake(at_server, "the host is no name or address");
        }
        let is_redis = kind != ServerKind::Memcached;
        if !is_redis && (login.is_some() || database.is_some()) {
            return mistake(whole, "memcached has neither users nor databases");
        }
        let database = match database.map(str::parse::<u32>) {
            None => 0,
            Some(Ok(database)) => database,
            Some(Err(_)) => return mistake(after, "a database of redis is a number"),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
        {
            None => (None, None),
            Some((user, password)) => {
                let (Some(user), Some(password)) = (decoded(user), decoded(password)) else {
                    return mistake(whole, "the user or the password has a % without two digits");
                };
                (
                    Some(user.to_string()).filter(|user| !user.is_empty()),
                    Some(password).filter(|password| !password.is_empty()),
                )
            }
        };
        Ok(StorePlace::Server(ServerPlace {
            kind,
            host: bare.unwrap_or(host).to_owned(),
            port,
            user,
            password,
            database,
        }))
    }
}

/// A text with `%40` and the like (RFC 3986 §2.1).
fn decoded(text: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            (high * 16 + low) as u8
        } else {
            byte
        });
    }
    let text = std::str::from_utf8(&bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

/// Without the password: for logs.
impl fmt::Display for ServerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ServerKind::Redis => "redis",
            ServerKind::RedisTls => "rediss",
            ServerKind::Memcached => "memcached",
        };
        let (host, port) = (&self.host, self.port);
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

impl fmt::Debug for ServerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> ServerPlace {
        match StorePlace::parse(text) {
            Ok(StorePlace::Server(server)) => server,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_place_has_a_host_and_what_else_it_takes_to_log_in() {
        assert_eq!(StorePlace::parse("memory"), Ok(StorePlace::Memory));
        let full = server("rediss://edge:p%40ss:w@keys.example.org:7000/3");
        assert_eq!(full.kind, ServerKind::RedisTls);
        assert_eq!(
            (full.host.as_str(), full.port, full.database),
            ("keys.example.org", 7000, 3)
        );
        assert_eq!(full.user.as_deref(), Some("edge"));
        assert_eq!(full.password.as_ref().map(|it| it.as_str()), Some("p@ss:w"));
        let only_password = server("redis://:secret@10.0.0.1");
        assert_eq!((only_password.user, only_password.port), (None, 6379));
        let v6 = server("redis://[2001:db8::1]:7000/");
        assert_eq!((v6.host.as_str(), v6.port), ("2001:db8::1", 7000));
        assert_eq!(server("redis://[::1]").port, 6379);
        assert_eq!(server("memcached://cache").port, 11211);
    }

    #[test]
    fn a_password_is_in_no_log() {
        let place = server("redis://edge:secret@10.0.0.1");
        assert_eq!(
            format!("{place} {place:?}"),
            "redis://10.0.0.1:6379 redis://10.0.0.1:6379"
        );
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, part, what) in [
            ("redis", "redis", "this is no keystore"),
            ("mysql://x", "mysql", "there is no keystore of this kind"),
            ("redis://", "", "the host is no name or address"),
            ("redis://a b", "a b", "the host is no name or address"),
            (
                "redis://[10.0.0.1]",
                "[10.0.0.1]",
                "the host is no name or address",
            ),
            ("redis://a:0", "a:0", "the port is none"),
            ("redis://a:70000", "a:70000", "the port is none"),
            ("redis://a/x", "/x", "a database of redis is a number"),
            (
                "memcached://u@a",
                "memcached://u@a",
                "memcached has neither users nor databases",
            ),
        ] {
            let mistake = StorePlace::parse(text).unwrap_err();
            assert_eq!(
                (&text[mistake.part.clone()], mistake.what),
                (part, what),
                "{text}"
            );
        }
    }
}
