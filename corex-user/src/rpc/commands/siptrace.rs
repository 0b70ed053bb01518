//! `siptrace.*`: copies of messages for a collector.

use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, RpcCommand, optional,
};
use crate::rpc::fault::Fault;
use crate::rpc::value::Reply;

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "siptrace",
    doc: "Copies of messages for a collector. As in Kamailio.",
    commands: &[RpcCommand {
        name: "siptrace.status",
        doc: &[
            "Switches on or off that messages are copied to a collector, or tells whether they are.",
            "Its parameter is on, off or check.",
        ],
        params: &[optional("status", Kind::Str)],
        result: Answer::One(Kind::Str),
        handler: Handler::Now(status),
    }],
};

fn status(call: Call<'_>) -> Outcome {
    let Some(wanted) = call.params.opt_str(0) else {
        return Err(Fault::failed("Not enough parameters (on, off or check)"));
    };
    // As Kamailio, which looks at how the word begins.
    let begins = |word: &str| {
        let start = wanted.get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
    };
    if begins("on") {
        call.daemon.set_copying(true);
    } else if begins("off") {
        call.daemon.set_copying(false);
    } else if !begins("check") {
        return Err(Fault::failed("Bad parameter (on, off or check)"));
    }
    let is_on = call.daemon.is_copying();
    Ok(Reply::one(if is_on { "Enabled" } else { "Disabled" }))
}
