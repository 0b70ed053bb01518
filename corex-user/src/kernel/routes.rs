//! Next hops for AF_XDP transmission, from the kernel's own tables.
//!
//! Workers look a destination up in a table that they read without a lock. What is missing
//! there goes out by the kernel socket, and is asked for here: the control thread asks the
//! kernel for the route (so policy rules and multipath hold as for any other packet) and
//! takes the MAC from the neighbour table, which it follows by netlink events. An entry ages:
//! now and then one message goes by the kernel socket again, which is what makes the kernel
//! confirm its neighbour, since AF_XDP traffic doesn't.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType},
};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::{sync::mpsc, time};

/// A local and a remote address. The local one is unspecified for a wildcard socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Our address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// The interface that it must leave by, since one of the addresses is an IPv6 link-local one;
    /// else 0.
    pub scope: u32,
}

impl Path {
    /// From one address to another.
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        let scope = match (scope_of(remote), scope_of(local)) {
            (0, of_local) => of_local,
            (of_remote, _) => of_remote,
        };
        Self {
            local: local.ip(),
            remote: remote.ip(),
            scope,
        }
    }
}

/// The scope of a link-local address; else 0.
fn scope_of(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(address) if address.ip().is_unicast_link_local() => address.scope_id(),
        _ => 0,
    }
}

/// How to put a packet for a [`Path`] on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkNextHop {
    /// Interface index.
    pub ifindex: u32,
    /// The interface's MAC.
    pub source_mac: [u8; 6],
    /// The neighbour's MAC.
    pub destination_mac: [u8; 6],
    /// Source address that the kernel would choose.
    pub preferred_source: IpAddr,
    /// Largest IP packet.
    pub mtu: u32,
    /// Until then the entry is used.
    pub fresh_until: Instant,
}

/// How long an entry is used before the kernel sees a packet of its path again. Below the
/// kernel's shortest REACHABLE time (half of base_reachable_time, 15 s).
const FRESH: Duration = Duration::from_secs(12);
/// Events come in bursts; the table is worked over once per burst.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// The kernel drops events when they come faster than they are read; so the tables are read
/// anew now and then.
const REDUMP: Duration = Duration::from_secs(10);
/// Requests waiting at most. One more is forgotten: its message went by the kernel socket,
/// and the next one asks again.
const REQUESTS: usize = 1024;
/// Paths at most; beyond, the table starts anew.
const MAX_PATHS: usize = 65_536;

/// The table as workers see it.
pub type NextHopTable = HashMap<Path, LinkNextHop>;

/// What a worker needs: the table, and a way to ask.
#[derive(Clone)]
pub struct NextHops {
    table: Arc<ArcSwap<NextHopTable>>,
    requests: mpsc::Sender<Path>,
}

impl NextHops {
    /// The shared table, to be read through an `arc_swap::Cache`.
    pub fn table(&self) -> Arc<ArcSwap<NextHopTable>> {
        Arc::clone(&self.table)
    }

    /// Asks for a path; never blocks.
    pub fn request(&self, path: Path) {
        // Full or closed: see REQUESTS.
        let _ = self.requests.try_send(path);
    }
}

/// Follows the kernel's tables. [`NextHopResolver::run`] is the work.
pub struct NextHopResolver {
    table: Arc<ArcSwap<NextHopTable>>,
    requests: mpsc::Receiver<Path>,
}

/// The table and its resolver, not running yet.
pub fn next_hops() -> (NextHops, NextHopResolver) {
    let table = Arc::new(ArcSwap::from_pointee(NextHopTable::new()));
    let (sender, receiver) = mpsc::channel(REQUESTS);
    (
        NextHops {
            table: Arc::clone(&table),
            requests: sender,
        },
        NextHopResolver {
            table,
            requests: receiver,
        },
    )
}

/// What the kernel told about links and neighbours.
#[derive(Default, PartialEq)]
struct Known {
    links: HashMap<u32, Link>,
    neighbours: HashMap<(u32, IpAddr), [u8; 6]>,
}

#[derive(Clone, Copy, PartialEq)]
struct Link {
    mac: [u8; 6],
    mtu: u32,
}

impl NextHopResolver {
    /// Answers requests and follows events until every [`NextHops`] is gone.
    ///
    /// # Errors
    /// When the netlink socket can't be opened or the connection ends; run it again then.
    pub async fn run(&mut self) -> io::Result<()> {
        let (connection, handle, mut events) = new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ])?;
        tokio::spawn(connection);
        let mut known = Known::dump(&handle).await.map_err(io::Error::other)?;
        let mut redump = time::interval(REDUMP);
        // Paths whose neighbour isn't known yet: resolved when its event comes.
        let mut waiting: HashMap<Path, Instant> = HashMap::new();
        loop {
            let mut changed = false;
            tokio::select! {
                path = self.requests.recv() => {
                    let Some(path) = path else { return Ok(()) };
                    waiting.insert(path, Instant::now());
                }
                event = events.next() => {
                    let Some((message, _)) = event else {
                        return Err(io::Error::other("the netlink connection ended"));
                    };
                    changed = known.apply(message.payload);
                    time::sleep(DEBOUNCE).await;
                }
                _ = redump.tick() => {
                    let now = Known::dump(&handle).await.map_err(io::Error::other)?;
                    changed = now != known;
                    known = now;
                }
            }
            while let Ok(path) = self.requests.try_recv() {
                waiting.insert(path, Instant::now());
            }
            while let Some(Some((message, _))) =
                futures_util::FutureExt::now_or_never(events.next())
            {
                changed |= known.apply(message.payload);
            }
            self.update(&handle, &known, &mut waiting, changed).await;
        }
    }

    async fn update(
        &self,
        handle: &Handle,
        known: &Known,
        waiting: &mut HashMap<Path, Instant>,
        all: bool,
    ) {
        let mut table = NextHopTable::clone(&self.table.load());
        if table.len() + waiting.len() > MAX_PATHS {
            table.clear();
        }
        let now = Instant::now();
        waiting.retain(|_, since| now.duration_since(*since) < FRESH);
        let mut paths: Vec<Path> = waiting.keys().copied().collect();
        if all {
            paths.extend(table.keys().copied());
        }
        for path in paths {
            match resolve(handle, known, path).await {
                Some(mut hop) => {
                    // Only a request made the kernel see a packet of this path.
                    if waiting.remove(&path).is_none()
                        && let Some(known) = table.get(&path)
                    {
                        hop.fresh_until = known.fresh_until;
                    }
                    table.insert(path, hop);
                }
                None => {
                    table.remove(&path);
                }
            }
        }
        self.table.store(Arc::new(table));
    }
}

impl Known {
    async fn dump(handle: &Handle) -> Result<Self, rtnetlink::Error> {
        let mut known = Self::default();
        let mut links = handle.link().get().execute();
        while let Some(link) = links.try_next().await? {
            known.link(&link);
        }
        let mut neighbours = handle.neighbours().get().execute();
        while let Some(neighbour) = neighbours.try_next().await? {
            known.neighbour(&neighbour);
        }
        Ok(known)
    }

    /// Takes an event in. True when known paths may have changed.
    fn apply(&mut self, event: NetlinkPayload<RouteNetlinkMessage>) -> bool {
        let NetlinkPayload::InnerMessage(message) = event else {
            return false;
        };
        match message {
            RouteNetlinkMessage::NewLink(link) => self.link(&link),
            // A port that leaves its bridge is told of as a deleted link, too.
            RouteNetlinkMessage::DelLink(link)
                if link.header.interface_family == AddressFamily::Unspec =>
            {
                self.links.remove(&link.header.index).is_some()
            }
            RouteNetlinkMessage::NewNeighbour(neighbour) => self.neighbour(&neighbour),
            RouteNetlinkMessage::DelNeighbour(neighbour) => {
                neighbour_key(&neighbour).is_some_and(|key| self.neighbours.remove(&key).is_some())
            }
            _ => true,
        }
    }

    fn link(&mut self, message: &LinkMessage) -> bool {
        let mut link = Link {
            mac: [0; 6],
            mtu: 0,
        };
        let mut has_mac = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Address(bytes) => {
                    if let Ok(mac) = bytes.as_slice().try_into() {
                        link.mac = mac;
                        has_mac = true;
                    }
                }
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                _ => {}
            }
        }
        if !has_mac {
            return false;
        }
        self.links.insert(message.header.index, link);
        true
    }

    fn neighbour(&mut self, message: &NeighbourMessage) -> bool {
        let Some(key) = neighbour_key(message) else {
            return false;
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
        match mac {
            Some(mac) if usable => self.neighbours.insert(key, mac) != Some(mac),
            _ => self.neighbours.remove(&key).is_some(),
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

fn route_address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// Asks the kernel for the route. `None`: not unicast, unreachable, or neighbour unknown.
async fn resolve(handle: &Handle, known: &Known, path: Path) -> Option<LinkNextHop> {
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
    let link = known.links.get(&ifindex)?;
    let neighbour = gateway.unwrap_or(path.remote);
    Some(LinkNextHop {
        ifindex,
        source_mac: link.mac,
        destination_mac: *known.neighbours.get(&(ifindex, neighbour))?,
        preferred_source: preferred.unwrap_or(path.local),
        mtu: mtu.unwrap_or(link.mtu).min(link.mtu),
        fresh_until: Instant::now() + FRESH,
    })
}
