//! Writes documents. Members keep their order.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::parse::Id;
use crate::rpc::fault::Fault;
use crate::rpc::value::Value;

/// An error object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Error {
    pub code: i64,
    pub message: Cow<'static, str>,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        Error {
            code: fault.code.into(),
            message: fault.reason,
        }
    }
}

/// What answers one request.
#[derive(Debug)]
pub(super) struct Response {
    pub id: Id,
    pub outcome: Result<Value, Error>,
}

/// The document of one response.
pub(super) fn single(response: &Response, pretty: bool) -> Vec<u8> {
    let mut out = Writer::new(pretty);
    out.response(response);
    out.finish()
}

/// The document of a batch.
pub(super) fn batch(responses: &[Response], pretty: bool) -> Vec<u8> {
    let mut out = Writer::new(pretty);
    out.list('[', ']', responses, |out, response| out.response(response));
    out.finish()
}

/// A value as a document for people.
pub(in crate::rpc) fn value(value: &Value) -> Vec<u8> {
    let mut out = Writer::new(true);
    out.value(value);
    out.finish()
}

struct Writer {
    text: String,
    /// Whether each member has a line of its own, indented by tabs.
    pretty: bool,
    depth: usize,
}

impl Writer {
    fn new(pretty: bool) -> Writer {
        Writer {
            text: String::new(),
            pretty,
            depth: 0,
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.pretty {
            self.text.push('\n');
        }
        self.text.into_bytes()
    }

    fn response(&mut self, response: &Response) {
        let members: [&dyn Fn(&mut Writer); 3] = [
            &|out| {
                out.name("jsonrpc");
                out.string("2.0");
            },
            &|out| match &response.outcome {
                Ok(result) => {
                    out.name("result");
                    out.value(result);
                }
                Err(error) => {
                    out.name("error");
                    out.error(error);
                }
            },
            &|out| {
                out.name("id");
                out.text.push_str(&response.id.0);
            },
        ];
        self.list('{', '}', members, |out, member| member(out));
    }

    fn error(&mut self, error: &Error) {
        let members: [&dyn Fn(&mut Writer); 2] = [
            &|out| {
                out.name("code");
                out.display(error.code);
            },
            &|out| {
                out.name("message");
                out.string(&error.message);
            },
        ];
        self.list('{', '}', members, |out, member| member(out));
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Int(number) => self.display(number),
            // A number that JSON doesn't have.
            Value::Double(number) if !number.is_finite() => self.text.push_str("null"),
            Value::Double(number) => self.display(format_args!("{number:?}")),
            Value::Str(text) => self.string(&String::from_utf8_lossy(text)),
            Value::Array(elements) => self.list('[', ']', elements, Writer::value),
            Value::Struct(fields) => self.list('{', '}', fields, |out, (name, value)| {
                out.name(name);
                out.value(value);
            }),
            Value::Named(elements) => self.list('[', ']', elements, |out, element| {
                out.list('{', '}', [element], |out, (name, value)| {
                    out.name(name);
                    out.value(value);
                });
            }),
        }
    }

    fn list<T>(
        &mut self,
        open: char,
        close: char,
        items: impl IntoIterator<Item = T>,
        mut put: impl FnMut(&mut Writer, T),
    ) {
        self.text.push(open);
        self.depth += 1;
        let mut is_empty = true;
        for item in items {
            if !is_empty {
                self.text.push(',');
            }
            is_empty = false;
            self.line();
            put(self, item);
        }
        self.depth -= 1;
        if !is_empty {
            self.line();
        }
        self.text.push(close);
    }

    fn line(&mut self) {
        if self.pretty {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n('\t', self.depth));
        }
    }

    fn name(&mut self, name: &str) {
        self.string(name);
        self.text.push(':');
        if self.pretty {
            self.text.push(' ');
        }
    }

    fn display(&mut self, what: impl std::fmt::Display) {
        // A string takes whatever is written.
        let _ = write!(self.text, "{what}");
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                control if control < ' ' || control == '\u{7f}' => {
                    self.display(format_args!("\\u{:04x}", u32::from(control)));
                }
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }
}
