//! What a server answers an enrolment.

use ring::hmac;

use super::body::{NONCE_LEN, PROOF_LEN, mac_key};
use crate::codec::Fault;
use crate::session::control::ACKNOWLEDGEMENT;

/// What is proven: all but the proof.
const PROVEN: usize = 1 + NONCE_LEN + 1 + 4;
/// Bytes of an answer: fewer than an enrolment has.
pub const ANSWER_LEN: usize = PROVEN + PROOF_LEN;

/// What a server says. It proves that the server has the device's new key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The key is valid for so many seconds.
    Accepted {
        /// From now on.
        seconds: u32,
    },
    /// Another key of this device is valid, and the enrolment doesn't prove that it is the same
    /// device: it may enrol by another id.
    Taken,
}

impl Answer {
    /// To the enrolment of this nonce and key.
    pub(super) fn to_bytes(
        self,
        nonce: &[u8; NONCE_LEN],
        secret: &[u8; 32],
    ) -> Option<[u8; ANSWER_LEN]> {
        let (status, seconds) = match self {
            Answer::Accepted { seconds } => (0, seconds),
            Answer::Taken => (1, 0),
        };
        let mut bytes = [0; ANSWER_LEN];
        bytes[0] = ACKNOWLEDGEMENT;
        bytes[1..=NONCE_LEN].copy_from_slice(nonce);
        bytes[1 + NONCE_LEN] = status;
        bytes[2 + NONCE_LEN..PROVEN].copy_from_slice(&u32::to_be_bytes(seconds));
        let proof = hmac::sign(&mac_key(secret, b"answer")?, &bytes[..PROVEN]);
        bytes[PROVEN..].copy_from_slice(proof.as_ref());
        Some(bytes)
    }

    /// Reads one to the enrolment of this nonce and key.
    pub(super) fn parse(
        packet: &[u8],
        nonce: &[u8; NONCE_LEN],
        secret: &[u8; 32],
    ) -> Result<Answer, Fault> {
        match packet.first() {
            Some(&ACKNOWLEDGEMENT) => {}
            Some(&other) => return Err(Fault::UnknownVersion(other)),
            None => return Err(Fault::Malformed),
        }
        let packet: &[u8; ANSWER_LEN] = packet.try_into().map_err(|_| Fault::Malformed)?;
        let (proven, proof) = packet.split_at(PROVEN);
        if proven[1..=NONCE_LEN] != nonce[..] {
            // To an earlier one, or to somebody else's.
            return Err(Fault::Stale);
        }
        let key = mac_key(secret, b"answer").ok_or(Fault::Unmade)?;
        hmac::verify(&key, proven, proof).map_err(|_| Fault::NotAuthentic)?;
        match proven[1 + NONCE_LEN..] {
            [0, a, b, c, d] => Ok(Answer::Accepted {
                seconds: u32::from_be_bytes([a, b, c, d]),
            }),
            [1, ..] => Ok(Answer::Taken),
            _ => Err(Fault::Malformed),
        }
    }
}
