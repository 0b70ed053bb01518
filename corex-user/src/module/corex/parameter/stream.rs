//! TCP and TLS.

use std::time::Duration;

use corex_script::function::{Parameter, ParameterKind};

pub(super) const TLS_CA_LIST: Parameter = Parameter {
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
};

pub(super) const TCP_MAX_PER_PEER: Parameter = Parameter {
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
};

pub(super) const TCP_RESERVE: Parameter = Parameter {
    name: "tcp_reserve",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: i32::MAX as i64,
        set: |settings, value| settings.stream.reserve = Some(value as usize),
    },
    doc: "So many of tcp_max_connections are for connections that corex opens: none is \
          accepted that would take one of them. Default: an eighth.",
};

pub(super) const TCP_REPLY_CONNECT: Parameter = Parameter {
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
};

pub(super) const TCP_KEEPALIVE_LIFETIME: Parameter = Parameter {
    name: "tcp_keepalive_lifetime",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 1 << 24,
        set: |settings, value| {
            settings.stream.keepalive = Duration::from_secs(value as u64);
        },
    },
    doc: "For so many seconds after the last SIP message, in either direction, keep-alives \
          (RFC 5626: CRLF) keep a TCP connection open; one that hasn't carried a message yet \
          they don't keep. Without traffic of any kind it is closed after \
          tcp_connection_lifetime. Default: 7200.",
};
