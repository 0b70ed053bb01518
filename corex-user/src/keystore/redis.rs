//! Redis, over TCP or TLS, by one connection that all requests share.

use std::io;
use std::sync::{Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, cmd};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::place::ServerPlace;
use super::record::MAX_RECORD;
use crate::tls::Tls;

/// A redis server.
pub struct Redis {
    place: ServerPlace,
    password: Option<Zeroizing<String>>,
    tls: Option<Tls>,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Redis {
    /// The server at this place; connected to when it is needed.
    pub fn new(place: ServerPlace, password: Option<Zeroizing<String>>, tls: Option<Tls>) -> Redis {
        Redis {
            place,
            password,
            tls,
            connection: Mutex::default(),
        }
    }

    /// The entry of this name.
    pub async fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        // Not GET: whatever stands there, no more than an entry of ours is read.
        let entry: Vec<u8> = self
            .query(cmd("GETRANGE").arg(name).arg(0).arg(MAX_RECORD))
            .await?;
        Ok(Some(entry).filter(|entry| !entry.is_empty()))
    }

    /// Writes an entry that lives so many seconds; `is_new`: unless there is one. Returns whether it
    /// was written.
    pub async fn put(&self, name: &str, entry: &[u8], life: u64, is_new: bool) -> io::Result<bool> {
        let mut command = cmd("SET");
        command.arg(name).arg(entry).arg("EX").arg(life);
        if is_new {
            command.arg("NX");
        }
        let answer: Option<String> = self.query(&command).await?;
        Ok(answer.is_some())
    }

    /// Takes an entry out. Returns whether there was one.
    pub async fn delete(&self, name: &str) -> io::Result<bool> {
        let count: u64 = self.query(cmd("DEL").arg(name)).await?;
        Ok(count > 0)
    }

    async fn query<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> io::Result<T> {
        let mut connection = match self.connected() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let result = command.query_async(&mut connection).await;
        result.map_err(|error: RedisError| {
            // An answer that is an error comes by a good connection.
            if !matches!(error.kind(), redis::ErrorKind::Server(_)) {
                self.forget();
            }
            told(&error)
        })
    }

    fn connected(&self) -> Option<MultiplexedConnection> {
        let connection = self.connection.lock();
        connection.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the next request connect anew.
    pub fn forget(&self) {
        let connection = self.connection.lock();
        *connection.unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn connect(&self) -> io::Result<MultiplexedConnection> {
        let place = &self.place;
        let stream = TcpStream::connect((&*place.host, place.port)).await?;
        stream.set_nodelay(true)?;
        let connection = match &self.tls {
            Some(tls) => {
                let peer = stream.peer_addr()?;
                let name = Some(place.host.clone());
                self.log_in(tls.connect(stream, name, peer).await?).await?
            }
            None => self.log_in(stream).await?,
        };
        let kept = self.connection.lock();
        *kept.unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    async fn log_in<S>(&self, stream: S) -> io::Result<MultiplexedConnection>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let place = &self.place;
        let mut info = RedisConnectionInfo::default()
            .set_db(place.database.into())
            .set_skip_set_lib_name();
        if let Some(user) = &place.user {
            info = info.set_username(user);
        }
        if let Some(password) = &self.password {
            info = info.set_password(password.as_str());
        }
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None);
        let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (connection, driver) = made.map_err(|error| told(&error))?;
        tokio::spawn(driver);
        Ok(connection)
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redis({})", self.place)
    }
}

/// What redis says, without the command that it says it of.
fn told(error: &RedisError) -> io::Error {
    let code = error.code().unwrap_or_default();
    match error.detail() {
        Some(detail) => io::Error::other(format!("{code} {detail}").trim().to_owned()),
        None => io::Error::other(error.to_string()),
    }
}
