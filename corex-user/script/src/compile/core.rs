//! Core parameters.

use std::time::Duration;

use super::Checker;
use crate::nearest::nearest;
use crate::settings::log::Facility;
use crate::settings::{Listen, Settings};
use crate::syntax::ast::{self, HostKind, Setting, SettingValue, SettingValueKind as Value, Text};
use crate::syntax::diag::Diagnostic;
use corex_sip::Transport;
use corex_sip::alias;

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
    /// A time in whole seconds.
    Seconds(fn(&mut Settings, Duration)),
    /// Where the system's log puts what corex logs.
    Facility,
    /// The name that lines in the system's log begin with.
    LogName,
}

/// The core parameters that mean something here.
pub const CORE: &[CoreParam] = &[
    CoreParam {
        name: "listen",
        kind: CoreKind::Listen,
        doc: "[udp:|tcp:]host[:port] [advertise host[:port]] [name \"text\"]: a socket to listen on. The \
              host is an IP address, an interface or a host name. May be set many times. Default: \
              every IPv4 address of this host, port 5060.",
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
        name: "mhomed",
        kind: CoreKind::Bool(|settings, value| settings.mhomed = value),
        doc: "Whether the socket to send from is the one of the address that the kernel would \
              choose for the destination. Default: no.",
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
        name: "max_while_loops",
        kind: CoreKind::Int {
            min: 1,
            max: 1_000_000,
            set: |settings, value| settings.max_while_loops = value as u32,
        },
        doc: "How often a while loop may turn. Default: 100.",
    },
];

/// Core parameters of Kamailio that do no harm and have no meaning here.
const IGNORED: &[&str] = &[
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
    "gid",
    "group",
    "ip_free_bind",
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
    "pmtu_discovery",
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
    "tos",
    "uid",
    "unix_sock",
    "use_dns_cache",
    "use_dns_failover",
    "use_dst_blocklist",
    "user",
    "user_agent_header",
    "uri_host_extra_chars",
    "version_table",
    "wait_worker1_mode",
    "wdir",
    "workdir",
    "xavp_via_params",
];

/// The same for whole families of them.
const IGNORED_PREFIXES: &[&str] = &[
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
const UNSUPPORTED: &[(&str, &str)] = &[
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

impl Checker {
    pub(super) fn setting(&mut self, setting: &Setting) {
        if let Some(group) = &setting.group {
            return self.report(
                Diagnostic::error(
                    group.span.to(setting.name.span),
                    "custom parameters are not supported",
                )
                .help("define the value with #!define, or assign it to a $var() in a route"),
            );
        }
        let name = setting.name.kind.as_str();
        let Some(param) = CORE.iter().find(|param| param.name == name) else {
            return self.other_setting(setting);
        };
        for value in &setting.values {
            match param.kind {
                CoreKind::Listen => self.listen(value),
                CoreKind::Alias => self.alias(value),
                CoreKind::Facility => self.facility(value),
                CoreKind::LogName => self.log_name(value),
                CoreKind::Int { min, max, set } => match number(value) {
                    Some(number) if (min..=max).contains(&number) => {
                        set(&mut self.settings, number);
                    }
                    Some(_) => self.report(
                        Diagnostic::error(value.span, format!("{name} is out of range"))
                            .label(format!("expected a number from {min} to {max}")),
                    ),
                    None => self.report(
                        Diagnostic::error(value.span, format!("{name} takes a number"))
                            .label(format!("expected a number from {min} to {max}")),
                    ),
                },
                CoreKind::Seconds(set) => match number(value).map(u64::try_from) {
                    Some(Ok(seconds @ 1..=86_400)) => {
                        set(&mut self.settings, Duration::from_secs(seconds));
                    }
                    _ => self.report(
                        Diagnostic::error(value.span, format!("{name} takes seconds"))
                            .label("expected a number from 1 to 86400"),
                    ),
                },
                CoreKind::Bool(set) => match number(value) {
                    Some(number) => set(&mut self.settings, number != 0),
                    None => self.report(
                        Diagnostic::error(value.span, format!("{name} takes yes or no"))
                            .label("expected yes or no"),
                    ),
                },
            }
        }
    }

    fn other_setting(&mut self, setting: &Setting) {
        let name = setting.name.kind.as_str();
        let span = setting.name.span;
        if IGNORED.contains(&name) || IGNORED_PREFIXES.iter().any(|p| name.starts_with(p)) {
            return self.report(
                Diagnostic::warning(span, format!("{name} has no meaning here"))
                    .help("the line is accepted for Kamailio's sake; it can be removed"),
            );
        }
        let mut diagnostic;
        if let Some((_, remedy)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
            diagnostic = Diagnostic::error(span, format!("{name} is not supported")).help(*remedy);
        } else {
            diagnostic = Diagnostic::error(span, format!("there is no core parameter `{name}`"));
            let known = CORE.iter().map(|param| param.name);
            diagnostic = match nearest(name, known.chain(IGNORED.iter().copied())) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic.help(format!(
                    "known are {}",
                    CORE.iter().map(|p| p.name).collect::<Vec<_>>().join(", ")
                )),
            };
        }
        self.report(diagnostic);
    }

    fn transport(&mut self, address: &ast::Address) -> Result<Option<Transport>, ()> {
        let Some(word) = &address.transport else {
            return Ok(None);
        };
        match Transport::parse(&word.kind) {
            Some(transport) => Ok(Some(transport)),
            None => {
                self.report(
                    Diagnostic::error(word.span, format!("`{}` is not a transport", word.kind))
                        .label("expected udp, tcp, tls or sctp"),
                );
                Err(())
            }
        }
    }

    fn host(&mut self, address: &ast::Address) -> Option<String> {
        match &address.host.kind {
            HostKind::Ip(ip) => Some(ip.to_string()),
            HostKind::Name(name) if name.len() <= alias::MAX_HOST_LEN => Some(name.clone()),
            HostKind::Name(_) => {
                self.report(Diagnostic::error(
                    address.host.span,
                    format!("a host name has at most {} bytes", alias::MAX_HOST_LEN),
                ));
                None
            }
            HostKind::Any => {
                self.report(
                    Diagnostic::error(address.host.span, "`*` is no address")
                        .label("expected an IP address, an interface or a host name")
                        .help("to listen on all addresses, leave the listen lines out or write 0.0.0.0"),
                );
                None
            }
        }
    }

    fn listen(&mut self, value: &SettingValue) {
        let Value::Address(listen) = &value.kind else {
            return self.report(
                Diagnostic::error(value.span, "this is no address")
                    .label("expected [udp:|tcp:]host[:port]"),
            );
        };
        let address = &listen.address.kind;
        let transport = self.transport(address);
        let host = self.host(address);
        let (Ok(transport), Some(host)) = (transport, host) else {
            return;
        };
        let transport = transport.unwrap_or(Transport::Udp);
        if !matches!(transport, Transport::Udp | Transport::Tcp) {
            let span = address.transport.as_ref().map_or(value.span, |t| t.span);
            return self.report(
                Diagnostic::error(span, format!("there are no listeners for {transport}"))
                    .label("expected udp or tcp")
                    .help(format!("remove the line, or write listen=udp:{host}")),
            );
        }
        let advertise = match &listen.advertise {
            None => None,
            Some(advertise) => match self.host(&advertise.kind) {
                Some(host) => Some((host, advertise.kind.port.as_ref().map(|port| port.kind))),
                None => return,
            },
        };
        let name = listen
            .name
            .as_ref()
            .map(|name| String::from_utf8_lossy(&name.kind.value).into_owned());
        let port = address
            .port
            .as_ref()
            .map_or(transport.default_port(), |port| port.kind);
        if port == 0 {
            let span = address.port.as_ref().map_or(value.span, |port| port.span);
            return self.report(
                Diagnostic::error(span, "0 is no port to listen on")
                    .label("expected a port from 1 to 65535"),
            );
        }
        self.settings.listen.push(Listen {
            transport,
            host,
            port,
            advertise,
            name,
        });
    }

    fn facility(&mut self, value: &SettingValue) {
        let word = match &value.kind {
            Value::Word(word) => word.as_str(),
            Value::Str(text) => str::from_utf8(&text.value).unwrap_or_default(),
            _ => "",
        };
        match Facility::parse(word) {
            Some(facility) => self.settings.log.facility = Some(facility),
            None => self.report(
                Diagnostic::error(value.span, "this is no facility of the system's log").label(
                    format!(
                        "expected {}",
                        Facility::names().collect::<Vec<_>>().join(", ")
                    ),
                ),
            ),
        }
    }

    fn log_name(&mut self, value: &SettingValue) {
        const MOST: usize = 48;
        let is_good = |c: &u8| c.is_ascii_graphic() && !b"[]:".contains(c);
        match &value.kind {
            Value::Str(Text { value: name, .. })
                if (1..=MOST).contains(&name.len()) && name.iter().all(is_good) =>
            {
                let name = String::from_utf8_lossy(name).into_owned();
                self.settings.log.name = Some(name);
            }
            _ => self.report(
                Diagnostic::error(value.span, "this is no name for the system's log").label(
                    format!("expected a string of 1 to {MOST} letters, digits and signs but [ ] :"),
                ),
            ),
        }
    }

    fn alias(&mut self, value: &SettingValue) {
        let Value::Address(listen) = &value.kind else {
            return self.report(
                Diagnostic::error(value.span, "this is no address")
                    .label("expected [proto:]host[:port]"),
            );
        };
        let address = &listen.address.kind;
        let transport = self.transport(address);
        let host = self.host(address);
        if let (Ok(transport), Some(host)) = (transport, host) {
            self.settings.alias.push(alias::Entry {
                transport,
                host,
                port: address.port.as_ref().map_or(0, |port| port.kind),
            });
        }
    }
}

/// A value as a number; a boolean is 1 or 0, as in Kamailio.
fn number(value: &SettingValue) -> Option<i64> {
    match &value.kind {
        Value::Int(number) => Some(*number),
        Value::Bool(truth) => Some(i64::from(*truth)),
        _ => None,
    }
}
