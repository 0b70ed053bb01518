//! `cfg.*`: variables that change at run time.

use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, ParamDef, RpcCommand, optional, required,
};
use crate::rpc::daemon::{Setting, Variable};
use crate::rpc::fault::Fault;
use crate::rpc::value::{Name, Reply, Value};

const GROUP: ParamDef = required("group", Kind::Str);
const NAME: ParamDef = required("name", Kind::Str);
const INT: ParamDef = required("value", Kind::Int);
const STR: ParamDef = required("value", Kind::Str);

/// A command that sets a variable. Kamailio has several names for the same.
const fn setter(
    name: &'static str,
    params: &'static [ParamDef],
    run: fn(Call<'_>) -> Outcome,
) -> RpcCommand {
    RpcCommand {
        name,
        doc: &[
            "Sets a variable, with effect at once.",
            "Its parameters are the variable's group and name, and the new value.",
        ],
        params,
        result: Answer::Nothing,
        handler: Handler::Now(run),
    }
}

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "cfg",
    doc: "Variables that change at run time, with effect at once: `core.debug`; `corex.min_msg_len` and \
          `corex.probe_len` (the keep-alive policy), in the eBPF maps too. As in Kamailio.",
    commands: ALL,
};

const ALL: &[RpcCommand] = &[
    RpcCommand {
        name: "cfg.get",
        doc: &[
            "Shows a variable, or all of a group.",
            "Its parameters are the group and the variable's name.",
        ],
        params: &[GROUP, optional("name", Kind::Str)],
        result: Answer::One(Kind::Any),
        handler: Handler::Now(get),
    },
    RpcCommand {
        name: "cfg.help",
        doc: &["Shows what a variable is for."],
        params: &[GROUP, NAME],
        result: Answer::Many(Kind::Str),
        handler: Handler::Now(help),
    },
    RpcCommand {
        name: "cfg.list",
        doc: &["Lists the variables, of one group or all."],
        params: &[optional("group", Kind::Str)],
        result: Answer::Many(Kind::Str),
        handler: Handler::Now(list),
    },
    setter(
        "cfg.set",
        &[GROUP, NAME, required("value", Kind::Any)],
        set_any,
    ),
    setter("cfg.set_now_int", &[GROUP, NAME, INT], set_int),
    setter("cfg.set_now_string", &[GROUP, NAME, STR], set_str),
    setter("cfg.seti", &[GROUP, NAME, INT], set_int),
    setter("cfg.sets", &[GROUP, NAME, STR], set_str),
];

fn shown(value: Setting) -> Value {
    match value {
        Setting::Int(number) => Value::Int(number),
        Setting::Str(text) => Value::Str(text),
    }
}

fn find(call: Call<'_>, group: &str, name: &str) -> Option<Variable> {
    let variables = call.daemon.variables().into_iter();
    let mut found = variables.filter(|known| known.group == group && known.name == name);
    found.next()
}

fn get(call: Call<'_>) -> Outcome {
    let unknown = || Fault::bad("Failed to get the variable");
    let Some(group) = call.params.opt_text(0) else {
        return Err(Fault::failed("Failed to get the parameters"));
    };
    if call.params.values().len() > 1 {
        let name = call.params.text(1)?;
        let variable = find(call, &group, &name).ok_or_else(unknown)?;
        return Ok(Reply::one(shown(variable.value)));
    }
    let fields: Vec<_> = call
        .daemon
        .variables()
        .into_iter()
        .filter(|known| known.group == group)
        .map(|known| (Name::Owned(known.name), shown(known.value)))
        .collect();
    if fields.is_empty() {
        return Err(unknown());
    }
    Ok(Reply::one(Value::Struct(fields)))
}

fn help(call: Call<'_>) -> Outcome {
    let (group, name) = (call.params.text(0)?, call.params.text(1)?);
    let variable = find(call, &group, &name)
        .ok_or_else(|| Fault::bad("Failed to get the variable description"))?;
    let kind = match variable.value {
        Setting::Int(_) => "integer",
        Setting::Str(_) => "string",
    };
    Ok(Reply::from_iter([
        variable.doc.into(),
        format!("(parameter type is {kind})").into(),
    ]))
}

fn list(call: Call<'_>) -> Outcome {
    let group = match call.params.values() {
        [] => None,
        _ => Some(call.params.text(0)?),
    };
    let variables = call.daemon.variables().into_iter();
    Ok(variables
        .filter(|known| group.as_ref().is_none_or(|group| *group == known.group))
        .map(|known| format!("{}: {}", known.group, known.name).into())
        .collect())
}

fn set_int(call: Call<'_>) -> Outcome {
    let (group, name) = (call.params.text(0)?, call.params.text(1)?);
    set(call, &group, &name, Setting::Int(call.params.int(2)?))
}

fn set_str(call: Call<'_>) -> Outcome {
    let (group, name) = (call.params.text(0)?, call.params.text(1)?);
    set(call, &group, &name, Setting::Str(call.params.str(2)?))
}

/// The value's type is the variable's: digits will do for an integer, and an integer for a
/// string.
fn set_any(call: Call<'_>) -> Outcome {
    let (group, name) = (call.params.text(0)?, call.params.text(1)?);
    let given = match call.params.values().get(2) {
        Some(Value::Int(number)) => Setting::Int(*number),
        _ => Setting::Str(call.params.str(2)?),
    };
    let wanted = find(call, &group, &name).map(|variable| variable.value);
    let value = match (wanted, given) {
        (Some(Setting::Int(_)), Setting::Str(text)) => std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .map(Setting::Int)
            .ok_or_else(not_set)?,
        (Some(Setting::Str(_)), Setting::Int(number)) => {
            Setting::Str(number.to_string().into_bytes())
        }
        (_, given) => given,
    };
    set(call, &group, &name, value)
}

fn not_set() -> Fault {
    Fault::bad("Failed to set the variable")
}

fn set(call: Call<'_>, group: &str, name: &str, value: Setting) -> Outcome {
    match call.daemon.set_variable(group, name, value) {
        Ok(()) => Ok(Reply::empty()),
        Err(reason) => {
            tracing::info!("{group}.{name} stays as it was: {reason}");
            Err(not_set())
        }
    }
}
