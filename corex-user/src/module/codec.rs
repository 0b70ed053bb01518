//! The module `codec`: transformations of whole messages.

use crate::codec::{CODECS, CodecError, CodecId, Codecs};
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
    parameters: &PARAMETERS,
    keeps: Some(|settings| {
        Box::new(Kept {
            codecs: Codecs::new(&settings.codec),
            log: Limiter::default(),
        })
    }),
    ..Module::NONE
};

const FORM: &[Param] = &[
    Param {
        name: "codec",
        kind: ParamKind::Choice {
            find: |name| CodecId::find(name).map(|codec| codec.place() as i64),
            words: WORDS,
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

/// The module's own parameter, and those of the codecs in their order.
const PARAMETERS: [Parameter; 1 + count_parameters()] = {
    let mut all = [const { MAX_OUTPUT }; 1 + count_parameters()];
    let (mut codec, mut next) = (0, 1);
    while codec < CODECS.len() {
        let mut at = 0;
        while at < CODECS[codec].parameters.len() {
            let parameter = &CODECS[codec].parameters[at];
            all[next] = Parameter {
                name: parameter.name,
                aliases: parameter.aliases,
                kind: parameter.kind,
                doc: parameter.doc,
            };
            (at, next) = (at + 1, next + 1);
        }
        codec += 1;
    }
    all
};

const MAX_OUTPUT: Parameter = Parameter {
    name: "max_output",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 65_535,
        set: |settings, value| settings.codec.max_output = value as u32,
    },
    doc: "The most bytes that a transformation may yield. Default: 65535.",
};

const fn count_parameters() -> usize {
    let (mut count, mut codec) = (0, 0);
    while codec < CODECS.len() {
        count += CODECS[codec].parameters.len();
        codec += 1;
    }
    count
}

/// The codecs' names as reports list them: `"a", "b" or "c"`.
const WORDS: &str = {
    const TEXT: [u8; write_words(&mut [])] = {
        let mut text = [0; write_words(&mut [])];
        write_words(&mut text);
        text
    };
    match std::str::from_utf8(&TEXT) {
        Ok(words) => words,
        Err(_) => panic!("names are text"),
    }
};

/// Writes [`WORDS`] as far as there is room, and returns how long they are.
const fn write_words(out: &mut [u8]) -> usize {
    let (mut codec, mut len) = (0, 0);
    while codec < CODECS.len() {
        let before = match codec {
            0 => "\"",
            last if last + 1 == CODECS.len() => " or \"",
            _ => ", \"",
        };
        len = write(before, out, len);
        len = write(CODECS[codec].name, out, len);
        len = write("\"", out, len);
        codec += 1;
    }
    len
}

const fn write(text: &str, out: &mut [u8], mut at: usize) -> usize {
    let mut text = text.as_bytes();
    while let [byte, rest @ ..] = text {
        if at < out.len() {
            out[at] = *byte;
        }
        (text, at) = (rest, at + 1);
    }
    at
}

/// What the module keeps in each worker.
struct Kept {
    codecs: Result<Codecs, CodecError>,
    log: Limiter,
}

type Transform = fn(&mut Codecs, CodecId, &[u8], &mut Vec<u8>, usize) -> Result<(), CodecError>;

fn run(exec: &mut Exec<'_>, args: &[Arg], transform: Transform) -> Result<i64, Halt> {
    let [Arg::Choice(codec), input, Arg::Target(output)] = args else {
        return Ok(-1);
    };
    let Some(codec) = usize::try_from(*codec).ok().and_then(CodecId::at) else {
        return Ok(-1);
    };
    let input = exec.arg_str(std::slice::from_ref(input), 0)?;
    let max = exec.program.settings().codec.max_output as usize;
    // The parameters' bounds let no error through.
    let result = exec.append_with(input, |kept: &mut Kept, input, out| {
        match &mut kept.codecs {
            Ok(codecs) => transform(codecs, codec, input, out, max),
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
