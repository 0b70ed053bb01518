//! Dictionaries of zstd (RFC 8878 §5): what both sides know already of any message.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use zstd_safe::{CDict, DDict};

/// The most bytes of a dictionary. More cost more time for each message than they save.
const MAX_LEN: usize = 1 << 20;

/// Those that come with corex, by their name; the newest version first. A version, once shipped, stays:
/// what was encoded with it must be read.
pub const SHIPPED: &[Shipped] = &[Shipped {
    name: "sip",
    version: 1,
    bytes: include_bytes!("../dictionary/sip-1.dict"),
}];

/// A dictionary that comes with corex.
#[derive(Clone, Copy)]
pub struct Shipped {
    /// What chains call it.
    pub name: &'static str,
    /// Counted from 1.
    pub version: u32,
    /// In zstd's format.
    pub bytes: &'static [u8],
}

impl fmt::Debug for Shipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shipped({} {})", self.name, self.version)
    }
}

/// Why bytes are no dictionary.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DictionaryError {
    /// Not in zstd's format, or damaged.
    #[error("it is no dictionary in zstd's format")]
    Format,
    /// Its id is 0: messages couldn't say what they were made with.
    #[error("it has no id; train it with `corex dictionary train` or `zstd --train`")]
    NoId,
    /// Longer than a dictionary may be.
    #[error("it is longer than {MAX_LEN} bytes")]
    TooLong,
}

/// A dictionary, ready for use by all workers.
pub struct Dictionary {
    id: u32,
    bytes: Cow<'static, [u8]>,
    /// Prepared for encoding, one for each level in use.
    encoders: Mutex<Vec<(i32, Arc<CDict<'static>>)>>,
    decoder: DDict<'static>,
}

impl Dictionary {
    /// Takes one in.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Dictionary, DictionaryError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_LEN {
            return Err(DictionaryError::TooLong);
        }
        let is_formatted = bytes.starts_with(&[0x37, 0xa4, 0x30, 0xec]);
        if !is_formatted {
            return Err(DictionaryError::Format);
        }
        let id = zstd_safe::get_dict_id_from_dict(&bytes).ok_or(DictionaryError::NoId)?;
        let decoder = DDict::try_create(&bytes).ok_or(DictionaryError::Format)?;
        // Its tables are checked for encoding apart.
        CDict::try_create(&bytes, 1).ok_or(DictionaryError::Format)?;
        Ok(Dictionary {
            id: id.get(),
            bytes,
            encoders: Mutex::default(),
            decoder,
        })
    }

    /// Those that come with corex under this name, the newest first.
    pub fn shipped(name: &str) -> Option<Vec<Arc<Dictionary>>> {
        static ALL: OnceLock<Vec<(&str, Arc<Dictionary>)>> = OnceLock::new();
        let all = ALL.get_or_init(|| {
            let made = SHIPPED.iter().filter_map(|shipped| {
                let dictionary = Dictionary::new(shipped.bytes).ok()?;
                Some((shipped.name, Arc::new(dictionary)))
            });
            made.collect()
        });
        let of_name = all.iter().filter(|(known, _)| *known == name);
        let found: Vec<_> = of_name.map(|(_, made)| Arc::clone(made)).collect();
        (!found.is_empty()).then_some(found)
    }

    /// What messages call it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// As it is in a file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// For encoding at this level.
    pub(crate) fn encoder(&self, level: i32) -> Option<Arc<CDict<'static>>> {
        let mut encoders = self.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = encoders.iter().find(|(known, _)| *known == level) {
            return Some(Arc::clone(known));
        }
        let made = Arc::new(CDict::try_create(&self.bytes, level)?);
        encoders.push((level, Arc::clone(&made)));
        Some(made)
    }

    /// For decoding.
    pub(crate) fn decoder(&self) -> &DDict<'static> {
        &self.decoder
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dictionary({}, {} bytes)", self.id, self.bytes.len())
    }
}
