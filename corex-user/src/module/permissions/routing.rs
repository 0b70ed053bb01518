//! Rules for pairs of URIs: who may call whom, and register where.

use corex_script::run::{Arg, Exec, Halt};
use corex_sip::{NameAddr, Uri};

use super::permissions;
use crate::access::permissions::{MAX_EXPRESSION, RuleFiles, RulePair, Ruling};

/// The files that the first arguments of a call name; `None`: it has none.
fn files(exec: &mut Exec<'_>, args: &[Arg], most: usize) -> Result<Option<RuleFiles>, Halt> {
    let text = |exec: &mut Exec<'_>, at| -> Result<Vec<u8>, Halt> {
        let name = exec.arg_str(args, at)?;
        Ok(exec.bytes(name).to_vec())
    };
    Ok(match args.len().min(most) {
        0 => None,
        1 => Some(RuleFiles::Base(text(exec, 0)?)),
        _ => Some(RuleFiles::Both(text(exec, 0)?, text(exec, 1)?)),
    })
}

/// Asks the rules that a call names; false where they haven't been read.
fn ask(
    exec: &mut Exec<'_>,
    files: Option<&RuleFiles>,
    ask: impl FnOnce(&Exec<'_>, &RulePair, bool) -> bool,
) -> Result<i64, Halt> {
    let Some(permissions) = permissions(exec) else {
        return Ok(-1);
    };
    let Some(rules) = permissions.rules(files) else {
        exec.complain(format_args!(
            "files of rules are read with the configuration: their names must be written there, and not \
             come from pseudo-variables"
        ));
        return Ok(-1);
    };
    let is_allowed = rules.is_empty() || ask(exec, rules, permissions.settings.checks_all_branches);
    Ok(if is_allowed { 1 } else { -1 })
}

/// `sip:user@host`, as rules see a URI; `None` for what is none, and what is too long.
fn plain(uri: &[u8]) -> Option<Vec<u8>> {
    let uri = Uri::parse(uri).ok()?;
    let mut plain = b"sip:".to_vec();
    if let Some(user) = uri.user.filter(|user| !user.is_empty()) {
        plain.extend_from_slice(user);
        plain.push(b'@');
    }
    plain.extend_from_slice(uri.host);
    (plain.len() <= MAX_EXPRESSION).then_some(plain)
}

/// From's URI, if it isn't too long.
fn from<'a>(exec: &Exec<'a>) -> Option<&'a [u8]> {
    let uri = exec.view?.from()?.uri;
    (uri.len() <= MAX_EXPRESSION).then_some(uri)
}

pub(super) fn allow_routing(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let files = files(exec, args, 2)?;
    ask(exec, files.as_ref(), |exec, rules, checks_branches| {
        is_routing_allowed(exec, rules, checks_branches).unwrap_or(false)
    })
}

/// `None` where the message lacks what is compared.
fn is_routing_allowed(exec: &Exec<'_>, rules: &RulePair, checks_branches: bool) -> Option<bool> {
    let from = from(exec)?;
    let request_uri = Uri::parse(exec.bytes(exec.request_uri()?)).ok()?;
    // As Kamailio writes it: with the @ also where there is no user.
    let user = request_uri.user.unwrap_or_default();
    let written = [b"sip:", user, b"@", request_uri.host].concat();
    if written.len() > MAX_EXPRESSION {
        return None;
    }
    if rules.ask(from, &written) == Ruling::Denied {
        return Some(false);
    }
    if !checks_branches {
        return Some(true);
    }
    for branch in &exec.changes.branches {
        let uri = plain(exec.bytes(branch.uri))?;
        if rules.ask(from, &uri) == Ruling::Denied {
            return Some(false);
        }
    }
    Some(true)
}

pub(super) fn allow_register(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let files = files(exec, args, 2)?;
    ask(exec, files.as_ref(), |exec, rules, checks_branches| {
        is_registration_allowed(exec, rules, checks_branches).unwrap_or(false)
    })
}

fn is_registration_allowed(
    exec: &Exec<'_>,
    rules: &RulePair,
    checks_branches: bool,
) -> Option<bool> {
    let view = exec.view?;
    let to = view.to()?.uri;
    let mut contacts = view.headers_named(b"Contact").peekable();
    // Without one, and with *, nobody is registered anywhere.
    match contacts.peek() {
        None => return Some(true),
        Some(first) if first.value.trim_ascii() == b"*" => return Some(true),
        Some(_) if to.len() > MAX_EXPRESSION => return None,
        Some(_) => {}
    }
    for contact in contacts.flat_map(|header| corex_sip::values(header.value)) {
        let contact = plain(NameAddr::parse(contact)?.uri)?;
        // As in Kamailio, an allow file only counts with check_all_branches.
        let ruling = match checks_branches {
            true => rules.ask(to, &contact),
            false => rules.ask_denied(to, &contact),
        };
        if ruling == Ruling::Denied {
            return Some(false);
        }
    }
    Some(true)
}

pub(super) fn allow_uri(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let files = files(exec, args, 1)?;
    let uri = exec.arg_str(args, 1)?;
    ask(exec, files.as_ref(), |exec, rules, _| {
        let uri = exec.bytes(uri);
        let from = from(exec).filter(|_| uri.len() <= MAX_EXPRESSION);
        from.is_some_and(|from| rules.ask(from, uri) != Ruling::Denied)
    })
}
