//! Evaluation of expressions.

use regex::bytes::Regex;

use super::exec::{Exec, Halt};
use crate::run::node::{Arg, Binary, Call, Expr, Index, Pattern, Piece, Pv, Transformation, Unary};
use crate::run::transform::{Arg as TransformArg, Input, MAX_ARGS, Output};
use crate::run::value::{Decimal, Source, StrRef, Value, integer};
use corex_sip::{Transport, Uri, host_ip};

impl Exec<'_> {
    /// Whether a condition is true by Kamailio's rules: the return code of a function or route, an
    /// integer, or a string that reads as one, is above 0. Here `+` adds integers, whatever its
    /// operands are.
    pub fn truth(&mut self, expr: &Expr) -> Result<bool, Halt> {
        match expr {
            Expr::Call(_) | Expr::Route(_) | Expr::Not(_) | Expr::And(_) | Expr::Or(_) => {
                self.holds(expr)
            }
            Expr::Binary(Binary::Add, pair) => {
                let left = self.eval(&pair.0)?;
                let right = self.eval(&pair.1)?;
                Ok(self.to_int(left).wrapping_add(self.to_int(right)) > 0)
            }
            _ => {
                let value = self.eval(expr)?;
                Ok(self.to_int(value) > 0)
            }
        }
    }

    /// Whether an operand of a logical operator is true: as [`Self::truth`], but any integer other
    /// than 0 is.
    fn holds(&mut self, expr: &Expr) -> Result<bool, Halt> {
        match expr {
            Expr::Call(call) => Ok(self.call(call)? > 0),
            Expr::Route(route) => Ok(self.route(*route)? > 0),
            Expr::Not(_) | Expr::And(_) | Expr::Or(_) => {
                self.deeper()?;
                let truth = match expr {
                    Expr::Not(operand) => !self.holds(operand)?,
                    Expr::And(pair) => self.holds(&pair.0)? && self.holds(&pair.1)?,
                    Expr::Or(pair) => self.holds(&pair.0)? || self.holds(&pair.1)?,
                    _ => false,
                };
                self.rt.depth -= 1;
                Ok(truth)
            }
            _ => {
                let value = self.eval(expr)?;
                Ok(self.to_int(value) != 0)
            }
        }
    }

    /// The value of an expression.
    pub fn eval(&mut self, expr: &Expr) -> Result<Value, Halt> {
        match expr {
            Expr::Const(value) => return Ok(*value),
            Expr::Pv(pv) => return self.pv(pv),
            _ => {}
        }
        self.deeper()?;
        let value = match expr {
            Expr::Const(value) => *value,
            Expr::Pv(pv) => self.pv(pv)?,
            Expr::Format(pieces) => self.format(pieces)?,
            Expr::Call(call) => Value::Int(self.call(call)?),
            Expr::Route(route) => Value::Int(self.route(*route)?),
            Expr::Not(_) | Expr::And(_) | Expr::Or(_) => self.holds(expr)?.into(),
            Expr::Unary(op, operand) => {
                let value = self.eval(operand)?;
                self.unary(*op, value)?
            }
            Expr::Binary(op, pair) => {
                let left = self.eval(&pair.0)?;
                let right = self.eval(&pair.1)?;
                self.binary(*op, left, right)?
            }
            Expr::Match {
                subject,
                pattern,
                negated,
            } => {
                let value = self.eval(subject)?;
                let string = self.rt.store.string(value)?;
                (self.matches(string, pattern)? != *negated).into()
            }
            Expr::InNetwork {
                subject,
                network,
                prefix,
                negated,
            } => {
                let inside = match self.eval(subject)? {
                    Value::Str(string) => host_ip(self.bytes(string))
                        .is_some_and(|ip| super::operate::in_network(ip, *network, *prefix)),
                    _ => false,
                };
                (inside != *negated).into()
            }
            Expr::Myself {
                subject,
                is_uri,
                negated,
            } => {
                let myself = match self.eval(subject)? {
                    Value::Str(string) => self.is_myself(string, *is_uri),
                    _ => false,
                };
                (myself != *negated).into()
            }
        };
        self.rt.depth -= 1;
        Ok(value)
    }

    /// Whether a URI, or a host, is this proxy.
    pub fn is_myself(&self, string: StrRef, is_uri: bool) -> bool {
        let bytes = self.bytes(string);
        if !is_uri {
            return self.host.is_myself(bytes, 0, None);
        }
        Uri::parse(bytes).is_ok_and(|uri| {
            // Kamailio leaves the transport out, and takes 5060 where there is no port.
            let port = uri.port.filter(|port| *port != 0);
            let port = port.unwrap_or(Transport::Udp.default_port());
            !uri.host.is_empty() && self.host.is_myself(uri.host, port, None)
        })
    }

    /// The value of an expression as a string: integers in decimal, `$null` empty.
    #[inline]
    pub fn eval_str(&mut self, expr: &Expr) -> Result<StrRef, Halt> {
        let value = self.eval(expr)?;
        Ok(self.rt.store.string(value)?)
    }

    /// An argument as a string.
    #[inline]
    pub fn arg_str(&mut self, args: &[Arg], at: usize) -> Result<StrRef, Halt> {
        match args.get(at) {
            Some(Arg::Value(expr)) => self.eval_str(expr),
            Some(Arg::Parsed(text, _)) => Ok(*text),
            _ => Ok(StrRef::EMPTY),
        }
    }

    /// An argument as an integer: 0 where there is none, and for what is no number.
    pub fn arg_int(&mut self, args: &[Arg], at: usize) -> Result<i64, Halt> {
        match args.get(at) {
            Some(Arg::Value(expr)) => {
                let value = self.eval(expr)?;
                Ok(self.to_int(value))
            }
            Some(Arg::Parsed(text, _)) => Ok(self.to_int(Value::Str(*text))),
            _ => Ok(0),
        }
    }

    /// A value as an integer: `$null` and what is no number are 0.
    pub fn to_int(&self, value: Value) -> i64 {
        self.number(value).unwrap_or(0)
    }

    /// A value as an integer, if it is one.
    pub fn number(&self, value: Value) -> Option<i64> {
        match value {
            Value::Null => Some(0),
            Value::Int(number) => Some(number),
            Value::Str(string) => integer(self.bytes(string)),
        }
    }

    fn call(&mut self, call: &Call) -> Result<i64, Halt> {
        let code = (call.handler)(self, &call.args)?;
        self.returned(code)
    }

    /// Calls a route block.
    pub fn route(&mut self, route: u16) -> Result<i64, Halt> {
        self.deeper()?;
        let line = self.line;
        let code = self.run(route)?;
        self.line = line;
        self.rt.depth -= 1;
        self.returned(code)
    }

    /// In Kamailio 0 ends the script.
    fn returned(&mut self, code: i64) -> Result<i64, Halt> {
        self.code = code;
        if code == 0 {
            return Err(Halt::Exit);
        }
        Ok(code)
    }

    /// The value of a pseudo-variable.
    pub fn pv(&mut self, pv: &Pv) -> Result<Value, Halt> {
        match pv {
            Pv::Null => Ok(Value::Null),
            Pv::Message => Ok(Value::Str(self.whole_message())),
            Pv::Plain(read) => read(self),
            Pv::Var(id) => Ok(self.rt.store.var(*id)),
            Pv::Avp(id, index) => {
                let index = self.index(index)?;
                Ok(self.rt.store.avp(*id, index))
            }
            Pv::Named(named) => {
                let name = self.eval_str(&named.name)?;
                let index = self.index(&named.index)?;
                (named.read)(self, name, index)
            }
            Pv::Transformed(plain, transforms) => {
                self.deeper()?;
                let mut value = self.pv(plain)?;
                for transform in transforms {
                    value = self.transform(transform, value)?;
                }
                self.rt.depth -= 1;
                Ok(value)
            }
        }
    }

    fn index(&mut self, index: &Index) -> Result<i64, Halt> {
        match index {
            Index::At(at) => Ok(*at),
            Index::Dynamic(index) => {
                let index = self.eval(index)?;
                Ok(self.to_int(index))
            }
        }
    }

    /// The values of a transformation's arguments.
    fn transform_args(
        &mut self,
        transformation: &Transformation,
    ) -> Result<[Value; MAX_ARGS], Halt> {
        let mut values = [Value::Null; MAX_ARGS];
        let args = transformation.transform.args().iter();
        for (arg, value) in args.zip(&mut values) {
            if let TransformArg::Pv(number) = arg
                && let Some(pv) = transformation.variables.get(usize::from(*number))
            {
                *value = self.pv(pv)?;
            }
        }
        Ok(values)
    }

    /// Calls `edit` with each place in `text` that a substitution changes, and what comes there.
    pub fn substitutions(
        &mut self,
        transformation: &Transformation,
        text: &[u8],
        mut edit: impl FnMut(std::ops::Range<usize>, &[u8]),
    ) -> Result<(), Halt> {
        let values = self.transform_args(transformation)?;
        let mut out = std::mem::take(&mut self.rt.transformed);
        let input = |value| match value {
            Value::Null => Input::Null,
            Value::Int(number) => Input::Int(number),
            Value::Str(string) => Input::Str(self.bytes(string)),
        };
        let transform = &transformation.transform;
        let result = transform.each_match(text, &values.map(input), &mut out, &mut edit);
        self.rt.transformed = out;
        if let Err(error) = result {
            self.complain(format_args!("substitution: {error}"));
        }
        Ok(())
    }

    /// Applies one transformation. What the script is to blame for is logged, and yields `$null`.
    fn transform(&mut self, transformation: &Transformation, value: Value) -> Result<Value, Halt> {
        let values = self.transform_args(transformation)?;
        let mut out = std::mem::take(&mut self.rt.transformed);
        out.clear();
        let transform = &transformation.transform;
        let result = {
            let input = |value| match value {
                Value::Null => Input::Null,
                Value::Int(number) => Input::Int(number),
                Value::Str(string) => Input::Str(self.bytes(string)),
            };
            transform.apply(input(value), &values.map(input), &mut out)
        };
        let appended = match result {
            Ok(Output::Appended) => {
                let mark = self.rt.store.mark();
                self.rt.store.push(&out).map(|()| self.rt.store.since(mark))
            }
            Ok(Output::Null) => Ok(Value::Null),
            Ok(Output::Int(number)) => Ok(Value::Int(number)),
            Ok(Output::Part(range)) => Ok(match value {
                Value::Str(string) => Value::Str(StrRef {
                    offset: string.offset + range.start as u32,
                    len: range.len() as u32,
                    ..string
                }),
                value => value,
            }),
            Err(error) => {
                self.complain(format_args!("{{{}}}: {error}", transform.name()));
                Ok(Value::Null)
            }
        };
        self.rt.transformed = out;
        Ok(appended?)
    }

    /// Text with pseudo-variables; one without a value reads `<null>`, as in Kamailio.
    fn format(&mut self, pieces: &[Piece]) -> Result<Value, Halt> {
        if let [Piece::Pv(pv)] = pieces {
            return self.pv(pv);
        }
        let start = self.rt.store.mark();
        for piece in pieces {
            let before = self.rt.store.mark();
            let value = match piece {
                Piece::Text(text) => Value::Str(*text),
                Piece::Pv(pv) => self.pv(pv)?,
            };
            let after = self.rt.store.mark();
            match value {
                Value::Null => self.rt.store.push(b"<null>")?,
                Value::Int(number) => self.rt.store.push(Decimal::new(number).bytes())?,
                // It was made just now, in its place.
                Value::Str(StrRef {
                    source: Source::Arena,
                    offset,
                    len,
                }) if offset as usize == before && before + len as usize == after => continue,
                Value::Str(string) => self.push(string)?,
            }
            self.rt.store.cut(before, after);
        }
        Ok(self.rt.store.since(start))
    }

    /// Appends a string to the arena.
    pub fn push(&mut self, string: StrRef) -> Result<(), Halt> {
        let (pool, message) = (&self.program.pool, self.message);
        Ok(self.rt.store.push_str(string, pool, message)?)
    }

    /// Calls `with` with a pattern and the message; `None` if it is no regular expression.
    pub fn with_regex<R>(
        &mut self,
        pattern: &Pattern,
        with: impl FnOnce(&Regex, &[u8]) -> R,
    ) -> Result<Option<R>, Halt> {
        match pattern {
            Pattern::Compiled(at) => {
                let regex = self.rt.regexes.get(usize::from(*at));
                Ok(regex.map(|regex| with(regex, self.message)))
            }
            Pattern::Dynamic(expr) => {
                let text = self.eval_str(expr)?;
                let mut patterns = std::mem::take(&mut self.rt.patterns);
                let mut wrong = None;
                let result = patterns
                    .get(self.bytes(text), |reason| wrong = Some(reason))
                    .map(|regex| with(regex, self.message));
                self.rt.patterns = patterns;
                if let Some(reason) = wrong {
                    self.complain(format_args!(
                        "no regular expression, so nothing matches it: {reason}"
                    ));
                }
                Ok(result)
            }
        }
    }

    /// Whether a pattern is found in a string.
    pub fn matches(&mut self, string: StrRef, pattern: &Pattern) -> Result<bool, Halt> {
        match pattern {
            Pattern::Compiled(at) => {
                let regex = self.rt.regexes.get(usize::from(*at));
                Ok(regex.is_some_and(|regex| regex.is_match(self.bytes(string))))
            }
            Pattern::Dynamic(expr) => {
                let text = self.eval_str(expr)?;
                let mut patterns = std::mem::take(&mut self.rt.patterns);
                let mut wrong = None;
                let found = patterns
                    .get(self.bytes(text), |reason| wrong = Some(reason))
                    .is_some_and(|regex| regex.is_match(self.bytes(string)));
                self.rt.patterns = patterns;
                if let Some(reason) = wrong {
                    self.complain(format_args!(
                        "no regular expression, so nothing matches it: {reason}"
                    ));
                }
                Ok(found)
            }
        }
    }

    pub(super) fn unary(&mut self, op: Unary, value: Value) -> Result<Value, Halt> {
        Ok(match op {
            Unary::Negate => Value::Int(self.to_int(value).wrapping_neg()),
            Unary::BitNot => Value::Int(!self.to_int(value)),
            Unary::ToInt => Value::Int(self.to_int(value)),
            Unary::ToStr => Value::Str(self.rt.store.string(value)?),
            Unary::Defined => (value != Value::Null).into(),
            Unary::StrLen => Value::Int(self.rt.store.string(value)?.len.into()),
            Unary::StrEmpty => (self.rt.store.string(value)?.len == 0).into(),
        })
    }
}
