//! From the tree back to text that parses to an equal tree.

use super::ast::{
    Address, AssignOp, BinaryOp, Block, CaseLabel, Expr, ExprKind, File, HostKind, IfArm, ItemKind,
    Listen, ParamValue, Pv, PvIndex, Route, RouteKind, Setting, SettingValueKind, Stmt, StmtKind,
    Text, UnaryOp,
};
use std::fmt::{self, Display, Formatter, Write};
use std::net::IpAddr;

const INDENT: usize = 4;

/// Writes a configuration. Comments, definitions and conditions are gone, the meaning is the same.
pub fn print(file: &File) -> String {
    file.to_string()
}

impl Display for File {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for item in &self.items {
            match &item.kind {
                ItemKind::Setting(setting) => writeln!(f, "{setting}")?,
                ItemKind::LoadModule(path) => writeln!(f, "loadmodule {}", path.kind)?,
                ItemKind::LoadPath(path) => writeln!(f, "loadpath {}", path.kind)?,
                ItemKind::ModParam(param) => {
                    write!(f, "modparam({}, {}, ", param.modules.kind, param.name.kind)?;
                    match &param.value.kind {
                        ParamValue::Int(value) => write!(f, "{value}")?,
                        ParamValue::Str(value) => write!(f, "{value}")?,
                    }
                    writeln!(f, ")")?;
                }
                ItemKind::Route(route) => write!(f, "\n{route}")?,
            }
        }
        Ok(())
    }
}

impl Display for Setting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(group) = &self.group {
            write!(f, "{}.", group.kind)?;
        }
        write!(f, "{} =", self.name.kind)?;
        for value in &self.values {
            match &value.kind {
                SettingValueKind::Int(value) => write!(f, " {value}")?,
                SettingValueKind::Bool(true) => f.write_str(" yes")?,
                SettingValueKind::Bool(false) => f.write_str(" no")?,
                SettingValueKind::Str(text) => write!(f, " {text}")?,
                SettingValueKind::Word(word) => write!(f, " {word}")?,
                SettingValueKind::Address(listen) => write!(f, " {listen}")?,
            }
        }
        if let Some(description) = &self.description {
            write!(f, " desc {}", description.kind)?;
        }
        Ok(())
    }
}

impl Display for Listen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address.kind)?;
        if let Some(advertise) = &self.advertise {
            write!(f, " advertise {}", advertise.kind)?;
        }
        if let Some(name) = &self.name {
            write!(f, " name {}", name.kind)?;
        }
        if self.is_virtual {
            f.write_str(" virtual")?;
        }
        Ok(())
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(transport) = &self.transport {
            write!(f, "{}:", transport.kind)?;
        }
        match &self.host.kind {
            HostKind::Ip(address) => write_ip(f, *address)?,
            HostKind::Scoped(address, zone) => write!(f, "[{address}%{zone}]")?,
            HostKind::Name(name) => f.write_str(name)?,
            HostKind::Any => f.write_char('*')?,
        }
        match &self.port {
            Some(port) => write!(f, ":{}", port.kind),
            None => Ok(()),
        }
    }
}

fn write_ip(f: &mut Formatter<'_>, address: IpAddr) -> fmt::Result {
    match address {
        IpAddr::V4(address) => write!(f, "{address}"),
        IpAddr::V6(address) => write!(f, "[{address}]"),
    }
}

impl Display for Text {
    /// As a string literal in double quotes.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.value.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' => f.write_str("\\\"")?,
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}

impl Display for Route {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let keyword = match (self.kind.kind, &self.name) {
            (RouteKind::Request, None) => "request_route",
            (RouteKind::Request, Some(_)) => "route",
            (RouteKind::Reply, None) => "reply_route",
            (RouteKind::Reply, Some(_)) => "onreply_route",
            (RouteKind::Failure, _) => "failure_route",
            (RouteKind::Branch, _) => "branch_route",
            (RouteKind::OnSend, _) => "onsend_route",
            (RouteKind::Event, _) => "event_route",
        };
        f.write_str(keyword)?;
        if let Some(name) = &self.name {
            let name = &name.kind;
            let plain = |part: &str| {
                part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            };
            if name.split(['-', ':', '.']).all(plain) {
                write!(f, "[{name}]")?;
            } else {
                write!(f, "[{}]", Text::new(name.as_bytes()))?;
            }
        }
        f.write_char(' ')?;
        write_block(f, &self.body.statements, 0)?;
        f.write_char('\n')
    }
}

fn indent(f: &mut Formatter<'_>, level: usize) -> fmt::Result {
    write!(f, "{:width$}", "", width = level * INDENT)
}

fn write_block(f: &mut Formatter<'_>, statements: &[Stmt], level: usize) -> fmt::Result {
    f.write_str("{\n")?;
    for statement in statements {
        indent(f, level + 1)?;
        write_statement(f, &statement.kind, level + 1)?;
        f.write_char('\n')?;
    }
    indent(f, level)?;
    f.write_char('}')
}

fn write_statement(f: &mut Formatter<'_>, statement: &StmtKind, level: usize) -> fmt::Result {
    let block = |f: &mut Formatter<'_>, block: &Block| write_block(f, &block.statements, level);
    let value = |f: &mut Formatter<'_>, keyword: &str, value: &Option<Expr>| match value {
        Some(value) => write!(f, "{keyword} {value};"),
        None => write!(f, "{keyword};"),
    };
    match statement {
        StmtKind::Block(inner) => block(f, inner),
        StmtKind::If { arms, otherwise } => {
            for (index, IfArm { condition, body }) in arms.iter().enumerate() {
                f.write_str(if index == 0 { "if " } else { " else if " })?;
                write_condition(f, condition)?;
                block(f, body)?;
            }
            if let Some(otherwise) = otherwise {
                f.write_str(" else ")?;
                block(f, otherwise)?;
            }
            Ok(())
        }
        StmtKind::While { condition, body } => {
            f.write_str("while ")?;
            write_condition(f, condition)?;
            block(f, body)
        }
        StmtKind::Switch { subject, cases } => {
            f.write_str("switch ")?;
            write_condition(f, subject)?;
            f.write_str("{\n")?;
            for case in cases {
                indent(f, level)?;
                match &case.label.kind {
                    CaseLabel::Value(value) => writeln!(f, "case {value}:")?,
                    CaseLabel::Regex(regex) => writeln!(f, "case /{regex}:")?,
                    CaseLabel::Default => f.write_str("default:\n")?,
                }
                for statement in &case.statements {
                    indent(f, level + 1)?;
                    write_statement(f, &statement.kind, level + 1)?;
                    f.write_char('\n')?;
                }
            }
            indent(f, level)?;
            f.write_char('}')
        }
        StmtKind::Break => f.write_str("break;"),
        StmtKind::Return(operand) => value(f, "return", operand),
        StmtKind::Exit(operand) => value(f, "exit", operand),
        StmtKind::Drop(operand) => value(f, "drop", operand),
        StmtKind::Assign {
            target, op, value, ..
        } => {
            let op = match op.kind {
                AssignOp::Set => "=",
                AssignOp::Add => "+=",
            };
            write!(f, "{target} {op} {value};")
        }
        StmtKind::Expr(expr) => write!(f, "{expr};"),
    }
}

/// In parentheses, as everybody writes it; but `(int)` and `(str)` would be casts.
fn write_condition(f: &mut Formatter<'_>, condition: &Expr) -> fmt::Result {
    match &condition.kind {
        ExprKind::Word(word) => write!(f, "{word} "),
        _ => write!(f, "({condition}) "),
    }
}

impl BinaryOp {
    /// The operator as it is written.
    pub fn text(self) -> &'static str {
        match self {
            BinaryOp::Or => "||",
            BinaryOp::And => "&&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitXor => "^",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRight => ">>",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Match => "=~",
            BinaryOp::NotMatch => "!~",
            BinaryOp::StrEqual => "eq",
            BinaryOp::StrNotEqual => "ne",
            BinaryOp::IntEqual => "ieq",
            BinaryOp::IntNotEqual => "ine",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "mod",
        }
    }
}

impl UnaryOp {
    /// The operator as it is written.
    pub fn text(self) -> &'static str {
        match self {
            UnaryOp::Not => "!",
            UnaryOp::Negate => "-",
            UnaryOp::BitNot => "~",
            UnaryOp::ToInt => "(int)",
            UnaryOp::ToStr => "(str)",
            UnaryOp::Defined => "defined",
            UnaryOp::StrLen => "strlen",
            UnaryOp::StrEmpty => "strempty",
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Int(value) => write!(f, "{value}"),
            ExprKind::Str(text) => write!(f, "{text}"),
            ExprKind::Word(word) => f.write_str(word),
            ExprKind::Ip { address, prefix } => {
                write_ip(f, *address)?;
                match prefix {
                    Some(prefix) => write!(f, "/{prefix}"),
                    None => Ok(()),
                }
            }
            ExprKind::Pv(pv) => write!(f, "{pv}"),
            ExprKind::Select(text) => write!(f, "@{text}"),
            ExprKind::Call(call) => {
                write!(f, "{}(", call.name.kind)?;
                for (index, arg) in call.args.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{arg}")?;
                }
                f.write_char(')')
            }
            ExprKind::Unary { op, operand } => {
                f.write_str(op.kind.text())?;
                let spaced = match op.kind {
                    UnaryOp::StrLen | UnaryOp::StrEmpty => return write!(f, "({operand})"),
                    UnaryOp::Defined => true,
                    // `!!` could be taken for a directive.
                    _ => matches!(operand.kind, ExprKind::Unary { .. }),
                };
                if spaced {
                    f.write_char(' ')?;
                }
                let loose = matches!(operand.kind, ExprKind::Binary { .. });
                write_operand(f, operand, loose || is_bare_ip(operand))
            }
            ExprKind::Binary { op, left, right } => {
                let level = op.kind.level();
                let inner = |side: &Expr| match &side.kind {
                    ExprKind::Binary { op, .. } => op.kind.level(),
                    _ => u8::MAX,
                };
                // An address before a `/` would take it for its prefix length.
                let tight = level == BinaryOp::Div.level();
                write_operand(f, left, inner(left) < level || tight && is_bare_ip(left))?;
                write!(f, " {} ", op.kind.text())?;
                write_operand(
                    f,
                    right,
                    inner(right) <= level || tight && is_bare_ip(right),
                )
            }
        }
    }
}

fn is_bare_ip(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Ip { prefix: None, .. })
}

fn write_operand(f: &mut Formatter<'_>, operand: &Expr, parentheses: bool) -> fmt::Result {
    if parentheses {
        write!(f, "({operand})")
    } else {
        write!(f, "{operand}")
    }
}

impl Display for Pv {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let inner = |f: &mut Formatter<'_>| match &self.inner {
            Some(inner) => write!(f, "({})", String::from_utf8_lossy(&inner.kind.value)),
            None => Ok(()),
        };
        let name = &self.name.kind;
        if self.index.is_none() && self.transformations.is_empty() {
            write!(f, "${name}")?;
            return inner(f);
        }
        write!(f, "$({name}")?;
        inner(f)?;
        match self.index.as_ref().map(|index| &index.kind) {
            Some(PvIndex::At(at)) => write!(f, "[{at}]")?,
            Some(PvIndex::All) => f.write_str("[*]")?,
            Some(PvIndex::Pv(pv)) => write!(f, "[{pv}]")?,
            None => {}
        }
        for transformation in &self.transformations {
            write!(f, "{{{}", transformation.name.kind)?;
            if let Some(args) = &transformation.args {
                write!(f, ",{}", String::from_utf8_lossy(&args.kind.value))?;
            }
            f.write_char('}')?;
        }
        f.write_char(')')
    }
}
