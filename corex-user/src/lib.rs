//! corex: an eBPF/XDP-accelerated SIP interception proxy.
//!
//! The modules stand in the order in which a message passes them; each knows only its
//! neighbours. docs/architecture.md follows one message through.

// Of this crate only `kernel` may: system calls and memory shared with eBPF maps.
#![deny(unsafe_code)]

pub mod io;

pub mod hep;
pub mod hook;
pub mod pipeline;

pub mod answer;

pub mod access;
pub mod catalogue;
pub mod module;

pub mod chain;
pub mod keystore;

pub mod daemon;
pub mod decode;
pub mod dictionary;
pub mod guard;
pub mod http;
#[allow(unsafe_code)]
pub mod kernel;
pub mod rpc;
pub mod telemetry;
pub mod tls;
pub mod top;
