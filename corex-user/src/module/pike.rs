//! The module `pike`: who sends more than they may.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use corex_common::guard::Network;
use corex_script::function::{Function, Module, Parameter, ParameterKind, Routes, value};
use corex_script::guard::GuardError;
use corex_script::run::{Exec, Halt};
use corex_sip::host_ip;

use crate::access::Pike;
use crate::access::pike::Verdict;
use crate::telemetry::log;

pub(super) static MODULE: Module = Module {
    name: "pike",
    doc: "Who sends more requests than they may, by address. docs/guard.md is the manual.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    shares: Some(|sources| {
        let made = || Arc::new(Pike::new(&sources.settings.pike)) as _;
        Ok(sources.is_loaded.then(made))
    }),
    inherits: Some(|new, old| {
        if let Some((new, old)) = new.shared::<Pike>().zip(old.shared()) {
            new.inherit(&old);
        }
    }),
    ..Module::NONE
};

const SIP: Routes = Routes::REQUEST.or(Routes::REPLY);

const FUNCTIONS: &[Function] = &[
    Function {
        name: "pike_check_req",
        aliases: &[],
        forms: &[&[]],
        routes: SIP,
        doc: "Counts the message for the address that it came from: 1, or -2 as soon as that sends too \
              many, and -1 while it does. Where there is a guard, it then drops what comes from there, for \
              guard_block seconds. Who is allowed there passes, and isn't counted.",
        handler: |exec, _| {
            let ip = exec.env.src.ip();
            Ok(check(exec, ip))
        },
    },
    Function {
        name: "pike_check_ip",
        aliases: &[],
        forms: &[&[value("address")]],
        routes: SIP,
        doc: "The same for another address; -1 for what is none.",
        handler: |exec, args| {
            let text = exec.arg_str(args, 0)?;
            match host_ip(exec.bytes(text)) {
                Some(ip) => Ok(check(exec, ip)),
                None => {
                    exec.complain(format_args!("pike_check_ip(): that is no address"));
                    Ok::<_, Halt>(-1)
                }
            }
        },
    },
];

fn check(exec: &mut Exec<'_>, ip: IpAddr) -> i64 {
    let Some(pike) = exec.program.shared_ref::<Pike>() else {
        return 1;
    };
    let guard = exec.host.guard();
    if guard.is_some_and(|guard| guard.is_allowed(ip)) {
        return 1;
    }
    match pike.check(ip, Instant::now()) {
        Verdict::Passes => 1,
        Verdict::Blocked => -1,
        Verdict::NewlyBlocked => {
            // In Kamailio's words, which people's filters look for.
            log::write(pike.settings.level, format_args!("PIKE - BLOCKing ip {ip}"));
            let seconds = pike.settings.block_seconds();
            if let Some(guard) = guard.filter(|guard| !guard.is_trusted(ip))
                && seconds > 0
                && let Err(error) = guard.block(Network::host(ip), Some(seconds), "pike")
                && error != GuardError::Off
            {
                exec.complain(format_args!("the guard doesn't block {ip}: {error}"));
            }
            -2
        }
    }
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "sampling_time_unit",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 3600,
            set: |settings, value| settings.pike.unit = value as u32,
        },
        doc: "How long requests are counted, in seconds. Default: 2.",
    },
    Parameter {
        name: "reqs_density_per_unit",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 65_534,
            set: |settings, value| settings.pike.density = value as u16,
        },
        doc: "As many requests of one address in that time are too many. Default: 30.",
    },
    Parameter {
        name: "remove_latency",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 1 << 24,
            set: |settings, value| settings.pike.latency = value as u32,
        },
        doc: "An address that nothing comes from is forgotten after so many seconds. Default: 120.",
    },
    Parameter {
        name: "guard_block",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1 << 24,
            set: |settings, value| settings.pike.block = Some(value as u32),
        },
        doc: "Not in Kamailio. Where the guard is on, who sends too many is on its list of those blocked for \
              so many seconds; 0: the script alone decides. Default: remove_latency.",
    },
    Parameter {
        name: "pike_log_level",
        aliases: &[],
        kind: ParameterKind::Int {
            min: -5,
            max: 3,
            set: |settings, value| settings.pike.level = value,
        },
        doc: "The level of the line that says who is blocked, as of debug. Default: 0.",
    },
];
