//! The module `ratelimit`: so many requests in an interval, by pipes.

use std::sync::Arc;

use corex_script::function::{Function, Module, Parameter, ParameterKind, Review, Routes, value};
use corex_script::run::{Exec, Halt};
use corex_script::settings::{self, Algorithm, Pipe, Queue};
use corex_script::syntax::diag::Diagnostic;
use corex_sip::Transport;

use crate::access::RateLimit;
use crate::access::ratelimit::{LoadSource, PIPES, feedback};

pub(super) static MODULE: Module = Module {
    name: "ratelimit",
    doc: "So many requests in an interval, by pipes that all workers share. docs/guard.md is the manual.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    review: Some(review),
    shares: Some(|sources| {
        Ok(sources.is_loaded.then(|| {
            let listen = sources.settings.listen.iter();
            let udp = listen.filter(|listen| listen.transport == Transport::Udp);
            let source = LoadSource::open(udp.map(|listen| listen.port).collect());
            Arc::new(RateLimit::new(&sources.settings.ratelimit, source)) as _
        }))
    }),
    inherits: Some(|new, old| {
        if let Some((new, old)) = new.shared::<RateLimit>().zip(old.shared()) {
            new.inherit(&old);
        }
    }),
    ..Module::NONE
};

const SIP: Routes = Routes::REQUEST.or(Routes::REPLY);

const FUNCTIONS: &[Function] = &[
    Function {
        name: "rl_check",
        aliases: &[],
        forms: &[&[], &[value("pipe")]],
        routes: SIP,
        doc: "Whether the request may pass: by the pipe of its method's queue, or by the one of a number. \
              A reply goes by the method in CSeq. False also where there is no such queue or pipe.",
        handler: |exec, args| match args {
            [] => by_method(exec),
            _ => {
                let pipe = exec.arg_int(args, 0)?;
                by_pipe(exec, pipe)
            }
        },
    },
    Function {
        name: "rl_check_pipe",
        aliases: &[],
        forms: &[&[value("pipe")]],
        routes: SIP,
        doc: "Whether the request may pass by the pipe of a number.",
        handler: |exec, args| {
            let pipe = exec.arg_int(args, 0)?;
            by_pipe(exec, pipe)
        },
    },
];

fn by_method(exec: &mut Exec<'_>) -> Result<i64, Halt> {
    let Some(view) = exec.view else {
        return Ok(-1);
    };
    let method = view.method().or_else(|| Some(view.cseq()?.method));
    let limit = exec.program.shared_ref::<RateLimit>();
    let passes = limit
        .zip(method)
        .and_then(|(limit, method)| limit.check_method(method));
    Ok(if passes == Some(true) { 1 } else { -1 })
}

fn by_pipe(exec: &mut Exec<'_>, pipe: i64) -> Result<i64, Halt> {
    let limit = exec.program.shared_ref::<RateLimit>();
    match limit.and_then(|limit| limit.check_pipe(pipe)) {
        Some(true) => Ok(1),
        Some(false) => Ok(-1),
        None => {
            exec.complain(format_args!("there is no pipe {pipe}"));
            Ok(-1)
        }
    }
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "pipe",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| set_pipe(&mut settings.ratelimit, text),
            help: "its form is \"NUMBER:ALGORITHM:LIMIT\", as in \"0:TAILDROP:10\"; algorithms are \
                   TAILDROP, RED, FEEDBACK, NETWORK and NOP",
        },
        doc: "NUMBER:ALGORITHM:LIMIT: a pipe, 0 to 31. TAILDROP: so many requests a second, counted over \
              timer_interval: the first ones of it pass. RED: the same evenly, every nth passes, by what \
              the last interval had too many. FEEDBACK: as many are dropped as keep the CPUs busy by so \
              many percent, the same for all pipes. NETWORK: none passes while more bytes than that wait \
              in kernel sockets; what AF_XDP receives doesn't wait there. NOP: no pipe. May be set many \
              times.",
    },
    Parameter {
        name: "queue",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| set_queue(&mut settings.ratelimit, text),
            help: "its form is \"PIPE:METHOD\", as in \"0:REGISTER\"; * stands for all other methods",
        },
        doc: "PIPE:METHOD: requests of a method, in any case, go by a pipe; * stands for all others. At \
              most 32.",
    },
    Parameter {
        name: "timer_interval",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 3600,
            set: |settings, value| settings.ratelimit.interval = value as u32,
        },
        doc: "How long requests are counted, in seconds. Default: 10.",
    },
];

fn number(text: &str) -> Result<u32, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let read = text.parse().ok().filter(|_| is_number);
    read.ok_or_else(|| format!("`{text}` is no number"))
}

fn pipe_number(text: &str) -> Result<usize, String> {
    match number(text)? as usize {
        pipe if pipe < PIPES => Ok(pipe),
        pipe => Err(format!(
            "there is no pipe {pipe}: they are 0 to {}",
            PIPES - 1
        )),
    }
}

fn set_pipe(settings: &mut settings::RateLimit, text: &str) -> Result<(), String> {
    let mut parts = text.split(':');
    let (Some(pipe), Some(algorithm), Some(limit), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("it has three parts with `:` between them".to_owned());
    };
    let pipe = pipe_number(pipe)?;
    let algorithm = Algorithm::parse(algorithm)
        .ok_or_else(|| format!("there is no algorithm `{algorithm}`"))?;
    let limit = number(limit)?;
    let mut pipes = settings.pipes;
    if let Some(place) = pipes.get_mut(pipe) {
        *place = Pipe { algorithm, limit };
    }
    if feedback(pipes.iter().copied()).is_err() {
        return Err("limits of FEEDBACK are percentages, and the same for all pipes".to_owned());
    }
    settings.pipes = pipes;
    Ok(())
}

fn set_queue(settings: &mut settings::RateLimit, text: &str) -> Result<(), String> {
    let (pipe, method) = text.split_once(':').unwrap_or((text, ""));
    let pipe = pipe_number(pipe)?;
    if method.is_empty() || method.contains([':', ' ']) {
        return Err(format!("`{method}` is no method"));
    }
    if settings.queues.len() >= PIPES {
        return Err(format!("there are {PIPES} queues already"));
    }
    settings.queues.push(Queue {
        pipe,
        method: method.as_bytes().into(),
    });
    Ok(())
}

fn review(review: &mut dyn Review) {
    let limits = &review.settings().ratelimit;
    let is_none = |pipe: &usize| {
        let pipe = limits.pipes.get(*pipe);
        pipe.is_none_or(|pipe| pipe.algorithm == Algorithm::Nop)
    };
    let unset = limits.queues.iter().map(|queue| queue.pipe).find(is_none);
    if let Some(pipe) = unset
        && let Some(at) = review.taken(&["queue"])
    {
        let what = format!("a queue goes by pipe {pipe}, which lets everything pass: it isn't set");
        review.report(Diagnostic::warning(at, what).help(format!(
            "set it: modparam(\"ratelimit\", \"pipe\", \"{pipe}:TAILDROP:10\")"
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_queues_are_written_as_in_kamailio() {
        let mut settings = settings::RateLimit::default();
        for good in [
            "0:RED:10",
            "31:TAILDROP:0",
            "1:FEEDBACK:80",
            "2:FEEDBACK:80",
        ] {
            assert_eq!(set_pipe(&mut settings, good), Ok(()), "{good}");
        }
        assert_eq!(
            settings.pipes[0],
            Pipe {
                algorithm: Algorithm::Red,
                limit: 10
            }
        );
        for bad in [
            "",
            "0",
            "0:RED",
            "0:RED:x",
            "0:RED:-1",
            "32:RED:1",
            "0:red:1",
            "0:RED:1:2",
            "3:FEEDBACK:70",
            "3:FEEDBACK:101",
            ":RED:1",
        ] {
            assert!(set_pipe(&mut settings, bad).is_err(), "{bad}");
        }
        assert_eq!(set_queue(&mut settings, "0:REGISTER"), Ok(()));
        assert_eq!(set_queue(&mut settings, "0:*"), Ok(()));
        for bad in ["", "0", "0:", "32:INVITE", "x:INVITE", "0:a b"] {
            assert!(set_queue(&mut settings, bad).is_err(), "{bad}");
        }
        for _ in 2..PIPES {
            assert_eq!(set_queue(&mut settings, "0:BYE"), Ok(()));
        }
        assert!(set_queue(&mut settings, "0:BYE").is_err());
    }
}
