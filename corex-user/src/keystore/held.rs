//! Messages that wait off the path of their worker, and how they come back to it.

use std::net::{IpAddr, SocketAddr};

use corex_script::{ConnectionId, Purpose, SocketId};
use corex_sip::Transport;

use super::limits::Place;
use super::record::KeyName;

/// What a message waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wanted {
    /// A key that the message names.
    Key(KeyName),
    /// The key of the device at an address.
    Peer(SocketAddr),
}

/// A message as it came: what its worker needs to begin with it anew.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its bytes; in inline mode, those of the packet that it is in.
    pub bytes: Vec<u8>,
    /// Who sent it.
    pub source: SocketAddr,
    /// Whose place it takes among what waits.
    pub holder: IpAddr,
    /// Where it was sent to.
    pub local: SocketAddr,
    /// The listen socket.
    pub socket: SocketId,
    /// The transport that it came by.
    pub transport: Transport,
    /// The connection that it came on.
    pub connection: Option<ConnectionId>,
    /// Time to live, or hop limit, of the datagram that it came in.
    pub ttl: Option<u8>,
    /// In inline mode, the queue that the packet came by.
    pub queue: Option<QueueId>,
}

/// A queue of a worker's: the unit of its AF_XDP sockets, and the place in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueId {
    /// The unit.
    pub unit: u32,
    /// The place.
    pub place: usize,
}

/// A message on its way out, as its script sent it.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it is.
    pub purpose: Purpose,
    /// Where it goes.
    pub to: SocketAddr,
    /// The transport to send by.
    pub transport: Transport,
    /// The listen socket to send from.
    pub socket: SocketId,
    /// Our address.
    pub local: SocketAddr,
    /// The connection to use if it is still there.
    pub connection: Option<ConnectionId>,
    /// Whether it is a reply on its way back.
    pub is_reply: bool,
    /// Whether SIP ends a loop that it may be in.
    pub is_hop_counted: bool,
    /// Flags of the message that it comes of.
    pub flags: u32,
    /// Who sent that.
    pub sender: SocketAddr,
    /// Time to live of the datagram that that came in.
    pub ttl: Option<u8>,
}

/// A message that waits.
#[derive(Clone, Debug)]
pub enum Held {
    /// On its way in.
    Arrival(Arrival),
    /// On its way out.
    Departure(Departure),
}

impl Held {
    /// Whose place it takes: of what is for a device, that device's.
    pub(super) fn holder(&self) -> IpAddr {
        match self {
            Held::Arrival(arrival) => arrival.holder,
            Held::Departure(departure) => departure.to.ip(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Held::Arrival(arrival) => arrival.bytes.len(),
            Held::Departure(departure) => departure.bytes.len(),
        }
    }
}

/// What has become of what a message waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is known now, if only that there is no such key.
    Ready,
    /// The store is away, or slow.
    Away,
    /// The message was a device's enrolment.
    Enrolled(Enrolled),
    /// It was one that is refused.
    Refused,
}

/// What has come of an enrolment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolled {
    /// The chain that it came by.
    pub chain: usize,
    /// Whether it was a script that ran the chain.
    pub by_script: bool,
    /// What the device is told, for the codecs behind that of its key.
    pub acknowledgement: Vec<u8>,
    /// The message that it brought, for that codec and those before it.
    pub first: Option<Vec<u8>>,
}

/// A message that comes back to its worker.
#[derive(Debug)]
pub struct Returned {
    /// The message.
    pub held: Held,
    /// What has become of it.
    pub outcome: Outcome,
    /// Free when the message is done with.
    pub(super) _place: Place,
}

impl Returned {
    /// In inline mode, the queue that its packet came by.
    pub fn queue(&self) -> Option<QueueId> {
        match &self.held {
            Held::Arrival(arrival) => arrival.queue,
            Held::Departure(_) => None,
        }
    }
}
