//! The module `secfilter`: what messages say of themselves, against lists.

use std::sync::Arc;

use corex_script::function::{
    Function, LoadError, Module, Parameter, ParameterKind, Review, Routes, function, value,
};
use corex_script::run::{Arg, Exec, Halt};
use corex_script::settings::{RuleKind, RuleList, Settings};
use corex_script::syntax::diag::Diagnostic;
use corex_script::syntax::span::Span;
use corex_sip::{NameAddr, SipView, Uri};

use crate::access::Secfilter;
use crate::access::secfilter::{Header, Part, User, parse_rule, rule};

pub(super) static MODULE: Module = Module {
    name: "secfilter",
    doc: "What messages say of themselves, against lists of what is refused and what is let through. \
          docs/guard.md is the manual.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    review: Some(review),
    shares: Some(|sources| {
        if !sources.is_loaded {
            return Ok(None);
        }
        let loaded = Secfilter::load(&sources.settings.secfilter, sources.folder);
        let loaded = loaded.map_err(|mistake| LoadError {
            diagnostic: Diagnostic::error(Span::NONE, mistake.to_string())
                .help(mistake.help)
                .into(),
            parameter: Some(("data_file", 0)),
            part: None,
        })?;
        Ok(Some(Arc::new(loaded)))
    }),
    inherits: Some(|new, old| {
        if let Some((new, old)) = new.shared::<Secfilter>().zip(old.shared()) {
            new.inherit(&old);
        }
    }),
    reads: &[
        ("secfilter", |program| match program.shared::<Secfilter>() {
            Some(secfilter) => secfilter.reload(),
            None => Ok(()),
        }),
    ],
    ..Module::NONE
};

const SIP: Routes = Routes::REQUEST.or(Routes::REPLY);

#[rustfmt::skip]
const FUNCTIONS: &[Function] = &[
    function("secf_check_ip", &[&[]], Routes::ANY, check_ip, "Where the message came from: 2 on the whitelist, -2 on the blacklist, 1 on neither."),
    function("secf_check_ua", &[&[]], SIP, check_ua, "What User-Agent begins with: 2 on the whitelist, -2 on the blacklist, 1 on neither, or without that header."),
    function("secf_check_country", &[&[value("country")]], Routes::ANY, check_country, "A country that the script has found: 2 on the whitelist, -2 on the blacklist, 1 on neither."),
    function("secf_check_from_hdr", &[&[]], SIP, |exec, _| check_user(exec, Header::From), "The user in From: 4 name, 2 user or 3 domain on the whitelist, -4, -2, -3 on the blacklist, 1 on neither."),
    function("secf_check_to_hdr", &[&[]], SIP, |exec, _| check_user(exec, Header::To), "The same for the user in To."),
    function("secf_check_contact_hdr", &[&[]], SIP, |exec, _| check_user(exec, Header::Contact), "The same for the user and the domain in Contact."),
    function("secf_check_dst", &[&[value("number")]], Routes::ANY, check_dst, "A destination: -2 if it is on the list of those that are refused, else 1."),
    function("secf_check_sqli_hdr", &[&[value("text")]], Routes::ANY, check_sqli, "Whether a text has characters that SQL injections need ( ' \" -- %27 %24 %60 ): -1, else 1."),
    function("secf_check_sqli_all", &[&[]], SIP, check_sqli_all, "The same of User-Agent, From, To and Contact. It ends the script if it finds some, as in Kamailio, else it is 1."),
];

fn secfilter<'a>(exec: &Exec<'a>) -> Option<&'a Secfilter> {
    exec.program.shared_ref()
}

fn check_ip(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    let text = exec.env.src.ip().to_string();
    Ok(secfilter(exec).map_or(1, |filter| {
        filter.check(RuleKind::Ip, Part::Ip, text.as_bytes())
    }))
}

fn check_ua(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    let agent = exec.view.and_then(SipView::user_agent);
    let checked = secfilter(exec).zip(agent);
    Ok(checked.map_or(1, |(filter, agent)| {
        filter.check(RuleKind::UserAgent, Part::UserAgent, agent)
    }))
}

fn check_country(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let country = exec.arg_str(args, 0)?;
    Ok(secfilter(exec).map_or(1, |filter| {
        filter.check(RuleKind::Country, Part::Country, exec.bytes(country))
    }))
}

fn check_dst(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let number = exec.arg_str(args, 0)?;
    Ok(secfilter(exec).map_or(1, |filter| filter.check_destination(exec.bytes(number))))
}

fn check_sqli(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let text = exec.arg_str(args, 0)?;
    Ok(secfilter(exec).map_or(1, |filter| filter.check_injection(exec.bytes(text))))
}

/// The user behind a header; `None` where its URI has none.
fn user<'a>(view: &SipView<'a>, header: Header) -> Option<User<'a>> {
    let address = match header {
        Header::From => view.from()?,
        Header::To => view.to()?,
        Header::Contact => {
            let contact = view.header(b"Contact")?;
            NameAddr::parse(corex_sip::values(contact.value).next()?)?
        }
    };
    let uri = Uri::parse(address.uri).ok()?;
    let name = match address.display {
        [b'"', name @ .., b'"'] => name,
        name => name,
    };
    Some(User {
        name,
        user: uri.user?,
        domain: uri.host,
    })
}

fn check_user(exec: &mut Exec<'_>, header: Header) -> Result<i64, Halt> {
    let user = exec.view.and_then(|view| user(view, header));
    let checked = secfilter(exec).zip(user);
    Ok(checked.map_or(1, |(filter, user)| filter.check_user(header, user)))
}

fn check_sqli_all(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    let Some((filter, view)) = secfilter(exec).zip(exec.view) else {
        return Ok(1);
    };
    let of_user = |header| {
        let parts = user(view, header).map(|user| match header {
            Header::Contact => [&[], user.user, user.domain],
            _ => [user.name, user.user, user.domain],
        });
        parts.into_iter().flatten()
    };
    let users = [Header::From, Header::To, Header::Contact]
        .into_iter()
        .flat_map(of_user);
    let mut parts = view.user_agent().into_iter().chain(users);
    match parts.any(|part| filter.check_injection(part) != 1) {
        true => Ok(0),
        false => Ok(1),
    }
}

const NO_DATABASE: &str = "Databases: there are none here. What the table has stands in data_file, or in \
                           blacklist, whitelist and destination.";

const fn ignored(name: &'static str) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: NO_DATABASE,
    }
}

const RULE_HELP: &str = "its form is \"KIND:TEXT\"; kinds are ua, country, domain, ip and user";

fn add(settings: &mut Settings, list: RuleList, text: &str) -> Result<(), String> {
    settings.secfilter.rules.push(parse_rule(list, text)?);
    Ok(())
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "blacklist",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| add(settings, RuleList::Black, text),
            help: RULE_HELP,
        },
        doc: "Not in Kamailio, which has a table. KIND:TEXT: what begins with that text, in upper or lower \
              case, is refused; kinds are ua, country, domain, ip and user. May be set many times.",
    },
    Parameter {
        name: "whitelist",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| add(settings, RuleList::White, text),
            help: RULE_HELP,
        },
        doc: "Not in Kamailio. KIND:TEXT: what is let through, and comes before what is refused.",
    },
    Parameter {
        name: "destination",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let rule = rule(RuleList::Destination, RuleKind::UserAgent, text.as_bytes())?;
                settings.secfilter.rules.push(rule);
                Ok(())
            },
            help: "it is a number",
        },
        doc: "Not in Kamailio. A destination that secf_check_dst() refuses.",
    },
    Parameter {
        name: "data_file",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                if text.is_empty() {
                    return Err("this names no file".to_owned());
                }
                settings.secfilter.file = Some(text.to_owned());
                Ok(())
            },
            help: "it is the name of a file, beside the configuration where it has no slash",
        },
        doc: "Not in Kamailio. A file with the rows of its table, a line each: ACTION TYPE DATA. ACTION is 0 \
              blacklist, 1 whitelist or 2 destination, TYPE 0 ua, 1 country, 2 domain, 3 ip or 4 user, as \
              numbers or words. At most 100,000 rules of 512 bytes. secfilter.reload reads it again.",
    },
    Parameter {
        name: "dst_exact_match",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.secfilter.is_dst_exact = value != 0,
        },
        doc: "Whether secf_check_dst() compares whole numbers; 0: what they begin with. Default: 1.",
    },
    ignored("db_url"),
    ignored("table_name"),
    ignored("action_col"),
    ignored("type_col"),
    ignored("data_col"),
];

fn review(review: &mut dyn Review) {
    let settings = &review.settings().secfilter;
    let is_empty = settings.rules.is_empty() && settings.file.is_none();
    if let Some(at) = review.written(&["db_url"])
        && is_empty
    {
        review.report(
            Diagnostic::warning(at, "without a database all lists are empty").help(
                "write what the table has into a file: modparam(\"secfilter\", \"data_file\", FILE)",
            ),
        );
    }
}
