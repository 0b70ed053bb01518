//! What replies and parameters are made of.

use std::borrow::Cow;

/// The name of a field.
pub type Name = Cow<'static, str>;

/// Named values in order; a name may come more than once.
pub type Fields = Vec<(Name, Value)>;

/// A value of a reply or a parameter.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// An integer.
    Int(i64),
    /// A number with a fraction; binrpc carries thousandths.
    Double(f64),
    /// A string of any bytes.
    Str(Vec<u8>),
    /// Named values.
    Struct(Fields),
    /// Values without names.
    Array(Vec<Value>),
    /// A list whose elements have names. Kamailio's binrpc makes it a struct with repeated names,
    /// its JSON-RPC an array of objects with one member each.
    Named(Fields),
}

impl Value {
    /// A struct of these fields.
    pub fn fields<const N: usize>(fields: [(&'static str, Value); N]) -> Value {
        Value::Struct(
            fields
                .into_iter()
                .map(|(name, value)| (Name::Borrowed(name), value))
                .collect(),
        )
    }

    /// "yes" or "no", as Kamailio prints a truth.
    pub fn yes_no(truth: bool) -> Value {
        Value::from(if truth { "yes" } else { "no" })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Str(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Str(text.into_bytes())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Int(i64::from(number))
    }
}

impl From<u64> for Value {
    /// What is too large for an `i64` becomes its decimal digits.
    fn from(number: u64) -> Value {
        match i64::try_from(number) {
            Ok(number) => Value::Int(number),
            Err(_) => Value::from(number.to_string()),
        }
    }
}

/// What a command answers: any number of top-level records.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reply {
    /// The records, in order.
    pub records: Vec<Value>,
}

impl Reply {
    /// No record at all: the command did what it was told.
    pub fn empty() -> Reply {
        Reply::default()
    }

    /// One record.
    pub fn one(value: impl Into<Value>) -> Reply {
        Reply {
            records: vec![value.into()],
        }
    }
}

impl FromIterator<Value> for Reply {
    fn from_iter<I: IntoIterator<Item = Value>>(records: I) -> Reply {
        Reply {
            records: records.into_iter().collect(),
        }
    }
}
