//! Zstandard (RFC 8878), bare or with dictionaries.
//!
//! Each message is one frame, as the `zstd` command writes it (with `-D FILE` where there is a
//! dictionary), so either side may be another program. A frame names its dictionary by id; the
//! decoder takes any of those it has, and frames without one.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd_safe::{CCtx, CDict, DCtx};

use crate::codec::Role;
use crate::codec::{Codec, Fault, append, scratch};
use crate::dictionary::Dictionary;
use crate::link::{Arguments, CodecDef, Materials, Mistake, Recipe, Word, shown};

pub(crate) const CODEC: CodecDef = CodecDef {
    name: "zstd",
    form: "zstd, or zstd(DICTIONARY, …, level=1…19)",
    doc: "Compression, RFC 8878. The first dictionary encodes, and decoding takes any of them; \
          `sip` comes with corex.",
    is_bare: true,
    read,
};

/// For a message of usual length with the dictionary, this takes about as long as 6, and 13 three
/// times as long for next to nothing.
const DEFAULT_LEVEL: i64 = 12;

struct ZstdRecipe {
    dictionaries: Vec<Word>,
    level: i32,
}

fn read(arguments: &mut Arguments<'_>) -> Result<Box<dyn Recipe>, Mistake> {
    let level = arguments.number("level", 1..20)?.unwrap_or(DEFAULT_LEVEL);
    let dictionaries = std::iter::from_fn(|| arguments.next_plain()).collect();
    Ok(Box::new(ZstdRecipe {
        dictionaries,
        level: level as i32,
    }))
}

impl Recipe for ZstdRecipe {
    fn make(&self, _: Role, materials: &dyn Materials) -> Result<Box<dyn Codec>, Mistake> {
        let mut dictionaries: Vec<Arc<Dictionary>> = Vec::new();
        for name in &self.dictionaries {
            let mistake = |what: String, help: String| Mistake::new(name.at.clone(), what, help);
            let Some(found) = materials.dictionaries(&name.text) else {
                return Err(mistake(
                    format!("there is no dictionary {}", shown(&name.text)),
                    format!(
                        "`sip` comes with corex; or add the line: modparam(\"codec\", \
                         \"dictionary\", \"{}=/PATH\")",
                        name.text
                    ),
                ));
            };
            for dictionary in found {
                let id = dictionary.id();
                if dictionaries.iter().any(|other| other.id() == id) {
                    return Err(mistake(
                        format!("there are two dictionaries with the id {id} here"),
                        "leave one out, or train it anew: ids tell them apart".to_owned(),
                    ));
                }
                dictionaries.push(dictionary);
            }
        }
        let unusable = || {
            let at = self
                .dictionaries
                .first()
                .map_or(0..0, |name| name.at.clone());
            Mistake::new(
                at,
                "this dictionary can't be used at this level",
                "try another level",
            )
        };
        let encoder = match dictionaries.first() {
            Some(first) => Some(first.encoder(self.level).ok_or_else(unusable)?),
            None => None,
        };
        let context = CCtx::try_create().zip(DCtx::try_create());
        let (compressor, decompressor) = context.ok_or_else(unusable)?;
        Ok(Box::new(Zstd {
            level: self.level,
            encoder,
            dictionaries,
            compressor,
            decompressor,
            scratch: Vec::new(),
        }))
    }
}

struct Zstd {
    level: i32,
    encoder: Option<Arc<CDict<'static>>>,
    dictionaries: Vec<Arc<Dictionary>>,
    compressor: CCtx<'static>,
    decompressor: DCtx<'static>,
    /// Output lands here first.
    scratch: Vec<u8>,
}

impl Codec for Zstd {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        // With less room than the bound, zstd gives up although the result would have fitted.
        let bound = zstd_safe::compress_bound(input.len());
        let scratch = scratch(&mut self.scratch, bound);
        let packed = match &self.encoder {
            Some(encoder) => self
                .compressor
                .compress_using_cdict(scratch, input, encoder),
            None => self.compressor.compress(scratch, input, self.level),
        };
        // There is room, so it has run out of memory, if anything.
        let len = packed.map_err(|_| Fault::TooLong(max))?;
        if len > max {
            return Err(Fault::TooLong(max));
        }
        append(out, scratch, len)
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        if input.is_empty() {
            return Err(Fault::Malformed);
        }
        let scratch = scratch(&mut self.scratch, max);
        let unpacked = match zstd_safe::get_dict_id_from_frame(input) {
            None => self.decompressor.decompress(scratch, input),
            Some(id) => {
                let id = id.get();
                let known = self.dictionaries.iter().find(|known| known.id() == id);
                let known = known.ok_or(Fault::UnknownDictionary(id))?;
                self.decompressor
                    .decompress_using_ddict(scratch, input, known.decoder())
            }
        };
        let len = unpacked.map_err(|code| {
            let is_short = ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall;
            if zstd_safe::is_error_kind(code, is_short) {
                Fault::TooLong(max)
            } else {
                Fault::Malformed
            }
        })?;
        append(out, scratch, len)
    }
}
