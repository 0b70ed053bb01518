//! What threads share without a lock: numbers of one writer that many read at one moment
//! ([`Versioned`]), and the flag of a thread that sleeps ([`Doze`]). Each is small enough that
//! `cargo xtask fuzz --loom` tries it in every order that the memory model allows.

#![forbid(unsafe_code)]

mod doze;
mod sync;
mod versioned;

#[cfg(all(test, feature = "loom"))]
mod models;

pub use doze::Doze;
pub use versioned::Versioned;
