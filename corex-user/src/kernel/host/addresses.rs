//! Addresses, as RTM_NEWADDR and RTM_DELADDR tell (rtnetlink(7)).

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkAddress {
    /// The link's index.
    pub ifindex: u32,
    /// The address.
    pub ip: IpAddr,
    /// Length of its subnet's prefix.
    pub prefix_len: u8,
}

/// What an address brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The broadcast address that was set with it.
    pub broadcast: Option<Ipv4Addr>,
    /// Whether the stack takes packets to it; not as long as duplicates are looked for (RFC 4862
    /// §5.4), nor when one was found.
    pub is_usable: bool,
}

/// The address that a message tells of.
pub fn address_of(message: &AddressMessage) -> Option<(LinkAddress, Assignment)> {
    let mut address = None;
    let mut local = None;
    let mut broadcast = None;
    let short = message.header.flags;
    let mut is_pending = short.contains(AddressHeaderFlags::Tentative);
    let mut is_duplicate = short.contains(AddressHeaderFlags::Dadfailed);
    let mut is_optimistic = short.contains(AddressHeaderFlags::Optimistic);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Broadcast(ip) => broadcast = Some(*ip),
            AddressAttribute::Flags(flags) => {
                is_pending = flags.contains(AddressFlags::Tentative);
                is_duplicate = flags.contains(AddressFlags::Dadfailed);
                is_optimistic = flags.contains(AddressFlags::Optimistic);
            }
            _ => {}
        }
    }
    // Where there are both, the other one is the peer's (point-to-point).
    let ip = local.or(address)?;
    Some((
        LinkAddress {
            ifindex: message.header.index,
            ip,
            prefix_len: message.header.prefix_len,
        },
        Assignment {
            broadcast,
            is_usable: !is_duplicate && (!is_pending || is_optimistic),
        },
    ))
}

/// The broadcast address of an IPv4 address's subnet; one of at most two hosts has none
/// (RFC 3021 §2.1).
pub fn subnet_broadcast(ip: Ipv4Addr, prefix_len: u8) -> Option<Ipv4Addr> {
    let host_bits = u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
    (prefix_len < 31).then(|| Ipv4Addr::from_bits(ip.to_bits() | host_bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(attributes: Vec<AddressAttribute>) -> (LinkAddress, Assignment) {
        let mut message = AddressMessage::default();
        message.header.index = 2;
        message.header.prefix_len = 32;
        message.attributes = attributes;
        address_of(&message).unwrap()
    }

    #[test]
    fn of_a_point_to_point_address_our_end_is_ours() {
        let ours: IpAddr = "10.0.0.1".parse().unwrap();
        let peer: IpAddr = "10.0.0.2".parse().unwrap();
        let both = vec![
            AddressAttribute::Address(peer),
            AddressAttribute::Local(ours),
        ];
        assert_eq!(told(both).0.ip, ours);
        assert_eq!(told(vec![AddressAttribute::Address(peer)]).0.ip, peer);
    }

    #[test]
    fn an_address_that_may_be_a_duplicate_is_not_used_yet() {
        for (flags, is_usable) in [
            (AddressFlags::Permanent, true),
            (AddressFlags::Tentative, false),
            (AddressFlags::Tentative | AddressFlags::Optimistic, true),
            (AddressFlags::Tentative | AddressFlags::Dadfailed, false),
        ] {
            let attributes = vec![
                AddressAttribute::Address("fd00::1".parse().unwrap()),
                AddressAttribute::Flags(flags),
            ];
            assert_eq!(told(attributes).1.is_usable, is_usable, "{flags:?}");
        }
    }

    #[test]
    fn a_subnet_of_more_than_two_has_a_broadcast_address() {
        for (address, len, broadcast) in [
            ("10.0.0.1", 24, Some("10.0.0.255")),
            ("10.0.0.1", 30, Some("10.0.0.3")),
            ("10.0.0.1", 31, None),
            ("10.0.0.1", 32, None),
            ("10.0.0.1", 0, Some("255.255.255.255")),
        ] {
            let broadcast = broadcast.map(|text| text.parse().unwrap());
            assert_eq!(subnet_broadcast(address.parse().unwrap(), len), broadcast);
        }
    }
}
