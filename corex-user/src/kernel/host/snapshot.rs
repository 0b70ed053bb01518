//! Links and addresses together, read once and then kept by events.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::Handle;

use super::{
    addresses::{Assignment, LinkAddress, address_of},
    links::{Links, link_of},
};

/// The host as the kernel told last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Its links.
    pub links: Links,
    /// The addresses on them.
    pub addresses: BTreeMap<LinkAddress, Assignment>,
}

/// What an event means for a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is taken in.
    Done,
    /// Events were lost: all must be read anew.
    Lost,
}

impl Snapshot {
    /// Reads all from the kernel.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn read(handle: &Handle) -> Result<Self, rtnetlink::Error> {
        let mut snapshot = Self::default();
        let mut links = handle.link().get().execute();
        while let Some(message) = links.try_next().await? {
            snapshot.links.extend(link_of(&message));
        }
        let mut addresses = handle.address().get().execute();
        while let Some(message) = addresses.try_next().await? {
            snapshot.addresses.extend(address_of(&message));
        }
        Ok(snapshot)
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: NetlinkPayload<RouteNetlinkMessage>) -> Applied {
        match event {
            NetlinkPayload::InnerMessage(message) => match message {
                RouteNetlinkMessage::NewLink(message) => self.links.extend(link_of(&message)),
                RouteNetlinkMessage::DelLink(message) => {
                    // A port that leaves its bridge is told of as a deleted link, too.
                    if let Some((index, _)) = link_of(&message) {
                        self.links.remove(&index);
                        self.addresses.retain(|address, _| address.ifindex != index);
                    }
                }
                RouteNetlinkMessage::NewAddress(message) => {
                    self.addresses.extend(address_of(&message));
                }
                RouteNetlinkMessage::DelAddress(message) => {
                    if let Some((address, _)) = address_of(&message) {
                        self.addresses.remove(&address);
                    }
                }
                _ => {}
            },
            NetlinkPayload::Overrun(_) => return Applied::Lost,
            _ => {}
        }
        Applied::Done
    }
}
