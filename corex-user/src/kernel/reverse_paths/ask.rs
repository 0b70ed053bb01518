//! The question to the kernel.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType},
};
use rtnetlink::Handle;

use super::{Path, Rule};

/// Whether the way back is as the rule wants it. What can't be answered isn't.
pub async fn is_good(handle: &Handle, rule: Rule, path: Path) -> bool {
    if let IpAddr::V6(source) = path.source
        && source.is_unicast_link_local()
    {
        // It is of the link that the packet came by, and no router forwards it (RFC 4291 §2.5.6).
        return true;
    }
    match rule {
        // As if a packet had come in: fib_validate_source() is run for it.
        Rule::Stack => {
            let input = RouteAttribute::Iif(path.ifindex);
            let answer = ask(handle, path.local, path.source, Some(input)).await;
            answer.is_some_and(|route| route.header.kind == RouteType::Local)
        }
        Rule::Strict | Rule::Loose => {
            let answer = ask(handle, path.source, path.local, None).await;
            answer.is_some_and(|route| leads_back(&route, rule, path.ifindex))
        }
    }
}

/// Whether a route to the source is as the rule wants it: one of its paths, for there may be several.
fn leads_back(route: &RouteMessage, rule: Rule, ifindex: u32) -> bool {
    let mut attributes = route.attributes.iter();
    route.header.kind == RouteType::Unicast
        && (rule == Rule::Loose
            || attributes.any(|attribute| match attribute {
                RouteAttribute::Oif(index) => *index == ifindex,
                RouteAttribute::MultiPath(paths) => {
                    paths.iter().any(|path| path.interface_index == ifindex)
                }
                _ => false,
            }))
}

/// With an input interface the kernel's decision about a packet; else the entry of the routing table,
/// with all its paths (RTM_F_FIB_MATCH).
async fn ask(
    handle: &Handle,
    to: IpAddr,
    from: IpAddr,
    input: Option<RouteAttribute>,
) -> Option<RouteMessage> {
    let mut request = RouteMessage::default();
    let (family, bits) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    request.header.address_family = family;
    request.header.destination_prefix_length = bits;
    request.header.source_prefix_length = bits;
    if input.is_none() {
        request.header.flags = RouteFlags::FibMatch;
    }
    let addresses = [
        RouteAttribute::Destination(address(to)),
        RouteAttribute::Source(address(from)),
    ];
    request
        .attributes
        .extend(addresses.into_iter().chain(input));
    let mut replies = std::pin::pin!(handle.route().get(request).execute());
    replies.try_next().await.ok()?
}

fn address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::RouteNextHop;

    use super::*;

    fn by(ifindex: u32) -> RouteNextHop {
        let mut path = RouteNextHop::default();
        path.interface_index = ifindex;
        path
    }

    #[test]
    fn strict_wants_one_of_the_paths_back_to_be_the_interface_and_loose_any() {
        let mut route = RouteMessage::default();
        route.header.kind = RouteType::Unicast;
        for attribute in [
            RouteAttribute::Oif(7),
            RouteAttribute::MultiPath(vec![by(6), by(7)]),
        ] {
            route.attributes = vec![attribute];
            assert!(leads_back(&route, Rule::Strict, 7));
            assert!(!leads_back(&route, Rule::Strict, 8));
            assert!(leads_back(&route, Rule::Loose, 8));
        }
        for kind in [
            RouteType::BlackHole,
            RouteType::Unreachable,
            RouteType::Local,
        ] {
            route.header.kind = kind;
            assert!(!leads_back(&route, Rule::Loose, 7), "{kind:?}");
        }
    }
}
