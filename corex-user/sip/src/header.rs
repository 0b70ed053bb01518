//! Header fields: where they are and how their names compare.

use super::lex;

/// One header field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// The name as written.
    pub name: &'a [u8],
    /// The value without white space at its ends; a folded value keeps its line breaks.
    pub value: &'a [u8],
    /// The whole field, from the name to its line break inclusive.
    pub raw: &'a [u8],
}

impl Header<'_> {
    /// Whether this is the header `name`, by its full or its compact name in any case.
    pub fn is(&self, name: &[u8]) -> bool {
        same_header(self.name, name)
    }
}

/// Whether two names mean the same header: case doesn't matter, and a compact form equals
/// its full name (RFC 3261 §7.3.3; the letters are those of IANA's registry).
pub fn same_header(a: &[u8], b: &[u8]) -> bool {
    full_name(a).eq_ignore_ascii_case(full_name(b))
}

fn full_name(name: &[u8]) -> &[u8] {
    let [letter] = name else { return name };
    match letter.to_ascii_lowercase() {
        b'a' => b"Accept-Contact",
        b'b' => b"Referred-By",
        b'c' => b"Content-Type",
        b'd' => b"Request-Disposition",
        b'e' => b"Content-Encoding",
        b'f' => b"From",
        b'i' => b"Call-ID",
        b'j' => b"Reject-Contact",
        b'k' => b"Supported",
        b'l' => b"Content-Length",
        b'm' => b"Contact",
        b'n' => b"Identity-Info",
        b'o' => b"Event",
        b'r' => b"Refer-To",
        b's' => b"Subject",
        b't' => b"To",
        b'u' => b"Allow-Events",
        b'v' => b"Via",
        b'x' => b"Session-Expires",
        b'y' => b"Identity",
        _ => name,
    }
}

/// Headers that [`super::SipView`] remembers the place of: those that a message which is sent on is
/// asked for.
#[derive(Clone, Copy)]
pub(super) enum Known {
    Via,
    From,
    To,
    CallId,
    CSeq,
    UserAgent,
    ContentLength,
    MaxForwards,
}

impl Known {
    pub(super) const COUNT: usize = 8;

    /// Which of them `name` is.
    #[inline]
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        // Nearly all are written like this; comparing with constants takes no call, and comparing without
        // regard to case many times as long.
        match name {
            b"Via" => Some(Self::Via),
            b"From" => Some(Self::From),
            b"To" => Some(Self::To),
            b"Call-ID" => Some(Self::CallId),
            b"CSeq" => Some(Self::CSeq),
            b"Contact" => None,
            b"User-Agent" => Some(Self::UserAgent),
            b"Max-Forwards" => Some(Self::MaxForwards),
            b"Content-Length" => Some(Self::ContentLength),
            _ => Self::of_any_case(name),
        }
    }

    /// The length decides most cases.
    fn of_any_case(name: &[u8]) -> Option<Self> {
        let (known, full): (_, &[u8]) = match name.len() {
            1 => {
                return match name[0].to_ascii_lowercase() {
                    b'v' => Some(Self::Via),
                    b'f' => Some(Self::From),
                    b't' => Some(Self::To),
                    b'i' => Some(Self::CallId),
                    b'l' => Some(Self::ContentLength),
                    _ => None,
                };
            }
            2 => (Self::To, b"to"),
            3 => (Self::Via, b"via"),
            4 if name[0].eq_ignore_ascii_case(&b'f') => (Self::From, b"from"),
            4 => (Self::CSeq, b"cseq"),
            7 => (Self::CallId, b"call-id"),
            10 => (Self::UserAgent, b"user-agent"),
            12 => (Self::MaxForwards, b"max-forwards"),
            14 => (Self::ContentLength, b"content-length"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(full).then_some(known)
    }
}

/// Iterator over the header fields of a message, in order.
///
/// A line that is no header field (no colon, or no token before it) is skipped. Lines may
/// end in CRLF or in LF alone, as most stacks accept. The work is linear in the message.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    message: &'a [u8],
    /// Where the next line starts.
    at: usize,
    done: bool,
}

impl<'a> Headers<'a> {
    /// Headers of `message` from the offset `at`, where the line after the start line starts.
    pub(super) const fn new(message: &'a [u8], at: usize) -> Self {
        Self {
            message,
            at,
            done: false,
        }
    }

    /// After the last header: offset of the body, the message's length if there is none.
    pub(super) const fn offset(&self) -> usize {
        self.at
    }
}

/// The length of the line at the start of `s`, its line break included.
pub(super) fn line_len(s: &[u8]) -> usize {
    memchr::memchr(b'\n', s).map_or(s.len(), |at| at + 1)
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        while !self.done {
            let rest = self.message.get(self.at..).unwrap_or_default();
            let blank = match rest {
                [] => Some(0),
                [b'\n', ..] => Some(1),
                [b'\r', b'\n', ..] => Some(2),
                _ => None,
            };
            if let Some(len) = blank {
                self.at += len;
                self.done = true;
                return None;
            }
            let mut len = line_len(rest);
            // A line that starts with white space continues the one before (§7.3.1).
            while let Some(b' ' | b'\t') = rest.get(len) {
                len += line_len(&rest[len..]);
            }
            self.at += len;
            let raw = &rest[..len];
            let (name, rest) = lex::split_token(raw);
            let (_, rest) = lex::split_before(rest, |b| b != b' ' && b != b'\t');
            if let [b':', value @ ..] = rest
                && !name.is_empty()
            {
                let value = lex::trim(value);
                return Some(Header { name, value, raw });
            }
        }
        None
    }
}
