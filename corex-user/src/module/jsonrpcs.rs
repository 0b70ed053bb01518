//! The module `jsonrpcs`: what kamcli, kamctl and curl connect to. Its front ends are in
//! [`crate::rpc::json`].

use corex_script::function::{Module, Parameter, ParameterKind, absolute};
use corex_script::settings::control::{DatagramAddress, HTTP_PORT, HostPort, in_run_dir};

pub(super) static MODULE: Module = Module {
    name: "jsonrpcs",
    doc: "Remote control by JSON-RPC 2.0.",
    functions: &[],
    parameters: PARAMETERS,
    ..Module::NONE
};

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "transport",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 7,
            set: |settings, value| settings.control.json.transport = value as u8,
        },
        doc: "What is served: 1 HTTP, 2 FIFO, 4 datagrams, sums of these, or 0 for all of them. \
              Default: 6.",
    },
    Parameter {
        name: "pretty_format",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.control.json.pretty = value != 0,
        },
        doc: "Whether replies are divided into lines for people. Default: 1.",
    },
    Parameter {
        name: "fifo_name",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                if text.is_empty() {
                    return Err("it is empty".to_owned());
                }
                settings.control.json.fifo = in_run_dir(text);
                Ok(())
            },
            help: "write a path, as in \"/run/corex/corex_rpc.fifo\"",
        },
        doc: "The FIFO that requests are read from; a relative path begins in /run/corex. \
              Default: corex_rpc.fifo.",
    },
    Parameter {
        name: "fifo_mode",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 0o777,
            set: |settings, value| settings.control.json.fifo_access.mode = value as u32,
        },
        doc: "Permissions of the FIFO. Default: 0600.",
    },
    Parameter {
        name: "fifo_user",
        aliases: &[],
        kind: ParameterKind::Name {
            set: |settings, text| settings.control.json.fifo_access.user = Some(text.to_owned()),
        },
        doc: "Owner of the FIFO, by name or number. Default: who runs corex.",
    },
    Parameter {
        name: "fifo_group",
        aliases: &[],
        kind: ParameterKind::Name {
            set: |settings, text| settings.control.json.fifo_access.group = Some(text.to_owned()),
        },
        doc: "Group of the FIFO, by name or number. Default: that of who runs corex.",
    },
    Parameter {
        name: "fifo_reply_dir",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.control.json.fifo_reply_dir = absolute(text)?;
                Ok(())
            },
            help: "write a directory, as in \"/tmp\"",
        },
        doc: "The directory of the FIFOs that clients make for replies, and name as reply_name. \
              Default: /tmp.",
    },
    Parameter {
        name: "dgram_socket",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.control.json.datagram = DatagramAddress::parse(text)?;
                Ok(())
            },
            help: "write a path, as in \"/run/corex/corex_rpc.sock\", or \"udp:127.0.0.1:9062\"",
        },
        doc: "Where datagrams are received: a path, which begins in /run/corex where it is \
              relative, or udp:host:port. Default: corex_rpc.sock.",
    },
    Parameter {
        name: "dgram_mode",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 0o777,
            set: |settings, value| settings.control.json.datagram_access.mode = value as u32,
        },
        doc: "Permissions of that path. Default: 0600.",
    },
    Parameter {
        name: "dgram_user",
        aliases: &[],
        kind: ParameterKind::Name {
            set: |settings, text| {
                settings.control.json.datagram_access.user = Some(text.to_owned());
            },
        },
        doc: "Owner of that path, by name or number. Default: who runs corex.",
    },
    Parameter {
        name: "dgram_group",
        aliases: &[],
        kind: ParameterKind::Name {
            set: |settings, text| {
                settings.control.json.datagram_access.group = Some(text.to_owned());
            },
        },
        doc: "Group of that path, by name or number. Default: that of who runs corex.",
    },
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
        name: "dgram_workers",
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: "Processes that serve datagrams; here they are served beside the workers.",
    },
    Parameter {
        name: "http_socket",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.control.json.http = HostPort::parse(text, HTTP_PORT)?;
                Ok(())
            },
            help: "write [host:]port, as in \"127.0.0.1:9470\"",
        },
        doc: "Where HTTP is served, at the path /RPC: [host:]port, on 127.0.0.1 where no host is \
              written. Default: 127.0.0.1:9470.",
    },
];
