//! How datagrams come and go: AF_XDP rings (the crate corex-xdp), kernel sockets ([`socket`]), and the
//! worker that turns around both. Beside them what must not stop a worker: streams
//! ([`stream`], [`sctp`]) and names ([`resolve`]), which the [`courier`] takes messages to.

pub mod courier;
pub mod egress;
pub mod inline;
pub mod listen;
mod proxy;
pub mod resolve;
pub mod sctp;
pub mod socket;
pub mod steered;
pub mod stream;
pub mod worker;
pub mod xdp_side;
