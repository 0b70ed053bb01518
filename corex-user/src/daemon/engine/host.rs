//! The host as remote control shows it.

use std::net::IpAddr;

use super::PacketEngine;
use crate::{pipeline::Listener, rpc::daemon::HostInterface, telemetry::books::RoadLine};
use corex_sip::Transport;

impl PacketEngine {
    /// The interfaces that the programs are on, as they are now. Empty with kernel sockets alone.
    pub fn host(&self, listeners: &[Listener]) -> Vec<HostInterface> {
        let Some(xdp) = &self.xdp else {
            return Vec::new();
        };
        let snapshot = xdp.host.snapshot();
        let is_served = |ip: IpAddr| {
            listeners.iter().any(|listener| {
                let own = listener.address.ip();
                listener.transport == Transport::Udp
                    && (own == ip || own.is_unspecified() && own.is_ipv4() == ip.is_ipv4())
            })
        };
        let line = |interface: &crate::telemetry::books::InterfaceLine| {
            let report = snapshot.report(&interface.name, interface.index);
            let is_up = report.state == "up";
            let addresses = report
                .addresses
                .into_iter()
                .filter(|address| is_served(address.ip))
                .map(|address| {
                    let by_xdp = is_up && address.is_steered && interface.queues > 0;
                    let road = if by_xdp { "AF_XDP" } else { "kernel socket" };
                    (address.ip.to_string(), road.to_owned())
                });
            HostInterface {
                name: interface.name.clone(),
                index: interface.index,
                state: report.state.to_owned(),
                mtu: report.mtu,
                mac: report.mac,
                queues: interface.queues,
                mode: interface.mode.clone(),
                addresses: addresses.collect(),
            }
        };
        xdp.nics.lines(&xdp.queues).iter().map(line).collect()
    }

    /// What the kernel handles by itself.
    pub fn road_lines(&self, listeners: &[Listener]) -> Vec<RoadLine> {
        let Some(xdp) = &self.xdp else {
            return Vec::new();
        };
        let name_of = |ifindex: u32| {
            let mut served = xdp.nics.served();
            let found = served.find(|(interface, ..)| interface.index == ifindex);
            found.map_or(String::new(), |(interface, ..)| interface.name.clone())
        };
        let lines = xdp.roads.iter().flat_map(|roads| roads.lines());
        lines
            .map(|line| {
                let counters = line.counters;
                let socket = listeners.get(line.socket as usize);
                RoadLine {
                    number: line.number,
                    socket: socket.map_or(String::new(), ToString::to_string),
                    to: line.action.to_string(),
                    state: line.state,
                    interface: name_of(line.ifindex),
                    messages: counters.offloaded,
                    bytes: counters.offloaded_bytes,
                    steered: counters.steered_no_hop
                        + counters.steered_sample
                        + counters.steered_doubtful,
                }
            })
            .collect()
    }
}
