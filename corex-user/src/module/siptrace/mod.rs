//! The module `siptrace`: copies of messages for a collector such as Homer.

mod parameters;

#[cfg(test)]
mod tests;

use corex_script::function::{Function, Module, Param, ParamKind, Review, Routes, value};
use corex_script::limiter::Limiter;
use corex_script::run::{Arg, Exec, Halt};
use corex_script::settings::{Collector, Siptrace};
use corex_script::syntax::diag::Diagnostic;
use corex_script::syntax::span::Span;
use corex_script::{Copied, NotTraced, Trace};
use corex_sip::{SipView, Transport};

use super::loops;

pub(super) static MODULE: Module = Module {
    name: "siptrace",
    doc: "Copies of messages for a collector such as Homer, in HEPv3 by UDP: always in their plain \
          form, behind the incoming hook and chain and in front of the outgoing ones. docs/hep.md \
          is the manual.",
    functions: FUNCTIONS,
    parameters: parameters::PARAMETERS,
    review: Some(review),
    keeps: Some(|_| Box::new(Kept::default())),
    sees_all: true,
    ..Module::NONE
};

const SIP: Routes = Routes::REQUEST.or(Routes::REPLY);

const ADDRESS: Param = Param {
    name: "address",
    kind: ParamKind::Checked(|text| {
        // As in Kamailio, nothing stands for duplicate_uri.
        if text.is_empty() {
            return Ok(());
        }
        Collector::parse(text).map(drop).map_err(str::to_owned)
    }),
};
const CORRELATION: Param = value("correlation_id");
const MODE: Param = Param {
    name: "mode",
    kind: ParamKind::Checked(check_mode),
};

const FUNCTIONS: &[Function] = &[
    Function {
        name: "sip_trace",
        aliases: &[],
        forms: &[
            &[],
            &[ADDRESS],
            &[ADDRESS, CORRELATION],
            &[ADDRESS, CORRELATION, MODE],
        ],
        routes: SIP,
        doc: "Copies the message, as it was before the script's changes, to the collector at a SIP \
              URI, or without one to that of duplicate_uri; with a correlation id, or without one \
              with its Call-ID. The mode is \"m\". Of a message with the flag trace_flag what is \
              sent for it is copied, too: the forwarded request, our reply. False if tracing is \
              off, or there is no collector.",
        handler: |exec, args| {
            let address = optional(exec, args, 0)?;
            let correlation = optional(exec, args, 1)?;
            if args.len() > 2 {
                let mode = exec.arg_str(args, 2)?;
                if let Err(reason) = check_mode(exec.bytes(mode)) {
                    exec.complain(format_args!("sip_trace(): {reason}"));
                    return Ok(-1);
                }
            }
            copy(exec, address, correlation)
        },
    },
    Function {
        name: "sip_trace_mode",
        aliases: &[],
        forms: &[&[MODE]],
        routes: SIP,
        doc: "Copies the message to the collector of duplicate_uri, as sip_trace() does. The mode \
              is \"m\".",
        handler: |exec, args| {
            let mode = exec.arg_str(args, 0)?;
            if let Err(reason) = check_mode(exec.bytes(mode)) {
                exec.complain(format_args!("sip_trace_mode(): {reason}"));
                return Ok(-1);
            }
            copy(exec, Vec::new(), Vec::new())
        },
    },
    Function {
        name: "hlog",
        aliases: &[],
        forms: &[&[value("message")], &[CORRELATION, value("message")]],
        routes: Routes::ANY,
        doc: "Sends a line of a log to the collector of duplicate_uri, with a correlation id, or \
              without one with the message's Call-ID. False if tracing is off, there is no \
              collector, or no Call-ID.",
        handler: log,
    },
];

/// What the module keeps in each worker.
#[derive(Default)]
struct Kept {
    log: Limiter,
}

/// Whether a mode has a meaning without transactions and dialogs: its first character counts.
fn check_mode(mode: &[u8]) -> Result<(), String> {
    let (mode, needed) = match mode.trim_ascii().first().map(u8::to_ascii_lowercase) {
        Some(b'm') => return Ok(()),
        Some(b't') => ("t", "transactions, which need Kamailio's module tm"),
        Some(b'd') => ("d", "dialogs, which need Kamailio's module dialog"),
        _ => return Err("a mode is \"m\", the message in hand".to_owned()),
    };
    Err(format!(
        "the mode \"{mode}\" is for {needed}: there are none here. \"m\" copies the message; \
         trace_mode 1 every message; and with the flag trace_flag what is sent for it is copied, \
         too"
    ))
}

/// An argument; empty where there is none.
fn optional(exec: &mut Exec<'_>, args: &[Arg], at: usize) -> Result<Vec<u8>, Halt> {
    if at >= args.len() {
        return Ok(Vec::new());
    }
    let text = exec.arg_str(args, at)?;
    Ok(exec.bytes(text).to_vec())
}

fn some(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty()).then_some(text)
}

fn copy(exec: &mut Exec<'_>, address: Vec<u8>, correlation: Vec<u8>) -> Result<i64, Halt> {
    let copied = exec.host.trace(Trace {
        payload: exec.message,
        kind: Copied::Message,
        to: some(&address),
        correlation: some(&correlation),
        env: exec.env,
    });
    Ok(outcome(exec, copied))
}

fn log(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let (correlation, message) = match args.len() {
        0 | 1 => (Vec::new(), optional(exec, args, 0)?),
        _ => (optional(exec, args, 0)?, optional(exec, args, 1)?),
    };
    // In the hook a message may be anything.
    let view = SipView::parse(exec.message).ok();
    let call_id = || view.and_then(|view| view.call_id());
    let Some(correlation) = some(&correlation).or_else(call_id) else {
        return Ok(-1);
    };
    let copied = exec.host.trace(Trace {
        payload: &message,
        kind: Copied::Log,
        to: None,
        correlation: Some(correlation),
        env: exec.env,
    });
    Ok(outcome(exec, copied))
}

fn outcome(exec: &mut Exec<'_>, copied: Result<(), NotTraced>) -> i64 {
    match copied {
        Ok(()) => return 1,
        // Somebody has switched it off, and knows.
        Err(NotTraced::Off) => return -1,
        Err(reason) => {
            let kept = exec.rt.kept::<Kept>();
            if let Some(held_back) = kept.and_then(|kept| kept.log.allow()) {
                tracing::warn!(
                    worker = exec.rt.worker,
                    held_back,
                    "{}: {reason}",
                    exec.program.place(exec.line)
                );
            }
        }
    }
    -1
}

fn review(review: &mut dyn Review) {
    let Siptrace {
        is_automatic,
        collector,
        send_from_name,
        ..
    } = review.settings().siptrace.clone();
    let span = |review: &dyn Review, names: &[&str]| review.taken(names).unwrap_or(Span::NONE);
    if is_automatic && collector.is_none() {
        let at = span(review, &["trace_mode"]);
        review.report(
            Diagnostic::error(at, "there is no collector to copy all messages to")
                .help("name it: modparam(\"siptrace\", \"duplicate_uri\", \"sip:HOST:9060\")"),
        );
    }
    if let Some(name) = send_from_name
        && !review
            .settings()
            .listen
            .iter()
            .any(|listen| listen.name.as_deref() == Some(&*name))
    {
        let at = span(review, &["send_sock_name"]);
        review.report(
            Diagnostic::error(at, format!("no listen line has the name \"{name}\""))
                .help("give one it: listen=udp:ADDRESS:5060 name \"NAME\""),
        );
    }
    let own = loops::own_sockets(review.settings());
    if let Some(address) = collector.as_ref().and_then(Collector::address)
        && let Some(socket) =
            own.at_address(Transport::Udp, address.ip(), address.port(), |_| false)
    {
        let what = format!("the collector is where corex itself listens: {socket}");
        let at = span(review, &["duplicate_uri"]);
        review
            .report(Diagnostic::error(at, what).help("name the address and port of the collector"));
    }
}
