//! What packets of enrolment show to those who have no key.

use super::HEAD_LEN;
use super::server::Head;
use crate::codec::Fault;
use crate::session::control::{ACKNOWLEDGEMENT, ENROLMENT, UNKNOWN};

/// A packet that is no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet<'p> {
    /// A device brings its key.
    Enrolment {
        /// The message that comes with it; empty if there is none.
        message: &'p [u8],
    },
    /// A server answers that.
    Answer,
    /// A server knows no key of a device.
    Notice,
}

impl<'p> Packet<'p> {
    /// Looks at one, without the codecs behind the device's.
    ///
    /// # Errors
    /// When it is none of them, or is cut off.
    pub fn read(packet: &'p [u8]) -> Result<Packet<'p>, Fault> {
        match packet.first() {
            Some(&ENROLMENT) => {
                let head = Head::read(packet)?;
                let message = packet.get(HEAD_LEN + head.sealed.len()..);
                Ok(Packet::Enrolment {
                    message: message.unwrap_or_default(),
                })
            }
            Some(&ACKNOWLEDGEMENT) => Ok(Packet::Answer),
            Some(&UNKNOWN) => Ok(Packet::Notice),
            Some(&other) => Err(Fault::UnknownVersion(other)),
            None => Err(Fault::Malformed),
        }
    }

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Packet::Enrolment { .. } => "enrolment",
            Packet::Answer => "answer",
            Packet::Notice => "notice",
        }
    }
}
