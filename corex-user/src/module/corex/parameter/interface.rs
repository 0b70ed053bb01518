//! Network interfaces, their programs, and what these count.

use corex_script::function::{Parameter, ParameterKind};
use corex_script::settings::Sharding;

pub(super) const MAX_PEERS: Parameter = Parameter {
    name: "max_peers",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 10_000,
        set: |settings, value| settings.corex.max_peers = value as u32,
    },
    doc: "How many peers (addresses) each worker counts messages of one by one, for \
          corex.peers and /metrics; the rest counts as `other`, and a peer that was silent \
          for a minute makes room. 0: none. Default: 100.",
};

pub(super) const SHARD: Parameter = Parameter {
    name: "shard",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.corex.shard = match text.to_ascii_lowercase().as_str() {
                "off" => Sharding::Off,
                "auto" => Sharding::Auto,
                "on" => Sharding::On,
                _ => return Err("it is none of \"off\", \"auto\" and \"on\"".to_owned()),
            };
            Ok(())
        },
        help: "write \"off\", \"auto\" or \"on\"",
    },
    doc: "Whether workers hand messages over to each other by their Call-ID, since one carrier is \
          one 5-tuple and so one queue and one worker. The messages of a Call-ID are then handled \
          by one worker in their order, whichever way they came by; what has no Call-ID that can be \
          read as it comes (encoded messages) stays where it came. \"on\": always. \"auto\": while a \
          worker is busy for three quarters of the time, gets half as much again as its part of all \
          messages, or more, and another one is busy for less than half of the time; until for a second \
          its part is within a quarter of the others', or one worker could do all in half of its time. \"off\": never. \
          Proxy mode only. See performance.md. Default: \"auto\".",
};

pub(super) const BUSY_POLL: Parameter = Parameter {
    name: "busy_poll",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1024,
        set: |settings, value| settings.corex.busy_poll = value as u16,
    },
    doc: "Packets that a worker takes from the NIC itself each time that it looks for some (SO_PREFER_BUSY_POLL, \
          SO_BUSY_POLL_BUDGET; Linux 5.11), rather than interrupts when they come: then set the NIC's \
          napi_defer_hard_irqs and gro_flush_timeout, too, see performance.md. 64 is as many as the kernel takes \
          at a time. AF_XDP only; read at the start. 0: it doesn't. Default: 0.",
};

pub(super) const REATTACH: Parameter = Parameter {
    name: "reattach",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1,
        set: |settings, value| settings.corex.reattach = value != 0,
    },
    doc: "Whether programs and AF_XDP sockets follow an interface that is removed and made \
          again, that loses its program, or that gets more receive queues. One thread keeps \
          CAP_NET_ADMIN, CAP_NET_RAW and CAP_IPC_LOCK for it. 0: none does, and until the next start the \
          packets of such an interface go by kernel sockets (inline: they pass the hook by), \
          and those of further queues by kernel sockets (inline: by the veth pair). Default: 1.",
};

pub(super) const OFFLOAD: Parameter = Parameter {
    name: "offload",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1,
        set: |settings, value| settings.corex.offload = value != 0,
    },
    doc: "Whether messages whose way the configuration alone decides are sent on or dropped by \
          the XDP program itself; `corex check --explain` says which. A wrong UDP checksum goes \
          on as it is. Proxy mode only. See offload.md. Default: 0.",
};

pub(super) const PROBE_LEN: Parameter = Parameter {
    name: "probe_len",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 65_535,
        set: |settings, value| settings.corex.probe_len = value as u32,
    },
    doc: "Keep-alive policy: datagrams of fewer bytes are taken as keep-alives and probes, \
          and dropped, by the XDP program where it runs; 0: none are. Default: 32, which is \
          fixed in Kamailio. cfg.set_now_int changes it while corex runs.",
};

pub(super) const INTERFACE: Parameter = Parameter {
    name: "interface",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.corex.interfaces.push(text.to_owned());
            Ok(())
        },
        help: "write the name of a network interface, as in \"eth0\"",
    },
    doc: "An interface to attach XDP to, as `corex run --interface` names it. May be set many \
          times. Default: those that carry the listen addresses, or the protected ones.",
};
