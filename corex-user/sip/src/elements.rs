//! The values of header fields that may hold several.

use super::lex;

/// The values of one header field, separated by commas (RFC 3261 §7.3.1): of Route, Record-Route,
/// Path, Contact. Each comes without the white space around it; empty ones are skipped.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Views the value of a header field.
    pub const fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = lex::find_outside(self.rest, b',').unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            let value = lex::trim(value);
            if !value.is_empty() {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_part_nothing() {
        let value = b" \"A, B\" <sip:a@b;x=1,2>;q=1 , <sip:c>,, sip:d\r\n ";
        let all: Vec<&[u8]> = Elements::new(value).collect();
        let expected: [&[u8]; 3] = [b"\"A, B\" <sip:a@b;x=1,2>;q=1", b"<sip:c>", b"sip:d"];
        assert_eq!(all, expected);
        assert_eq!(Elements::new(b" , ").next(), None);
    }
}
