//! Pseudo-variables: which there are, and how they are read and written.
//!
//! One file for each area; what all need is here.

mod branch;
mod message;
mod network;
mod route;
mod shared;
mod time;
mod uri;
mod values;
mod xavp;

pub use uri::Part;

use std::io::Write as _;
use std::net::IpAddr;

use super::exec::{Exec, Halt, ScriptError, part_of};
use super::node::{NamedReader, NamedWriter, Reader, Writer};
use super::value::{Source, StrRef, Value};
use crate::settings::Settings;
use corex_sip::SipView;

/// How a pseudo-variable is written down, and what reads and writes it.
pub enum Form {
    /// `$null`.
    Null,
    /// `$$`.
    Dollar,
    /// `$mb`.
    Message,
    /// `$avp(name)`.
    Avp,
    /// `$var(name)`.
    Var,
    /// `$name`.
    Plain {
        /// Reads it.
        read: Reader,
        /// Writes it, where that is possible.
        write: Option<Writer>,
    },
    /// `$name(inner)`, where `inner` may hold pseudo-variables.
    Named {
        /// What `inner` may be.
        names: Names,
        /// Whether there can be several values, told apart by an index.
        indexed: bool,
        /// Reads it.
        read: NamedReader,
        /// Writes it, where that is possible.
        write: Option<NamedWriter>,
    },
}

/// What may stand in the parentheses.
pub enum Names {
    /// Anything.
    Any,
    /// One of these, in any case.
    Words(&'static [&'static str]),
    /// What the check doesn't refuse; it gets the text as far as no pseudo-variable is in it.
    Checked(fn(&Settings, &str) -> Result<(), String>),
}

/// A pseudo-variable as the checker and the documentation know it.
pub struct PvDef {
    /// Its name without the `$`.
    pub name: &'static str,
    /// How it is written down, and what it does.
    pub form: Form,
    /// Whether it is part of a parsed SIP message, and so `$null` in `event_route[network:msg]`.
    pub is_sip: bool,
    /// What it is, in one or a few sentences.
    pub doc: &'static str,
}

impl PvDef {
    /// A pseudo-variable without a name in parentheses that can only be read.
    const fn plain(name: &'static str, read: Reader, doc: &'static str) -> PvDef {
        PvDef {
            name,
            form: Form::Plain { read, write: None },
            is_sip: false,
            doc,
        }
    }

    /// One with a name in parentheses that can only be read.
    const fn named(
        name: &'static str,
        names: Names,
        read: NamedReader,
        doc: &'static str,
    ) -> PvDef {
        PvDef {
            name,
            form: Form::Named {
                names,
                indexed: false,
                read,
                write: None,
            },
            is_sip: false,
            doc,
        }
    }

    /// The same, part of a SIP message.
    const fn sip(mut self) -> PvDef {
        self.is_sip = true;
        self
    }

    /// The same, with an index.
    const fn indexed(mut self) -> PvDef {
        if let Form::Named { indexed, .. } = &mut self.form {
            *indexed = true;
        }
        self
    }

    /// The same, and it can be written.
    const fn written(mut self, with: Writer) -> PvDef {
        if let Form::Plain { write, .. } = &mut self.form {
            *write = Some(with);
        }
        self
    }

    /// The same, and it can be written by its name.
    const fn written_by_name(mut self, with: NamedWriter) -> PvDef {
        if let Form::Named { write, .. } = &mut self.form {
            *write = Some(with);
        }
        self
    }

    /// Whether it can be written.
    pub fn is_writable(&self) -> bool {
        match &self.form {
            Form::Avp | Form::Var => true,
            Form::Null | Form::Dollar | Form::Message => false,
            Form::Plain { write, .. } => write.is_some(),
            Form::Named { write, .. } => write.is_some(),
        }
    }
}

/// All pseudo-variables, by area.
const AREAS: [&[PvDef]; 9] = [
    values::DEFS,
    message::DEFS,
    uri::DEFS,
    network::DEFS,
    time::DEFS,
    shared::DEFS,
    branch::DEFS,
    route::DEFS,
    xavp::DEFS,
];

/// All pseudo-variables.
pub fn all() -> impl Iterator<Item = &'static PvDef> {
    AREAS.into_iter().flatten()
}

/// The pseudo-variable of this name.
pub fn find(name: &str) -> Option<&'static PvDef> {
    all().find(|def| def.name == name)
}

/// An IPv6 address as text with an embedded IPv4 address and a zone has less.
const IP_TEXT_LEN: usize = 64;

/// What the areas need of a run.
impl Exec<'_> {
    /// Text that was made, as a value.
    pub fn text(&mut self, text: &[u8]) -> Result<Value, Halt> {
        let mark = self.rt.store.mark();
        self.rt.store.push(text)?;
        Ok(self.rt.store.since(mark))
    }

    /// What was added to the arena since a mark ([`Self::mark`]), as a string.
    pub fn since(&self, mark: usize) -> Value {
        self.rt.store.since(mark)
    }

    /// A value as a string: integers in decimal, `$null` empty.
    ///
    /// # Errors
    /// When a message's scripts keep too much already.
    pub fn string(&mut self, value: Value) -> Result<StrRef, ScriptError> {
        self.rt.store.string(value)
    }

    /// An IP address as text, IPv6 without brackets.
    pub fn ip_text(&mut self, ip: IpAddr) -> Result<Value, Halt> {
        self.display(ip.to_canonical())
    }

    /// Something short as text; what is longer than 64 bytes is cut off.
    pub fn display(&mut self, what: impl std::fmt::Display) -> Result<Value, Halt> {
        let mut buffer = [0; IP_TEXT_LEN];
        let mut rest = &mut buffer[..];
        // The only error is the one that the buffer is full.
        let _ = write!(rest, "{what}");
        let len = IP_TEXT_LEN - rest.len();
        self.text(buffer.get(..len).unwrap_or_default())
    }

    /// The whole message as a string.
    pub fn whole_message(&self) -> StrRef {
        StrRef {
            source: Source::Message,
            offset: 0,
            len: self.message.len() as u32,
        }
    }

    /// A part of the message, `$null` where there is none or it is no SIP message.
    pub fn of_message<'v>(
        &'v self,
        part: impl FnOnce(&'v SipView<'v>) -> Option<&'v [u8]>,
    ) -> Value {
        self.view.and_then(part).map_or(Value::Null, |part| {
            Value::Str(part_of(self.whole_message(), self.message, part))
        })
    }

    /// A string that stays as it is until the run ends; `None` for `$null`.
    pub fn lasting(&mut self, value: Value) -> Result<Option<StrRef>, Halt> {
        if value == Value::Null {
            return Ok(None);
        }
        let string = self.rt.store.string(value)?;
        let kept = match string.source {
            Source::Pool | Source::ByName | Source::Message | Source::Avp => string,
            Source::Arena | Source::Var(_) => {
                let mark = self.rt.store.mark();
                self.push(string)?;
                match self.rt.store.since(mark) {
                    Value::Str(copy) => copy,
                    _ => string,
                }
            }
        };
        self.keep();
        Ok(Some(kept))
    }

    /// Logs what went wrong and doesn't end the run, not too often.
    pub fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        if let Some(held_back) = self.rt.limits.others.allow() {
            tracing::warn!(
                worker = self.rt.worker,
                held_back,
                "{}: {what}",
                self.program.place(self.line)
            );
        }
    }
}
