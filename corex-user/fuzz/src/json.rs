//! JSON-RPC documents.

use corex_user::rpc::Rpc;
use corex_user::rpc::json::{self, Piece};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::idle::{finish, rpc};

/// Takes the input for one document, and for a stream of them.
///
/// # Panics
/// When something that must hold of the results doesn't.
pub fn json(data: &[u8]) {
    let rpc = rpc();
    document(&rpc, data);
    let mut rest = data;
    while let Some(piece) = json::next_document(rest) {
        match piece {
            Piece::Skip { length, .. } => {
                assert!(length > 0);
                rest = &rest[length..];
            }
            Piece::Document(length) => {
                let (found, after) = rest.split_at(length);
                document(&rpc, found);
                rest = after;
            }
            Piece::Incomplete => break,
        }
    }
}

/// What comes back is one response, or a list of them, or nothing.
fn document(rpc: &Rpc, bytes: &[u8]) {
    for pretty in [false, true] {
        let answered = finish(json::answer(rpc, bytes, pretty));
        assert_eq!(answered.status == 204, answered.body.is_none());
        let Some(body) = answered.body else {
            continue;
        };
        let _: &RawValue = serde_json::from_slice(&body).expect("our own JSON");
        match serde_json::from_slice(&body) {
            Ok(Value::Array(responses)) => responses.iter().for_each(response),
            Ok(single) => response(&single),
            // An id that is echoed may be a number that is too large to look at.
            Err(_) => {}
        }
    }
}

fn response(value: &Value) {
    assert_eq!(value["jsonrpc"], "2.0");
    let id = value.get("id").expect("an id");
    assert!(id.is_null() || id.is_string() || id.is_number());
    assert!(value.get("result").is_some() != value.get("error").is_some());
}
