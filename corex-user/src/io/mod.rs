//! How datagrams come and go: AF_XDP queues ([`xdp_side`], over the crate corex-xdp), kernel
//! sockets ([`socket`]), and the [`worker`] that serves both in turn, or hands messages to another one
//! ([`shard`]). Beside them runs what must not
//! stop a worker: streams ([`stream`], [`sctp`]) and name resolution ([`resolve`]), to which the
//! [`outbox`] hands messages.

pub mod byte_text;
mod departures;
pub mod egress;
pub mod gate;
pub mod inline;
pub mod listen;
pub mod order;
pub mod outbox;
mod pressure;
mod proxy;
pub mod resolve;
pub mod sctp;
mod segments;
pub mod shard;
pub mod socket;
pub mod stream;
pub mod transmit;
pub mod worker;
pub mod xdp_datagram;
pub mod xdp_side;
