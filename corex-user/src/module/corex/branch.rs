//! append_branch(): the destination set.

use corex_script::run::Arg;
use corex_script::run::Value;
use corex_script::run::{Branch, Quality};
use corex_script::run::{Exec, Halt};
use corex_sip::Uri;

pub(super) fn append(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let given = exec.arg_str(args, 0)?;
    let q = exec.arg_str(args, 1)?;
    let quality = match exec.bytes(q) {
        [] => None,
        text => match quality(text) {
            Some(quality) => Some(quality),
            None => {
                let text = text.escape_ascii().to_string();
                exec.complain(format_args!(
                    "append_branch(): q is a number from 0 to 1 with at most three decimals, \
                     not `{text}`"
                ));
                return Ok(-1);
            }
        },
    };
    let is_request_uri = given.len == 0;
    let uri = if is_request_uri {
        exec.request_uri()
    } else {
        exec.lasting(Value::Str(given))?
    };
    let Some(uri) = uri else {
        exec.complain(format_args!("append_branch(): there is no request URI"));
        return Ok(-1);
    };
    if Uri::parse(exec.bytes(uri)).is_err() {
        let text = exec.bytes(uri).escape_ascii().to_string();
        exec.complain(format_args!("append_branch(): `{text}` is no SIP URI"));
        return Ok(-1);
    }
    // The request URI itself is one of them.
    if exec.changes.branches.len() + 1 >= exec.program.max_branches as usize {
        let most = exec.program.max_branches;
        exec.complain(format_args!(
            "append_branch(): there are {most} branches already (max_branches)"
        ));
        return Ok(-1);
    }
    let changes = &mut exec.changes;
    changes.branches.push(Branch {
        uri,
        quality,
        destination: changes.destination,
        path: changes.path,
        socket: changes.socket,
        flags: changes.branch_flags,
    });
    if is_request_uri {
        // They went with the branch.
        changes.destination = None;
        changes.path = None;
        changes.socket = None;
        changes.branch_flags = 0;
    }
    Ok(1)
}

/// `qvalue` (RFC 3261 §25.1): "0" or "1" with at most three decimals.
fn quality(text: &[u8]) -> Option<Quality> {
    let (whole, decimals) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] => (whole, decimals),
        [b'.', decimals @ ..] if !decimals.is_empty() => (&b'0', decimals),
        _ => return None,
    };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = decimals
        .iter()
        .chain(b"000")
        .take(3)
        .fold(0, |sum, digit| sum * 10 + Quality::from(digit - b'0'));
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quality_is_from_0_to_1_with_at_most_three_decimals() {
        for (text, thousandths) in [
            ("0", 0),
            ("1", 1000),
            ("1.000", 1000),
            ("0.5", 500),
            ("0.05", 50),
            ("0.999", 999),
            (".7", 700),
            ("0.", 0),
        ] {
            assert_eq!(quality(text.as_bytes()), Some(thousandths), "{text}");
        }
        for bad in [
            "", "1.1", "2", "-0.5", "0.1234", "0,5", "x", ".", "1.0.0", "0.a",
        ] {
            assert_eq!(quality(bad.as_bytes()), None, "{bad}");
        }
    }
}
