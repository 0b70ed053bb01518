//! What people see of the maps: their meaning, for documentation.

use crate::counters::{
    DetourCounters, EgressCounters, KernelCounters, RoadCounters, SocketCounters, WorkerCounters,
};
use crate::{guard, host, inline, maps, overload, road};

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

/// Keys of the guard's lists.
const LIST_KEY_V4: &[Field] = &[
    ("prefix_len", "32, and the bits of the network."),
    (
        "data",
        "The transport, 17 for UDP, 6 for TCP and TLS, 0 for any (proto); 0 (unused); our port in \
         network order, 0 for any (port); the network's address in network order (addr).",
    ),
];

/// The same of IPv6.
const LIST_KEY_V6: &[Field] = &[
    ("prefix_len", "64, and the bits of the network."),
    (
        "data",
        "The transport, 17 for UDP, 6 for TCP and TLS, 0 for any (proto); 0 (unused); our port in \
         network order, 0 for any (port); 0 (zero); the network's address in network order (addr).",
    ),
];

/// Entries of the guard's lists.
const LISTED: (&[&str], &[&str]) = fields! {
    "expires": "From then on it doesn't count: nanoseconds of CLOCK_MONOTONIC; 0: it stays.",
    "hits": "Packets that it was found for; what two CPUs count at once may count as one.",
    "last_seen": "When that was last, within a second: nanoseconds of CLOCK_MONOTONIC; 0: never.",
    "action": "0: dropped as blocked; 1: dropped as what gets no answer.",
    "origin": "Who put it there: 1: the configuration; 2: remote control; 3: a script; 4: corex, after offences; 0: nobody said.",
};

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
            "roads": "1: messages may take roads; 0: all are steered, as while somebody traces.",
            "overload": "1: what a worker can't keep up with is shed by priority.",
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
        name: overload::PRESSURE,
        kind: "array",
        doc: "How hard pressed each worker is (`overload`).",
        key: &[("", "The worker's number, from 0.")],
        value: fields! {
            "level": "0: it keeps up; 1: requests outside dialogs from unknown sources are dropped; \
                      2: all from unknown sources is.",
            "credit": "Messages to be shed that are steered nevertheless, so that they get a 503.",
        },
    },
    Shown {
        name: overload::KNOWN_PEERS,
        kind: "array",
        doc: "The peers that are known (`overload`), eight for each set of addresses.",
        key: &[("", "The set's number times 8, plus the place in the set.")],
        value: fields! {
            "key": "Two words, the address in network order; IPv4 as ::ffff:a.b.c.d.",
            "until": "The second of CLOCK_MONOTONIC at which it is forgotten; 0: empty.",
        },
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
        name: guard::GUARD,
        kind: "array",
        doc: "What the guard goes by. `bpftool map update` holds at once, until corex writes it anew.",
        key: &[("", "Always 0.")],
        value: fields! {
            "rules": "The rules that are looked at: 1: allow; 2: block; 4: stealth; 8: signatures; 16: rates; added up.",
            "dry_run": "Those of them that only count what they would have done.",
            "allow_v4": "Which kinds of entries GUARD_ALLOW_V4 has: 1: of any transport and port; 2: of one transport; 4: of one port; 8: of both; added up.",
            "allow_v6": "The same of GUARD_ALLOW_V6.",
            "block_v4": "The same of GUARD_BLOCK_V4.",
            "block_v6": "The same of GUARD_BLOCK_V6.",
            "stealth_methods": "Methods that get no answer, by bit: 1: INVITE, 2: ACK, 3: BYE, 4: CANCEL, 5: OPTIONS, 6: REGISTER, 7: PRACK, 8: SUBSCRIBE, 9: NOTIFY, 10: PUBLISH, 11: INFO, 12: REFER, 13: MESSAGE, 14: UPDATE, 15: others.",
            "is_on": "1: there is a guard. Without it, 0, nothing is looked at.",
        },
    },
    Shown {
        name: guard::GUARD_ALLOW_V4,
        kind: "lpm_trie",
        doc: "The guard: networks of IPv4 that are allowed.",
        key: LIST_KEY_V4,
        value: LISTED,
    },
    Shown {
        name: guard::GUARD_ALLOW_V6,
        kind: "lpm_trie",
        doc: "The guard: networks of IPv6 that are allowed.",
        key: LIST_KEY_V6,
        value: LISTED,
    },
    Shown {
        name: guard::GUARD_BLOCK_V4,
        kind: "lpm_trie",
        doc: "The guard: networks of IPv4 that are blocked, or get no answer.",
        key: LIST_KEY_V4,
        value: LISTED,
    },
    Shown {
        name: guard::GUARD_BLOCK_V6,
        kind: "lpm_trie",
        doc: "The guard: networks of IPv6 that are blocked, or get no answer.",
        key: LIST_KEY_V6,
        value: LISTED,
    },
    Shown {
        name: road::ROAD_SOCKETS,
        kind: "array",
        doc: "Which roads lead from each listen socket: messages that the XDP program sends on or \
              drops itself (modparam offload).",
        key: &[("", "The socket's id, as in SOCKETS.")],
        value: fields! {
            "class": "One more than the index in ROAD_CLASSES for sources that ROAD_SOURCES has no network of; 0: no roads.",
            "by_source": "1: ROAD_SOURCES is looked into.",
        },
    },
    Shown {
        name: road::ROAD_SOURCES,
        kind: "lpm_trie",
        doc: "The networks that the configuration tells sources apart by.",
        key: &[
            (
                "prefix_len",
                "32 bits of the socket, and those of the network.",
            ),
            (
                "data",
                "The socket's id in network order (socket), and the network's address in network \
                 order, of which IPv4 fills the first four bytes (addr).",
            ),
        ],
        value: fields! { "": "One more than the index in ROAD_CLASSES.", },
    },
    Shown {
        name: road::ROAD_CLASSES,
        kind: "array",
        doc: "The roads of one class of sources, by kind of message: replies, INVITE, ACK, BYE, \
              CANCEL, OPTIONS, REGISTER, PRACK, SUBSCRIBE, NOTIFY, PUBLISH, INFO, REFER, MESSAGE, \
              UPDATE, other methods. 0: steered. Else 65,536 times the number of roads that a hash \
              of the source chooses from, plus the index of the first; and 2,147,483,648 more where it \
              is a hash of the Call-ID.",
        key: &[("", "The class.")],
        value: fields! {
            "short": "Those of messages shorter than min_msg_len.",
            "long": "Those of the others.",
        },
    },
    Shown {
        name: road::ROADS,
        kind: "array",
        doc: "The roads. corex.roads shows the same in words.",
        key: &[("", "The road.")],
        value: fields! {
            "action": "1: send; 2: drop, as the script says; 3: drop, sent nowhere; 0: none.",
            "hop": "1 or 2: which of its two hops in ROAD_HOPS is in use; 0: none is known.",
            "sample_at": "From then on a message is steered, so that the kernel confirms the neighbour: nanoseconds of CLOCK_MONOTONIC.",
            "valid_until": "From then on the hop isn't used.",
            "to": "Destination address in network order; IPv4 fills the first four bytes.",
            "from": "Source address: the listen socket's.",
            "to_port": "Destination port.",
            "from_port": "Source port.",
            "family": "4 or 6.",
            "socket": "The listen socket's id.",
            "traffic_class": "DSCP and ECN of what is sent (tos).",
            "dont_fragment": "1: IPv4 is sent with DF (pmtu_discovery).",
            "unused": "0.",
        },
    },
    Shown {
        name: road::ROAD_HOPS,
        kind: "array",
        doc: "How the frames of roads leave: two places for each road, of which ROADS says the one in use.",
        key: &[(
            "",
            "Twice the road's number, plus the lowest bit of its hop.",
        )],
        value: fields! {
            "ifindex": "The interface to send by.",
            "mtu": "Largest IP packet.",
            "destination_mac": "The neighbour's MAC.",
            "source_mac": "The interface's MAC.",
            "may_reflect": "1: by the interface where the message came, if it is this one; else only by another one.",
        },
    },
    Shown {
        name: road::ROAD_COUNTS,
        kind: "array",
        doc: "What each road did, by CPU: the sum counts.",
        key: &[("", "The CPU's number times 256, plus the road's.")],
        value: (&RoadCounters::NAMES, &RoadCounters::DOCS),
    },
    Shown {
        name: road::ROAD_PEERS,
        kind: "lru_percpu_hash",
        doc: "Messages that took roads, by their source and CPU: corex.peers adds them to those that \
              workers counted. Who was silent for longest makes room for others.",
        key: &[
            (
                "addr",
                "Address in network order; IPv4 fills the first four bytes.",
            ),
            ("family", "4 or 6."),
        ],
        value: fields! {
            "messages": "Messages.",
            "bytes": "Their payload bytes.",
        },
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
