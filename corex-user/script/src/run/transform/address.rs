//! `{nameaddr.*}` and `{tobody.*}`: addresses as in From and Contact.

use super::call::Call;
use super::uri::Parts;
use super::{Error, Output};
use corex_sip::NameAddr;

type Result = std::result::Result<Output, Error>;

/// What `{nameaddr.*}` reads: any text, of which the part in angle brackets is taken for the URI,
/// or all of it.
struct Named<'a> {
    /// With the white space before the bracket, as in Kamailio.
    name: &'a [u8],
    uri: &'a [u8],
    /// Up to the closing bracket.
    len: usize,
}

impl<'a> Named<'a> {
    /// `None` for nothing at all, and without a closing bracket.
    fn parse(text: &'a [u8]) -> Option<Named<'a>> {
        if text.is_empty() {
            return None;
        }
        let Some(open) = find_bracket(text) else {
            return Some(Named {
                name: &text[..0],
                uri: text,
                len: text.len(),
            });
        };
        let (name, rest) = text.split_at(open);
        let close = memchr::memchr(b'>', rest)?;
        Some(Named {
            name,
            uri: rest.get(1..close)?,
            len: open + close + 1,
        })
    }
}

/// The first `<` outside of quotes.
fn find_bracket(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => escaped = quoted,
            _ => return *byte == b'<' && !quoted,
        }
        false
    })
}

pub(super) fn name(call: &mut Call<'_>) -> Result {
    Ok(Named::parse(call.text).map_or(Output::Null, |named| call.part(named.name)))
}

pub(super) fn uri(call: &mut Call<'_>) -> Result {
    Ok(Named::parse(call.text).map_or(Output::Null, |named| call.part(named.uri)))
}

pub(super) fn len(call: &mut Call<'_>) -> Result {
    let len = Named::parse(call.text).and_then(|named| i64::try_from(named.len).ok());
    Ok(len.map_or(Output::Null, Output::Int))
}

/// The body of a To header: one address of a URI that is one, and parameters.
fn body<'a>(call: &mut Call<'a>, choose: impl Fn(&NameAddr<'a>, &Parts<'a>) -> &'a [u8]) -> Result {
    let part = NameAddr::parse(call.text).and_then(|body| {
        let is_list = memchr::memchr(b',', body.params.as_bytes()).is_some();
        let parts = Parts::parse(body.uri).filter(|_| !is_list)?;
        params(&body)?;
        Some(choose(&body, &parts))
    });
    Ok(part.map_or(Output::Null, |part| call.part(part)))
}

/// The parameters from the first name on; `None` if something else stands before them.
fn params<'a>(body: &NameAddr<'a>) -> Option<&'a [u8]> {
    match body.params.as_bytes().trim_ascii_start() {
        [] => Some(&[]),
        [b';', rest @ ..] => Some(rest.trim_ascii_start()),
        _ => None,
    }
}

pub(super) fn body_uri(call: &mut Call<'_>) -> Result {
    body(call, |body, _| body.uri)
}

pub(super) fn body_display(call: &mut Call<'_>) -> Result {
    body(call, |body, _| body.display)
}

/// The last one where there are several, as in Kamailio.
pub(super) fn body_tag(call: &mut Call<'_>) -> Result {
    body(call, |body, _| {
        let tags = body.params.into_iter();
        tags.filter(|param| param.name.eq_ignore_ascii_case(b"tag"))
            .last()
            .map(|tag| tag.unquoted())
            .unwrap_or_default()
    })
}

pub(super) fn body_user(call: &mut Call<'_>) -> Result {
    body(call, |_, parts| parts.user)
}

pub(super) fn body_host(call: &mut Call<'_>) -> Result {
    body(call, |_, parts| parts.host)
}

/// Up to the end of the value, white space there included, as in Kamailio.
pub(super) fn body_params(call: &mut Call<'_>) -> Result {
    Ok(
        match body(call, |body, _| params(body).unwrap_or_default())? {
            Output::Part(part) if !part.is_empty() => Output::Part(part.start..call.text.len()),
            output => output,
        },
    )
}
