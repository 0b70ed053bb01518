//! Calls of functions and of routes.

use super::Checker;
use crate::function::{Constant, ConstantCall, Function, Param, ParamKind};
use crate::nearest::nearest;
use crate::run::node::{Arg, Call, Expr, Lvalue, Transformation};
use crate::run::value::Value;
use crate::syntax::ast::{self, ExprKind, Node, UnaryOp};
use crate::syntax::diag::Diagnostic;
use crate::syntax::pv::parse_pv;
use crate::syntax::span::Span;

/// What takes any value.
const ANY: Param = Param {
    name: "value",
    kind: ParamKind::Value,
};

impl Checker {
    pub(super) fn call(&mut self, call: &ast::Call, span: Span) -> Option<Expr> {
        let name = call.name.kind.as_str();
        if name == "route" {
            return self.route_call(call);
        }
        let Some((module, function)) = self.modules.find_function(name) else {
            let mut diagnostic =
                Diagnostic::error(call.name.span, format!("there is no function {name}()"));
            let modules = self.modules;
            let known = || {
                modules.iter().flat_map(|module| {
                    let functions = module.functions.iter();
                    functions.flat_map(|f| std::iter::once(f.name).chain(f.aliases.iter().copied()))
                })
            };
            diagnostic = match (modules.find_absent(name), nearest(name, known())) {
                (Some(why), _) => diagnostic.help(why),
                (None, Some(near)) => diagnostic.help(format!("did you mean {near}()?")),
                (None, None) => {
                    diagnostic.help("`corex list functions` shows those that there are")
                }
            };
            self.report(diagnostic);
            return None;
        };
        if !self.is_loaded(module.name) {
            self.report(
                Diagnostic::error(
                    call.name.span,
                    format!(
                        "{name}() is in the module {}, which is not loaded",
                        module.name
                    ),
                )
                .help(format!("add the line: loadmodule \"{}.so\"", module.name)),
            );
        }
        self.uses.push((self.route, function, call.name.span));
        let Some(form) = function
            .forms
            .iter()
            .find(|form| form.len() == call.args.len())
        else {
            self.wrong_count(call, function, span);
            return None;
        };
        let mut args = Vec::new();
        for (arg, param) in call.args.iter().zip(*form) {
            args.push(self.arg(arg, param));
        }
        self.note_constants(call, function, &args);
        let args: Option<Box<[Arg]>> = args.into_iter().collect();
        Some(Expr::Call(Box::new(Call {
            handler: function.handler,
            args: args?,
        })))
    }

    fn note_constants(
        &mut self,
        call: &ast::Call,
        function: &'static Function,
        args: &[Option<Arg>],
    ) {
        let constant = |(arg, written): (&Option<Arg>, &ast::Expr)| {
            let constant = match arg {
                Some(Arg::Value(Expr::Const(Value::Str(text))) | Arg::Parsed(text, _)) => {
                    Constant::Str(text.of(&self.pool.bytes).to_vec())
                }
                Some(Arg::Value(Expr::Const(Value::Int(number)))) => Constant::Int(*number),
                _ => return None,
            };
            Some((constant, written.span))
        };
        let arguments: Vec<_> = args.iter().zip(&call.args).map(constant).collect();
        if arguments.iter().any(Option::is_some) {
            self.constant_calls.push(ConstantCall {
                function: function.name,
                arguments,
            });
        }
    }

    fn wrong_count(&mut self, call: &ast::Call, function: &Function, span: Span) {
        let name = &call.name.kind;
        let forms: Vec<String> = function
            .forms
            .iter()
            .map(|form| {
                let params: Vec<_> = form.iter().map(|param| param.name).collect();
                format!("{name}({})", params.join(", "))
            })
            .collect();
        let given = match call.args.len() {
            0 => "no arguments".to_owned(),
            1 => "1 argument".to_owned(),
            n => format!("{n} arguments"),
        };
        self.report(
            Diagnostic::error(span, format!("{name}() can't be called with {given}"))
                .label(format!("expected {}", forms.join(" or "))),
        );
    }

    fn arg(&mut self, arg: &ast::Expr, param: &Param) -> Option<Arg> {
        match param.kind {
            ParamKind::Value => match &arg.kind {
                ExprKind::Str(text) => self.format(&Node::new(text.clone(), arg.span)),
                _ => self.expr(arg),
            }
            .map(Arg::Value),
            ParamKind::Word => match &arg.kind {
                ExprKind::Word(word) => {
                    let text = self.pool.add(word.as_bytes());
                    Some(Arg::Value(Expr::Const(Value::Str(text))))
                }
                _ => self.arg(arg, &ANY),
            },
            ParamKind::Lines => self.line_pattern(arg).map(Arg::Pattern),
            ParamKind::Substitution => self
                .substitution(arg, param)
                .map(|it| Arg::Substitution(it.into())),
            ParamKind::Checked(check) => {
                let value = self.arg(arg, &ANY)?;
                if let Arg::Value(Expr::Const(Value::Str(text))) = &value
                    && let Err(reason) = check(text.of(&self.pool.bytes))
                {
                    self.report(
                        Diagnostic::error(
                            arg.span,
                            format!("this is none of the values of `{}`", param.name),
                        )
                        .label(reason),
                    );
                    return None;
                }
                Some(value)
            }
            ParamKind::Parsed(parse) => {
                let value = self.arg(arg, &ANY)?;
                if let Arg::Value(Expr::Const(Value::Str(text))) = &value
                    && let Some(parsed) = parse(text.of(&self.pool.bytes))
                {
                    return Some(Arg::Parsed(*text, parsed));
                }
                Some(value)
            }
            ParamKind::Target => self.target_arg(arg, param).map(|it| Arg::Target(it.into())),
            ParamKind::Choice { find, words } => {
                let text = match &arg.kind {
                    ExprKind::Str(text) => text.value.clone(),
                    ExprKind::Word(word) => word.clone().into_bytes(),
                    ExprKind::Int(number) => number.to_string().into_bytes(),
                    ExprKind::Unary { op, operand } => match (op.kind, &operand.kind) {
                        (UnaryOp::Negate, ExprKind::Int(number)) => {
                            format!("-{number}").into_bytes()
                        }
                        _ => Vec::new(),
                    },
                    _ => Vec::new(),
                };
                let found = find(&self.settings, &text);
                if found.is_none() {
                    self.report(
                        Diagnostic::error(
                            arg.span,
                            format!("this is none of the values of `{}`", param.name),
                        )
                        .label(format!("expected {}", words(&self.settings))),
                    );
                }
                found.map(Arg::Choice)
            }
        }
    }

    fn substitution(&mut self, arg: &ast::Expr, param: &Param) -> Option<Box<Transformation>> {
        let ExprKind::Str(text) = &arg.kind else {
            self.report(
                Diagnostic::error(
                    arg.span,
                    format!("`{}` must be a string literal", param.name),
                )
                .label("expected one, as in \"/old/new/g\""),
            );
            return None;
        };
        let transformation = ast::Transformation {
            name: Node::new("re.subst".to_owned(), arg.span),
            args: Some(Node::new(text.clone(), arg.span)),
        };
        match self.transformation(&transformation) {
            Ok(transformation) => Some(Box::new(transformation)),
            Err(diagnostic) => {
                self.report(diagnostic);
                None
            }
        }
    }

    fn target_arg(&mut self, arg: &ast::Expr, param: &Param) -> Option<Lvalue> {
        match &arg.kind {
            ExprKind::Pv(pv) => return self.target(pv),
            ExprKind::Str(text) if text.value.first() == Some(&b'$') => {
                match parse_pv(&Node::new(text.clone(), arg.span), 0) {
                    Ok((pv, after)) if after == text.value.len() => return self.target(&pv),
                    Ok(_) => {}
                    Err(diagnostic) => {
                        self.report(diagnostic);
                        return None;
                    }
                }
            }
            _ => {}
        }
        self.report(
            Diagnostic::error(
                arg.span,
                format!(
                    "`{}` must be a pseudo-variable that can be written",
                    param.name
                ),
            )
            .label("expected one, as in $avp(msg) or \"$avp(msg)\""),
        );
        None
    }

    fn route_call(&mut self, call: &ast::Call) -> Option<Expr> {
        let [arg] = call.args.as_slice() else {
            self.report(
                Diagnostic::error(call.name.span, "route() takes the name of one route block")
                    .label("expected route(NAME)"),
            );
            return None;
        };
        let name = match &arg.kind {
            ExprKind::Word(word) => word.clone(),
            ExprKind::Int(number) => number.to_string(),
            ExprKind::Str(text) if !text.value.contains(&b'$') => {
                String::from_utf8_lossy(&text.value).into_owned()
            }
            _ => {
                self.report(
                    Diagnostic::error(arg.span, "the name of a route can't be computed")
                        .label("expected the name itself"),
                );
                return None;
            }
        };
        match self.find_route(&name) {
            Some(callee) => {
                self.calls.push((self.route, callee));
                let id = u16::try_from(callee).ok();
                self.too_many(id, arg.span).map(Expr::Route)
            }
            None => {
                let diagnostic = Diagnostic::error(arg.span, format!("there is no route[{name}]"));
                let diagnostic = match nearest(&name, self.route_names()) {
                    Some(near) => diagnostic.help(format!("did you mean route({near})?")),
                    None => diagnostic.help(format!("add the block: route[{name}] {{ … }}")),
                };
                self.report(diagnostic);
                None
            }
        }
    }
}
