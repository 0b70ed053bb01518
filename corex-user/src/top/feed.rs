//! Reads a corex's books at intervals, from a thread of its own, so that a corex that doesn't
//! answer never holds the screen up.

use std::{
    io,
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
    time::{Duration, Instant},
};

use super::sample::{Sample, Unread};
use crate::rpc::{
    client::{Connection, REFUSED, UNREACHABLE},
    value::Value,
};
use corex_script::settings::control::BinrpcAddress;

/// Reads one corex, over a connection that it keeps.
pub struct Feed {
    address: BinrpcAddress,
    patience: Duration,
    connection: Option<Connection>,
    began: Instant,
}

impl Feed {
    /// Readings of the corex that is served at this address and may be silent for `patience`.
    pub fn new(address: BinrpcAddress, patience: Duration) -> Feed {
        Feed {
            address,
            patience,
            connection: None,
            began: Instant::now(),
        }
    }

    /// One reading; connects anew where the last one failed. Blocks.
    ///
    /// # Errors
    /// When nobody answers, or the answer holds no books.
    pub fn read(&mut self) -> Result<Sample, Unread> {
        let unreachable = |error: io::Error| Unread {
            status: UNREACHABLE,
            reason: error.to_string(),
        };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address, self.patience).map_err(unreachable)?,
        };
        let reply = connection.call("corex.books", &[]).map_err(unreachable)?;
        let refused = |reason: String| Unread {
            status: REFUSED,
            reason,
        };
        let records = reply.map_err(|fault| refused(fault.to_string()))?;
        let sample = match &records[..] {
            [Value::Str(books)] => Sample::read(books, self.began.elapsed()),
            _ => None,
        };
        self.connection = Some(connection);
        sample.ok_or_else(|| refused("corex.books answers something else".to_owned()))
    }

    /// Reads at intervals from now on, until nobody takes the readings any more.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(mut self, interval: Duration) -> io::Result<Receiver<Result<Sample, Unread>>> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let run = move || self.run(interval, &sender);
        thread::Builder::new()
            .name("corex-top".to_owned())
            .spawn(run)?;
        Ok(receiver)
    }

    fn run(&mut self, interval: Duration, to: &SyncSender<Result<Sample, Unread>>) {
        let mut next = Instant::now();
        loop {
            next = (next + interval).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if to.send(self.read()).is_err() {
                return;
            }
        }
    }
}
