//! From what the parser read to a [`Transform`]: the name looked up, the arguments divided.

use super::{ALL, Arg, Prepared, Run, Transform, TransformDef, subst};
use crate::nearest::nearest;
use crate::syntax::ast::{self, Str};
use crate::syntax::diag::Diagnostic;
use crate::syntax::pv::parse_pv;
use crate::syntax::span::Span;

/// What an argument has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    /// An integer, or a pseudo-variable that holds one.
    Integer,
    /// The same, not below 0.
    Length,
    /// The same as [`Param::Integer`], or nothing.
    OptionalInteger,
    /// Text up to a comma, or a pseudo-variable.
    Text,
    /// Text of which the first byte counts, which may be a comma; or a pseudo-variable.
    Sign,
    /// One byte, a comma too, or one of `\t`, `\n`, `\r`, `\\`.
    Separator,
    /// One byte other than a comma, or nothing.
    Delimiter,
}

impl Param {
    fn is_optional(self) -> bool {
        matches!(self, Param::OptionalInteger | Param::Delimiter)
    }

    fn expected(self) -> &'static str {
        match self {
            Param::Integer | Param::OptionalInteger => "expected an integer or a pseudo-variable",
            Param::Length => "expected 0, a positive integer or a pseudo-variable",
            Param::Text | Param::Sign => "expected text without a comma, or a pseudo-variable",
            Param::Separator => "expected one character, or one of \\t \\n \\r \\\\",
            Param::Delimiter => "expected one character other than a comma",
        }
    }
}

/// Classes of transformations that Kamailio has in modules that we lack, with those modules.
const ELSEWHERE: &[(&str, &str)] = &[
    ("json", "json"),
    ("msrpuri", "msrp"),
    ("xml", "xmlops"),
    ("hdr", "textopsx"),
];

/// Compiles a transformation. `pv` compiles the pseudo-variables among its arguments; when it
/// returns `None` it has said what is wrong.
///
/// # Errors
/// What is wrong with it. Where `pv` has failed, the diagnostic begins where the pseudo-variable
/// does, so that a report takes it for the echo that it is.
pub fn compile(
    transformation: &ast::Transformation,
    pv: &mut dyn FnMut(&ast::Pv) -> Option<u16>,
) -> Result<Transform, Diagnostic> {
    let def = find(transformation)?;
    let compiled = |args, prepared| Transform {
        def,
        args,
        prepared,
    };
    if let Run::Subst = def.run {
        let Some(text) = &transformation.args else {
            return Err(too_few(def, transformation));
        };
        let (subst, args) = subst::compile(text, &mut |at| variable(text, at, pv))?;
        return Ok(compiled(args, Prepared::Subst(Box::new(subst))));
    }
    let args = Args {
        def,
        transformation,
    }
    .compile(pv)?;
    let prepared = match def.run {
        Run::Time => Prepared::Zone(jiff::tz::TimeZone::system()),
        Run::Text(_) | Run::Any(_) | Run::Subst => Prepared::Nothing,
    };
    Ok(compiled(args, prepared))
}

/// Kamailio knows classes as they are written only, and names in any case.
fn find(transformation: &ast::Transformation) -> Result<&'static TransformDef, Diagnostic> {
    let name = transformation.name.kind.as_str();
    let (class, own) = name.split_once('.').unwrap_or((name, ""));
    let matches = |def: &&TransformDef| {
        def.name
            .split_once('.')
            .is_some_and(|(known, rest)| known == class && rest.eq_ignore_ascii_case(own))
    };
    if let Some(def) = ALL.iter().find(matches) {
        return Ok(def);
    }
    let span = transformation.name.span;
    if let Some((_, module)) = ELSEWHERE.iter().find(|(known, _)| *known == class) {
        return Err(
            Diagnostic::error(span, format!("{{{name}}} is not supported"))
                .label("expected another transformation")
                .help(format!(
                    "Kamailio has it in its module {module}, which there is no part of here"
                )),
        );
    }
    let unknown = Diagnostic::error(span, format!("there is no transformation {{{name}}}"))
        .label("expected the name of a transformation");
    let known = ALL.iter().map(|def| def.name);
    if let Some(near) = nearest(name, known.clone()) {
        return Err(unknown.help(format!("did you mean {{{near}}}?")));
    }
    let mut classes: Vec<&str> = known
        .clone()
        .filter_map(|name| name.split('.').next())
        .collect();
    classes.dedup();
    let inside: Vec<&str> = known
        .filter_map(|name| name.strip_prefix(class)?.strip_prefix('.'))
        .collect();
    Err(unknown.help(if inside.is_empty() {
        format!("known are the classes {}", classes.join(", "))
    } else {
        format!("those of {class} are {}", inside.join(", "))
    }))
}

fn too_few(def: &TransformDef, transformation: &ast::Transformation) -> Diagnostic {
    let span = match &transformation.args {
        Some(args) => args.span.after(),
        None => transformation.name.span.after(),
    };
    Diagnostic::error(span, format!("{{{}}} lacks an argument", def.name))
        .label(format!("expected {}", usage(def)))
}

fn usage(def: &TransformDef) -> String {
    format!("{{{}{}}}", def.name, def.args)
}

/// A pseudo-variable that begins at a byte of `text`; with the offset after it. `$$` is text.
fn variable(
    text: &Str,
    at: usize,
    pv: &mut dyn FnMut(&ast::Pv) -> Option<u16>,
) -> Result<(Arg, usize), Diagnostic> {
    let (read, after) = parse_pv(text, at)?;
    if read.name.kind == "$" {
        return Ok((Arg::Text(b"$".to_vec()), after));
    }
    match pv(&read) {
        Some(number) => Ok((Arg::Pv(number), after)),
        None => Err(Diagnostic::error(
            read.span,
            "this pseudo-variable is no argument",
        )),
    }
}

struct Args<'a> {
    def: &'static TransformDef,
    transformation: &'a ast::Transformation,
}

impl Args<'_> {
    fn compile(&self, pv: &mut dyn FnMut(&ast::Pv) -> Option<u16>) -> Result<Vec<Arg>, Diagnostic> {
        let mut args = Vec::new();
        // Where the next argument begins, if there is one.
        let mut next = self.transformation.args.as_ref().map(|_| 0);
        for param in self.def.params {
            match (next, &self.transformation.args) {
                (Some(at), Some(text)) => {
                    let (arg, after) = self.arg(*param, text, at, pv)?;
                    args.push(arg);
                    let ends = after >= text.kind.value.len();
                    // A comma follows, or nothing.
                    next = (!ends).then_some(after + 1);
                }
                _ if param.is_optional() => break,
                _ => return Err(too_few(self.def, self.transformation)),
            }
        }
        match (next, &self.transformation.args) {
            (Some(at), Some(text)) => {
                let span = span(text, at, text.kind.value.len());
                let message = format!("{{{}}} takes no further argument", self.def.name);
                Err(Diagnostic::error(span, message)
                    .label(format!("expected {}", usage(self.def)))
                    .help("a comma within an argument can be in a pseudo-variable only"))
            }
            _ => Ok(args),
        }
    }

    /// The argument at `at`, and where it ends: at a comma or at the end.
    fn arg(
        &self,
        param: Param,
        text: &Str,
        at: usize,
        pv: &mut dyn FnMut(&ast::Pv) -> Option<u16>,
    ) -> Result<(Arg, usize), Diagnostic> {
        let bytes = &text.kind.value;
        let end = bytes.len();
        let wrong = |from: usize, to: usize| {
            let message = format!("this is no argument of {{{}}}", self.def.name);
            Diagnostic::error(span(text, from, to), message)
                .label(param.expected())
                .help(format!("it is written {}", usage(self.def)))
        };
        let rest = bytes.get(at..).unwrap_or_default();
        match param {
            Param::Separator => {
                return match rest {
                    [b'\\', b't'] => Ok((Arg::Text(b"\t".to_vec()), end)),
                    [b'\\', b'n'] => Ok((Arg::Text(b"\n".to_vec()), end)),
                    [b'\\', b'r'] => Ok((Arg::Text(b"\r".to_vec()), end)),
                    [b'\\', b'\\'] | [_] if rest != b"\\" => {
                        Ok((Arg::Text(rest.last().copied().into_iter().collect()), end))
                    }
                    _ => Err(wrong(at, end)),
                };
            }
            Param::Delimiter => {
                return match rest {
                    [byte] if *byte != b',' => Ok((Arg::Text(rest.to_vec()), end)),
                    _ => Err(wrong(at, end)),
                };
            }
            _ => {}
        }
        let start = at + spaces(rest);
        let rest = bytes.get(start..).unwrap_or_default();
        if rest.first() == Some(&b'$') {
            let (arg, after) = variable(text, start, pv)?;
            let after = after + spaces(bytes.get(after..).unwrap_or_default());
            return match bytes.get(after) {
                None | Some(b',') => Ok((arg, after)),
                Some(_) => Err(wrong(after, end)),
            };
        }
        // What counts of a sign is its first byte, so that one doesn't divide.
        let skip = usize::from(param == Param::Sign && !rest.is_empty());
        let comma = rest.iter().skip(skip).position(|byte| *byte == b',');
        let len = comma.map_or(rest.len(), |comma| comma + skip);
        let own = rest.get(..len).unwrap_or_default();
        let after = start + len;
        let arg = match param {
            Param::Text | Param::Sign => Arg::Text(own.to_vec()),
            _ => match number(own).filter(|number| *number >= 0 || param != Param::Length) {
                Some(number) => Arg::Number(number),
                None => return Err(wrong(start, after.max(start + 1).min(end).max(start))),
            },
        };
        Ok((arg, after))
    }
}

fn span(text: &Str, from: usize, to: usize) -> Span {
    text.kind.locate(from..to, text.span)
}

fn spaces(text: &[u8]) -> usize {
    text.iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        .count()
}

/// A literal integer, which has digits and may have spaces after it.
fn number(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii_end();
    text.last()?.is_ascii_digit().then_some(())?;
    super::text::integer(text)
}
