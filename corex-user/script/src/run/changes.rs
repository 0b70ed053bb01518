//! What a script decides about the message that it runs on. The message's bytes stay as they are:
//! what is decided counts for this run, and for what forward() and replies are made of.

use super::routing::Routing;
use super::value::StrRef;
use crate::SocketId;
use corex_sip::compose::Edits;

/// A quality value in thousandths, 0 to 1000 (RFC 3261 §20.10).
pub type Quality = u16;

/// Everything that one run decided.
#[derive(Clone, Default)]
pub struct Changes {
    /// `$ru`.
    pub request_uri: Option<StrRef>,
    /// `$du`.
    pub destination: Option<StrRef>,
    /// The path vector: what a Route header is made of.
    pub path: Option<StrRef>,
    /// `$fs`.
    pub socket: Option<SocketId>,
    /// The request URI's own q.
    pub quality: Option<Quality>,
    /// Further destinations: what append_branch() added.
    pub branches: Vec<Branch>,
    /// Changes to the message's bytes.
    pub edits: Edits,
    /// Header lines for our own reply.
    pub reply_headers: Vec<u8>,
    /// A reply that a check has left to the script: code, 0 for none, and reason phrase.
    pub pending_reply: Option<(u16, &'static str)>,
    /// Message flags, by bit.
    pub flags: u32,
    /// Extended message flags, by bit: what setxflag() sets.
    pub extended_flags: u64,
    /// Branch flags of the request URI, by bit.
    pub branch_flags: u32,
    /// Flags of the run, by bit: what setsflag() sets.
    pub script_flags: u32,
    /// Internal flags, by bit: what msg_iflag_set() sets.
    pub internal_flags: u32,
    /// force_rport() was called: replies go to the port that the request came from.
    pub force_rport: bool,
    /// add_local_rport() was called: our Via asks for rport.
    pub local_rport: bool,
    /// Max-Forwards was counted down by the script already.
    pub counted_hop: bool,
    /// Record-Route, Path, and what Route said.
    pub routing: Routing,
}

impl Changes {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        // All fields by name, so that none is forgotten; in place, since it is done for each message.
        let Changes {
            request_uri,
            destination,
            path,
            socket,
            quality,
            branches,
            edits,
            reply_headers,
            pending_reply,
            flags,
            extended_flags,
            branch_flags,
            script_flags,
            internal_flags,
            force_rport,
            local_rport,
            counted_hop,
            routing,
        } = self;
        *request_uri = None;
        *destination = None;
        *path = None;
        *socket = None;
        *quality = None;
        branches.clear();
        edits.clear();
        reply_headers.clear();
        *pending_reply = None;
        *flags = 0;
        *extended_flags = 0;
        *branch_flags = 0;
        *script_flags = 0;
        *internal_flags = 0;
        *force_rport = false;
        *local_rport = false;
        *counted_hop = false;
        routing.clear();
    }
}

/// One more destination of a request.
#[derive(Clone, Copy)]
pub struct Branch {
    /// Its request URI.
    pub uri: StrRef,
    /// Where a redirect reply ranks it.
    pub quality: Option<Quality>,
    /// Where it is sent instead of its URI.
    pub destination: Option<StrRef>,
    /// Its path vector.
    pub path: Option<StrRef>,
    /// The socket to send from.
    pub socket: Option<SocketId>,
    /// Branch flags, by bit.
    pub flags: u32,
}
