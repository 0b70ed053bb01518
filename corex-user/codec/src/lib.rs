//! Codecs: exact, invertible transformations of whole messages, and chains of them.
//!
//! A codec knows nothing of SIP, of sockets or of scripts: bytes in, bytes out, the output bounded by
//! the caller, and what goes wrong has a name ([`Fault`]). Each is one file and one line in [`CODECS`].
//! A [`ChainSpec`] is what a line of text names, checked; [`Chain`] is what one worker runs: it keeps
//! its buffers, so that a message costs no allocation once they have grown.
//!
//! Secrets ([`Keys`]) and dictionaries ([`Dictionary`]) are made once and shared by all workers;
//! a [`Materials`] hands them out by name.

#![forbid(unsafe_code)]

mod aead;
mod chain;
mod codec;
mod deflate;
mod device;
mod dictionary;
pub mod enrol;
mod http;
mod itv;
mod keys;
mod link;
mod session;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
#[cfg(feature = "train")]
mod train;
mod xor;
mod zstd;

pub use aead::MAX_SESSIONS;
pub use chain::{Chain, ChainSpec, Step, Stepwise};
pub use codec::{Codec, CodecError, Fault, Reason, Role, fill_random};
pub use device::{
    DeviceId, DeviceIdError, DeviceKey, Devices, Found, MAX_DEVICE_SESSIONS, MAX_DEVICES,
};
pub use dictionary::{Dictionary, DictionaryError, SHIPPED};
pub use keys::{KeySource, Keys, Secret, SecretError, SecretFile, SecretReader};
pub use link::{CodecDef, Materials, Mistake};
pub use session::SESSION_SECONDS;
pub use table::CODECS;
#[cfg(feature = "train")]
pub use train::{TrainError, train};
