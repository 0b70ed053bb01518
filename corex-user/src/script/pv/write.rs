//! Writing pseudo-variables. The message itself stays as it is: what is written counts for the
//! run that wrote it.

use super::Kind;
use crate::script::SocketId;
use crate::script::exec::{Exec, Halt, part_of};
use crate::script::value::{Source, StrRef, Value};
use crate::sip::Uri;

/// A part of the request URI that can be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    User,
    Host,
    Port,
}

impl Exec<'_> {
    /// Writes a pseudo-variable that is neither AVP nor `$var()`.
    pub fn write(&mut self, kind: Kind, value: Value) -> Result<(), Halt> {
        match kind {
            Kind::RequestUri => {
                if self.request_uri().is_none() {
                    self.complain(format_args!("there is no request URI to write"));
                } else {
                    self.overrides.request_uri = self.lasting(value)?;
                }
            }
            Kind::DestinationUri => self.overrides.destination = self.lasting(value)?,
            Kind::RequestUser => self.replace(Part::User, value)?,
            Kind::RequestHost => self.replace(Part::Host, value)?,
            Kind::RequestPort => self.replace(Part::Port, value)?,
            Kind::Socket => self.force_socket(value)?,
            _ => {}
        }
        Ok(())
    }

    /// A string that stays as it is until the run ends; `None` for `$null`.
    fn lasting(&mut self, value: Value) -> Result<Option<StrRef>, Halt> {
        if value == Value::Null {
            return Ok(None);
        }
        let string = self.rt.store.string(value)?;
        let kept = match string.source {
            Source::Pool | Source::Message | Source::Avp => string,
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

    fn replace(&mut self, part: Part, value: Value) -> Result<(), Halt> {
        let removes = value == Value::Null;
        if removes && part == Part::Host {
            self.complain(format_args!("the request URI can't do without a host"));
            return Ok(());
        }
        let new = self.rt.store.string(value)?;
        let Some(whole) = self.request_uri() else {
            self.complain(format_args!("there is no request URI to write"));
            return Ok(());
        };
        let bytes = self.bytes(whole);
        let uri = match Uri::parse(bytes) {
            Ok(uri) if !uri.host.is_empty() => uri,
            _ => {
                self.complain(format_args!(
                    "the request URI is no SIP URI: no part of it can be written"
                ));
                return Ok(());
            }
        };
        let of = |part: &[u8]| part_of(whole, bytes, part);
        let host = of(uri.host);
        let after_host = (host.offset - whole.offset + host.len) as usize;
        let tail = bytes.get(after_host..).unwrap_or_default();
        let rest_at = match tail {
            [b':', digits @ ..] => {
                1 + digits
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count()
            }
            _ => 0,
        };
        let (port, rest) = tail.split_at_checked(rest_at).unwrap_or((tail, &[]));
        let colon = memchr::memchr(b':', bytes).unwrap_or_default();
        let scheme = of(bytes.get(..=colon).unwrap_or_default());
        let user = uri.user.map(of);
        let password = uri.password.map(of);
        let (port, rest) = (of(port), of(rest));

        let user = match part {
            Part::User if removes => None,
            Part::User => Some(new),
            _ => user,
        };
        let mark = self.rt.store.mark();
        self.push(scheme)?;
        if let Some(user) = user.filter(|user| user.len > 0) {
            self.push(user)?;
            if let Some(password) = password {
                self.rt.store.push(b":")?;
                self.push(password)?;
            }
            self.rt.store.push(b"@")?;
        }
        self.push(if part == Part::Host { new } else { host })?;
        match part {
            Part::Port if removes => {}
            Part::Port => {
                self.rt.store.push(b":")?;
                self.push(new)?;
            }
            _ => self.push(port)?,
        }
        self.push(rest)?;
        if let Value::Str(made) = self.rt.store.since(mark) {
            if Uri::parse(self.bytes(made)).is_err() {
                self.complain(format_args!(
                    "the request URI would be none with this in it: it stays as it is"
                ));
                return Ok(());
            }
            self.overrides.request_uri = Some(made);
            self.keep();
        }
        Ok(())
    }

    fn force_socket(&mut self, value: Value) -> Result<(), Halt> {
        if value == Value::Null {
            self.overrides.socket = None;
            return Ok(());
        }
        let wanted = self.rt.store.string(value)?;
        let pool = &self.program.pool;
        let bytes = self.bytes(wanted);
        let found = self.program.sockets.iter().position(|socket| {
            socket.text.of(pool).eq_ignore_ascii_case(bytes)
                || socket.name.is_some_and(|name| name.of(pool) == bytes)
        });
        match found.and_then(|at| u16::try_from(at).ok()) {
            Some(at) => self.overrides.socket = Some(SocketId(at)),
            None => {
                let shown = bytes.escape_ascii().to_string();
                self.complain(format_args!(
                    "$fs: no listen line with an address is `{shown}`"
                ));
            }
        }
        Ok(())
    }

    /// Logs what went wrong and doesn't end the run, not too often.
    pub fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        if let Some(held_back) = self.rt.limits.others.allow() {
            tracing::warn!(
                worker = self.rt.worker,
                held_back,
                "{}:{}: {what}",
                self.program.file,
                self.line
            );
        }
    }
}
