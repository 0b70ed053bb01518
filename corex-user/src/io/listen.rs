//! Finds the socket addresses that `listen` lines name.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use crate::{kernel::interfaces, pipeline::Listener};
use corex_script::settings::{Listen, Settings};
use corex_sip::{Transport, alias::Entry};

/// Why a `listen` line names no address.
#[derive(Debug, thiserror::Error)]
pub enum ListenLineError {
    /// Neither an address, nor an interface, nor a host name.
    #[error(
        "listen={host}: neither an IP address, nor an interface of this host, nor a host name that resolves ({reason})"
    )]
    Unknown {
        /// As written.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// No `listen` line, and no interface with an address.
    #[error(
        "no listen line, and no interface of this host has an IPv4 address; add listen=udp:ADDRESS:5060"
    )]
    Nothing,
}

/// The listen sockets of a configuration, in its order and without repetition.
///
/// A host may be an address, an interface (all its addresses but link-local ones) or a host
/// name. Without any `listen` line, as Kamailio: every IPv4 address of this host, port 5060.
///
/// In inline mode they are the protected server's, and corex opens none of them.
///
/// # Errors
/// The first line that can't be resolved.
pub fn resolve(settings: &Settings) -> Result<Vec<Listener>, ListenLineError> {
    let inline = &settings.corex.inline;
    if inline.is_on {
        let listener = |address: &SocketAddr| Listener {
            transport: Transport::Udp,
            address: *address,
            advertise: None,
            name: None,
        };
        return Ok(inline.protect.iter().map(listener).collect());
    }
    let mut listeners: Vec<Listener> = Vec::new();
    let mut add = |listener: Listener| {
        let is = |l: &Listener| (l.transport, l.address) == (listener.transport, listener.address);
        if !listeners.iter().any(is) {
            listeners.push(listener);
        }
    };
    for listen in &settings.listen {
        for ip in addresses(listen)? {
            add(Listener {
                transport: listen.transport,
                address: SocketAddr::new(ip, listen.port),
                advertise: listen.advertise.clone(),
                name: listen.name.clone(),
            });
        }
    }
    if settings.listen.is_empty() {
        for (_, ip) in interfaces::addresses() {
            if ip.is_ipv4() {
                add(Listener {
                    transport: Transport::Udp,
                    address: SocketAddr::new(ip, Transport::Udp.default_port()),
                    advertise: None,
                    name: None,
                });
            }
        }
        if listeners.is_empty() {
            return Err(ListenLineError::Nothing);
        }
    }
    Ok(listeners)
}

/// The listen addresses as entries of the alias table: a wildcard stands for every address
/// of this host of its family.
pub fn entries(listeners: &[Listener]) -> Vec<Entry> {
    let of_host = interfaces::addresses();
    listeners
        .iter()
        .flat_map(|listener| {
            let address = listener.address;
            let transport = listener.transport;
            let ips: Vec<IpAddr> = if address.ip().is_unspecified() {
                of_host
                    .iter()
                    .map(|(_, ip)| *ip)
                    .filter(|ip| ip.is_ipv4() == address.is_ipv4())
                    .collect()
            } else {
                vec![address.ip()]
            };
            ips.into_iter().map(move |ip| Entry {
                transport: Some(transport),
                host: ip.to_string(),
                port: address.port(),
            })
        })
        .collect()
}

fn addresses(listen: &Listen) -> Result<Vec<IpAddr>, ListenLineError> {
    let host = listen.host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    let of_interface: Vec<IpAddr> = interfaces::addresses()
        .into_iter()
        .filter(|(name, ip)| name == host && !is_link_local(ip))
        .map(|(_, ip)| ip)
        .collect();
    if !of_interface.is_empty() {
        return Ok(of_interface);
    }
    let unknown = |reason: String| ListenLineError::Unknown {
        host: listen.host.clone(),
        reason,
    };
    let resolved: Vec<IpAddr> = (host, listen.port)
        .to_socket_addrs()
        .map_err(|error| unknown(error.to_string()))?
        .map(|address| address.ip())
        .collect();
    if resolved.is_empty() {
        return Err(unknown("no address".into()));
    }
    Ok(resolved)
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
