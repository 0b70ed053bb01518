//! Inline mode: a server and a device that know nothing of corex, and the wire between them.

mod calls;
mod demo;
mod failure;
mod forms;
mod hosts;
mod pair;
