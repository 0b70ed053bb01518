//! Bytes as text: base64 (RFC 4648 §4 and §5) and hexadecimal digits (§8).

#[cfg(test)]
mod tests;

use data_encoding::{BASE64URL_NOPAD, Encoding, HEXLOWER, Specification};

use crate::codec::Role;
use crate::codec::{Codec, Fault, append, scratch};
use crate::link::{Arguments, CodecDef, Materials, Mistake, Recipe};

pub(crate) const BASE64: CodecDef = CodecDef {
    name: "base64",
    form: "base64, or base64(url)",
    doc: "Base64, RFC 4648 §4, padded; `url`: §5, without padding. Decoding ignores line breaks and \
          blanks.",
    is_bare: true,
    read: |arguments| read(arguments),
};

pub(crate) const HEX: CodecDef = CodecDef {
    name: "hex",
    form: "hex",
    doc: "Two hexadecimal digits for each byte, lower case; decoding takes both, and ignores line \
          breaks and blanks.",
    is_bare: true,
    read: |_| {
        Ok(Box::new(TextRecipe {
            encode: HEXLOWER,
            decode: Alphabet::Hex,
        }))
    },
};

/// What decoding accepts.
#[derive(Clone, Copy)]
enum Alphabet {
    Base64,
    Base64Url,
    Hex,
}

struct TextRecipe {
    encode: Encoding,
    decode: Alphabet,
}

fn read(arguments: &mut Arguments<'_>) -> Result<Box<dyn Recipe>, Mistake> {
    let recipe = match arguments.next_plain() {
        None => TextRecipe {
            encode: data_encoding::BASE64,
            decode: Alphabet::Base64,
        },
        Some(word) if word.text == "url" => TextRecipe {
            encode: BASE64URL_NOPAD,
            decode: Alphabet::Base64Url,
        },
        Some(word) => return Err(arguments.unfit(&word)),
    };
    Ok(Box::new(recipe))
}

impl Recipe for TextRecipe {
    fn make(&self, _: Role, _: &dyn Materials) -> Result<Box<dyn Codec>, Mistake> {
        Ok(Box::new(Text {
            encode: self.encode.clone(),
            decode: tolerant(&self.encode, self.decode),
            scratch: Vec::new(),
        }))
    }
}

/// The same alphabet, read as mail programs, Perl's `encode_base64` and people write it.
fn tolerant(strict: &Encoding, alphabet: Alphabet) -> Encoding {
    let mut specification: Specification = strict.specification();
    specification.ignore.push_str(" \t\r\n");
    if let Alphabet::Hex = alphabet {
        specification.translate.from.push_str("ABCDEF");
        specification.translate.to.push_str("abcdef");
    }
    // Blanks are in none of the alphabets.
    specification.encoding().unwrap_or_else(|_| strict.clone())
}

struct Text {
    encode: Encoding,
    decode: Encoding,
    scratch: Vec<u8>,
}

impl Codec for Text {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let len = self.encode.encode_len(input.len());
        if len > max {
            return Err(Fault::TooLong(max));
        }
        let scratch = scratch(&mut self.scratch, len);
        self.encode.encode_mut(input, scratch);
        append(out, scratch, len)
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        // No input decodes to more bytes than it has, so this much is read before it is known
        // whether the result is too long.
        let room = self
            .decode
            .decode_len(input.len())
            .map_err(|_| Fault::Malformed)?;
        let scratch = scratch(&mut self.scratch, room);
        let len = self
            .decode
            .decode_mut(input, scratch)
            .map_err(|_| Fault::Malformed)?;
        if len > max {
            return Err(Fault::TooLong(max));
        }
        append(out, scratch, len)
    }
}
