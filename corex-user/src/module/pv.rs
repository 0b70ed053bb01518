//! The module `pv`: in Kamailio it brings the pseudo-variables, which are always there here.

use corex_script::function::{
    Function, Module, Param, ParamKind, Parameter, ParameterKind, Routes,
};
use corex_script::run::Arg;
use corex_script::run::Value;
use corex_script::run::{Exec, Halt};
use corex_script::settings::SharedValue;

pub(super) static MODULE: Module = Module {
    name: "pv",
    doc: "Pseudo-variables. They are built in: the module can be loaded and needn't be.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    ..Module::NONE
};

const FUNCTIONS: &[Function] = &[Function {
    name: "pv_isset",
    aliases: &["is_set"],
    forms: &[&[Param {
        name: "variable",
        kind: ParamKind::Value,
    }]],
    routes: Routes::ANY,
    doc: "Whether a pseudo-variable has a value.",
    handler: is_set,
}];

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "shvset",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let (name, value) = text.split_once('=').ok_or("there is no `=` in it")?;
                let value = match value.split_once(':') {
                    Some(("i", number)) => SharedValue::Int(
                        number
                            .trim()
                            .parse()
                            .map_err(|_| format!("`{number}` is no number"))?,
                    ),
                    Some(("s", text)) => SharedValue::Str(text.as_bytes().into()),
                    _ => SharedValue::Str(value.as_bytes().into()),
                };
                settings.shared_values.push((name.trim().to_owned(), value));
                Ok(())
            },
            help: "its form is \"name=i:5\" or \"name=s:text\"",
        },
        doc: "name=i:number or name=s:text: what $shv(name) starts as. May be set many times.",
    },
    Parameter {
        name: "varset",
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: "What $var(name) starts as; assign it in the route.",
    },
];

fn is_set(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let value = match args.first() {
        Some(Arg::Value(expr)) => exec.eval(expr)?,
        _ => Value::Null,
    };
    Ok(if value == Value::Null { -1 } else { 1 })
}
