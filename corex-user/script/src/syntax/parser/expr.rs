//! Expressions, by precedence climbing. The levels are Kamailio's:
//!
//! | level | operators |
//! |---|---|
//! | 1 | `\|\|` `or` |
//! | 2 | `&&` `and` |
//! | 3 | `\|` |
//! | 4 | `&` |
//! | 5 | `^` |
//! | 6 | `<<` |
//! | 7 | `>>` |
//! | 8 | `==` `!=` `=~` `!~` `eq` `ne` `ieq` `ine` |
//! | 9 | `<` `<=` `>` `>=` |
//! | 10 | `+` `-` |
//! | 11 | `*` `/` `%` `mod` |
//!
//! Operators before an operand bind tighter than all of them. All operators group to the left.

use super::super::ast::MAX_EXPR_DEPTH;
use super::super::ast::{BinaryOp, Call, Expr, ExprKind, Name, Node, UnaryOp};
use super::super::diag::Diagnostic;
use super::super::token::{Punct, TokenKind};
use super::address::TRANSPORTS;
use super::{Failed, Parse, Parser};
use std::net::IpAddr;

/// Words that begin statements and so are never operands.
const RESERVED: [&str; 10] = [
    "if", "else", "while", "switch", "case", "default", "break", "return", "exit", "drop",
];

/// An expression and the depth of its tree.
type Deep = (Expr, usize);

impl BinaryOp {
    /// How tight it binds: the more, the tighter.
    pub(in super::super) fn level(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And => 2,
            BinaryOp::BitOr => 3,
            BinaryOp::BitAnd => 4,
            BinaryOp::BitXor => 5,
            BinaryOp::ShiftLeft => 6,
            BinaryOp::ShiftRight => 7,
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Match
            | BinaryOp::NotMatch
            | BinaryOp::StrEqual
            | BinaryOp::StrNotEqual
            | BinaryOp::IntEqual
            | BinaryOp::IntNotEqual => 8,
            BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => 9,
            BinaryOp::Add | BinaryOp::Sub => 10,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => 11,
        }
    }
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Parse<Expr> {
        Ok(self.binary(0)?.0)
    }

    fn operator(&self) -> Option<BinaryOp> {
        Some(match self.kind(0) {
            TokenKind::Punct(punct) => match punct {
                Punct::Or => BinaryOp::Or,
                Punct::And => BinaryOp::And,
                Punct::BitOr => BinaryOp::BitOr,
                Punct::BitAnd => BinaryOp::BitAnd,
                Punct::BitXor => BinaryOp::BitXor,
                Punct::ShiftLeft => BinaryOp::ShiftLeft,
                Punct::ShiftRight => BinaryOp::ShiftRight,
                Punct::Equal => BinaryOp::Equal,
                Punct::NotEqual => BinaryOp::NotEqual,
                Punct::Match => BinaryOp::Match,
                Punct::NotMatch => BinaryOp::NotMatch,
                Punct::Less => BinaryOp::Less,
                Punct::LessEqual => BinaryOp::LessEqual,
                Punct::Greater => BinaryOp::Greater,
                Punct::GreaterEqual => BinaryOp::GreaterEqual,
                Punct::Plus => BinaryOp::Add,
                Punct::Minus => BinaryOp::Sub,
                Punct::Star => BinaryOp::Mul,
                Punct::Slash => BinaryOp::Div,
                Punct::Percent => BinaryOp::Mod,
                _ => return None,
            },
            TokenKind::Word(word) => match word.as_str() {
                "or" => BinaryOp::Or,
                "and" => BinaryOp::And,
                "mod" => BinaryOp::Mod,
                "eq" => BinaryOp::StrEqual,
                "ne" => BinaryOp::StrNotEqual,
                "ieq" => BinaryOp::IntEqual,
                "ine" => BinaryOp::IntNotEqual,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn binary(&mut self, weakest: u8) -> Parse<Deep> {
        self.nested(|parser| {
            let (mut left, mut depth) = parser.unary()?;
            while let Some(op) = parser.operator()
                && op.level() >= weakest
            {
                parser.bump();
                let op = Node::new(op, parser.previous);
                let (right, right_depth) = parser.binary(op.kind.level() + 1)?;
                depth = parser.deeper(depth.max(right_depth))?;
                let span = left.span.to(right.span);
                let kind = ExprKind::Binary {
                    op,
                    left: Box::new(left),
                    right: Box::new(right),
                };
                left = Expr::new(kind, span);
            }
            Ok((left, depth))
        })
    }

    fn deeper(&mut self, depth: usize) -> Parse<usize> {
        if depth < MAX_EXPR_DEPTH {
            return Ok(depth + 1);
        }
        let diagnostic = Diagnostic::error(
            self.previous,
            format!("an expression has more than {MAX_EXPR_DEPTH} operators in a row"),
        )
        .help("divide it, and keep the parts in variables");
        self.fail(diagnostic)
    }

    /// The operator before an operand that is here, and the number of its tokens.
    fn prefix(&self) -> Option<(UnaryOp, usize)> {
        Some(match self.kind(0) {
            TokenKind::Punct(Punct::Not) => (UnaryOp::Not, 1),
            TokenKind::Punct(Punct::Minus) => (UnaryOp::Negate, 1),
            TokenKind::Punct(Punct::BitNot) => (UnaryOp::BitNot, 1),
            TokenKind::Punct(Punct::LeftParen) if self.is_at(2, Punct::RightParen) => {
                match self.word_at(1) {
                    Some("int") => (UnaryOp::ToInt, 3),
                    Some("str") => (UnaryOp::ToStr, 3),
                    _ => return None,
                }
            }
            TokenKind::Word(word) => match word.as_str() {
                "not" => (UnaryOp::Not, 1),
                "defined" => (UnaryOp::Defined, 1),
                "strlen" if self.is_at(1, Punct::LeftParen) => (UnaryOp::StrLen, 1),
                "strempty" if self.is_at(1, Punct::LeftParen) => (UnaryOp::StrEmpty, 1),
                _ => return None,
            },
            _ => return None,
        })
    }

    fn unary(&mut self) -> Parse<Deep> {
        let start = self.span();
        // In this place the sign is two: not, and all bits inverted.
        let twice = self.is(Punct::NotMatch);
        let (op, tokens) = if twice {
            (UnaryOp::Not, 1)
        } else {
            match self.prefix() {
                Some(found) => found,
                None => return self.primary(),
            }
        };
        for _ in 0..tokens {
            self.bump();
        }
        let op = Node::new(op, start.to(self.previous));
        let (mut operand, mut depth) = match op.kind {
            // These look like functions: what they apply to ends with the parenthesis.
            UnaryOp::StrLen | UnaryOp::StrEmpty => self.nested(Self::primary)?,
            _ => self.nested(Self::unary)?,
        };
        let span = start.to(self.previous);
        if twice {
            depth = self.deeper(depth)?;
            let kind = ExprKind::Unary {
                op: Node::new(UnaryOp::BitNot, op.span),
                operand: Box::new(operand),
            };
            operand = Expr::new(kind, span);
        }
        let depth = self.deeper(depth)?;
        let kind = ExprKind::Unary {
            op,
            operand: Box::new(operand),
        };
        Ok((Expr::new(kind, span), depth))
    }

    fn primary(&mut self) -> Parse<Deep> {
        let start = self.span();
        let kind = match self.kind(0) {
            TokenKind::Number { value, .. } => {
                let value = *value;
                self.bump();
                ExprKind::Int(value)
            }
            TokenKind::Str(_) => ExprKind::Str(self.expect_str()?.kind),
            TokenKind::Ip { address, .. } => {
                let address = *address;
                self.bump();
                let prefix = self.prefix_length(address)?;
                let kind = ExprKind::Ip { address, prefix };
                return Ok((Expr::new(kind, start.to(self.previous)), 1));
            }
            TokenKind::Pv(_) => return self.pv(),
            TokenKind::Select(text) => {
                let text = text.clone();
                self.bump();
                ExprKind::Select(text)
            }
            TokenKind::Word(word) if RESERVED.contains(&word.as_str()) => {
                let diagnostic = self.unexpected("an expression");
                return self.fail(diagnostic);
            }
            TokenKind::Word(_) if self.is_at(1, Punct::LeftParen) => return self.call(),
            TokenKind::Word(word) => {
                let word = word.clone();
                return Ok((self.word(word), 1));
            }
            TokenKind::Punct(Punct::LeftParen) => {
                self.bump();
                let (mut inner, depth) = self.binary(0)?;
                let end = self.expect_closing(Punct::RightParen, start)?;
                inner.span = start.to(end);
                return Ok((inner, depth));
            }
            TokenKind::NumberWord(_) => {
                let diagnostic = self
                    .unexpected("a number, or a name that begins with a letter")
                    .help("numbers are decimal, or 0x1f, 017 (octal), 101b (binary)");
                self.bump();
                return self.fail(diagnostic);
            }
            _ => {
                let mut diagnostic = self.unexpected("an expression");
                if self.is(Punct::Assign) {
                    diagnostic = diagnostic.help("to compare, write `==`");
                }
                return self.fail(diagnostic);
            }
        };
        Ok((Expr::new(kind, start), 1))
    }

    fn pv(&mut self) -> Parse<Deep> {
        let TokenKind::Pv(pv) = self.bump() else {
            return Err(Failed);
        };
        let span = self.previous;
        if self.is(Punct::LeftBracket) && self.glued(0) {
            let inner = if pv.inner.is_some() { "(…)" } else { "" };
            let help = format!("write $({}{inner}[index])", pv.name.kind);
            let diagnostic = self.unexpected("an operator").help(help);
            return self.fail(diagnostic);
        }
        Ok((Expr::new(ExprKind::Pv(pv), span), 1))
    }

    /// A bare word, or several that signs join to one: `msg:len`, `uri:host`, `host.example.com`,
    /// `udp:192.0.2.1:5060`.
    fn word(&mut self, first: String) -> Expr {
        let start = self.span();
        self.bump();
        let is_socket = TRANSPORTS.contains(&first.as_str());
        let mut text = first;
        loop {
            let sign = match self.kind(0) {
                TokenKind::Punct(Punct::Dot) => '.',
                TokenKind::Punct(Punct::Colon)
                    if is_socket || matches!(text.as_str(), "msg" | "uri") =>
                {
                    ':'
                }
                _ => break,
            };
            if !self.glued(0) || !self.glued(1) {
                break;
            }
            let part = match self.kind(1) {
                TokenKind::Word(word) => word,
                TokenKind::Ip { text, .. } | TokenKind::Number { text, .. } if is_socket => text,
                _ => break,
            };
            text.push(sign);
            text.push_str(part);
            self.bump();
            self.bump();
        }
        Expr::new(ExprKind::Word(text), start.to(self.previous))
    }

    /// `/8` or `/255.0.0.0` after an address.
    fn prefix_length(&mut self, address: IpAddr) -> Parse<Option<u8>> {
        let most: u8 = if address.is_ipv4() { 32 } else { 128 };
        if !self.is(Punct::Slash) {
            return Ok(None);
        }
        let prefix = match self.kind(1) {
            TokenKind::Number { value, .. } => u8::try_from(*value).ok().filter(|n| *n <= most),
            TokenKind::Ip { address: mask, .. } => match (address, mask) {
                (IpAddr::V4(_), IpAddr::V4(mask)) => {
                    let bits = mask.to_bits();
                    let ones = bits.leading_ones();
                    (bits.checked_shl(ones).unwrap_or(0) == 0).then_some(ones as u8)
                }
                (IpAddr::V6(_), IpAddr::V6(mask)) => {
                    let bits = mask.to_bits();
                    let ones = bits.leading_ones();
                    (bits.checked_shl(ones).unwrap_or(0) == 0).then_some(ones as u8)
                }
                _ => None,
            },
            _ => None,
        };
        self.bump();
        let Some(prefix) = prefix else {
            let diagnostic = self.unexpected(&format!(
                "a prefix length from 0 to {most}, or a network mask"
            ));
            return self.fail(diagnostic);
        };
        self.bump();
        Ok(Some(prefix))
    }

    /// `name(arguments)`.
    pub(super) fn call(&mut self) -> Parse<Deep> {
        let TokenKind::Word(name) = self.bump() else {
            return Err(Failed);
        };
        let name = Name::new(name, self.previous);
        let open = self.expect(Punct::LeftParen)?;
        let mut args = Vec::new();
        let mut depth = 0;
        if !self.eat(Punct::RightParen) {
            loop {
                if self.is(Punct::Comma) || self.is(Punct::RightParen) {
                    let diagnostic = self.unexpected("an argument");
                    return self.fail(diagnostic);
                }
                let (arg, arg_depth) = self.binary(0)?;
                args.push(arg);
                depth = depth.max(arg_depth);
                if self.eat(Punct::Comma) {
                    continue;
                }
                if self.eat(Punct::RightParen) {
                    break;
                }
                let diagnostic = self
                    .unexpected("`,` or `)`")
                    .related(open, "the arguments begin here");
                return self.fail(diagnostic);
            }
        }
        let span = name.span.to(self.previous);
        let depth = self.deeper(depth)?;
        Ok((Expr::new(ExprKind::Call(Call { name, args }), span), depth))
    }
}
