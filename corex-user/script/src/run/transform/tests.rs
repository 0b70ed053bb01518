//! What the transformations yield, against what Kamailio 5.6.3 yields.

mod cases;
mod diagnostics;
mod properties;

use super::{
    Arg, Argument, Error, Input, MAX_ARGS, MAX_OUTPUT, Output, Prepared, Transform, compile,
};
use crate::syntax::ast::{self, ExprKind, ItemKind, StmtKind};
use crate::syntax::diag::Diagnostic;
use crate::syntax::parse_str;

/// A value that outlives what it was made of.
#[derive(Clone, PartialEq, Eq)]
enum Value {
    Null,
    Int(i64),
    Str(Vec<u8>),
}

impl Value {
    fn input(&self) -> Input<'_> {
        match self {
            Value::Null => Input::Null,
            Value::Int(number) => Input::Int(*number),
            Value::Str(text) => Input::Str(text),
        }
    }
}

/// As the tables write it: `$null`, a number, or a string in quotes with escapes.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Null => f.write_str("$null"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Str(text) => {
                f.write_str("\"")?;
                for byte in text {
                    match byte {
                        b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                        b'\n' => f.write_str("\\n")?,
                        b'\r' => f.write_str("\\r")?,
                        b'\t' => f.write_str("\\t")?,
                        b' '..=b'~' => write!(f, "{}", char::from(*byte))?,
                        byte => write!(f, "\\x{byte:02x}")?,
                    }
                }
                f.write_str("\"")
            }
        }
    }
}

/// Reads what [`Value`] writes, as the configuration language has it.
fn read(text: &str) -> Value {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    else {
        return text.parse().map_or(Value::Null, Value::Int);
    };
    let mut bytes = Vec::new();
    let mut rest = inner.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'\\', [b'n', tail @ ..]) => (b'\n', tail),
            (b'\\', [b'r', tail @ ..]) => (b'\r', tail),
            (b'\\', [b't', tail @ ..]) => (b'\t', tail),
            (b'\\', [b'x', high, low, tail @ ..]) => {
                (super::encode::pair(&[*high, *low]).unwrap(), tail)
            }
            (b'\\', [byte @ (b'\\' | b'"'), tail @ ..]) => (*byte, tail),
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    Value::Str(bytes)
}

/// What stands before the transformations in [`parse`], and after them.
const BEFORE: &str = "request_route {\n    $avp(o) = $(avp(x)";
const AFTER: &str = ");\n}\n";

/// `$(avp(x){…}…)` out of a configuration.
fn parse(transformations: &str) -> Result<ast::Pv, Diagnostic> {
    let mut parsed = parse_str("test.cfg", &format!("{BEFORE}{transformations}{AFTER}"));
    if let Some(diagnostic) = parsed.report.diagnostics().first() {
        return Err(diagnostic.clone());
    }
    let body = match parsed.file.items.pop().map(|item| item.kind) {
        Some(ItemKind::Route(route)) => route.body,
        item => panic!("{transformations}: {item:?}"),
    };
    match body
        .statements
        .into_iter()
        .map(|statement| statement.kind)
        .next()
    {
        Some(StmtKind::Assign { value, .. }) => match value.kind {
            ExprKind::Pv(pv) => Ok(*pv),
            _ => Err(Diagnostic::error(value.span, "something follows")),
        },
        statement => panic!("{transformations}: {statement:?}"),
    }
}

/// Compiles the first transformation; any pseudo-variable will do.
fn compiled(transformation: &str) -> Result<Transform, Diagnostic> {
    let pv = parse(transformation)?;
    let Some(first) = pv.transformations.first() else {
        return Err(Diagnostic::error(pv.span, "nothing to compile"));
    };
    compile(first, &mut |pv| (pv.name.kind != "nope").then_some(0))
}

/// The variables that the tables use.
fn variable(pv: &ast::Pv) -> Option<Value> {
    let inner = pv
        .inner
        .as_ref()
        .map_or("", |inner| inner.kind.as_str().unwrap());
    let text = |text: &str| Value::Str(text.as_bytes().to_vec());
    let value = match (pv.name.kind.as_str(), inner) {
        ("var", "i") => Value::Int(1),
        ("var", "n") => Value::Int(-1),
        ("var", "a") => text("a"),
        ("var", "s") => text(","),
        ("var", "t") => text("2"),
        ("rU", _) => text("x"),
        ("avp", "none") => Value::Null,
        _ => return None,
    };
    Some(run_all(value, pv).unwrap().0)
}

/// Applies all transformations of a pseudo-variable; also the last error, if there was one.
fn run_all(value: Value, pv: &ast::Pv) -> Result<(Value, Option<Error>), Diagnostic> {
    let (mut value, mut failed) = (value, None);
    for transformation in &pv.transformations {
        let mut values = Vec::new();
        let mut resolve = |pv: &ast::Pv| {
            values.push(variable(pv)?);
            Some(u16::try_from(values.len()).unwrap() - 1)
        };
        let mut transform = compile(transformation, &mut resolve)?;
        if let Prepared::Zone(zone) = &mut transform.prepared {
            *zone = jiff::tz::TimeZone::UTC;
        }
        assert!(transform.args().len() <= MAX_ARGS);
        let args: Vec<Argument<'_>> = transform
            .args()
            .iter()
            .map(|arg| match arg {
                Arg::Pv(id) => values[usize::from(*id)].input(),
                arg => arg.literal().unwrap_or(Input::Null),
            })
            .collect();
        let mut out = b"before".to_vec();
        let result = transform.apply(value.input(), &args, &mut out);
        assert!(out.starts_with(b"before") && out.len() <= b"before".len() + MAX_OUTPUT);
        let (next, error) = match result {
            Ok(Output::Null) => (Value::Null, None),
            Ok(Output::Int(number)) => (Value::Int(number), None),
            Ok(Output::Appended) => (Value::Str(out.split_off(b"before".len())), None),
            Ok(Output::Part(range)) => match &value {
                Value::Str(text) => (Value::Str(text[range].to_vec()), None),
                _ => panic!("a part of what is no string"),
            },
            Err(error) => (Value::Null, Some(error)),
        };
        assert_eq!(out, b"before", "{}", transformation.name.kind);
        value = next;
        failed = error.or(failed);
    }
    Ok((value, failed))
}

/// What a chain yields for a value, as the tables write both.
fn yields(input: &str, transformations: &str) -> String {
    match parse(transformations).and_then(|pv| run_all(read(input), &pv)) {
        Ok((value, _)) => value.to_string(),
        Err(diagnostic) => format!("refused: {}", diagnostic.message),
    }
}

fn differences(table: &[(&str, &str, &str)]) -> Vec<String> {
    let differs = |(input, transformations, expected): &(&str, &str, &str)| {
        let found = yields(input, transformations);
        (found != read(expected).to_string())
            .then(|| format!("{input} {transformations}: {found}, expected {expected}"))
    };
    table.iter().filter_map(differs).collect()
}

#[test]
fn every_case_yields_what_kamailio_yields() {
    let wrong = differences(&cases::TABLES.concat());
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_kamailio_refuses_is_refused() {
    let taken: Vec<&&str> = cases::REFUSED
        .iter()
        .filter(|transformation| compiled(transformation).is_ok())
        .collect();
    assert!(taken.is_empty(), "{taken:?}");
}
