//! What people see of the maps: their meaning, for documentation.

use crate::counters::{
    DetourCounters, EgressCounters, KernelCounters, SocketCounters, WorkerCounters,
};
use crate::{host, inline, maps};

/// A field's name and what it means.
pub type Field = (&'static str, &'static str);

/// A map that `bpftool map dump` shows.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// Its type, as bpftool calls it.
    pub kind: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// The key's fields; one without a name: an integer.
    pub key: &'static [Field],
    /// The value's fields, by names and meanings.
    pub value: (&'static [&'static str], &'static [&'static str]),
}

/// Splits fields, which the counters' tables are already.
macro_rules! fields {
    ($($name:literal: $doc:literal,)*) => {
        (&[$($name),*], &[$($doc),*])
    };
}

/// All maps that are pinned, in the order of [`maps::SHOWN`].
pub const SHOWN: [Shown; maps::SHOWN.len()] = [
    Shown {
        name: maps::SOCKETS,
        kind: "hash",
        doc: "The listen sockets. What the XDP program counts for each is in SOCKET_COUNTS, by id.",
        key: &[
            (
                "addr",
                "Address in network order; IPv4 fills the first four bytes. All zero: any.",
            ),
            ("port", "Port."),
            ("proto", "17: UDP."),
            ("family", "4 or 6."),
            (
                "ifindex",
                "Index of the interface, if the address is an IPv6 link-local one; else 0.",
            ),
        ],
        value: fields! {
            "id": "Its place among the listen lines, from 0: the index in SOCKET_COUNTS.",
            "steer": "1: to AF_XDP; 0: to the kernel socket.",
        },
    },
    Shown {
        name: maps::SOCKET_COUNTS,
        kind: "array",
        doc: "What the XDP program decided for each listen socket, by CPU: the sum counts.",
        key: &[("", "The CPU's number times 1,024, plus the socket's id.")],
        value: (&SocketCounters::NAMES, &SocketCounters::DOCS),
    },
    Shown {
        name: maps::COUNTERS,
        kind: "array",
        doc: "What the XDP program decided, by verdict and reason, and by CPU: the sum counts. seen = \
              steered + offloaded + stun_answered + keepalive_answered + detoured + all pass_ + \
              all drop_.",
        key: &[("", "The CPU's number, from 0.")],
        value: (&KernelCounters::NAMES, &KernelCounters::DOCS),
    },
    Shown {
        name: maps::CONFIG,
        kind: "array",
        doc: "What the XDP program and the workers go by. probe_len, min_msg_len, keepalive and stun may \
              be changed with `bpftool map update`, and hold at once.",
        key: &[("", "Always 0.")],
        value: fields! {
            "probe_len": "Datagrams of fewer bytes are dropped as probes.",
            "min_msg_len": "Messages of fewer bytes skip the hook.",
            "max_frame_len": "Longer frames go to the kernel socket: AF_XDP couldn't hold them.",
            "cookie": "Marks this program's records in front of frames; drawn at start.",
            "log": "Whether rare events are logged.",
            "keepalive": "Keep-alives: 0: they are nothing special; 1: dropped; 2: answered.",
            "stun": "1: STUN Binding requests are answered.",
            "traffic_class": "Traffic class of answers.",
        },
    },
    Shown {
        name: maps::INTERFACES,
        kind: "hash",
        doc: "The interfaces that the XDP program is attached to.",
        key: &[("", "The interface's index, as in `ip link`.")],
        value: fields! {
            "first_slot": "Slot of its queue 0 in QUEUES.",
            "queues": "How many of its queues have a slot.",
            "answers": "1: what it brings may be answered; 0: it takes VLAN tags off, so a worker answers.",
        },
    },
    Shown {
        name: maps::QUEUES,
        kind: "array",
        doc: "The AF_XDP sockets, by slot.",
        key: &[("", "The slot.")],
        value: fields! {
            "ifindex": "The interface's index; 0: the slot is empty.",
            "queue": "The receive queue.",
            "worker": "The worker that serves it.",
            "mode": "1: native XDP; 2: generic (SKB) XDP.",
            "zero_copy": "1: bound for zero copy.",
        },
    },
    Shown {
        name: maps::WORKERS,
        kind: "array",
        doc: "What each worker counts. Over all workers, steered (of COUNTERS) + socket_in + \
              stream_in + taken_over = sent + replied + stun_answered + keepalive_answered + consumed + handed_over + delivered + \
              handed_back + merged + all drop_; \
              steered of DETOUR_COUNTS counts too.",
        key: &[("", "The worker's number, from 0.")],
        value: (&WorkerCounters::NAMES, &WorkerCounters::DOCS),
    },
    Shown {
        name: host::HOST_MACS,
        kind: "hash",
        doc: "The MACs that the host answers to, by the interface where frames arrive: its own, and \
              those of interfaces that stand on it (VLAN, macvlan as with VRRP, bridge, bond). \
              corex follows the kernel and keeps it in step. Frames for others pass \
              (pass_foreign_mac). When there are more than it holds, those of the interfaces \
              themselves come first, and the log says so.",
        key: &[
            ("ifindex", "Index of the interface where the frame arrives."),
            ("mac", "The MAC."),
            ("unused", "0."),
        ],
        value: fields! { "": "Index of the interface that has this MAC.", },
    },
    Shown {
        name: host::HOST_ADDRESSES,
        kind: "hash",
        doc: "The host's addresses on all interfaces but loopback's, and its subnets' broadcasts. \
              corex follows the kernel and keeps it in step. What comes from one of them is \
              pass_martian, what doesn't go to a local one is pass_not_local. When there are more \
              than it holds, it is empty: all pass, and the log says so.",
        key: &[
            (
                "addr",
                "Address in network order; IPv4 fills the first four bytes.",
            ),
            ("family", "4 or 6."),
            (
                "ifindex",
                "Of an IPv6 link-local address: index of the interface where packets arrive. Else 0.",
            ),
        ],
        value: fields! { "": "1: local; 2: broadcast.", },
    },
    Shown {
        name: inline::INLINE,
        kind: "array",
        doc: "Inline mode: what the programs go by.",
        key: &[("", "Always 0.")],
        value: fields! {
            "watchdog_ns": "A worker without a sign of life for so long is taken for hung.",
            "closed": "1: what no worker can handle is dropped; 0: it passes as it is.",
            "mark": "Packet mark of what comes back from a detour untouched; drawn at start.",
            "mac": "Source MAC of what goes to the stack of a NIC with generic XDP, six bytes; drawn at start.",
        },
    },
    Shown {
        name: inline::DETOURS,
        kind: "hash",
        doc: "Inline mode: the veth pairs.",
        key: &[("", "Index of the NIC, or of an end of its pair.")],
        value: fields! {
            "nic": "Index of the NIC.",
            "own": "Index of the end with the AF_XDP sockets.",
            "peer": "Index of the end that the NIC's packets are redirected to.",
        },
    },
    Shown {
        name: inline::ADDRESSES,
        kind: "hash",
        doc: "Inline mode: the protected addresses, of which fragments are steered.",
        key: &[
            (
                "addr",
                "Address in network order; IPv4 fills the first four bytes.",
            ),
            ("family", "4 or 6."),
        ],
        value: fields! { "": "How many protected sockets are on it.", },
    },
    Shown {
        name: inline::FRAGMENTS,
        kind: "lru_hash",
        doc: "Inline mode: datagrams that left in fragments, the first of which took the detour.",
        key: &[
            ("src", "Source address, as in ADDRESSES."),
            ("dst", "Destination address."),
            ("id", "Identification."),
            ("family", "4 or 6."),
        ],
        value: fields! { "": "The protected socket's id.", },
    },
    Shown {
        name: inline::HEARTBEATS,
        kind: "array",
        doc: "Inline mode: the workers' signs of life.",
        key: &[("", "The worker's number, from 0.")],
        value: fields! { "": "When it last gave one, in nanoseconds of CLOCK_MONOTONIC.", },
    },
    Shown {
        name: inline::EGRESS_COUNTS,
        kind: "array",
        doc: "Inline mode: what the TC program decided about packets that leave, by CPU: the sum \
              counts. seen = detoured + all pass_ + all drop_.",
        key: &[("", "The CPU's number, from 0.")],
        value: (&EgressCounters::NAMES, &EgressCounters::DOCS),
    },
    Shown {
        name: inline::DETOUR_COUNTS,
        kind: "array",
        doc: "Inline mode: what the XDP program on the veth pair decided, by CPU: the sum counts. \
              seen = steered + all pass_ + all drop_.",
        key: &[("", "The CPU's number, from 0.")],
        value: (&DetourCounters::NAMES, &DetourCounters::DOCS),
    },
];

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{borrow::ToOwned as _, string::String, vec::Vec};

    use super::*;
    use crate::counters::{Counter, Kind};

    /// The books' equation as the documentation writes it.
    fn equation(counters: &[Counter]) -> String {
        let names = |kind| {
            let of_kind = counters.iter().filter(move |counter| counter.kind == kind);
            of_kind.map(|counter| counter.name)
        };
        let inputs: Vec<&str> = names(Kind::Input).collect();
        let mut verdicts: Vec<String> = Vec::new();
        for group in ["", "pass_", "drop_"] {
            let mut those = names(Kind::Verdict).filter(|name| match group {
                "" => !name.starts_with("pass_") && !name.starts_with("drop_"),
                group => name.starts_with(group),
            });
            if group.is_empty() {
                verdicts.extend(those.map(str::to_owned));
            } else if those.next().is_some() {
                verdicts.push("all ".to_owned() + group);
            }
        }
        inputs.join(" + ") + " = " + &verdicts.join(" + ")
    }

    #[test]
    fn the_equations_of_the_books_are_those_of_the_counters() {
        for (map, counters) in [
            (maps::COUNTERS, &KernelCounters::ALL[..]),
            (maps::WORKERS, &WorkerCounters::ALL),
            (inline::EGRESS_COUNTS, &EgressCounters::ALL),
            (inline::DETOUR_COUNTS, &DetourCounters::ALL),
        ] {
            let shown = SHOWN.iter().find(|shown| shown.name == map).unwrap();
            let equation = equation(counters);
            assert!(shown.doc.contains(&equation), "{map}: {equation}");
        }
    }
}
