//! The body as a whole.

use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};
use corex_sip::SipView;

pub(super) fn has(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let wanted = exec.arg_str(args, 0)?;
    let Some(view) = exec.view.filter(|view| !view.body().is_empty()) else {
        return Ok(-1);
    };
    let wanted = exec.bytes(wanted);
    if wanted.is_empty() {
        return Ok(1);
    }
    let is = view.header(b"Content-Type").is_some_and(|header| {
        let media = header.value.split(|byte| *byte == b';').next();
        media
            .unwrap_or_default()
            .trim_ascii()
            .eq_ignore_ascii_case(wanted)
    });
    Ok(if is { 1 } else { -1 })
}

pub(super) fn set(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let text = exec.arg_str(args, 0)?;
    let media = exec.arg_str(args, 1)?;
    let (text, media) = (exec.bytes(text).to_vec(), exec.bytes(media).to_vec());
    replace(exec, &text, Some(&media))
}

pub(super) fn remove(exec: &mut Exec<'_>, _: &[Arg]) -> Result<i64, Halt> {
    replace(exec, &[], None)
}

fn replace(exec: &mut Exec<'_>, text: &[u8], media: Option<&[u8]>) -> Result<i64, Halt> {
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    let message = view.message();
    let body = message.len() - view.body().len()..message.len();
    let edits = &mut exec.changes.edits;
    edits.replace(body, text);
    if let Some(header) = view.header(b"Content-Type") {
        edits.delete(crate::module::place::place(view, header.raw));
    }
    if let Some(media) = media.filter(|media| !media.is_empty()) {
        let mut line = b"Content-Type: ".to_vec();
        line.extend_from_slice(media);
        line.extend_from_slice(b"\r\n");
        edits.insert(view.end_of_headers(), &line);
    }
    if view.header(b"Content-Length").is_none() && !text.is_empty() {
        add_length(view, text.len(), edits);
    }
    Ok(1)
}

fn add_length(view: &SipView<'_>, len: usize, edits: &mut corex_sip::compose::Edits) {
    let line = format!("Content-Length: {len}\r\n");
    edits.insert(view.end_of_headers(), line.as_bytes());
}
