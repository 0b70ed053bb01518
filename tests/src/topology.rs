//! The networks that the tests and the demonstration use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use crate::namespace::{Namespace, veth, veth_with_queues};

/// SIP's port (RFC 3261, section 19.1.2); everybody here uses it.
pub const PORT: u16 = 5060;

/// Addresses of one host on one cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabHost {
    /// Its IPv4 address, in a network of 24 bits.
    pub v4: Ipv4Addr,
    /// Its IPv6 address, in a network of 64 bits.
    pub v6: Ipv6Addr,
}

impl LabHost {
    const fn new(net: u8, host: u8) -> Self {
        Self {
            v4: Ipv4Addr::new(10, 0, net, host),
            v6: Ipv6Addr::new(0xfd00, 0, 0, net as u16, 0, 0, 0, host as u16),
        }
    }

    /// Where it speaks SIP over IPv4.
    pub fn sip(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.v4), PORT)
    }

    /// Where it speaks SIP over IPv6.
    pub fn sip6(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(self.v6), PORT)
    }

    fn assign(self, namespace: &Namespace, interface: &str) -> Result<()> {
        namespace.address(interface, &format!("{}/24", self.v4))?;
        namespace.address(interface, &format!("{}/64", self.v6))
    }
}

/// One corex between a caller and an answering side:
///
/// ```text
/// uac eth0 ── user  corex  core ── eth0 uas
/// ```
///
/// `uac` and `uas` have a default route through corex's host, which doesn't forward: what
/// arrives at the other side went through corex.
#[derive(Debug)]
pub struct Relay {
    /// The caller's host; interface `eth0`.
    pub uac: Namespace,
    /// corex's host; interfaces `user` and `core`.
    pub corex: Namespace,
    /// The answering host; interface `eth0`.
    pub uas: Namespace,
}

impl Relay {
    /// 10.0.1.2, fd00:0:0:1::2.
    pub const UAC: LabHost = LabHost::new(1, 2);
    /// 10.0.1.1, fd00:0:0:1::1; on interface `user`.
    pub const USER_SIDE: LabHost = LabHost::new(1, 1);
    /// 10.0.2.1, fd00:0:0:2::1; on interface `core`.
    pub const CORE_SIDE: LabHost = LabHost::new(2, 1);
    /// 10.0.2.2, fd00:0:0:2::2.
    pub const UAS: LabHost = LabHost::new(2, 2);

    /// Makes the network.
    ///
    /// # Errors
    /// Not root, or no `ip` command.
    pub fn new() -> Result<Self> {
        let relay = Self {
            uac: Namespace::new("uac")?,
            corex: Namespace::new("corex")?,
            uas: Namespace::new("uas")?,
        };
        veth((&relay.uac, "eth0"), (&relay.corex, "user"))?;
        veth((&relay.corex, "core"), (&relay.uas, "eth0"))?;
        Self::UAC.assign(&relay.uac, "eth0")?;
        Self::USER_SIDE.assign(&relay.corex, "user")?;
        Self::CORE_SIDE.assign(&relay.corex, "core")?;
        Self::UAS.assign(&relay.uas, "eth0")?;
        default_route(&relay.uac, "eth0", Self::USER_SIDE)?;
        default_route(&relay.uas, "eth0", Self::CORE_SIDE)?;
        Ok(relay)
    }
}

/// Two corexes with a network between them:
///
/// ```text
/// uac eth0 ── user  A  wire ── a  internet  b ── wire  B  user ── eth0 uas
/// ```
///
/// `internet` is a plain router without any XDP program: captures there show what is really
/// on the wire.
#[derive(Debug)]
pub struct Chain {
    /// The caller's host; interface `eth0`.
    pub uac: Namespace,
    /// The first corex's host; interfaces `user` and `wire`.
    pub a: Namespace,
    /// The router between; interfaces `a` and `b`.
    pub internet: Namespace,
    /// The second corex's host; interfaces `wire` and `user`.
    pub b: Namespace,
    /// The answering host; interface `eth0`.
    pub uas: Namespace,
}

impl Chain {
    /// 10.0.1.2.
    pub const UAC: LabHost = LabHost::new(1, 2);
    /// 10.0.1.1; A's interface `user`.
    pub const A_USER: LabHost = LabHost::new(1, 1);
    /// 10.0.2.1; A's interface `wire`.
    pub const A_WIRE: LabHost = LabHost::new(2, 1);
    /// 10.0.3.1; B's interface `wire`.
    pub const B_WIRE: LabHost = LabHost::new(3, 1);
    /// 10.0.4.1; B's interface `user`.
    pub const B_USER: LabHost = LabHost::new(4, 1);
    /// 10.0.4.2.
    pub const UAS: LabHost = LabHost::new(4, 2);
    const ROUTER_A: LabHost = LabHost::new(2, 254);
    const ROUTER_B: LabHost = LabHost::new(3, 254);

    /// Makes the network.
    ///
    /// # Errors
    /// Not root, or no `ip` command.
    pub fn new() -> Result<Self> {
        let chain = Self {
            uac: Namespace::new("uac")?,
            a: Namespace::new("a")?,
            internet: Namespace::new("net")?,
            b: Namespace::new("b")?,
            uas: Namespace::new("uas")?,
        };
        veth((&chain.uac, "eth0"), (&chain.a, "user"))?;
        veth((&chain.a, "wire"), (&chain.internet, "a"))?;
        veth((&chain.internet, "b"), (&chain.b, "wire"))?;
        veth((&chain.b, "user"), (&chain.uas, "eth0"))?;
        for (host, namespace, interface) in [
            (Self::UAC, &chain.uac, "eth0"),
            (Self::A_USER, &chain.a, "user"),
            (Self::A_WIRE, &chain.a, "wire"),
            (Self::ROUTER_A, &chain.internet, "a"),
            (Self::ROUTER_B, &chain.internet, "b"),
            (Self::B_WIRE, &chain.b, "wire"),
            (Self::B_USER, &chain.b, "user"),
            (Self::UAS, &chain.uas, "eth0"),
        ] {
            host.assign(namespace, interface)?;
        }
        default_route(&chain.uac, "eth0", Self::A_USER)?;
        default_route(&chain.a, "wire", Self::ROUTER_A)?;
        default_route(&chain.b, "wire", Self::ROUTER_B)?;
        default_route(&chain.uas, "eth0", Self::B_USER)?;
        chain.internet.sysctl("net.ipv4.ip_forward", "1")?;
        chain.internet.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        Ok(chain)
    }
}

/// A device and a server that know nothing of corex, which stands inline on both hosts:
///
/// ```text
/// device eth0 ── d  internet  s ── eth0 server
/// ```
///
/// `internet` is a plain router without any XDP program: captures there show what is really
/// on the wire.
#[derive(Debug)]
pub struct Inline {
    /// The device's host; interface `eth0`.
    pub device: Namespace,
    /// The router between; interfaces `d` and `s`.
    pub internet: Namespace,
    /// The server's host; interface `eth0`.
    pub server: Namespace,
}

impl Inline {
    /// 10.0.1.2, fd00:0:0:1::2.
    pub const DEVICE: LabHost = LabHost::new(1, 2);
    /// 10.0.2.2, fd00:0:0:2::2.
    pub const SERVER: LabHost = LabHost::new(2, 2);
    const ROUTER_D: LabHost = LabHost::new(1, 254);
    const ROUTER_S: LabHost = LabHost::new(2, 254);

    /// Makes the network.
    ///
    /// # Errors
    /// Not root, or no `ip` command.
    pub fn new() -> Result<Self> {
        Self::with_queues(1)
    }

    /// As [`Self::new`], with several queues on each host's interface.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_queues(queues: u32) -> Result<Self> {
        let inline = Self {
            device: Namespace::new("dev")?,
            internet: Namespace::new("net")?,
            server: Namespace::new("srv")?,
        };
        // A router whose link-local address is still tentative asks for no neighbour.
        inline
            .internet
            .sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        veth_with_queues((&inline.device, "eth0"), (&inline.internet, "d"), queues)?;
        veth_with_queues((&inline.server, "eth0"), (&inline.internet, "s"), queues)?;
        for (host, namespace, interface) in [
            (Self::DEVICE, &inline.device, "eth0"),
            (Self::ROUTER_D, &inline.internet, "d"),
            (Self::ROUTER_S, &inline.internet, "s"),
            (Self::SERVER, &inline.server, "eth0"),
        ] {
            host.assign(namespace, interface)?;
        }
        default_route(&inline.device, "eth0", Self::ROUTER_D)?;
        default_route(&inline.server, "eth0", Self::ROUTER_S)?;
        inline.internet.sysctl("net.ipv4.ip_forward", "1")?;
        inline
            .internet
            .sysctl("net.ipv6.conf.all.forwarding", "1")?;
        Ok(inline)
    }
}

fn default_route(namespace: &Namespace, interface: &str, gateway: LabHost) -> Result<()> {
    for gateway in [gateway.v4.to_string(), gateway.v6.to_string()] {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        namespace.ip(&format!(
            "{family} route add default via {gateway} dev {interface}"
        ))?;
    }
    Ok(())
}
