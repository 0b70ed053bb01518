//! The module `sanity`: checks of a message that the script asks for, one by one.

mod checks;
mod digest;

use crate::module::sl;
use corex_script::function::{Function, Module, Parameter, ParameterKind, Routes, value};
use corex_script::run::{Arg, Exec, Halt};
use corex_sip::strict::unsupported;

use self::checks::{Answer, CHECKS, Failed};

pub(super) static MODULE: Module = Module {
    name: "sanity",
    doc: "Checks of a message that the script asks for. forward() checks more, of its own accord: see \
          the parameter strict of the module corex.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    ..Module::NONE
};

const FUNCTIONS: &[Function] = &[
    Function {
        name: "sanity_check",
        aliases: &[],
        forms: &[
            &[],
            &[value("msg_checks")],
            &[value("msg_checks"), value("uri_checks")],
        ],
        routes: Routes::REQUEST.or(Routes::REPLY),
        doc: "Whether the message passes the checks whose numbers add up to msg_checks: 1 version of \
              SIP, 2 request URI, 4 To, From, CSeq, Call-ID and Via are there, once, 32 and 64 method \
              and number of CSeq, 128 Content-Length is the body's, 256 Expires, 512 Proxy-Require, \
              1024 URIs, 2048 credentials, which must be Digest, 4096 one tag in From and To, 8192 \
              credentials, if they are Digest, 16384 topmost Via. uri_checks: 1 request URI, 2 From, 4 \
              To, 8 Contact. Without them default_checks and uri_checks. A request that doesn't pass \
              gets a reply, with noreply by sanity_reply() only; with autodrop the script ends there.",
        handler: check,
    },
    Function {
        name: "sanity_reply",
        aliases: &[],
        forms: &[&[]],
        routes: Routes::REQUEST.or(Routes::REPLY),
        doc: "With noreply: sends what the last sanity_check() would have answered; 500 if there was \
              none that failed.",
        handler: reply,
    },
];

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "default_checks",
        aliases: &["default_msg_checks"],
        kind: ParameterKind::Int {
            min: 1,
            max: MOST_CHECKS,
            set: |settings, value| settings.sanity.checks = value as u32,
        },
        doc: "What sanity_check() checks without parameters: the sum of numbers. Default: 3047.",
    },
    Parameter {
        name: "uri_checks",
        aliases: &["default_uri_checks"],
        kind: ParameterKind::Int {
            min: 1,
            max: MOST_URI_CHECKS,
            set: |settings, value| settings.sanity.uri_checks = value as u32,
        },
        doc: "Whose URIs the check 1024 is about, if sanity_check() doesn't say. Default: 7.",
    },
    Parameter {
        name: "proxy_require",
        aliases: &[],
        kind: ParameterKind::Name {
            set: |settings, text| {
                let tags = text.split(',').map(str::trim);
                settings.sanity.extensions = tags
                    .filter(|tag| !tag.is_empty())
                    .map(str::to_owned)
                    .collect();
            },
        },
        doc: "Extensions that Proxy-Require may ask for, with commas between them; for forward(), \
              too. Default: none.",
    },
    Parameter {
        name: "autodrop",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.sanity.is_dropping = value != 0,
        },
        doc: "Whether the script ends where sanity_check() fails; else the function is false. \
              Default: 1.",
    },
    Parameter {
        name: "noreply",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.sanity.is_silent = value != 0,
        },
        doc: "Whether sanity_check() leaves the reply to the script. Default: 0.",
    },
];

const MOST_CHECKS: i64 = (1 << 15) - 1;
const MOST_URI_CHECKS: i64 = 15;

fn check(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let sanity = &exec.program.settings.sanity;
    let mut masks = [sanity.checks, sanity.uri_checks];
    for (at, (mask, most)) in masks
        .iter_mut()
        .zip([MOST_CHECKS, MOST_URI_CHECKS])
        .enumerate()
    {
        if args.len() <= at {
            break;
        }
        let given = exec.arg_int(args, at)?;
        let Some(given) = u32::try_from(given)
            .ok()
            .filter(|_| (1..=most).contains(&given))
        else {
            exec.complain(format_args!(
                "sanity_check(): checks are a number from 1 to {most}, not {given}"
            ));
            return Ok(-1);
        };
        *mask = given;
    }
    let [checks, uri_checks] = masks;
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    exec.changes.pending_reply = None;
    let subject = checks::Subject {
        message: view,
        request_uri: exec
            .request_uri()
            .map(|uri| exec.bytes(uri))
            .unwrap_or_default(),
        uri_checks,
        extensions: &sanity.extensions,
    };
    let mut wanted = CHECKS.iter().filter(|(bit, _)| checks & bit != 0);
    let Some(failed) = wanted.find_map(|(_, check)| check(&subject).err()) else {
        return Ok(1);
    };
    fail(exec, &failed);
    Ok(if sanity.is_dropping { 0 } else { -1 })
}

fn fail(exec: &mut Exec<'_>, failed: &Failed) {
    exec.host.refuse(failed.kind);
    let Some(view) = exec.view else { return };
    if failed.answer == Answer::EXTENSION
        && let Some(tag) = unsupported(view, &exec.program.settings.sanity.extensions).next()
    {
        // The first one only, as Kamailio.
        let headers = &mut exec.changes.reply_headers;
        headers.extend_from_slice(b"Unsupported: ");
        headers.extend_from_slice(tag);
        headers.extend_from_slice(b"\r\n");
    }
    let is_answered = !matches!(view.method(), None | Some(b"ACK"));
    let Answer(code, reason) = failed.answer;
    if exec.program.settings.sanity.is_silent {
        exec.changes.pending_reply = Some((code, reason));
    } else if is_answered && failed.answer != Answer::NONE {
        sl::reply(exec, code, reason.as_bytes());
    }
}

fn reply(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    let is_answered = exec
        .view
        .is_some_and(|view| !matches!(view.method(), None | Some(b"ACK")));
    if !is_answered || !exec.program.settings.sanity.is_silent {
        return Ok(1);
    }
    let (code, reason) = match exec.changes.pending_reply {
        // What lacks the headers that a reply has gets none, as from Kamailio.
        Some((0, _)) => return Ok(1),
        Some(pending) => pending,
        None => (500, "Server Sanity Failure"),
    };
    Ok(if sl::reply(exec, code, reason.as_bytes()) {
        1
    } else {
        -1
    })
}
