//! Bytes within JSON: the characters U+0000 to U+00FF, so that SIP stays as short as it is.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// As text.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// From text.
pub fn bytes(text: &str) -> Vec<u8> {
    // What is no such character doesn't come from `text`.
    text.chars()
        .filter_map(|character| u8::try_from(character).ok())
        .collect()
}

/// Bytes that are written as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteText(Bytes);

impl ByteText {
    /// How many bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

impl From<Bytes> for ByteText {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<ByteText> for Bytes {
    fn from(text: ByteText) -> Self {
        text.0
    }
}

impl Serialize for ByteText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(&self.0))
    }
}

impl<'de> Deserialize<'de> for ByteText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Ok(Self(bytes(&text).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Bytes = (0..=255).collect::<Vec<u8>>().into();
        let json = serde_json::to_string(&ByteText(all.clone())).unwrap();
        let back: ByteText = serde_json::from_str(&json).unwrap();
        assert_eq!(Bytes::from(back), all);
    }
}
