//! Regular expressions and transformations of scripts.

use corex_script::regex;
use corex_script::run::transform::{Arg, Input, MAX_ARGS, MAX_OUTPUT, Output, Transform, compile};
use corex_script::syntax::ast::{ExprKind, ItemKind, StmtKind};
use corex_script::syntax::parse_str;

/// Takes the input for an expression, a line feed, and what it is matched with.
///
/// # Panics
/// When it matches what isn't there.
pub fn pattern(data: &[u8]) {
    let (pattern, text) = two(data);
    let Ok(regex) = regex(pattern) else { return };
    for found in regex.find_iter(text).take(100) {
        assert!(text.get(found.range()).is_some());
    }
}

/// Takes the input for transformations, a line feed, and the value that they are applied to.
///
/// # Panics
/// When a value is out of bounds, or what was in the output before isn't there any more.
pub fn transform(data: &[u8]) {
    let (text, value) = two(data);
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let mut value = Some(value.to_vec());
    for transform in compiled(text).into_iter().take(8) {
        value = applied(&transform, value.as_deref());
    }
}

fn two(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    match end {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, b""),
    }
}

/// `$(var(x){…}{…})` out of a configuration, as far as it is right.
fn compiled(text: &str) -> Vec<Transform> {
    let config = format!("request_route {{\n$var(o) = $(var(x){text});\n}}\n");
    let mut parsed = parse_str("fuzz.cfg", &config);
    if parsed.report.has_errors() {
        return Vec::new();
    }
    let Some(ItemKind::Route(route)) = parsed.file.items.pop().map(|item| item.kind) else {
        return Vec::new();
    };
    let statement = route.body.statements.into_iter().next();
    let Some(StmtKind::Assign { value, .. }) = statement.map(|statement| statement.kind) else {
        return Vec::new();
    };
    let ExprKind::Pv(pv) = value.kind else {
        return Vec::new();
    };
    let each = pv.transformations.iter();
    each.map_while(|transformation| compile(transformation, &mut |_| Some(0)).ok())
        .collect()
}

fn applied(transform: &Transform, value: Option<&[u8]>) -> Option<Vec<u8>> {
    assert!(transform.args().len() <= MAX_ARGS);
    let input = value.map_or(Input::Null, Input::Str);
    let args: Vec<Input<'_>> = transform
        .args()
        .iter()
        .map(|arg| match arg {
            Arg::Pv(_) => input,
            literal => literal.literal().unwrap_or(Input::Null),
        })
        .collect();
    let mut out = b"kept".to_vec();
    let result = transform.apply(input, &args, &mut out);
    assert!(out.starts_with(b"kept") && out.len() <= MAX_OUTPUT + 4);
    match result {
        Ok(Output::Appended) => Some(out.split_off(4)),
        other => {
            assert_eq!(out.len(), 4, "{}", transform.name());
            match other {
                Ok(Output::Int(number)) => Some(number.to_string().into_bytes()),
                Ok(Output::Part(range)) => {
                    let text = value.expect("a part of a string");
                    Some(text.get(range).expect("within the value").to_vec())
                }
                _ => None,
            }
        }
    }
}
