//! Runs the requests of a document, and makes the document that answers it.

use std::borrow::Cow;

use super::parse::{self, Call, INVALID_PARAMS, INVALID_REQUEST, Id, PARSE_ERROR, Refused};
use super::write::{self, Error, Response};
use crate::rpc::command::Answer;
use crate::rpc::fault::Fault;
use crate::rpc::params::Params;
use crate::rpc::service::Rpc;
use crate::rpc::value::Value;

/// There is no such command.
const METHOD_NOT_FOUND: i64 = -32601;

/// What became of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The document to send back; `None`: nothing may be sent.
    pub body: Option<Vec<u8>>,
    /// The HTTP status.
    pub status: u16,
    /// The reason beside that status; `None`: the status's own.
    pub reason: Option<Cow<'static, str>>,
    /// `reply_name`: the FIFO that the client reads its reply from.
    pub reply_name: Option<String>,
}

/// Runs the requests of a document; `pretty` makes the answer one of many lines.
pub async fn answer(rpc: &Rpc, document: &[u8], pretty: bool) -> Answered {
    let mut answered = Answered {
        body: None,
        status: 200,
        reason: None,
        reply_name: None,
    };
    match parse::document(document) {
        Err(refused) => {
            rpc.fronts.count(|counters| &counters.malformed);
            let response = refuse(refused);
            note(&mut answered, &response);
            answered.body = Some(write::single(&response, pretty));
        }
        Ok(parse::Document::Single(call)) => {
            let call = call.map(|mut call| {
                answered.reply_name = call.reply_name.take();
                call
            });
            if let Some(response) = one(rpc, call).await {
                note(&mut answered, &response);
                answered.body = Some(write::single(&response, pretty));
            }
        }
        Ok(parse::Document::Batch(calls)) => {
            let mut responses = Vec::new();
            for call in calls {
                responses.extend(one(rpc, call).await);
            }
            if !responses.is_empty() {
                answered.body = Some(write::batch(&responses, pretty));
            }
        }
    }
    if answered.body.is_none() {
        answered.status = 204;
    }
    answered
}

/// The error for a reply that a datagram can't hold; without an id, which is in the reply.
pub(super) fn too_long() -> Vec<u8> {
    let fault = Fault::failed("the reply is too long for a datagram");
    let response = Response {
        id: Id::null(),
        outcome: Err(Error::from(fault)),
    };
    write::single(&response, false)
}

/// Runs one request; `None` if it is a notification, which nothing answers.
async fn one(rpc: &Rpc, call: Result<Call, Refused>) -> Option<Response> {
    let call = match call {
        Ok(call) => call,
        Err(refused) => {
            rpc.fronts.count(|counters| &counters.malformed);
            return Some(refuse(refused));
        }
    };
    let is_known = rpc.commands.find(&call.method).is_some();
    let params = Params::converting(call.params);
    let outcome = match rpc.call(&call.method, &params).await {
        Ok(reply) => Ok(result(rpc.answer(&call.method), reply.records)),
        Err(_) if !is_known => Err(Error {
            code: METHOD_NOT_FOUND,
            message: "Method Not Found".into(),
        }),
        Err(fault) => Err(Error::from(fault)),
    };
    call.id.map(|id| Response { id, outcome })
}

fn refuse(refused: Refused) -> Response {
    Response {
        id: refused.id,
        outcome: Err(Error {
            code: refused.code,
            message: refused.message.into(),
        }),
    }
}

/// What Kamailio makes of records: an array where a command may give several, an empty struct
/// where there is none.
fn result(answer: Answer, mut records: Vec<Value>) -> Value {
    match (answer, records.len()) {
        (Answer::Many(_), _) => Value::Array(records),
        (_, 0) => Value::Struct(Vec::new()),
        (_, 1) => records.swap_remove(0),
        _ => Value::Array(records),
    }
}

/// Kamailio's HTTP status is the fault's code and reason. The codes of JSON-RPC aren't any.
fn note(answered: &mut Answered, response: &Response) {
    if let Err(error) = &response.outcome {
        answered.status = match error.code {
            PARSE_ERROR | INVALID_REQUEST | INVALID_PARAMS => 400,
            code => u16::try_from(code)
                .ok()
                .filter(|code| (400..600).contains(code))
                .unwrap_or(500),
        };
        answered.reason = Some(error.message.clone());
    }
}
