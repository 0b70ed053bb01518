//! Destinations that are corex itself.

use std::fmt;
use std::net::IpAddr;

use corex_sip::{Transport, host_ip};

/// The sockets that corex listens on, and the names that it gives itself to others: what is sent
/// there comes back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnSockets(Vec<OwnSocket>);

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnSocket {
    transport: Transport,
    host: OwnHost,
    port: u16,
    /// Whether the address may be another host's for now.
    is_floating: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum OwnHost {
    /// Unspecified for every address of this host and its family.
    Address(IpAddr),
    Name(String),
}

impl fmt::Display for OwnSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, port) = (self.transport, self.port);
        match &self.host {
            OwnHost::Address(IpAddr::V6(ip)) => write!(f, "{transport}:[{ip}]:{port}"),
            OwnHost::Address(ip) => write!(f, "{transport}:{ip}:{port}"),
            OwnHost::Name(name) => write!(f, "{transport}:{name}:{port}"),
        }
    }
}

impl OwnSockets {
    /// Adds one. The host is an address, with or without brackets, or a name.
    pub fn add(&mut self, transport: Transport, host: &str, port: u16) {
        self.push(transport, host, port, false);
    }

    /// Adds one whose address floats between hosts: it is ours while this host has it.
    pub fn add_floating(&mut self, transport: Transport, host: &str, port: u16) {
        self.push(transport, host, port, true);
    }

    fn push(&mut self, transport: Transport, host: &str, port: u16, is_floating: bool) {
        let address = host.parse().ok().or_else(|| host_ip(host.as_bytes()));
        let host = match address {
            Some(ip) => OwnHost::Address(ip.to_canonical()),
            None => OwnHost::Name(host.to_owned()),
        };
        self.0.push(OwnSocket {
            transport,
            host,
            port,
            is_floating,
        });
    }

    /// The one that gets what is sent to an address. `is_local` tells whether an address is this
    /// host's; it is asked for wildcard sockets and floating addresses only.
    ///
    /// An IPv4 address that is written as an IPv6 one is the same; and what is sent to the
    /// unspecified address, the kernel sends to this host.
    pub fn at_address(
        &self,
        transport: Transport,
        ip: IpAddr,
        port: u16,
        mut is_local: impl FnMut(IpAddr) -> bool,
    ) -> Option<&OwnSocket> {
        let ip = ip.to_canonical();
        self.0.iter().find(|own| {
            let OwnHost::Address(address) = own.host else {
                return false;
            };
            own.transport == transport
                && own.port == port
                && address.is_ipv4() == ip.is_ipv4()
                && ((address == ip && (!own.is_floating || is_local(ip)))
                    || ip.is_unspecified()
                    || (address.is_unspecified() && is_local(ip)))
        })
    }

    /// The one that has a name, which needs no looking up then.
    pub fn named(&self, transport: Transport, name: &[u8], port: u16) -> Option<&OwnSocket> {
        self.0.iter().find(|own| {
            own.transport == transport
                && own.port == port
                && matches!(&own.host, OwnHost::Name(own) if own.as_bytes().eq_ignore_ascii_case(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(all: &[(Transport, &str, u16)]) -> OwnSockets {
        let mut own = OwnSockets::default();
        for (transport, host, port) in all {
            own.add(*transport, host, *port);
        }
        own
    }

    /// Whether what goes to `ip` comes back, where 10.0.0.1 and 127.0.0.9 are this host's.
    fn is_own(own: &OwnSockets, transport: Transport, ip: &str, port: u16) -> bool {
        let is_local = |ip: IpAddr| ["10.0.0.1", "127.0.0.9", "::1"].contains(&&*ip.to_string());
        own.at_address(transport, ip.parse().unwrap(), port, is_local)
            .is_some()
    }

    #[test]
    fn a_floating_address_is_ours_while_this_host_has_it() {
        for (ip, is_here) in [("10.0.0.1", true), ("10.0.0.50", false)] {
            let mut own = OwnSockets::default();
            own.add_floating(Transport::Udp, ip, 5060);
            assert_eq!(is_own(&own, Transport::Udp, ip, 5060), is_here, "{ip}");
        }
    }

    #[test]
    fn a_socket_gets_what_goes_to_its_address_port_and_transport() {
        let own = sockets(&[
            (Transport::Udp, "10.0.0.1", 5060),
            (Transport::Tcp, "[fd00::1]", 5070),
        ]);
        for (transport, ip, port, expected) in [
            (Transport::Udp, "10.0.0.1", 5060, true),
            (Transport::Udp, "::ffff:10.0.0.1", 5060, true),
            (Transport::Udp, "0.0.0.0", 5060, true),
            (Transport::Udp, "10.0.0.1", 5061, false),
            (Transport::Tcp, "10.0.0.1", 5060, false),
            (Transport::Udp, "10.0.0.2", 5060, false),
            // Another socket's, although of this host.
            (Transport::Udp, "127.0.0.9", 5060, false),
            (Transport::Tcp, "fd00::1", 5070, true),
            (Transport::Tcp, "::", 5070, true),
            (Transport::Udp, "fd00::1", 5070, false),
        ] {
            assert_eq!(is_own(&own, transport, ip, port), expected, "{ip}:{port}");
        }
    }

    #[test]
    fn a_wildcard_socket_gets_what_goes_to_any_address_of_this_host() {
        let own = sockets(&[(Transport::Udp, "0.0.0.0", 5060)]);
        for (ip, expected) in [
            ("10.0.0.1", true),
            ("127.0.0.9", true),
            ("::ffff:127.0.0.9", true),
            ("0.0.0.0", true),
            ("10.0.0.2", false),
            ("::1", false),
        ] {
            assert_eq!(is_own(&own, Transport::Udp, ip, 5060), expected, "{ip}");
        }
        let own = sockets(&[(Transport::Udp, "::", 5060)]);
        assert!(is_own(&own, Transport::Udp, "::1", 5060));
        assert!(!is_own(&own, Transport::Udp, "10.0.0.1", 5060));
    }

    #[test]
    fn a_name_of_ours_needs_no_looking_up() {
        let own = sockets(&[(Transport::Udp, "sip.example.com", 5060)]);
        let named = |name: &[u8], port| own.named(Transport::Udp, name, port).is_some();
        assert!(named(b"SIP.example.com", 5060));
        assert!(!named(b"sip.example.com", 5070));
        assert!(!named(b"example.com", 5060));
    }
}
