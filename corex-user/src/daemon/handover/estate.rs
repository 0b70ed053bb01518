//! What is handed over, and what both sides say.

use std::{io, net::SocketAddr, os::fd::OwnedFd};

use serde::{Deserialize, Serialize};

use super::{guard::GuardCopy, peers::PeersCopy, tables::TableCopy};
use crate::{
    daemon::reply_keys,
    io::{outbox::WaitingCopy, stream::StreamsCopy},
};

/// Goes up with every change that an older or newer corex would take for something else.
pub const VERSION: u32 = 3;

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A worker's UDP socket.
    Datagrams {
        /// The worker's number.
        worker: usize,
        /// The address that it listens on.
        address: SocketAddr,
    },
    /// A socket that accepts TCP connections.
    Listener {
        /// The address that it listens on.
        address: SocketAddr,
    },
    /// What remote control, metrics or health are served on.
    FrontEnd {
        /// As the configuration names it.
        name: String,
    },
    /// A worker's packet memory.
    PacketMemory {
        /// The worker's number.
        worker: usize,
        /// How many chunks.
        chunks: u32,
        /// Bytes of each.
        chunk_size: u32,
    },
    /// An AF_XDP socket over the worker's packet memory.
    Queue {
        /// The worker's number.
        worker: usize,
        /// The interface's index.
        ifindex: u32,
        /// The receive queue.
        queue: u32,
        /// Whether it is bound for zero copy.
        zero_copy: bool,
    },
    /// The XDP program's link.
    Link {
        /// The interface's index.
        ifindex: u32,
        /// In the driver; else generic XDP.
        is_native: bool,
    },
    /// The map with the buckets of sources that the programs judge rates by.
    Buckets {
        /// The rules that they are of, as text.
        rates: String,
    },
    /// The lock of the instance's name.
    Name,
    /// The socket that successors connect to.
    Offer,
}

/// All that is handed over, each item with its descriptor.
#[derive(Debug, Default)]
pub struct Estate {
    /// In no order that counts.
    pub items: Vec<(Item, OwnedFd)>,
    /// The key that replies are told by, where no file has it.
    pub reply_key: [u8; reply_keys::LEN],
    /// What scripts keep, as it is now.
    pub tables: Vec<TableCopy>,
    /// The guard's entries, as they are now.
    pub guard: GuardCopy,
    /// The peers that are known now.
    pub peers: PeersCopy,
}

impl Estate {
    /// Adds an item.
    pub fn add(&mut self, item: Item, descriptor: OwnedFd) {
        self.items.push((item, descriptor));
    }

    /// The same items, with copies of the descriptors; without tables.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Estate> {
        let items = self.items.iter();
        let items = items.map(|(item, descriptor)| Ok((item.clone(), descriptor.try_clone()?)));
        Ok(Estate {
            items: items.collect::<io::Result<_>>()?,
            reply_key: self.reply_key,
            tables: Vec::new(),
            guard: GuardCopy::default(),
            peers: PeersCopy::default(),
        })
    }

    /// Takes the first item out that `wanted` picks.
    pub fn take<R>(&mut self, wanted: impl Fn(&Item) -> Option<R>) -> Option<(R, OwnedFd)> {
        let found = |(at, (item, _)): (usize, &(Item, OwnedFd))| Some((at, wanted(item)?));
        let (at, what) = self.items.iter().enumerate().find_map(found)?;
        Some((what, self.items.swap_remove(at).1))
    }

    /// Whether there is an item that `wanted` picks.
    pub fn has(&self, wanted: impl Fn(&Item) -> bool) -> bool {
        self.items.iter().any(|(item, _)| wanted(item))
    }
}

/// What the successor says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    /// The first word.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The version of corex, for the log.
        corex: String,
    },
    /// It is ready: the predecessor is to stop.
    Freeze,
    /// It takes over.
    Commit,
}

/// What the predecessor says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Tell {
    /// What its descriptors are, in their order; they follow.
    Estate {
        /// The version of corex, for the log.
        corex: String,
        /// One for each descriptor.
        items: Vec<Item>,
        /// [`Estate::reply_key`].
        reply_key: [u8; reply_keys::LEN],
        /// [`Estate::tables`].
        tables: Vec<TableCopy>,
        /// [`Estate::guard`].
        #[serde(default)]
        guard: GuardCopy,
        /// [`Estate::peers`].
        #[serde(default)]
        peers: PeersCopy,
    },
    /// Nothing is handed over.
    Refused {
        /// Why.
        why: String,
    },
    /// Its workers have stopped. The descriptors of its connections follow.
    Frozen(Frozen),
    /// It does nothing more.
    Go,
    /// Its last word.
    Farewell(Farewell),
}

/// How things stand as the predecessor's workers have stopped.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Frozen {
    /// Those with packet memory.
    pub workers: Vec<WorkerLedger>,
    /// What scripts have changed since [`Estate::tables`].
    pub tables: Vec<TableCopy>,
    /// What has changed of [`Estate::guard`] since.
    #[serde(default)]
    pub guard: GuardCopy,
    /// Those that have become known, or were heard of again, since.
    #[serde(default)]
    pub peers: PeersCopy,
    /// TCP connections, and what waits to be sent.
    pub streams: StreamEstate,
}

/// What goes by streams, or to names.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct StreamEstate {
    /// The listen sockets, in the order of their numbers.
    pub sockets: Vec<String>,
    /// Connections; their descriptors come with the message.
    pub streams: StreamsCopy,
    /// Messages that wait for names.
    pub waiting: Vec<WaitingCopy>,
}

/// Who has which frame of a worker's packet memory: these are free, and the rest is in the rings or
/// in the kernel's hands.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkerLedger {
    /// The worker's number.
    pub worker: usize,
    /// Numbers of free chunks.
    pub free: Vec<u32>,
    /// Its queues, in the order of their sockets.
    pub queues: Vec<QueueLedger>,
}

/// What is known of a queue beside its rings.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueLedger {
    /// The interface's index.
    pub ifindex: u32,
    /// The receive queue.
    pub queue: u32,
    /// Entries of each ring.
    pub ring_size: u32,
    /// Chunks of the frames handed to the kernel to be sent and not given back yet.
    pub out: Vec<u32>,
    /// Packets that the kernel had dropped for want of a frame.
    pub rx_dropped: u64,
    /// Packets that the kernel had dropped as the receive ring was full.
    pub rx_ring_full: u64,
}

/// What the predecessor knows when the successor's programs are in their places.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Farewell {
    /// Packets that its program had steered and that are left in the rings.
    pub in_rings: u64,
}
