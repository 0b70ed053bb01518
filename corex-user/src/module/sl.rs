//! The module `sl`: replies without state.

use std::io::Write as _;

use super::destination::{Destination, Unsendable, log_unsent, next_hop};
use corex_script::function::{Function, Module, Parameter, ParameterKind, Routes, value};
use corex_script::run::Arg;
use corex_script::run::Quality;
use corex_script::run::StrRef;
use corex_script::run::{Exec, Halt};
use corex_script::{Outgoing, Purpose};
use corex_sip::SipView;
use corex_sip::compose::{Fingerprint, Reply, reply_address, to_tag, write_reply};

pub(super) static MODULE: Module = Module {
    name: "sl",
    doc: "Replies without state. The ACK to such a reply is absorbed.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    absorbs: Some(is_our_ack),
    ..Module::NONE
};

const FUNCTIONS: &[Function] = &[
    Function {
        name: "sl_send_reply",
        aliases: &["send_reply"],
        forms: &[&[value("code"), value("reason")]],
        routes: Routes::REQUEST,
        doc: "Replies to the request. A 3xx reply lists the destination set as Contact, the \
              highest q first: the request URI if the script changed it, and what \
              append_branch() added.",
        handler: send_reply,
    },
    Function {
        name: "sl_reply_error",
        aliases: &[],
        forms: &[&[]],
        routes: Routes::REQUEST,
        doc: "Replies with 500: something went wrong here.",
        handler: |exec, _| {
            let sent = reply(
                exec,
                500,
                b"I'm terribly sorry, server error occurred (1/SL)",
            );
            Ok(if sent { 1 } else { -1 })
        },
    },
];

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "default_code",
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: "The code when none is given; here one always is.",
    },
    Parameter {
        name: "default_reason",
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: "The reason when none is given; here one always is.",
    },
    Parameter {
        name: "bind_tm",
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: "Whether tm is used; there is none here.",
    },
];

fn send_reply(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let code = exec.arg_int(args, 0)?;
    let reason = exec.arg_str(args, 1)?;
    let Some(code) = u16::try_from(code).ok().filter(|c| (100..700).contains(c)) else {
        exec.complain(format_args!(
            "sl_send_reply(): a code is a number from 100 to 699, not {code}"
        ));
        return Ok(-1);
    };
    // A line break would let the reason write headers.
    let reason: Vec<u8> = exec
        .bytes(reason)
        .iter()
        .map(|byte| if byte.is_ascii_control() { b' ' } else { *byte })
        .collect();
    Ok(if reply(exec, code, &reason) { 1 } else { -1 })
}

/// Sends a reply of our own. Logs what keeps it from leaving.
pub(super) fn reply(exec: &mut Exec<'_>, code: u16, reason: &[u8]) -> bool {
    match try_reply(exec, code, reason) {
        Ok(()) => true,
        Err(reason) => {
            log_unsent(exec, "sl_send_reply", None, reason);
            false
        }
    }
}

fn try_reply(exec: &mut Exec<'_>, code: u16, reason: &[u8]) -> Result<(), Unsendable> {
    let Some(view) = exec.view.filter(|view| view.is_request()) else {
        return Err(Unsendable::Destination("there is no request to reply to"));
    };
    if view.method() == Some(b"ACK") {
        return Err(Unsendable::Destination("an ACK gets no reply"));
    }
    let destination = reply_destination(exec, view)?;
    let hop = next_hop(exec, &destination, Some(exec.env.socket))?;
    let mut headers = exec.changes.reply_headers.clone();
    if (300..400).contains(&code) {
        write_contacts(exec, &mut headers);
    }
    let mut out = std::mem::take(&mut exec.rt.composed);
    out.clear();
    let reply = Reply {
        code,
        reason,
        headers: &headers,
        server: exec.program.server.as_bytes(),
        fingerprint: Fingerprint::of(view),
        source: exec.env.src,
        force_rport: exec.changes.force_rport,
    };
    write_reply(view, &reply, &mut out);
    let outgoing = Outgoing {
        payload: &out,
        purpose: Purpose::Reply,
        hop,
        connection: exec.env.connection,
        is_reply: true,
        is_hop_counted: true,
        flags: exec.changes.flags,
    };
    let sent = exec.send(outgoing);
    if let (Ok(()), Some(route)) = (&sent, exec.program.reply_out) {
        exec.run_beside(route, &out);
    }
    exec.rt.composed = out;
    Ok(sent?)
}

/// To the address that the request came from: at its port where rport says so or it came by a
/// stream or Via can't be read, else at the port in Via (RFC 3261 §18.2.2, RFC 3581 §4).
fn reply_destination(exec: &Exec<'_>, view: &SipView<'_>) -> Result<Destination, Unsendable> {
    let (source, transport) = (exec.env.src, exec.env.transport);
    let Some(via) = view.top_via() else {
        // One that can't be read says nothing about the way back but that somebody waits there.
        return match view.header(b"Via") {
            Some(_) => Ok(Destination::of_address(source, transport)),
            None => Err(Unsendable::Destination("the request has no Via")),
        };
    };
    let to = reply_address(&via, source, transport, exec.changes.force_rport);
    Ok(Destination::of_address(to, transport))
}

/// `Contact` with the destination set, the highest q first; one without q counts as 1.
fn write_contacts(exec: &Exec<'_>, out: &mut Vec<u8>) {
    let changes = &exec.changes;
    let mut all: Vec<(StrRef, Option<Quality>)> = changes
        .request_uri
        .iter()
        .map(|uri| (*uri, changes.quality))
        .chain(changes.branches.iter().map(|b| (b.uri, b.quality)))
        .collect();
    if all.is_empty() {
        return;
    }
    all.sort_by_key(|(_, quality)| std::cmp::Reverse(quality.unwrap_or(1000)));
    for (at, (uri, quality)) in all.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"Contact: <" } else { b", <" });
        out.extend_from_slice(exec.bytes(*uri));
        out.push(b'>');
        if let Some(quality) = quality {
            let text = format!("{}.{:03}", quality / 1000, quality % 1000);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            // Writing to memory can't fail.
            let _ = write!(out, ";q={text}");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a request is the ACK to a reply of ours: the To tag is the one that we gave.
fn is_our_ack(view: &SipView<'_>) -> bool {
    if view.method() != Some(b"ACK") {
        return false;
    }
    let Some(tag) = view.to().and_then(|to| to.tag()) else {
        return false;
    };
    let mut ours = Vec::new();
    to_tag(Fingerprint::of(view), &mut ours);
    ours == tag
}
