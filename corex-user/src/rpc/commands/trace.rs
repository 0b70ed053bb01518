//! `corex.trace`: messages as they pass, before and after the hook.

use std::time::{Duration, SystemTime};

use crate::rpc::command::{Answer, Call, Handler, Kind, Outcome, RpcCommand, optional};
use crate::rpc::fault::Fault;
use crate::rpc::later::Later;
use crate::rpc::value::{Name, Value};
use crate::telemetry::trace::Traced;
use corex_script::Direction;

const COUNT: i64 = 10;
const MAX_COUNT: i64 = 100;
const SECONDS: i64 = 3;
const MAX_SECONDS: i64 = 30;
/// Bytes of messages in one reply; what comes beyond is left out.
const MAX_BYTES: usize = 256 << 10;

pub(super) const TRACE: RpcCommand = RpcCommand {
    name: "corex.trace",
    doc: &[
        "Shows messages as they pass, before and after the hook.",
        "Its parameters are a regular expression that a message matches before or after the hook \
         (without one: every message), how many (10, at most 100), and for how many seconds (3, \
         at most 30). Who asks last sees them.",
    ],
    params: &[
        optional("filter", Kind::Str),
        optional("count", Kind::Int),
        optional("seconds", Kind::Int),
    ],
    result: Answer::Many(Kind::Struct),
    handler: Handler::Wait(trace),
};

fn trace(call: Call<'_>) -> Later<'_, Outcome> {
    Box::pin(async move {
        let bounded = |at: usize, default: i64, most: i64| {
            let value = call.params.opt_int(at).unwrap_or(default);
            let is_good = (1..=most).contains(&value);
            let fault = || Fault::bad(format!("expected 1 to {most}"));
            is_good.then_some(value.unsigned_abs()).ok_or_else(fault)
        };
        let filter = call.params.opt_str(0).unwrap_or_default();
        let count = bounded(1, COUNT, MAX_COUNT)? as usize;
        let seconds = bounded(2, SECONDS, MAX_SECONDS)?;
        let traced = call
            .daemon
            .trace(&filter, count, Duration::from_secs(seconds))
            .await
            .map_err(|bad| Fault::bad(bad.to_string()))?;
        let mut room = MAX_BYTES;
        Ok(traced
            .into_iter()
            .map(|traced| message(traced, &mut room))
            .collect())
    })
}

fn message(traced: Traced, room: &mut usize) -> Value {
    let mut fit = |bytes: Vec<u8>| -> Value {
        if bytes.len() > *room {
            return Value::from("(left out: too much for one reply)");
        }
        *room -= bytes.len();
        Value::Str(bytes)
    };
    let since = traced.at.duration_since(SystemTime::UNIX_EPOCH);
    let at = since.unwrap_or_default();
    let direction = match traced.direction {
        Direction::Incoming => "incoming",
        Direction::Outgoing => "outgoing",
    };
    let mut fields = vec![
        (
            Name::from("time"),
            format!("{}.{:06}", at.as_secs(), at.subsec_micros()).into(),
        ),
        (Name::from("direction"), direction.into()),
        (
            Name::from("src"),
            format!("{}:{}", traced.transport, traced.src).into(),
        ),
        (
            Name::from("dst"),
            format!("{}:{}", traced.transport, traced.dst).into(),
        ),
        (Name::from("message"), fit(traced.before)),
    ];
    if let Some(after) = traced.after {
        fields.push((Name::from("after_hook"), fit(after)));
    }
    Value::Struct(fields)
}
