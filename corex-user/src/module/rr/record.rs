//! Record-Route: requests of the dialog come by here again (RFC 3261 §16.6 step 4).

use crate::module::place::place;
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};
use corex_script::settings::{DoubleRecordRoute, RecordRoute};
use corex_sip::compose::{OwnLines, When, Which};
use corex_sip::{Scheme, Uri};

/// What all lines of one request have in common.
struct Line {
    settings: RecordRoute,
    at: usize,
    scheme: &'static [u8],
    /// `user@`; empty for none.
    user: Vec<u8>,
    /// `;ftag=…`; empty for none.
    tag: Vec<u8>,
}

impl Line {
    const fn lr(&self) -> &'static [u8] {
        if self.settings.full_lr {
            b";lr=on"
        } else {
            b";lr"
        }
    }

    /// When a request leaves differently than it came, or always.
    const fn when(&self, differently: When) -> When {
        match self.settings.double {
            DoubleRecordRoute::Always => When::Always,
            _ => differently,
        }
    }

    const fn is_double(&self) -> bool {
        !matches!(self.settings.double, DoubleRecordRoute::Off)
    }

    /// Begins a line, up to the host.
    fn begin(&self, lines: &mut OwnLines, when: When) -> bool {
        let begun = lines.begin(self.at, when, true);
        if begun {
            lines.text(b"Record-Route: <");
            lines.text(self.scheme);
            lines.text(&self.user);
        }
        begun
    }
}

/// What a line of this request is made of; `None`, and a complaint, if it can't have one.
fn line(exec: &mut Exec<'_>, function: &str, is_preset: bool) -> Option<Line> {
    let view = exec.view.filter(|view| view.is_request())?;
    if exec.changes.routing.is_recorded {
        exec.complain(format_args!(
            "{function}(): the request has a Record-Route of ours"
        ));
        return None;
    }
    let settings = exec.program.settings().record_route;
    let at = view
        .headers()
        .next()
        .map(|header| place(view, header.raw).start)?;
    let uri = exec.request_uri();
    let is_sips = uri
        .is_some_and(|uri| Uri::parse(exec.bytes(uri)).is_ok_and(|uri| uri.scheme == Scheme::Sips));
    let mut user = Vec::new();
    if settings.add_username {
        let original = view.request_uri().and_then(user_of);
        let found = original.or_else(|| user_of(exec.bytes(uri?)));
        if let Some(found) = found {
            user.extend_from_slice(found);
            user.push(b'@');
        }
    }
    let mut tag = Vec::new();
    if settings.append_fromtag {
        let in_to = !is_preset && exec.is_upstream();
        let found = if in_to { view.to() } else { view.from() }.and_then(|it| it.tag());
        // In a URI it must not end what it stands in.
        let found = found.filter(|tag| !tag.is_empty() && tag.iter().all(|byte| fits(*byte)));
        if let Some(found) = found {
            tag.extend_from_slice(b";ftag=");
            tag.extend_from_slice(found);
        }
    }
    Some(Line {
        settings,
        at,
        scheme: if is_sips && !settings.ignore_sips {
            b"sips:"
        } else {
            b"sip:"
        },
        user,
        tag,
    })
}

fn user_of(uri: &[u8]) -> Option<&[u8]> {
    Uri::parse(uri).ok()?.user
}

/// Whether a byte may be in the value of a URI's parameter (RFC 3261 §25.1), or in a token.
fn fits(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()%[]/:&+$`".contains(&byte)
}

/// Whether text of the script's can stand in a URI: else it would end the header, or the line.
fn fits_in_uri(text: &[u8]) -> bool {
    let breaks = |byte: &u8| byte.is_ascii_control() || matches!(byte, b' ' | b'<' | b'>' | b'"');
    !text.iter().any(breaks)
}

/// An argument that is to stand in a URI; `None`, and a complaint, if it can't.
fn uri_text(
    exec: &mut Exec<'_>,
    args: &[Arg],
    at: usize,
    function: &str,
) -> Result<Option<Vec<u8>>, Halt> {
    let text = exec.arg_str(args, at)?;
    let text = exec.bytes(text).to_vec();
    if fits_in_uri(&text) {
        return Ok(Some(text));
    }
    exec.complain(format_args!(
        "{function}(): `{}` can't stand in a URI",
        text.escape_ascii()
    ));
    Ok(None)
}

/// Ends a line: parameters that were added before it, and a place for those that come later.
fn end(lines: &mut OwnLines, before: &[u8], text: &[&[u8]]) {
    for text in text {
        lines.text(text);
    }
    lines.text(before);
    lines.parameters();
    lines.text(b">\r\n");
}

/// Notes that the request has its Record-Route.
fn recorded(exec: &mut Exec<'_>, is_written: bool) -> i64 {
    if !is_written {
        exec.complain(format_args!(
            "the request has {} lines with our address already",
            OwnLines::MAX_LINES
        ));
        return -1;
    }
    exec.changes.routing.is_recorded = true;
    exec.changes.routing.parameters.clear();
    1
}

pub(super) fn record(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let Some(parameters) = uri_text(exec, args, 0, "record_route")? else {
        return Ok(-1);
    };
    let Some(line) = line(exec, "record_route", false) else {
        return Ok(-1);
    };
    let routing = &mut exec.changes.routing;
    let different = line.when(When::OtherSocket);
    let mut write = |which, when| {
        let lines = &mut routing.lines;
        let begun = line.begin(lines, when);
        if begun {
            lines.address(which, line.settings.socket_names);
            if line.is_double() {
                lines.text_when(different, b";r2=on");
            }
            end(
                lines,
                &routing.parameters,
                &[line.lr(), &line.tag, &parameters],
            );
        }
        begun
    };
    let mut is_written = !line.is_double() || write(Which::Sent, different);
    is_written = is_written && write(Which::Received, When::Always);
    Ok(recorded(exec, is_written))
}

pub(super) fn preset(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    const NAME: &str = "record_route_preset";
    let Some(first) = uri_text(exec, args, 0, NAME)?.filter(|text| !text.is_empty()) else {
        return Ok(-1);
    };
    let Some(second) = uri_text(exec, args, 1, NAME)? else {
        return Ok(-1);
    };
    let Some(line) = line(exec, NAME, true) else {
        return Ok(-1);
    };
    if !second.is_empty() && !line.is_double() {
        exec.complain(format_args!("{NAME}(): two of them need enable_double_rr"));
        return Ok(-1);
    }
    let routing = &mut exec.changes.routing;
    let mut is_written = true;
    for host in [&first, &second]
        .into_iter()
        .filter(|host| !host.is_empty())
    {
        let lines = &mut routing.lines;
        is_written = is_written && line.begin(lines, When::Always);
        if is_written {
            // Kamailio's order: what was added before stands in front of lr.
            for text in [host, &line.tag, &routing.parameters] {
                lines.text(text);
            }
            end(lines, b"", &[line.lr()]);
        }
    }
    Ok(recorded(exec, is_written))
}

pub(super) fn advertised(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    const NAME: &str = "record_route_advertised_address";
    let Some(host) = uri_text(exec, args, 0, NAME)?.filter(|text| !text.is_empty()) else {
        return Ok(-1);
    };
    let Some(line) = line(exec, NAME, false) else {
        return Ok(-1);
    };
    let routing = &mut exec.changes.routing;
    let transport = line.when(When::OtherTransport);
    let mut write = |which, when| {
        let lines = &mut routing.lines;
        let begun = line.begin(lines, when);
        if begun {
            lines.text(&host);
            lines.transport(transport, which);
            if line.is_double() {
                lines.text_when(transport, b";r2=on");
            }
            end(lines, &routing.parameters, &[&line.tag, line.lr()]);
        }
        begun
    };
    let mut is_written = !line.is_double() || write(Which::Sent, transport);
    is_written = is_written && write(Which::Received, When::Always);
    Ok(recorded(exec, is_written))
}

pub(super) fn add_parameters(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let Some(text) = uri_text(exec, args, 0, "add_rr_param")? else {
        return Ok(-1);
    };
    let routing = &mut exec.changes.routing;
    let added = if routing.lines.has_record_route() {
        routing.lines.add_parameter(&text)
    } else {
        let fits = routing.parameters.len() + text.len() <= OwnLines::MAX_PARAMETERS;
        if fits {
            routing.parameters.extend_from_slice(&text);
        }
        fits
    };
    if !added {
        let most = OwnLines::MAX_PARAMETERS;
        exec.complain(format_args!(
            "add_rr_param(): all together have more than {most} bytes"
        ));
    }
    Ok(if added { 1 } else { -1 })
}

pub(super) fn remove(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    exec.changes.routing.lines.remove_record_routes();
    Ok(1)
}
