//! How datagrams come and go: AF_XDP rings ([`xdp`]), kernel sockets ([`socket`]), and the
//! worker that turns around both. Beside them what must not stop a worker: [`files`].

pub mod egress;
pub mod files;
pub mod listen;
pub mod socket;
pub mod steered;
pub mod worker;
pub mod xdp;
