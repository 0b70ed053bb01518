//! How datagrams come and go: AF_XDP rings ([`xdp`]), kernel sockets ([`socket`]), and the
//! worker that turns around both.

pub mod egress;
pub mod listen;
pub mod socket;
pub mod steered;
pub mod worker;
pub mod xdp;
