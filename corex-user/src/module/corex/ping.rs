//! `options_ping`: OPTIONS that ask whether this host is there.

use corex_script::run::Exec;
use corex_sip::Uri;

use crate::module::sl;

/// What the OPTIONS of Kamailio's siputils tells of us (its parameters' defaults).
const CAPABILITIES: &[u8] =
    b"Accept: */*\r\nAccept-Encoding: \r\nAccept-Language: en\r\nSupported: \r\n";

/// Answers an OPTIONS to `myself` without a user. False: it is another request, or can't be replied
/// to, and goes on.
pub(super) fn answer(exec: &mut Exec<'_>) -> bool {
    if exec.view.and_then(|view| view.method()) != Some(b"OPTIONS") {
        return false;
    }
    let Some(uri) = exec.request_uri() else {
        return false;
    };
    let is_for_host =
        Uri::parse(exec.bytes(uri)).is_ok_and(|uri| uri.user.is_none_or(<[u8]>::is_empty));
    if !is_for_host || !exec.is_myself(uri, true) {
        return false;
    }
    exec.changes.reply_headers.extend_from_slice(CAPABILITIES);
    if !sl::reply(exec, 200, b"OK") {
        exec.changes.reply_headers.clear();
        return false;
    }
    exec.host.count(|counters| &mut counters.options_answered);
    true
}
