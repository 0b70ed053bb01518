//! The interpreter: runs a program's blocks on one message.

use super::changes::Changes;
use super::node::{Label, Line, Lvalue, RouteId, Stmt, StmtKind};
use super::program::Program;
use super::runtime::Runtime;
use super::value::{StrRef, Value};
use crate::{Direction, Env, Host, Outgoing, SendError};
use corex_sip::SipView;

/// How deep calls, blocks and expressions may nest at run time, all together. A worker's stack
/// holds several times as much.
pub(super) const MAX_DEPTH: u32 = 800;

/// What ends a run before its time and is the configuration's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScriptError {
    /// `while` turned more often than max_while_loops says.
    #[error("a while loop turned more than {0} times (max_while_loops)")]
    Loop(u32),
    /// More bytes than a message's scripts may keep.
    #[error(
        "the script keeps more than {} bytes for one message",
        super::store::MAX_BYTES
    )]
    Memory,
    /// More AVPs than there may be at a time.
    #[error(
        "the script holds more than {} AVPs for one message",
        super::store::MAX_AVPS
    )]
    TooManyAvps,
    /// Blocks, expressions and calls that are nested too deep.
    #[error("routes call each other deeper than the interpreter goes")]
    TooDeep,
    /// A divisor that is zero.
    #[error("a division by zero")]
    DivisionByZero,
}

/// What ends a run at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Halt {
    /// `exit`, or a function that returned 0.
    Exit,
    /// `drop`.
    Drop,
    /// A mistake.
    Error(ScriptError),
}

impl From<ScriptError> for Halt {
    fn from(error: ScriptError) -> Halt {
        Halt::Error(error)
    }
}

/// How a statement ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    Next,
    Break,
    Return(i64),
}

/// One run on one message.
pub struct Exec<'a> {
    /// The program that runs.
    pub program: &'a Program,
    /// What lasts from message to message.
    pub rt: &'a mut Runtime,
    /// Answers what the script asks of the world.
    pub host: &'a mut dyn Host,
    /// Where the message comes from and goes to.
    pub env: &'a Env,
    /// The bytes that the run is about: what `$mb` is.
    pub message: &'a [u8],
    /// The same as a SIP message; `None` in `event_route[network:msg]`.
    pub view: Option<&'a SipView<'a>>,
    /// Only in `event_route[network:msg]`.
    pub direction: Option<Direction>,
    /// What the script has decided about the message.
    pub changes: Box<Changes>,
    /// The line of the statement that runs.
    pub line: Line,
    /// `$rc`: what the last function or route returned.
    pub code: i64,
    /// The arena up to here holds what must outlast the statement.
    floor: usize,
}

impl<'a> Exec<'a> {
    /// A run of `program` by `rt`, the interpreter of the same program, on a message.
    pub fn new(
        program: &'a Program,
        rt: &'a mut Runtime,
        host: &'a mut dyn Host,
        env: &'a Env,
        message: &'a [u8],
    ) -> Exec<'a> {
        Exec::with(Box::default(), program, rt, host, env, message)
    }

    /// As [`Self::new`], with memory for what the script decides, which is empty.
    pub(super) fn with(
        changes: Box<Changes>,
        program: &'a Program,
        rt: &'a mut Runtime,
        host: &'a mut dyn Host,
        env: &'a Env,
        message: &'a [u8],
    ) -> Exec<'a> {
        Exec {
            program,
            rt,
            host,
            env,
            message,
            view: None,
            direction: None,
            changes,
            line: Line::default(),
            code: 1,
            floor: 0,
        }
    }

    /// Runs a route block; its return code.
    pub fn run(&mut self, route: RouteId) -> Result<i64, Halt> {
        let program = self.program;
        let Some(block) = program.routes.get(usize::from(route)) else {
            return Ok(1);
        };
        match self.block(block)? {
            Flow::Return(code) => Ok(code),
            Flow::Next | Flow::Break => Ok(1),
        }
    }

    /// Runs a route block that may stand in for another one; whether that is to run, too: the block
    /// ended by `return`.
    pub(super) fn run_first(&mut self, route: RouteId) -> Result<bool, Halt> {
        let program = self.program;
        let Some(block) = program.routes.get(usize::from(route)) else {
            return Ok(true);
        };
        Ok(matches!(self.block(block)?, Flow::Return(_)))
    }

    /// Sends a message. The hook may run meanwhile, on another message than this run.
    ///
    /// # Errors
    /// When it can't be sent.
    #[inline]
    pub fn send(&mut self, out: Outgoing<'_>) -> Result<(), SendError> {
        self.rt.store.detach(self.message);
        self.host.send(self.rt, out)
    }

    /// The bytes of a string.
    #[inline]
    pub fn bytes(&self, string: StrRef) -> &[u8] {
        self.rt
            .store
            .bytes(string, &self.program.pool, self.message)
    }

    /// Keeps what is in the arena until the run ends.
    pub fn keep(&mut self) {
        self.floor = self.rt.store.mark();
    }

    /// Counts one level of nesting.
    #[inline]
    pub(super) fn deeper(&mut self) -> Result<(), ScriptError> {
        if self.rt.depth >= MAX_DEPTH {
            return Err(ScriptError::TooDeep);
        }
        self.rt.depth += 1;
        Ok(())
    }

    /// Forgets what was added to the arena since the mark, but for what must be kept.
    pub fn release(&mut self, mark: usize) {
        self.rt.store.release(mark.max(self.floor));
    }

    fn block(&mut self, block: &[Stmt]) -> Result<Flow, Halt> {
        self.deeper()?;
        for statement in block {
            self.line = statement.line;
            let mark = self.rt.store.mark();
            let flow = self.statement(&statement.kind)?;
            self.release(mark);
            if flow != Flow::Next {
                self.rt.depth -= 1;
                return Ok(flow);
            }
        }
        self.rt.depth -= 1;
        Ok(Flow::Next)
    }

    fn statement(&mut self, statement: &StmtKind) -> Result<Flow, Halt> {
        match statement {
            StmtKind::Block(block) => self.block(block),
            StmtKind::If { arms, otherwise } => {
                let mark = self.rt.store.mark();
                for (condition, body) in arms {
                    let holds = self.truth(condition)?;
                    self.release(mark);
                    if holds {
                        return self.block(body);
                    }
                }
                match otherwise {
                    Some(body) => self.block(body),
                    None => Ok(Flow::Next),
                }
            }
            StmtKind::While { condition, body } => {
                let mark = self.rt.store.mark();
                let most = self.program.max_while_loops;
                let line = self.line;
                for _ in 0..most {
                    self.line = line;
                    let holds = self.truth(condition)?;
                    self.release(mark);
                    if !holds {
                        return Ok(Flow::Next);
                    }
                    match self.block(body)? {
                        Flow::Next => {}
                        Flow::Break => return Ok(Flow::Next),
                        flow @ Flow::Return(_) => return Ok(flow),
                    }
                }
                self.line = line;
                if self.truth(condition)? {
                    return Err(ScriptError::Loop(most).into());
                }
                Ok(Flow::Next)
            }
            StmtKind::Switch {
                subject,
                labels,
                default,
                body,
            } => {
                let value = self.eval(subject)?;
                let Some(start) = self.find_label(value, labels)?.or(*default) else {
                    return Ok(Flow::Next);
                };
                match self.block(body.get(start..).unwrap_or_default())? {
                    Flow::Break => Ok(Flow::Next),
                    flow => Ok(flow),
                }
            }
            StmtKind::Break => Ok(Flow::Break),
            StmtKind::Return(value) => match value {
                None => Ok(Flow::Return(1)),
                Some(value) => {
                    let value = self.eval(value)?;
                    Ok(Flow::Return(self.to_int(value)))
                }
            },
            StmtKind::Exit => Err(Halt::Exit),
            StmtKind::Drop => Err(Halt::Drop),
            StmtKind::Assign { target, value } => {
                let value = self.eval(value)?;
                self.assign(target, value)?;
                Ok(Flow::Next)
            }
            StmtKind::Eval(value) => {
                self.eval(value)?;
                Ok(Flow::Next)
            }
        }
    }

    fn find_label(
        &mut self,
        value: Value,
        labels: &[(Label, usize)],
    ) -> Result<Option<usize>, Halt> {
        for (label, start) in labels {
            let fits = match label {
                Label::Value(expr) => {
                    let label = self.eval(expr)?;
                    self.equal(value, label)
                }
                Label::Regex(pattern) => {
                    let string = self.rt.store.string(value)?;
                    self.matches(string, pattern)?
                }
            };
            if fits {
                return Ok(Some(*start));
            }
        }
        Ok(None)
    }

    /// Writes a pseudo-variable.
    pub fn assign(&mut self, target: &Lvalue, value: Value) -> Result<(), Halt> {
        let (pool, message) = (&self.program.pool, self.message);
        let store = &mut self.rt.store;
        match target {
            Lvalue::Var(id) => store.set_var(*id, value, pool, message),
            Lvalue::Avp(id) => store.push_avp(*id, value, pool, message)?,
            Lvalue::AvpAll(id) => {
                store.clear_avp(*id);
                store.push_avp(*id, value, pool, message)?;
            }
            Lvalue::Plain(write) => write(self, value)?,
            Lvalue::Named(write, name) => {
                let name = self.eval_str(name)?;
                write(self, name, value)?;
            }
        }
        Ok(())
    }
}

/// The place of a part of a string in the store that the string lies in.
pub fn part_of(string: StrRef, bytes: &[u8], part: &[u8]) -> StrRef {
    let start = (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    match u32::try_from(start) {
        Ok(start) if start as usize + part.len() <= bytes.len() => StrRef {
            source: string.source,
            offset: string.offset + start,
            len: part.len() as u32,
        },
        _ => StrRef::EMPTY,
    }
}
