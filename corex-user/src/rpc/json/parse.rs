//! Reads documents.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::rpc::value::{Name, Value};

/// The most structs and arrays inside each other.
pub const MAX_DEPTH: usize = 32;
/// The most requests of one batch.
pub const MAX_BATCH: usize = 50;

/// The document is no JSON.
pub(super) const PARSE_ERROR: i64 = -32700;
/// The document is no request.
pub(super) const INVALID_REQUEST: i64 = -32600;
/// The parameters are neither a list nor a struct, or hold a null.
pub(super) const INVALID_PARAMS: i64 = -32602;

/// A request's id: JSON text, echoed as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Id(pub(super) String);

impl Id {
    /// For what has no id that could be read.
    pub fn null() -> Id {
        Id("null".to_owned())
    }
}

/// What a document holds.
#[derive(Debug)]
pub(super) enum Document {
    Single(Result<Call, Refused>),
    Batch(Vec<Result<Call, Refused>>),
}

/// A request.
#[derive(Debug)]
pub(super) struct Call {
    pub method: String,
    pub params: Vec<Value>,
    /// `None`: a notification.
    pub id: Option<Id>,
    pub reply_name: Option<String>,
}

/// Why there is no request.
#[derive(Debug)]
pub(super) struct Refused {
    pub code: i64,
    pub message: &'static str,
    pub id: Id,
}

fn refused(code: i64, message: &'static str) -> Refused {
    Refused {
        code,
        message,
        id: Id::null(),
    }
}

fn invalid(message: &'static str) -> Refused {
    refused(INVALID_REQUEST, message)
}

/// Reads a document: one request or a batch.
pub(super) fn document(bytes: &[u8]) -> Result<Document, Refused> {
    if depth(bytes) > MAX_DEPTH {
        return Err(invalid("Invalid Request: nested too deeply"));
    }
    let text: &RawValue =
        serde_json::from_slice(bytes).map_err(|_| refused(PARSE_ERROR, "Parse error"))?;
    if !text.get().starts_with('[') {
        return Ok(Document::Single(call(text)));
    }
    let calls: Vec<&RawValue> =
        serde_json::from_str(text.get()).map_err(|_| refused(PARSE_ERROR, "Parse error"))?;
    match calls.len() {
        0 => Err(invalid("Invalid Request: the batch is empty")),
        1..=MAX_BATCH => Ok(Document::Batch(calls.into_iter().map(call).collect())),
        _ => Err(invalid("Invalid Request: the batch is too long")),
    }
}

fn call(text: &RawValue) -> Result<Call, Refused> {
    let members: Members<&RawValue> = serde_json::from_str(text.get())
        .map_err(|_| invalid("Invalid Request: it is no object"))?;
    let member = |wanted: &str| {
        let mut known = members.0.iter().rev();
        known
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| *value)
    };
    let string = |wanted: &str| {
        let text = member(wanted)?.get();
        serde_json::from_str::<String>(text).ok()
    };
    let id = match member("id").map(RawValue::get) {
        None => None,
        Some(id) if id.starts_with(['{', '[', 't', 'f']) => {
            return Err(invalid(
                "Invalid Request: the id is no string, number or null",
            ));
        }
        Some(id) => Some(Id(id.to_owned())),
    };
    let with_id = |refused: Refused| Refused {
        id: id.clone().unwrap_or_else(Id::null),
        ..refused
    };
    if string("jsonrpc").as_deref() != Some("2.0") {
        return Err(with_id(invalid("Invalid Request: jsonrpc is not \"2.0\"")));
    }
    let Some(method) = string("method") else {
        return Err(with_id(invalid("Invalid Request: there is no method")));
    };
    let params = match member("params") {
        None => Vec::new(),
        Some(params) => parameters(params).map_err(with_id)?,
    };
    Ok(Call {
        method,
        params,
        id,
        reply_name: string("reply_name"),
    })
}

/// The parameters. As in Kamailio, only the order counts of those that have names.
fn parameters(text: &RawValue) -> Result<Vec<Value>, Refused> {
    match serde_json::from_str(text.get()) {
        Ok(Json(Value::Array(values))) => Ok(values),
        Ok(Json(Value::Struct(fields))) => Ok(fields.into_iter().map(|(_, value)| value).collect()),
        _ => Err(refused(INVALID_PARAMS, "Invalid params")),
    }
}

/// Brackets inside each other, outside of strings. Of what is no JSON, any number.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    let mut scanner = Scanner::default();
    for byte in bytes {
        match scanner.step(*byte) {
            Step::Opens => {
                depth += 1;
                most = most.max(depth);
            }
            Step::Closes => depth = depth.saturating_sub(1),
            Step::Other => {}
        }
    }
    most
}

/// What a byte is for the nesting.
enum Step {
    Opens,
    Closes,
    Other,
}

/// Tells brackets from those in strings.
#[derive(Default)]
struct Scanner {
    in_string: bool,
    escaped: bool,
}

impl Scanner {
    fn step(&mut self, byte: u8) -> Step {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Step::Other;
        }
        match byte {
            b'{' | b'[' => Step::Opens,
            b'}' | b']' => Step::Closes,
            b'"' => {
                self.in_string = true;
                Step::Other
            }
            _ => Step::Other,
        }
    }
}

/// The first piece of a stream of documents that nothing separates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// So many bytes are white space or no document, and can be left out.
    Skip {
        /// How many.
        length: usize,
        /// Whether there was anything but white space.
        is_junk: bool,
    },
    /// So many bytes are a document.
    Document(usize),
    /// A document begins, and goes on.
    Incomplete,
}

/// The first piece of these bytes; `None` if there are none.
pub fn next_document(bytes: &[u8]) -> Option<Piece> {
    let first = bytes.first()?;
    if first.is_ascii_whitespace() {
        let length = bytes.iter().take_while(|byte| byte.is_ascii_whitespace());
        return Some(Piece::Skip {
            length: length.count(),
            is_junk: false,
        });
    }
    if !matches!(first, b'{' | b'[') {
        // What follows in the line won't be any better.
        let line = bytes.iter().take_while(|byte| **byte != b'\n');
        return Some(Piece::Skip {
            length: line.count(),
            is_junk: true,
        });
    }
    let mut depth = 0_usize;
    let mut scanner = Scanner::default();
    for (at, byte) in bytes.iter().enumerate() {
        match scanner.step(*byte) {
            Step::Opens => depth += 1,
            Step::Closes => depth -= 1,
            Step::Other => {}
        }
        if depth == 0 {
            return Some(Piece::Document(at + 1));
        }
    }
    Some(Piece::Incomplete)
}

/// An object's members in their order.
struct Members<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// A value as commands take them.
struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value other than null")
            }

            fn visit_bool<E>(self, truth: bool) -> Result<Json, E> {
                Ok(Json(Value::Int(truth.into())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
                Ok(Json(Value::Int(number)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
                Ok(Json(match i64::try_from(number) {
                    Ok(number) => Value::Int(number),
                    Err(_) => Value::Double(number as f64),
                }))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
                Ok(Json(Value::Double(number)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json(text.into()))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Json, E> {
                Err(E::custom("null is no value"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut values = Vec::new();
                while let Some(Json(value)) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Json(Value::Array(values)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, Json(value))) = map.next_entry::<String, Json>()? {
                    fields.push((Name::Owned(name), value));
                }
                Ok(Json(Value::Struct(fields)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
