//! What is needed of memcached's text protocol (its doc/protocol.txt): get, set, add, delete.
//!
//! No crate: those for tokio are unmaintained or depend on crates that are, and a hundred lines know
//! their bounds.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::place::ServerPlace;
use super::record::MAX_RECORD;

/// Connections that are kept for the next request.
const KEPT: usize = 8;
/// The longest line of an answer.
const MAX_LINE: u64 = 512;
/// Times to live above this many seconds are dates to memcached.
const LONGEST_LIFE: u64 = 30 * 24 * 3600;

/// A memcached server.
#[derive(Debug)]
pub struct Memcached {
    place: ServerPlace,
    /// Connections without a request under way.
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

impl Memcached {
    /// The server at this place; connected to when it is needed.
    pub fn new(place: ServerPlace) -> Memcached {
        Memcached {
            place,
            idle: Mutex::default(),
        }
    }

    /// The entry of this name.
    pub async fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut connection = self.ask(format!("get {name}\r\n").as_bytes()).await?;
        let line = line(&mut connection).await?;
        if line == "END" {
            self.keep(connection);
            return Ok(None);
        }
        let words: Vec<&str> = line.split(' ').collect();
        let ["VALUE", _, _, len, ..] = words[..] else {
            return Err(unexpected(&line));
        };
        let len: usize = len.parse().map_err(|_| unexpected(&line))?;
        if len > MAX_RECORD {
            return Err(io::Error::other("an entry is longer than any of corex"));
        }
        let mut entry = vec![0; len + 2];
        connection.read_exact(&mut entry).await?;
        entry.truncate(len);
        expect(&mut connection, &["END"]).await?;
        self.keep(connection);
        Ok(Some(entry))
    }

    /// Writes an entry that lives so many seconds; `is_new`: unless there is one. Returns whether it
    /// was written.
    pub async fn put(&self, name: &str, entry: &[u8], life: u64, is_new: bool) -> io::Result<bool> {
        let verb = if is_new { "add" } else { "set" };
        let life = match life {
            0..=LONGEST_LIFE => life,
            _ => life.saturating_add(super::unix_time()),
        };
        let mut request = format!("{verb} {name} 0 {life} {}\r\n", entry.len()).into_bytes();
        request.extend_from_slice(entry);
        request.extend_from_slice(b"\r\n");
        let mut connection = self.ask(&request).await?;
        let answer = expect(&mut connection, &["STORED", "NOT_STORED"]).await?;
        self.keep(connection);
        Ok(answer == "STORED")
    }

    /// Takes an entry out. Returns whether there was one.
    pub async fn delete(&self, name: &str) -> io::Result<bool> {
        let mut connection = self.ask(format!("delete {name}\r\n").as_bytes()).await?;
        let answer = expect(&mut connection, &["DELETED", "NOT_FOUND"]).await?;
        self.keep(connection);
        Ok(answer == "DELETED")
    }

    /// Sends a request by a connection that nobody uses, which then waits for the answer's line. One
    /// that the server has closed meanwhile is no failure.
    async fn ask(&self, request: &[u8]) -> io::Result<BufReader<TcpStream>> {
        while let Some(mut connection) = self.take() {
            if connection.write_all(request).await.is_ok()
                && matches!(connection.fill_buf().await, Ok(bytes) if !bytes.is_empty())
            {
                return Ok(connection);
            }
        }
        let stream = TcpStream::connect((&*self.place.host, self.place.port)).await?;
        stream.set_nodelay(true)?;
        let mut connection = BufReader::with_capacity(MAX_LINE as usize, stream);
        connection.write_all(request).await?;
        Ok(connection)
    }

    fn take(&self) -> Option<BufReader<TcpStream>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }

    fn keep(&self, connection: BufReader<TcpStream>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(connection);
        }
    }
}

async fn line(connection: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    connection
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .await?;
    let line = line
        .strip_suffix(b"\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(String::from_utf8_lossy(line).into_owned())
}

async fn expect(connection: &mut BufReader<TcpStream>, words: &[&str]) -> io::Result<String> {
    let line = line(connection).await?;
    if words.contains(&line.as_str()) {
        Ok(line)
    } else {
        Err(unexpected(&line))
    }
}

fn unexpected(line: &str) -> io::Error {
    io::Error::other(format!("it answered {line:?}"))
}
