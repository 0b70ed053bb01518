//! send(), send_tcp(), send_data(), sendx().

use std::net::SocketAddr;

use crate::module::destination::{
    Destination, Unsendable, default_destination, log_unsent, next_hop,
};
use crate::module::loops::text;
use corex_script::function::ConstantCall;
use corex_script::run::Arg;
use corex_script::run::StrRef;
use corex_script::run::{Exec, Halt};
use corex_script::{Outgoing, Purpose, SocketId, Target};
use corex_sip::Transport;

pub(super) fn send(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    send_message(exec, args, "send", Transport::Udp)
}

pub(super) fn send_tcp(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    send_message(exec, args, "send_tcp", Transport::Tcp)
}

/// Where a call leads, if that is a constant.
pub(super) fn constant_destination(call: &ConstantCall) -> Option<Destination> {
    let given = text(call, 0)?;
    match call.function {
        "send" => Destination::parse(given, Transport::Udp).ok(),
        "send_tcp" => Destination::parse(given, Transport::Tcp).ok(),
        "send_data" | "sendx" => Destination::of_uri(given).ok(),
        _ => None,
    }
}

/// The address that send() sends to, if its argument is one.
pub(super) fn address(given: &[u8]) -> Option<SocketAddr> {
    let destination = Destination::parse(given, Transport::Udp).ok()?;
    match destination.target() {
        Target::Addr(address) => Some(address),
        Target::Name { .. } => None,
    }
}

/// Sends the message as it was received, by one transport.
fn send_message(
    exec: &mut Exec<'_>,
    args: &[Arg],
    function: &str,
    transport: Transport,
) -> Result<i64, Halt> {
    let given = Some(exec.arg_str(args, 0)?).filter(|given| given.len > 0);
    let destination = match given {
        Some(given) => Destination::parse(exec.bytes(given), transport),
        None => default_destination(exec).map(|mut destination| {
            destination.transport = Some(transport);
            destination
        }),
    };
    let forced = exec.changes.socket;
    let sent = destination.and_then(|destination| {
        let hop = next_hop(exec, &destination, forced)?;
        let out = Outgoing {
            payload: exec.message,
            purpose: Purpose::Message,
            hop,
            connection: None,
            is_reply: false,
            is_hop_counted: false,
            flags: exec.changes.flags,
        };
        Ok(exec.host.send(exec.rt, out)?)
    });
    Ok(outcome(exec, function, given, sent))
}

pub(super) fn send_data(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let uri = exec.arg_str(args, 0)?;
    let data = exec.arg_str(args, 1)?;
    data_to(exec, "send_data", uri, data, None)
}

pub(super) fn sendx(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let uri = exec.arg_str(args, 0)?;
    let socket = exec.arg_str(args, 1)?;
    let data = exec.arg_str(args, 2)?;
    let forced = match exec.bytes(socket) {
        [] => None,
        name => match exec.program.socket(name) {
            Some(socket) => Some(socket),
            None => {
                let name = name.escape_ascii().to_string();
                exec.complain(format_args!(
                    "sendx(): no listen line with an address is `{name}`"
                ));
                return Ok(-1);
            }
        },
    };
    data_to(exec, "sendx", uri, data, forced)
}

fn data_to(
    exec: &mut Exec<'_>,
    function: &str,
    uri: StrRef,
    data: StrRef,
    forced: Option<SocketId>,
) -> Result<i64, Halt> {
    // The hook may change what the data lies in while it is sent.
    let copy = exec.bytes(data).to_vec();
    let sent = Destination::of_uri(exec.bytes(uri)).and_then(|destination| {
        let hop = next_hop(exec, &destination, forced)?;
        let out = Outgoing {
            payload: &copy,
            purpose: Purpose::Data,
            hop,
            connection: None,
            is_reply: false,
            is_hop_counted: false,
            flags: exec.changes.flags,
        };
        Ok(exec.host.send(exec.rt, out)?)
    });
    Ok(outcome(exec, function, Some(uri), sent))
}

fn outcome(
    exec: &mut Exec<'_>,
    function: &str,
    to: Option<StrRef>,
    sent: Result<(), Unsendable>,
) -> i64 {
    match sent {
        Ok(()) => 1,
        Err(reason) => {
            log_unsent(exec, function, to, reason);
            -1
        }
    }
}
