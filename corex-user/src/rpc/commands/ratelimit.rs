//! `rl.*`: pipes and queues of the module ratelimit.

use std::sync::Arc;

use corex_script::settings::{Algorithm, Pipe, Queue};

use crate::access::RateLimit;
use crate::access::ratelimit::{Factors, NotChanged};
use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, ParamDef, RpcCommand, required,
};
use crate::rpc::fault::Fault;
use crate::rpc::value::{Reply, Value};

const PIPE: ParamDef = required("pipe", Kind::Int);

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "rl",
    doc: "Pipes and queues of the module ratelimit. As in Kamailio.",
    commands: &[
        RpcCommand {
            name: "rl.get_pid",
            doc: &["Shows the factors of the controller behind FEEDBACK."],
            params: &[],
            result: Answer::One(Kind::Str),
            handler: Handler::Now(|call| {
                let Factors { ki, kp, kd } = limit(call)?.factors();
                Ok(Reply::one(format!("ki[{ki:.6}] kp[{kp:.6}] kd[{kd:.6}] ")))
            }),
        },
        RpcCommand {
            name: "rl.get_pipes",
            doc: &[
                "Shows the pipes: algorithm, requests of the last interval and limit, drop rate, requests \
                 of this interval.",
            ],
            params: &[],
            result: Answer::Many(Kind::Str),
            handler: Handler::Now(get_pipes),
        },
        RpcCommand {
            name: "rl.get_queues",
            doc: &["Shows the queues: the pipe, and the method."],
            params: &[],
            result: Answer::Many(Kind::Str),
            handler: Handler::Now(|call| {
                let queues = limit(call)?.queues();
                let lines = queues.iter().enumerate().map(|(at, queue)| {
                    let method = String::from_utf8_lossy(&queue.method);
                    Value::from(format!("QUEUE[{at}]: {}:{method}", queue.pipe))
                });
                Ok(lines.collect())
            }),
        },
        RpcCommand {
            name: "rl.push_load",
            doc: &["Has FEEDBACK go by this load of the CPUs, 0 to 1, until the next interval."],
            params: &[required("load", Kind::Any)],
            result: Answer::Nothing,
            handler: Handler::Now(|call| {
                let load = call.params.double(0)?;
                if !(0.0..=1.0).contains(&load) {
                    return Err(Fault::bad("Value out of range"));
                }
                limit(call)?.push_load(load);
                Ok(Reply::empty())
            }),
        },
        RpcCommand {
            name: "rl.set_pid",
            doc: &["Sets the factors of the controller behind FEEDBACK: ki, kp, kd."],
            params: &[
                required("ki", Kind::Any),
                required("kp", Kind::Any),
                required("kd", Kind::Any),
            ],
            result: Answer::Nothing,
            handler: Handler::Now(|call| {
                let number = |at| call.params.double(at);
                let factors = Factors {
                    ki: number(0)?,
                    kp: number(1)?,
                    kd: number(2)?,
                };
                limit(call)?.set_factors(factors);
                Ok(Reply::empty())
            }),
        },
        RpcCommand {
            name: "rl.set_pipe",
            doc: &[
                "Sets the algorithm and limit of a pipe, until the configuration is read again.",
            ],
            params: &[
                PIPE,
                required("algorithm", Kind::Str),
                required("limit", Kind::Int),
            ],
            result: Answer::Nothing,
            handler: Handler::Now(set_pipe),
        },
        RpcCommand {
            name: "rl.set_queue",
            doc: &["Sets the method and pipe of a queue, until the configuration is read again."],
            params: &[
                required("queue", Kind::Int),
                required("method", Kind::Str),
                PIPE,
            ],
            result: Answer::Nothing,
            handler: Handler::Now(set_queue),
        },
        RpcCommand {
            name: "rl.stats",
            doc: &["Shows all pipes: requests of the last interval and limit, drop rate."],
            params: &[],
            result: Answer::Many(Kind::Str),
            handler: Handler::Now(|call| {
                let pipes = limit(call)?.pipes();
                let lines = pipes.iter().enumerate().map(|(at, pipe)| {
                    let (last, most, load) = (pipe.last, pipe.limit, pipe.load);
                    Value::from(format!("PIPE[{at}]: {last}/{most} (drop rate: {load})"))
                });
                Ok(lines.collect())
            }),
        },
    ],
};

fn limit(call: Call<'_>) -> Result<Arc<RateLimit>, Fault> {
    let limit = call.daemon.access().ratelimit;
    limit.ok_or(Fault::failed("The module ratelimit is not loaded"))
}

fn get_pipes(call: Call<'_>) -> Outcome {
    let pipes = limit(call)?.pipes();
    let used = pipes.iter().enumerate();
    let used = used.filter(|(_, pipe)| pipe.algorithm != Algorithm::Nop);
    Ok(used
        .map(|(at, pipe)| {
            Value::from(format!(
                "PIPE[{at}]: {}:{} {}/{} (drop rate: {}) [{}]",
                pipe.algorithm as u8,
                pipe.algorithm.name(),
                pipe.last,
                pipe.limit,
                pipe.load,
                pipe.current
            ))
        })
        .collect())
}

fn set_pipe(call: Call<'_>) -> Outcome {
    let (number, name, most) = (
        call.params.int(0)?,
        call.params.text(1)?,
        call.params.int(2)?,
    );
    let algorithm = Algorithm::parse(&name).ok_or(Fault::bad("Unknown algorithm"))?;
    let most = u32::try_from(most).map_err(|_| Fault::bad("The limit is negative or too large"))?;
    let pipe = Pipe {
        algorithm,
        limit: most,
    };
    let set = limit(call)?.set_pipe(number, pipe);
    set.map_err(|error| Fault::bad(error.to_string()))?;
    Ok(Reply::empty())
}

fn set_queue(call: Call<'_>) -> Outcome {
    let (number, method, pipe) = (
        call.params.int(0)?,
        call.params.str(1)?,
        call.params.int(2)?,
    );
    let unknown = || Fault::bad("Invalid pipe number");
    let pipe = usize::try_from(pipe).map_err(|_| unknown())?;
    if method.is_empty() || method.len() > 64 {
        return Err(Fault::bad("That is no method"));
    }
    let queue = Queue {
        pipe,
        method: method.into(),
    };
    limit(call)?
        .set_queue(number, queue)
        .map_err(|error| match error {
            NotChanged::Pipe => unknown(),
            error => Fault::bad(error.to_string()),
        })?;
    Ok(Reply::empty())
}
