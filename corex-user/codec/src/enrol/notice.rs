//! What a server says that knows no key of the device that a message is from.

use crate::device::{DeviceId, DeviceKey};
use crate::session::control::UNKNOWN;
use crate::session::{BY_ADDRESS, BY_ID, SESSION_LEN, SessionName, Towards};

/// Bytes of a notice: fewer than any message has that it is about.
pub const NOTICE_LEN: usize = 1 + SESSION_LEN + 4;

/// That a server knows no key of the device that a message is from: it should enrol. Nothing proves
/// it, since there is no key; but only who has seen the message can say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownNotice {
    session: SessionName,
    counter: u32,
}

impl UnknownNotice {
    /// About a message that was refused, without the codecs behind the device's; `None` if it is none
    /// that a device sealed.
    pub fn about(message: &[u8]) -> Option<UnknownNotice> {
        let (first, rest) = message.split_first()?;
        let rest = match *first {
            BY_ID => rest.get(DeviceId::LEN..)?,
            BY_ADDRESS => rest,
            _ => return None,
        };
        Self::read(rest.get(1..)?)
    }

    /// Reads one.
    pub fn parse(packet: &[u8]) -> Option<UnknownNotice> {
        match packet.split_first()? {
            (&UNKNOWN, rest) if packet.len() == NOTICE_LEN => Self::read(rest),
            _ => None,
        }
    }

    fn read(bytes: &[u8]) -> Option<UnknownNotice> {
        let (session, rest) = bytes.split_first_chunk()?;
        Some(UnknownNotice {
            session: SessionName::from_bytes(*session),
            counter: u32::from_be_bytes(*rest.first_chunk()?),
        })
    }

    /// As it is sent.
    pub fn to_bytes(&self) -> [u8; NOTICE_LEN] {
        let mut bytes = [UNKNOWN; NOTICE_LEN];
        let (session, counter) = bytes[1..].split_at_mut(SESSION_LEN);
        session.copy_from_slice(self.session.bytes());
        counter.copy_from_slice(&self.counter.to_be_bytes());
        bytes
    }

    /// Whether it is about a message that a client sent under this key not long ago.
    pub fn is_about(&self, key: &DeviceKey) -> bool {
        key.sessions()
            .has_sent(Towards::Server, &self.session, self.counter)
    }
}
