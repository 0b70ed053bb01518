//! The module `corex`: the hook's parameters, and core functions with dynamic parameters.

mod branch;
mod file;
mod flag;
mod review;
mod rule;
mod send;

use std::net::{IpAddr, SocketAddr};

use corex_script::Direction;
use corex_script::function::{
    Function, Module, Param, ParamKind, Parameter, ParameterKind, Routes, absolute, value,
};
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};
use corex_script::settings::RpFilter;
use corex_script::settings::control::{HTTP_PORT, HostPort};
use corex_sip::Transport;
use corex_sip::alias::Entry;

pub(super) static MODULE: Module = Module {
    name: "corex",
    doc: "Core functions with dynamic parameters, and the hook on network input and output.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    review: Some(review::review),
    ..Module::NONE
};

const FUNCTIONS: &[Function] = &[
    Function {
        name: "is_incoming",
        aliases: &[],
        forms: &[&[]],
        routes: Routes::NETWORK,
        doc: "True if $mb was received, false if it is about to be sent.",
        handler: is_incoming,
    },
    Function {
        name: "append_branch",
        aliases: &[],
        forms: &[&[], &[value("uri")], &[value("uri"), value("q")]],
        routes: Routes::REQUEST,
        doc: "Adds a destination to the set that forward() forks to and a redirect reply lists: \
              `uri` with the current $du, $fs and branch flags; or without parameters the \
              request URI, whose $du, $fs and branch flags are then reset. `q`, from 0 to 1 \
              with at most three decimals, ranks it in a redirect reply.",
        handler: branch::append,
    },
    Function {
        name: "send",
        aliases: &["send_udp"],
        forms: &[&[], &[value("host[:port]")]],
        routes: Routes::REQUEST.or(Routes::REPLY),
        doc: "Sends the message as it was received by UDP: to host:port, IPv6 addresses in \
              brackets; without a parameter, or with an empty one, to $du, or to the request \
              URI where $du is not set. Without a port a host name is looked up by SRV, an \
              address means port 5060. Adds no Via, keeps no state. True if the message was \
              sent, or waits for its host name to be looked up.",
        handler: send::send,
    },
    Function {
        name: "send_tcp",
        aliases: &[],
        forms: &[&[], &[value("host[:port]")]],
        routes: Routes::REQUEST.or(Routes::REPLY),
        doc: "As send(), by TCP: on a connection that is there already, or on a new one. True \
              if the message waits to be written; a connection that fails later is counted and \
              logged.",
        handler: send::send_tcp,
    },
    Function {
        name: "send_data",
        aliases: &[],
        forms: &[&[value("uri"), value("data")]],
        routes: Routes::ANY,
        doc: "Sends any bytes to a SIP URI; its transport is udp, tcp, tls or sctp. They don't \
              go through the hook.",
        handler: send::send_data,
    },
    Function {
        name: "sendx",
        aliases: &[],
        forms: &[&[value("uri"), value("socket"), value("data")]],
        routes: Routes::ANY,
        doc: "As send_data(), from the listen socket `socket`: \"udp:address:port\" or the name \
              in its listen line.",
        handler: send::sendx,
    },
    Function {
        name: "msg_iflag_set",
        aliases: &[],
        forms: &[&[IFLAG]],
        routes: Routes::ANY,
        doc: "Sets an internal flag of the message: USE_UAC_FROM, USE_UAC_TO or UAC_AUTH.",
        handler: flag::set,
    },
    Function {
        name: "msg_iflag_reset",
        aliases: &[],
        forms: &[&[IFLAG]],
        routes: Routes::ANY,
        doc: "Resets an internal flag of the message.",
        handler: flag::reset,
    },
    Function {
        name: "msg_iflag_is_set",
        aliases: &[],
        forms: &[&[IFLAG]],
        routes: Routes::ANY,
        doc: "Whether an internal flag of the message is set.",
        handler: flag::is_set,
    },
    Function {
        name: "file_read",
        aliases: &[],
        forms: &[&[
            value("path"),
            Param {
                name: "variable",
                kind: ParamKind::Target,
            },
        ]],
        routes: Routes::ANY,
        doc: "Puts the content of a file into a variable. The path lies in a directory of \
              file_root; a relative one starts at the first. Without file_root it starts at the \
              configuration's directory; what isn't there is looked for where file_write() \
              writes. A change on disk is seen within a second.",
        handler: file::read,
    },
    Function {
        name: "file_write",
        aliases: &[],
        forms: &[&[value("path"), value("content")]],
        routes: Routes::ANY,
        doc: "Writes a file, whole or not at all, in a directory of file_root; a relative path \
              starts at the first. Nothing is written where the configuration or its scripts \
              lie, nor below.",
        handler: file::write,
    },
];

/// The name of an internal flag.
const IFLAG: Param = Param {
    name: "flag",
    kind: ParamKind::Checked(flag::check),
};

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "alias_subdomains",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let entry = Entry::parse(text).map_err(|error| error.to_string())?;
                settings.corex.alias_subdomains.push(entry);
                Ok(())
            },
            help: "its form is [proto:]domain[:port], as in \"udp:sip.example.com:5060\"",
        },
        doc: "[proto:]domain[:port]: the domain and all its sub-domains are `myself`. May be \
              set many times.",
    },
    Parameter {
        name: "network_io_intercept",
        aliases: &["nio_intercept"],
        kind: ParameterKind::Int {
            min: i32::MIN as i64,
            max: i32::MAX as i64,
            set: |settings, value| settings.corex.network_io_intercept = value != 0,
        },
        doc: "Anything but 0: event_route[network:msg] runs on each message received and each \
              about to be sent. Default: 0.",
    },
    Parameter {
        name: "min_msg_len",
        aliases: &["nio_min_msg_len"],
        kind: ParameterKind::Int {
            min: 0,
            max: 65_535,
            set: |settings, value| settings.corex.min_msg_len = value as u32,
        },
        doc: "Messages of fewer bytes skip the hook. Default: 0.",
    },
    Parameter {
        name: "msg_avp",
        aliases: &["nio_msg_avp"],
        kind: ParameterKind::MessageAvp,
        doc: "The AVP that event_route[network:msg] leaves the new message in, as in \
              \"$avp(msg)\". Default: none.",
    },
    Parameter {
        name: "metrics",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.control.metrics = Some(HostPort::parse(text, HTTP_PORT)?);
                Ok(())
            },
            help: "write host:port, or the port alone for 127.0.0.1",
        },
        doc: "Where HTTP serves /metrics (OpenMetrics, for Prometheus), /health and /ready: \
              host:port, on 127.0.0.1 where no host is written; the port is 9470 where none is. \
              Default: nowhere.",
    },
    Parameter {
        name: "http_host",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                if text.is_empty() {
                    return Err("it is empty".to_owned());
                }
                settings.control.http_hosts.push(text.to_owned());
                Ok(())
            },
            help: "write a host name or an address, without a port",
        },
        doc: "A name or address that HTTP (metrics, and http_socket of jsonrpcs) may be asked by, \
              beside localhost, the address that the connection came to, and the host in \
              `metrics` or `http_socket`. By another one it answers 421: a web page could have \
              its own name lead here. May be set many times.",
    },
    Parameter {
        name: "http_token_file",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.control.http_token_file = Some(absolute(text)?);
                Ok(())
            },
            help: "write a file's path, as in \"/etc/corex-http.token\"",
        },
        doc: "A file with a token of 16 characters or more that only its owner may read (mode \
              0600, of root or the user that runs corex). Who asks for /metrics or /RPC must show \
              it: `Authorization: Bearer TOKEN`; /health and /ready are for everybody. It is read \
              at the start. Keep it out of the configuration's directory and of file_root, where \
              scripts may read. Default: none is asked for.",
    },
    Parameter {
        name: "dns_stale_ttl",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 604_800,
            set: |settings, value| {
                settings.dns.stale_ttl = std::time::Duration::from_secs(value as u64);
            },
        },
        doc: "So many seconds longer than its time an address of a host name is used when no name \
              server answers (RFC 8767); it is asked for again every 30 seconds. 0: no longer. \
              Default: 86400.",
    },
    Parameter {
        name: "dns_max_lookups",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 4,
            max: 65_535,
            set: |settings, value| settings.dns.max_lookups = value as usize,
        },
        doc: "Host names that are looked up at a time. A quarter of these places is for names that had \
              an address before; of the others a zone (example.com, example.co.uk) has a quarter at \
              most. What finds none is dropped, and counted as dns_refused or dns_refused_zone. \
              Default: 256.",
    },
    Parameter {
        name: "dns_max_per_source",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 65_535,
            set: |settings, value| settings.dns.max_per_source = value as usize,
        },
        doc: "Of the host names that are looked up at a time and had no address before, so many may be \
              for messages of one IPv4 address or IPv6 /64. More are dropped, and counted as \
              dns_refused_source. Default: 16.",
    },
    Parameter {
        name: "on_hook_failure",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.corex.drops_on_hook_failure = word(text, "pass", "drop")?;
                Ok(())
            },
            help: "write \"pass\" or \"drop\"",
        },
        doc: "Proxy mode: what becomes of a message when event_route[network:msg] fails: by an error \
              of its own, or since a script in Lua or Perl that it called failed or wasn't run, and \
              msg_avp is not set. \"pass\": it goes on as it was. \"drop\": it is dropped, and \
              counted as drop_hook_failed. Default: \"pass\". In inline mode on_failure says it.",
    },
    Parameter {
        name: "rp_filter",
        aliases: &[],
        kind: ParameterKind::Int {
            min: -1,
            max: 2,
            set: |settings, value| {
                settings.corex.rp_filter = match value {
                    0 => RpFilter::Off,
                    1 => RpFilter::Strict,
                    2 => RpFilter::Loose,
                    _ => RpFilter::Kernel,
                };
            },
        },
        doc: "Proxy mode: reverse-path filtering (RFC 3704) of datagrams. -1: AF_XDP asks what the \
              kernel asks, the sysctl net.ipv4.conf.*.rp_filter, as it is at any time; IPv6 has none. 0: \
              AF_XDP asks nothing. 1, strict: IPv4 and IPv6 datagrams are dropped, and counted as \
              drop_rp_filter, unless the route to their source leads by the interface that they came \
              by; by kernel sockets, too, where the sysctl may refuse more. 2, loose: unless there is a \
              route to their source. In inline mode the stack of the server's host decides. Default: -1.",
    },
    Parameter {
        name: "hook_quarantine",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 86_400,
            set: |settings, value| {
                settings.corex.hook_quarantine = std::time::Duration::from_secs(value as u64);
            },
        },
        doc: "Who sends a message that costs Lua or Perl all the time or memory that a call may take, or \
              its process (Perl: two such messages), is kept from that language for 100 ms, and twice \
              as long each time up to so many seconds: calls are false. It is the sender's \
              address and port, from four ports on the address (IPv6: the /64); only when eight \
              addresses do so within ten seconds all calls rest. 0: they always do. corex.quarantine \
              shows who is held. Default: 10.",
    },
    Parameter {
        name: "reply_check",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.corex.reply_check = value != 0,
        },
        doc: "Whether forward() puts a keyed digest into its Via (the parameter k), and a reply with \
              our Via on top goes back only if it brings one that fits the Via below, Call-ID and \
              CSeq; else it is dropped, and counted as drop_reply_forged. Without it anybody can have \
              us send what he likes where he likes, by a reply with two Via. What reply_route \
              sends itself isn't looked at. Default: 1; 0 is what Kamailio does.",
    },
    Parameter {
        name: "reply_key_file",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.corex.reply_key_file = Some(absolute(text)?);
                Ok(())
            },
            help: "write a file's path, as in \"/etc/corex-reply.key\"",
        },
        doc: "A file with the keys of reply_check, one a line, of 16 characters or more (openssl rand \
              -hex 32), that only its owner may read (mode 0600, of root or the user that runs \
              corex). The first one goes into requests, any of them does in a reply: put a new one \
              first, reload, and take the old one out when nothing is on its way any more. Who \
              shares the file gets the replies to each other's requests, and a new start gets those \
              to the old one's. Keep it where scripts can't read. Default: a key that is made at the \
              start: replies that are on their way then are lost.",
    },
    Parameter {
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
    },
    Parameter {
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
    },
    Parameter {
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
    },
    Parameter {
        name: "intercept_send",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.corex.intercept_send = value != 0,
        },
        doc: "Whether what send() sends goes through the hook. Default: 1; 0 is what Kamailio \
              does.",
    },
    Parameter {
        name: "file_root",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.corex.file_roots.push(absolute(text)?);
                Ok(())
            },
            help: "write a directory, as in \"/var/lib/corex\"",
        },
        doc: "A directory that file_read() and file_write() may use, with all that is below it; \
              file_write() not where the configuration, its scripts, or files that it names \
              lie, nor below such a place. May be set many times. Default: to read, the \
              configuration's directory and the one for temporary files; to write, a directory \
              that corex makes for itself: $STATE_DIRECTORY, else /var/lib/corex/INSTANCE, else \
              corex-UID-INSTANCE in the one for temporary files.",
    },
    Parameter {
        name: "file_max_size",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 1 << 20,
            set: |settings, value| settings.corex.file_max_size = value as u32,
        },
        doc: "The most bytes of a file that file_read() and file_write() take. Default: 65535.",
    },
    Parameter {
        name: "tls_ca_list",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.corex.tls_ca_list = Some(text.into());
                Ok(())
            },
            help: "write the path of a PEM file",
        },
        doc: "A PEM file with the certificate authorities that a TLS peer's certificate must \
              come from. Default: the system's.",
    },
    Parameter {
        name: "tcp_max_per_peer",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: i32::MAX as i64,
            set: |settings, value| settings.stream.per_peer = Some(value as usize),
        },
        doc: "The most TCP connections with one address (IPv6: one /64) that it opened, and the \
              most that corex opened to it. More are refused, and counted as refused_peer. \
              Default: a quarter of tcp_max_connections.",
    },
    Parameter {
        name: "tcp_reserve",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: i32::MAX as i64,
            set: |settings, value| settings.stream.reserve = Some(value as usize),
        },
        doc: "So many of tcp_max_connections are for connections that corex opens: none is \
              accepted that would take one of them. Default: an eighth.",
    },
    Parameter {
        name: "tcp_reply_connect",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.stream.reply_connect = value != 0,
        },
        doc: "Whether a connection is opened for a reply whose own is gone (RFC 3261 \
              §18.2.2). By default a reply goes by a connection that is there, as in Kamailio after \
              set_reply_no_connect(), or is dropped and counted as drop_send_no_connection: else a \
              forged reply would have corex connect to whatever address its Via names. Default: 0.",
    },
    Parameter {
        name: "tcp_keepalive_lifetime",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 1 << 24,
            set: |settings, value| {
                settings.stream.keepalive = std::time::Duration::from_secs(value as u64);
            },
        },
        doc: "For so many seconds after the last SIP message, in either direction, keep-alives \
              (RFC 5626: CRLF) keep a TCP connection open; one that hasn't carried a message yet \
              they don't keep. Without traffic of any kind it is closed after \
              tcp_connection_lifetime. Default: 7200.",
    },
    Parameter {
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
    },
    Parameter {
        name: "mode",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.corex.inline.is_on = word(text, "proxy", "inline")?;
                Ok(())
            },
            help: "write \"proxy\" or \"inline\"",
        },
        doc: "\"proxy\": the listen addresses are corex's own. \"inline\": a server on this host \
              owns the addresses of `protect` and knows nothing of corex; its SIP goes through \
              event_route[network:msg] on the way in and on the way out. Default: \"proxy\".",
    },
    Parameter {
        name: "protect",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let address = protected(text)?;
                let protect = &mut settings.corex.inline.protect;
                if !protect.contains(&address) {
                    protect.push(address);
                }
                Ok(())
            },
            help: "its form is udp:address:port, as in \"udp:192.0.2.1:5060\"",
        },
        doc: "Inline mode: [udp:]address[:port] of the server; the port is 5060 where none is \
              written. May be set many times.",
    },
    Parameter {
        name: "on_failure",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.corex.inline.is_closed = word(text, "open", "closed")?;
                Ok(())
            },
            help: "write \"open\" or \"closed\"",
        },
        doc: "Inline mode: what becomes of the server's packets when corex is dead or hangs, or \
              when the hook fails. \"open\": they pass as they are. \"closed\": they are dropped \
              and counted. Default: \"open\".",
    },
    Parameter {
        name: "watchdog",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1_000,
            max: 60_000,
            set: |settings, value| settings.corex.inline.watchdog = value as u32,
        },
        doc: "Inline mode: a worker that shows no sign of life for so many milliseconds is taken \
              for hung. Default: 2000.",
    },
    Parameter {
        name: "too_big",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.corex.inline.tells_too_big = word(text, "fragment", "icmp")?;
                Ok(())
            },
            help: "write \"fragment\" or \"icmp\"",
        },
        doc: "Inline mode: what becomes of a datagram of the server that may not be fragmented \
              (IPv4 with DF; IPv6) and outgrows the MTU in the hook. \"fragment\": it leaves in \
              fragments, as it would had the server sent so much. \"icmp\": it is dropped, and \
              the server's stack is told the MTU. Default: \"fragment\".",
    },
    rule::CODEC_IN,
    rule::CODEC_OUT,
];

/// A protected socket: [udp:]address[:port].
fn protected(text: &str) -> Result<SocketAddr, String> {
    let entry = Entry::parse(text).map_err(|error| error.to_string())?;
    if entry.transport.is_some_and(|t| t != Transport::Udp) {
        return Err("only UDP can be protected".to_owned());
    }
    let host = entry.host.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = host
        .parse()
        .map_err(|_| format!("{host} is no IP address"))?;
    if ip.is_unspecified() || ip.is_multicast() {
        return Err("it must be one address, that of the server".to_owned());
    }
    let port = match entry.port {
        0 => Transport::Udp.default_port(),
        port => port,
    };
    Ok(SocketAddr::new(ip, port))
}

/// One of two words.
fn word(text: &str, no: &str, yes: &str) -> Result<bool, String> {
    if text.eq_ignore_ascii_case(yes) {
        Ok(true)
    } else if text.eq_ignore_ascii_case(no) {
        Ok(false)
    } else {
        Err(format!("it is neither \"{no}\" nor \"{yes}\""))
    }
}

fn is_incoming(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    Ok(match exec.direction {
        Some(Direction::Incoming) => 1,
        _ => -1,
    })
}
