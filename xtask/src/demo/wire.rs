//! What a capture shows of the messages.

use corex_lab::capture::Captured;

use corex_lab::topology::PORT;

/// First bytes of a gzip file (RFC 1952, section 2.3.1): magic number, and deflate.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// UDP datagrams between SIP ports, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams with SIP's port at both ends.
    pub messages: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Messages that are a gzip file.
    pub gzip: u64,
    /// Messages that can be read as SIP.
    pub readable: u64,
}

impl Traffic {
    /// Counts the messages of a capture.
    pub fn of(frames: &[Captured]) -> Self {
        let mut traffic = Self::default();
        for udp in frames.iter().filter_map(|captured| captured.frame.udp()) {
            if udp.source.port() == PORT && udp.destination.port() == PORT {
                traffic.add(&udp.payload);
            }
        }
        traffic
    }

    fn add(&mut self, payload: &[u8]) {
        self.messages += 1;
        self.bytes += payload.len() as u64;
        if payload.starts_with(&GZIP) {
            self.gzip += 1;
        } else if payload.windows(7).any(|window| window == b"SIP/2.0") {
            self.readable += 1;
        }
    }

    /// Mean length of a message.
    pub fn mean(&self) -> u64 {
        self.bytes.checked_div(self.messages).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_and_readable_messages_are_told_apart() {
        let mut traffic = Traffic::default();
        traffic.add(&[0x1f, 0x8b, 8, 0, 1, 2, 3]);
        traffic.add(b"SIP/2.0 200 OK\r\n\r\n");
        traffic.add(b"neither");
        assert_eq!(
            (traffic.messages, traffic.gzip, traffic.readable),
            (3, 1, 1)
        );
        assert_eq!(traffic.bytes, 7 + 18 + 7);
    }
}
