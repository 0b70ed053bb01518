//! Pseudo-variables, and strings that hold some.

use super::Checker;
use crate::nearest::nearest;
use crate::run::node::{Expr, Index, Lvalue, Named, Piece, Pv, Transformation};
use crate::run::pv::{self, Form, Names, PvDef};
use crate::run::transform;
use crate::run::value::Value;
use crate::settings::Settings;
use crate::syntax::ast::{self, PvIndex, Str};
use crate::syntax::diag::Diagnostic;
use crate::syntax::pv::parse_pv;

impl Checker {
    /// Looks a pseudo-variable up; reports what nothing can be done with.
    fn find_pv(&mut self, pv: &ast::Pv) -> Option<&'static PvDef> {
        let name = pv.name.kind.as_str();
        let Some(def) = pv::find(name) else {
            let mut diagnostic =
                Diagnostic::error(pv.span, format!("there is no pseudo-variable ${name}"));
            diagnostic = match nearest(name, pv::all().map(|def| def.name)) {
                Some(near) => diagnostic.help(format!("did you mean ${near}?")),
                None => diagnostic.help("`corex list variables` shows those that there are"),
            };
            self.report(diagnostic);
            return None;
        };
        let has_names = matches!(def.form, Form::Avp | Form::Var | Form::Named { .. });
        if let Some(inner) = pv.inner.as_ref().filter(|_| !has_names) {
            self.report(
                Diagnostic::error(inner.span, format!("${name} takes no name in parentheses"))
                    .help(format!("where a `(` is to follow it, write $({name})(")),
            );
            return None;
        }
        if has_names && pv.inner.is_none() {
            self.report(
                Diagnostic::error(pv.span, format!("${name} needs a name"))
                    .label(format!("expected ${name}({})", words_of(def))),
            );
            return None;
        }
        let is_indexed = matches!(def.form, Form::Avp | Form::Named { indexed: true, .. });
        if let Some(index) = pv.index.as_ref().filter(|_| !is_indexed) {
            self.report(Diagnostic::error(
                index.span,
                format!("${name} has one value and no index"),
            ));
            return None;
        }
        Some(def)
    }

    /// The name of an AVP or a `$var()`: what stands in the parentheses.
    pub(super) fn inner_name(&mut self, pv: &ast::Pv) -> Option<String> {
        let inner = pv.inner.as_ref()?;
        let text = inner.kind.as_str().unwrap_or_default().trim();
        // Kamailio's AVPs had types of names once: `s:` says what is the default now.
        let name = match pv.name.kind.as_str() {
            "avp" => text.strip_prefix("s:").unwrap_or(text),
            _ => text,
        };
        if name.contains('$') {
            self.report(
                Diagnostic::error(inner.span, "a name can't be computed")
                    .label("expected the name itself"),
            );
            return None;
        }
        if name.is_empty() {
            self.report(Diagnostic::error(pv.span, "the name is empty").label("expected a name"));
            return None;
        }
        Some(name.to_owned())
    }

    /// A transformation with its arguments.
    pub(super) fn transformation(
        &mut self,
        transformation: &ast::Transformation,
    ) -> Result<Transformation, Diagnostic> {
        let mut variables = Vec::new();
        let transform = transform::compile(transformation, &mut |pv| {
            let number = u16::try_from(variables.len()).ok()?;
            variables.push(self.pv(pv)?);
            Some(number)
        })?;
        Ok(Transformation {
            transform,
            variables: variables.into(),
        })
    }

    /// A pseudo-variable to be read, with its transformations.
    pub(super) fn pv(&mut self, pv: &ast::Pv) -> Option<Pv> {
        let plain = self.plain_pv(pv)?;
        if pv.transformations.is_empty() {
            return Some(plain);
        }
        let mut transforms = Vec::new();
        for transformation in &pv.transformations {
            match self.transformation(transformation) {
                Ok(transform) => transforms.push(transform),
                Err(diagnostic) => {
                    self.report(diagnostic);
                    return None;
                }
            }
        }
        Some(Pv::Transformed(Box::new(plain), transforms.into()))
    }

    fn plain_pv(&mut self, pv: &ast::Pv) -> Option<Pv> {
        let def = self.find_pv(pv)?;
        if def.is_sip && self.in_hook() {
            self.report(
                Diagnostic::warning(pv.span, format!("${} is always $null here", def.name)).help(
                    "event_route[network:msg] runs on bytes that may not be SIP yet; \
                     look into $mb with =~",
                ),
            );
        }
        Some(match &def.form {
            Form::Null | Form::Dollar => Pv::Null,
            Form::Message => Pv::Message,
            Form::Plain { read, .. } => Pv::Plain(*read),
            Form::Var => {
                let name = self.inner_name(pv)?;
                Pv::Var(self.var(&name, pv.span)?)
            }
            Form::Avp => {
                let name = self.inner_name(pv)?;
                let id = self.avp(&name, pv.span)?;
                Pv::Avp(id, self.index(pv)?)
            }
            Form::Named { names, read, .. } => Pv::Named(Box::new(Named {
                read: *read,
                name: self.computed_name(pv, names)?,
                index: self.index(pv)?,
            })),
        })
    }

    fn index(&mut self, pv: &ast::Pv) -> Option<Index> {
        match pv.index.as_ref().map(|index| (&index.kind, index.span)) {
            None => Some(Index::At(0)),
            Some((PvIndex::At(at), _)) => Some(Index::At(*at)),
            Some((PvIndex::Pv(inner), _)) => {
                Some(Index::Dynamic(Box::new(Expr::Pv(self.pv(inner)?))))
            }
            Some((PvIndex::All, span)) => {
                self.report(
                    Diagnostic::error(span, "all values at once can't be read")
                        .label("expected a number or a pseudo-variable")
                        .help("[*] stands where something is assigned"),
                );
                None
            }
        }
    }

    /// What stands in the parentheses of a pseudo-variable that isn't looked up by its name.
    fn computed_name(&mut self, pv: &ast::Pv, names: &Names) -> Option<Expr> {
        let inner = pv.inner.as_ref()?;
        let name = pv.name.kind.as_str();
        let expr = self.format(inner)?;
        let Expr::Const(_) = expr else {
            if let Names::Checked(check) = names {
                let known = inner.kind.value.split(|b| *b == b'$').next();
                self.checked_name(inner, known.unwrap_or_default(), *check)?;
            }
            return Some(expr);
        };
        let text = inner.kind.value.as_slice();
        match names {
            Names::Any => {}
            Names::Words(words) => {
                if !words
                    .iter()
                    .any(|w| text.eq_ignore_ascii_case(w.as_bytes()))
                {
                    let text = String::from_utf8_lossy(text).into_owned();
                    let diagnostic =
                        Diagnostic::error(inner.span, format!("${name} has no `{text}`"))
                            .label(format!("expected one of {}", words.join(", ")));
                    self.report(match nearest(&text, words.iter().copied()) {
                        Some(near) => diagnostic.help(format!("did you mean ${name}({near})?")),
                        None => diagnostic,
                    });
                    return None;
                }
            }
            Names::Checked(check) => self.checked_name(inner, text, *check)?,
        }
        Some(expr)
    }

    fn checked_name(
        &mut self,
        inner: &Str,
        text: &[u8],
        check: fn(&Settings, &str) -> Result<(), String>,
    ) -> Option<()> {
        let result = match std::str::from_utf8(text) {
            Ok(text) => check(&self.settings, text),
            Err(_) => Err("the name is not valid UTF-8".to_owned()),
        };
        result
            .map_err(|reason| self.report(Diagnostic::error(inner.span, reason)))
            .ok()
    }

    /// A pseudo-variable as an expression.
    pub(super) fn pv_expr(&mut self, pv: &ast::Pv) -> Option<Expr> {
        let compiled = self.pv(pv)?;
        Some(match compiled {
            Pv::Null if is_dollar(pv) => Expr::Const(Value::Str(self.pool.add(b"$"))),
            Pv::Null => Expr::Const(Value::Null),
            pv => Expr::Pv(pv),
        })
    }

    /// A pseudo-variable to be written.
    pub(super) fn target(&mut self, pv: &ast::Pv) -> Option<Lvalue> {
        let def = self.find_pv(pv)?;
        if let Some(transformation) = pv.transformations.first() {
            self.report(
                Diagnostic::error(
                    transformation.name.span,
                    "what is transformed can't be written",
                )
                .label("expected no transformation"),
            );
            return None;
        }
        if !def.is_writable() {
            self.report(
                Diagnostic::error(pv.span, format!("${} can't be written", def.name))
                    .help("keep the value in a $var(name) or an $avp(name)"),
            );
            return None;
        }
        if def.is_sip && self.in_hook() {
            self.report(
                Diagnostic::warning(pv.span, format!("writing ${} does nothing here", def.name))
                    .help("what event_route[network:msg] changes, it leaves in the AVP of msg_avp"),
            );
        }
        match &def.form {
            Form::Null | Form::Dollar | Form::Message => None,
            Form::Var => {
                let name = self.inner_name(pv)?;
                Some(Lvalue::Var(self.var(&name, pv.span)?))
            }
            Form::Avp => {
                let name = self.inner_name(pv)?;
                let id = self.avp(&name, pv.span)?;
                match pv.index.as_ref().map(|index| (&index.kind, index.span)) {
                    None => Some(Lvalue::Avp(id)),
                    Some((PvIndex::All, _)) => Some(Lvalue::AvpAll(id)),
                    Some((_, span)) => {
                        self.report(
                            Diagnostic::error(span, "one value among several can't be replaced")
                                .label("expected no index, or [*]"),
                        );
                        None
                    }
                }
            }
            Form::Plain { write, .. } => write.map(Lvalue::Plain),
            Form::Named { names, write, .. } => {
                let name = self.computed_name(pv, names)?;
                write.map(|write| Lvalue::Named(write, Box::new(name)))
            }
        }
    }

    /// A string in which pseudo-variables are replaced by their values.
    pub(super) fn format(&mut self, text: &Str) -> Option<Expr> {
        let bytes = &text.kind.value;
        let mut pieces = Vec::new();
        let mut literal: Vec<u8> = Vec::new();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if *byte != b'$' {
                literal.push(*byte);
                at += 1;
                continue;
            }
            let (pv, after) = match parse_pv(text, at) {
                Ok(found) => found,
                Err(diagnostic) => {
                    self.report(diagnostic);
                    return None;
                }
            };
            at = after;
            match self.pv(&pv)? {
                Pv::Null if is_dollar(&pv) => literal.push(b'$'),
                pv => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(self.pool.add(&literal)));
                        literal.clear();
                    }
                    pieces.push(Piece::Pv(pv));
                }
            }
        }
        if pieces.is_empty() {
            return Some(Expr::Const(Value::Str(self.pool.add(&literal))));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(self.pool.add(&literal)));
        }
        Some(Expr::Format(pieces.into()))
    }

    /// A string in an expression, where Kamailio replaces nothing: a warning if it looks as if
    /// that were expected.
    pub(super) fn plain_string(&mut self, text: &Str) -> Expr {
        let bytes = &text.kind.value;
        for at in memchr::memchr_iter(b'$', bytes) {
            if let Ok((pv, _)) = parse_pv(text, at)
                && pv.name.kind != "$"
                && pv::find(&pv.name.kind).is_some()
            {
                self.report(
                    Diagnostic::warning(
                        pv.span,
                        format!("${} stays as it is written in this string", pv.name.kind),
                    )
                    .help(
                        "pseudo-variables are replaced in arguments of functions only, as in \
                         Kamailio; elsewhere join them with `+`",
                    ),
                );
                break;
            }
        }
        Expr::Const(Value::Str(self.pool.add(bytes)))
    }
}

/// Whether this is `$$`.
fn is_dollar(pv: &ast::Pv) -> bool {
    pv.name.kind == "$"
}

/// What stands in the parentheses, for a report.
fn words_of(def: &PvDef) -> &'static str {
    match &def.form {
        Form::Named {
            names: Names::Words(words),
            ..
        } => words.first().copied().unwrap_or("name"),
        _ => "name",
    }
}
