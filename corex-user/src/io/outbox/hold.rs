//! Holding what waits for names, so that a successor sends it or, where nothing comes of it, this
//! process.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::AsyncOutbox;
use crate::{
    io::byte_text::ByteText,
    pipeline::outbox::{Address, Deferred, Outbox as _},
};
use corex_script::{ConnectionId, SendError, SocketId, settings::OwnSockets};
use corex_sip::Transport;

/// The most bytes of messages that are handed over.
const MOST_BYTES: usize = 64 << 20;

/// A message that waits for its name, for another process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingCopy {
    payload: ByteText,
    host: String,
    port: Option<u16>,
    secure: bool,
    transport: String,
    /// The number of the listen socket to send from.
    pub socket: u16,
    local: SocketAddr,
    ttl: u8,
    sender: IpAddr,
    connection: Option<u64>,
    is_reply: bool,
}

/// What waits for names, held. Dropped, it lets them go on.
pub struct OutboxHold {
    outbox: AsyncOutbox,
    lent: Vec<u64>,
}

impl AsyncOutbox {
    /// Has nothing that waits for a name be sent from here on.
    pub fn hold(&self) -> OutboxHold {
        self.inner.held.send_replace(true);
        OutboxHold {
            outbox: self.clone(),
            lent: Vec::new(),
        }
    }

    /// Sends what waited for names with a predecessor. `own`: where what is sent comes back to us.
    pub fn take_over(&self, waiting: Vec<WaitingCopy>, own: &Arc<OwnSockets>) {
        for copy in waiting {
            // Of what nobody else writes there is no other transport.
            let transport = Transport::parse(&copy.transport).unwrap_or(Transport::Udp);
            let submitted = self.submit(Deferred {
                payload: copy.payload.into(),
                to: Address::Name {
                    host: copy.host,
                    port: copy.port,
                    secure: copy.secure,
                },
                transport,
                socket: SocketId(copy.socket),
                local: copy.local,
                ttl: copy.ttl,
                sender: copy.sender,
                own: Arc::clone(own),
                connection: copy.connection.map(ConnectionId),
                is_reply: copy.is_reply,
                // What it was before the hook stays with the predecessor.
                copies: Default::default(),
            });
            let Err(error) = submitted else { continue };
            self.inner.counters.add(|c| &c.queued);
            self.inner.counters.add(match error {
                SendError::Unresolved => |c| &c.drop_unresolved,
                _ => |c| &c.drop_queue_full,
            });
        }
    }
}

impl OutboxHold {
    /// Copies of what waits. Nothing may be submitted meanwhile. What is too much stays, and goes on.
    pub fn lend(&mut self) -> Vec<WaitingCopy> {
        let waiting = self.outbox.waiting();
        let mut bytes = 0;
        let mut copies = Vec::new();
        let mut in_order: Vec<_> = waiting.iter().collect();
        in_order.sort_by_key(|(number, _)| **number);
        for (number, message) in in_order {
            let Address::Name { host, port, secure } = &message.to else {
                continue;
            };
            if bytes + message.payload.len() > MOST_BYTES {
                continue;
            }
            bytes += message.payload.len();
            self.lent.push(*number);
            copies.push(WaitingCopy {
                payload: message.payload.clone().into(),
                host: host.clone(),
                port: *port,
                secure: *secure,
                transport: message.transport.as_str().to_owned(),
                socket: message.socket.0,
                local: message.local,
                ttl: message.ttl,
                sender: message.sender,
                connection: message.connection.map(|connection| connection.0),
                is_reply: message.is_reply,
            });
        }
        copies
    }

    /// What was lent is a successor's now.
    pub fn leave(self) {
        let mut waiting = self.outbox.waiting();
        for number in &self.lent {
            waiting.remove(number);
        }
        let counters = &self.outbox.inner.counters;
        counters.add_many(|c| &c.handed_over, self.lent.len());
    }
}

impl Drop for OutboxHold {
    fn drop(&mut self) {
        self.outbox.inner.held.send_replace(false);
    }
}
