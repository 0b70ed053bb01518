//! Messages on their way from one worker to another, with copies of their bytes.

use std::net::SocketAddr;

use corex_script::{ConnectionId, SocketId};
use corex_sip::Transport;

use crate::pipeline::Inbound;

/// Some messages of one worker, for one other.
#[derive(Debug)]
pub struct Parcel {
    /// The worker that they are from.
    pub(super) from: usize,
    bytes: Vec<u8>,
    messages: Vec<Message>,
}

/// [`Inbound`], with the end of its bytes instead of them.
#[derive(Debug)]
struct Message {
    end: usize,
    source: SocketAddr,
    local: SocketAddr,
    socket: SocketId,
    transport: Transport,
    connection: Option<ConnectionId>,
    ttl: Option<u8>,
}

impl Parcel {
    /// Without messages, from that worker.
    pub fn new(from: usize) -> Self {
        Self {
            from,
            bytes: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Copies a message.
    pub fn add(&mut self, inbound: &Inbound<'_>) {
        self.bytes.extend_from_slice(inbound.payload);
        self.messages.push(Message {
            end: self.bytes.len(),
            source: inbound.source,
            local: inbound.local,
            socket: inbound.socket,
            transport: inbound.transport,
            connection: inbound.connection,
            ttl: inbound.ttl,
        });
    }

    /// How many messages.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of all of them.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The messages, in their order.
    pub fn messages(&self) -> impl Iterator<Item = Inbound<'_>> {
        let mut start = 0;
        self.messages.iter().map(move |message| {
            let bytes = self.bytes.get(start..message.end);
            start = message.end;
            Inbound {
                payload: bytes.unwrap_or_default(),
                source: message.source,
                local: message.local,
                socket: message.socket,
                transport: message.transport,
                connection: message.connection,
                ttl: message.ttl,
            }
        })
    }
}
