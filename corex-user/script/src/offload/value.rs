//! What is known of a value.

use std::net::IpAddr;

use crate::run::integer;

/// A value, or what is known of one.
pub(super) enum Value {
    Null,
    Int(i64),
    Str(Vec<u8>),
    /// An address as text.
    Address(IpAddr),
    /// The source's address, which is one of a class.
    Source,
    /// A method that is none of those with a kind of their own.
    Method,
}

impl Value {
    /// As the interpreter has it; `None`: that isn't known.
    pub fn to_int(&self) -> Option<i64> {
        match self {
            Value::Null => Some(0),
            Value::Int(number) => Some(*number),
            Value::Str(text) => Some(integer(text).unwrap_or(0)),
            Value::Address(_) | Value::Source | Value::Method => None,
        }
    }
}

/// `==` as the interpreter has it; `None`: that isn't known.
pub(super) fn equal(left: &Value, right: &Value) -> Option<bool> {
    Some(match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Null, Value::Int(_) | Value::Str(_)) => false,
        (Value::Int(_) | Value::Str(_), Value::Null) => false,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Int(left), Value::Str(right)) => !right.is_empty() && integer(right) == Some(*left),
        (Value::Str(left), Value::Str(right)) => left == right,
        (Value::Str(left), Value::Int(right)) => *left == right.to_string().as_bytes(),
        (Value::Address(left), Value::Str(right)) => left.to_string().as_bytes() == right,
        _ => return None,
    })
}
