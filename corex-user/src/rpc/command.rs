//! The table of commands, and what a command is: one row of it.

use super::daemon::Daemon;
use super::fault::Fault;
use super::fronts::Fronts;
use super::later::Later;
use super::params::Params;
use super::value::Reply;

/// Commands in the order of their names, which is the one that `system.listMethods` shows.
#[derive(Clone, Copy)]
pub struct CommandTable(pub &'static [CommandGroup]);

impl CommandTable {
    /// All commands, in order.
    pub fn iter(self) -> impl Iterator<Item = &'static RpcCommand> {
        self.0.iter().flat_map(|group| group.commands)
    }

    /// The command of this name.
    pub fn find(self, name: &str) -> Option<&'static RpcCommand> {
        self.iter().find(|command| command.name == name)
    }
}

/// The commands that share what stands in front of the dot.
pub struct CommandGroup {
    /// What stands there, as in `core`.
    pub name: &'static str,
    /// What they are about, for documentation.
    pub doc: &'static str,
    /// The commands.
    pub commands: &'static [RpcCommand],
}

/// What a handler gives back.
pub type Outcome = Result<Reply, Fault>;

/// One request as its handler sees it.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What the command reads and steers.
    pub daemon: &'a dyn Daemon,
    /// The table that the command was found in.
    pub commands: CommandTable,
    /// What the front ends count, and who is connected to them.
    pub fronts: &'a Fronts,
    /// The parameters that the caller sent.
    pub params: &'a Params,
}

/// What runs a command. It must not block: front ends run it on the runtime of remote control.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Answers at once.
    Now(fn(Call<'_>) -> Outcome),
    /// Answers once it has waited for something.
    Wait(for<'a> fn(Call<'a>) -> Later<'a, Outcome>),
}

/// A command: all that front ends and documentation say of it, and what runs it.
pub struct RpcCommand {
    /// Its name, as in `core.version`.
    pub name: &'static str,
    /// What `system.methodHelp` shows, line by line.
    pub doc: &'static [&'static str],
    /// Its parameters, in order.
    pub params: &'static [ParamDef],
    /// How many records of which type it answers.
    pub result: Answer,
    /// The function that runs it.
    pub handler: Handler,
}

/// A parameter of a command.
pub struct ParamDef {
    /// What documentation calls it.
    pub name: &'static str,
    /// The type that it must have.
    pub kind: Kind,
    /// Whether it may be left out, together with all that follow it.
    pub optional: bool,
}

/// A parameter that must be there.
pub const fn required(name: &'static str, kind: Kind) -> ParamDef {
    ParamDef {
        name,
        kind,
        optional: false,
    }
}

/// A parameter that may be left out.
pub const fn optional(name: &'static str, kind: Kind) -> ParamDef {
    ParamDef {
        name,
        kind,
        optional: true,
    }
}

/// The type of a parameter or a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An integer.
    Int,
    /// A string.
    Str,
    /// A struct.
    Struct,
    /// Whichever type it is.
    Any,
}

impl Kind {
    /// The name that `system.methodSignature` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Int => "int",
            Kind::Str => "string",
            Kind::Struct => "struct",
            Kind::Any => "any",
        }
    }
}

/// What a command answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// No record.
    Nothing,
    /// One record.
    One(Kind),
    /// Any number of records; an array in JSON, also when there is one or none.
    Many(Kind),
}

impl Answer {
    /// The name that `system.methodSignature` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Answer::Nothing => "nil",
            Answer::One(kind) => kind.name(),
            Answer::Many(_) => "array",
        }
    }
}
