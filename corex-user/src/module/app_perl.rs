//! The module `app_perl`: functions of a script in Perl.

use std::path::PathBuf;

use crate::hook::perl;
use corex_script::function::LanguageLoader;
use corex_script::function::{Function, Module, Parameter, ParameterKind, Routes, absolute, value};
use corex_script::latency::Kind;
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};

pub(super) static MODULE: Module = Module {
    name: "app_perl",
    doc: "Functions of a script in Perl, which runs in processes of its own: one for each worker, \
          and one more that stands by.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    language: Some(LanguageLoader {
        load: perl::load,
        starts_processes: true,
    }),
    ..Module::NONE
};

const FUNCTIONS: &[Function] = &[
    Function {
        name: "perl_exec_simple",
        aliases: &[],
        forms: &[&[value("function")], &[value("function"), value("string")]],
        routes: Routes::ANY,
        doc: "Calls a function of the script, with a string or without. True when it has \
              returned, whatever; false if it failed: it died, ran out of time or memory, or is \
              not there. Then the AVPs are as they were before.",
        handler: |exec, args| call(exec, args, false),
    },
    Function {
        name: "perl_exec",
        aliases: &[],
        forms: &[&[value("function")], &[value("function"), value("string")]],
        routes: Routes::ANY,
        doc: "The same with the message, a Kamailio::Message, as first argument. Returns what the \
              function returns, a number: 0 ends the configuration's script; what is no number is \
              a failure. In event_route[network:msg] the message is of type SIP_INVALID where the \
              bytes are not SIP.",
        handler: |exec, args| call(exec, args, true),
    },
];

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "filename",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                if text.is_empty() {
                    return Err("it is empty".to_owned());
                }
                settings.perl.script = Some(PathBuf::from(text));
                Ok(())
            },
            help: "write the path of a script, as in \"/etc/corex/script.pl\"",
        },
        doc: "The script. A relative path begins at the configuration's directory. It is loaded \
              at the start: a mistake in it is one of the configuration. It runs as \
              corex's user, without privileges. Its directory is `/`, its environment PATH and LANG=C, its standard \
              input /dev/null; what it prints goes to the log.",
    },
    Parameter {
        name: "modpath",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let folders = text.split(':').filter(|folder| !folder.is_empty());
                settings.perl.include = folders.map(PathBuf::from).collect();
                Ok(())
            },
            help: "write directories with : between them",
        },
        doc: "Directories that Perl looks for modules in first, with : between them. Kamailio.pm \
              and what belongs to it are built in.",
    },
    Parameter {
        name: "reset_cycles",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: i32::MAX as i64,
            set: |settings, value| settings.perl.reset_cycles = value as u32,
        },
        doc: "A process that has served so many calls makes way for the one that stands by. \
              Default: 0, never.",
    },
    Parameter {
        name: "perl_destroy_func",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.perl.destroy = text.to_owned();
                Ok(())
            },
            help: "write the name of a function of the script",
        },
        doc: "The function that a process calls before it makes way for another one. It has two \
              seconds.",
    },
    Parameter {
        name: "timeout",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 60_000,
            set: |settings, value| settings.perl.timeout = value as u32,
        },
        doc: "How long a call may take, in milliseconds. The process is killed then, and the call \
              is false. Default: 200.",
    },
    Parameter {
        name: "max_memory",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 32,
            max: 1 << 20,
            set: |settings, value| settings.perl.max_memory = value as u32,
        },
        doc: "How many MiB of address space a process may take. Default: 512.",
    },
    Parameter {
        name: "perl_path",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.perl.interpreter = absolute(text)?;
                Ok(())
            },
            help: "write where perl is, as in \"/usr/bin/perl\"",
        },
        doc: "The Perl interpreter. Default: /usr/bin/perl.",
    },
    Parameter {
        name: "confine",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.perl.is_confined = value != 0,
        },
        doc: "Whether Perl and what it starts reach only some files (Landlock, Linux 5.13), whoever owns them: \
              to read those of the system and the directories of the configuration, the script and modpath, to \
              write /dev/null and the like, the directory for temporary files, and file_root. \
              With 0 they reach what corex's user may. Default: 1.",
    },
    Parameter {
        name: "file_root",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.perl.file_roots.push(absolute(text)?);
                Ok(())
            },
            help: "write an absolute path, as in \"/var/spool/corex\"",
        },
        doc: "A directory below which the script may read and write what corex's user may. May be \
              set many times.",
    },
];

fn call(exec: &mut Exec<'_>, args: &[Arg], with_message: bool) -> Result<i64, Halt> {
    let function = exec.arg_str(args, 0)?;
    let argument = match args {
        [_, _, ..] => Some(exec.arg_str(args, 1)?),
        _ => None,
    };
    exec.measured(Kind::Perl, |exec| {
        perl::call(exec, with_message, function, argument)
    })
}
