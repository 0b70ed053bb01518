//! One question to the kernel: how to reach an address.

use std::{net::IpAddr, time::Instant};

use futures_util::TryStreamExt as _;
use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType},
};
use rtnetlink::Handle;

use super::{FRESH, LinkNextHop, Path, known::Known};

/// Asks the kernel for the route. `None`: not unicast, unreachable, or neighbour unknown.
pub async fn resolve(handle: &Handle, known: &Known, path: Path) -> Option<LinkNextHop> {
    let mut request = RouteMessage::default();
    let (family, bits) = match path.remote {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    request.header.address_family = family;
    request.header.destination_prefix_length = bits;
    request
        .attributes
        .push(RouteAttribute::Destination(route_address(path.remote)));
    if !path.local.is_unspecified() {
        request.header.source_prefix_length = bits;
        request
            .attributes
            .push(RouteAttribute::Source(route_address(path.local)));
    }
    if path.scope != 0 {
        request.attributes.push(RouteAttribute::Oif(path.scope));
    }
    let mut replies = std::pin::pin!(handle.route().get(request).execute());
    let route = replies.try_next().await.ok()??;
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    let mut ifindex = None;
    let mut gateway = None;
    let mut preferred = None;
    let mut mtu = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip_of(address),
            RouteAttribute::PrefSource(address) => preferred = ip_of(address),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                    _ => None,
                });
            }
            // An IPv6 gateway of an IPv4 route, or a tunnel: left to the kernel.
            RouteAttribute::Via(_) | RouteAttribute::Encap(_) => return None,
            _ => {}
        }
    }
    let ifindex = ifindex?;
    let link = known.links.get(&ifindex).filter(|link| link.is_up)?;
    let neighbour = gateway.unwrap_or(path.remote);
    Some(LinkNextHop {
        ifindex,
        source_mac: link.mac?,
        neighbour,
        destination_mac: *known.neighbours.get(&(ifindex, neighbour))?,
        preferred_source: preferred.unwrap_or(path.local),
        mtu: mtu.unwrap_or(link.mtu).min(link.mtu),
        fresh_until: Instant::now() + FRESH,
    })
}

fn route_address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

/// An address of IPv4 or IPv6 in a route's attribute.
pub fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
