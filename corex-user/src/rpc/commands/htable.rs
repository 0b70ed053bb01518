//! `htable.*`: hash tables.

use std::time::Duration;

use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, ParamDef, RpcCommand, required,
};
use crate::rpc::daemon::{Setting, TableEntry, TableError};
use crate::rpc::fault::Fault;
use crate::rpc::value::{Reply, Value};

const TABLE: ParamDef = required("table", Kind::Str);
const KEY: ParamDef = required("key", Kind::Str);
/// The most entries that `htable.dump` shows.
const MOST: usize = 20_000;
/// Kamailio's mark of a value that is a string.
const FLAG_STR: i64 = 2;

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "htable",
    doc: "The tables of `$sht()`. As in Kamailio.",
    commands: ALL,
};

const ALL: &[RpcCommand] = &[
    RpcCommand {
        name: "htable.delete",
        doc: &["Takes a key out of a table."],
        params: &[TABLE, KEY],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(delete),
    },
    RpcCommand {
        name: "htable.dump",
        doc: &["Shows the entries of a table by slot, 20,000 and 16 MiB at most."],
        params: &[TABLE],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(dump),
    },
    RpcCommand {
        name: "htable.flush",
        doc: &["Empties a table."],
        params: &[TABLE],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(|call| {
            let table = only_table(call)?;
            call.daemon.table_flush(&table).map_err(fault)?;
            Ok(Reply::one("Ok. Htable flushed."))
        }),
    },
    RpcCommand {
        name: "htable.get",
        doc: &["Shows an entry of a table."],
        params: &[TABLE, KEY],
        result: Answer::One(Kind::Struct),
        handler: Handler::Now(get),
    },
    RpcCommand {
        name: "htable.listTables",
        doc: &["Lists the tables and how they behave."],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(list),
    },
    RpcCommand {
        name: "htable.setex",
        doc: &["Sets the seconds that an entry has left."],
        params: &[TABLE, KEY, required("seconds", Kind::Int)],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(setex),
    },
    RpcCommand {
        name: "htable.seti",
        doc: &["Sets a key to an integer."],
        params: &[TABLE, KEY, required("value", Kind::Int)],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(|call| set(call, call.params.opt_int(2).map(Setting::Int))),
    },
    RpcCommand {
        name: "htable.sets",
        doc: &["Sets a key to a string."],
        params: &[TABLE, KEY, required("value", Kind::Str)],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(|call| set(call, call.params.opt_str(2).map(Setting::Str))),
    },
    RpcCommand {
        name: "htable.stats",
        doc: &["Shows how full the tables are: slots, all entries, fewest and most in a slot."],
        params: &[],
        result: Answer::Many(Kind::Struct),
        handler: Handler::Now(stats),
    },
];

fn fault(error: TableError) -> Fault {
    Fault::failed(error.to_string())
}

fn only_table(call: Call<'_>) -> Result<String, Fault> {
    let name = call.params.opt_text(0);
    name.ok_or_else(|| Fault::failed("No htable name given"))
}

/// Table and key, or the fault for one that is missing or of another type.
fn entry(call: Call<'_>, missing: &'static str) -> Result<(String, Vec<u8>), Fault> {
    call.params
        .opt_text(0)
        .zip(call.params.opt_str(1))
        .ok_or(Fault::failed(missing))
}

fn get(call: Call<'_>) -> Outcome {
    let (table, key) = entry(call, "Not enough parameters (htable name and key name)")?;
    let entry = call.daemon.table_get(&table, &key).map_err(fault)?;
    let entry = entry.ok_or_else(|| Fault::failed("Key name doesn't exist in htable."))?;
    let flags = match entry.value {
        Setting::Int(_) => 0,
        Setting::Str(_) => FLAG_STR,
    };
    let expire = match entry.expires {
        Some(left) => left.as_secs().to_string(),
        None => "NEVER".to_owned(),
    };
    Ok(Reply::one(Value::fields([(
        "item",
        Value::fields([
            ("name", Value::Str(entry.key)),
            ("value", shown(entry.value)),
            ("flags", flags.into()),
            ("expire", expire.into()),
        ]),
    )])))
}

fn set(call: Call<'_>, value: Option<Setting>) -> Outcome {
    let missing = "Not enough parameters (htable name, key name and value)";
    let (table, key) = entry(call, missing)?;
    let value = value.ok_or(Fault::failed(missing))?;
    call.daemon.table_set(&table, &key, value).map_err(fault)?;
    Ok(Reply::one("Ok. Key set to new value."))
}

fn setex(call: Call<'_>) -> Outcome {
    let missing = "Not enough parameters (htable name, key name and expire)";
    let (table, key) = entry(call, missing)?;
    let seconds = call.params.opt_int(2).ok_or(Fault::failed(missing))?;
    let life = u64::try_from(seconds).map_err(|_| Fault::bad("The time is negative"))?;
    let life = Duration::from_secs(life.min(u64::from(u32::MAX)));
    match call
        .daemon
        .table_expire(&table, &key, life)
        .map_err(fault)?
    {
        true => Ok(Reply::one("Ok")),
        false => Err(no_key()),
    }
}

fn no_key() -> Fault {
    Fault::new(404, "Key not found in htable.")
}

fn delete(call: Call<'_>) -> Outcome {
    let missing = "Not enough parameters (htable name & key name";
    let (table, key) = entry(call, missing)?;
    match call.daemon.table_delete(&table, &key).map_err(fault)? {
        true => Ok(Reply::one("Ok. Key deleted.")),
        false => Err(no_key()),
    }
}

fn shown(value: Setting) -> Value {
    match value {
        Setting::Int(number) => Value::Int(number),
        Setting::Str(text) => Value::Str(text),
    }
}

fn dump(call: Call<'_>) -> Outcome {
    let table = only_table(call)?;
    let mut entries = call
        .daemon
        .table_entries(&table, MOST)
        .ok_or_else(|| fault(TableError::Unknown))?;
    entries.sort_by(|a, b| (a.slot, &a.key).cmp(&(b.slot, &b.key)));
    let slots = entries.chunk_by(|a, b| a.slot == b.slot);
    Ok(slots
        .map(|slot| {
            let number = slot.first().map_or(0, |entry| entry.slot);
            Value::fields([
                ("entry", number.into()),
                ("size", (slot.len() as u64).into()),
                ("slot", Value::Array(slot.iter().map(row).collect())),
            ])
        })
        .collect())
}

fn row(entry: &TableEntry) -> Value {
    let kind = match entry.value {
        Setting::Int(_) => "int",
        Setting::Str(_) => "str",
    };
    Value::fields([
        ("name", Value::Str(entry.key.clone())),
        ("value", shown(entry.value.clone())),
        ("type", kind.into()),
    ])
}

fn list(call: Call<'_>) -> Outcome {
    let tables = call.daemon.tables().into_iter();
    Ok(tables
        .map(|table| {
            Value::fields([
                ("name", table.name.into()),
                ("dbtable", "".into()),
                ("dbmode", Value::Int(0)),
                ("expire", table.autoexpire.into()),
                ("updateexpire", Value::Int(table.updateexpire.into())),
                ("size", (table.slots.len() as u64).into()),
                ("dmqreplicate", Value::Int(0)),
            ])
        })
        .collect())
}

fn stats(call: Call<'_>) -> Outcome {
    let tables = call.daemon.tables().into_iter();
    Ok(tables
        .map(|table| {
            let all: u64 = table.slots.iter().sum();
            Value::fields([
                ("name", table.name.into()),
                ("slots", (table.slots.len() as u64).into()),
                ("all", all.into()),
                ("min", table.slots.iter().min().copied().unwrap_or(0).into()),
                ("max", table.slots.iter().max().copied().unwrap_or(0).into()),
            ])
        })
        .collect())
}
