//! Links, as RTM_NEWLINK and RTM_DELLINK tell (rtnetlink(7)).

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::{
    AddressFamily,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp},
};

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Whether it carries packets: it is up, and so is what is below it.
    pub is_up: bool,
    /// The ids of the XDP programs that are attached to it.
    pub programs: Vec<u32>,
    /// Index of the bridge, bond or VRF that it is a part of.
    pub master: Option<u32>,
    /// Index of the link that it stands on and shares frames with: of a VLAN device, a macvlan.
    pub lower: Option<u32>,
}

/// All links, by index.
pub type Links = BTreeMap<u32, Link>;

/// The index and the link that a message tells of. `None` where it doesn't tell of a whole link:
/// bridges tell of their ports so, and wireless drivers of events.
pub fn link_of(message: &LinkMessage) -> Option<(u32, Link)> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let carries = LinkFlags::Up | LinkFlags::LowerUp;
    let mut link = Link {
        is_up: message.header.flags.contains(carries),
        ..Link::default()
    };
    let mut is_whole = false;
    let mut under = None;
    let mut shares_frames = false;
    let mut is_elsewhere = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => {
                link.mtu = *mtu;
                is_whole = true;
            }
            LinkAttribute::Xdp(attributes) => {
                link.programs = attributes.iter().filter_map(program_of).collect();
            }
            LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().ok(),
            LinkAttribute::Controller(0) => {}
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::Link(0) => {}
            LinkAttribute::Link(index) => under = Some(*index),
            // The index that IFLA_LINK has is one of that namespace.
            LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                shares_frames = infos.iter().any(|info| match info {
                    LinkInfo::Kind(kind) => shares_frames_of_lower(kind),
                    _ => false,
                });
            }
            _ => {}
        }
    }
    if shares_frames && !is_elsewhere {
        link.lower = under;
    }
    is_whole.then_some((message.header.index, link))
}

fn program_of(attribute: &LinkXdp) -> Option<u32> {
    match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) => Some(*id),
        _ => None,
    }
}

/// Whether devices of a kind take frames from the device that IFLA_LINK names; that of a veth is
/// the other end, that of a tunnel the way out.
fn shares_frames_of_lower(kind: &InfoKind) -> bool {
    matches!(
        kind,
        InfoKind::Vlan
            | InfoKind::MacVlan
            | InfoKind::MacVtap
            | InfoKind::IpVlan
            | InfoKind::IpVtap
            | InfoKind::MacSec
    )
}

/// A link and all that stand on it: the frames that it receives are theirs.
pub fn stack_on(links: &Links, index: u32) -> BTreeSet<u32> {
    let mut stack = BTreeSet::new();
    let mut next = vec![index];
    while let Some(index) = next.pop() {
        let Some(link) = links.get(&index) else {
            continue;
        };
        if !stack.insert(index) {
            continue;
        }
        next.extend(link.master);
        let standing = links
            .iter()
            .filter(|(_, upper)| upper.lower == Some(index))
            .map(|(upper, _)| *upper);
        next.extend(standing);
    }
    stack
}

/// The links on which frames for one arrive: itself, and for a bridge or bond its parts, since XDP
/// on a bond runs for its parts.
pub fn parts_of(links: &Links, index: u32) -> BTreeSet<u32> {
    let parts = links
        .iter()
        .filter(|(_, link)| link.master == Some(index))
        .map(|(part, _)| *part);
    parts.chain([index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = attributes;
        message
    }

    fn kind(kind: InfoKind) -> LinkAttribute {
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])
    }

    #[test]
    fn a_device_shares_the_frames_of_the_one_it_stands_on_and_a_veth_not_those_of_its_peer() {
        for (of_kind, lower) in [
            (InfoKind::MacVlan, Some(2)),
            (InfoKind::Vlan, Some(2)),
            (InfoKind::Veth, None),
            (InfoKind::GreTun, None),
        ] {
            let attributes = vec![
                LinkAttribute::Mtu(1500),
                kind(of_kind),
                LinkAttribute::Link(2),
            ];
            let (_, link) = link_of(&message(7, attributes.clone())).unwrap();
            assert_eq!(link.lower, lower);
            let elsewhere = [attributes, vec![LinkAttribute::LinkNetNsId(0)]].concat();
            let (_, link) = link_of(&message(7, elsewhere)).unwrap();
            assert_eq!(link.lower, None, "an index of another namespace");
        }
    }

    #[test]
    fn a_message_that_tells_of_a_bridge_s_port_or_an_event_tells_of_no_link() {
        let whole = message(3, vec![LinkAttribute::Mtu(1500)]);
        assert!(link_of(&whole).is_some());
        let mut port = whole.clone();
        port.header.interface_family = AddressFamily::Bridge;
        assert_eq!(link_of(&port), None);
        let event = message(3, vec![LinkAttribute::IfName("wlan0".to_owned())]);
        assert_eq!(link_of(&event), None);
    }

    #[test]
    fn what_stands_on_a_link_is_found_through_every_layer_and_circles_end() {
        let on = |lower: Option<u32>, master: Option<u32>| Link {
            lower,
            master,
            ..Link::default()
        };
        // eth0 (1) in a bond (2), a VLAN (3) on that, a macvlan (4) on the VLAN; eth1 (5).
        let mut links = Links::from([
            (1, on(None, Some(2))),
            (2, on(None, None)),
            (3, on(Some(2), None)),
            (4, on(Some(3), None)),
            (5, on(None, None)),
        ]);
        assert_eq!(stack_on(&links, 1), BTreeSet::from([1, 2, 3, 4]));
        assert_eq!(stack_on(&links, 5), BTreeSet::from([5]));
        assert_eq!(stack_on(&links, 9), BTreeSet::new());
        assert_eq!(parts_of(&links, 2), BTreeSet::from([1, 2]));
        links.insert(2, on(Some(4), None));
        assert_eq!(stack_on(&links, 1), BTreeSet::from([1, 2, 3, 4]));
    }
}
