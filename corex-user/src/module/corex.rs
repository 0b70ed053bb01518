//! The module `corex`: the hook's parameters, is_incoming(), send().

use std::net::SocketAddr;

use super::{Function, Module, Param, ParamKind, Parameter, ParameterKind, Routes};
use crate::alias::{Entry, MAX_HOST_LEN};
use crate::script::exec::{Exec, Halt};
use crate::script::program::Arg;
use crate::script::{Direction, Outgoing, SendError, SendTarget};
use crate::sip::{Scheme, Transport, Uri, host_ip};

pub(super) static MODULE: Module = Module {
    name: "corex",
    doc: "Core functions with dynamic parameters, and the hook on network input and output.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
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
        name: "send",
        aliases: &["send_udp"],
        forms: &[
            &[],
            &[Param {
                name: "host[:port]",
                kind: ParamKind::Value,
            }],
        ],
        routes: Routes::REQUEST.or(Routes::REPLY),
        doc: "Sends the message as it was received by UDP: to host:port, port 5060 where none \
              is given, IPv6 addresses in brackets; without a parameter, or with an empty one, \
              to $du, or to the request URI where $du is not set. Adds no Via, keeps no state. \
              True if the message was sent.",
        handler: send,
    },
];

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
        name: "probe_len",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 65_535,
            set: |settings, value| settings.corex.probe_len = value as u32,
        },
        doc: "Datagrams of fewer bytes are taken as probes and dropped. Default: 32, which is \
              fixed in Kamailio.",
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
];

fn is_incoming(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    Ok(match exec.direction {
        Some(Direction::Incoming) => 1,
        _ => -1,
    })
}

/// Where send() sends to: a copy, since the script's buffers may change meanwhile.
#[expect(
    clippy::large_enum_variant,
    reason = "it lies on the stack for one call; a box would be an allocation per message"
)]
enum Destination {
    Addr(SocketAddr),
    Name {
        host: [u8; MAX_HOST_LEN],
        len: usize,
        port: u16,
    },
}

impl Destination {
    fn new(host: &[u8], port: u16) -> Result<Destination, &'static str> {
        if let Some(ip) = host_ip(host) {
            return Ok(Destination::Addr(SocketAddr::new(ip, port)));
        }
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if host.is_empty() || !host.iter().all(fits) {
            return Err("that is neither an IP address nor a host name");
        }
        let mut copy = [0; MAX_HOST_LEN];
        let Some(place) = copy.get_mut(..host.len()) else {
            return Err("the host name is too long");
        };
        place.copy_from_slice(host);
        Ok(Destination::Name {
            host: copy,
            len: host.len(),
            port,
        })
    }

    /// `host[:port]`, IPv6 in brackets.
    fn parse(text: &[u8]) -> Result<Destination, &'static str> {
        let host_end = match text.first() {
            Some(b'[') => memchr::memchr(b']', text).map_or(text.len(), |at| at + 1),
            _ => memchr::memchr(b':', text).unwrap_or(text.len()),
        };
        let (host, rest) = text.split_at_checked(host_end).unwrap_or((text, &[]));
        let port = match rest {
            [] => Transport::Udp.default_port(),
            [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                    .filter(|port| *port != 0)
                    .ok_or("the port is no number from 1 to 65535")?
            }
            [b':', ..] => return Err("the port is no number from 1 to 65535"),
            _ => return Err("something follows the address that is no port"),
        };
        Destination::new(host, port)
    }

    fn of_uri(text: &[u8]) -> Result<Destination, &'static str> {
        let uri = Uri::parse(text).map_err(|_| "that is no SIP URI")?;
        let is_udp = matches!(uri.transport(), None | Some(Transport::Udp));
        if !is_udp || uri.scheme == Scheme::Sips {
            return Err("the URI asks for another transport than UDP");
        }
        Destination::new(uri.host, uri.port.unwrap_or(5060))
    }
}

fn send(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let given = exec.arg_str(args, 0)?;
    let (text, destination) = if given.len > 0 {
        (Some(given), Destination::parse(exec.bytes(given)))
    } else {
        match exec.overrides.destination.or_else(|| exec.request_uri()) {
            Some(uri) => (Some(uri), Destination::of_uri(exec.bytes(uri))),
            None => (None, Err("a reply has no request URI, and $du is not set")),
        }
    };
    let failed: Result<SendError, &'static str> = match destination {
        Ok(destination) => {
            let to = match &destination {
                Destination::Addr(address) => SendTarget::Addr(*address),
                Destination::Name { host, len, port } => SendTarget::Name {
                    host: host.get(..*len).unwrap_or_default(),
                    port: *port,
                },
            };
            let out = Outgoing {
                payload: exec.message,
                to,
                transport: Transport::Udp,
                socket: exec.overrides.socket,
            };
            match exec.host.send(exec.rt, out) {
                Ok(()) => return Ok(1),
                Err(error) => Ok(error),
            }
        }
        Err(reason) => Err(reason),
    };
    if let Some(held_back) = exec.rt.limits.sends.allow() {
        let error = match failed {
            Ok(error) => error.to_string(),
            Err(reason) => reason.to_owned(),
        };
        let to = text.map(|text| exec.bytes(text)).unwrap_or_default();
        tracing::warn!(
            worker = exec.rt.worker,
            src = %exec.env.src,
            held_back,
            "{}:{}: send() to \"{}\": {error}",
            exec.program.file,
            exec.line,
            to.escape_ascii()
        );
    }
    Ok(-1)
}
