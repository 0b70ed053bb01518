//! A lazy, zero-copy view of a SIP message (RFC 3261).
//!
//! [`SipView::parse`] reads the start line and nothing else. Headers are located the first
//! time one is asked for, and values are parsed when asked for. Everything that is returned
//! is a subslice of the message, so an offset into it can always be computed, and nothing
//! here allocates. Text is bytes, not `str`: SIP on the wire carries whatever peers put there.

#![forbid(unsafe_code)]

pub mod alias;
pub mod compose;
pub mod strict;

mod address;
mod header;
mod lex;
mod param;
mod transport;
mod uri;
mod via;
mod view;

#[cfg(test)]
mod tests;

pub use address::{NameAddr, values};
pub use header::{Header, Headers, same_header};
pub use lex::host_ip;
pub use param::{Param, ParamIter, Params};
pub use transport::Transport;
pub use uri::{Scheme, Uri, UriError};
pub use via::{Rport, Via, Vias};
pub use view::{CSeq, NotSip, SipView, StartLine};
