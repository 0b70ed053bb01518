//! What the pipelines of all workers read and none changes.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use corex_common::answer::{KEEPALIVE_DROP, KEEPALIVE_PASS, KEEPALIVE_PONG};

use super::{files::Files, fixed::Fixed, outbox::Outbox};
use crate::{guard::Guard, hep::Exporter, kernel::knobs::Knobs, telemetry::trace::Tap};
use corex_script::{
    Config, SocketId,
    settings::{Corex, Keepalive, OwnSockets, Place},
};
use corex_sip::{Transport, alias, compose::ReplyKeys};

/// A listen socket, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its transport: UDP or TCP.
    pub transport: Transport,
    /// Its address, which may be a wildcard; a link-local one has its interface as scope.
    pub address: SocketAddr,
    /// That interface as the listen line has it.
    pub zone: Option<String>,
    /// `advertise` of the listen line: our name towards others, and the port.
    pub advertise: Option<(String, Option<u16>)>,
    /// `name "…"` of the listen line.
    pub name: Option<String>,
    /// `virtual` of the listen line: the address floats between hosts.
    pub is_virtual: bool,
    /// Whether this host needn't have the address yet: it floats, or `ip_free_bind` says so.
    pub may_be_absent: bool,
    /// Where the listen line is.
    pub place: Place,
}

impl Listener {
    /// One with an address and nothing more.
    pub const fn new(transport: Transport, address: SocketAddr) -> Self {
        Self {
            transport,
            address,
            zone: None,
            advertise: None,
            name: None,
            is_virtual: false,
            may_be_absent: false,
            place: Place::NONE,
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, address) = (self.transport, self.address);
        match &self.zone {
            Some(zone) => write!(
                f,
                "{transport}:[{}%{zone}]:{}",
                address.ip(),
                address.port()
            ),
            None => write!(f, "{transport}:{address}"),
        }
    }
}

/// What listeners get that is sent to them, or to what they are advertised as.
pub fn own_sockets(listeners: &[Listener]) -> OwnSockets {
    let mut own = OwnSockets::default();
    for listener in listeners {
        let (transport, address) = (listener.transport, listener.address);
        let host = address.ip().to_string();
        if listener.may_be_absent {
            own.add_floating(transport, &host, address.port());
        } else {
            own.add(transport, &host, address.port());
        }
        if let Some((host, port)) = &listener.advertise {
            own.add(transport, host, port.unwrap_or(address.port()));
        }
    }
    own
}

/// Sets the knobs to what a configuration says. Without a hook no message is too short for it.
pub fn set_knobs(knobs: &Knobs, corex: &Corex) {
    knobs.set_probe_len(corex.probe_len);
    knobs.set_keepalive(match corex.keepalive {
        Keepalive::Pass => KEEPALIVE_PASS,
        Keepalive::Drop => KEEPALIVE_DROP,
        Keepalive::Pong => KEEPALIVE_PONG,
    });
    knobs.set_stun(corex.stun);
    // On dry run all comes to the workers, which count.
    knobs.set_overload(corex.overload.is_on && !corex.overload.is_dry);
    knobs.set_min_msg_len(if corex.intercepts() {
        corex.min_msg_len
    } else {
        0
    });
}

/// A configuration, what was made from it, and the ways out that all workers share. A reload
/// makes another one.
pub struct PipelineContext {
    /// The configuration.
    pub config: Config,
    /// The listen sockets; [`SocketId`] is the index.
    pub listeners: Vec<Listener>,
    /// What becomes of messages without their route being run.
    pub fixed: Fixed,
    /// Where what is sent comes back to us.
    pub own: Arc<OwnSockets>,
    /// Host names that are ours.
    pub aliases: alias::Table,
    /// What may change without a new configuration; these values count, not the configuration's.
    pub knobs: Knobs,
    /// Who is let in.
    pub guard: Guard,
    /// Where messages can be looked at as they pass.
    pub tap: Arc<Tap>,
    /// Takes copies of messages for a collector.
    pub exporter: Arc<Exporter>,
    /// Takes messages that can't leave at once.
    pub outbox: Box<dyn Outbox>,
    /// Files for scripts.
    pub files: Files,
    /// What replies must bring back; `None`: they need nothing.
    pub reply_keys: Option<ReplyKeys>,
}

impl PipelineContext {
    /// A listen socket. An index that no listener has can't come from this configuration;
    /// the first listener stands in.
    pub fn listener(&self, socket: SocketId) -> &Listener {
        const NONE: &Listener = &Listener::new(
            Transport::Udp,
            SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0),
        );
        self.listeners
            .get(usize::from(socket.0))
            .or_else(|| self.listeners.first())
            .unwrap_or(NONE)
    }

    /// The UDP listen socket that owns a local address: the exact one, else the wildcard.
    pub fn find(&self, local: SocketAddr) -> Option<SocketId> {
        let by = |matches: &dyn Fn(&Listener) -> bool| {
            self.listeners
                .iter()
                .position(|l| l.transport == Transport::Udp && matches(l))
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
