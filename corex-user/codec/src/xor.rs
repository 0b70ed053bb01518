//! XOR with a key that is repeated. It hides a message from a filter, and from nobody who looks.

use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;

use crate::codec::Role;
use crate::codec::{Codec, Fault, append_all};
use crate::keys::Keys;
use crate::link::{Arguments, CodecDef, Materials, Mistake, Recipe, Word, shown};

pub(crate) const CODEC: CodecDef = CodecDef {
    name: "xor",
    form: "xor(key=NAME), xor(text=WORD) or xor(hex=DIGITS)",
    doc: "XOR with a key that is repeated: obfuscation, no security.",
    is_bare: false,
    read,
};

/// Where the key comes from.
enum XorRecipe {
    Named(Word),
    Written(Arc<[u8]>),
}

fn read(arguments: &mut Arguments<'_>) -> Result<Box<dyn Recipe>, Mistake> {
    let recipe = if let Some(name) = arguments.named("key") {
        XorRecipe::Named(name)
    } else if let Some(text) = arguments.named("text") {
        if text.text.is_empty() {
            return Err(arguments.unfit(&text));
        }
        XorRecipe::Written(text.text.as_bytes().into())
    } else if let Some(hex) = arguments.named("hex") {
        match HEXLOWER_PERMISSIVE.decode(hex.text.as_bytes()) {
            Ok(key) if !key.is_empty() => XorRecipe::Written(key.into()),
            _ => {
                return Err(Mistake::new(
                    hex.at,
                    format!("{} is no key in hexadecimal digits", shown(&hex.text)),
                    "write two digits for each byte, as in hex=5aa5",
                ));
            }
        }
    } else {
        return Err(arguments.missing("a key"));
    };
    Ok(Box::new(recipe))
}

impl Recipe for XorRecipe {
    fn make(&self, _: Role, materials: &dyn Materials) -> Result<Box<dyn Codec>, Mistake> {
        Ok(Box::new(match self {
            XorRecipe::Named(name) => Xor::Named(Keys::find(materials, name)?),
            XorRecipe::Written(key) => Xor::Written(Arc::clone(key)),
        }))
    }
}

enum Xor {
    Named(Arc<Keys>),
    Written(Arc<[u8]>),
}

impl Codec for Xor {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let start = out.len();
        append_all(out, input, max)?;
        let key = match self {
            Xor::Named(keys) => keys.first().bytes(),
            Xor::Written(key) => key,
        };
        let bytes = out.get_mut(start..).unwrap_or_default();
        for (byte, key) in bytes.iter_mut().zip(key.iter().cycle()) {
            *byte ^= key;
        }
        Ok(())
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        self.encode(input, out, max)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Store, decode, encode};

    #[test]
    fn the_key_is_repeated_and_comes_from_three_places() {
        let store = Store::new();
        for codec in ["xor(key=mask)", "xor(text=mask)", "xor(hex=6D61736b)"] {
            let mut chain = store.chain(&format!("x={codec}"));
            let masked = encode(&mut chain, b"OPTIONS").unwrap();
            assert_eq!(masked, [0x22, 0x31, 0x27, 0x22, 0x22, 0x2f, 0x20]);
            assert_eq!(decode(&mut chain, &masked).unwrap(), b"OPTIONS");
            assert_eq!(encode(&mut chain, b"").unwrap(), b"");
        }
    }

    #[test]
    fn another_key_is_another_message() {
        let store = Store::default();
        let masked = encode(&mut store.chain("x=xor(text=a)"), b"OPTIONS").unwrap();
        assert_ne!(
            decode(&mut store.chain("x=xor(text=b)"), &masked).unwrap(),
            b"OPTIONS"
        );
    }
}
