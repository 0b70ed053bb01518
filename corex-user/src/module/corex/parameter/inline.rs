//! Inline mode.

use std::net::{IpAddr, SocketAddr};

use corex_script::function::{Parameter, ParameterKind};
use corex_sip::Transport;
use corex_sip::alias::Entry;

use super::word;

pub(super) const MODE: Parameter = Parameter {
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
};

pub(super) const PROTECT: Parameter = Parameter {
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
};

pub(super) const ON_FAILURE: Parameter = Parameter {
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
};

pub(super) const WATCHDOG: Parameter = Parameter {
    name: "watchdog",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1_000,
        max: 60_000,
        set: |settings, value| settings.corex.inline.watchdog = value as u32,
    },
    doc: "Inline mode: a worker that shows no sign of life for so many milliseconds is taken \
          for hung. Default: 2000.",
};

pub(super) const TOO_BIG: Parameter = Parameter {
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
};

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
