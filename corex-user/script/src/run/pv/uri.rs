//! The request URI, the destination URI and their parts. The message itself stays as it is: what
//! is written counts for the run that wrote it, and for what forward() sends.

use super::PvDef;
use crate::run::exec::{Exec, Halt, part_of};
use crate::run::value::{StrRef, Value};
use corex_sip::{Scheme, Uri};

#[rustfmt::skip]
pub(super) const DEFS: &[PvDef] = &[
    PvDef::plain("ru", |exec| Ok(string(exec.request_uri())), "Request URI. What is assigned counts for this run of the script and for what forward() sends; the message stays as it is.").written(write_request_uri).sip(),
    PvDef::plain("rU", |exec| Ok(exec.request_user()), "User part of the request URI.").written(|exec, value| exec.replace_part(Part::User, value).map(|_| ())).sip(),
    PvDef::plain("rd", |exec| Ok(exec.of_request_uri(|uri| Some(uri.host))), "Host of the request URI.").written(|exec, value| exec.replace_part(Part::Host, value).map(|_| ())).sip(),
    PvDef::plain("rp", |exec| { let uri = exec.request_uri(); exec.port_text(uri) }, "Port of the request URI, the scheme's default where it names none.").written(|exec, value| exec.replace_part(Part::Port, value).map(|_| ())).sip(),
    PvDef::plain("rz", |exec| Ok(exec.request_scheme()), "Scheme of the request URI.").sip(),
    PvDef::plain("rP", |exec| { let uri = exec.request_uri(); exec.transport_of(uri) }, "Transport of the request URI, UDP where it names none.").sip(),
    PvDef::plain("ou", |exec| Ok(string(exec.original_uri())), "Request URI as it came.").sip(),
    PvDef::plain("oU", |exec| { let uri = exec.original_uri(); Ok(exec.of_uri(uri, |uri| uri.user)) }, "User of the request URI as it came.").sip(),
    PvDef::plain("od", |exec| { let uri = exec.original_uri(); Ok(exec.of_uri(uri, |uri| Some(uri.host))) }, "Host of the request URI as it came.").sip(),
    PvDef::plain("op", |exec| { let uri = exec.original_uri(); exec.port_text(uri) }, "Port of the request URI as it came.").sip(),
    PvDef::plain("oP", |exec| { let uri = exec.original_uri(); exec.transport_of(uri) }, "Transport of the request URI as it came.").sip(),
    PvDef::plain("dd", |exec| { let uri = exec.changes.destination; Ok(exec.of_uri(uri, |uri| Some(uri.host))) }, "Host of $du.").sip(),
    PvDef::plain("dp", |exec| { let uri = exec.changes.destination; Ok(exec.port_of(uri)) }, "Port of $du.").sip(),
    PvDef::plain("dP", |exec| { let uri = exec.changes.destination; exec.transport_of(uri) }, "Transport of $du.").sip(),
    PvDef::plain("du", |exec| Ok(string(exec.changes.destination)), "URI that forward() and send() without a parameter send to instead of the request URI; $null at first.").written(write_destination).sip(),
];

fn string(string: Option<StrRef>) -> Value {
    string.map_or(Value::Null, Value::Str)
}

fn write_request_uri(exec: &mut Exec<'_>, value: Value) -> Result<(), Halt> {
    if exec.request_uri().is_none() {
        exec.complain(format_args!("there is no request URI to write"));
    } else {
        exec.changes.request_uri = exec.lasting(value)?;
    }
    Ok(())
}

fn write_destination(exec: &mut Exec<'_>, value: Value) -> Result<(), Halt> {
    exec.changes.destination = exec.lasting(value)?;
    Ok(())
}

/// A part of the request URI that can be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The user.
    User,
    /// User and password.
    UserInfo,
    /// The host.
    Host,
    /// Host and port.
    HostPort,
    /// The port.
    Port,
}

impl Exec<'_> {
    /// The request URI as the script left it.
    pub fn request_uri(&self) -> Option<StrRef> {
        self.changes.request_uri.or_else(|| self.original_uri())
    }

    /// The request URI as it came.
    fn original_uri(&self) -> Option<StrRef> {
        let uri = self.view?.request_uri()?;
        Some(part_of(self.whole_message(), self.message, uri))
    }

    fn of_request_uri<'v>(&'v self, part: impl FnOnce(&Uri<'v>) -> Option<&'v [u8]>) -> Value {
        self.of_uri(self.request_uri(), part)
    }

    /// A part of a URI; `$null` where it is empty.
    fn of_uri<'v>(
        &'v self,
        uri: Option<StrRef>,
        part: impl FnOnce(&Uri<'v>) -> Option<&'v [u8]>,
    ) -> Value {
        let Some(string) = uri else {
            return Value::Null;
        };
        let bytes = self.bytes(string);
        Uri::parse(bytes)
            .ok()
            .and_then(|uri| part(&uri))
            .filter(|part| !part.is_empty())
            .map_or(Value::Null, |part| Value::Str(part_of(string, bytes, part)))
    }

    fn transport_of(&mut self, uri: Option<StrRef>) -> Result<Value, Halt> {
        if uri.is_none() {
            return Ok(Value::Null);
        }
        match self.of_uri(uri, |uri| uri.transport_param()) {
            Value::Null => self.text(b"UDP"),
            transport => Ok(transport),
        }
    }

    /// Scheme of the request URI.
    fn request_scheme(&self) -> Value {
        let Some(string) = self.request_uri() else {
            return Value::Null;
        };
        let bytes = self.bytes(string);
        let scheme = bytes.split(|byte| *byte == b':').next().unwrap_or_default();
        Value::Str(part_of(string, bytes, scheme))
    }

    /// User of the request URI; `$null` where it is empty.
    pub fn request_user(&self) -> Value {
        self.of_request_uri(|uri| uri.user)
    }

    /// The port as text: as in Kamailio `+` appends to it.
    fn port_text(&mut self, uri: Option<StrRef>) -> Result<Value, Halt> {
        let port = self.port_of(uri);
        match port {
            Value::Null => Ok(Value::Null),
            port => Ok(Value::Str(self.rt.store.string(port)?)),
        }
    }

    fn port_of(&self, uri: Option<StrRef>) -> Value {
        let uri = uri.and_then(|string| Uri::parse(self.bytes(string)).ok());
        uri.map_or(Value::Null, |uri| {
            let default = if uri.scheme == Scheme::Sips {
                5061
            } else {
                uri.transport().map_or(5060, |t| t.default_port())
            };
            Value::Int(uri.port.unwrap_or(default).into())
        })
    }

    /// Replaces a part of the request URI, or takes it away with `$null`. False if it is none, or
    /// would be none then.
    pub fn replace_part(&mut self, part: Part, value: Value) -> Result<bool, Halt> {
        let removes = value == Value::Null;
        if removes && matches!(part, Part::Host | Part::HostPort) {
            self.complain(format_args!("the request URI can't do without a host"));
            return Ok(false);
        }
        let new = self.rt.store.string(value)?;
        let Some(whole) = self.request_uri() else {
            self.complain(format_args!("there is no request URI to write"));
            return Ok(false);
        };
        let bytes = self.bytes(whole);
        let uri = match Uri::parse(bytes) {
            Ok(uri) if !uri.host.is_empty() => uri,
            _ => {
                self.complain(format_args!(
                    "the request URI is no SIP URI: no part of it can be written"
                ));
                return Ok(false);
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
            Part::User | Part::UserInfo if removes => None,
            Part::User | Part::UserInfo => Some(new),
            _ => user,
        };
        let mark = self.rt.store.mark();
        self.push(scheme)?;
        if let Some(user) = user.filter(|user| user.len > 0) {
            self.push(user)?;
            if let Some(password) = password.filter(|_| part != Part::UserInfo) {
                self.rt.store.push(b":")?;
                self.push(password)?;
            }
            self.rt.store.push(b"@")?;
        }
        self.push(match part {
            Part::Host | Part::HostPort => new,
            _ => host,
        })?;
        match part {
            Part::Port if removes => {}
            Part::HostPort => {}
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
                return Ok(false);
            }
            self.changes.request_uri = Some(made);
            self.keep();
        }
        Ok(true)
    }
}
