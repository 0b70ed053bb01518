//! Inline mode's part of the kernel: a veth pair for each NIC, and the programs that lead a
//! protected server's packets through it. All of it outlives a daemon that is killed, so that
//! `on_failure` holds then too, and is taken over by the next one of the same instance.

pub mod caretaker;
mod heartbeats;
pub mod links;
pub mod predecessor;
pub mod veth;

pub use self::{
    caretaker::Caretaker,
    heartbeats::Heartbeats,
    links::{Links, TcChoice},
    predecessor::{Left, Predecessor},
    veth::Pair,
};
