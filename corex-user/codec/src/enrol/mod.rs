//! Enrolment: how a device brings its key to a server, and what the server answers.
//!
//! docs/enrolment.md has the format byte for byte. A device's [`Enrolment`] is sealed with what it has of
//! the server, an [`EnrolmentKey`]: a secret that both share, or the server's public key. A server's
//! [`Enroller`] opens it with a [`ServerKey`], and answers what proves that it has the device's key. What
//! is kept where, and how much work is done for whom, is up to those who call it.

mod answer;
mod body;
mod client;
mod keys;
mod notice;
mod packet;
mod replays;
mod seal;
mod server;

#[cfg(test)]
mod tests;

pub use self::answer::{ANSWER_LEN, Answer};
pub use self::client::Enrolment;
pub use self::keys::{EnrolmentKey, EnrolmentKeyError, Generated, ServerKey};
pub use self::notice::{NOTICE_LEN, UnknownNotice};
pub use self::packet::Packet;
pub use self::replays::MAX_ENROLMENTS;
pub use self::seal::Method;
pub use self::server::{Enrolled, Enroller};

/// Version, method, the server's key, and how much is sealed.
const HEAD_LEN: usize = 5;
/// What names this version where a purpose is named.
const INFO: &[u8] = b"corex enrol 1";
