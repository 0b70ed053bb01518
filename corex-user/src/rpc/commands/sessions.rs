//! `corex.sessions` and `corex.sessions_drop`: the devices whose keys are known.

use crate::rpc::command::{Answer, Call, Handler, Kind, Outcome, RpcCommand, optional, required};
use crate::rpc::daemon::Session;
use crate::rpc::fault::Fault;
use crate::rpc::later::Later;
use crate::rpc::value::{Reply, Value};

/// Devices that are shown unless more are asked for.
const SHOWN: i64 = 100;
/// The most that one answer shows.
const MOST: i64 = 10_000;

pub(super) const SESSIONS: RpcCommand = RpcCommand {
    name: "corex.sessions",
    doc: &[
        "Shows the devices whose keys this instance knows, the busiest first, without the keys: where \
         they are, since when and until when (seconds since 1970), messages and their bytes on the \
         wire.",
        "Its parameter is how many are shown (1 to 10000); without it, 100.",
    ],
    params: &[optional("most", Kind::Int)],
    result: Answer::Many(Kind::Struct),
    handler: Handler::Now(sessions),
};

pub(super) const SESSIONS_DROP: RpcCommand = RpcCommand {
    name: "corex.sessions_drop",
    doc: &[
        "Forgets a device, here and in the keystore: it must enrol again. Other instances may know it \
         until its key expires.",
        "Its parameter is the device's id, a UUID. Shows how many keys it had here.",
    ],
    params: &[required("device", Kind::Str)],
    result: Answer::One(Kind::Int),
    handler: Handler::Wait(drop_session),
};

fn sessions(call: Call<'_>) -> Outcome {
    let most = call.params.opt_int(0).unwrap_or(SHOWN);
    if !(1..=MOST).contains(&most) {
        return Err(Fault::bad(format!("expected 1 to {MOST}")));
    }
    let row = |session: Session| {
        let peer = session.peer.map(|peer| peer.to_string());
        Value::fields([
            ("device", session.device.into()),
            ("generation", u64::from(session.generation).into()),
            ("peer", peer.unwrap_or_default().into()),
            ("since", session.since.into()),
            ("expires", session.expires.into()),
            ("messages", session.messages.into()),
            ("bytes", session.bytes.into()),
        ])
    };
    let sessions = call.daemon.sessions(most.unsigned_abs() as usize);
    Ok(sessions.into_iter().map(row).collect())
}

fn drop_session(call: Call<'_>) -> Later<'_, Outcome> {
    Box::pin(async move {
        let device = call.params.text(0)?;
        let dropped = call.daemon.drop_session(&device).await;
        let count = dropped.map_err(|error| Fault::bad(error.to_string()))?;
        Ok(Reply::one(count as u64))
    })
}
