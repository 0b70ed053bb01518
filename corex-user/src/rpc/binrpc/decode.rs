//! Reads packets.

use super::format::{Cookie, Kind, MAGIC, MAX_DEPTH, VERSION, record};
use crate::rpc::value::{Fields, Name, Value};

/// Why bytes are no packet. The texts stand in the fault that the client gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// No binrpc, another version, or sizes that contradict each other.
    #[error("corrupted packet")]
    Corrupted,
    /// The payload ends within a record.
    #[error("end of packet encountered")]
    End,
    /// A record of another type than the one that must be there.
    #[error("record doesn't match type")]
    Type,
    /// More bytes than allowed.
    #[error("packet too long")]
    TooLong,
    /// Too many structs or arrays inside each other.
    #[error("too many nested records")]
    TooDeep,
}

/// Where the parts of a whole packet are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// What the reply must echo.
    pub cookie: Cookie,
    /// Bytes before the payload.
    pub header: usize,
    /// Bytes of the payload.
    pub payload: usize,
}

/// How much of a packet there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// At least so many more bytes are needed.
    Missing(usize),
    /// It is whole; more bytes may follow it.
    Whole(Frame),
}

/// How much of a packet the bytes are, from their beginning on.
///
/// # Errors
/// When they are no packet, or its payload is longer than `most` bytes.
pub fn progress(bytes: &[u8], most: usize) -> Result<Progress, Malformed> {
    if let Some(first) = bytes.first()
        && *first != MAGIC << 4 | VERSION
    {
        return Err(Malformed::Corrupted);
    }
    let Some(&sizes) = bytes.get(1) else {
        return Ok(Progress::Missing(2 - bytes.len().min(1)));
    };
    let kind = Kind::from_bits(sizes >> 4).ok_or(Malformed::Corrupted)?;
    let length_size = usize::from(sizes >> 2 & 3) + 1;
    let cookie_size = usize::from(sizes & 3) + 1;
    let header = 2 + length_size + cookie_size;
    let (Some(length), Some(cookie)) = (
        bytes.get(2..2 + length_size),
        bytes.get(2 + length_size..header),
    ) else {
        return Ok(Progress::Missing(header - bytes.len()));
    };
    let payload = unsigned(length) as usize;
    if payload > most {
        return Err(Malformed::TooLong);
    }
    let total = header.checked_add(payload).ok_or(Malformed::TooLong)?;
    if bytes.len() < total {
        return Ok(Progress::Missing(total - bytes.len()));
    }
    Ok(Progress::Whole(Frame {
        kind,
        cookie: Cookie::new(cookie),
        header,
        payload,
    }))
}

/// The records of a payload.
///
/// # Errors
/// When they aren't well formed.
pub fn payload(bytes: &[u8]) -> Result<Vec<Value>, Malformed> {
    let mut reader = Reader { rest: bytes };
    let mut records = Vec::new();
    while !reader.rest.is_empty() {
        match reader.record(0)? {
            Item::Value(value) => records.push(value),
            // Some clients end a reply's list so; there is nothing to end.
            Item::EndOfStruct | Item::EndOfArray | Item::Name(_) => return Err(Malformed::Type),
        }
    }
    Ok(records)
}

/// The method and the parameters of a request's payload.
///
/// # Errors
/// When it isn't well formed.
pub fn request(bytes: &[u8]) -> Result<(String, Vec<Value>), Malformed> {
    if bytes.is_empty() {
        return Err(Malformed::End);
    }
    let mut records = payload(bytes)?.into_iter();
    match records.next() {
        Some(Value::Str(method)) => Ok((
            String::from_utf8_lossy(&method).into_owned(),
            records.collect(),
        )),
        _ => Err(Malformed::Type),
    }
}

/// At most four bytes as a number.
fn unsigned(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// What one record is.
enum Item {
    Value(Value),
    Name(Name),
    EndOfStruct,
    EndOfArray,
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::End)?;
        self.rest = rest;
        Ok(taken)
    }

    fn record(&mut self, depth: usize) -> Result<Item, Malformed> {
        let first = *self.take(1)?.first().ok_or(Malformed::End)?;
        let kind = first & 0xF;
        let is_long = first & record::LONG != 0;
        let size = usize::from(first >> 4 & 7);
        if is_long && size == 0 {
            return match kind {
                record::STRUCT => Ok(Item::EndOfStruct),
                record::ARRAY => Ok(Item::EndOfArray),
                _ => Err(Malformed::Corrupted),
            };
        }
        let size = match (is_long, size) {
            (false, size) => size,
            (true, size @ 1..=4) => unsigned(self.take(size)?) as usize,
            (true, _) => return Err(Malformed::Corrupted),
        };
        match kind {
            record::INT => Ok(Item::Value(Value::Int(self.int(size)?))),
            record::DOUBLE => Ok(Item::Value(Value::Double(self.int(size)? as f64 / 1000.0))),
            record::STR => Ok(Item::Value(Value::Str(self.text(size)?.to_vec()))),
            record::BYTES => Ok(Item::Value(Value::Str(self.take(size)?.to_vec()))),
            record::AVP => {
                let name = String::from_utf8_lossy(self.text(size)?);
                Ok(Item::Name(Name::Owned(name.into_owned())))
            }
            record::STRUCT | record::ARRAY if size != 0 => Err(Malformed::Corrupted),
            record::STRUCT | record::ARRAY if depth >= MAX_DEPTH => Err(Malformed::TooDeep),
            record::STRUCT => Ok(Item::Value(Value::Struct(self.fields(depth + 1)?))),
            record::ARRAY => Ok(Item::Value(Value::Array(self.elements(depth + 1)?))),
            _ => Err(Malformed::Corrupted),
        }
    }

    /// An integer of 0 to 4 bytes; four are a negative one's as well.
    fn int(&mut self, size: usize) -> Result<i64, Malformed> {
        if size > 4 {
            return Err(Malformed::Corrupted);
        }
        Ok(i64::from(unsigned(self.take(size)?).cast_signed()))
    }

    /// A string of `size` bytes, the last of which is NUL.
    fn text(&mut self, size: usize) -> Result<&'a [u8], Malformed> {
        match self.take(size)?.split_last() {
            Some((0, text)) => Ok(text),
            _ => Err(Malformed::Corrupted),
        }
    }

    /// The fields up to the end of a struct. A value without a name, as Kamailio writes the
    /// elements of a list, has an empty one.
    fn fields(&mut self, depth: usize) -> Result<Fields, Malformed> {
        let mut fields = Fields::new();
        let mut name = None;
        loop {
            match (self.record(depth)?, name.take()) {
                (Item::EndOfStruct, None) => return Ok(fields),
                (Item::Name(found), None) => name = Some(found),
                (Item::Value(value), name) => fields.push((name.unwrap_or_default(), value)),
                _ => return Err(Malformed::Type),
            }
        }
    }

    fn elements(&mut self, depth: usize) -> Result<Vec<Value>, Malformed> {
        let mut elements = Vec::new();
        loop {
            match self.record(depth)? {
                Item::EndOfArray => return Ok(elements),
                Item::Value(value) => elements.push(value),
                Item::Name(_) | Item::EndOfStruct => return Err(Malformed::Type),
            }
        }
    }
}
