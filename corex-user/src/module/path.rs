//! The module `path`: REGISTER tells the registrar that requests to the user come by here (RFC 3327).

use crate::module::place::place;
use corex_script::function::{Function, Module, Parameter, ParameterKind, Routes, value};
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt, StrRef};
use corex_script::settings::{PathSettings, Settings};
use corex_sip::compose::{OwnLines, When, Which};
use corex_sip::{Params, Transport, Uri};

pub(super) static MODULE: Module = Module {
    name: "path",
    doc: "Path: a registrar behind corex sends requests to its users by corex (RFC 3327).",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    ..Module::NONE
};

const FUNCTIONS: &[Function] = &[
    Function {
        name: "add_path",
        aliases: &[],
        forms: &[&[], &[value("user")], &[value("user"), value("parameters")]],
        routes: Routes::REQUEST,
        doc: "Has forward() add a Path with the address that the request leaves from, above \
              those that are there; with a user, and with parameters (without a semicolon in \
              front).",
        handler: |exec, args| add(exec, args, false),
    },
    Function {
        name: "add_path_received",
        aliases: &[],
        forms: &[&[], &[value("user")], &[value("user"), value("parameters")]],
        routes: Routes::REQUEST,
        doc: "The same, and its parameter `received` says where the request came from: \
              loose_route() sends what comes back by that Path there (use_received).",
        handler: |exec, args| add(exec, args, true),
    },
];

/// An integer that is 0 or something else.
const fn switch(name: &'static str, set: fn(&mut Settings, i64), doc: &'static str) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set,
        },
        doc,
    }
}

const PARAMETERS: &[Parameter] = &[
    switch(
        "use_received",
        |settings, on| settings.path.use_received = on != 0,
        "Whether loose_route() sets $du to what `received` in a Route of ours says. Default: 0.",
    ),
    switch(
        "received_format",
        |settings, on| settings.path.is_short = on != 0,
        "0: `received` is a URI, escaped; 1: address~port~number of the transport. Default: 0.",
    ),
    Parameter {
        name: "received_name",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                if text.is_empty() || !text.bytes().all(is_token) {
                    return Err("it is no name of a parameter".to_owned());
                }
                text.clone_into(&mut settings.path.received_name);
                Ok(())
            },
            help: "letters, digits and -_. make a name, as in \"received\"",
        },
        doc: "The name of that parameter. Default: \"received\".",
    },
    switch(
        "enable_r2",
        |settings, on| settings.path.double = on != 0,
        "Whether there are two Paths, with r2=on, the lower one with the address that the request \
         came to. Default: 0.",
    ),
    switch(
        "sockname_mode",
        |settings, on| settings.path.socket_names = on != 0,
        "Whether Path has the name of the listen line, as sn. Default: 0.",
    ),
];

/// The transports' numbers in Kamailio, which short forms have.
pub(super) const fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Sctp => 4,
    }
}

/// The transport of such a number.
pub(super) fn transport_of(number: &[u8]) -> Option<Transport> {
    let wanted = number.first().filter(|_| number.len() == 1)?;
    Transport::ALL
        .into_iter()
        .find(|transport| number_text(*transport) == *wanted)
}

/// The number as a digit.
pub(super) const fn number_text(transport: Transport) -> u8 {
    b'0' + number(transport)
}

/// Where the message came from, as an address and a port in a URI.
pub(super) fn source(exec: &Exec<'_>) -> (String, u16) {
    let ip = exec.env.src.ip().to_canonical();
    let text = match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    };
    (text, exec.env.src.port())
}

fn add(exec: &mut Exec<'_>, args: &[Arg], with_source: bool) -> Result<i64, Halt> {
    let user = exec.arg_str(args, 0)?;
    let parameters = exec.arg_str(args, 1)?;
    let (user, parameters) = (exec.bytes(user).to_vec(), exec.bytes(parameters).to_vec());
    let Some(view) = exec.view.filter(|view| view.is_request()) else {
        return Ok(-1);
    };
    let settings = &exec.program.settings().path;
    let suffix = suffix(exec, settings, &parameters, with_source);
    let probe = [b"sip:", user.as_slice(), b"@192.0.2.1", &suffix].concat();
    if !user.is_empty() && Uri::parse(&probe).is_err()
        || Uri::parse(&[b"sip:a", suffix.as_slice()].concat()).is_err()
    {
        exec.complain(format_args!(
            "add_path(): the user or the parameters can't stand in a URI"
        ));
        return Ok(-1);
    }
    let above = view.header(b"Path");
    let at = above.map_or_else(
        || view.end_of_headers(),
        |header| place(view, header.raw).start,
    );
    let lines = &mut exec.changes.routing.lines;
    let both = [Which::Sent, Which::Received];
    let wanted = if settings.double {
        &both[..]
    } else {
        &both[..1]
    };
    for which in wanted {
        if !lines.begin(at, When::Always, false) {
            let most = OwnLines::MAX_LINES;
            exec.complain(format_args!(
                "add_path(): there are {most} lines with our address already"
            ));
            return Ok(-1);
        }
        lines.text(b"Path: <sip:");
        if !user.is_empty() {
            lines.text(&user);
            lines.text(b"@");
        }
        lines.address(*which, settings.socket_names);
        lines.text(&suffix);
        lines.text(b">\r\n");
    }
    Ok(1)
}

/// What follows our address.
fn suffix(
    exec: &Exec<'_>,
    settings: &PathSettings,
    parameters: &[u8],
    with_source: bool,
) -> Vec<u8> {
    let mut suffix = b";lr".to_vec();
    if with_source {
        let (host, port) = source(exec);
        let (name, transport) = (&settings.received_name, exec.env.transport);
        let text = match (settings.is_short, transport) {
            (true, _) => format!(";{name}={host}~{port}~{}", number(transport)),
            (false, Transport::Udp) => format!(";{name}=sip:{host}:{port}"),
            (false, _) => format!(";{name}=sip:{host}:{port}%3Btransport%3D{transport}"),
        };
        suffix.extend_from_slice(text.as_bytes());
    }
    if !parameters.is_empty() {
        suffix.push(b';');
        suffix.extend_from_slice(parameters);
    }
    if settings.double {
        suffix.extend_from_slice(b";r2=on");
    }
    suffix
}

/// What loose_route() has this module do with the parameters of a Route of ours.
pub(super) fn on_route(exec: &mut Exec<'_>, parameters: StrRef) -> Result<(), Halt> {
    let program = exec.program;
    let settings = &program.settings().path;
    if !settings.use_received || !program.has_module(MODULE.name) {
        return Ok(());
    }
    let found = Params::new(exec.bytes(parameters)).value(settings.received_name.as_bytes());
    let Some(found) = found.filter(|found| !found.is_empty()) else {
        return Ok(());
    };
    let uri = if settings.is_short {
        long_form(found)
    } else {
        unescaped(found)
    };
    let Some(uri) = uri.filter(|uri| Uri::parse(uri).is_ok()) else {
        let shown = found.escape_ascii().to_string();
        exec.complain(format_args!(
            "loose_route(): `{shown}` in a Route says nothing of where to"
        ));
        return Ok(());
    };
    let uri = exec.text(&uri)?;
    exec.changes.destination = exec.lasting(uri)?;
    Ok(())
}

/// `address~port~number` as a URI.
pub(super) fn long_form(text: &[u8]) -> Option<Vec<u8>> {
    let mut parts = text.split(|byte| *byte == b'~');
    let (host, port, number) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let transport = transport_of(number)?;
    let is_bare = host.contains(&b':') && !host.starts_with(b"[");
    let (open, close): (&[u8], &[u8]) = if is_bare { (b"[", b"]") } else { (b"", b"") };
    let mut uri = [b"sip:", open, host, close, b":", port].concat();
    if transport != Transport::Udp {
        uri.extend_from_slice(format!(";transport={transport}").as_bytes());
    }
    Some(uri)
}

/// Text with `%XX` replaced; `None` if one is malformed.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push((high * 16 + low) as u8);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_names_address_port_and_transport() {
        for (short, long) in [
            ("192.0.2.1~5062~1", "sip:192.0.2.1:5062"),
            ("192.0.2.1~5062~2", "sip:192.0.2.1:5062;transport=tcp"),
            (
                "[2001:db8::1]~5061~3",
                "sip:[2001:db8::1]:5061;transport=tls",
            ),
            ("2001:db8::1~5060~1", "sip:[2001:db8::1]:5060"),
        ] {
            let made = long_form(short.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(made).unwrap(), long);
        }
        for bad in ["", "a", "a~1", "a~1~", "a~1~9", "a~1~12", "a~1~1~1"] {
            assert_eq!(long_form(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn escapes_are_two_hexadecimal_digits() {
        let text = |text: &str| unescaped(text.as_bytes()).map(|it| String::from_utf8(it).unwrap());
        assert_eq!(
            text("sip:a:1%3Btransport%3dtcp").as_deref(),
            Some("sip:a:1;transport=tcp")
        );
        assert_eq!(text("%3"), None);
        assert_eq!(text("%zz"), None);
    }
}
