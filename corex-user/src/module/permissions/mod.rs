//! The module `permissions`: who may do what, by files.

mod parameters;
mod routing;

use std::sync::Arc;

use corex_script::function::{
    Constant, ConstantCall, Function, LoadError, Module, Param, Review, Routes, Sources, value,
};
use corex_script::run::{Arg, Exec, Halt};
use corex_script::syntax::diag::Diagnostic;
use corex_script::syntax::span::Span;
use corex_sip::host_ip;

use crate::access::Permissions;
use crate::access::permissions::{Entry, Proto, RuleFiles};

pub(super) static MODULE: Module = Module {
    name: "permissions",
    doc: "Who may do what: addresses by group, trusted peers, and rules for pairs of URIs, from files. \
          docs/guard.md is the manual.",
    functions: FUNCTIONS,
    parameters: parameters::PARAMETERS,
    review: Some(review),
    shares: Some(|sources| match sources.is_loaded {
        true => load(sources).map(|made| Some(Arc::new(made) as _)),
        false => Ok(None),
    }),
    reads: &[
        ("permissions.address", |program| {
            match program.shared::<Permissions>() {
                Some(permissions) => permissions.reload_addresses(),
                None => Ok(()),
            }
        }),
        ("permissions.trusted", |program| {
            match program.shared::<Permissions>() {
                Some(permissions) => permissions.reload_trusted(),
                None => Ok(()),
            }
        }),
    ],
    ..Module::NONE
};

const SIP: Routes = Routes::REQUEST.or(Routes::REPLY);

const GROUP: Param = value("group");
const ADDRESS: Param = value("address");
const PORT: Param = value("port");
const PROTO: Param = value("proto");
const NAME: Param = value("name");
const ALLOW: Param = value("allow_file");
const DENY: Param = value("deny_file");

const FUNCTIONS: &[Function] = &[
    Function {
        name: "allow_source_address",
        aliases: &[],
        forms: &[&[], &[GROUP]],
        routes: Routes::ANY,
        doc: "Whether the address and port that the message came from are in a group of address_file; \
              without an argument in group 1. Then peer_tag_avp gets the tag.",
        handler: |exec, args| {
            let group = match args {
                [] => 1,
                _ => exec.arg_int(args, 0)?,
            };
            let source = exec.env.src;
            Ok(found(exec, |p| {
                let group = u32::try_from(group).ok()?;
                p.addresses()?
                    .find(Some(group), source.ip(), source.port())
                    .cloned()
            })?
            .map_or(-1, |_| 1))
        },
    },
    Function {
        name: "allow_source_address_group",
        aliases: &[],
        forms: &[&[]],
        routes: Routes::ANY,
        doc: "The group of address_file that has the address and port that the message came from; -1 if \
              none has. A single address comes before a network.",
        handler: |exec, _| {
            let source = exec.env.src;
            let entry = found(exec, |p| {
                p.addresses()?
                    .find(None, source.ip(), source.port())
                    .cloned()
            })?;
            Ok(entry.map_or(-1, |entry| entry.group.into()))
        },
    },
    Function {
        name: "allow_address",
        aliases: &[],
        forms: &[&[GROUP, ADDRESS, PORT]],
        routes: Routes::ANY,
        doc: "Whether an address or host name, with a port, is in a group of address_file.",
        handler: |exec, args| {
            let group = exec.arg_int(args, 0)?;
            let entry = match u32::try_from(group) {
                Ok(group) => look_up(exec, args, Some(group), 1)?,
                Err(_) => None,
            };
            Ok(entry.map_or(-1, |_| 1))
        },
    },
    Function {
        name: "allow_address_group",
        aliases: &[],
        forms: &[&[ADDRESS, PORT]],
        routes: Routes::ANY,
        doc: "The group of address_file that has an address or host name, with a port; -1 if none has.",
        handler: |exec, args| {
            let entry = look_up(exec, args, None, 0)?;
            Ok(entry.map_or(-1, |entry| entry.group.into()))
        },
    },
    Function {
        name: "allow_trusted",
        aliases: &[],
        forms: &[&[], &[ADDRESS, PROTO], &[ADDRESS, PROTO, value("from_uri")]],
        routes: SIP,
        doc: "Whether a peer of trusted_file fits: by address and transport, of the message or as given, \
              and by what From's URI, or the one given, and the request URI match. With peer_tag_mode 1 \
              the number of peers that fit. Then peer_tag_avp gets their tags.",
        handler: trusted,
    },
    Function {
        name: "allow_routing",
        aliases: &[],
        forms: &[&[], &[NAME], &[ALLOW, DENY]],
        routes: Routes::REQUEST,
        doc: "Whether rules allow From's URI together with the request URI and, with check_all_branches, \
              the other destinations: those of default_allow_file and default_deny_file, of a name with \
              the suffixes, or of two files. What no rule is about is allowed.",
        handler: routing::allow_routing,
    },
    Function {
        name: "allow_register",
        aliases: &[],
        forms: &[&[NAME], &[ALLOW, DENY]],
        routes: Routes::REQUEST,
        doc: "Whether rules allow To's URI together with each URI of Contact.",
        handler: routing::allow_register,
    },
    Function {
        name: "allow_uri",
        aliases: &[],
        forms: &[&[NAME, value("uri")]],
        routes: Routes::REQUEST,
        doc: "Whether rules allow From's URI together with a URI.",
        handler: routing::allow_uri,
    },
];

/// What is said of what `find` looks for, with its tag in peer_tag_avp.
fn found(
    exec: &mut Exec<'_>,
    find: impl FnOnce(&Permissions) -> Option<Entry>,
) -> Result<Option<Entry>, Halt> {
    let Some(permissions) = permissions(exec) else {
        return Ok(None);
    };
    let entry = find(permissions);
    if let Some(tag) = entry.as_ref().and_then(|entry| entry.tag.as_deref()) {
        set_tag(exec, permissions, tag)?;
    }
    Ok(entry)
}

fn permissions<'a>(exec: &Exec<'a>) -> Option<&'a Permissions> {
    exec.program.shared_ref()
}

fn set_tag(exec: &mut Exec<'_>, permissions: &Permissions, tag: &[u8]) -> Result<(), Halt> {
    let Some(avp) = &permissions.settings.tag_avp else {
        return Ok(());
    };
    let value = exec.text(tag)?;
    if let Err(error) = exec.set_by_name(avp.as_bytes(), value) {
        exec.complain(format_args!("peer_tag_avp {avp}: {error}"));
    }
    Ok(())
}

fn look_up(
    exec: &mut Exec<'_>,
    args: &[Arg],
    group: Option<u32>,
    first: usize,
) -> Result<Option<Entry>, Halt> {
    let address = exec.arg_str(args, first)?;
    let port = exec.arg_int(args, first + 1)?;
    let Ok(port) = u16::try_from(port) else {
        return Ok(None);
    };
    let text = exec.bytes(address).to_vec();
    found(exec, |p| {
        let addresses = p.addresses()?;
        match host_ip(&text) {
            Some(ip) => addresses.find(group, ip, port).cloned(),
            None => addresses.find_name(group, &text, port).cloned(),
        }
    })
}

fn trusted(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let Some(permissions) = permissions(exec) else {
        return Ok(-1);
    };
    let Some(trusted) = permissions.trusted() else {
        return Ok(-1);
    };
    let (address, proto) = match args {
        [] => (
            exec.env.src.ip().to_string().into_bytes(),
            Some(Proto::One(exec.env.transport)),
        ),
        _ => {
            let address = exec.arg_str(args, 0)?;
            let address = exec.bytes(address).to_vec();
            let proto = exec.arg_str(args, 1)?;
            (address, Proto::parse(exec.bytes(proto)))
        }
    };
    let Some(proto) = proto else {
        exec.complain(format_args!(
            "allow_trusted(): the second argument is no transport"
        ));
        return Ok(-1);
    };
    let from = match args.len() {
        3.. => {
            let from = exec.arg_str(args, 2)?;
            exec.bytes(from).to_vec()
        }
        _ => {
            let Some(from) = exec.view.and_then(|view| view.from()) else {
                return Ok(-1);
            };
            from.uri.to_vec()
        }
    };
    let request_uri = exec
        .view
        .and_then(|view| view.request_uri())
        .unwrap_or_default();
    let peers = trusted.find(&address, proto, &from, request_uri);
    let most = match permissions.settings.finds_all_peers {
        true => usize::MAX,
        false => 1,
    };
    let mut count = 0;
    for peer in peers.take(most) {
        count += 1;
        if let Some(tag) = &peer.tag {
            set_tag(exec, permissions, tag)?;
        }
    }
    Ok(if count == 0 { -1 } else { count })
}

/// The files of rules that a call names, and where.
fn rule_files(call: &ConstantCall) -> Option<(RuleFiles, Span)> {
    let text = |at: usize| match call.arguments.get(at) {
        Some(Some((Constant::Str(text), span))) => Some((text.clone(), *span)),
        _ => None,
    };
    let (first, span) = text(0)?;
    let files = match (call.function, call.arguments.len()) {
        ("allow_uri", _) | ("allow_routing" | "allow_register", 1) => RuleFiles::Base(first),
        ("allow_routing" | "allow_register", 2) => RuleFiles::Both(first, text(1)?.0),
        _ => return None,
    };
    Some((files, span))
}

fn load(sources: &Sources<'_>) -> Result<Permissions, LoadError> {
    let calls: Vec<_> = sources.calls.iter().filter_map(rule_files).collect();
    let files: Vec<_> = calls.iter().map(|(files, _)| files.clone()).collect();
    let settings = &sources.settings.permissions;
    Permissions::load(settings, sources.folder, &files).map_err(|unusable| {
        let place = match unusable.parameter {
            Some(_) => None,
            None => calls.get(unusable.call).map(|(_, span)| *span),
        };
        LoadError {
            diagnostic: Diagnostic::error(
                place.unwrap_or(Span::NONE),
                unusable.mistake.to_string(),
            )
            .help(unusable.mistake.help)
            .into(),
            parameter: unusable.parameter.map(|parameter| (parameter, 0)),
            part: None,
        }
    })
}

fn review(review: &mut dyn Review) {
    let has_guard = review.settings().corex.guard.is_wanted();
    if let Some(at) = review.taken(&["guard_group"])
        && !has_guard
    {
        review.report(
            Diagnostic::error(at, "there is no guard to let this group in")
                .help("add the line: modparam(\"corex\", \"guard\", 1)"),
        );
    }
    let settings = &review.settings().permissions;
    let (has_addresses, has_trusted) = (
        settings.address_file.is_some(),
        settings.trusted_file.is_some(),
    );
    let remedy = "write what the table has into a file: modparam(\"permissions\", \"address_file\", \
                  FILE) for `address`, \"trusted_file\" for `trusted`";
    if let Some(at) = review.written(&["db_url"])
        && !has_addresses
        && !has_trusted
    {
        review.report(
            Diagnostic::warning(at, "without a database no address and no peer is allowed")
                .help(remedy),
        );
    }
}
