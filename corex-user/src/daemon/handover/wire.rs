//! Messages between two processes: their length and the number of descriptors, the text as JSON,
//! the descriptors.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::kernel::descriptors;

/// The longest message in bytes.
const LONGEST: usize = 1 << 30;
/// The most descriptors with one message.
const MOST_DESCRIPTORS: usize = 1 << 16;

/// One end.
pub struct Connection(UnixStream);

impl Connection {
    /// On a connected socket.
    pub fn new(socket: UnixStream) -> Connection {
        Connection(socket)
    }

    /// How long the other end may take for the next message, or to take one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn patience(&self, time: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(time))?;
        self.0.set_write_timeout(Some(time))
    }

    /// Sends a message with descriptors.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&mut self, message: &impl Serialize, descriptors: &[impl AsFd]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let lengths = [text.len(), descriptors.len()];
        let mut bytes = Vec::with_capacity(8 + text.len());
        for length in lengths {
            let length = u32::try_from(length).map_err(io::Error::other)?;
            bytes.extend(length.to_be_bytes());
        }
        bytes.extend(text);
        self.0.write_all(&bytes)?;
        descriptors::send(&self.0, descriptors)
    }

    /// Receives a message with its descriptors.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` when nothing comes in time; that the other end closed, or
    /// says something that isn't understood.
    pub fn receive<M: DeserializeOwned>(&mut self) -> io::Result<(M, Vec<OwnedFd>)> {
        let mut length = || -> io::Result<usize> {
            let mut bytes = [0; 4];
            self.0.read_exact(&mut bytes)?;
            Ok(u32::from_be_bytes(bytes) as usize)
        };
        let (length, count) = (length()?, length()?);
        if length > LONGEST || count > MOST_DESCRIPTORS {
            return Err(io::Error::other("the message is too long"));
        }
        let mut text = Vec::new();
        let read = (&self.0).take(length as u64).read_to_end(&mut text)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let descriptors = descriptors::receive(&self.0, count)?;
        Ok((serde_json::from_slice(&text)?, descriptors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::handover::estate::{Ask, Item, Tell};

    #[test]
    fn messages_arrive_whole_with_their_descriptors() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut here, mut there) = (Connection::new(here), Connection::new(there));
        let items = vec![Item::Name; 200];
        let sent: Vec<OwnedFd> = (0..200)
            .map(|_| there.0.as_fd().try_clone_to_owned().unwrap())
            .collect();
        let corex = "x".repeat(100_000);
        let estate = Tell::Estate {
            corex: corex.clone(),
            items: items.clone(),
            reply_key: [7; 32],
            tables: Vec::new(),
            guard: Default::default(),
            peers: Default::default(),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                here.send(&estate, &sent).unwrap();
                here.send(&Ask::Freeze, &[] as &[OwnedFd]).unwrap();
            });
            let (message, descriptors) = there.receive().unwrap();
            let Tell::Estate {
                corex: said,
                items: named,
                ..
            } = message
            else {
                panic!("{message:?}");
            };
            assert_eq!((said, named, descriptors.len()), (corex, items, 200));
            let (message, descriptors) = there.receive().unwrap();
            assert!(matches!(message, Ask::Freeze) && descriptors.is_empty());
        });
    }

    #[test]
    fn nonsense_and_silence_are_errors() {
        let ends = || {
            let (here, there) = UnixStream::pair().unwrap();
            let there = Connection::new(there);
            there.patience(Duration::from_millis(20)).unwrap();
            (here, there)
        };
        let (mut here, mut there) = ends();
        here.write_all(&[0, 0, 0, 2, 0, 0, 0, 0, b'{', b'}'])
            .unwrap();
        assert!(there.receive::<Ask>().is_err());
        let (mut here, mut there) = ends();
        here.write_all(&[0xff; 8]).unwrap();
        assert!(there.receive::<Ask>().is_err());
        let (here, mut there) = ends();
        assert!(there.receive::<Ask>().is_err());
        drop(here);
        assert!(there.receive::<Ask>().is_err());
    }
}
