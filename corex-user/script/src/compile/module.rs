//! `loadmodule` and `modparam`.

use super::Checker;
use super::review::Written;
use crate::function::{CORE, Modules, Parameter, ParameterKind, PartMistake};
use crate::nearest::nearest;
use crate::run::pv::Form;
use crate::syntax::ast::{ModParam, Node, ParamValue, Str};
use crate::syntax::diag::Diagnostic;
use crate::syntax::pv::parse_pv;
use crate::syntax::span::Span;

fn module_names(modules: Modules) -> String {
    let loadable = modules.iter().map(|module| module.name);
    let names: Vec<_> = loadable.filter(|name| *name != CORE).collect();
    names.join(", ")
}

impl Checker {
    pub(super) fn load_module(&mut self, name: &Str) {
        let text = String::from_utf8_lossy(&name.kind.value);
        let file = text.rsplit('/').next().unwrap_or_default();
        let short = file.strip_suffix(".so").unwrap_or(file);
        match self.modules.find(short) {
            Some(module) => {
                if self.is_loaded(module.name) {
                    self.report(Diagnostic::warning(
                        name.span,
                        format!("the module {short} is loaded already"),
                    ));
                } else {
                    self.loaded.push(module);
                }
            }
            None => {
                let mut diagnostic =
                    Diagnostic::error(name.span, format!("there is no module `{short}` here"))
                        .label(format!("expected one of {}", module_names(self.modules)));
                if let Some(near) = nearest(short, self.modules.iter().map(|module| module.name)) {
                    diagnostic = diagnostic.help(format!("did you mean \"{near}.so\"?"));
                }
                self.report(diagnostic);
            }
        }
    }

    pub(super) fn is_loaded(&self, name: &str) -> bool {
        name == CORE || self.loaded.iter().any(|module| module.name == name)
    }

    pub(super) fn mod_param(&mut self, param: &ModParam) {
        let Some(modules) = param.modules.kind.as_str() else {
            return self.report(Diagnostic::error(
                param.modules.span,
                "this names no module",
            ));
        };
        let mut at = 0;
        for name in modules.split('|') {
            let span = param
                .modules
                .kind
                .locate(at..at + name.len(), param.modules.span);
            at += name.len() + 1;
            let Some(module) = self.modules.find(name) else {
                self.report(
                    Diagnostic::error(span, format!("there is no module `{name}` here"))
                        .label(format!("expected one of {}", module_names(self.modules))),
                );
                continue;
            };
            if !self.is_loaded(name) {
                self.report(
                    Diagnostic::error(span, format!("the module {name} is not loaded"))
                        .help(format!("add the line: loadmodule \"{name}.so\"")),
                );
                continue;
            }
            let wanted = param.name.kind.as_str().unwrap_or_default();
            let found = module
                .parameters
                .iter()
                .find(|known| known.name == wanted || known.aliases.contains(&wanted));
            match found {
                Some(known) => self.set_param(module.name, known, &param.value),
                None => {
                    let known = || {
                        let all = module.parameters.iter();
                        all.flat_map(|p| std::iter::once(p.name).chain(p.aliases.iter().copied()))
                    };
                    let diagnostic = Diagnostic::error(
                        param.name.span,
                        format!("the module {name} has no parameter `{wanted}`"),
                    );
                    let names: Vec<_> = module.parameters.iter().map(|p| p.name).collect();
                    let diagnostic = match nearest(wanted, known()) {
                        Some(near) => diagnostic.help(format!("did you mean \"{near}\"?")),
                        None if names.is_empty() => diagnostic.label("it has none at all"),
                        None => diagnostic.help(format!("it has {}", names.join(", "))),
                    };
                    self.report(diagnostic);
                }
            }
        }
    }

    fn set_param(
        &mut self,
        module: &'static str,
        param: &'static Parameter,
        value: &Node<ParamValue>,
    ) {
        let name = param.name;
        match (param.kind, &value.kind) {
            (ParameterKind::Ignored, _) => {
                self.report(Diagnostic::warning(
                    value.span,
                    format!("{name} of {module} has no meaning here"),
                ));
                self.note_written(module, name, value, false);
            }
            (ParameterKind::Int { min, max, set }, ParamValue::Int(number)) => {
                if !(min..=max).contains(number) {
                    return self.report(
                        Diagnostic::error(value.span, format!("{name} is out of range"))
                            .label(format!("expected a number from {min} to {max}")),
                    );
                }
                set(&mut self.settings, *number);
                self.note_written(module, name, value, true);
            }
            (ParameterKind::Number { set, help }, ParamValue::Int(number)) => {
                let result = set(&mut self.settings, *number);
                self.note_written(module, name, value, result.is_ok());
                if let Err(reason) = result {
                    self.report(
                        Diagnostic::error(value.span, format!("{name}: {reason}")).help(help),
                    );
                }
            }
            (ParameterKind::Int { .. } | ParameterKind::Number { .. }, ParamValue::Str(_)) => self
                .report(
                    Diagnostic::error(value.span, format!("{name} takes a number"))
                        .label("expected a number, without quotation marks"),
                ),
            (
                ParameterKind::Text { .. }
                | ParameterKind::Notation { .. }
                | ParameterKind::MessageAvp,
                ParamValue::Int(_),
            ) => self.report(
                Diagnostic::error(value.span, format!("{name} takes a string"))
                    .label("expected a string in quotation marks"),
            ),
            (ParameterKind::Text { set, help }, ParamValue::Str(text)) => {
                let result = match text.as_str() {
                    Some(text) => set(&mut self.settings, text),
                    None => Err("it is not valid UTF-8".to_owned()),
                };
                self.note_written(module, name, value, result.is_ok());
                if let Err(reason) = result {
                    self.report(
                        Diagnostic::error(value.span, format!("{name}: {reason}")).help(help),
                    );
                }
            }
            (ParameterKind::Notation { set }, ParamValue::Str(text)) => {
                let result = match text.as_str() {
                    Some(text) => set(&mut self.settings, text),
                    None => Err(PartMistake {
                        part: 0..text.value.len(),
                        what: "it is not valid UTF-8".to_owned(),
                        help: "write it in UTF-8".to_owned(),
                    }),
                };
                self.note_written(module, name, value, result.is_ok());
                if let Err(PartMistake { part, what, help }) = result {
                    let span = text.locate(part, value.span);
                    self.report(Diagnostic::error(span, format!("{name}: {what}")).help(help));
                }
            }
            (ParameterKind::Name { set }, ParamValue::Int(number)) => {
                set(&mut self.settings, &number.to_string());
            }
            (ParameterKind::Name { set }, ParamValue::Str(text)) => match text.as_str() {
                Some(text) => set(&mut self.settings, text),
                None => self.report(
                    Diagnostic::error(value.span, format!("{name} is not valid UTF-8"))
                        .label("expected a name or a number"),
                ),
            },
            (ParameterKind::MessageAvp, ParamValue::Str(text)) => {
                self.set_msg_avp(&Node::new(text.clone(), value.span));
            }
        }
    }

    fn note_written(
        &mut self,
        module: &'static str,
        parameter: &'static str,
        value: &Node<ParamValue>,
        is_taken: bool,
    ) {
        self.written.push(Written {
            module,
            parameter,
            span: value.span,
            text: match &value.kind {
                ParamValue::Str(text) => Some(Node::new(text.clone(), value.span)),
                ParamValue::Int(_) => None,
            },
            is_taken,
        });
    }

    fn set_msg_avp(&mut self, text: &Str) {
        let wrong = |span: Span| {
            Diagnostic::error(span, "msg_avp takes the name of an AVP")
                .label("expected an AVP, as in \"$avp(msg)\"")
        };
        if text.kind.value.first() != Some(&b'$') {
            return self.report(wrong(text.span));
        }
        let (pv, after) = match parse_pv(text, 0) {
            Ok(found) => found,
            Err(diagnostic) => return self.report(diagnostic),
        };
        let is_avp =
            crate::run::pv::find(&pv.name.kind).is_some_and(|def| matches!(def.form, Form::Avp));
        if !is_avp || after != text.kind.value.len() || pv.index.is_some() {
            return self.report(wrong(text.span));
        }
        if let Some(name) = self.inner_name(&pv) {
            self.msg_avp = self.avp(&name, pv.span);
        }
    }
}
