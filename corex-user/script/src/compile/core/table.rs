//! The core parameters: those that are taken, those without meaning here, and those that ask for
//! what isn't here.

use std::time::Duration;

use crate::settings::Settings;

/// A core parameter.
pub struct CoreParam {
    pub name: &'static str,
    pub kind: CoreKind,
    /// What it does, in one or a few sentences, with its default.
    pub doc: &'static str,
}

/// What a core parameter takes.
#[derive(Clone, Copy)]
pub enum CoreKind {
    Listen,
    Alias,
    Int {
        min: i64,
        max: i64,
        set: fn(&mut Settings, i64),
    },
    Bool(fn(&mut Settings, bool)),
    /// The byte of DSCP and ECN: a number, or the name of a type of service.
    TrafficClass,
    /// A time in whole seconds.
    Seconds(fn(&mut Settings, Duration)),
    /// Where the system's log puts what corex logs.
    Facility,
    /// The name that lines in the system's log begin with.
    LogName,
    /// The user to run as.
    User,
    /// The group to run as.
    Group,
}

/// The core parameters that mean something here.
pub const CORE: &[CoreParam] = &[
    CoreParam {
        name: "listen",
        kind: CoreKind::Listen,
        doc: "[udp:|tcp:]host[:port] [advertise host[:port]] [name \"text\"] [virtual]: a socket to \
              listen on. The host is an IP address, an interface or a host name; an IPv6 link-local \
              address has its interface behind it, as in [fe80::1%eth0]. virtual: the address floats \
              between hosts, and needn't be on this one yet. May be set many times. Default: every \
              IPv4 address of this host, port 5060.",
    },
    CoreParam {
        name: "alias",
        kind: CoreKind::Alias,
        doc: "[proto:]host[:port]: a host that is `myself`. May be set many times.",
    },
    CoreParam {
        name: "children",
        kind: CoreKind::Int {
            min: 1,
            max: 4096,
            set: |settings, value| settings.children = Some(value as u32),
        },
        doc: "Number of workers. Default: one for each processor.",
    },
    CoreParam {
        name: "debug",
        kind: CoreKind::Int {
            min: -5,
            max: 99,
            set: |settings, value| settings.debug = value,
        },
        doc: "What is logged: -5 (alerts only) to 3 (everything). Default: 2.",
    },
    CoreParam {
        name: "log_stderror",
        kind: CoreKind::Bool(|settings, value| settings.log.to_stderr = Some(value)),
        doc: "Whether logs go to standard error; else they go to the system's log, /dev/log. \
              Default: yes, unless log_facility is set.",
    },
    CoreParam {
        name: "log_facility",
        kind: CoreKind::Facility,
        doc: "The facility of lines in the system's log, as in LOG_LOCAL0. Default: LOG_DAEMON.",
    },
    CoreParam {
        name: "log_name",
        kind: CoreKind::LogName,
        doc: "The name of lines in the system's log. Default: corex.",
    },
    CoreParam {
        name: "user",
        kind: CoreKind::User,
        doc: "The user that corex goes on as once it is set up, where root starts it: a name or a \
              number. `-u` on the command line comes first. \"root\" stays root. Default: corex if there is such a \
              user, else nobody. Started by another user, corex stays that one.",
    },
    CoreParam {
        name: "uid",
        kind: CoreKind::User,
        doc: "The same as `user`.",
    },
    CoreParam {
        name: "group",
        kind: CoreKind::Group,
        doc: "The group that goes with `user`: a name or a number. `-g` on the command line comes \
              first. Default: the user's own, with those that it is a member of.",
    },
    CoreParam {
        name: "gid",
        kind: CoreKind::Group,
        doc: "The same as `group`.",
    },
    CoreParam {
        name: "mhomed",
        kind: CoreKind::Bool(|settings, value| settings.mhomed = value),
        doc: "Whether the socket to send from is the one of the address that the kernel would \
              choose for the destination. Default: no.",
    },
    CoreParam {
        name: "ip_free_bind",
        kind: CoreKind::Bool(|settings, value| settings.free_bind = value),
        doc: "Whether addresses to listen on may be missing on this host, as if all listen lines said \
              virtual. ipfreebind and ip_nonlocal_bind are the same. Default: no.",
    },
    CoreParam {
        name: "pmtu_discovery",
        kind: CoreKind::Bool(|settings, value| settings.datagrams.dont_fragment = value),
        doc: "Whether IPv4 datagrams are sent with the bit \"don't fragment\": one that is larger \
              than a link on its way is lost then. Without it routers fragment it, whether ICMP \
              gets back to us or not. Default: no.",
    },
    CoreParam {
        name: "tos",
        kind: CoreKind::TrafficClass,
        doc: "Type of service of what is sent, by UDP and by TCP, IPv6's traffic class: a number from 0 to \
              255, as in 0xb8 for DSCP EF, or IPTOS_LOWDELAY, IPTOS_THROUGHPUT, IPTOS_RELIABILITY or \
              IPTOS_MINCOST. The two lowest bits, which are ECN's, are sent as 0. What a received \
              message had is never copied. Default: 0; in Kamailio it is 0x10.",
    },
    CoreParam {
        name: "dns_cache_min_ttl",
        kind: CoreKind::Int {
            min: 1,
            max: 86_400,
            set: |settings, value| settings.dns.min_ttl = Duration::from_secs(value as u64),
        },
        doc: "The least seconds that an address of a host name is used without asking for it again, \
              whatever its record says. Default: 1; in Kamailio it is 0.",
    },
    CoreParam {
        name: "dns_cache_max_ttl",
        kind: CoreKind::Int {
            min: 1,
            max: i32::MAX as i64,
            set: |settings, value| settings.dns.max_ttl = Duration::from_secs(value as u64),
        },
        doc: "The most seconds of this kind. In the last fifth of its time an address that is in use \
              is asked for again, ahead. Default: 3600; in Kamailio there is no bound.",
    },
    CoreParam {
        name: "dns_cache_negative_ttl",
        kind: CoreKind::Int {
            min: 1,
            max: 86_400,
            set: |settings, value| settings.dns.negative_ttl = Duration::from_secs(value as u64),
        },
        doc: "For so many seconds it is remembered that a name has no address, or that no name server \
              answered. Default: 10; in Kamailio it is 60.",
    },
    CoreParam {
        name: "max_branches",
        kind: CoreKind::Int {
            min: 1,
            max: 31,
            set: |settings, value| settings.max_branches = value as u32,
        },
        doc: "How many destinations a request may have, the request URI among them. Default: 12.",
    },
    CoreParam {
        name: "server_signature",
        kind: CoreKind::Bool(|settings, value| {
            if !value {
                settings.server.clear();
            }
        }),
        doc: "Whether our own replies have a Server header. Default: yes.",
    },
    CoreParam {
        name: "tcp_children",
        kind: CoreKind::Int {
            min: 1,
            max: 256,
            set: |settings, value| settings.stream.children = Some(value as usize),
        },
        doc: "Number of threads that read and write TCP and TLS connections, beside the workers; each \
              connection's messages stay in order. Default: one for each processor.",
    },
    CoreParam {
        name: "tcp_max_connections",
        kind: CoreKind::Int {
            min: 0,
            max: 1_000_000,
            set: |settings, value| settings.stream.max_connections = value as usize,
        },
        doc: "TCP connections at a time; more are refused. Default: 2048.",
    },
    CoreParam {
        name: "tcp_connection_lifetime",
        kind: CoreKind::Seconds(|settings, life| settings.stream.idle = life),
        doc: "Seconds after which a TCP connection without traffic is closed. Default: 120.",
    },
    CoreParam {
        name: "tcp_connect_timeout",
        kind: CoreKind::Seconds(|settings, time| settings.stream.connect = time),
        doc: "Seconds that a TCP connection may take to come about. Default: 10.",
    },
    CoreParam {
        name: "tcp_send_timeout",
        kind: CoreKind::Seconds(|settings, time| settings.stream.send = time),
        doc: "Seconds that a TCP peer may take to accept a message. Default: 10.",
    },
    CoreParam {
        name: "tcp_msg_read_timeout",
        kind: CoreKind::Seconds(|settings, time| settings.stream.message = time),
        doc: "Seconds that a message may take to arrive whole by TCP. Default: 20.",
    },
    CoreParam {
        name: "tcp_rd_buf_size",
        kind: CoreKind::Int {
            min: 512,
            max: 65_535,
            set: |settings, value| settings.stream.max_message = value as usize,
        },
        doc: "The longest message by TCP, in bytes. Default: 65535.",
    },
    CoreParam {
        name: "tcp_conn_wq_max",
        kind: CoreKind::Int {
            min: 1,
            max: 1 << 30,
            set: |settings, value| settings.stream.queue_bytes = value as usize,
        },
        doc: "Bytes that may wait to be sent by one TCP connection. Default: 4194304.",
    },
    CoreParam {
        name: "tcp_wq_max",
        kind: CoreKind::Int {
            min: 1,
            max: 1 << 40,
            set: |settings, value| settings.stream.all_queue_bytes = value as usize,
        },
        doc: "Bytes that may wait to be sent by all TCP connections together. Default: 67108864.",
    },
    CoreParam {
        name: "max_while_loops",
        kind: CoreKind::Int {
            min: 1,
            max: 1_000_000,
            set: |settings, value| settings.max_while_loops = value as u32,
        },
        doc: "How often a while loop may turn. Default: 100.",
    },
];

/// Other names of core parameters (Kamailio's core/cfg.lex).
pub(super) const SYNONYMS: &[(&str, &str)] = &[
    ("ipfreebind", "ip_free_bind"),
    ("ip_nonlocal_bind", "ip_free_bind"),
];

/// Types of service by name (Linux's netinet/ip.h, RFC 1349).
pub(super) const TYPES_OF_SERVICE: &[(&str, u8)] = &[
    ("IPTOS_LOWDELAY", 0x10),
    ("IPTOS_THROUGHPUT", 0x08),
    ("IPTOS_RELIABILITY", 0x04),
    ("IPTOS_MINCOST", 0x02),
];

/// Core parameters of Kamailio that do no harm and have no meaning here.
pub(super) const IGNORED: &[&str] = &[
    "async_workers",
    "auto_aliases",
    "auto_bind_ipv6",
    "check_via",
    "chroot",
    "corelog",
    "disable_core_dump",
    "disable_tcp",
    "disable_tls",
    "dns",
    "enable_sctp",
    "enable_tls",
    "exit_timeout",
    "fork",
    "fork_delay",
    "latency_cfg_log",
    "latency_limit_action",
    "latency_limit_db",
    "latency_log",
    "local_rport",
    "log_color",
    "log_engine_data",
    "log_engine_type",
    "log_prefix",
    "log_prefix_mode",
    "max_recursive_level",
    "maxbuffer",
    "mcast_loopback",
    "mcast_ttl",
    "memdbg",
    "memlog",
    "memsum",
    "mlock_pages",
    "modinit_delay",
    "onsend_route_reply",
    "open_files_limit",
    "phone2tel",
    "pv_buffer_size",
    "pv_buffer_slots",
    "pv_cache_action",
    "pv_cache_limit",
    "real_time",
    "reply_to_via",
    "rev_dns",
    "rt_ftimer_policy",
    "rt_ftimer_prio",
    "rt_policy",
    "rt_prio",
    "rt_timer1_policy",
    "rt_timer1_prio",
    "rt_timer2_policy",
    "rt_timer2_prio",
    "server_header",
    "server_id",
    "shm_force_alloc",
    "sip_warning",
    "socket_workers",
    "statistics",
    "stats_name_separator",
    "syn_branch",
    "timer_sched_limit",
    "unix_sock",
    "use_dns_cache",
    "use_dns_failover",
    "use_dst_blocklist",
    "user_agent_header",
    "uri_host_extra_chars",
    "version_table",
    "wait_worker1_mode",
    "wdir",
    "workdir",
    "xavp_via_params",
];

/// The same for whole families of them.
pub(super) const IGNORED_PREFIXES: &[&str] = &[
    "tcp_",
    "tls_",
    "sctp_",
    "dns_",
    "mem_",
    "kemi_",
    "udp_mtu",
    "dst_blocklist_",
    "shm_mem",
];

/// Those that would mean something, and what to do instead.
pub(super) const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "port",
        "write the port in the listen line: listen=udp:ADDRESS:PORT",
    ),
    (
        "advertised_address",
        "write it in the listen line: listen=udp:ADDRESS:PORT advertise HOST:PORT",
    ),
    (
        "advertised_port",
        "write it in the listen line: listen=udp:ADDRESS:PORT advertise HOST:PORT",
    ),
];
