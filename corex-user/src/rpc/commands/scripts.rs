//! `app_lua.*`, `app_perl.*`: scripts in other languages.

use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, RpcCommand, optional,
};
use crate::rpc::daemon::NotReloaded;
use crate::rpc::fault::Fault;
use crate::rpc::later::Later;
use crate::rpc::value::Reply;

pub(super) const LUA: CommandGroup = CommandGroup {
    name: "app_lua",
    doc: "Scripts in Lua. As in Kamailio.",
    commands: &[RpcCommand {
        name: "app_lua.reload",
        doc: &[
            "Reads the Lua scripts again; workers go on with them before their next call. If they have \
             errors, the old ones stay.",
            "Kamailio's parameter, the index of a script, is taken, and all are read: they share one \
             state.",
        ],
        params: &[optional("index", Kind::Int)],
        result: Answer::Nothing,
        handler: Handler::Wait(|call| reload(call, "app_lua")),
    }],
};

pub(super) const PERL: CommandGroup = CommandGroup {
    name: "app_perl",
    doc: "Scripts in Perl.",
    commands: &[RpcCommand {
        name: "app_perl.reload",
        doc: &[
            "Has Perl's processes replaced by new ones, which read the script again. Each worker changes \
             over when its new one is ready; if the script has errors, the old ones stay, and the log \
             and the counter reload_errors say so.",
        ],
        params: &[],
        result: Answer::Nothing,
        handler: Handler::Wait(|call| reload(call, "app_perl")),
    }],
};

fn reload<'a>(call: Call<'a>, module: &'static str) -> Later<'a, Outcome> {
    Box::pin(async move {
        if !call.params.values().is_empty() {
            call.params.int(0)?;
        }
        let reloaded = call.daemon.reload_scripts(module).await;
        reloaded.map_err(|error| match error {
            NotReloaded::Refused(reason) => Fault::failed(reason),
            NotReloaded::Stopping => Fault::failed(error.to_string()),
        })?;
        Ok(Reply::empty())
    })
}
