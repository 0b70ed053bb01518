//! What the maps of roads are to hold, as plain data.

use std::net::{IpAddr, SocketAddr};

use corex_common::road::{
    DROP_SCRIPT, DROP_UNROUTED, ROAD_SOURCE_BITS, Road, RoadClass, RoadSource, SEND,
};

/// Roads, and what leads to them.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// The roads, by number.
    pub roads: Vec<RoadSpec>,
    /// The listen sockets that roads lead from.
    pub sockets: Vec<SocketSpec>,
    /// DSCP and ECN of what is sent.
    pub traffic_class: u8,
    /// Whether IPv4 is sent with DF.
    pub dont_fragment: bool,
}

/// A road.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoadSpec {
    /// The listen socket's id.
    pub socket: u32,
    /// Its address, which what is sent comes from.
    pub from: SocketAddr,
    /// What happens.
    pub action: Action,
}

/// What happens on a road.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The message is sent there.
    Send(SocketAddr),
    /// It is dropped, as the script says.
    DropScript,
    /// It is dropped, since the script sends it nowhere.
    DropUnrouted,
}

/// The roads from a listen socket.
#[derive(Clone, Debug)]
pub struct SocketSpec {
    /// Its id.
    pub socket: u32,
    /// By network of the source; the first is for all others.
    pub classes: Vec<((IpAddr, u8), RoadClass)>,
}

/// An address as the maps have it.
fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&ip.octets());
            address
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// A network of sources of a socket, with the length of its prefix.
pub(super) fn source(socket: u32, (ip, len): (IpAddr, u8)) -> (u32, RoadSource) {
    let source = RoadSource {
        socket: socket.to_be_bytes(),
        addr: address(ip),
    };
    (ROAD_SOURCE_BITS + u32::from(len), source)
}

/// A road as the map has it, without a hop.
pub(super) fn road(spec: &RoadSpec, layout: &Layout) -> Road {
    let (action, to) = match spec.action {
        Action::Send(to) => (SEND, Some(to)),
        Action::DropScript => (DROP_SCRIPT, None),
        Action::DropUnrouted => (DROP_UNROUTED, None),
    };
    Road {
        action,
        to: to.map_or([0; 16], |to| address(to.ip())),
        from: address(spec.from.ip()),
        to_port: to.map_or(0, |to| to.port()),
        from_port: spec.from.port(),
        family: if spec.from.is_ipv4() { 4 } else { 6 },
        socket: spec.socket,
        traffic_class: layout.traffic_class.into(),
        dont_fragment: layout.dont_fragment.into(),
        ..Road::default()
    }
}
