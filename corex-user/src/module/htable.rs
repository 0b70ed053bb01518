//! The module `htable`: hash tables that all workers share.

use std::time::Duration;

use corex_script::function::{Function, Module, Parameter, ParameterKind, Routes, value};
use corex_script::run::Arg;
use corex_script::run::tables::Table;
use corex_script::run::{Exec, Halt};
use corex_script::settings::{SharedValue, TableConfig};

pub(super) static MODULE: Module = Module {
    name: "htable",
    doc: "Hash tables in memory, shared by all workers, with expiry: $sht(table=>key).",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    ..Module::NONE
};

const FUNCTIONS: &[Function] = &[
    Function {
        name: "sht_rm",
        aliases: &[],
        forms: &[&[value("table"), value("key")]],
        routes: Routes::ANY,
        doc: "Takes a key out of a table.",
        handler: |exec, args| {
            let key = exec.arg_str(args, 1)?;
            with_table(exec, args, |exec, table| table.remove(exec.bytes(key)))
        },
    },
    Function {
        name: "sht_reset",
        aliases: &[],
        forms: &[&[value("table")]],
        routes: Routes::ANY,
        doc: "Empties a table.",
        handler: |exec, args| with_table(exec, args, |_, table| table.clear()),
    },
    Function {
        name: "sht_rm_name",
        aliases: &[],
        forms: &[&[value("table"), value("operator"), value("text")]],
        routes: Routes::ANY,
        doc: "Takes all keys out of a table that match: the operator is re (regular expression), \
              sw (starts with) or ew (ends with).",
        handler: |exec, args| remove_matching(exec, args, |key, _| Some(key.to_vec())),
    },
    Function {
        name: "sht_rm_value",
        aliases: &[],
        forms: &[&[value("table"), value("operator"), value("text")]],
        routes: Routes::ANY,
        doc: "The same with the string values.",
        handler: |exec, args| {
            remove_matching(exec, args, |_, value| match value {
                SharedValue::Str(text) => Some(text.to_vec()),
                SharedValue::Int(_) => None,
            })
        },
    },
];

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "htable",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let table = parse(text)?;
                if settings.tables.iter().any(|known| known.name == table.name) {
                    return Err(format!("there is a table `{}` already", table.name));
                }
                settings.tables.push(table);
                Ok(())
            },
            help: "its form is \"name=>size=8;autoexpire=3600;initval=0;updateexpire=1;maxentries=1000;maxbytes=1000000\"",
        },
        doc: "name=>size=N;autoexpire=SECONDS;initval=N;updateexpire=0|1;maxentries=N;maxbytes=N: a \
              table. `size` is accepted for Kamailio's sake: tables grow. What finds no room isn't \
              set, and counted as refused. Default: no expiry, no initial value, at most 1,000,000 \
              entries and 268,435,456 bytes, keys, strings and 128 for each entry. May be set many \
              times.",
    },
    Parameter {
        name: "timer_interval",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 1 << 24,
            set: |settings, value| settings.table_timer = Duration::from_secs(value as u64),
        },
        doc: "After so many seconds entries whose time is over are looked for in all tables, a few at \
              a time, beside what is done with each write. Default: 20.",
    },
];

/// `name=>attribute=value;…`.
fn parse(text: &str) -> Result<TableConfig, String> {
    let (name, attributes) = text.split_once("=>").unwrap_or((text, ""));
    let mut table = TableConfig {
        name: name.trim().to_owned(),
        ..TableConfig::default()
    };
    if table.name.is_empty() {
        return Err("the table has no name".to_owned());
    }
    for attribute in attributes
        .split(';')
        .map(str::trim)
        .filter(|a| !a.is_empty())
    {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let number: i64 = value
            .trim()
            .parse()
            .map_err(|_| format!("`{attribute}`: expected a number behind `=`"))?;
        let positive = || u64::try_from(number).map_err(|_| format!("`{attribute}` is negative"));
        match key.trim() {
            "size" | "dmqreplicate" => {}
            "autoexpire" => {
                let seconds = positive()?;
                table.autoexpire = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            "initval" => table.initval = Some(number),
            "updateexpire" => table.updateexpire = number != 0,
            "maxentries" => table.max_entries = positive()? as usize,
            "maxbytes" => table.max_bytes = positive()? as usize,
            _ => return Err(format!("there is no attribute `{}`", key.trim())),
        }
    }
    Ok(table)
}

fn with_table(
    exec: &mut Exec<'_>,
    args: &[Arg],
    act: impl FnOnce(&Exec<'_>, &Table),
) -> Result<i64, Halt> {
    let name = exec.arg_str(args, 0)?;
    let name = String::from_utf8_lossy(exec.bytes(name)).into_owned();
    match exec.program.tables.by_name.get(&name) {
        Some(table) => {
            act(exec, table);
            Ok(1)
        }
        None => {
            exec.complain(format_args!("there is no table `{name}`"));
            Ok(-1)
        }
    }
}

fn remove_matching(
    exec: &mut Exec<'_>,
    args: &[Arg],
    part: fn(&[u8], &SharedValue) -> Option<Vec<u8>>,
) -> Result<i64, Halt> {
    let operator = exec.arg_str(args, 1)?;
    let operator = exec.bytes(operator).to_vec();
    let text = exec.arg_str(args, 2)?;
    let text = exec.bytes(text).to_vec();
    let regex = match operator.as_slice() {
        b"re" => match corex_script::regex(&text) {
            Ok(regex) => Some(regex),
            Err(reason) => {
                exec.complain(format_args!("no regular expression: {reason}"));
                return Ok(-1);
            }
        },
        b"sw" | b"ew" => None,
        _ => {
            exec.complain(format_args!("the operator is re, sw or ew"));
            return Ok(-1);
        }
    };
    with_table(exec, args, |_, table| {
        table.retain(|key, value| {
            let matches =
                part(key, value).is_some_and(|part| match (&regex, operator.as_slice()) {
                    (Some(regex), _) => regex.is_match(&part),
                    (None, b"sw") => part.starts_with(&text),
                    _ => part.ends_with(&text),
                });
            !matches
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_described_as_kamailio_does() {
        let table =
            parse("a=>size=8;autoexpire=7200;initval=3;updateexpire=0;maxentries=5;maxbytes=6000;")
                .unwrap();
        assert_eq!(
            table,
            TableConfig {
                name: "a".to_owned(),
                autoexpire: Some(Duration::from_secs(7200)),
                initval: Some(3),
                updateexpire: false,
                max_entries: 5,
                max_bytes: 6000,
            }
        );
        assert_eq!(parse("b=>size=4").unwrap().autoexpire, None);
        for bad in [
            "",
            "=>size=8",
            "a=>size",
            "a=>colour=3",
            "a=>autoexpire=-1",
            "a=>size=x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
