//! The syntax tree of a configuration: what was written, before anything is looked up.
//!
//! Every node knows its place. Two nodes are equal when they say the same thing, wherever they
//! were written: the comparison leaves spans out. Parentheses leave no node; the tree's shape holds
//! the precedence. The depth of any tree that the parser returns is bounded (see
//! [`MAX_NESTING`] and [`MAX_EXPR_DEPTH`]), so that recursion over it is safe.

use super::span::Span;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

/// How deep blocks, parentheses and operators before an operand may nest.
pub const MAX_NESTING: usize = 100;

/// How deep an expression's tree may be; a chain such as `a + b + c` counts one for each operator.
pub const MAX_EXPR_DEPTH: usize = 250;

/// A thing and the place where it was written.
#[derive(Clone, Debug)]
pub struct Node<T> {
    /// The thing.
    pub kind: T,
    /// Where it was written. For what came out of a `#!define`: where the name was used.
    pub span: Span,
}

impl<T> Node<T> {
    /// Puts a thing and its place together.
    pub fn new(kind: T, span: Span) -> Node<T> {
        Node { kind, span }
    }
}

impl<T: PartialEq> PartialEq for Node<T> {
    fn eq(&self, other: &Node<T>) -> bool {
        self.kind == other.kind
    }
}

/// An identifier, or a run of text that stands for a name.
pub type Name = Node<String>;

/// A string literal, or any other text of which the bytes and their places matter.
pub type Str = Node<Text>;

/// The bytes of a string after its escapes were resolved, with the way back to the source.
///
/// Kamailio joins adjacent string literals, escapes can name any byte, and a `#!define` may have
/// supplied the string: so an offset in the value is not an offset in the source. [`Text::locate`]
/// translates.
#[derive(Clone, Debug, Default)]
pub struct Text {
    /// The bytes. Not always UTF-8: `\xff` names a byte.
    pub value: Vec<u8>,
    /// Pairs of (offset in `value`, offset in the source) in ascending order: from that offset on
    /// value and source run in step, until the next pair. Empty: nothing is known within.
    anchors: Vec<(u32, u32)>,
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.value == other.value
    }
}

impl Text {
    /// A text whose inner places are not known, as after a `#!define`.
    pub fn new(value: impl Into<Vec<u8>>) -> Text {
        Text {
            value: value.into(),
            anchors: Vec::new(),
        }
    }

    /// A text with its anchors; see the field.
    pub(super) fn with_anchors(value: Vec<u8>, anchors: Vec<(u32, u32)>) -> Text {
        Text { value, anchors }
    }

    fn source_offset(&self, offset: u32) -> Option<u32> {
        let next = self.anchors.partition_point(|(value, _)| *value <= offset);
        let (value, source) = self.anchors.get(next.checked_sub(1)?)?;
        Some(source + (offset - value))
    }

    /// Where the bytes `range` of the value were written, given the span of the whole. The whole
    /// span when that isn't known.
    pub fn locate(&self, range: Range<usize>, whole: Span) -> Span {
        let at = |offset: usize| u32::try_from(offset).ok();
        let found = || {
            let start = self.source_offset(at(range.start)?)?;
            if range.end <= range.start {
                return Some((start, start));
            }
            // The end is taken from the last byte: the byte after it may lie beyond an escape.
            let last = self.source_offset(at(range.end - 1)?)?;
            Some((start, (last + 1).max(start)))
        };
        match found() {
            Some((start, end)) if start >= whole.start && end <= whole.end => Span {
                file: whole.file,
                start,
                end,
            },
            _ => whole,
        }
    }

    /// A part of this text, its places kept.
    pub fn slice(&self, range: Range<usize>) -> Text {
        let value = self.value.get(range.clone()).unwrap_or_default().to_vec();
        let (Ok(start), Ok(end)) = (u32::try_from(range.start), u32::try_from(range.end)) else {
            return Text::new(value);
        };
        let mut anchors = Vec::new();
        if let Some(source) = self.source_offset(start) {
            anchors.push((0, source));
            let first = self.anchors.partition_point(|(value, _)| *value <= start);
            let inner = self.anchors.iter().skip(first);
            anchors.extend(
                inner
                    .take_while(|(value, _)| *value < end)
                    .map(|(value, source)| (value - start, *source)),
            );
        }
        Text { value, anchors }
    }

    /// The value as UTF-8, if it is that.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }
}

/// A whole configuration, in the order in which it was written.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct File {
    /// The top-level items.
    pub items: Vec<Item>,
}

/// A top-level item.
pub type Item = Node<ItemKind>;

/// What stands at the top level.
#[derive(Clone, PartialEq, Debug)]
pub enum ItemKind {
    /// A core parameter: `name = value`.
    Setting(Setting),
    /// `loadmodule "name.so"`.
    LoadModule(Str),
    /// `loadpath "dir"` or `mpath "dir"`.
    LoadPath(Str),
    /// `modparam("modules", "name", value)`.
    ModParam(ModParam),
    /// Any route block.
    Route(Route),
}

/// A core parameter with its value, or several: `alias = "a" "b"`.
#[derive(Clone, PartialEq, Debug)]
pub struct Setting {
    /// The group of a custom parameter: `pstn` in `pstn.gw_ip = "1.2.3.4"`.
    pub group: Option<Name>,
    /// The parameter.
    pub name: Name,
    /// Its values; the parser guarantees at least one. Only `listen`, `alias` and their like take several.
    pub values: Vec<SettingValue>,
    /// The text of a custom parameter's `desc "…"`.
    pub description: Option<Str>,
}

/// One value of a core parameter.
pub type SettingValue = Node<SettingValueKind>;

/// What a core parameter can be given.
#[derive(Clone, PartialEq, Debug)]
pub enum SettingValueKind {
    /// An integer, with its sign.
    Int(i64),
    /// `yes`, `true`, `on`, `enable` or `no`, `false`, `off`, `disable`.
    Bool(bool),
    /// A quoted string, for any parameter but `listen` and `alias`.
    Str(Text),
    /// A bare word: `log_facility = LOG_LOCAL0`.
    Word(String),
    /// An address, quoted or not: the only kind that `listen` and `alias` yield. Elsewhere any
    /// unquoted value that is more than a word: `advertised_address = 192.0.2.1`.
    Address(Box<Listen>),
}

/// `proto:host:port advertise host:port name "text"`, as `listen` and `alias` take it.
#[derive(Clone, PartialEq, Debug)]
pub struct Listen {
    /// The address itself.
    pub address: Node<Address>,
    /// `advertise host[:port]`.
    pub advertise: Option<Node<Address>>,
    /// `name "text"`.
    pub name: Option<Str>,
    /// `virtual`: the address may float between hosts.
    pub is_virtual: bool,
}

/// `[proto:]host[:port]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Address {
    /// The word before the first colon, as it was written; whether such a transport exists is for
    /// the checker.
    pub transport: Option<Name>,
    /// The host.
    pub host: Host,
    /// The port, or `None` when it was left out or written as `*`.
    pub port: Option<Node<u16>>,
}

/// A host in an address.
pub type Host = Node<HostKind>;

/// What a host can be.
#[derive(Clone, PartialEq, Debug)]
pub enum HostKind {
    /// An IP address. IPv6 comes in brackets or bare.
    Ip(IpAddr),
    /// An IPv6 address in brackets with its zone, an interface: `[fe80::1%eth0]` (RFC 4007 §11).
    Scoped(Ipv6Addr, String),
    /// A host name or an interface name.
    Name(String),
    /// `*`: any host.
    Any,
}

/// `modparam("modules", "name", value)`.
#[derive(Clone, PartialEq, Debug)]
pub struct ModParam {
    /// One module or several with `|` between them.
    pub modules: Str,
    /// The parameter.
    pub name: Str,
    /// The value.
    pub value: Node<ParamValue>,
}

/// What a module parameter can be given.
#[derive(Clone, PartialEq, Debug)]
pub enum ParamValue {
    /// An integer, with its sign (also `yes`, `no` and the like: 1 and 0).
    Int(i64),
    /// A string.
    Str(Text),
}

/// A route block.
#[derive(Clone, PartialEq, Debug)]
pub struct Route {
    /// Which kind it is, with the place of the keyword.
    pub kind: Node<RouteKind>,
    /// The name in brackets. `None` for the main block of its kind.
    pub name: Option<Name>,
    /// Its statements.
    pub body: Block,
}

/// The kinds of route blocks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RouteKind {
    /// `request_route`, or `route` without a name or with the name 0: where requests start.
    /// With a name, `route[NAME]`: a block to be called.
    Request,
    /// `reply_route`, or `onreply_route` without a name or with the name 0: where replies start.
    /// With a name: armed for a transaction.
    Reply,
    /// `failure_route[NAME]`.
    Failure,
    /// `branch_route[NAME]`.
    Branch,
    /// `onsend_route`.
    OnSend,
    /// `event_route[module:event]`.
    Event,
}

/// Statements in braces, or the single one that stands for a block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The statements in order. Empty ones (`;`) leave no trace.
    pub statements: Vec<Stmt>,
    /// From brace to brace.
    pub span: Span,
}

impl PartialEq for Block {
    fn eq(&self, other: &Block) -> bool {
        self.statements == other.statements
    }
}

/// A statement.
pub type Stmt = Node<StmtKind>;

/// What a block consists of.
#[derive(Clone, PartialEq, Debug)]
pub enum StmtKind {
    /// A block in a block. Kamailio has no scopes: it only groups.
    Block(Block),
    /// `if (…) … else if (…) … else …`.
    If {
        /// The `if` and each `else if`, in order; at least one.
        arms: Vec<IfArm>,
        /// The last `else`.
        otherwise: Option<Block>,
    },
    /// `while (…) …`.
    While {
        /// Tested before each turn.
        condition: Expr,
        /// What is repeated.
        body: Block,
    },
    /// `switch (…) { … }`.
    Switch {
        /// What is compared.
        subject: Expr,
        /// The cases in order, `default` among them. As in C, one without `break` runs into the next.
        cases: Vec<Case>,
    },
    /// `break`, out of `while` and `switch`.
    Break,
    /// `return [value]`, out of a route block.
    Return(Option<Expr>),
    /// `exit [value]`: ends the script for this message.
    Exit(Option<Expr>),
    /// `drop [value]`: ends the script; the message goes no further.
    Drop(Option<Expr>),
    /// `target = value` or `target += value`.
    Assign {
        /// What is written to. The parser guarantees a pseudo-variable, a word or a select; whether it can be
        /// written is for the checker.
        target: Expr,
        /// Which assignment.
        op: Node<AssignOp>,
        /// The value.
        value: Expr,
    },
    /// An expression for its effect, a call as a rule: `xlog("…")`, `route(NAME)`.
    Expr(Expr),
}

/// One `if (condition) body`.
#[derive(Clone, PartialEq, Debug)]
pub struct IfArm {
    /// The condition.
    pub condition: Expr,
    /// What runs when it holds.
    pub body: Block,
}

/// One `case …:` with the statements up to the next label.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// The label.
    pub label: Node<CaseLabel>,
    /// The statements.
    pub statements: Vec<Stmt>,
}

/// A label in a `switch`.
#[derive(Clone, PartialEq, Debug)]
pub enum CaseLabel {
    /// `case value:`.
    Value(Expr),
    /// `case /"regex"/:`.
    Regex(Expr),
    /// `default:`.
    Default,
}

/// The assignments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AssignOp {
    /// `=`.
    Set,
    /// `+=`: adds integers, joins strings, appends to headers.
    Add,
}

/// An expression.
pub type Expr = Node<ExprKind>;

/// What an expression consists of.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// An integer, never negative: a minus is a [`UnaryOp::Negate`].
    Int(i64),
    /// A string literal. Whether it holds pseudo-variables is for its consumer to say.
    Str(Text),
    /// A bare word: a keyword of conditions (`method`, `uri`, `src_ip`, `msg:len`, `myself`, `status`, `proto` …),
    /// a route's or a flag's name, a host name (`sip.example.com`), a socket (`udp:192.0.2.1:5060`).
    Word(String),
    /// An IP address, or with a length a network: `src_ip == 10.0.0.0/8`.
    Ip {
        /// The address.
        address: IpAddr,
        /// The prefix length in bits, at most 32 or 128.
        prefix: Option<u8>,
    },
    /// A pseudo-variable, `$null` among them.
    Pv(Box<Pv>),
    /// A select, `@name.sub[1].…`: its text without the `@`.
    Select(String),
    /// A function call, also `route(NAME)`.
    Call(Call),
    /// An operator before its operand.
    Unary {
        /// The operator.
        op: Node<UnaryOp>,
        /// The operand.
        operand: Box<Expr>,
    },
    /// An operator between two operands.
    Binary {
        /// The operator.
        op: Node<BinaryOp>,
        /// The left operand.
        left: Box<Expr>,
        /// The right operand.
        right: Box<Expr>,
    },
}

/// A function call.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// The function.
    pub name: Name,
    /// The arguments.
    pub args: Vec<Expr>,
}

/// Operators before an operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UnaryOp {
    /// `!` or `not`.
    Not,
    /// `-`.
    Negate,
    /// `~`: all bits inverted.
    BitNot,
    /// `(int)`.
    ToInt,
    /// `(str)`.
    ToStr,
    /// `defined`: false for `$null`.
    Defined,
    /// `strlen`: length of the operand as a string, in bytes.
    StrLen,
    /// `strempty`: whether the operand as a string is empty.
    StrEmpty,
}

/// Operators between two operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinaryOp {
    /// `||` or `or`.
    Or,
    /// `&&` or `and`.
    And,
    /// `|`.
    BitOr,
    /// `&`.
    BitAnd,
    /// `^`.
    BitXor,
    /// `<<`.
    ShiftLeft,
    /// `>>`.
    ShiftRight,
    /// `==`: by the type of the left operand.
    Equal,
    /// `!=`: by the type of the left operand.
    NotEqual,
    /// `=~`: matches a regular expression.
    Match,
    /// `!~`: does not match a regular expression.
    NotMatch,
    /// `eq`: equal as strings.
    StrEqual,
    /// `ne`: not equal as strings.
    StrNotEqual,
    /// `ieq`: equal as integers.
    IntEqual,
    /// `ine`: not equal as integers.
    IntNotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterEqual,
    /// `+`: adds integers, joins strings, by the type of the left operand.
    Add,
    /// `-`.
    Sub,
    /// `*`.
    Mul,
    /// `/`.
    Div,
    /// `%` or `mod`.
    Mod,
}

/// A pseudo-variable: `$name`, `$name(inner)`, `$(name(inner)[index]{transformation,…}…)`.
///
/// `$$`, a literal dollar in a string, has the name `$`.
#[derive(Clone, Debug)]
pub struct Pv {
    /// The name without `$`: `avp`, `ru`, `null`, `T_branch_idx`, `?`.
    pub name: Name,
    /// What stands between the parentheses after the name, verbatim; it may hold pseudo-variables.
    pub inner: Option<Str>,
    /// `[index]`.
    pub index: Option<Node<PvIndex>>,
    /// The transformations, applied from left to right.
    pub transformations: Vec<Transformation>,
    /// From `$` to the end.
    pub span: Span,
}

impl PartialEq for Pv {
    fn eq(&self, other: &Pv) -> bool {
        self.name == other.name
            && self.inner == other.inner
            && self.index == other.index
            && self.transformations == other.transformations
    }
}

/// Which of several values.
#[derive(Clone, PartialEq, Debug)]
pub enum PvIndex {
    /// `[3]`, or `[-1]`: counted from the end.
    At(i64),
    /// `[*]`: all of them.
    All,
    /// `[$var(i)]`.
    Pv(Box<Pv>),
}

/// `{class.name,arguments}`.
#[derive(Clone, PartialEq, Debug)]
pub struct Transformation {
    /// Class and name: `s.len`, `uri.host`, `re.subst`.
    pub name: Name,
    /// Everything after the first comma, verbatim: how it divides depends on the class (a comma may
    /// be part of a regular expression).
    pub args: Option<Str>,
}
