//! Values that all workers share.

use std::time::Duration;

use super::{Names, PvDef};
use crate::run::exec::{Exec, Halt};
use crate::run::program::Program;
use crate::run::tables::Table;
use crate::run::value::{StrRef, Value};
use crate::settings::{Settings, SharedValue};

const TABLE: Names = Names::Checked(check_name);

#[rustfmt::skip]
pub(super) const DEFS: &[PvDef] = &[
    PvDef::named("shv", Names::Any, read_shared, "$shv(name): a value that all workers share. It starts as the integer 0, or as modparam(\"pv\", \"shvset\", …) says.").written_by_name(write_shared),
    PvDef::named("sht", TABLE, read_entry, "$sht(table=>key): the value of a key in a hash table; $null assigned to it takes it out.").written_by_name(write_entry),
    PvDef::named("shtex", TABLE, read_expiry, "$shtex(table=>key): seconds that the key's value has left.").written_by_name(write_expiry),
    PvDef::named("shtinc", TABLE, |exec, name, _| add(exec, name, 1), "$shtinc(table=>key): counts the key's value up and reads it."),
    PvDef::named("shtdec", TABLE, |exec, name, _| add(exec, name, -1), "$shtdec(table=>key): counts the key's value down and reads it."),
];

/// Whether the text in `$sht(…)` names a table that there is.
fn check_name(settings: &Settings, text: &str) -> Result<(), String> {
    let Some((table, _)) = text.split_once("=>") else {
        return Err("expected table=>key, as in $sht(calls=>$ci)".to_owned());
    };
    if settings
        .tables
        .iter()
        .any(|known| known.name == table.trim())
    {
        return Ok(());
    }
    let known: Vec<_> = settings.tables.iter().map(|t| t.name.as_str()).collect();
    Err(if known.is_empty() {
        format!(
            "there is no table `{table}`; add modparam(\"htable\", \"htable\", \"{table}=>size=8;\")"
        )
    } else {
        format!("there is no table `{table}`, only {}", known.join(", "))
    })
}

/// Reads what a table holds.
fn value_of(exec: &mut Exec<'_>, table: &Table, key: &[u8]) -> Result<Value, Halt> {
    let mark = exec.rt.store.mark();
    let store = &mut exec.rt.store;
    table.get(key, |value| match value {
        None => Ok(Value::Null),
        Some(SharedValue::Int(number)) => Ok(Value::Int(*number)),
        Some(SharedValue::Str(text)) => {
            store.push(text)?;
            Ok(store.since(mark))
        }
    })
}

/// Puts a value into a table.
fn set(exec: &mut Exec<'_>, table: &Table, key: &[u8], value: Value) {
    let value = match value {
        Value::Null => return table.remove(key),
        Value::Int(number) => SharedValue::Int(number),
        Value::Str(text) => SharedValue::Str(exec.bytes(text).into()),
    };
    if !table.set(key, value) {
        let name = &table.config.name;
        exec.complain(format_args!("the table `{name}` is full"));
    }
}

fn read_shared(exec: &mut Exec<'_>, name: StrRef, _: i64) -> Result<Value, Halt> {
    let program = exec.program;
    let name = exec.bytes(name).to_vec();
    value_of(exec, &program.tables.values, &name)
}

fn write_shared(exec: &mut Exec<'_>, name: StrRef, value: Value) -> Result<(), Halt> {
    let program = exec.program;
    let name = exec.bytes(name).to_vec();
    set(exec, &program.tables.values, &name, value);
    Ok(())
}

/// The table and the key that `table=>key` names.
fn place<'p>(
    exec: &mut Exec<'_>,
    program: &'p Program,
    name: StrRef,
) -> Option<(&'p Table, Vec<u8>)> {
    let text = exec.bytes(name);
    let at = memchr::memmem::find(text, b"=>")?;
    let (table, key) = text.split_at_checked(at)?;
    let table = std::str::from_utf8(table).ok()?.trim();
    Some((program.tables.by_name.get(table)?, key.get(2..)?.to_vec()))
}

fn read_entry(exec: &mut Exec<'_>, name: StrRef, _: i64) -> Result<Value, Halt> {
    match place(exec, exec.program, name) {
        Some((table, key)) => value_of(exec, table, &key),
        None => Ok(Value::Null),
    }
}

fn write_entry(exec: &mut Exec<'_>, name: StrRef, value: Value) -> Result<(), Halt> {
    if let Some((table, key)) = place(exec, exec.program, name) {
        set(exec, table, &key, value);
    }
    Ok(())
}

fn read_expiry(exec: &mut Exec<'_>, name: StrRef, _: i64) -> Result<Value, Halt> {
    let left = place(exec, exec.program, name).and_then(|(table, key)| table.expiry(&key));
    Ok(left.map_or(Value::Null, |left| Value::Int(left.as_secs() as i64)))
}

fn write_expiry(exec: &mut Exec<'_>, name: StrRef, value: Value) -> Result<(), Halt> {
    let seconds = u64::try_from(exec.to_int(value)).unwrap_or(0);
    if let Some((table, key)) = place(exec, exec.program, name) {
        table.set_expiry(&key, Duration::from_secs(seconds));
    }
    Ok(())
}

fn add(exec: &mut Exec<'_>, name: StrRef, by: i64) -> Result<Value, Halt> {
    let sum = place(exec, exec.program, name).and_then(|(table, key)| table.add(&key, by));
    Ok(sum.map_or(Value::Null, Value::Int))
}
