//! The module `codec`: transformations of whole messages.

mod devices;
mod parameters;

use std::net::SocketAddr;
use std::sync::Arc;

use corex_codec::CodecError;
use corex_script::Direction;
use corex_script::function::{Function, LoadError, Module, Param, ParamKind, Routes};
use corex_script::limiter::Limiter;
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};
use corex_script::settings::Settings;
use corex_script::syntax::diag::Diagnostic;
use corex_script::syntax::span::Span;

use crate::chain::{ChainId, Chains, Codecs, Wait, counter, names};

pub(super) static MODULE: Module = Module {
    name: "codec",
    doc: "Native transformations of messages: codecs, and chains of them.",
    functions: FUNCTIONS,
    parameters: parameters::PARAMETERS,
    keeps: Some(|program| {
        Box::new(Kept {
            codecs: program.shared::<Chains>().map(Codecs::new),
            log: Limiter::default(),
        })
    }),
    shares: Some(|sources| match Chains::load(sources.settings) {
        Ok(chains) => Ok(Some(Arc::new(chains))),
        Err(unusable) => Err(LoadError {
            diagnostic: Diagnostic::error(Span::NONE, unusable.what)
                .help(unusable.help)
                .into(),
            parameter: Some((unusable.parameter, unusable.at)),
            part: unusable.part,
        }),
    }),
    ..Module::NONE
};

const FORM: &[Param] = &[
    Param {
        name: "codec",
        kind: ParamKind::Choice {
            find: |settings, name| ChainId::find(settings, name).map(|chain| chain.place() as i64),
            words,
        },
    },
    Param {
        name: "input",
        kind: ParamKind::Value,
    },
    Param {
        name: "output",
        kind: ParamKind::Target,
    },
];

const FUNCTIONS: &[Function] = &[
    Function {
        name: "codec_encode",
        aliases: &[],
        forms: &[FORM],
        routes: Routes::ANY,
        doc: "Encodes `input` and puts the result in the pseudo-variable `output`. `codec` is the \
              name of a chain, or of a codec that needs no arguments. False, with `output` as it \
              was and the reason in $codec_error, if the result would be longer than max_output.",
        handler: |exec, args| {
            // Whom a message is for is known when it is about to be sent.
            let peer = (exec.direction == Some(Direction::Outgoing)).then_some(exec.env.dst);
            run(exec, args, peer, Codecs::encode)
        },
    },
    Function {
        name: "codec_decode",
        aliases: &[],
        forms: &[FORM],
        routes: Routes::ANY,
        doc: "Decodes `input` and puts the result in the pseudo-variable `output`. `codec` is the \
              name of a chain, or of a codec that needs no arguments. False, with `output` as it \
              was and the reason in $codec_error, if the input is damaged or not of that kind, or \
              the result would be longer than max_output: a decompression bomb stops there.",
        handler: |exec, args| {
            let peer = (exec.direction != Some(Direction::Outgoing)).then_some(exec.env.src);
            run(exec, args, peer, Codecs::decode)
        },
    },
];

/// The names of codecs and chains as reports list them: `"a", "b" or "c"`.
fn words(settings: &Settings) -> String {
    let mut words: Vec<String> = names(settings).map(|name| format!("\"{name}\"")).collect();
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} or {last}", words.join(", ")),
        last => last.unwrap_or_default(),
    }
}

/// What the module keeps in each worker.
struct Kept {
    codecs: Option<Codecs>,
    log: Limiter,
}

type Transform =
    fn(&mut Codecs, ChainId, Option<SocketAddr>, &[u8], &mut Vec<u8>) -> Result<(), CodecError>;

fn run(
    exec: &mut Exec<'_>,
    args: &[Arg],
    peer: Option<SocketAddr>,
    transform: Transform,
) -> Result<i64, Halt> {
    let [Arg::Choice(codec), input, Arg::Target(output)] = args else {
        return Ok(-1);
    };
    let Ok(place) = usize::try_from(*codec) else {
        return Ok(-1);
    };
    let id = ChainId::at(place);
    let input = exec.arg_str(std::slice::from_ref(input), 0)?;
    let mut wait = None;
    let result = exec.append_with(input, |kept: &mut Kept, input, out| {
        let Some(codecs) = &mut kept.codecs else {
            return Err(None);
        };
        let result = transform(codecs, id, peer, input, out);
        if let Err(error) = &result {
            wait = codecs.wait_of(id, input, error);
            if let Some(Wait::Enrolment(request)) = &mut wait {
                request.by_script = true;
            }
        }
        result.map_err(Some)
    })?;
    if let Some(wait) = wait
        && exec.host.wait(Box::new(wait))
    {
        // Its script runs anew when there is what it waits for.
        return Err(Halt::Drop);
    }
    match result {
        Some(Ok(value)) => {
            exec.rt.codec_error = None;
            exec.assign(output, value)?;
            Ok(1)
        }
        Some(Err(Some(error))) => {
            let reason = error.fault.reason();
            exec.rt.codec_error = Some(reason.name());
            exec.host.count(counter(reason));
            let kept = exec.rt.kept::<Kept>();
            if let Some(held_back) = kept.and_then(|kept| kept.log.allow()) {
                tracing::warn!(
                    worker = exec.rt.worker,
                    src = %exec.env.src,
                    held_back,
                    "{}: {error}",
                    exec.program.place(exec.line)
                );
            }
            Ok(-1)
        }
        // The module is in every table, and shares its chains with every program.
        Some(Err(None)) | None => Ok(-1),
    }
}
