//! One run of the routes, of which nothing is known but the listener, the class of the source and
//! the kind of the message.

use std::net::SocketAddr;

use super::networks::Network;
use super::value::{Value, equal};
use super::{Hashed, Obstacle, Offload, Outcome, is_named, method};
use crate::function::Effect;
use crate::syntax::ast::{
    self, BinaryOp, Block, Call, CaseLabel, Expr, ExprKind, Pv, Stmt, StmtKind, UnaryOp,
};
use crate::syntax::span::Span;
use corex_common::road::{MAX_ROAD_CHOICES, METHODS, OTHER, REPLY};

/// Statements and expressions that one run takes at most: scripts beyond are for user space.
const MAX_STEPS: u32 = 20_000;
/// How deep calls of routes and expressions nest.
const MAX_DEPTH: u32 = 200;

/// What ends a run before its end.
pub(super) enum Stop {
    /// What XDP can't know or do.
    Obstacle(Obstacle),
    /// A hash with so many values decides, where the value wasn't known.
    Hash(Hashed, u32, Span),
    /// `exit` or `drop`.
    End { is_drop: bool },
}

#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Return(i64),
}

pub(super) struct Run<'a> {
    offload: &'a Offload,
    local: SocketAddr,
    source: Network,
    kind: usize,
    /// What the hash is of, how many values it has, and which one it is.
    hash: Option<(Hashed, u32, u32)>,
    sent: Option<SocketAddr>,
    steps: u32,
    depth: u32,
    /// `$rc`.
    code: i64,
}

type Result<T> = std::result::Result<T, Stop>;

impl<'a> Run<'a> {
    pub fn new(
        offload: &'a Offload,
        local: SocketAddr,
        source: Network,
        kind: usize,
        hash: Option<(Hashed, u32, u32)>,
    ) -> Run<'a> {
        Run {
            offload,
            local,
            source,
            kind,
            hash,
            sent: None,
            steps: 0,
            depth: 0,
            code: 1,
        }
    }

    /// What becomes of the messages.
    pub fn outcome(mut self) -> Result<Outcome> {
        if method(self.kind) == Some(b"ACK")
            && let Some(module) = self.offload.absorbs()
        {
            return Err(self.stop(
                Span::NONE,
                format!("the module {module} looks whether an ACK is for a reply of ours"),
                "leave the module out, if nothing here replies",
            ));
        }
        let route = self.offload.main_route(self.kind);
        let is_drop = match route.map_or(Ok(Flow::Next), |route| self.block(&route.body)) {
            Ok(_) => false,
            Err(Stop::End { is_drop }) => is_drop,
            Err(stop) => return Err(stop),
        };
        if self.kind == REPLY && !is_drop && self.offload.acts_on_replies() {
            let span = route.map_or(Span::NONE, |route| route.kind.span);
            return Err(self.stop(
                span,
                "a reply whose topmost Via is ours goes back by the next one".to_owned(),
                "end reply_route with drop, after send() too: reply_route { send(\"…\"); drop; }",
            ));
        }
        Ok(match self.sent {
            Some(to) => Outcome::Send(to),
            None if is_drop => Outcome::Drop,
            None => Outcome::Unrouted,
        })
    }

    fn stop(&self, span: Span, reason: String, remedy: &str) -> Stop {
        Stop::Obstacle(self.offload.obstacle(span, reason, remedy))
    }

    fn unknown(&self, span: Span) -> Stop {
        let text: String = self.offload.sources.text(span).chars().take(60).collect();
        self.stop(
            span,
            format!("`{text}` isn't known before the message is read"),
            "decide by the source address or network, the method, or what listens, before this",
        )
    }

    fn step(&mut self, span: Span) -> Result<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.depth > MAX_DEPTH {
            return Err(self.stop(
                span,
                "the routes take too many steps".to_owned(),
                "put what is simple first",
            ));
        }
        Ok(())
    }

    fn block(&mut self, block: &Block) -> Result<Flow> {
        self.depth += 1;
        let flow = self.statements(&block.statements)?;
        self.depth -= 1;
        Ok(flow)
    }

    fn statements(&mut self, statements: &[Stmt]) -> Result<Flow> {
        for statement in statements {
            let flow = self.statement(statement)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, statement: &Stmt) -> Result<Flow> {
        self.step(statement.span)?;
        match &statement.kind {
            StmtKind::Block(block) => self.block(block),
            StmtKind::If { arms, otherwise } => {
                for arm in arms {
                    if self.truth(&arm.condition)? {
                        return self.block(&arm.body);
                    }
                }
                match otherwise {
                    Some(block) => self.block(block),
                    None => Ok(Flow::Next),
                }
            }
            StmtKind::Switch { subject, cases } => self.switch(subject, cases),
            StmtKind::Break => Ok(Flow::Break),
            StmtKind::Return(None) => Ok(Flow::Return(1)),
            StmtKind::Return(Some(value)) => {
                let value = self.eval(value)?;
                Ok(Flow::Return(self.int(&value, statement.span)?))
            }
            StmtKind::Exit(_) => Err(Stop::End { is_drop: false }),
            StmtKind::Drop(_) => Err(Stop::End { is_drop: true }),
            StmtKind::Expr(expr) => {
                self.eval(expr)?;
                Ok(Flow::Next)
            }
            StmtKind::While { .. } => Err(self.stop(
                statement.span,
                "a loop".to_owned(),
                "write what comes before this without it",
            )),
            StmtKind::Assign { .. } => Err(self.stop(
                statement.span,
                "variables are kept in user space".to_owned(),
                "send, exit or drop before this, or in the condition itself",
            )),
        }
    }

    fn switch(&mut self, subject: &Expr, cases: &[ast::Case]) -> Result<Flow> {
        let value = self.eval(subject)?;
        let mut start = None;
        for (at, case) in cases.iter().enumerate() {
            match &case.label.kind {
                CaseLabel::Value(label) => {
                    let known = self.eval(label)?;
                    if self.equal(&value, &known, label.span)? {
                        start = Some(at);
                        break;
                    }
                }
                CaseLabel::Regex(pattern) => return Err(self.unknown(pattern.span)),
                CaseLabel::Default => {}
            }
        }
        let default = || {
            let is_default = |case: &ast::Case| case.label.kind == CaseLabel::Default;
            cases.iter().rposition(is_default)
        };
        let Some(start) = start.or_else(default) else {
            return Ok(Flow::Next);
        };
        for case in cases.iter().skip(start) {
            match self.statements(&case.statements)? {
                Flow::Next => {}
                Flow::Break => return Ok(Flow::Next),
                flow @ Flow::Return(_) => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    /// As the interpreter has it.
    fn truth(&mut self, expr: &Expr) -> Result<bool> {
        match &expr.kind {
            ExprKind::Call(_) => self.holds(expr),
            ExprKind::Unary { op, .. } if op.kind == UnaryOp::Not => self.holds(expr),
            ExprKind::Binary { op, .. } if matches!(op.kind, BinaryOp::And | BinaryOp::Or) => {
                self.holds(expr)
            }
            _ => {
                let value = self.eval(expr)?;
                Ok(self.int(&value, expr.span)? > 0)
            }
        }
    }

    fn holds(&mut self, expr: &Expr) -> Result<bool> {
        self.step(expr.span)?;
        self.depth += 1;
        let holds = match &expr.kind {
            ExprKind::Call(call) => self.call(call, expr.span)? > 0,
            ExprKind::Unary { op, operand } if op.kind == UnaryOp::Not => !self.holds(operand)?,
            ExprKind::Binary { op, left, right } if op.kind == BinaryOp::And => {
                self.holds(left)? && self.holds(right)?
            }
            ExprKind::Binary { op, left, right } if op.kind == BinaryOp::Or => {
                self.holds(left)? || self.holds(right)?
            }
            _ => {
                let value = self.eval(expr)?;
                self.int(&value, expr.span)? != 0
            }
        };
        self.depth -= 1;
        Ok(holds)
    }

    fn eval(&mut self, expr: &Expr) -> Result<Value> {
        self.step(expr.span)?;
        self.depth += 1;
        let value = match &expr.kind {
            ExprKind::Int(number) => Value::Int(*number),
            ExprKind::Str(text) => Value::Str(text.value.clone()),
            ExprKind::Word(word) => self.word(word, expr.span)?,
            ExprKind::Pv(pv) => self.pv(pv)?,
            ExprKind::Call(call) => Value::Int(self.call(call, expr.span)?),
            ExprKind::Unary { op, .. } if op.kind == UnaryOp::Not => {
                Value::Int(self.holds(expr)?.into())
            }
            ExprKind::Unary { op, operand } if op.kind == UnaryOp::Negate => {
                let value = self.eval(operand)?;
                Value::Int(self.int(&value, operand.span)?.wrapping_neg())
            }
            ExprKind::Binary { op, left, right } => match op.kind {
                BinaryOp::And | BinaryOp::Or => Value::Int(self.holds(expr)?.into()),
                BinaryOp::Equal => Value::Int(self.compare(left, right)?.into()),
                BinaryOp::NotEqual => Value::Int((!self.compare(left, right)?).into()),
                _ => return Err(self.unknown(expr.span)),
            },
            _ => return Err(self.unknown(expr.span)),
        };
        self.depth -= 1;
        Ok(value)
    }

    /// `==`.
    fn compare(&mut self, left: &Expr, right: &Expr) -> Result<bool> {
        match &right.kind {
            ExprKind::Ip { address, prefix } => match self.eval(left)? {
                Value::Source => Ok(self.source.is_in(*address, *prefix)),
                Value::Address(own) => Ok(Network::of(own, None).is_in(*address, *prefix)),
                _ => Err(self.unknown(left.span)),
            },
            ExprKind::Word(word) => match &left.kind {
                ExprKind::Word(subject) if subject == "method" && word != "myself" => {
                    let value = self.eval(left)?;
                    self.equal(&value, &Value::Str(word.clone().into_bytes()), right.span)
                }
                ExprKind::Word(subject) if subject == "proto" && word != "myself" => {
                    Ok(word.eq_ignore_ascii_case("udp"))
                }
                _ => Err(self.unknown(right.span)),
            },
            _ => {
                let (one, other) = (self.eval(left)?, self.eval(right)?);
                self.equal(&one, &other, left.span)
            }
        }
    }

    fn equal(&self, left: &Value, right: &Value, span: Span) -> Result<bool> {
        match (left, right) {
            (Value::Source, Value::Str(text)) => {
                let text = std::str::from_utf8(text).unwrap_or_default();
                Ok(match text.parse::<std::net::IpAddr>() {
                    // The source is written in one way only.
                    Ok(ip) if ip.to_string() == text => self.source.is_in(ip, None),
                    _ => false,
                })
            }
            (Value::Method, Value::Str(text)) => self.is_other(text, span),
            _ => equal(left, right).ok_or_else(|| self.unknown(span)),
        }
    }

    /// Whether a method that is none of those with a kind is this one.
    fn is_other(&self, name: &[u8], span: Span) -> Result<bool> {
        let is_named = METHODS.iter().any(|method| {
            method
                .strip_suffix(b" ")
                .is_some_and(|method| method.eq_ignore_ascii_case(name))
        });
        if is_named {
            Ok(false)
        } else {
            Err(self.unknown(span))
        }
    }

    fn int(&self, value: &Value, span: Span) -> Result<i64> {
        value.to_int().ok_or_else(|| self.unknown(span))
    }

    fn word(&mut self, word: &str, span: Span) -> Result<Value> {
        match word {
            "method" => self.variable("rm", span),
            "src_ip" => self.variable("si", span),
            "dst_ip" => self.variable("Ri", span),
            "dst_port" => self.variable("Rp", span),
            "proto" => self.variable("proto", span),
            "retcode" => self.variable("rc", span),
            _ => Err(self.unknown(span)),
        }
    }

    fn variable(&mut self, name: &str, span: Span) -> Result<Value> {
        Ok(match name {
            "si" => Value::Source,
            "Ri" => Value::Address(self.local.ip()),
            "Rp" => Value::Int(self.local.port().into()),
            "proto" | "pr" => Value::Str(b"udp".to_vec()),
            "rc" | "retcode" | "?" => Value::Int(self.code),
            "null" => Value::Null,
            "rm" if self.kind == OTHER => Value::Method,
            "rm" => match method(self.kind) {
                Some(method) => Value::Str(method.to_vec()),
                None => return Err(self.unknown(span)),
            },
            _ => return Err(self.unknown(span)),
        })
    }

    fn pv(&mut self, pv: &Pv) -> Result<Value> {
        if pv.inner.is_some() || pv.index.is_some() {
            return Err(self.unknown(pv.span));
        }
        let hashed = match pv.name.kind.as_str() {
            "si" if self.local.is_ipv4() => Some(Hashed::Source),
            "ci" => Some(Hashed::CallId),
            _ => None,
        };
        match (hashed, pv.transformations.as_slice()) {
            (_, []) => self.variable(&pv.name.kind, pv.span),
            (Some(of), [hash]) if hash.name.kind == "s.corehash" => self.hash(of, hash, pv.span),
            _ => Err(self.unknown(pv.span)),
        }
    }

    fn hash(&self, of: Hashed, hash: &ast::Transformation, span: Span) -> Result<Value> {
        let count = hash.args.as_ref().and_then(|args| args.kind.as_str());
        let count = count.and_then(|count| count.trim().parse::<u32>().ok());
        match (count, self.hash) {
            (Some(count), Some((known_of, known, value))) if (of, count) == (known_of, known) => {
                Ok(Value::Str(value.to_string().into_bytes()))
            }
            (Some(count), _)
                if count.is_power_of_two() && (2..=MAX_ROAD_CHOICES).contains(&count) =>
            {
                Err(Stop::Hash(of, count, span))
            }
            _ => Err(self.stop(
                span,
                "a hash of another size".to_owned(),
                "choose one of 2, 4, 8 or 16 by $(si{s.corehash,N}) or $(ci{s.corehash,N})",
            )),
        }
    }

    fn call(&mut self, call: &Call, span: Span) -> Result<i64> {
        let code = match call.name.kind.as_str() {
            "route" => self.route(call, span)?,
            name => self.function(name, call, span)?,
        };
        self.code = code;
        if code == 0 {
            return Err(Stop::End { is_drop: false });
        }
        Ok(code)
    }

    fn route(&mut self, call: &Call, span: Span) -> Result<i64> {
        let name = match call.args.first().map(|arg| &arg.kind) {
            Some(ExprKind::Word(word)) => word.clone(),
            Some(ExprKind::Int(number)) => number.to_string(),
            Some(ExprKind::Str(text)) => String::from_utf8_lossy(&text.value).into_owned(),
            _ => return Err(self.unknown(span)),
        };
        let Some(route) = self.offload.named_route(&name) else {
            return Err(self.unknown(span));
        };
        self.step(span)?;
        // A level of routes is worth several of expressions, as on the stack.
        self.depth += 8;
        let flow = self.block(&route.body)?;
        self.depth -= 8;
        Ok(match flow {
            Flow::Return(code) => code,
            Flow::Next | Flow::Break => 1,
        })
    }

    fn function(&mut self, name: &str, call: &Call, span: Span) -> Result<i64> {
        let found = self.offload.modules.find_function(name);
        let effect = found.and_then(|(module, function)| {
            let mut effects = module.effects.iter();
            effects.find(|(of, _)| *of == function.name)
        });
        let argument = call.args.first().map(|arg| &arg.kind);
        // A dollar sign begins a variable, or stands for itself where two are written.
        let text = match argument {
            Some(ExprKind::Str(text)) if !text.value.contains(&b'$') => Some(&text.value),
            _ => None,
        };
        match effect.map(|(_, effect)| effect) {
            Some(Effect::Send(destination)) => {
                let to = text.and_then(|text| destination(text));
                self.send(to, call, span)
            }
            Some(Effect::IsMethod) => match text {
                Some(text) => self.is_method(text, span),
                None => Err(self.unknown(span)),
            },
            None => Err(self.stop(
                span,
                format!("{name}() runs in user space"),
                "send, exit or drop before this, or call it for fewer messages",
            )),
        }
    }

    fn send(&mut self, to: Option<SocketAddr>, call: &Call, span: Span) -> Result<i64> {
        let name = &call.name.kind;
        let Some(to) = to else {
            return Err(self.stop(
                span,
                format!("where {name}() leads isn't a constant address"),
                "name an address: send(\"192.0.2.1:5060\")",
            ));
        };
        if self.sent.is_some() {
            return Err(self.stop(
                span,
                "the message is sent more than once".to_owned(),
                "exit after the first send()",
            ));
        }
        if to.is_ipv4() != self.local.is_ipv4() {
            return Err(self.stop(
                span,
                "another listen socket sends it, of the other address family".to_owned(),
                "send to an address of the same family",
            ));
        }
        let is_plain = match to {
            SocketAddr::V4(to) => {
                let ip = to.ip();
                !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast())
            }
            SocketAddr::V6(to) => {
                let ip = to.ip();
                !(ip.is_unspecified()
                    || ip.is_loopback()
                    || ip.is_multicast()
                    || ip.is_unicast_link_local()
                    || ip.to_ipv4_mapped().is_some())
            }
        };
        if !is_plain {
            return Err(self.stop(
                span,
                format!("{} isn't the address of one other host", to.ip()),
                "send to a unicast address",
            ));
        }
        self.sent = Some(to);
        Ok(1)
    }

    fn is_method(&self, list: &[u8], span: Span) -> Result<i64> {
        let mut methods = list.split(|byte| *byte == b'|').map(<[u8]>::trim_ascii);
        let is_one = if is_named(self.kind) {
            let own = method(self.kind).unwrap_or_default();
            methods.any(|one| one.eq_ignore_ascii_case(own))
        } else if self.kind == OTHER {
            let mut is_one = false;
            for one in methods {
                is_one |= self.is_other(one, span)?;
            }
            is_one
        } else {
            return Err(self.unknown(span));
        };
        Ok(if is_one { 1 } else { -1 })
    }
}
