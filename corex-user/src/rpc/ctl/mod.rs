//! The module `ctl`: binrpc over stream and datagram sockets.
//!
//! A client that is slow, too fast or broken costs itself its connection and nobody else
//! anything: all waiting is bounded, and counted in [`super::fronts::FrontCounters`].

mod listener;
mod server;
mod stream;

#[cfg(test)]
mod tests;

pub use self::listener::Listener;
