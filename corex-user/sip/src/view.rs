//! The view of a whole message.

use std::cell::OnceCell;
use std::convert::Infallible;

use super::header::{Header, Headers, Known, line_len};
use super::{NameAddr, Via, Vias, lex};

/// The first line of a message (RFC 3261 §7.1, §7.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartLine<'a> {
    /// `INVITE sip:alice@example.com SIP/2.0`
    Request {
        /// Method, case-sensitive.
        method: &'a [u8],
        /// Request-URI; it isn't looked into: see [`super::Uri::parse`].
        uri: &'a [u8],
        /// `SIP/2.0`, as written.
        version: &'a [u8],
    },
    /// `SIP/2.0 200 OK`
    Reply {
        /// `SIP/2.0`, as written.
        version: &'a [u8],
        /// Status code, 100 to 699.
        status: u16,
        /// Reason phrase, may be empty.
        reason: &'a [u8],
    },
}

impl<'a> StartLine<'a> {
    /// Reads the start line of a message, and nothing behind it: by the rules of [`SipView::parse`].
    ///
    /// # Errors
    /// Why it is none.
    #[inline]
    pub fn parse(message: &'a [u8]) -> Result<Self, NotSip> {
        match plain_request(message) {
            Some((start_line, _)) => Ok(start_line),
            None => start_line(message).map(|(start_line, _)| start_line),
        }
    }
}

/// Why bytes are not a SIP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotSip {
    /// Nothing but line breaks: an empty datagram, or a keepalive (RFC 5626 §3.5.1).
    #[error("nothing but line breaks")]
    Empty,
    /// The first line doesn't end.
    #[error("the first line has no end")]
    NoLineEnd,
    /// The line doesn't start with a method and a space, nor with `SIP/2.0` and a space.
    #[error("the first line starts with no method and no SIP version")]
    Method,
    /// The Request-URI is missing or has a control character.
    #[error("the Request-URI is missing or malformed")]
    RequestUri,
    /// The request line doesn't end in `SIP/2.0`.
    #[error("the request line does not end in SIP/2.0")]
    Version,
    /// The status code isn't three digits from 100 to 699.
    #[error("the status code is not a number from 100 to 699")]
    Status,
    /// The reason phrase has a control character.
    #[error("the reason phrase has a control character")]
    Reason,
}

/// The value of CSeq (RFC 3261 §20.16).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CSeq<'a> {
    /// Sequence number.
    pub number: u32,
    /// Method.
    pub method: &'a [u8],
}

impl<'a> CSeq<'a> {
    /// Reads the header's value.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let (number, rest) = lex::split_before(value, lex::is_lws);
        let method = lex::trim_start(rest);
        let is_method = !method.is_empty() && method.iter().all(|&b| lex::is_token(b));
        is_method.then_some(CSeq {
            number: lex::decimal(number)?,
            method,
        })
    }
}

/// A SIP message in a buffer. Where headers occur more than once, the accessors take the first.
#[derive(Clone, Debug)]
pub struct SipView<'a> {
    message: &'a [u8],
    start_line: StartLine<'a>,
    /// Offset of the line after the start line.
    headers: usize,
    index: OnceCell<Index>,
    /// Why [`Self::parse`] refuses it.
    refused: Option<NotSip>,
}

/// What one pass over the headers found.
#[derive(Clone, Debug)]
struct Index {
    /// The first of each of the [`Known`] headers.
    first: [Place; Known::COUNT],
    /// Those of them that occur more than once, as bits.
    repeated: u16,
    /// Where further headers go.
    end_of_headers: usize,
    body: usize,
}

/// Where a header field stands in a message, as offsets; an end of 0: nowhere.
#[derive(Clone, Copy, Default, Debug)]
struct Place {
    start: u32,
    name_end: u32,
    value_start: u32,
    value_end: u32,
    end: u32,
}

impl Place {
    /// A message beyond 4 GiB, which no transport delivers, has no headers there.
    fn of(header: &Header<'_>, message: &[u8]) -> Place {
        let offset = |part: &[u8]| (part.as_ptr().addr() - message.as_ptr().addr()) as u32;
        if u32::try_from(message.len()).is_err() {
            return Place::default();
        }
        let (start, value_start) = (offset(header.raw), offset(header.value));
        Place {
            start,
            name_end: start + header.name.len() as u32,
            value_start,
            value_end: value_start + header.value.len() as u32,
            end: start + header.raw.len() as u32,
        }
    }

    fn header<'m>(&self, message: &'m [u8]) -> Option<Header<'m>> {
        if self.end == 0 {
            return None;
        }
        let part = |start: u32, end: u32| message.get(start as usize..end as usize);
        Some(Header {
            name: part(self.start, self.name_end)?,
            value: part(self.value_start, self.value_end)?,
            raw: part(self.start, self.end)?,
        })
    }
}

impl<'a> SipView<'a> {
    /// Views `message`. Only the start line is read.
    ///
    /// Line breaks in front of it are skipped (RFC 3261 §7.5). As Kamailio does, it accepts
    /// several spaces between Request-URI and version, white space at the line's end and LF
    /// alone as a line break. Compressed or otherwise binary data is refused: the line must
    /// be text and carry `SIP/2.0` in its place.
    #[inline]
    pub fn parse(message: &'a [u8]) -> Result<Self, NotSip> {
        let (start_line, headers) = match plain_request(message) {
            Some(found) => found,
            None => start_line(message)?,
        };
        Ok(Self {
            message,
            start_line,
            headers,
            index: OnceCell::new(),
            refused: None,
        })
    }

    /// Views a request that [`Self::parse`] refuses for its first line, so that it can be answered:
    /// one of another version of SIP, or with white space where there is none. `None`: it is no
    /// request that ends in a version, or it is a good one.
    pub fn parse_refused(message: &'a [u8]) -> Option<Self> {
        let refused = Self::parse(message).err()?;
        let skip = message.iter().position(|&b| b != b'\r' && b != b'\n')?;
        let rest = &message[skip..];
        let len = line_len(rest);
        let line = lex::trim_end(rest[..len].strip_suffix(b"\n")?);
        let (method, after) = lex::split_token(line);
        let after = after.strip_prefix(b" ")?;
        let (uri, version) = after.split_at(after.iter().rposition(|&b| lex::is_lws(b))? + 1);
        let is_text =
            !method.is_empty() && !after.iter().any(|&b| lex::is_control(b) && b != b'\t');
        (is_text && is_any_version(version)).then(|| Self {
            message,
            start_line: StartLine::Request {
                method,
                uri: lex::trim(uri),
                version,
            },
            headers: skip + len,
            index: OnceCell::new(),
            refused: Some(if is_version(version) {
                NotSip::RequestUri
            } else {
                refused
            }),
        })
    }

    /// Why [`Self::parse`] refuses it; `None`: it doesn't.
    pub const fn refused(&self) -> Option<NotSip> {
        self.refused
    }

    /// The message as it was given to [`Self::parse`], leading line breaks included.
    pub const fn message(&self) -> &'a [u8] {
        self.message
    }

    /// The start line.
    pub const fn start_line(&self) -> StartLine<'a> {
        self.start_line
    }

    /// Whether it is a request.
    pub const fn is_request(&self) -> bool {
        matches!(self.start_line, StartLine::Request { .. })
    }

    /// The version in the start line, `SIP/2.0`.
    pub const fn version(&self) -> &'a [u8] {
        match self.start_line {
            StartLine::Request { version, .. } | StartLine::Reply { version, .. } => version,
        }
    }

    /// A request's method.
    pub const fn method(&self) -> Option<&'a [u8]> {
        match self.start_line {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Reply { .. } => None,
        }
    }

    /// A request's Request-URI.
    pub const fn request_uri(&self) -> Option<&'a [u8]> {
        match self.start_line {
            StartLine::Request { uri, .. } => Some(uri),
            StartLine::Reply { .. } => None,
        }
    }

    /// A reply's status code.
    pub const fn status(&self) -> Option<u16> {
        match self.start_line {
            StartLine::Reply { status, .. } => Some(status),
            StartLine::Request { .. } => None,
        }
    }

    /// A reply's reason phrase.
    pub const fn reason(&self) -> Option<&'a [u8]> {
        match self.start_line {
            StartLine::Reply { reason, .. } => Some(reason),
            StartLine::Request { .. } => None,
        }
    }

    /// All header fields, in order.
    pub const fn headers(&self) -> Headers<'a> {
        Headers::new(self.message, self.headers)
    }

    /// The header fields of one name, by its full or compact form in any case, in order.
    pub fn headers_named<'n>(
        &self,
        name: &'n [u8],
    ) -> impl Iterator<Item = Header<'a>> + use<'a, 'n> {
        let (first, rest) = match Known::of(name) {
            Some(known) => {
                let first = self.known(known);
                let is_repeated = self.index().repeated & (1 << known as u16) != 0;
                let rest = is_repeated.then(|| {
                    let place = &self.index().first[known as usize];
                    Headers::new(self.message, place.end as usize)
                });
                (first, rest)
            }
            None => (None, Some(self.headers())),
        };
        let rest = rest.into_iter().flatten();
        first.into_iter().chain(rest.filter(move |h| h.is(name)))
    }

    /// The first header field of one name.
    pub fn header(&self, name: &[u8]) -> Option<Header<'a>> {
        match Known::of(name) {
            Some(known) => self.known(known),
            None => self.headers().find(|h| h.is(name)),
        }
    }

    /// Where further headers go: behind the last one. In front of it if its line has no end, as in a
    /// datagram that was cut off: behind it they would run into it.
    pub fn end_of_headers(&self) -> usize {
        self.index().end_of_headers
    }

    /// Call-ID.
    pub fn call_id(&self) -> Option<&'a [u8]> {
        self.value(Known::CallId)
    }

    /// CSeq; `None` also when it is malformed or its number exceeds 32 bits.
    pub fn cseq(&self) -> Option<CSeq<'a>> {
        CSeq::parse(self.value(Known::CSeq)?)
    }

    /// From; `None` also when no URI can be made out.
    pub fn from(&self) -> Option<NameAddr<'a>> {
        NameAddr::parse(self.value(Known::From)?)
    }

    /// To; `None` also when no URI can be made out.
    pub fn to(&self) -> Option<NameAddr<'a>> {
        NameAddr::parse(self.value(Known::To)?)
    }

    /// User-Agent.
    pub fn user_agent(&self) -> Option<&'a [u8]> {
        self.value(Known::UserAgent)
    }

    /// The topmost Via; `None` also when it is malformed.
    pub fn top_via(&self) -> Option<Via<'a>> {
        Vias::new(self.value(Known::Via)?).next().flatten()
    }

    /// Every Via of the message from the top down, over all Via header fields. `None` in
    /// place of a malformed one, an empty field among them.
    pub fn vias(&self) -> impl Iterator<Item = Option<Via<'a>>> + use<'a> {
        self.headers_named(b"Via").flat_map(|header| {
            let mut vias = Vias::new(header.value).peekable();
            let empty = vias.peek().is_none().then_some(None);
            vias.chain(empty)
        })
    }

    /// Content-Length in bytes; `None` also when it is no number of 32 bits.
    pub fn content_length(&self) -> Option<u32> {
        lex::decimal(self.value(Known::ContentLength)?)
    }

    /// Everything after the empty line; [`Self::content_length`] is not looked at. Empty if
    /// there is no empty line.
    pub fn body(&self) -> &'a [u8] {
        self.message.get(self.index().body..).unwrap_or_default()
    }

    fn known(&self, header: Known) -> Option<Header<'a>> {
        self.index().first[header as usize].header(self.message)
    }

    fn value(&self, header: Known) -> Option<&'a [u8]> {
        Some(self.known(header)?.value)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let Ok((index, _)) = self.pass(|_| Ok::<_, Infallible>(()));
            index
        })
    }

    /// Calls `each` with the header fields in order, until it fails; what the accessors go by is found by
    /// the same pass. Returns what lies behind the fields.
    pub(super) fn try_headers<E>(
        &self,
        each: impl FnMut(&Header<'a>) -> Result<(), E>,
    ) -> Result<Headers<'a>, E> {
        let (index, headers) = self.pass(each)?;
        self.index.get_or_init(|| index);
        Ok(headers)
    }

    fn pass<E>(
        &self,
        mut each: impl FnMut(&Header<'a>) -> Result<(), E>,
    ) -> Result<(Index, Headers<'a>), E> {
        let mut headers = self.headers();
        let mut index = Index {
            first: [Place::default(); Known::COUNT],
            repeated: 0,
            end_of_headers: headers.offset(),
            body: 0,
        };
        for header in headers.by_ref() {
            if header.raw.ends_with(b"\n") {
                let start = header.raw.as_ptr().addr() - self.message.as_ptr().addr();
                index.end_of_headers = start + header.raw.len();
            }
            if let Some(known) = Known::of(header.name) {
                match index.first.get_mut(known as usize) {
                    Some(place) if place.end == 0 => *place = Place::of(&header, self.message),
                    _ => index.repeated |= 1 << known as u16,
                }
            }
            each(&header)?;
        }
        index.body = headers.offset();
        Ok((index, headers))
    }
}

fn is_version(s: &[u8]) -> bool {
    // As nearly everybody writes it: comparing without regard to case takes many times as long.
    s == b"SIP/2.0" || s.eq_ignore_ascii_case(b"SIP/2.0")
}

/// The start line, and the offset of the line behind it.
fn start_line(message: &[u8]) -> Result<(StartLine<'_>, usize), NotSip> {
    let skip = message
        .iter()
        .position(|&b| b != b'\r' && b != b'\n')
        .ok_or(NotSip::Empty)?;
    let rest = &message[skip..];
    // Junk is refused by its first bytes, before anything looks for a line's end.
    let (token, after) = lex::split_token(rest);
    let is_reply = after.first() == Some(&b'/') && token.eq_ignore_ascii_case(b"SIP");
    if !is_reply && (token.is_empty() || !matches!(after.first(), Some(b' ') | None)) {
        return Err(NotSip::Method);
    }
    let len = line_len(rest);
    let Some(line) = rest[..len].strip_suffix(b"\n") else {
        return Err(NotSip::NoLineEnd);
    };
    let line = lex::trim_end(line);
    let start_line = if is_reply {
        reply(line)?
    } else {
        request(line, token.len())?
    };
    Ok((start_line, skip + len))
}

/// A request line as nearly all are written, and its length with its end; `None` for all else, which
/// [`start_line`] may take all the same.
fn plain_request(message: &[u8]) -> Option<(StartLine<'_>, usize)> {
    const END: &[u8] = b" SIP/2.0\r\n";
    // Nearly every method is a few capital letters.
    let (method, rest) = match lex::few_capitals(message) {
        0 => lex::split_token(message),
        len => message.split_at_checked(len)?,
    };
    let rest = rest.strip_prefix(b" ")?;
    let (uri, rest) = rest.split_at_checked(lex::graphic_len(rest))?;
    if method.is_empty() || uri.is_empty() || !rest.starts_with(END) {
        return None;
    }
    let start_line = StartLine::Request {
        method,
        uri,
        version: rest.get(1..END.len() - 2)?,
    };
    Some((start_line, method.len() + 1 + uri.len() + END.len()))
}

/// Whether this is `SIP/` and a version number.
fn is_any_version(s: &[u8]) -> bool {
    let Some((protocol, number)) = s.split_at_checked(4) else {
        return false;
    };
    let (major, minor) = lex::split_before(number, |b| b == b'.');
    protocol.eq_ignore_ascii_case(b"SIP/")
        && lex::decimal(major).is_some()
        && minor.get(1..).and_then(lex::decimal).is_some()
}

fn request(line: &[u8], method_len: usize) -> Result<StartLine<'_>, NotSip> {
    let (method, rest) = line.split_at_checked(method_len).ok_or(NotSip::Method)?;
    let rest = rest.strip_prefix(b" ").ok_or(NotSip::RequestUri)?;
    let (uri, rest) = rest
        .split_at_checked(lex::graphic_len(rest))
        .ok_or(NotSip::RequestUri)?;
    if uri.is_empty() || !matches!(rest.first(), Some(b' ' | b'\t') | None) {
        return Err(NotSip::RequestUri);
    }
    let version = lex::trim_start(rest);
    if !is_version(version) {
        return Err(NotSip::Version);
    }
    Ok(StartLine::Request {
        method,
        uri,
        version,
    })
}

fn reply(line: &[u8]) -> Result<StartLine<'_>, NotSip> {
    let (version, rest) = lex::split_before(line, |b| b == b' ');
    if !is_version(version) {
        return Err(NotSip::Method);
    }
    let rest = rest.get(1..).unwrap_or_default();
    let (digits, reason) = lex::split_before(rest, |b| b == b' ');
    let status = match (digits.len(), lex::port(digits)) {
        (3, Some(status @ 100..=699)) => status,
        _ => return Err(NotSip::Status),
    };
    let reason = lex::trim_start(reason);
    if reason.iter().any(|&b| lex::is_control(b) && b != b'\t') {
        return Err(NotSip::Reason);
    }
    Ok(StartLine::Reply {
        version,
        status,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_line_as_nearly_all_are_written_is_read_at_once() {
        let message = b"OPTIONS sip:ping@10.77.0.1 SIP/2.0\r\nCall-ID: 1\r\n\r\n";
        let (start_line, headers) = plain_request(message).unwrap();
        assert_eq!(&message[headers..][..7], b"Call-ID");
        let expected = StartLine::Request {
            method: b"OPTIONS",
            uri: b"sip:ping@10.77.0.1",
            version: b"SIP/2.0",
        };
        assert_eq!(start_line, expected);
    }

    /// Start lines of which many are ones, and others are wrong in one place.
    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            80 => proptest::sample::select(b"A-.!z".to_vec()),
            2 => proptest::sample::select(b":/;=@ \t\x7f\x1f\xff".to_vec()),
            1 => any::<u8>(),
        ];
        let text = move |most| proptest::collection::vec(byte.clone(), 0..most);
        let end = proptest::sample::select(vec![
            &b" SIP/2.0\r\n"[..],
            b" SIP/2.0\r\n",
            b" SIP/2.0\r\n",
            b" SIP/2.0\n",
            b"  SIP/2.0\r\n",
            b" sip/2.0\r\n",
            b" SIP/2.0 \r\n",
            b" SIP/2.0",
            b" SIP/2.1\r\n",
            b"SIP/2.0\r\n",
        ]);
        (
            text(4),
            proptest::sample::select(vec![&b" "[..], b" ", b"", b"\r\n"]),
            text(30),
            end,
            text(9),
        )
            .prop_map(|(method, gap, uri, end, rest)| {
                [b"I", &method[..], gap, &uri, end, &rest].concat()
            })
    }

    proptest! {
        #[test]
        fn what_is_read_at_once_is_what_would_be_read_byte_by_byte(message in lines()) {
            if let Some(found) = plain_request(&message) {
                prop_assert_eq!(Ok(found), start_line(&message));
            }
            let view = SipView::parse(&message).map(|view| view.start_line());
            prop_assert_eq!(StartLine::parse(&message), view);
        }

        #[test]
        fn a_few_capitals_are_counted_eight_bytes_at_once(
            text in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..12),
                "[A-Z]{0,9}[@A-Z\\[ a]{0,3}".prop_map(String::into_bytes),
            ],
        ) {
            let count = text.iter().take_while(|b| b.is_ascii_uppercase()).count();
            let expected = if text.len() < 8 || count >= 8 { 0 } else { count };
            prop_assert_eq!(lex::few_capitals(&text), expected);
        }

        #[test]
        fn eight_bytes_at_once_end_where_single_ones_do(
            text in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let end = |b: &u8| *b == b' ' || lex::is_control(*b);
            let expected = text.iter().position(end).unwrap_or(text.len());
            prop_assert_eq!(lex::graphic_len(&text), expected);
        }
    }
}
