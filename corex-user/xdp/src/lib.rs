//! AF_XDP: the memory that packets live in, the rings that they travel on, and the socket
//! that ties both to a queue of a NIC (kernel: Documentation/networking/af_xdp.rst).
//!
//! All `unsafe` of the packet path in user space is in this crate. What keeps it sound:
//! - a [`Frame`] is the only name of a chunk of [`Umem`]; it can't be copied, so whoever
//!   holds it has the chunk alone, and a chunk in a ring has no `Frame`;
//! - ring indices wrap, and descriptors that come from the kernel are checked before they
//!   become a `Frame` again.

mod flight;
mod progress;
mod ring;
mod socket;
mod sync;
mod sys;
mod umem;

pub use flight::Departed;
pub use progress::Change;
pub use socket::{
    Bound, QueueSocket, RING_SIZE, RingLedger, Statistics, UnboundSocket, XskError, join, open,
};
pub use umem::{Frame, FramePool, Umem};
