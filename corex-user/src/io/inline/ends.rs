//! Where packets go that come from one of a worker's queues.

use std::net::SocketAddr;

use corex_common::ip::PROTOCOL_UDP;
use corex_packet::View;
use corex_script::Direction;

use crate::{kernel::host::LiveMtu, pipeline::PipelineContext};

/// A worker's queue, of a NIC or of the veth pair of one.
#[derive(Clone, Debug)]
pub struct End {
    /// Its place among the worker's queues.
    pub place: usize,
    /// That of the queue on the other side: the pair's for one of the NIC, the NIC's for one of the
    /// pair.
    pub other: usize,
    /// Whether it is the NIC's.
    pub is_nic: bool,
    /// The NIC's MTU as it is now.
    pub mtu: LiveMtu,
    /// The pair's.
    pub pair_mtu: u32,
    /// Source MAC that marks packets for generic XDP on the NIC, which sees them again.
    pub mac: Option<[u8; 6]>,
}

/// The way of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    /// In or out.
    pub way: Direction,
    /// The queue that it goes on by, by its place among the worker's.
    pub to: usize,
    /// Largest IP packet there.
    pub mtu: usize,
    /// Source MAC that it gets.
    pub source_mac: Option<[u8; 6]>,
    /// The queue that it came from.
    pub from: usize,
    /// As [`Self::source_mac`], for what goes back there.
    pub back_mac: Option<[u8; 6]>,
}

impl End {
    /// The way of a packet that came from this queue. `view` is `None` for one that isn't IP.
    pub fn leg(&self, context: &PipelineContext, packet: &[u8], view: Option<&View>) -> Leg {
        let mtu = self.mtu.get();
        if self.is_nic || view.is_some_and(|view| is_incoming(context, packet, view)) {
            Leg {
                way: Direction::Incoming,
                to: if self.is_nic { self.other } else { self.place },
                mtu: mtu.min(self.pair_mtu) as usize,
                source_mac: self.mac,
                from: self.place,
                back_mac: None,
            }
        } else {
            Leg {
                way: Direction::Outgoing,
                to: self.other,
                mtu: mtu as usize,
                source_mac: None,
                from: self.place,
                back_mac: self.mac,
            }
        }
    }
}

/// Whether a packet on the pair came in by a queue of the NIC that has no AF_XDP socket: it is for a
/// protected socket and not from one, as the detour's XDP program tells them apart.
fn is_incoming(context: &PipelineContext, packet: &[u8], view: &View) -> bool {
    if let Ok(datagram) = view.udp(packet) {
        let is_protected = |socket: SocketAddr| context.find(socket).is_some();
        return !is_protected(datagram.src) && is_protected(datagram.dst);
    }
    let is_protected = |ip| context.listeners.iter().any(|l| l.address.ip() == ip);
    view.protocol == PROTOCOL_UDP && !is_protected(view.src) && is_protected(view.dst)
}
