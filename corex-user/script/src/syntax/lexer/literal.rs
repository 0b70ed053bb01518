//! Numbers, addresses and strings.

use super::super::ast::Text;
use super::super::diag::Diagnostic;
use super::super::token::TokenKind;
use super::{Lexer, UnterminatedString, is_word};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Lexer<'_> {
    /// An IP address: IPv4, or IPv6 bare or in brackets.
    pub(super) fn address(&mut self) -> Option<TokenKind> {
        const LONGEST: usize = "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]".len();
        let rest = self.rest();
        let (inside, closing) = match rest.strip_prefix('[') {
            Some(inside) => (inside, 1),
            None => (rest, 0),
        };
        let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        let run = inside
            .bytes()
            .take(LONGEST)
            .take_while(|byte| is_part(byte))
            .count();
        let v6 = inside.get(..run).unwrap_or("");
        let ends = |at: usize| !inside.as_bytes().get(at).is_some_and(|b| is_word(*b));
        if let Ok(address) = v6.parse::<Ipv6Addr>()
            && (closing == 0 && ends(run) || inside.as_bytes().get(run) == Some(&b']'))
        {
            let text = rest.get(..run + 2 * closing)?;
            self.skip(text.len());
            return Some(TokenKind::Ip {
                address: IpAddr::V6(address),
                text: text.to_owned(),
            });
        }
        if closing == 1 {
            return None;
        }
        let run = rest
            .bytes()
            .take(LONGEST)
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let v4 = rest.get(..run).unwrap_or("");
        let address = v4.parse::<Ipv4Addr>().ok()?;
        if !ends(run) {
            return None;
        }
        self.skip(run);
        Some(TokenKind::Ip {
            address: IpAddr::V4(address),
            text: v4.to_owned(),
        })
    }

    pub(super) fn number(&mut self) -> Option<TokenKind> {
        let start = self.at;
        let text = self.take_while(is_word);
        let (digits, radix) = if let Some(hex) = text.strip_prefix("0x") {
            (hex, 16)
        } else if let Some(binary) = text
            .strip_suffix('b')
            .filter(|digits| digits.bytes().all(|byte| matches!(byte, b'0' | b'1')))
        {
            (binary, 2)
        } else if text.len() > 1 && text.starts_with('0') {
            (text, 8)
        } else {
            (text, 10)
        };
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            return Some(TokenKind::NumberWord(text.to_owned()));
        }
        match i64::from_str_radix(digits, radix) {
            Ok(value) => Some(TokenKind::Number {
                value,
                text: text.to_owned(),
            }),
            Err(_) => {
                let place = self.span(start..self.at);
                self.diagnostics.push(
                    Diagnostic::error(place, "this number is too large")
                        .label(format!("the largest number is {}", i64::MAX)),
                );
                Some(TokenKind::Number {
                    value: 0,
                    text: "0".to_owned(),
                })
            }
        }
    }

    /// A string has no end: from here on nobody knows what is text and what is not.
    fn unterminated(&mut self, start: usize) -> Result<(), UnterminatedString> {
        if !self.one_line_strings {
            return Err(UnterminatedString);
        }
        let quote = self.text.get(start..start + 1).unwrap_or("\"");
        // What most likely stands behind the missing quote is left to the parser.
        let line = self.text.get(start..self.at).unwrap_or("");
        let likely = line.trim_end_matches([')', ';', ' ', '\t', '\r']).len();
        self.at = start + likely.max(1);
        let place = self.span(start..self.at);
        self.diagnostics.push(
            Diagnostic::error(place, "this string does not end")
                .label(format!("expected a closing {quote}"))
                .help(format!(
                    "end the string with {quote}; a {quote} within it is written {}",
                    if quote == "\"" {
                        "\\\""
                    } else {
                        "in a \"…\" string"
                    }
                )),
        );
        Ok(())
    }

    fn ends_string(&self, byte: Option<u8>) -> bool {
        byte.is_none() || (self.one_line_strings && byte == Some(b'\n'))
    }

    /// `'…'`: no escapes.
    pub(super) fn raw_string(&mut self) -> Result<Text, UnterminatedString> {
        let start = self.at;
        self.skip(1);
        let one_line = self.one_line_strings;
        let value = self.take_while(|byte| byte != b'\'' && !(one_line && byte == b'\n'));
        if self.ends_string(self.byte(0)) {
            self.unterminated(start)?;
        } else {
            self.skip(1);
        }
        Ok(Text::with_anchors(
            value.as_bytes().to_vec(),
            vec![(0, start as u32 + 1)],
        ))
    }

    /// `"…"`, and further ones if only white space stands between them.
    pub(super) fn string(&mut self) -> Result<Text, UnterminatedString> {
        let mut value = Vec::new();
        let mut anchors = Vec::new();
        loop {
            self.string_part(&mut value, &mut anchors)?;
            let end = self.at;
            self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            if self.byte(0) != Some(b'"') {
                self.at = end;
                return Ok(Text::with_anchors(value, anchors));
            }
        }
    }

    fn string_part(
        &mut self,
        value: &mut Vec<u8>,
        anchors: &mut Vec<(u32, u32)>,
    ) -> Result<(), UnterminatedString> {
        let start = self.at;
        self.skip(1);
        let mut anchor = |value: &[u8], at: usize| {
            let pair = (value.len() as u32, at as u32);
            match anchors.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => anchors.push(pair),
            }
        };
        anchor(value, self.at);
        loop {
            let byte = self.byte(0);
            if self.ends_string(byte) {
                return self.unterminated(start);
            }
            let Some(byte) = byte else {
                return Ok(());
            };
            match byte {
                b'"' => {
                    self.skip(1);
                    return Ok(());
                }
                b'\\' => {
                    let (bytes, len) = self.escape();
                    if len > bytes.len() {
                        anchor(value, self.at);
                    }
                    value.extend_from_slice(bytes.as_slice());
                    self.skip(len);
                    if len > bytes.len() {
                        anchor(value, self.at);
                    }
                }
                _ => {
                    value.push(byte);
                    self.skip(1);
                }
            }
        }
    }

    /// The bytes that the escape here stands for, and its length. What Kamailio doesn't know stays as it is,
    /// its backslash included: regular expressions rely on it.
    fn escape(&self) -> (Escaped, usize) {
        let one = |byte: u8, len: usize| (Escaped::One(byte), len);
        match self.byte(1) {
            Some(b'n') => one(b'\n', 2),
            Some(b'r') => one(b'\r', 2),
            Some(b't') => one(b'\t', 2),
            Some(b'a') => one(0x07, 2),
            Some(b'"') => one(b'"', 2),
            Some(b'\\') => one(b'\\', 2),
            Some(b'\n') => (Escaped::Nothing, 2),
            Some(b'\r') if self.byte(2) == Some(b'\n') => (Escaped::Nothing, 3),
            Some(b'x') => match self.digits(2, 16, 2) {
                (_, 0) => one(b'\\', 1),
                (value, len) => one(value as u8, 2 + len),
            },
            // A single digit is a back reference of a substitution, no escape.
            Some(b'0'..=b'7') => match self.digits(1, 8, 3) {
                (_, 0 | 1) => one(b'\\', 1),
                (value, len) => one(value as u8, 1 + len),
            },
            _ => one(b'\\', 1),
        }
    }

    fn digits(&self, ahead: usize, radix: u32, most: usize) -> (u32, usize) {
        let mut value = 0;
        for len in 0..most {
            match self
                .byte(ahead + len)
                .and_then(|byte| char::from(byte).to_digit(radix))
            {
                Some(digit) => value = value * radix + digit,
                None => return (value, len),
            }
        }
        (value, most)
    }
}

/// What an escape stands for.
enum Escaped {
    Nothing,
    One(u8),
}

impl Escaped {
    fn as_slice(&self) -> &[u8] {
        match self {
            Escaped::Nothing => &[],
            Escaped::One(byte) => std::slice::from_ref(byte),
        }
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }
}
