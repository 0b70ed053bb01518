//! Writes packets.

use bytes::{BufMut as _, BytesMut};

use super::format::{Cookie, Kind, MAGIC, VERSION, record};
use crate::rpc::fault::Fault;
use crate::rpc::value::{Reply, Value};

/// A packet, ready to be sent.
pub type Packet = BytesMut;

/// The packet of a reply.
pub fn reply(cookie: Cookie, reply: &Reply) -> Packet {
    let mut payload = BytesMut::new();
    for value in &reply.records {
        put_value(&mut payload, value, false);
    }
    packet(Kind::Reply, cookie, &payload)
}

/// The packet of a fault.
pub fn fault(cookie: Cookie, fault: &Fault) -> Packet {
    let mut payload = BytesMut::new();
    put_int(&mut payload, record::INT, i32::from(fault.code));
    put_text(&mut payload, record::STR, fault.reason.as_bytes());
    packet(Kind::Fault, cookie, &payload)
}

/// The packet of a request.
pub fn request_bytes(cookie: Cookie, method: &str, params: &[Value]) -> Packet {
    let mut payload = BytesMut::new();
    put_text(&mut payload, record::STR, method.as_bytes());
    for value in params {
        put_value(&mut payload, value, false);
    }
    packet(Kind::Request, cookie, &payload)
}

fn packet(kind: Kind, cookie: Cookie, payload: &[u8]) -> Packet {
    let length = (payload.len() as u32).to_be_bytes();
    let skipped = length.iter().take(3).take_while(|byte| **byte == 0).count();
    let length = length.get(skipped..).unwrap_or_default();
    let cookie = cookie.as_bytes();
    let mut packet = BytesMut::with_capacity(2 + length.len() + cookie.len() + payload.len());
    packet.put_u8(MAGIC << 4 | VERSION);
    packet
        .put_u8(kind.bits() << 4 | (length.len() as u8 - 1) << 2 | (cookie.len() as u8 - 1) & 0x3);
    packet.put_slice(length);
    packet.put_slice(cookie);
    packet.put_slice(payload);
    packet
}

/// `kamcmd` reads integers of 32 bits. What doesn't fit is sent as its digits, which look the
/// same to a person. It reads no arrays in structs: there they are structs without names, as
/// Kamailio writes them.
fn put_value(out: &mut BytesMut, value: &Value, in_struct: bool) {
    match value {
        Value::Int(number) => match i32::try_from(*number) {
            Ok(number) => put_int(out, record::INT, number),
            Err(_) => put_text(out, record::STR, number.to_string().as_bytes()),
        },
        Value::Double(number) => {
            let thousandths = (number * 1000.0).round();
            if thousandths.abs() <= f64::from(i32::MAX) {
                put_int(out, record::DOUBLE, thousandths as i32);
            } else {
                put_text(out, record::STR, format!("{number:.6}").as_bytes());
            }
        }
        Value::Str(text) => put_text(out, record::STR, text),
        Value::Struct(fields) | Value::Named(fields) => {
            out.put_u8(record::STRUCT);
            for (name, value) in fields {
                // Kamailio writes elements of a list as a struct's values without a name.
                if !name.is_empty() {
                    put_text(out, record::AVP, name.as_bytes());
                }
                put_value(out, value, true);
            }
            out.put_u8(record::LONG | record::STRUCT);
        }
        Value::Array(elements) => {
            let kind = if in_struct {
                record::STRUCT
            } else {
                record::ARRAY
            };
            out.put_u8(kind);
            for element in elements {
                put_value(out, element, in_struct);
            }
            out.put_u8(record::LONG | kind);
        }
    }
}

/// An integer in as few bytes as it needs; a negative one needs four.
fn put_int(out: &mut BytesMut, kind: u8, number: i32) {
    let bytes = number.to_be_bytes();
    let skipped = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = bytes.get(skipped..).unwrap_or_default();
    out.put_u8((bytes.len() as u8) << 4 | kind);
    out.put_slice(bytes);
}

/// A string and its NUL.
fn put_text(out: &mut BytesMut, kind: u8, text: &[u8]) {
    let size = text.len() + 1;
    if size < 8 {
        out.put_u8((size as u8) << 4 | kind);
    } else {
        let length = (size as u32).to_be_bytes();
        let skipped = length.iter().take(3).take_while(|byte| **byte == 0).count();
        let length = length.get(skipped..).unwrap_or_default();
        out.put_u8(record::LONG | (length.len() as u8) << 4 | kind);
        out.put_slice(length);
    }
    out.put_slice(text);
    out.put_u8(0);
}
