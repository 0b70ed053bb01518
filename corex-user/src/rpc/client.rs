//! `corex rpc`: asks by binrpc, waits, and prints as `kamcmd` does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process;
use std::time::Duration;

use super::binrpc::{self, Cookie, Kind, Progress};
use super::fault::Fault;
use super::json;
use super::value::{Fields, Name, Value};
use corex_script::settings::control::{BinrpcAddress, default_socket};

/// The most bytes of a reply's payload.
const MAX_REPLY: usize = 64 << 20;

/// Exit status: the command was refused.
pub const REFUSED: u8 = 1;
/// Exit status: the command line is wrong.
pub const USAGE: u8 = 2;
/// Exit status: nobody answers.
pub const UNREACHABLE: u8 = 3;

/// What the command line asks.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The socket, as `binrpc` of the module ctl takes it; `None`: the default.
    pub socket: Option<&'a str>,
    /// The command's name.
    pub method: &'a str,
    /// Its parameters, as they were typed.
    pub params: &'a [String],
    /// Whether to print JSON.
    pub json: bool,
    /// How long the server may be silent.
    pub patience: Duration,
}

/// What to print, and the exit status: 0 done, 1 refused, 2 usage, 3 no connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Printed {
    /// For standard output.
    pub output: Vec<u8>,
    /// A line for standard error; empty: none.
    pub error: String,
    /// The exit status.
    pub status: u8,
}

/// What is wrong with the control socket that a command line names.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("--socket: {0}")]
pub struct BadSocket(String);

/// The control socket that a command line names; `None`: the default.
///
/// # Errors
/// What is wrong with the text.
pub fn address(socket: Option<&str>) -> Result<BinrpcAddress, BadSocket> {
    match socket {
        None => Ok(BinrpcAddress::UnixStream(default_socket())),
        Some(text) => BinrpcAddress::parse(text).map_err(|wrong| BadSocket(wrong.to_string())),
    }
}

/// Asks, and says what to print. Blocks.
pub fn ask(question: &Question<'_>) -> Printed {
    let address = match address(question.socket) {
        Ok(address) => address,
        Err(bad) => return failed(USAGE, format!("corex: {bad}")),
    };
    let mut connection = match Connection::open(&address, question.patience) {
        Ok(connection) => connection,
        Err(error) => {
            return failed(UNREACHABLE, format!("corex: connect to {address}: {error}"));
        }
    };
    let params: Vec<_> = question.params.iter().map(|word| parameter(word)).collect();
    let answered = connection.call(question.method, &params).and_then(|reply| {
        // On the wire, a list of one looks like a single value.
        let is_list = match &reply {
            Ok(records) if question.json && records.len() < 2 => {
                connection.answers_list(question.method)?
            }
            _ => true,
        };
        Ok((reply, is_list))
    });
    match answered {
        Err(error) => failed(UNREACHABLE, format!("corex: ask {address}: {error}")),
        Ok((Ok(records), is_list)) => Printed {
            output: if question.json {
                json::text(&document(records, is_list))
            } else {
                text(&records)
            },
            ..Printed::default()
        },
        Ok((Err(fault), _)) if question.json => Printed {
            output: json::text(&Value::fields([
                ("code", Value::Int(fault.code.into())),
                ("message", fault.reason.as_ref().into()),
            ])),
            status: REFUSED,
            ..Printed::default()
        },
        Ok((Err(fault), _)) => failed(REFUSED, format!("error: {fault}")),
    }
}

fn failed(status: u8, error: String) -> Printed {
    Printed {
        output: Vec::new(),
        error,
        status,
    }
}

/// A word as kamcmd takes it: a number if it looks like one, unless `s:` stands in front.
fn parameter(word: &str) -> Value {
    if let Some(text) = word.strip_prefix("s:") {
        return text.into();
    }
    if let Ok(number) = word.parse() {
        return Value::Int(number);
    }
    // Words like `inf` and `1e3` are no numbers for people.
    let looks_like_number = word
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    match word.parse() {
        Ok(number) if looks_like_number => Value::Double(number),
        _ => word.into(),
    }
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A connection to a control socket. Blocks.
pub struct Connection {
    stream: Box<dyn Stream>,
    asked: u16,
}

impl Connection {
    /// Connects; `patience` is how long the server may be silent.
    ///
    /// # Errors
    /// What the kernel says; that the socket is one of datagrams.
    pub fn open(address: &BinrpcAddress, patience: Duration) -> io::Result<Connection> {
        let stream: Box<dyn Stream> = match address {
            BinrpcAddress::UnixStream(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Box::new(stream)
            }
            BinrpcAddress::Tcp(at) => {
                let stream = TcpStream::connect_timeout(&at.resolve()?, patience)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Box::new(stream)
            }
            BinrpcAddress::UnixDatagram(_) | BinrpcAddress::Udp(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "only unix: and tcp: sockets can be asked",
                ));
            }
        };
        Ok(Connection { stream, asked: 0 })
    }

    /// Sends a request and reads its reply or fault.
    ///
    /// # Errors
    /// What the kernel says; a reply that can't be read. The connection is of no use afterwards.
    pub fn call(
        &mut self,
        method: &str,
        params: &[Value],
    ) -> io::Result<Result<Vec<Value>, Fault>> {
        self.asked = self.asked.wrapping_add(1);
        let cookie = Cookie::new(&((process::id() << 8) ^ u32::from(self.asked)).to_be_bytes());
        let request = binrpc::request_bytes(cookie, method, params);
        self.stream.write_all(&request).map_err(explain)?;
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut buffer = Vec::new();
        let frame = loop {
            match binrpc::progress(&buffer, MAX_REPLY) {
                Ok(Progress::Whole(frame)) => break frame,
                Ok(Progress::Missing(missing)) => {
                    let mut chunk = [0; 8192];
                    // Bytes beyond the reply are left to whoever reads next.
                    let room = missing.min(chunk.len());
                    let part = chunk.get_mut(..room).unwrap_or_default();
                    match self.stream.read(part).map_err(explain)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        length => buffer.extend_from_slice(part.get(..length).unwrap_or_default()),
                    }
                }
                Err(error) => return Err(bad(&format!("the reply can't be read: {error}"))),
            }
        };
        let payload = buffer.get(frame.header..).unwrap_or_default();
        let records = binrpc::payload(payload)
            .map_err(|error| bad(&format!("the reply can't be read: {error}")))?;
        match (frame.kind, frame.cookie == cookie) {
            (Kind::Reply, true) => Ok(Ok(records)),
            (Kind::Fault, _) => match <[Value; 2]>::try_from(records) {
                Ok([Value::Int(code), Value::Str(reason)]) => Ok(Err(Fault::new(
                    u16::try_from(code).unwrap_or(500),
                    String::from_utf8_lossy(&reason).into_owned(),
                ))),
                _ => Err(bad("the fault can't be read")),
            },
            _ => Err(bad("this answers another request")),
        }
    }

    /// Whether a command may answer several records. Servers that don't say so have none.
    fn answers_list(&mut self, method: &str) -> io::Result<bool> {
        let signature = self.call("system.methodSignature", &[method.into()])?;
        let Ok([Value::Array(ways)]) = signature.as_deref() else {
            return Ok(false);
        };
        Ok(ways.iter().any(|way| match way {
            Value::Array(types) => types.first() == Some(&Value::from("array")),
            _ => false,
        }))
    }
}

/// Where a time ran out, the kernel says that the call would block.
fn explain(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "it takes too long"),
        _ => error,
    }
}

/// Records as one value for JSON.
fn document(records: Vec<Value>, is_list: bool) -> Value {
    let mut records: Vec<_> = records.into_iter().map(with_lists).collect();
    match (records.len(), is_list) {
        (0, false) => Value::Struct(Fields::new()),
        (1, false) => records.swap_remove(0),
        _ => Value::Array(records),
    }
}

/// Lists within structs travel as structs: without names, or with the same name again and again.
fn with_lists(value: Value) -> Value {
    match value {
        Value::Struct(fields) => {
            let fields: Fields = fields
                .into_iter()
                .map(|(name, value)| (name, with_lists(value)))
                .collect();
            let is_repeated = |at: usize, name: &Name| {
                let before = fields.get(..at).unwrap_or_default();
                before.iter().any(|(known, _)| known == name)
            };
            let is_named = fields.iter().any(|(name, _)| !name.is_empty());
            if !fields.is_empty() && !is_named {
                Value::Array(fields.into_iter().map(|(_, value)| value).collect())
            } else if fields
                .iter()
                .enumerate()
                .any(|(at, (name, _))| is_repeated(at, name))
            {
                Value::Named(fields)
            } else {
                Value::Struct(fields)
            }
        }
        Value::Array(elements) => Value::Array(elements.into_iter().map(with_lists).collect()),
        other => other,
    }
}

/// Records as kamcmd prints them.
fn text(records: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        print(&mut out, "", record, 0);
    }
    out
}

fn print(out: &mut Vec<u8>, name: &str, value: &Value, depth: usize) {
    let indent = |out: &mut Vec<u8>| out.extend(std::iter::repeat_n(b'\t', depth));
    indent(out);
    if !name.is_empty() {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
    }
    match value {
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Double(number) => out.extend_from_slice(format!("{number:.6}").as_bytes()),
        Value::Str(text) => out.extend_from_slice(text),
        Value::Struct(fields) | Value::Named(fields) => {
            out.extend_from_slice(b"{\n");
            for (name, value) in fields {
                print(out, name, value, depth + 1);
            }
            indent(out);
            out.push(b'}');
        }
        Value::Array(elements) => {
            out.extend_from_slice(b"[\n");
            for element in elements {
                print(out, "", element, depth + 1);
            }
            indent(out);
            out.push(b']');
        }
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
