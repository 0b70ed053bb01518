//! Transformations of pseudo-variables: `$(var(x){s.len})`, `$(ru{uri.host})`.
//!
//! [`compile`] makes a [`Transform`] of what the parser read, [`Transform::apply`] runs it on a
//! value. What there is, with its arguments, is in [`ALL`]. They do what Kamailio 5.6.3 does, edge
//! cases included, but for a few places where that version reads memory which isn't the value's or
//! contradicts its documentation; there the documentation counts (each place says so).
//!
//! All of them are pure functions on bytes: no transformation knows of messages, stores or
//! the clock.

mod address;
mod call;
mod compile;
mod digest;
mod encode;
mod escape;
mod line;
mod param;
mod posix;
mod socket;
mod subst;
mod table;
mod text;
mod time;
mod uri;
mod value;

#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::run::value::Decimal;

use call::{Call, Sink};
pub use compile::compile;
pub use table::ALL;

/// The most bytes that one transformation yields. It is the room that Kamailio has, too.
pub const MAX_OUTPUT: usize = 65_535;

/// The most arguments that [`Transform::args`] holds.
pub const MAX_ARGS: usize = 8;

/// A value that a transformation is applied to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input<'a> {
    /// `$null`.
    Null,
    /// An integer; most transformations see its decimal digits.
    Int(i64),
    /// A string of any bytes.
    Str(&'a [u8]),
}

/// The value of an argument when the transformation is applied.
pub type Argument<'a> = Input<'a>;

/// What a transformation yields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// `$null`: there is no such part, or the input is none that the transformation can read.
    Null,
    /// An integer.
    Int(i64),
    /// The bytes that were appended to the output.
    Appended,
    /// These bytes of the input, which is a string: nothing was copied.
    Part(Range<usize>),
}

/// Why a transformation yielded nothing, where the script is to blame rather than the input.
/// In Kamailio the value is then `$null`, and a line in the log says why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// More than [`MAX_OUTPUT`] bytes, or an input so long that the work would hold the worker up.
    #[error("it is too long to be transformed")]
    TooLong,
    /// A pseudo-variable that should hold an integer holds a string.
    #[error("an argument is no integer")]
    NotInteger,
    /// A pseudo-variable among the arguments is `$null`.
    #[error("an argument has no value")]
    NullArgument,
    /// `{re.subst}`: replacing nothing by something has no end.
    #[error("the pattern matches the empty string")]
    EmptyMatch,
}

/// An argument as it was compiled.
pub enum Arg {
    /// Literal text.
    Text(Vec<u8>),
    /// A literal number.
    Number(i64),
    /// A pseudo-variable, to be read each time: the number that its compiler gave it.
    Pv(u16),
}

impl Arg {
    /// The value of a literal; `None` for a pseudo-variable.
    pub fn literal(&self) -> Option<Argument<'_>> {
        match self {
            Arg::Text(text) => Some(Input::Str(text)),
            Arg::Number(number) => Some(Input::Int(*number)),
            Arg::Pv(_) => None,
        }
    }
}

/// A transformation as the checker and the documentation know it.
pub struct TransformDef {
    /// Class and name, without the braces.
    pub name: &'static str,
    /// What stands after the name, with its commas; empty without arguments.
    pub args: &'static str,
    /// What it yields, in one sentence or two.
    pub doc: &'static str,
    params: &'static [compile::Param],
    run: Run,
}

/// How a transformation is carried out.
#[derive(Clone, Copy)]
enum Run {
    /// On text; `$null` yields `$null`.
    Text(Operation),
    /// On any value, `$null` included.
    Any(Operation),
    /// `{re.subst}`, which has a language of its own.
    Subst,
    /// `{s.ftime}`, which needs the time zone.
    Time,
}

type Operation = fn(&mut Call<'_>) -> Result<Output, Error>;

/// What a transformation needs beside its arguments, made when it is compiled.
enum Prepared {
    Nothing,
    Subst(Box<subst::Subst>),
    Zone(jiff::tz::TimeZone),
}

/// A transformation with its arguments, ready to be applied by any thread.
pub struct Transform {
    def: &'static TransformDef,
    args: Vec<Arg>,
    prepared: Prepared,
}

impl Transform {
    /// Class and name: `s.len`.
    pub fn name(&self) -> &'static str {
        self.def.name
    }

    /// The arguments, at most [`MAX_ARGS`]. Those of [`Arg::Pv`] have to be evaluated each time.
    pub fn args(&self) -> &[Arg] {
        &self.args
    }

    /// Applies it. `args` are the values of [`Self::args`], place by place; those of literals are
    /// not looked at, and a slice that is too short counts as `$null` from its end on. So without
    /// a pseudo-variable among the arguments an empty slice does.
    ///
    /// Allocates nothing but what `out` needs to grow, save for `{re.subst}` with back references.
    ///
    /// # Errors
    /// [`Error`]; then, and when it yields anything but [`Output::Appended`], `out` is as it was.
    pub fn apply(
        &self,
        input: Input<'_>,
        args: &[Argument<'_>],
        out: &mut Vec<u8>,
    ) -> Result<Output, Error> {
        let start = out.len();
        let result = self.run(input, args, out);
        if !matches!(result, Ok(Output::Appended)) {
            out.truncate(start);
        }
        result
    }

    /// For a substitution: calls `edit` with each place in `text` that it changes and what comes
    /// there. `out` is scratch space.
    ///
    /// # Errors
    /// [`Error`]; then the places before it have been given.
    pub fn each_match(
        &self,
        text: &[u8],
        args: &[Argument<'_>],
        out: &mut Vec<u8>,
        edit: &mut dyn FnMut(std::ops::Range<usize>, &[u8]),
    ) -> Result<(), Error> {
        let Prepared::Subst(subst) = &self.prepared else {
            return Ok(());
        };
        subst.each(text, &self.args, args, out, edit)
    }

    fn run(
        &self,
        input: Input<'_>,
        args: &[Argument<'_>],
        out: &mut Vec<u8>,
    ) -> Result<Output, Error> {
        let decimal;
        let text: &[u8] = match input {
            Input::Null if !matches!(self.def.run, Run::Any(_)) => return Ok(Output::Null),
            Input::Null => b"",
            Input::Int(number) => {
                decimal = Decimal::new(number);
                decimal.bytes()
            }
            Input::Str(text) => text,
        };
        let mut call = Call {
            input,
            text,
            literals: &self.args,
            args,
            out: Sink::new(out),
        };
        let output = match (&self.prepared, self.def.run) {
            (Prepared::Subst(subst), _) => subst.run(&mut call),
            (Prepared::Zone(zone), _) => time::ftime(&mut call, zone),
            (Prepared::Nothing, Run::Text(operation) | Run::Any(operation)) => operation(&mut call),
            (Prepared::Nothing, Run::Subst | Run::Time) => Ok(Output::Null),
        }?;
        match (output, input) {
            // The caller has the number, not its digits.
            (Output::Part(range), Input::Int(_)) => {
                call.out.push(text.get(range).unwrap_or_default())?;
                Ok(Output::Appended)
            }
            (output, _) => Ok(output),
        }
    }
}
