//! `strict`: what RFC 3261 forbids to forward is answered or dropped.

use std::io::Write as _;

use crate::module::sl;
use corex_script::run::Exec;
use corex_script::settings::Strict;
use corex_sip::compose::Circle;
use corex_sip::strict::{Fault, FaultKind, Rules, check, unsupported};
use corex_sip::{SipView, Transport};

/// What is known of a message that may be relayed.
#[derive(Clone, Copy)]
pub(super) struct Admitted {
    /// What our Via says about it, so that it is known should it come again; `None`: nothing.
    pub circle: Option<Circle>,
}

/// Whether a message may be relayed; if not, it is dealt with.
pub(super) fn admits(exec: &mut Exec<'_>, view: &SipView<'_>) -> Option<Admitted> {
    let program = exec.program;
    if program.settings.corex.strict == Strict::Off {
        return Some(Admitted { circle: None });
    }
    let rules = Rules {
        is_stream: exec.env.transport != Transport::Udp,
        replaces_uri: exec.changes.request_uri.is_some(),
        keeps_hops: exec.changes.counted_hop,
        extensions: &program.settings.sanity.extensions,
    };
    let outcome = check(view, &rules).and_then(|passed| {
        let circle = Circle::new(passed.digest, exec.env.src, exec.env.dst);
        if passed.is_marked && view.is_request() && comes_again(exec, view, circle) {
            return Err(Fault::LOOP);
        }
        Ok(circle)
    });
    match outcome {
        Ok(circle) => Some(Admitted {
            circle: Some(circle),
        }),
        Err(fault) => {
            refuse(exec, view, fault);
            None
        }
    }
}

/// Deals with a request whose first line says that it can't be understood.
pub(super) fn refuses(exec: &mut Exec<'_>) -> bool {
    let Some(view) = exec.view.filter(|view| view.refused().is_some()) else {
        return false;
    };
    admits(exec, view);
    true
}

/// Whether the request was forwarded from here, and comes again from where it came then.
fn comes_again(exec: &Exec<'_>, view: &SipView<'_>, circle: Circle) -> bool {
    view.vias().flatten().any(|via| {
        let port = via.port.or(via.transport().map(Transport::default_port));
        circle.is_in(&via) && exec.host.is_myself(via.host, port.unwrap_or(0), None)
    })
}

fn refuse(exec: &mut Exec<'_>, view: &SipView<'_>, fault: Fault) {
    log(exec, view, fault);
    exec.host.refuse(fault.kind);
    let is_answered = exec.program.settings.corex.strict == Strict::Reply
        && !matches!(view.method(), None | Some(b"ACK"))
        && view.header(b"Via").is_some();
    if !is_answered {
        return;
    }
    if fault.kind == FaultKind::Extension {
        let headers = &mut exec.changes.reply_headers;
        for tag in unsupported(view, &exec.program.settings.sanity.extensions) {
            headers.extend_from_slice(b"Unsupported: ");
            headers.extend_from_slice(tag);
            headers.extend_from_slice(b"\r\n");
        }
    }
    if sl::reply(exec, fault.status, fault.reason.as_bytes()) {
        exec.host.count(|counters| &mut counters.strict_answered);
    }
}

fn log(exec: &mut Exec<'_>, view: &SipView<'_>, fault: Fault) {
    let Some(held_back) = exec.rt.unsent.allow() else {
        return;
    };
    let Fault { status, reason, .. } = fault;
    let mut what = Vec::new();
    // Writing to memory can't fail.
    let _ = match view.method() {
        Some(method) => write!(what, "{}", method.escape_ascii()),
        None => write!(what, "reply"),
    };
    tracing::warn!(
        worker = exec.rt.worker,
        src = %exec.env.src,
        held_back,
        "{} not forwarded: {reason} ({status}; modparam strict)",
        String::from_utf8_lossy(&what)
    );
}
