//! Frames over a socket, with a deadline for each.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::frame::{HEADER_LEN, Header, Malformed};

/// Read at a time.
const CHUNK: usize = 64 << 10;

/// Buffers beyond this are given back.
const KEPT: usize = 256 << 10;

/// Why there is nothing more to be had from a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("it took too long")]
    TimedOut,
    #[error("the process ended")]
    Ended,
    #[error("the process sent {0}")]
    Malformed(#[from] Malformed),
    #[error("the socket failed: {0}")]
    Io(io::ErrorKind),
}

/// Our end of the socket to a process.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    /// What was read lies between `taken` and `filled`.
    inbox: Vec<u8>,
    taken: usize,
    filled: usize,
}

impl Channel {
    /// A new socket: our end, and the process's.
    pub fn pair() -> io::Result<(Channel, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let channel = Channel {
            stream: ours,
            inbox: Vec::new(),
            taken: 0,
            filled: 0,
        };
        Ok((channel, theirs))
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether nothing unexpected has come: no bytes, and no end of the stream.
    pub fn is_quiet(&self) -> bool {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        self.taken == self.filled && matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
    }

    /// Sends a frame.
    pub fn send(&mut self, mut frame: &[u8], deadline: Instant) -> Result<(), Broken> {
        while !frame.is_empty() {
            match self.stream.write(frame) {
                Ok(0) => return Err(Broken::Ended),
                Ok(sent) => frame = frame.get(sent..).unwrap_or_default(),
                Err(error) => self.wait(&error, PollFlags::POLLOUT, deadline)?,
            }
        }
        Ok(())
    }

    /// Takes the next frame; what is behind its header goes to `rest`.
    pub fn receive(&mut self, rest: &mut Vec<u8>, deadline: Instant) -> Result<Header, Broken> {
        loop {
            if let Some(header) = self.take(rest)? {
                return Ok(header);
            }
            if self.inbox.len() < self.filled + CHUNK {
                self.inbox.resize(self.filled + CHUNK, 0);
            }
            let room = self.inbox.get_mut(self.filled..).unwrap_or_default();
            let read = self.stream.read(room);
            match read {
                Ok(0) => return Err(Broken::Ended),
                Ok(read) => self.filled += read,
                Err(error) => self.wait(&error, PollFlags::POLLIN, deadline)?,
            }
        }
    }

    /// The next frame, if it has come as a whole.
    fn take(&mut self, rest: &mut Vec<u8>) -> Result<Option<Header>, Malformed> {
        let waiting = self.inbox.get(self.taken..self.filled);
        let waiting = waiting.unwrap_or_default();
        let Some(header) = Header::parse(waiting)? else {
            self.compact();
            return Ok(None);
        };
        let end = HEADER_LEN + header.len;
        let Some(bytes) = waiting.get(HEADER_LEN..end) else {
            self.compact();
            return Ok(None);
        };
        rest.clear();
        rest.extend_from_slice(bytes);
        self.taken += end;
        if self.taken == self.filled {
            self.compact();
        }
        Ok(Some(header))
    }

    /// Removes from the buffer what has been taken.
    fn compact(&mut self) {
        self.inbox.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.filled == 0 && self.inbox.len() > KEPT {
            self.inbox.truncate(KEPT);
            self.inbox.shrink_to(KEPT);
        }
    }

    fn wait(&self, error: &io::Error, what: PollFlags, until: Instant) -> Result<(), Broken> {
        match error.kind() {
            io::ErrorKind::Interrupted => return Ok(()),
            io::ErrorKind::WouldBlock => {}
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                return Err(Broken::Ended);
            }
            kind => return Err(Broken::Io(kind)),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Broken::TimedOut);
        }
        // Rounded up: else the last part of a millisecond would be spent asking.
        let left = left.as_millis().saturating_add(1);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.stream.as_fd(), what)], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Broken::Io(io::Error::from(errno).kind())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Item, Kind, Writer};
    use super::*;
    use std::time::Duration;

    fn frame(sequence: u32, text: &[u8]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.begin(Kind::Done, sequence);
        writer.push(Item::Str(text));
        writer.finish().unwrap().to_vec()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn frames_come_in_any_pieces() {
        let (mut channel, mut peer) = Channel::pair().unwrap();
        let mut sent = frame(1, b"one");
        sent.extend(frame(2, &[0; 3000]));
        sent.extend(frame(3, b""));
        let mut rest = Vec::new();
        let mut seen = Vec::new();
        for byte in sent {
            peer.write_all(&[byte]).unwrap();
            match channel.receive(&mut rest, Instant::now()) {
                Ok(header) => seen.push((header.sequence, rest.len())),
                Err(Broken::TimedOut) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(seen, [(1, 8), (2, 3005), (3, 5)]);
        assert!(channel.is_quiet());
        peer.write_all(b"x").unwrap();
        assert!(!channel.is_quiet());
        let broken = channel.receive(&mut rest, soon());
        assert_eq!(broken, Err(Malformed::Magic.into()));
    }

    #[test]
    fn the_end_of_the_other_side_is_told() {
        let (mut channel, peer) = Channel::pair().unwrap();
        drop(peer);
        assert!(!channel.is_quiet());
        assert_eq!(channel.receive(&mut Vec::new(), soon()), Err(Broken::Ended));
        assert_eq!(channel.send(b"x", soon()), Err(Broken::Ended));
    }

    #[test]
    fn a_peer_that_does_not_read_costs_no_more_than_the_time() {
        let (mut channel, _peer) = Channel::pair().unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        let flood = vec![0; 8 << 20];
        assert_eq!(channel.send(&flood, deadline), Err(Broken::TimedOut));
    }
}
