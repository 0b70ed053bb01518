//! Links and neighbours, as the kernel tells.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::TryStreamExt as _;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::RouteAttribute,
};
use rtnetlink::Handle;

use super::{ask::ip_of, changes::Changes};
use crate::kernel::host::{Links, link_of};

/// What the kernel told about links and neighbours.
#[derive(Default, PartialEq)]
pub struct Known {
    /// Its links.
    pub links: Links,
    /// MACs of neighbours, by interface and address.
    pub neighbours: HashMap<(u32, IpAddr), [u8; 6]>,
}

impl Known {
    /// Reads all from the kernel.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn dump(handle: &Handle) -> Result<Self, rtnetlink::Error> {
        let mut known = Self::default();
        let mut links = handle.link().get().execute();
        while let Some(link) = links.try_next().await? {
            known.links.extend(link_of(&link));
        }
        let mut neighbours = handle.neighbours().get().execute();
        while let Some(neighbour) = neighbours.try_next().await? {
            known.neighbour(&neighbour, &mut Changes::default());
        }
        Ok(known)
    }

    /// Takes an event in, and notes what it may change.
    pub fn apply(&mut self, event: NetlinkPayload<RouteNetlinkMessage>, changes: &mut Changes) {
        let message = match event {
            NetlinkPayload::InnerMessage(message) => message,
            NetlinkPayload::Overrun(_) => {
                changes.all = true;
                changes.are_lost = true;
                return;
            }
            _ => return,
        };
        match message {
            RouteNetlinkMessage::NewLink(message) => {
                if let Some((index, link)) = link_of(&message)
                    && self.links.insert(index, link.clone()) != Some(link)
                {
                    // One that goes down takes routes with it of which nothing is told.
                    changes.links.insert(index);
                    changes.all = true;
                }
            }
            // A port that leaves its bridge is told of as a deleted link, too.
            RouteNetlinkMessage::DelLink(message) => {
                if let Some((index, _)) = link_of(&message) {
                    self.links.remove(&index);
                    self.neighbours.retain(|(ifindex, _), _| *ifindex != index);
                    changes.all = true;
                }
            }
            RouteNetlinkMessage::NewNeighbour(neighbour) => self.neighbour(&neighbour, changes),
            RouteNetlinkMessage::DelNeighbour(neighbour) => {
                if let Some(key) = neighbour_key(&neighbour)
                    && self.neighbours.remove(&key).is_some()
                {
                    changes.neighbours.insert(key);
                }
            }
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                let header = &route.header;
                let default = match header.address_family {
                    AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
                    AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
                    // Multicast routing and the like.
                    _ => return,
                };
                let to = route
                    .attributes
                    .iter()
                    .find_map(|attribute| match attribute {
                        RouteAttribute::Destination(address) => ip_of(address),
                        _ => None,
                    });
                changes.add_prefix(to.unwrap_or(default), header.destination_prefix_length);
            }
            _ => changes.all = true,
        }
    }

    fn neighbour(&mut self, message: &NeighbourMessage, changes: &mut Changes) {
        let Some(key) = neighbour_key(message) else {
            return;
        };
        let usable = matches!(
            message.header.state,
            NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Permanent
        );
        let mac = message.attributes.iter().find_map(|a| match a {
            NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        });
        let is_new = match mac {
            Some(mac) if usable => self.neighbours.insert(key, mac) != Some(mac),
            _ => self.neighbours.remove(&key).is_some(),
        };
        if is_new {
            changes.neighbours.insert(key);
        }
    }
}

fn neighbour_key(message: &NeighbourMessage) -> Option<(u32, IpAddr)> {
    let ip = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    Some((message.header.ifindex, ip))
}
