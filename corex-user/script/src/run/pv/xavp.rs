//! Values with fields.

use super::{Names, PvDef};
use crate::run::exec::{Exec, Halt};
use crate::run::value::{StrRef, Value};
use crate::run::xavp::{Content, Which, parse};
use crate::settings::Settings;

#[rustfmt::skip]
pub(super) const DEFS: &[PvDef] = &[
    PvDef::named("xavp", Names::Checked(check), read, "$xavp(name), $xavp(name=>field): a value, or one with fields, that lives as long as the message is handled. Assigning adds one on top of those of the same name, $xavp(name[0]=>field) a field to the one that is there; with an index behind the last name it replaces, $null takes away. name[i] and field[i] count from the newest, 0, or the oldest, -1; field[*] reads all of a name.").written_by_name(write),
];

fn check(_: &Settings, text: &str) -> Result<(), String> {
    // As far as no pseudo-variable is in it.
    let is_part = text.matches('[').count() != text.matches(']').count() || text.ends_with("=>");
    if is_part || text.is_empty() || parse(text.as_bytes()).is_some() {
        return Ok(());
    }
    Err("expected a name, name[index], name=>field or name[index]=>field[index]".to_owned())
}

fn read(exec: &mut Exec<'_>, name: StrRef, _: i64) -> Result<Value, Halt> {
    let text = exec.bytes(name).to_vec();
    let Some((key, field)) = parse(&text) else {
        return Ok(Value::Null);
    };
    if let Some(field) = field.filter(|field| field.which == Some(Which::All)) {
        let found = exec.rt.xavps.fields(&key, field.name);
        let texts: Vec<Vec<u8>> = found.into_iter().map(shown).collect();
        if texts.is_empty() {
            return Ok(Value::Null);
        }
        return exec.text(&texts.join(&b", "[..]));
    }
    match exec.rt.xavps.get(&key, field.as_ref()) {
        None => Ok(Value::Null),
        Some(Content::Int(number)) => Ok(Value::Int(*number)),
        Some(content) => {
            let text = shown(content);
            exec.text(&text)
        }
    }
}

/// A value as text.
fn shown(content: &Content) -> Vec<u8> {
    match content {
        Content::Int(number) => number.to_string().into_bytes(),
        Content::Str(text) => text.to_vec(),
        Content::Fields(_) => b"<<xavp>>".to_vec(),
    }
}

fn write(exec: &mut Exec<'_>, name: StrRef, value: Value) -> Result<(), Halt> {
    let text = exec.bytes(name).to_vec();
    let content = match value {
        Value::Null => None,
        Value::Int(number) => Some(Content::Int(number)),
        Value::Str(string) => Some(Content::Str(exec.bytes(string).into())),
    };
    let Some((key, field)) = parse(&text) else {
        let shown = text.escape_ascii().to_string();
        exec.complain(format_args!("$xavp(): `{shown}` is no name"));
        return Ok(());
    };
    Ok(exec.rt.xavps.set(&key, field.as_ref(), content)?)
}
