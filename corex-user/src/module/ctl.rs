//! The module `ctl`: what kamcmd connects to. Its front end is [`crate::rpc::ctl`].

use corex_script::function::{Module, Parameter, ParameterKind};
use corex_script::settings::control::BinrpcAddress;

pub(super) static MODULE: Module = Module {
    name: "ctl",
    doc: "Remote control by binrpc, the protocol of kamcmd.",
    functions: &[],
    parameters: &[
        Parameter {
            name: "binrpc",
            aliases: &[],
            kind: ParameterKind::Text {
                set: |settings, text| {
                    let address = BinrpcAddress::parse(text)?;
                    settings.control.binrpc.push(address);
                    Ok(())
                },
                help: "write a socket, as in \"unix:/run/corex/corex_ctl\" or \"tcp:2049\"",
            },
            doc: "A socket to serve: unix:PATH (or unixs:), unixd:PATH (datagrams), \
                  tcp:[host:]port, udp:[host:]port, the last two on 127.0.0.1 where no host is \
                  written. May be set many times. Default: unix:/run/corex/corex_ctl.",
        },
        Parameter {
            name: "mode",
            aliases: &[],
            kind: ParameterKind::Int {
                min: 0,
                max: 0o777,
                set: |settings, value| settings.control.access.mode = value as u32,
            },
            doc: "Permissions of the socket files. Default: 0600.",
        },
        Parameter {
            name: "user",
            aliases: &[],
            kind: ParameterKind::Name {
                set: |settings, text| settings.control.access.user = Some(text.to_owned()),
            },
            doc: "Owner of the socket files, by name or number. Default: who runs corex.",
        },
        Parameter {
            name: "group",
            aliases: &[],
            kind: ParameterKind::Name {
                set: |settings, text| settings.control.access.group = Some(text.to_owned()),
            },
            doc: "Group of the socket files, by name or number. Default: that of who runs corex.",
        },
        Parameter {
            name: "autoconversion",
            aliases: &[],
            kind: ParameterKind::Int {
                min: 0,
                max: 1,
                set: |settings, value| settings.control.autoconversion = value != 0,
            },
            doc: "Whether a parameter of another type than a command takes is converted where \
                  that can be done. Default: 0.",
        },
        Parameter {
            name: "fifo",
            aliases: &[],
            kind: ParameterKind::Ignored,
            doc: "The old text protocol by a FIFO; there is none here.",
        },
    ],
    ..Module::NONE
};
