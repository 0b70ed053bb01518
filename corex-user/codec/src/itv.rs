//! ITV, character based (github.com/mshary/itv): obfuscation, no security.
//!
//! A table gives each character of an alphabet an ID, another character. To encode a character, an ID
//! is chosen at random, and two characters are written: the one's own ID, and the chosen one; then
//! the two characters swap their IDs. What isn't in the alphabet is written as it is. Decoding
//! follows the swaps.
//!
//! Each message begins with the table of the key: datagrams get lost and change their order. A sender
//! that goes on with the table that the last message left, as the library does when it is called again,
//! must be given the key anew for each message.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::codec::Role;
use crate::codec::{Codec, Fault, scratch};
use crate::keys::Keys;
use crate::link::{Arguments, CodecDef, Materials, Mistake, Recipe, Word};

pub(crate) const CODEC: CodecDef = CodecDef {
    name: "itv",
    form: "itv(key=NAME)",
    doc: "ITV, character based: obfuscation, no security. The key is a table as the library's \
          dump_table() writes it: pairs of an ID and its character.",
    is_bare: false,
    read,
};

struct ItvRecipe(Word);

fn read(arguments: &mut Arguments<'_>) -> Result<Box<dyn Recipe>, Mistake> {
    let key = arguments.named("key");
    Ok(Box::new(ItvRecipe(
        key.ok_or_else(|| arguments.missing("a key"))?,
    )))
}

impl Recipe for ItvRecipe {
    fn make(&self, _: Role, materials: &dyn Materials) -> Result<Box<dyn Codec>, Mistake> {
        let keys = Keys::find(materials, &self.0)?;
        let table = Table::new(keys.first().bytes()).map_err(|what| {
            Mistake::new(
                self.0.at.clone(),
                format!("the key `{}` is no ITV table: {what}", self.0.text),
                "let the library write it: ITV_Characters::dump_table()",
            )
        })?;
        Ok(Box::new(Itv {
            now: table.initial.clone(),
            table,
            random: SystemRandom::new(),
            scratch: Vec::new(),
            _keys: keys,
        }))
    }
}

/// The table of a key. Records have numbers, in the order of the key's.
struct Table {
    /// The record of a character of the alphabet.
    by_value: HashMap<char, u16>,
    /// The place of an ID among the IDs.
    by_id: HashMap<char, u16>,
    values: Vec<char>,
    ids: Vec<char>,
    /// The table at a message's start.
    initial: Swaps,
}

/// Which record has which ID now.
#[derive(Clone)]
struct Swaps {
    /// By record: the place of its ID.
    id_of: Vec<u16>,
    /// By the place of an ID: its record.
    record_of: Vec<u16>,
}

impl Swaps {
    fn copy_from(&mut self, other: &Swaps) {
        self.id_of.copy_from_slice(&other.id_of);
        self.record_of.copy_from_slice(&other.record_of);
    }

    /// The two IDs change places.
    fn swap(&mut self, one: u16, other: u16) {
        let (one, other) = (usize::from(one), usize::from(other));
        let (Some(&first), Some(&second)) = (self.record_of.get(one), self.record_of.get(other))
        else {
            return;
        };
        self.record_of.swap(one, other);
        self.id_of.swap(usize::from(first), usize::from(second));
    }
}

impl Table {
    fn new(key: &[u8]) -> Result<Table, &'static str> {
        let text = std::str::from_utf8(key).map_err(|_| "it is not UTF-8")?;
        let mut characters = text.chars();
        let (mut ids, mut values) = (Vec::new(), Vec::new());
        while let Some(id) = characters.next() {
            ids.push(id);
            values.push(characters.next().ok_or("its number of characters is odd")?);
        }
        let len = u16::try_from(ids.len()).map_err(|_| "it has more than 65535 records")?;
        if len < 2 {
            return Err("it has fewer than two records");
        }
        let by_id: HashMap<char, u16> = ids.iter().copied().zip(0..).collect();
        let by_value: HashMap<char, u16> = values.iter().copied().zip(0..).collect();
        if by_id.len() != ids.len() || by_value.len() != values.len() {
            return Err("it has an ID or a character twice");
        }
        let same: Vec<u16> = (0..len).collect();
        Ok(Table {
            by_value,
            by_id,
            values,
            ids,
            initial: Swaps {
                id_of: same.clone(),
                record_of: same,
            },
        })
    }
}

struct Itv {
    table: Table,
    now: Swaps,
    random: SystemRandom,
    scratch: Vec<u8>,
    /// The table is a copy of what is in there; it lives as long.
    _keys: Arc<Keys>,
}

/// Text and what is none, in turn.
enum Piece {
    Character(char),
    Byte(u8),
}

fn pieces(input: &[u8]) -> impl Iterator<Item = Piece> {
    input.utf8_chunks().flat_map(|chunk| {
        let text = chunk.valid().chars().map(Piece::Character);
        text.chain(chunk.invalid().iter().map(|byte| Piece::Byte(*byte)))
    })
}

/// Appends a character, or a byte that is none, unless there would be more than `max`.
fn push(out: &mut Vec<u8>, piece: Piece, start: usize, max: usize) -> Result<(), Fault> {
    match piece {
        Piece::Character(character) => {
            let mut room = [0; 4];
            out.extend_from_slice(character.encode_utf8(&mut room).as_bytes());
        }
        Piece::Byte(byte) => out.push(byte),
    }
    if out.len() - start > max {
        return Err(Fault::TooLong(max));
    }
    Ok(())
}

impl Codec for Itv {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let start = out.len();
        let table = &self.table;
        let count = table.ids.len() as u32;
        // Four bytes for each character at most: one call for all of them.
        let random = scratch(&mut self.scratch, input.len().saturating_mul(4));
        self.random.fill(random).map_err(|_| Fault::NoRandomness)?;
        let mut random = random.chunks_exact(4);
        self.now.copy_from(&table.initial);
        for piece in pieces(input) {
            let Piece::Character(character) = piece else {
                push(out, piece, start, max)?;
                continue;
            };
            let Some(record) = table.by_value.get(&character) else {
                // The other side would take it for an ID.
                if table.by_id.contains_key(&character) {
                    return Err(Fault::Malformed);
                }
                push(out, Piece::Character(character), start, max)?;
                continue;
            };
            let drawn = random.next().and_then(|four| four.try_into().ok());
            let drawn = u32::from_le_bytes(drawn.ok_or(Fault::NoRandomness)?);
            // The scale of 2^32 makes any unevenness smaller than anyone can tell. Below `count`.
            let chosen = ((u64::from(drawn) * u64::from(count)) >> 32) as u16;
            let own = self.now.id_of.get(usize::from(*record)).copied();
            let own = own.ok_or(Fault::Malformed)?;
            for id in [own, chosen] {
                let id = table.ids.get(usize::from(id)).ok_or(Fault::Malformed)?;
                push(out, Piece::Character(*id), start, max)?;
            }
            self.now.swap(own, chosen);
        }
        Ok(())
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let start = out.len();
        let table = &self.table;
        self.now.copy_from(&table.initial);
        let mut pieces = pieces(input);
        while let Some(piece) = pieces.next() {
            let Piece::Character(character) = piece else {
                push(out, piece, start, max)?;
                continue;
            };
            let Some(own) = table.by_id.get(&character) else {
                push(out, Piece::Character(character), start, max)?;
                continue;
            };
            let Some(Piece::Character(chosen)) = pieces.next() else {
                return Err(Fault::Malformed);
            };
            let chosen = table.by_id.get(&chosen).ok_or(Fault::Malformed)?;
            let record = self.now.record_of.get(usize::from(*own));
            let value = record.and_then(|record| table.values.get(usize::from(*record)));
            let value = *value.ok_or(Fault::Malformed)?;
            push(out, Piece::Character(value), start, max)?;
            self.now.swap(*own, *chosen);
        }
        Ok(())
    }
}
