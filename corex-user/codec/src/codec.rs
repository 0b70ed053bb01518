//! What a codec is, and what can go wrong in one.

use std::fmt;
use std::net::SocketAddr;

use ring::rand::{SecureRandom as _, SystemRandom};

/// Which side of a wire a chain is at. What the two sides send may differ: a request and its response,
/// two keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Role {
    /// Others send to it first.
    #[default]
    Server,
    /// It sends first: a phone, or a proxy towards another one.
    Client,
}

impl Role {
    /// The other side.
    pub const fn other(self) -> Role {
        match self {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        }
    }
}

/// A codec at work: what one worker keeps of it from message to message.
pub trait Codec: Send {
    /// Encodes `input` and appends the result, at most `max` bytes, to `out`. An error may leave a
    /// part of the result there.
    ///
    /// # Errors
    /// Mostly that the result would be longer.
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault>;

    /// Decodes in the same way. Never writes more than `max` bytes, or than the input has,
    /// anywhere, whatever the input claims or expands to.
    ///
    /// # Errors
    /// When the input isn't what the other side's `encode` makes.
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault>;

    /// Says whom the next message is from, or for. Only a codec whose key is the device's asks.
    fn set_peer(&mut self, _peer: Option<SocketAddr>) {}
}

/// What went wrong in a codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The input is not what the codec makes, or it is cut off or damaged.
    Malformed,
    /// The output would exceed so many bytes.
    TooLong(usize),
    /// It was made with a dictionary that isn't here.
    UnknownDictionary(u32),
    /// It was made with a key that isn't here.
    UnknownKey(u8),
    /// It is of another version of the format.
    UnknownVersion(u8),
    /// Somebody without the key made it or changed it, or it was meant for the other direction.
    NotAuthentic,
    /// It was received before.
    Replayed,
    /// It is older, or from further in the future, than is remembered: it may have been received
    /// before.
    Stale,
    /// No key is known of the device that made it, or that it is for.
    UnknownDevice,
    /// The device's key isn't known yet: it is being asked for, and the same message may pass a
    /// little later.
    KeyPending,
    /// The device's key has expired.
    KeyExpired,
    /// It is no message but belongs to enrolment: a device's request to a server, or the answer to
    /// a client. [`crate::Chain::stopped_at`] has it.
    Enrolment,
    /// The system has no random numbers.
    NoRandomness,
    /// The system has no memory for the codec.
    Unmade,
    /// A parameter is out of range.
    OutOfRange {
        /// What it sets.
        what: &'static str,
        /// What it is set to.
        value: i64,
        /// The least that it may be.
        min: i64,
        /// The most.
        max: i64,
    },
}

/// Why a message wasn't transformed, as counters and `$codec_error` name it. The names are stable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// See [`Fault::Malformed`].
    Malformed,
    /// See [`Fault::TooLong`].
    TooLong,
    /// See [`Fault::UnknownDictionary`].
    UnknownDictionary,
    /// See [`Fault::UnknownKey`].
    UnknownKey,
    /// See [`Fault::UnknownVersion`].
    UnknownVersion,
    /// See [`Fault::NotAuthentic`].
    NotAuthentic,
    /// See [`Fault::Replayed`].
    Replayed,
    /// See [`Fault::Stale`].
    Stale,
    /// See [`Fault::UnknownDevice`].
    UnknownDevice,
    /// See [`Fault::KeyPending`].
    KeyPending,
    /// See [`Fault::KeyExpired`].
    KeyExpired,
    /// See [`Fault::Enrolment`].
    Enrolment,
    /// What isn't the message's fault: a parameter, or the system.
    Unusable,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 13] = [
        Reason::Malformed,
        Reason::TooLong,
        Reason::UnknownDictionary,
        Reason::UnknownKey,
        Reason::UnknownVersion,
        Reason::NotAuthentic,
        Reason::Replayed,
        Reason::Stale,
        Reason::UnknownDevice,
        Reason::KeyPending,
        Reason::KeyExpired,
        Reason::Enrolment,
        Reason::Unusable,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::TooLong => "too_long",
            Reason::UnknownDictionary => "unknown_dictionary",
            Reason::UnknownKey => "unknown_key",
            Reason::UnknownVersion => "unknown_version",
            Reason::NotAuthentic => "not_authentic",
            Reason::Replayed => "replayed",
            Reason::Stale => "stale",
            Reason::UnknownDevice => "unknown_device",
            Reason::KeyPending => "key_pending",
            Reason::KeyExpired => "key_expired",
            Reason::Enrolment => "enrolment",
            Reason::Unusable => "unusable",
        }
    }
}

impl Fault {
    /// Its kind.
    pub const fn reason(self) -> Reason {
        match self {
            Fault::Malformed => Reason::Malformed,
            Fault::TooLong(_) => Reason::TooLong,
            Fault::UnknownDictionary(_) => Reason::UnknownDictionary,
            Fault::UnknownKey(_) => Reason::UnknownKey,
            Fault::UnknownVersion(_) => Reason::UnknownVersion,
            Fault::NotAuthentic => Reason::NotAuthentic,
            Fault::Replayed => Reason::Replayed,
            Fault::Stale => Reason::Stale,
            Fault::UnknownDevice => Reason::UnknownDevice,
            Fault::KeyPending => Reason::KeyPending,
            Fault::KeyExpired => Reason::KeyExpired,
            Fault::Enrolment => Reason::Enrolment,
            Fault::NoRandomness | Fault::Unmade | Fault::OutOfRange { .. } => Reason::Unusable,
        }
    }
}

/// Why a transformation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodecError {
    /// The name of the codec that stopped.
    pub codec: &'static str,
    /// What went wrong in it.
    pub fault: Fault,
}

impl std::error::Error for CodecError {}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codec = self.codec;
        write!(f, "{codec}: ")?;
        match self.fault {
            Fault::Malformed => write!(
                f,
                "the input is not {codec} data, or it is damaged or cut off"
            ),
            Fault::TooLong(max) => write!(f, "the output exceeds {max} bytes"),
            Fault::UnknownDictionary(id) => {
                write!(
                    f,
                    "the input was made with dictionary {id}, which is not here"
                )
            }
            Fault::UnknownKey(id) => {
                write!(f, "the input was made with key {id}, which is not here")
            }
            Fault::UnknownVersion(version) => {
                write!(
                    f,
                    "the input begins with {version:#04x}, which is no version known here"
                )
            }
            Fault::NotAuthentic => f.write_str(
                "the input was made with another key, changed on its way, or meant for the other \
                 direction",
            ),
            Fault::Replayed => f.write_str("the input was received before"),
            Fault::Stale => f.write_str(
                "the input is older, or from further in the future, than replays are told from: \
                 compare the clocks of both sides",
            ),
            Fault::UnknownDevice => {
                f.write_str("no key is known of this device: it must enrol, or its key has expired")
            }
            Fault::KeyPending => f.write_str("the device's key is being asked for"),
            Fault::KeyExpired => f.write_str("the device's key has expired: it must enrol again"),
            Fault::Enrolment => {
                f.write_str("the input belongs to a device's enrolment: it is no message")
            }
            Fault::NoRandomness => f.write_str("the system has no random numbers"),
            Fault::Unmade => f.write_str("there is no memory for it"),
            Fault::OutOfRange {
                what,
                value,
                min,
                max,
            } => write!(f, "{what} {value} is not from {min} to {max}"),
        }
    }
}

/// Draws random bytes, as keys are made of.
///
/// # Errors
/// When the system has none.
pub fn fill_random(bytes: &mut [u8]) -> Result<(), Fault> {
    let drawn = SystemRandom::new().fill(bytes);
    drawn.map_err(|_| Fault::NoRandomness)
}

/// The first `len` bytes of a buffer that a library fills, which grows to the largest bound in use:
/// clearing that much in the caller's buffer for every message costs more than copying what came
/// out.
pub(crate) fn scratch(buf: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buf.len() < len {
        buf.resize(len, 0);
    }
    buf.get_mut(..len).unwrap_or_default()
}

/// Appends the first `len` bytes of what a library filled.
pub(crate) fn append(out: &mut Vec<u8>, from: &[u8], len: usize) -> Result<(), Fault> {
    let result = from.get(..len).ok_or(Fault::Malformed)?;
    out.extend_from_slice(result);
    Ok(())
}

/// Appends bytes as they are, unless there would be more than `max`.
pub(crate) fn append_all(out: &mut Vec<u8>, bytes: &[u8], max: usize) -> Result<(), Fault> {
    if bytes.len() > max {
        return Err(Fault::TooLong(max));
    }
    out.extend_from_slice(bytes);
    Ok(())
}
