//! The device's side of enrolment.

use std::fmt;

use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::HEAD_LEN;
use super::answer::Answer;
use super::body::{Body, Fields, NONCE_LEN};
use super::keys::EnrolmentKey;
use crate::codec::Fault;
use crate::device::{DeviceId, DeviceKey};
use crate::session::control::ENROLMENT;

/// One enrolment of a device. To try again, make another one of the same key: a server takes none
/// twice.
pub struct Enrolment {
    packet: Vec<u8>,
    nonce: [u8; NONCE_LEN],
    secret: Zeroizing<[u8; 32]>,
}

impl Enrolment {
    /// Brings a device's key of this generation to the server, at `now` (seconds since 1970).
    /// `current` is the device's key that is valid still, if there is one: it proves that the device
    /// is the same. `prefers_aes`: where there is a choice, AES-256-GCM.
    ///
    /// # Errors
    /// When the system has no random numbers, or no memory.
    pub fn new(
        to: &EnrolmentKey,
        key: (DeviceId, u8, &[u8; 32]),
        current: Option<&DeviceKey>,
        prefers_aes: bool,
        now: u64,
    ) -> Result<Enrolment, Fault> {
        let (id, generation, secret) = key;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| Fault::NoRandomness)?;
        let method = to.method(prefers_aes);
        let fields = Fields {
            generation,
            id,
            key: secret,
            time: now,
            nonce: &nonce,
        };
        let body = Body::new(method, &fields, current).ok_or(Fault::Unmade)?;
        let len = u16::try_from(to.sealed_len()).map_err(|_| Fault::Unmade)?;
        let [high, low] = len.to_be_bytes();
        let head: [u8; HEAD_LEN] = [ENROLMENT, method.number(), to.id(), high, low];
        let sealed = to.seal(method, &head, &body)?;
        Ok(Enrolment {
            packet: [&head[..], &sealed].concat(),
            nonce,
            secret: Zeroizing::new(*secret),
        })
    }

    /// What to send, through [`crate::Chain::encode_control`]. A message may follow in the same
    /// packet, sealed with the new key.
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// Reads what the server answered, which [`crate::Chain::stopped_at`] has.
    ///
    /// # Errors
    /// When it is no answer, to another enrolment (`Stale`), or not the server's.
    pub fn read_answer(&self, packet: &[u8]) -> Result<Answer, Fault> {
        Answer::parse(packet, &self.nonce, &self.secret)
    }
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enrolment({} bytes, …)", self.packet.len())
    }
}
