//! The module `jsonrpcs`: JSON-RPC 2.0. Its front ends are in [`crate::rpc::json`].

use super::{Module, Parameter, ParameterKind};
use crate::rpc::settings::{
    Access, DatagramAddress, HTTP_PORT, HostPort, JsonRpcSettings, in_run_dir,
};

/// Where a socket file's owner and permissions are kept.
type Place = fn(&mut JsonRpcSettings) -> &mut Access;

const FIFO: Place = |json| &mut json.fifo_access;
const DATAGRAM: Place = |json| &mut json.datagram_access;

pub(super) const MODULE: Module = Module {
    name: "jsonrpcs",
    doc: "Remote control by JSON-RPC 2.0: by a FIFO, by datagrams, and by HTTP.",
    functions: &[],
    parameters: &[
        Parameter {
            name: "transport",
            aliases: &[],
            kind: ParameterKind::Int {
                min: 0,
                max: 7,
                set: |settings, value| settings.control.json.transport = value as u8,
            },
            doc: "How to serve: 1 by HTTP (POST /RPC), 2 by the FIFO, 4 by datagrams, and their \
                  sums; 0: by all of them. Default: 6.",
        },
        Parameter {
            name: "pretty_format",
            aliases: &[],
            kind: ParameterKind::Int {
                min: 0,
                max: 1,
                set: |settings, value| settings.control.json.pretty = value != 0,
            },
            doc: "Whether replies have many lines. Default: 1.",
        },
        Parameter {
            name: "fifo_name",
            aliases: &[],
            kind: ParameterKind::Text {
                set: |settings, text| {
                    settings.control.json.fifo = in_run_dir(text);
                    Ok(())
                },
                help: "write a path",
            },
            doc: "The FIFO. Default: /run/corex/corex_rpc.fifo.",
        },
        Parameter {
            name: "fifo_reply_dir",
            aliases: &[],
            kind: ParameterKind::Text {
                set: |settings, text| {
                    settings.control.json.fifo_reply_dir = text.into();
                    Ok(())
                },
                help: "write a directory",
            },
            doc: "The directory that clients make the FIFOs for their replies in; replies go to \
                  no other place. Default: /tmp.",
        },
        mode("fifo_mode", |settings, value| {
            FIFO(&mut settings.control.json).mode = value as u32;
        }),
        owner("fifo_user", |settings, text| {
            FIFO(&mut settings.control.json).user = Some(text.to_owned());
            Ok(())
        }),
        owner("fifo_group", |settings, text| {
            FIFO(&mut settings.control.json).group = Some(text.to_owned());
            Ok(())
        }),
        Parameter {
            name: "dgram_socket",
            aliases: &[],
            kind: ParameterKind::Text {
                set: |settings, text| {
                    settings.control.json.datagram = DatagramAddress::parse(text)?;
                    Ok(())
                },
                help: "write a path, or udp:host:port",
            },
            doc: "The socket for datagrams: a path, or udp:[host:]port. Default: \
                  /run/corex/corex_rpc.sock.",
        },
        mode("dgram_mode", |settings, value| {
            DATAGRAM(&mut settings.control.json).mode = value as u32;
        }),
        owner("dgram_user", |settings, text| {
            DATAGRAM(&mut settings.control.json).user = Some(text.to_owned());
            Ok(())
        }),
        owner("dgram_group", |settings, text| {
            DATAGRAM(&mut settings.control.json).group = Some(text.to_owned());
            Ok(())
        }),
        Parameter {
            name: "dgram_timeout",
            aliases: &[],
            kind: ParameterKind::Int {
                min: 1,
                max: 60_000,
                set: |settings, value| settings.control.json.datagram_timeout = value as u32,
            },
            doc: "Milliseconds that a client may take to accept a reply. Default: 2000.",
        },
        Parameter {
            name: "http_socket",
            aliases: &[],
            kind: ParameterKind::Text {
                set: |settings, text| {
                    settings.control.json.http = HostPort::parse(text, HTTP_PORT)?;
                    Ok(())
                },
                help: "write host:port, or the port alone for 127.0.0.1",
            },
            doc: "Where HTTP is served, on 127.0.0.1 where no host is written. Default: \
                  127.0.0.1:9470.",
        },
    ],
};

const fn mode(
    name: &'static str,
    set: fn(&mut crate::script::settings::Settings, i64),
) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 0o777,
            set,
        },
        doc: "Permissions of the file. Default: 0600.",
    }
}

const fn owner(
    name: &'static str,
    set: fn(&mut crate::script::settings::Settings, &str) -> Result<(), String>,
) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Text {
            set,
            help: "write a name or a number",
        },
        doc: "Owner of the file. Default: who runs corex.",
    }
}
