//! The message and its headers.

use super::{Form, PvDef};
use crate::run::exec::{Exec, Halt};
use crate::run::value::{StrRef, Value};
use corex_sip::{NameAddr, SipView, Uri};

#[rustfmt::skip]
pub(super) const DEFS: &[PvDef] = &[
    PvDef { name: "mb", form: Form::Message, is_sip: false, doc: "The message's bytes as received, or in the outgoing hook as about to be sent." },
    PvDef::plain("ml", |exec| Ok(Value::Int(exec.message.len() as i64)), "Length of $mb in bytes."),
    PvDef::plain("rm", |exec| Ok(exec.of_message(|view| view.method().or_else(|| Some(view.cseq()?.method)))), "Method of the request; of a reply, the one in CSeq.").sip(),
    PvDef::plain("mt", |exec| Ok(exec.view.map_or(Value::Null, |view| Value::Int(if view.is_request() { 1 } else { 2 }))), "1 for a request, 2 for a reply.").sip(),
    PvDef::plain("rv", |exec| Ok(exec.of_message(|view| Some(view.version()))), "SIP version in the start line.").sip(),
    PvDef::plain("fu", |exec| Ok(exec.of_message(|view| view.from().map(|from| from.uri))), "URI in From.").sip(),
    PvDef::plain("fU", |exec| Ok(exec.of_message(|view| Uri::parse(view.from()?.uri).ok()?.user)), "User of the URI in From.").sip(),
    PvDef::plain("fd", |exec| Ok(exec.of_message(|view| Some(Uri::parse(view.from()?.uri).ok()?.host))), "Host of the URI in From.").sip(),
    PvDef::plain("fn", |exec| Ok(exec.of_message(|view| display(view.from()))), "Display name in From.").sip(),
    PvDef::plain("ft", |exec| Ok(exec.of_message(|view| view.from()?.tag())), "Tag in From.").sip(),
    PvDef::plain("tu", |exec| Ok(exec.of_message(|view| view.to().map(|to| to.uri))), "URI in To.").sip(),
    PvDef::plain("tU", |exec| Ok(exec.of_message(|view| Uri::parse(view.to()?.uri).ok()?.user)), "User of the URI in To.").sip(),
    PvDef::plain("td", |exec| Ok(exec.of_message(|view| Some(Uri::parse(view.to()?.uri).ok()?.host))), "Host of the URI in To.").sip(),
    PvDef::plain("tn", |exec| Ok(exec.of_message(|view| display(view.to()))), "Display name in To.").sip(),
    PvDef::plain("tt", |exec| Ok(exec.of_message(|view| view.to()?.tag())), "Tag in To.").sip(),
    PvDef::plain("ct", |exec| Ok(exec.of_message(|view| Some(view.header(b"Contact")?.value))), "Value of the first Contact header.").sip(),
    PvDef::plain("cT", |exec| Ok(exec.of_message(|view| Some(view.header(b"Content-Type")?.value))), "Value of Content-Type.").sip(),
    PvDef::plain("cl", |exec| Ok(number(exec.view.and_then(SipView::content_length))), "Value of Content-Length.").sip(),
    PvDef::plain("bs", |exec| Ok(number(exec.view.map(|view| view.body().len() as i64))), "Length of the body in bytes.").sip(),
    PvDef::plain("csb", |exec| Ok(exec.of_message(|view| Some(view.header(b"CSeq")?.value))), "Value of CSeq: number and method.").sip(),
    PvDef::plain("ai", |exec| Ok(exec.of_message(|view| uri_of(view, b"P-Asserted-Identity"))), "URI in P-Asserted-Identity.").sip(),
    PvDef::plain("pu", |exec| Ok(exec.of_message(|view| uri_of(view, b"P-Preferred-Identity"))), "URI in P-Preferred-Identity.").sip(),
    PvDef::plain("re", |exec| Ok(exec.of_message(|view| uri_of(view, b"Remote-Party-ID"))), "URI in Remote-Party-ID.").sip(),
    PvDef::plain("rt", |exec| Ok(exec.of_message(|view| uri_of(view, b"Refer-To"))), "URI in Refer-To.").sip(),
    PvDef::plain("di", |exec| Ok(exec.of_message(|view| uri_of(view, b"Diversion"))), "URI in Diversion.").sip(),
    PvDef::named("hdrc", super::Names::Any, header_count, "$hdrc(name): how many headers of this name there are.").sip(),
    PvDef::plain("ci", |exec| Ok(exec.of_message(SipView::call_id)), "Call-ID.").sip(),
    PvDef::plain("cs", |exec| Ok(exec.of_message(|view| { let value = view.header(b"CSeq")?.value; value.split(|byte| byte.is_ascii_whitespace()).next() })), "Number in CSeq, as text.").sip(),
    PvDef::plain("ua", |exec| Ok(exec.of_message(SipView::user_agent)), "User-Agent.").sip(),
    PvDef::plain("rs", |exec| Ok(number(exec.view.and_then(SipView::status))), "Status code of the reply.").sip(),
    PvDef::plain("rr", |exec| Ok(exec.of_message(SipView::reason)), "Reason phrase of the reply.").sip(),
    PvDef::plain("rb", |exec| Ok(exec.of_message(|view| Some(view.body()).filter(|body| !body.is_empty()))), "Body of the message.").sip(),
    PvDef::named("hdr", super::Names::Any, header, "$hdr(name): value of a header; $(hdr(name)[i]) of the i-th of its name, -1 being the last.").indexed().sip(),
];

/// An integer, `$null` where there is none.
fn number(number: Option<impl Into<i64>>) -> Value {
    number.map_or(Value::Null, |number| Value::Int(number.into()))
}

fn header(exec: &mut Exec<'_>, name: StrRef, index: i64) -> Result<Value, Halt> {
    Ok(exec.of_message(|view| {
        let name = exec.bytes(name);
        let found = match usize::try_from(index) {
            Ok(at) => view.headers_named(name).nth(at),
            Err(_) => {
                let count = view.headers_named(name).count();
                let from_end = usize::try_from(index.unsigned_abs()).ok()?;
                view.headers_named(name).nth(count.checked_sub(from_end)?)
            }
        };
        found.map(|header| header.value)
    }))
}

fn header_count(exec: &mut Exec<'_>, name: StrRef, _: i64) -> Result<Value, Halt> {
    let Some(view) = exec.view else {
        return Ok(Value::Null);
    };
    let count = view.headers_named(exec.bytes(name)).count();
    Ok(Value::Int(count as i64))
}

/// The URI in the first header of a name.
fn uri_of<'a>(view: &SipView<'a>, name: &[u8]) -> Option<&'a [u8]> {
    Some(NameAddr::parse(view.header(name)?.value)?.uri)
}

/// The display name as written; `None` where it is empty.
fn display<'a>(address: Option<NameAddr<'a>>) -> Option<&'a [u8]> {
    address
        .map(|address| address.display)
        .filter(|display| !display.is_empty())
}
