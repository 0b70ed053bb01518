//! The compiled form: names resolved to indices, constants in a pool, patterns compiled.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use corex_sip::SipView;
use regex::bytes::Regex;

use super::by_name::MakeCompiler;
use super::param::{CORE, Handler, Keep, Shared};
use crate::SocketId;
use crate::language::{Language, ReloadError};
use crate::language_counters::Languages;
use crate::latency::Latencies;
use crate::run::exec::{Exec, Halt};
use crate::run::tables::Tables;
use crate::run::transform::Transform;
use crate::run::value::{StrRef, Value};
use crate::settings::Settings;

/// The route blocks of a configuration, ready to run. Shared by all workers.
pub struct Program {
    /// Names of the files that statements stand in, for log lines.
    pub files: Vec<String>,
    /// Every constant string, one after the other.
    pub pool: Vec<u8>,
    /// Patterns that are constant.
    pub regexes: Vec<Regex>,
    /// All blocks that can run.
    pub routes: Vec<Block>,
    /// `request_route`.
    pub request: Option<RouteId>,
    /// `reply_route`.
    pub reply: Option<RouteId>,
    /// `event_route[network:msg]`.
    pub network: Option<RouteId>,
    /// The AVP that holds what the hook makes of a message: `msg_avp` of the module corex.
    pub msg_avp: Option<AvpId>,
    /// Number of different `$var()`.
    pub vars: u16,
    /// The listen sockets whose place in the resolved list is certain: those before the first
    /// that doesn't name an IP address, and so may stand for several.
    pub sockets: Vec<Socket>,
    /// The value of Server in our own replies; empty: none.
    pub server: String,
    /// `absorbs` of the loaded modules: whether a message is done with before its route.
    pub absorbs: Vec<fn(&SipView<'_>) -> bool>,
    /// `after_route` of the loaded modules: what happens to a message after its route.
    pub after_route: Vec<fn(&mut Exec<'_>)>,
    /// When it was loaded, in seconds since 1970.
    pub started: i64,
    /// Values that all workers share.
    pub tables: Tables,
    /// `max_limit` of the module maxfwd.
    pub max_forwards: u32,
    /// `max_branches`: the most destinations that a request may have.
    pub max_branches: u32,
    /// `max_while_loops`: the most turns of one `while`.
    pub max_while_loops: u32,
    /// Counts calls into scripts of other languages; goes on after a reload.
    pub languages: Arc<Languages>,
    /// How long hooks take; goes on after a reload.
    pub latencies: Arc<Latencies>,
    /// What the configuration sets, but for aliases.
    pub settings: Arc<Settings>,
    /// What `loadmodule` named, in order.
    pub loaded: Vec<&'static str>,
    /// The route blocks that have names.
    pub named_routes: HashMap<String, RouteId>,
    /// Makes what modules keep in each worker.
    pub keeps: Vec<Keep>,
    /// What modules made once for all workers; see [`Self::shared`].
    pub shares: Vec<Shared>,
    /// Makes the compiler of what scripts in other languages ask for by name.
    pub make_compiler: MakeCompiler,
    /// Scripts in other languages, with the module that brings each.
    pub scripts: Vec<(&'static str, Arc<dyn Language>)>,
}

impl Program {
    /// A line as log lines call it.
    pub fn place(&self, line: Line) -> Place<'_> {
        let file = self.files.get(usize::from(line.file));
        Place {
            file: file.map_or("", String::as_str),
            number: line.number,
        }
    }
}

/// Writes `file:line`.
pub struct Place<'a> {
    file: &'a str,
    number: u32,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("files", &self.files)
            .field("routes", &self.routes.len())
            .finish_non_exhaustive()
    }
}

impl Program {
    /// Reads the scripts again that a module brings; each worker goes on with them before its
    /// next call. It reads files, so no worker may call it.
    ///
    /// # Errors
    /// What is wrong with them, where that is known at once: the old ones stay. Or that there are
    /// none, or that a parameter forbids it.
    pub fn reload_scripts(&self, module: &str) -> Result<(), ReloadError> {
        let mut scripts = self.scripts.iter();
        match scripts.find(|(of, _)| *of == module) {
            Some((_, language)) => language.reload(),
            None => Err(ReloadError::NotLoaded(module.to_owned())),
        }
    }

    /// The scripts of this type; `None` where no module that is loaded brings them.
    pub fn scripts<L: Language>(&self) -> Option<&L> {
        self.scripts.iter().find_map(|(_, language)| {
            let language: &dyn Any = &**language;
            language.downcast_ref()
        })
    }

    /// What a module made of this type, once for all workers; `None` where none did.
    pub fn shared<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let mut shares = self.shares.iter();
        shares.find_map(|shared| Arc::clone(shared).downcast().ok())
    }

    /// What the configuration sets, but for aliases.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The modules that `loadmodule` named, in order.
    pub fn module_names(&self) -> impl DoubleEndedIterator<Item = &'static str> + '_ {
        self.loaded.iter().copied()
    }

    /// Whether a module is loaded, or needs no `loadmodule`.
    pub fn has_module(&self, name: &str) -> bool {
        name == CORE || self.loaded.contains(&name)
    }

    /// What the modules keep in a worker, made anew.
    pub fn kept(&self) -> Vec<Box<dyn Any + Send>> {
        self.keeps.iter().map(|make| make(self)).collect()
    }

    /// Takes a language's scripts in, and has it count with the program's counters.
    pub fn add_scripts(&mut self, module: &'static str, language: Arc<dyn Language>) {
        language.count_with(&self.languages);
        self.scripts.push((module, language));
    }

    /// The listen socket of this text or name; see [`Self::sockets`].
    pub fn socket(&self, wanted: &[u8]) -> Option<SocketId> {
        let pool = &self.pool;
        let found = self.sockets.iter().position(|socket| {
            socket.text.of(pool).eq_ignore_ascii_case(wanted)
                || socket.name.is_some_and(|name| name.of(pool) == wanted)
        });
        found.and_then(|at| u16::try_from(at).ok()).map(SocketId)
    }
}

/// A listen socket that `$fs` can name.
pub struct Socket {
    /// `udp:192.0.2.1:5060`.
    pub text: StrRef,
    /// The name in its listen line.
    pub name: Option<StrRef>,
}

/// Index in [`Program::routes`].
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
    /// Index in [`Program::files`].
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
}

impl Arg {
    /// A value that is known already.
    pub fn constant(value: Value) -> Arg {
        Arg::Value(Expr::Const(value))
    }
}
