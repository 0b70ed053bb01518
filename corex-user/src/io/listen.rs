//! Finds the socket addresses that `listen` lines name.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs as _},
};

use socket2::Socket;

use crate::{
    kernel::interfaces::{self, Interface},
    pipeline::Listener,
};
use corex_script::settings::{Listen, Place, Settings};
use corex_sip::{Transport, alias::Entry};

/// Why a `listen` line names no address.
#[derive(Debug, thiserror::Error)]
pub enum ListenLineError {
    /// Neither an address, nor an interface, nor a host name.
    #[error(
        "{place}listen={host}: neither an IP address, nor an interface of this host, nor a host name that resolves ({reason})"
    )]
    Unknown {
        /// Where the line is.
        place: Place,
        /// As written.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// The zone of a link-local address is no interface.
    #[error("{place}listen={host}%{zone}: {reason}")]
    Zone {
        /// Where the line is.
        place: Place,
        /// The address.
        host: String,
        /// What should be an interface.
        zone: String,
        /// That it is none, and which there are.
        reason: io::Error,
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
        let listener = |address: &SocketAddr| Listener::new(Transport::Udp, *address);
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
        let scope = scope_of(listen)?;
        for ip in addresses(listen)? {
            add(Listener {
                transport: listen.transport,
                address: scoped(SocketAddr::new(ip, listen.port), scope),
                zone: listen.zone.clone(),
                advertise: listen.advertise.clone(),
                name: listen.name.clone(),
                is_virtual: listen.is_virtual,
                may_be_absent: listen.is_virtual || settings.free_bind,
                place: listen.place.clone(),
            });
        }
    }
    if settings.listen.is_empty() {
        for (_, ip) in interfaces::addresses() {
            if ip.is_ipv4() {
                let address = SocketAddr::new(ip, Transport::Udp.default_port());
                add(Listener::new(Transport::Udp, address));
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

/// Lets a socket be bound to an address that may not be this host's (ip(7), IP_FREEBIND).
///
/// # Errors
/// What the kernel says.
pub fn allow_absent(socket: &Socket, listener: &Listener) -> io::Result<()> {
    match (listener.may_be_absent, listener.address) {
        (false, _) => Ok(()),
        (true, SocketAddr::V4(_)) => socket.set_freebind_v4(true),
        (true, SocketAddr::V6(_)) => socket.set_freebind_v6(true),
    }
}

/// What can be done where the kernel refuses to bind to a listener's address, as it stands behind
/// the reason.
pub fn remedy(error: &io::Error, listener: &Listener) -> String {
    let (kind, port) = match listener.transport {
        Transport::Udp => ("-lunp", listener.address.port()),
        _ => ("-ltnp", listener.address.port()),
    };
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            format!("; another process has the port: `ss {kind} sport = :{port}` names it")
        }
        Some(libc::EADDRNOTAVAIL) => "; no interface of this host has the address: `ip address` \
             lists them. If it floats between hosts, as by VRRP, write `virtual` at the end of the \
             listen line"
            .to_owned(),
        Some(libc::EACCES) => "; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned(),
        _ => String::new(),
    }
}

/// The address, with this scope if it is a link-local one of IPv6 (RFC 4007 §6).
#[inline]
pub fn scoped(address: SocketAddr, scope: u32) -> SocketAddr {
    match address {
        SocketAddr::V6(address) if address.ip().is_unicast_link_local() => {
            SocketAddrV6::new(*address.ip(), address.port(), 0, scope).into()
        }
        _ => address,
    }
}

/// The index of the interface that is a link-local address's zone; 0 for other addresses.
fn scope_of(listen: &Listen) -> Result<u32, ListenLineError> {
    let Some(zone) = &listen.zone else {
        return Ok(0);
    };
    let of_index = zone.parse().ok();
    let found = match of_index.and_then(|index| Interface::name_of(index).ok()) {
        Some(name) => Interface::by_name(&name),
        None => Interface::by_name(zone),
    };
    match found {
        Ok(interface) => Ok(interface.index),
        Err(reason) => Err(ListenLineError::Zone {
            place: listen.place.clone(),
            host: listen.host.clone(),
            zone: zone.clone(),
            reason,
        }),
    }
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
        place: listen.place.clone(),
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
