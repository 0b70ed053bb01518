//! Inline mode: a server and a device that know nothing of corex, and the wire between them.

mod bench;
mod calls;
mod demo;
mod failure;
mod forms;
mod fragments;
mod hosts;
mod pair;
