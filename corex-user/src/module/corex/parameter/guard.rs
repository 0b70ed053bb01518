//! Who is let in.

use std::path::Path;

use corex_script::function::{Parameter, ParameterKind, PartMistake};
use corex_script::settings::guard::{NETWORK_HELP, method_bit, network, rules};
use corex_script::settings::{GuardSource, Settings};

pub(super) const GUARD: Parameter = Parameter {
    name: "guard",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1,
        set: |settings, value| settings.corex.guard.is_on = value != 0,
    },
    doc: "Whether there is a guard, which says who is let in, where no other parameter of it is \
          written: so that remote control and scripts can block. The parameters allow, block, \
          stealth, guard_file, rate, rate_block, signatures and malformed mean that there is one. Without it nothing of it is loaded into \
          the kernel. See guard.md. Default: 0.",
};

pub(super) const ALLOW: Parameter = Parameter {
    name: "allow",
    aliases: &[],
    kind: ParameterKind::Notation {
        set: |settings, text| {
            let source = source(settings, text)?;
            settings.corex.guard.allow.push(source);
            Ok(())
        },
    },
    doc: "ADDRESS[/LEN][; PROTO][; PORT]: who is let in whatever the guard's other rules say, and is \
          never blocked for offences. PROTO is udp, tcp or any, PORT that of a listener. Or \
          file:PATH, a file with such a line for each, and comments from # on; a relative path \
          begins at the configuration's directory. May be set many times. Default: nobody.",
};

pub(super) const BLOCK: Parameter = Parameter {
    name: "block",
    aliases: &[],
    kind: ParameterKind::Notation {
        set: |settings, text| {
            let source = source(settings, text)?;
            settings.corex.guard.block.push(source);
            Ok(())
        },
    },
    doc: "The same, for who isn't let in: dropped by the XDP program, and counted as \
          drop_guard_block. Default: nobody.",
};

pub(super) const STEALTH: Parameter = Parameter {
    name: "stealth",
    aliases: &[],
    kind: ParameterKind::Notation {
        set: |settings, text| {
            let source = match methods(text) {
                Some(bits) => {
                    settings.corex.guard.stealth_methods |= bits;
                    GuardSource::Methods(bits)
                }
                None => source(settings, text).map_err(|mistake| PartMistake {
                    help: format!("{}; or methods, as in \"OPTIONS, REGISTER\"", mistake.help),
                    ..mistake
                })?,
            };
            settings.corex.guard.stealth.push(source);
            Ok(())
        },
    },
    doc: "What gets no answer of any kind, but for who is allowed: sources, written as for block; or \
          methods of requests with commas between them, as in \"OPTIONS, REGISTER\", with OTHER for \
          those that the guard doesn't know. It is dropped before keep-alives, STUN, OPTIONS and \
          scripts are answered, and counted as drop_guard_stealth. May be set many times. Default: \
          nothing.",
};

pub(super) const GUARD_DRY_RUN: Parameter = Parameter {
    name: "guard_dry_run",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.corex.guard.dry_run = rules(text)?;
            Ok(())
        },
        help: "write \"all\", or some of block, stealth, signature and rate with commas between them",
    },
    doc: "Rules of the guard that only count what they would have done, as guard_dry_block and its \
          like: \"block\", \"stealth\", \"signature\", \"rate\", some of them with commas between, or \
          \"all\". Default: none.",
};

pub(super) const GUARD_FILE: Parameter = Parameter {
    name: "guard_file",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            let path = settings.folder.join(text);
            settings.corex.guard.file = Some(path);
            Ok(())
        },
        help: "write a file's path, as in \"/var/lib/corex/guard\"",
    },
    doc: "The file that guard.save writes, whole or not at all: the entries of the guard's lists that \
          the configuration doesn't have. At the start they are read from it, if it is there. \
          Default: none.",
};

fn source(settings: &Settings, text: &str) -> Result<GuardSource, PartMistake> {
    if let Some(path) = text.strip_prefix("file:") {
        if path.is_empty() {
            return Err(PartMistake {
                part: 0..text.len(),
                what: "it names no file".to_owned(),
                help: "write file:PATH, as in \"file:/etc/corex/block.txt\"".to_owned(),
            });
        }
        return Ok(GuardSource::File(settings.folder.join(Path::new(path))));
    }
    match network(text) {
        Ok(network) => Ok(GuardSource::Network(network)),
        Err(mistake) => Err(PartMistake {
            part: mistake.part,
            what: mistake.what,
            help: format!("{NETWORK_HELP}; or file:PATH"),
        }),
    }
}

/// The bits of methods, if the text is a list of these.
fn methods(text: &str) -> Option<u32> {
    text.split(',')
        .map(|name| method_bit(name.trim()))
        .try_fold(0, |all, bit| Some(all | bit?))
}
