//! Addresses: `[proto:]host[:port]`, as `listen` and `alias` take them.

use super::super::ast::{Address, Host, HostKind, Listen, Name, Node, Str};
use super::super::diag::Diagnostic;
use super::super::span::Span;
use super::super::token::{Punct, TokenKind};
use super::{Joined, Parse, Parser};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

const FORMAT: &str =
    "an address is [proto:]host[:port], as in udp:192.0.2.1:5060 or udp:[2001:db8::1]:5060";

pub(super) const TRANSPORTS: [&str; 6] = ["udp", "tcp", "tls", "sctp", "ws", "wss"];

impl Parser<'_> {
    /// An address with what may follow it: `advertise`, `name`, `virtual`.
    pub(super) fn listen(&mut self) -> Parse<Node<Listen>> {
        let address = self.address()?;
        let mut span = address.span;
        let mut listen = Listen {
            address,
            advertise: None,
            name: None,
            is_virtual: false,
        };
        while !self.starts_line() {
            let place = self.span();
            let known = match self.word_at(0) {
                Some("advertise" | "ADVERTISE") => {
                    self.bump();
                    let advertise = self.address()?;
                    listen.advertise.replace(advertise).is_some()
                }
                Some("name" | "NAME") => {
                    self.bump();
                    let name = self.expect_str()?;
                    listen.name.replace(name).is_some()
                }
                Some("virtual" | "VIRTUAL") => {
                    self.bump();
                    std::mem::replace(&mut listen.is_virtual, true)
                }
                _ => break,
            };
            if known {
                self.push(Diagnostic::error(place, "this was given already"));
            }
            span = span.to(self.previous);
        }
        Ok(Node::new(listen, span))
    }

    /// Whether a further address follows on the same line.
    pub(super) fn further_address(&self) -> bool {
        if self.starts_line() {
            return false;
        }
        match self.kind(0) {
            TokenKind::Word(_) => !self.is_at(1, Punct::Assign) && !self.is_at(1, Punct::LeftParen),
            TokenKind::Str(_) | TokenKind::Ip { .. } | TokenKind::NumberWord(_) => true,
            // One with a zone.
            TokenKind::Punct(punct) => *punct == Punct::LeftBracket,
            _ => false,
        }
    }

    /// An address of tokens that stand together without gaps.
    pub(super) fn address(&mut self) -> Parse<Node<Address>> {
        let mut joined = Joined::default();
        if self.starts_line() {
            // The address was forgotten: what stands here begins something else.
            let place = self.previous.after();
            let diagnostic = Diagnostic::error(place, "there is no address here")
                .label("expected an address")
                .help(FORMAT);
            return self.fail(diagnostic);
        }
        while joined.span.is_none() || self.glued(0) {
            let fits = match self.kind(0) {
                TokenKind::Punct(punct) => matches!(
                    punct,
                    Punct::Dot
                        | Punct::Minus
                        | Punct::Colon
                        | Punct::Percent
                        | Punct::Star
                        | Punct::LeftBracket
                        | Punct::RightBracket
                ),
                TokenKind::Str(_) => true,
                other => other.name_text().is_some(),
            };
            if !fits {
                break;
            }
            let kind = self.bump();
            match &kind {
                TokenKind::Str(text) => joined.push_text(text, self.previous),
                other => {
                    joined.push(other.name_text().unwrap_or("").as_bytes(), self.previous);
                }
            }
        }
        if joined.span.is_none() {
            let diagnostic = self.unexpected("an address").help(FORMAT);
            return self.fail(diagnostic);
        }
        let text = joined.finish();
        match address(&text) {
            Ok(address) => Ok(Node::new(address, text.span)),
            Err(diagnostic) => self.fail(diagnostic.help(FORMAT)),
        }
    }
}

/// Takes an address apart.
fn address(text: &Str) -> Result<Address, Diagnostic> {
    let place = |range: Range<usize>| text.kind.locate(range, text.span);
    let whole = text
        .kind
        .as_str()
        .ok_or_else(|| Diagnostic::error(text.span, "this address has bytes that are not text"))?;

    let (transport, mut at) = match transport(whole) {
        Some(name) => (
            Some(Name::new(name.to_owned(), place(0..name.len()))),
            name.len() + 1,
        ),
        None => (None, 0),
    };
    let rest = whole.get(at..).unwrap_or("");
    let (host, len) = host(rest, |range| place(range.start + at..range.end + at))?;
    at += len;
    let rest = whole.get(at..).unwrap_or("");
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some("*") => None,
        Some(digits) => {
            let span = place(at + 1..whole.len());
            match digits.parse::<u16>() {
                Ok(port) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Some(Node::new(port, span))
                }
                _ => {
                    return Err(Diagnostic::error(span, "this is not a port")
                        .label("expected a number from 1 to 65535"));
                }
            }
        }
        None => {
            return Err(Diagnostic::error(
                place(at..whole.len()),
                "this does not belong to an address",
            )
            .label("expected `:` and a port, or the end of the address"));
        }
    };
    Ok(Address {
        transport,
        host,
        port,
    })
}

/// The word before the first colon, unless it is a host.
fn transport(text: &str) -> Option<&str> {
    let (first, rest) = text.split_once(':')?;
    if TRANSPORTS
        .iter()
        .any(|known| first.eq_ignore_ascii_case(known))
    {
        return Some(first);
    }
    let is_word = first.starts_with(|c: char| c.is_ascii_alphabetic())
        && first.bytes().all(|byte| byte.is_ascii_alphanumeric());
    // Of `a:b` with an unknown `a`, a port in second place makes it a host; only then.
    let is_port = rest == "*" || rest.bytes().all(|byte| byte.is_ascii_digit());
    (is_word && !is_port && text.parse::<Ipv6Addr>().is_err()).then_some(first)
}

/// The host at the text's beginning, and its length there.
fn host(text: &str, place: impl Fn(Range<usize>) -> Span) -> Result<(Host, usize), Diagnostic> {
    if let Some(inside) = text.strip_prefix('[') {
        let len = inside.find(']').unwrap_or(inside.len());
        let span = place(0..(len + 2).min(text.len()));
        let is_closed = len + 2 <= text.len();
        let inside = inside.get(..len).unwrap_or("");
        let (address, zone) = match inside.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (inside, None),
        };
        return match (address.parse::<Ipv6Addr>(), zone) {
            (Ok(address), None) if is_closed => {
                Ok((Host::new(HostKind::Ip(IpAddr::V6(address)), span), len + 2))
            }
            (Ok(_), Some("")) => Err(Diagnostic::error(span, "this address has no zone")
                .label("expected the name of an interface behind `%`")),
            (Ok(address), Some(zone)) if is_closed => {
                let zone = zone.to_owned();
                Ok((Host::new(HostKind::Scoped(address, zone), span), len + 2))
            }
            _ => Err(Diagnostic::error(span, "this is not an IPv6 address")
                .label("expected an IPv6 address in brackets")),
        };
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        let host = Host::new(HostKind::Ip(IpAddr::V6(address)), place(0..text.len()));
        return Ok((host, text.len()));
    }
    let len = text.find(':').unwrap_or(text.len());
    let name = text.get(..len).unwrap_or("");
    let span = place(0..len);
    let numeric = name
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let kind = if let Ok(address) = name.parse::<Ipv4Addr>() {
        HostKind::Ip(IpAddr::V4(address))
    } else if name == "*" {
        HostKind::Any
    } else if name.is_empty() {
        return Err(Diagnostic::error(span, "this address has no host")
            .label("expected an IP address, a host name or an interface"));
    } else if numeric {
        return Err(Diagnostic::error(span, "this is not an IPv4 address")
            .label("expected four numbers from 0 to 255"));
    } else if name.bytes().all(fits) {
        HostKind::Name(name.to_owned())
    } else {
        return Err(Diagnostic::error(span, "this is not a host")
            .label("expected an IP address, a host name or an interface"));
    };
    Ok((Host::new(kind, span), len))
}
