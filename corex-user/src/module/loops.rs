//! Whether a configuration sends messages to corex itself.

use std::net::IpAddr;

use corex_script::Target;
use corex_script::function::{Constant, ConstantCall, Review};
use corex_script::settings::{OwnSockets, Settings};
use corex_script::syntax::diag::Diagnostic;
use corex_sip::Transport;

use super::destination::Destination;

/// Reports the calls of functions whose destination is corex itself, whatever host it runs on.
/// `destination` says where a call leads as far as that is constant.
pub(super) fn review(
    review: &mut dyn Review,
    destination: fn(&ConstantCall) -> Option<Destination>,
) {
    let own = own_sockets(review.settings());
    let mut mistakes = Vec::new();
    for call in review.constant_calls() {
        let Some(destination) = destination(call) else {
            continue;
        };
        let transport = destination.transport.unwrap_or(Transport::Udp);
        let found = match destination.target() {
            Target::Addr(to) => {
                own.at_address(transport, to.ip(), to.port(), |ip| ip.is_loopback())
            }
            Target::Name { host, port, .. } => {
                own.named(transport, host, port.unwrap_or(transport.default_port()))
            }
        };
        let span = call.arguments.iter().flatten().next().map(|it| it.1);
        if let (Some(found), Some(span)) = (found, span) {
            mistakes.push(
                Diagnostic::error(span, "what is sent there comes back to corex itself")
                    .label(format!("corex listens there, on {found}"))
                    .help("name the host that is to get the message, or leave the call out"),
            );
        }
    }
    for mistake in mistakes {
        review.report(mistake);
    }
}

/// The sockets that `listen` lines name and what they are advertised as. An interface, or a name
/// without `advertise`, stands for addresses that only the running corex knows.
pub(super) fn own_sockets(settings: &Settings) -> OwnSockets {
    let mut own = OwnSockets::default();
    if settings.corex.inline.is_on {
        return own;
    }
    for listen in &settings.listen {
        if listen.is_virtual || settings.free_bind {
            own.add_floating(listen.transport, &listen.host, listen.port);
        } else {
            own.add(listen.transport, &listen.host, listen.port);
        }
        if let Some((host, port)) = &listen.advertise {
            own.add(listen.transport, host, port.unwrap_or(listen.port));
        }
    }
    if settings.listen.is_empty() {
        let any = IpAddr::from([0, 0, 0, 0]).to_string();
        own.add(Transport::Udp, &any, Transport::Udp.default_port());
    }
    own
}

/// The string that an argument is.
pub(super) fn text(call: &ConstantCall, index: usize) -> Option<&[u8]> {
    match call.arguments.get(index)? {
        Some((Constant::Str(text), _)) => Some(text),
        _ => None,
    }
}
