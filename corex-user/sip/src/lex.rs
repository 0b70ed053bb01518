//! Character classes and small scanners of RFC 3261 §25.1.

use std::net::{IpAddr, Ipv6Addr};

/// `token`: alphanum and ``-.!%*_+`'~``; a table, since every byte of a header name is asked
/// about.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 128 {
        let byte = b as u8;
        table[b] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
            );
        b += 1;
    }
    table
};

/// Whether `b` may be in a `token`.
pub(super) const fn is_token(b: u8) -> bool {
    TOKEN[b as usize]
}

/// A byte of linear white space; a line break counts, since only a folded one is inside a value.
pub(super) const fn is_lws(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// A C0 control character or DEL.
pub(super) const fn is_control(b: u8) -> bool {
    b < 0x20 || b == 0x7f
}

/// Without the white space at both ends. Of white space alone nothing is left, at its start: an
/// empty header value lies in front of its line break, where another one can be put.
pub(super) fn trim(s: &[u8]) -> &[u8] {
    trim_start(trim_end(s))
}

/// Without the white space at the start.
pub(super) fn trim_start(mut s: &[u8]) -> &[u8] {
    while let [b, rest @ ..] = s
        && is_lws(*b)
    {
        s = rest;
    }
    s
}

/// Without the white space at the end.
pub(super) fn trim_end(mut s: &[u8]) -> &[u8] {
    while let [rest @ .., b] = s
        && is_lws(*b)
    {
        s = rest;
    }
    s
}

/// Splits in front of the first byte that `stop` accepts; all of it if there is none.
pub(super) fn split_before(s: &[u8], stop: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let at = s.iter().position(|&b| stop(b)).unwrap_or(s.len());
    s.split_at(at)
}

/// Index of the first space, other C0 control character or DEL; the length of `s` if there is none.
pub(super) fn graphic_len(s: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let (words, rest) = s.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        // Eight bytes at once: a byte's high bit says that it is one of those. A borrow may set bits
        // that mean nothing, but only above a bit that does, and the lowest one is looked for.
        let word = u64::from_le_bytes(*word);
        let upto_space = word.wrapping_sub(ONES * 0x21) & !word;
        let other_than_del = word ^ (ONES * 0x7f);
        let del = other_than_del.wrapping_sub(ONES) & !other_than_del;
        let found = (upto_space | del) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let is_end = |b: &u8| *b == b' ' || is_control(*b);
    at + rest.iter().position(is_end).unwrap_or(rest.len())
}

/// How many capital letters `s` begins with, where these are fewer than eight and `s` has eight bytes;
/// else 0.
pub(super) fn few_capitals(s: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let Some(word) = s.first_chunk() else {
        return 0;
    };
    // A byte's high bit says that it is none, by sums that carry nothing into the next byte.
    let word = u64::from_le_bytes(*word);
    let seven_bits = word & !HIGH;
    let below = !(seven_bits + ONES * (0x80 - b'A' as u64));
    let above = seven_bits + ONES * (0x80 - (b'Z' as u64 + 1));
    let others = (word | below | above) & HIGH;
    if others == 0 {
        return 0;
    }
    (others.trailing_zeros() / 8) as usize
}

/// Splits a leading token off.
pub(super) fn split_token(s: &[u8]) -> (&[u8], &[u8]) {
    split_before(s, |b| !is_token(b))
}

/// The length of the quoted string at the start of `s`, both quotes included; all of `s` if
/// it doesn't end. 0 if `s` doesn't start with a quote.
pub(super) fn quoted_len(s: &[u8]) -> usize {
    let [b'"', inner @ ..] = s else { return 0 };
    let mut escaped = false;
    for (i, &b) in inner.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return i + 2,
            _ => {}
        }
    }
    s.len()
}

/// Index of the first of two bytes outside of quoted strings.
pub(super) fn find_unquoted(s: &[u8], one: u8, other: u8) -> Option<usize> {
    let mut i = 0;
    loop {
        let rest = s.get(i..)?;
        i += memchr::memchr3(one, other, b'"', rest)?;
        let rest = s.get(i..)?;
        match rest.first()? {
            b'"' => i += quoted_len(rest),
            _ => return Some(i),
        }
    }
}

/// Index of the first `wanted` outside of quoted strings and `<…>`.
pub(super) fn find_outside(s: &[u8], wanted: u8) -> Option<usize> {
    let mut i = 0;
    loop {
        let rest = s.get(i..)?;
        i += memchr::memchr3(wanted, b'"', b'<', rest)?;
        let rest = s.get(i..)?;
        i += match rest.first()? {
            b if *b == wanted => return Some(i),
            b'"' => quoted_len(rest),
            _ => memchr::memchr(b'>', rest)? + 1,
        };
    }
}

/// A decimal number, digits only; `None` when it is empty or doesn't fit.
pub(super) fn decimal(s: &[u8]) -> Option<u32> {
    if s.is_empty() {
        return None;
    }
    s.iter().try_fold(0u32, |n, &b| {
        let digit = b.is_ascii_digit().then(|| u32::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// A port, digits only.
pub(super) fn port(s: &[u8]) -> Option<u16> {
    decimal(s).and_then(|n| u16::try_from(n).ok())
}

/// Splits `host` off `host[:port]…`: an IPv6 reference with its brackets, or letters, digits
/// and `-._` (the underscore for the names that people do use). `None` if neither is there.
pub(super) fn split_host(s: &[u8]) -> Option<(&[u8], &[u8])> {
    let (host, rest) = if s.first() == Some(&b'[') {
        let end = memchr::memchr(b']', s)?;
        let (host, rest) = s.split_at(end + 1);
        host_ip(host)?;
        (host, rest)
    } else {
        split_before(s, |b| {
            !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        })
    };
    (!host.is_empty()).then_some((host, rest))
}

/// What the grammar of RFC 3261 makes of an IPv6 address that ends in an IPv4 one, with a colon too
/// many (`2001:db8:::192.0.2.1`): it must be understood (RFC 5118 §4.10).
fn of_old_grammar(text: &str) -> Option<Ipv6Addr> {
    let (start, end) = text.split_once(":::")?;
    let end: std::net::Ipv4Addr = end.parse().ok()?;
    let [a, b, c, d] = end.octets();
    let mut address = [0; 8];
    for (at, group) in start.split(':').enumerate() {
        let is_hex = group.bytes().all(|byte| byte.is_ascii_hexdigit());
        let place = address.get_mut(at).filter(|_| at < 5 && is_hex)?;
        *place = u16::from_str_radix(group, 16).ok()?;
    }
    address[6] = u16::from_be_bytes([a, b]);
    address[7] = u16::from_be_bytes([c, d]);
    Some(Ipv6Addr::from(address))
}

/// The address if `host` is an IPv4 address, or an IPv6 one with or without brackets.
pub fn host_ip(host: &[u8]) -> Option<IpAddr> {
    match host {
        [b'[', inner @ .., b']'] => {
            let inner = str::from_utf8(inner).ok()?;
            let address = inner.parse::<Ipv6Addr>().ok();
            address.or_else(|| of_old_grammar(inner)).map(IpAddr::V6)
        }
        // No name starts like this and parses; it spares names the attempt.
        [b, ..] if b.is_ascii_digit() || memchr::memchr(b':', host).is_some() => {
            str::from_utf8(host).ok()?.parse().ok()
        }
        _ => None,
    }
}
