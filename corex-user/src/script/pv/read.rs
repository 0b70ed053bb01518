//! Reading pseudo-variables.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Kind;
use crate::script::exec::{Exec, Halt, part_of};
use crate::script::value::{Source, StrRef, Value};
use crate::sip::{Scheme, SipView, Uri};

/// An IPv6 address as text with an embedded IPv4 address and a zone has less.
const IP_TEXT_LEN: usize = 64;

impl Exec<'_> {
    /// The value of a pseudo-variable.
    pub fn read(&mut self, kind: Kind) -> Result<Value, Halt> {
        Ok(match kind {
            Kind::Null | Kind::Avp | Kind::Var => Value::Null,
            Kind::Dollar => self.text(b"$")?,
            Kind::MessageBuffer => Value::Str(self.whole_message()),
            Kind::MessageLen => Value::Int(self.message.len() as i64),
            Kind::SourceIp => self.ip_text(self.env.src.ip())?,
            Kind::SourcePort => Value::Int(self.env.src.port().into()),
            Kind::LocalIp => self.ip_text(self.env.dst.ip())?,
            Kind::LocalPort => Value::Int(self.env.dst.port().into()),
            Kind::Protocol => self.text(self.env.transport.as_str().as_bytes())?,
            Kind::Method => {
                self.of_message(|view| view.method().or_else(|| Some(view.cseq()?.method)))
            }
            Kind::RequestUri => self.request_uri().map_or(Value::Null, Value::Str),
            Kind::RequestUser => self.of_request_uri(|uri| uri.user),
            Kind::RequestHost => {
                self.of_request_uri(|uri| Some(uri.host).filter(|host| !host.is_empty()))
            }
            Kind::RequestPort => self.request_port(),
            Kind::DestinationUri => self.overrides.destination.map_or(Value::Null, Value::Str),
            Kind::FromUri => self.of_message(|view| view.from().map(|from| from.uri)),
            Kind::ToUri => self.of_message(|view| view.to().map(|to| to.uri)),
            Kind::CallId => self.of_message(SipView::call_id),
            Kind::CSeqNumber => self
                .view
                .and_then(SipView::cseq)
                .map_or(Value::Null, |cseq| Value::Int(cseq.number.into())),
            Kind::UserAgent => self.of_message(SipView::user_agent),
            Kind::Status => self
                .view
                .and_then(SipView::status)
                .map_or(Value::Null, |status| Value::Int(status.into())),
            Kind::Reason => self.of_message(SipView::reason),
            Kind::Timestamp => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                Value::Int(since.map_or(0, |since| since.as_secs() as i64))
            }
            Kind::Socket => self
                .overrides
                .socket
                .and_then(|id| self.program.sockets.get(usize::from(id.0)))
                .map_or(Value::Null, |socket| Value::Str(socket.text)),
            Kind::Pid => Value::Int(std::process::id().into()),
            Kind::ReturnCode => Value::Int(self.code),
        })
    }

    fn whole_message(&self) -> StrRef {
        StrRef {
            source: Source::Message,
            offset: 0,
            len: self.message.len() as u32,
        }
    }

    /// The request URI as the script left it.
    pub fn request_uri(&self) -> Option<StrRef> {
        self.overrides.request_uri.or_else(|| {
            let uri = self.view?.request_uri()?;
            Some(part_of(self.whole_message(), self.message, uri))
        })
    }

    fn of_message<'v>(&'v self, part: impl FnOnce(&'v SipView<'v>) -> Option<&'v [u8]>) -> Value {
        self.view.and_then(part).map_or(Value::Null, |part| {
            Value::Str(part_of(self.whole_message(), self.message, part))
        })
    }

    fn of_request_uri<'v>(&'v self, part: impl FnOnce(&Uri<'v>) -> Option<&'v [u8]>) -> Value {
        let Some(string) = self.request_uri() else {
            return Value::Null;
        };
        let bytes = self.bytes(string);
        Uri::parse(bytes)
            .ok()
            .and_then(|uri| part(&uri))
            .map_or(Value::Null, |part| Value::Str(part_of(string, bytes, part)))
    }

    fn request_port(&self) -> Value {
        let uri = self
            .request_uri()
            .and_then(|string| Uri::parse(self.bytes(string)).ok());
        uri.map_or(Value::Null, |uri| {
            let default = if uri.scheme == Scheme::Sips {
                5061
            } else {
                uri.transport().map_or(5060, |t| t.default_port())
            };
            Value::Int(uri.port.unwrap_or(default).into())
        })
    }

    fn text(&mut self, text: &[u8]) -> Result<Value, Halt> {
        let mark = self.rt.store.mark();
        self.rt.store.push(text)?;
        Ok(self.rt.store.since(mark))
    }

    fn ip_text(&mut self, ip: IpAddr) -> Result<Value, Halt> {
        let mut buffer = [0; IP_TEXT_LEN];
        let mut rest = &mut buffer[..];
        // Never longer than the buffer.
        let _ = write!(rest, "{}", ip.to_canonical());
        let len = IP_TEXT_LEN - rest.len();
        self.text(buffer.get(..len).unwrap_or_default())
    }
}
