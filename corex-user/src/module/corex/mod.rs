//! The module `corex`: the hook's parameters, and core functions with dynamic parameters.

mod absent;
mod branch;
mod file;
mod flag;
mod guard;
mod parameter;
mod ping;
mod review;
mod rule;
mod send;
mod socket;

use corex_script::Direction;
use corex_script::function::{
    BeforeRoute, Effect, Function, Module, Param, ParamKind, Routes, value,
};
use corex_script::run::{Arg, Parsed};
use corex_script::run::{Exec, Halt};

pub(super) static MODULE: Module = Module {
    name: "corex",
    doc: "Core functions with dynamic parameters, and the hook on network input and output.",
    functions: FUNCTIONS,
    absent: absent::ABSENT,
    parameters: parameter::PARAMETERS,
    review: Some(review::review),
    shares: Some(guard::share),
    before_route: Some(|settings| {
        settings
            .corex
            .options_ping
            .then_some(ping::answer as BeforeRoute)
    }),
    effects: &[("send", Effect::Send(send::address))],
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
        forms: &[&[], &[parsed("host[:port]", send::by_udp)]],
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
        forms: &[&[], &[parsed("host[:port]", send::by_tcp)]],
        routes: Routes::REQUEST.or(Routes::REPLY),
        doc: "As send(), by TCP: on a connection that is there already, or on a new one. True \
              if the message waits to be written; a connection that fails later is counted and \
              logged.",
        handler: send::send_tcp,
    },
    Function {
        name: "send_data",
        aliases: &[],
        forms: &[&[parsed("uri", send::by_uri), value("data")]],
        routes: Routes::ANY,
        doc: "Sends any bytes to a SIP URI; its transport is udp, tcp, tls or sctp. They don't \
              go through the hook.",
        handler: send::send_data,
    },
    Function {
        name: "sendx",
        aliases: &[],
        forms: &[&[parsed("uri", send::by_uri), value("socket"), value("data")]],
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
        name: "setxflag",
        aliases: &[],
        forms: &[&[XFLAG]],
        routes: Routes::ANY,
        doc: "Sets an extended flag of the message, 0 to 63.",
        handler: flag::set_extended,
    },
    Function {
        name: "resetxflag",
        aliases: &[],
        forms: &[&[XFLAG]],
        routes: Routes::ANY,
        doc: "Resets an extended flag of the message.",
        handler: flag::reset_extended,
    },
    Function {
        name: "isxflagset",
        aliases: &[],
        forms: &[&[XFLAG]],
        routes: Routes::ANY,
        doc: "Whether an extended flag of the message is set.",
        handler: flag::is_set_extended,
    },
    Function {
        name: "set_send_socket",
        aliases: &[],
        forms: &[&[value("socket")]],
        routes: Routes::REQUEST.or(Routes::REPLY),
        doc: "Sets $fs: the listen socket to send from, as \"udp:address:port\". False if there is \
              none, and $fs stays as it was.",
        handler: socket::set,
    },
    Function {
        name: "set_send_socket_name",
        aliases: &[],
        forms: &[&[value("name")]],
        routes: Routes::REQUEST.or(Routes::REPLY),
        doc: "The same by the name in its listen line.",
        handler: socket::set_by_name,
    },
    Function {
        name: "is_socket_name",
        aliases: &[],
        forms: &[&[value("name")]],
        routes: Routes::ANY,
        doc: "Whether a listen line has this name.",
        handler: socket::is_name,
    },
    Function {
        name: "is_faked_msg",
        aliases: &[],
        forms: &[&[]],
        routes: Routes::ANY,
        doc: "Whether the message is one that no network brought: never, as no block runs without \
              one.",
        handler: |_, _| Ok(-1),
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
    Function {
        name: "guard_block",
        aliases: &[],
        forms: &[&[value("network")], &[value("network"), value("seconds")]],
        routes: Routes::ANY,
        doc: "Blocks an address, or a network as in \"203.0.113.0/24; udp; 5060\": for so many \
              seconds, or until it is unblocked. The XDP program drops what comes from there. False \
              if it is allowed, or the list is full.",
        handler: guard::block,
    },
    Function {
        name: "guard_unblock",
        aliases: &[],
        forms: &[&[value("network")]],
        routes: Routes::ANY,
        doc: "Takes exactly this network off the list of those blocked. False if it wasn't there.",
        handler: guard::unblock,
    },
    Function {
        name: "guard_allow",
        aliases: &[],
        forms: &[&[value("network")], &[value("network"), value("seconds")]],
        routes: Routes::ANY,
        doc: "Allows a network, as guard_block() blocks one. False if the list is full.",
        handler: guard::allow,
    },
    Function {
        name: "guard_allowed",
        aliases: &[],
        forms: &[&[value("address")]],
        routes: Routes::ANY,
        doc: "Whether an address is on the list of those allowed, whatever transport and port.",
        handler: guard::is_allowed,
    },
    Function {
        name: "guard_blocked",
        aliases: &[],
        forms: &[&[value("address")]],
        routes: Routes::ANY,
        doc: "Whether an address is on the list of those blocked, whatever transport and port, and \
              isn't allowed.",
        handler: guard::is_blocked,
    },
    Function {
        name: "guard_offence",
        aliases: &[],
        forms: &[&[value("address")]],
        routes: Routes::ANY,
        doc: "Notes that an address did what it shouldn't. True if that was one too many, and it is \
              blocked now.",
        handler: guard::offence,
    },
];

/// The number of an extended flag.
const XFLAG: Param = value("flag");

/// A parameter that takes any value, of which a constant is parsed when the configuration is loaded.
const fn parsed(name: &'static str, parse: fn(&[u8]) -> Option<Parsed>) -> Param {
    Param {
        name,
        kind: ParamKind::Parsed(parse),
    }
}

/// The name of an internal flag.
const IFLAG: Param = Param {
    name: "flag",
    kind: ParamKind::Checked(flag::check),
};

fn is_incoming(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    Ok(match exec.direction {
        Some(Direction::Incoming) => 1,
        _ => -1,
    })
}
