//! `{val.*}` and `{sql.*}`: values written for JSON and SQL, `$null` included.
//!
//! `{val.*}` is documented for Kamailio 5.6, but its last releases don't know it: what these do
//! is what is documented.

use super::call::{Call, Sink};
use super::escape::push_common;
use super::{Error, Input, Output};

type Result = std::result::Result<Output, Error>;

/// A value that isn't `$null`, as it is.
fn kept(call: &Call<'_>) -> Output {
    match call.input {
        Input::Int(number) => Output::Int(number),
        Input::Null | Input::Str(_) => call.whole(),
    }
}

pub(super) fn null_to_zero(call: &mut Call<'_>) -> Result {
    Ok(match call.input {
        Input::Null => Output::Int(0),
        Input::Int(_) | Input::Str(_) => kept(call),
    })
}

pub(super) fn null_to_empty(call: &mut Call<'_>) -> Result {
    Ok(match call.input {
        Input::Null => Output::Appended,
        Input::Int(_) | Input::Str(_) => kept(call),
    })
}

/// RFC 8259 §7: what has a short escape gets that.
fn push_json(out: &mut Sink<'_>, text: &[u8]) -> std::result::Result<(), Error> {
    for byte in text {
        match byte {
            b'"' | b'\\' => out.push(&[b'\\', *byte])?,
            0x08 => out.push(b"\\b")?,
            0x0c => out.push(b"\\f")?,
            b'\n' => out.push(b"\\n")?,
            b'\r' => out.push(b"\\r")?,
            b'\t' => out.push(b"\\t")?,
            0..=0x1f => {
                out.push(b"\\u00")?;
                out.hexa(*byte, b"0123456789abcdef")?;
            }
            byte => out.byte(*byte)?,
        }
    }
    Ok(())
}

pub(super) fn json(call: &mut Call<'_>) -> Result {
    if let Input::Int(_) = call.input {
        return Ok(kept(call));
    }
    push_json(&mut call.out, call.text)?;
    Ok(Output::Appended)
}

pub(super) fn json_quoted(call: &mut Call<'_>) -> Result {
    if let Input::Int(_) = call.input {
        return Ok(kept(call));
    }
    call.out.byte(b'"')?;
    push_json(&mut call.out, call.text)?;
    call.out.byte(b'"')?;
    Ok(Output::Appended)
}

fn sql_value(call: &mut Call<'_>, null: &[u8]) -> Result {
    match call.input {
        Input::Null => call.out.push(null)?,
        Input::Int(_) => call.out.push(call.text)?,
        Input::Str(text) => {
            call.out.byte(b'\'')?;
            push_common(&mut call.out, text)?;
            call.out.byte(b'\'')?;
        }
    }
    Ok(Output::Appended)
}

pub(super) fn sql(call: &mut Call<'_>) -> Result {
    sql_value(call, b"NULL")
}

pub(super) fn sql_int(call: &mut Call<'_>) -> Result {
    sql_value(call, b"0")
}

pub(super) fn sql_str(call: &mut Call<'_>) -> Result {
    sql_value(call, b"''")
}
