//! What all workers read and none changes.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::{
    alias,
    script::{Config, SocketId},
};

/// A listen socket, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its address.
    pub address: SocketAddr,
    /// `name "…"` of the listen line.
    pub name: Option<String>,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "udp:{}", self.address)
    }
}

/// Configuration and tables.
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// The listen sockets; [`SocketId`] is the index.
    pub listeners: Vec<Listener>,
    /// Host names that are ours.
    pub aliases: alias::Table,
}

impl Shared {
    /// A listen socket. An index that no listener has can't come from this configuration;
    /// the first listener stands in.
    pub fn listener(&self, socket: SocketId) -> &Listener {
        const NONE: &Listener = &Listener {
            address: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0),
            name: None,
        };
        self.listeners
            .get(usize::from(socket.0))
            .or_else(|| self.listeners.first())
            .unwrap_or(NONE)
    }

    /// The listen socket that owns a local address: the exact one, else the wildcard.
    pub fn find(&self, local: SocketAddr) -> Option<SocketId> {
        let by = |matches: &dyn Fn(&Listener) -> bool| {
            self.listeners
                .iter()
                .position(matches)
                .and_then(|i| u16::try_from(i).ok())
                .map(SocketId)
        };
        by(&|l| l.address == local).or_else(|| {
            by(&|l| {
                l.address.ip().is_unspecified()
                    && l.address.is_ipv4() == local.is_ipv4()
                    && l.address.port() == local.port()
            })
        })
    }
}
