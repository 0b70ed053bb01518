//! Expressions.

use super::Checker;
use crate::nearest::nearest;
use crate::run::node::{Binary, Expr, Pattern, Pv, Unary};
use crate::run::pattern::{LINES, regex};
use crate::run::pv::{self, Form};
use crate::run::value::Value;
use crate::syntax::ast::{self, BinaryOp, ExprKind, Node, UnaryOp};
use crate::syntax::diag::Diagnostic;
use crate::syntax::span::Span;
use corex_sip::Transport;

/// Words that stand for pseudo-variables, as in Kamailio's older conditions.
const WORDS: &[(&str, &str)] = &[
    ("method", "rm"),
    ("uri", "ru"),
    ("from_uri", "fu"),
    ("to_uri", "tu"),
    ("status", "rs"),
    ("src_ip", "si"),
    ("src_port", "sp"),
    ("dst_ip", "Ri"),
    ("dst_port", "Rp"),
    ("proto", "proto"),
    ("msg:len", "ml"),
    ("retcode", "rc"),
];

impl Checker {
    pub(super) fn expr(&mut self, expr: &ast::Expr) -> Option<Expr> {
        match &expr.kind {
            ExprKind::Int(number) => Some(Expr::Const(Value::Int(*number))),
            ExprKind::Str(text) => Some(self.plain_string(&Node::new(text.clone(), expr.span))),
            ExprKind::Ip { address, .. } => {
                let text = self.pool.add(address.to_string().as_bytes());
                Some(Expr::Const(Value::Str(text)))
            }
            ExprKind::Word(word) => self.word(word, expr.span),
            ExprKind::Pv(pv) => self.pv_expr(pv),
            ExprKind::Select(_) => {
                self.report(
                    Diagnostic::error(expr.span, "selects are not supported")
                        .help("use a pseudo-variable: $ru, $fu, $tu, $ci, $ua …"),
                );
                None
            }
            ExprKind::Call(call) => self.call(call, expr.span),
            ExprKind::Unary { op, operand } => {
                let operand = self.expr(operand)?;
                let op = match op.kind {
                    UnaryOp::Not => return Some(Expr::Not(Box::new(operand))),
                    UnaryOp::Negate => Unary::Negate,
                    UnaryOp::BitNot => Unary::BitNot,
                    UnaryOp::ToInt => Unary::ToInt,
                    UnaryOp::ToStr => Unary::ToStr,
                    UnaryOp::Defined => Unary::Defined,
                    UnaryOp::StrLen => Unary::StrLen,
                    UnaryOp::StrEmpty => Unary::StrEmpty,
                };
                if let (Unary::Negate, Expr::Const(Value::Int(number))) = (op, &operand) {
                    return Some(Expr::Const(Value::Int(number.wrapping_neg())));
                }
                Some(Expr::Unary(op, Box::new(operand)))
            }
            ExprKind::Binary { op, left, right } => self.binary(op, left, right),
        }
    }

    fn word(&mut self, word: &str, span: Span) -> Option<Expr> {
        let variable = WORDS.iter().find(|(known, _)| *known == word);
        if let Some(def) = variable.and_then(|(_, name)| pv::find(name))
            && let Form::Plain { read, .. } = &def.form
        {
            return Some(Expr::Pv(Pv::Plain(*read)));
        }
        let diagnostic = Diagnostic::error(span, format!("`{word}` means nothing here"));
        let diagnostic = if word == "myself" {
            diagnostic.help("it can be compared only: uri == myself")
        } else if let Some(near) = nearest(word, WORDS.iter().map(|(known, _)| *known)) {
            diagnostic.help(format!("did you mean `{near}`?"))
        } else {
            diagnostic.help("write a string in quotation marks, a function with parentheses")
        };
        self.report(diagnostic);
        None
    }

    fn binary(&mut self, op: &Node<BinaryOp>, left: &ast::Expr, right: &ast::Expr) -> Option<Expr> {
        let op = match op.kind {
            BinaryOp::Or | BinaryOp::And => {
                let (left, right) = (self.expr(left), self.expr(right));
                let pair = Box::new((left?, right?));
                return Some(match op.kind {
                    BinaryOp::Or => Expr::Or(pair),
                    _ => Expr::And(pair),
                });
            }
            BinaryOp::Match | BinaryOp::NotMatch => {
                let (subject, pattern) = (self.expr(left), self.pattern(right));
                return Some(Expr::Match {
                    subject: Box::new(subject?),
                    pattern: pattern?,
                    negated: op.kind == BinaryOp::NotMatch,
                });
            }
            BinaryOp::Equal | BinaryOp::NotEqual => {
                let negated = op.kind == BinaryOp::NotEqual;
                if let Some(special) = self.special_equal(left, right, negated) {
                    return special;
                }
                if negated {
                    Binary::NotEqual
                } else {
                    Binary::Equal
                }
            }
            BinaryOp::BitOr => Binary::BitOr,
            BinaryOp::BitAnd => Binary::BitAnd,
            BinaryOp::BitXor => Binary::BitXor,
            BinaryOp::ShiftLeft => Binary::ShiftLeft,
            BinaryOp::ShiftRight => Binary::ShiftRight,
            BinaryOp::StrEqual => Binary::StrEqual,
            BinaryOp::StrNotEqual => Binary::StrNotEqual,
            BinaryOp::IntEqual => Binary::IntEqual,
            BinaryOp::IntNotEqual => Binary::IntNotEqual,
            BinaryOp::Less => Binary::Less,
            BinaryOp::LessEqual => Binary::LessEqual,
            BinaryOp::Greater => Binary::Greater,
            BinaryOp::GreaterEqual => Binary::GreaterEqual,
            BinaryOp::Add => Binary::Add,
            BinaryOp::Sub => Binary::Sub,
            BinaryOp::Mul => Binary::Mul,
            BinaryOp::Div => Binary::Div,
            BinaryOp::Mod => Binary::Mod,
        };
        if let (Binary::Div | Binary::Mod, ExprKind::Int(0)) = (op, &right.kind) {
            self.report(Diagnostic::error(right.span, "this divides by zero"));
            return None;
        }
        let (left, right) = (self.expr(left), self.expr(right));
        Some(Expr::Binary(op, Box::new((left?, right?))))
    }

    /// Comparisons in which the right side isn't a value: `uri == myself`, `src_ip == 10.0.0.0/8`,
    /// `method == INVITE`, `proto == UDP`.
    fn special_equal(
        &mut self,
        left: &ast::Expr,
        right: &ast::Expr,
        negated: bool,
    ) -> Option<Option<Expr>> {
        match &right.kind {
            ExprKind::Word(word) if word == "myself" => {
                let is_uri = match &left.kind {
                    ExprKind::Word(word) => !matches!(word.as_str(), "src_ip" | "dst_ip"),
                    ExprKind::Pv(pv) => !matches!(pv.name.kind.as_str(), "si" | "Ri" | "rd"),
                    _ => true,
                };
                Some(self.expr(left).map(|subject| Expr::Myself {
                    subject: Box::new(subject),
                    is_uri,
                    negated,
                }))
            }
            ExprKind::Ip { address, prefix } => {
                let whole = if address.is_ipv4() { 32 } else { 128 };
                Some(self.expr(left).map(|subject| Expr::InNetwork {
                    subject: Box::new(subject),
                    network: *address,
                    prefix: prefix.unwrap_or(whole),
                    negated,
                }))
            }
            ExprKind::Word(word) => {
                let text = match &left.kind {
                    ExprKind::Word(subject) if subject == "method" => word.clone(),
                    ExprKind::Word(subject) if subject == "proto" => {
                        Transport::parse(word)?.to_string()
                    }
                    _ => return None,
                };
                let text = self.pool.add(text.as_bytes());
                let op = if negated {
                    Binary::NotEqual
                } else {
                    Binary::Equal
                };
                Some(self.expr(left).map(|subject| {
                    Expr::Binary(op, Box::new((subject, Expr::Const(Value::Str(text)))))
                }))
            }
            _ => None,
        }
    }

    /// A pattern for which `^` and `$` are a line's ends, and `.` is no line break.
    pub(super) fn line_pattern(&mut self, expr: &ast::Expr) -> Option<Pattern> {
        let ExprKind::Str(text) = &expr.kind else {
            let flags = Expr::Const(Value::Str(self.pool.add(LINES)));
            let pattern = self.expr(expr)?;
            let joined = Expr::Binary(Binary::Add, Box::new((flags, pattern)));
            return Some(Pattern::Dynamic(Box::new(joined)));
        };
        self.compiled(&[LINES, &text.value].concat(), expr.span)
    }

    /// The right side of `=~`.
    pub(super) fn pattern(&mut self, expr: &ast::Expr) -> Option<Pattern> {
        let ExprKind::Str(text) = &expr.kind else {
            return Some(Pattern::Dynamic(Box::new(self.expr(expr)?)));
        };
        self.compiled(&text.value, expr.span)
    }

    fn compiled(&mut self, text: &[u8], span: Span) -> Option<Pattern> {
        match regex(text) {
            Err(reason) => {
                self.report(
                    Diagnostic::error(span, format!("this is no regular expression: {reason}"))
                        .help("to match a sign that has a meaning there, put it in brackets: [.]"),
                );
                None
            }
            Ok(compiled) => {
                let known = self
                    .regexes
                    .iter()
                    .position(|known| known.as_str() == compiled.as_str());
                let at = known.unwrap_or(self.regexes.len());
                if known.is_none() {
                    self.regexes.push(compiled);
                }
                let at = u16::try_from(at).ok();
                self.too_many(at, span).map(Pattern::Compiled)
            }
        }
    }
}
