//! What a program is made of: statements, expressions, pseudo-variables, as compiling leaves them.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;

use super::param::Handler;
use crate::run::exec::{Exec, Halt};
use crate::run::transform::Transform;
use crate::run::value::{StrRef, Value};

/// Index in [`routes`](super::Program::routes).
pub type RouteId = u16;
/// The number of an AVP's name.
pub type AvpId = u16;
/// The number of a `$var()`.
pub type VarId = u16;

/// The statements of a route block, or of a part of a statement, in order.
pub type Block = Box<[Stmt]>;

/// Where a statement begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// Index in [`files`](super::Program::files).
    pub file: u16,
    /// Counted from 1.
    pub number: u32,
}

/// A statement and its place.
pub struct Stmt {
    pub line: Line,
    pub kind: StmtKind,
}

pub enum StmtKind {
    Block(Block),
    If {
        arms: Box<[(Expr, Block)]>,
        otherwise: Option<Block>,
    },
    While {
        condition: Expr,
        body: Block,
    },
    Switch {
        subject: Expr,
        /// Labels with the place in `body` that they lead to.
        labels: Box<[(Label, usize)]>,
        default: Option<usize>,
        /// The statements of all cases, one after the other.
        body: Block,
    },
    Break,
    Return(Option<Expr>),
    Exit,
    Drop,
    Assign {
        target: Lvalue,
        value: Expr,
    },
    Eval(Expr),
}

pub enum Label {
    Value(Expr),
    Regex(Pattern),
}

/// A pattern: compiled at the start, or when it is known.
pub enum Pattern {
    Compiled(u16),
    Dynamic(Box<Expr>),
}

pub enum Expr {
    Const(Value),
    Pv(Pv),
    /// Text with pseudo-variables.
    Format(Box<[Piece]>),
    Call(Box<Call>),
    Route(RouteId),
    Not(Box<Expr>),
    And(Box<(Expr, Expr)>),
    Or(Box<(Expr, Expr)>),
    Unary(Unary, Box<Expr>),
    Binary(Binary, Box<(Expr, Expr)>),
    Match {
        subject: Box<Expr>,
        pattern: Pattern,
        negated: bool,
    },
    /// Whether an address as text lies in a network.
    InNetwork {
        subject: Box<Expr>,
        network: IpAddr,
        prefix: u8,
        negated: bool,
    },
    /// Whether a URI (or, where `is_uri` isn't set, a host) is `myself`.
    Myself {
        subject: Box<Expr>,
        is_uri: bool,
        negated: bool,
    },
}

#[derive(Clone, Copy)]
pub enum Unary {
    Negate,
    BitNot,
    ToInt,
    ToStr,
    Defined,
    StrLen,
    StrEmpty,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    BitOr,
    BitAnd,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    StrEqual,
    StrNotEqual,
    IntEqual,
    IntNotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
}

pub enum Piece {
    Text(StrRef),
    Pv(Pv),
}

/// Reads a pseudo-variable.
pub type Reader = fn(&mut Exec<'_>) -> Result<Value, Halt>;
/// Writes one.
pub type Writer = fn(&mut Exec<'_>, Value) -> Result<(), Halt>;
/// Reads one that has a name in parentheses, and an index: 0 is the first, -1 the last.
pub type NamedReader = fn(&mut Exec<'_>, StrRef, i64) -> Result<Value, Halt>;
/// Writes one that has a name in parentheses.
pub type NamedWriter = fn(&mut Exec<'_>, StrRef, Value) -> Result<(), Halt>;

/// A pseudo-variable that is read.
pub enum Pv {
    Null,
    /// `$mb`.
    Message,
    Plain(Reader),
    Var(VarId),
    Avp(AvpId, Index),
    Named(Box<Named>),
    /// Another one, with transformations that are applied from left to right.
    Transformed(Box<Pv>, Box<[Transformation]>),
}

/// A transformation, and the pseudo-variables among its arguments in the order of their numbers.
pub struct Transformation {
    pub transform: Transform,
    pub variables: Box<[Pv]>,
}

/// One with a name in parentheses, and the index of one of its values.
pub struct Named {
    pub read: NamedReader,
    pub name: Expr,
    pub index: Index,
}

/// Which of the values of one AVP name.
pub enum Index {
    /// Counted from the newest, 0; or from the oldest, -1.
    At(i64),
    Dynamic(Box<Expr>),
}

/// A pseudo-variable that is written.
pub enum Lvalue {
    Plain(Writer),
    Named(NamedWriter, Box<Expr>),
    Var(VarId),
    Avp(AvpId),
    /// `$(avp(name)[*])`: all values make way for the new one.
    AvpAll(AvpId),
}

/// A call with its arguments.
pub struct Call {
    pub handler: Handler,
    pub args: Box<[Arg]>,
}

/// An argument, as the function's parameter takes it.
pub enum Arg {
    /// An expression: [`super::Exec::arg_str`] and its like evaluate it.
    Value(Expr),
    /// A pseudo-variable that is written: [`super::Exec::assign`].
    Target(Arc<Lvalue>),
    /// A pattern: [`super::Exec::with_regex`].
    Pattern(Pattern),
    /// A substitution: [`super::Exec::substitutions`].
    Substitution(Arc<Transformation>),
    /// One of a set of words: what the parameter's check made of it.
    Choice(i64),
    /// A constant text, and what the parameter's parser made of it: [`Arg::parsed`].
    Parsed(StrRef, Parsed),
}

/// What a module made of a constant when the configuration was loaded.
pub type Parsed = Arc<dyn Any + Send + Sync>;

impl Arg {
    /// A value that is known already.
    pub fn constant(value: Value) -> Arg {
        Arg::Value(Expr::Const(value))
    }

    /// What the parameter's parser made of a constant; `None` where the argument is none, or not of
    /// this type.
    #[inline]
    pub fn parsed<T: Any>(&self) -> Option<&T> {
        match self {
            Arg::Parsed(_, parsed) => parsed.downcast_ref(),
            _ => None,
        }
    }
}
