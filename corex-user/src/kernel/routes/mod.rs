//! Next hops for AF_XDP transmission, from the kernel's own tables.
//!
//! Workers look a destination up in a table that they read without a lock. What is missing
//! there goes out by the kernel socket, and is asked for here: the control thread asks the
//! kernel for the route (so policy rules and multipath hold as for any other packet) and
//! takes the MAC from the neighbour table, which it follows by netlink events. A change of a route, a
//! neighbour, an address or a link takes the entries that it may concern out of the table at once, and
//! the kernel is asked anew; until then their messages go by the kernel socket. An entry ages:
//! now and then one message goes by the kernel socket again, which is what makes the kernel
//! confirm its neighbour, since AF_XDP traffic doesn't.

mod ask;
mod changes;
mod known;
mod open_paths;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures_util::{FutureExt as _, StreamExt as _};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::{sync::mpsc, time};

use self::{ask::resolve, changes::Changes, known::Known, open_paths::OpenPaths};

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
    #[inline]
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
    /// The neighbour: the gateway, or the peer itself.
    pub neighbour: IpAddr,
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
    told: Option<Arc<dyn Fn() + Send + Sync>>,
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
            told: None,
        },
    )
}

impl NextHopResolver {
    /// Has `tell` called whenever the table has changed.
    pub fn tell(&mut self, tell: Arc<dyn Fn() + Send + Sync>) {
        self.told = Some(tell);
    }

    fn store(&self, table: NextHopTable) {
        self.table.store(Arc::new(table));
        if let Some(tell) = &self.told {
            tell();
        }
    }

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
            MulticastGroup::Nexthop,
        ])?;
        tokio::spawn(connection);
        let mut known = Known::dump(&handle).await.map_err(io::Error::other)?;
        let mut redump = time::interval(REDUMP);
        let mut open = OpenPaths::default();
        // What an earlier run left may be of another time.
        self.withdraw(&Changes::everything(), &mut open);
        loop {
            let mut changes = Changes::default();
            let due_at = open.due_at();
            tokio::select! {
                biased;
                () = time::sleep_until(due_at.unwrap_or_else(Instant::now).into()), if due_at.is_some() => {
                    self.resolve(&handle, &known, &mut open).await;
                }
                event = events.next() => {
                    let Some((message, _)) = event else {
                        return Err(io::Error::other("the netlink connection ended"));
                    };
                    known.apply(message.payload, &mut changes);
                    while let Some(Some((message, _))) = events.next().now_or_never() {
                        known.apply(message.payload, &mut changes);
                    }
                }
                _ = redump.tick() => changes.are_lost = true,
                path = self.requests.recv() => {
                    let Some(path) = path else { return Ok(()) };
                    open.ask(path);
                    while let Ok(path) = self.requests.try_recv() {
                        open.ask(path);
                    }
                }
            }
            if changes.are_lost {
                let now = Known::dump(&handle).await.map_err(io::Error::other)?;
                changes.all |= now != known;
                known = now;
            }
            self.withdraw(&changes, &mut open);
        }
    }

    /// Takes the next hops that a change may have made wrong out of the table, so that their
    /// messages go by the kernel's sockets from now on, and has them asked for anew.
    fn withdraw(&self, changes: &Changes, open: &mut OpenPaths) {
        if changes.is_empty() {
            return;
        }
        open.ask_again();
        let current = self.table.load();
        let mut table = NextHopTable::clone(&current);
        for (path, hop) in current
            .iter()
            .filter(|(path, hop)| changes.concern(path, hop))
        {
            table.remove(path);
            open.revise(*path, hop.fresh_until);
        }
        if table.len() < current.len() {
            self.store(table);
        }
    }

    /// Asks the kernel for some of what is due.
    async fn resolve(&self, handle: &Handle, known: &Known, open: &mut OpenPaths) {
        let mut table = NextHopTable::clone(&self.table.load());
        for (path, fresh_until) in open.take_due() {
            match resolve(handle, known, path).await {
                Some(mut hop) => {
                    // Only a request made the kernel see a packet of this path.
                    if let Some(until) = fresh_until {
                        hop.fresh_until = until;
                    }
                    open.close(&path);
                    if table.len() >= MAX_PATHS {
                        table.clear();
                    }
                    table.insert(path, hop);
                }
                None => {
                    table.remove(&path);
                }
            }
        }
        self.store(table);
    }
}
