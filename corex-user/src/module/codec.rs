//! The module `codec`: transformations of whole messages.

use crate::codec::{Codec, CodecConfig, CodecError, Codecs};
use corex_script::function::{
    Function, Module, Param, ParamKind, Parameter, ParameterKind, Routes,
};
use corex_script::limiter::Limiter;
use corex_script::run::Arg;
use corex_script::run::{Exec, Halt};

pub(super) static MODULE: Module = Module {
    name: "codec",
    doc: "Native transformations of messages, for event_route[network:msg].",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    keeps: Some(|settings| {
        let config = CodecConfig {
            gzip_level: settings.codec.gzip_level,
        };
        Box::new(Kept {
            codecs: Codecs::new(&config),
            log: Limiter::default(),
        })
    }),
    ..Module::NONE
};

const FORM: &[Param] = &[
    Param {
        name: "codec",
        kind: ParamKind::Choice {
            find: |name| {
                let is = |codec: &Codec| codec.name().as_bytes() == name;
                Codec::ALL.iter().position(is).map(|at| at as i64)
            },
            words: "\"gzip\"",
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
        doc: "Encodes `input` and puts the result in the pseudo-variable `output`. False, with \
              `output` as it was, if the result would be longer than max_output.",
        handler: |exec, args| run(exec, args, Codecs::encode),
    },
    Function {
        name: "codec_decode",
        aliases: &[],
        forms: &[FORM],
        routes: Routes::ANY,
        doc: "Decodes `input` and puts the result in the pseudo-variable `output`. False, with \
              `output` as it was, if the input is damaged or not of that kind, or the result \
              would be longer than max_output: a decompression bomb stops there.",
        handler: |exec, args| run(exec, args, Codecs::decode),
    },
];

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "max_output",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 1,
            max: 65_535,
            set: |settings, value| settings.codec.max_output = value as u32,
        },
        doc: "The most bytes that a transformation may yield. Default: 65535.",
    },
    Parameter {
        name: "gzip_level",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 12,
            set: |settings, value| settings.codec.gzip_level = value as u8,
        },
        doc: "Compression level of gzip: 0 (none), 1 (fastest) to 12 (slowest). Default: 6.",
    },
];

/// What a worker keeps.
struct Kept {
    codecs: Result<Codecs, CodecError>,
    log: Limiter,
}

type Transform = fn(&mut Codecs, Codec, &[u8], &mut Vec<u8>, usize) -> Result<(), CodecError>;

fn run(exec: &mut Exec<'_>, args: &[Arg], transform: Transform) -> Result<i64, Halt> {
    let [Arg::Choice(codec), input, Arg::Target(output)] = args else {
        return Ok(-1);
    };
    let Some(codec) = usize::try_from(*codec)
        .ok()
        .and_then(|at| Codec::ALL.get(at))
    else {
        return Ok(-1);
    };
    let input = exec.arg_str(std::slice::from_ref(input), 0)?;
    let max = exec.program.settings().codec.max_output as usize;
    // The parameters' bounds let no error through.
    let result = exec.append_with(input, |kept: &mut Kept, input, out| {
        match &mut kept.codecs {
            Ok(codecs) => transform(codecs, *codec, input, out, max),
            Err(error) => Err(*error),
        }
    })?;
    let Some(result) = result else {
        return Ok(-1);
    };
    match result {
        Ok(value) => {
            exec.assign(output, value)?;
            Ok(1)
        }
        Err(error) => {
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
    }
}
