//! Where one message ends in a stream and the next begins (RFC 3261 §7.5 and §18.3, RFC 5626
//! §3.5.1), for SIP and for HTTP, in which some tunnel SIP.

/// What a stream holds at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A message of so many bytes.
    Message(usize),
    /// A keep-alive of so many bytes that wants an answer: CRLF CRLF.
    Ping(usize),
    /// So many bytes between messages: line breaks.
    Blank(usize),
    /// Nothing whole yet.
    Incomplete,
}

/// Why a stream can't be divided into messages any further: the connection must be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The first bytes are no text.
    #[error("it does not begin like a SIP or HTTP message")]
    NotText,
    /// Headers, or headers and body, exceed the bound.
    #[error("a message is longer than the bound of tcp_rd_buf_size")]
    TooLong,
    /// A message without Content-Length, which RFC 3261 §18.3 asks for. HTTP knows messages that end
    /// with their headers, but others may read a body there, and the message behind it as a part of
    /// that. Kamailio closes too, unless tcp_accept_no_cl is set.
    #[error("a message without Content-Length")]
    NoContentLength,
    /// Content-Length is no number, or two numbers, or there are two that differ.
    #[error("a Content-Length that is no number, or two that differ")]
    ContentLength,
    /// HTTP in chunks: its end would have to be looked for in the body. Kamailio closes too,
    /// unless tcp_accept_no_cl is set.
    #[error("an HTTP message with a transfer coding")]
    TransferCoding,
}

/// Divides a stream. The caller keeps the bytes, and takes away what [`Self::next`] found.
#[derive(Clone, Debug)]
pub struct Decoder {
    max_message: usize,
    /// No end of headers lies in front of this place.
    scanned: usize,
    /// The length of the message, once its headers are there.
    len: Option<usize>,
}

impl Decoder {
    /// A decoder for messages of at most so many bytes.
    pub const fn new(max_message: usize) -> Decoder {
        Decoder {
            max_message,
            scanned: 0,
            len: None,
        }
    }

    /// What `buffer` starts with. Bytes that were found incomplete before aren't read again: the
    /// work is linear in the stream.
    ///
    /// # Errors
    /// When the stream is lost.
    pub fn next(&mut self, buffer: &[u8]) -> Result<Frame, FrameError> {
        let len = match self.len {
            Some(len) => len,
            None => match self.find(buffer)? {
                Ok(len) => len,
                Err(other) => return Ok(other),
            },
        };
        if buffer.len() < len {
            self.len = Some(len);
            return Ok(Frame::Incomplete);
        }
        self.len = None;
        self.scanned = 0;
        Ok(Frame::Message(len))
    }

    /// The length of the message at the start, or what else is there.
    fn find(&mut self, buffer: &[u8]) -> Result<Result<usize, Frame>, FrameError> {
        match buffer {
            [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => {
                return Ok(Err(Frame::Incomplete));
            }
            [b'\r', b'\n', b'\r', b'\n', ..] => return Ok(Err(Frame::Ping(4))),
            [b'\r', b'\n', ..] => return Ok(Err(Frame::Blank(2))),
            [b'\r' | b'\n', ..] => return Ok(Err(Frame::Blank(1))),
            [first, ..] if !first.is_ascii_alphanumeric() && !b"-.!%*_+`'~".contains(first) => {
                return Err(FrameError::NotText);
            }
            _ => {}
        }
        let Some(end) = self.end_of_headers(buffer) else {
            if buffer.len() >= self.max_message {
                return Err(FrameError::TooLong);
            }
            return Ok(Err(Frame::Incomplete));
        };
        if end > self.max_message {
            return Err(FrameError::TooLong);
        }
        let headers = buffer.get(..end).unwrap_or_default();
        let body = body_len(headers)?;
        let len = end.checked_add(body).filter(|len| *len <= self.max_message);
        len.map(Ok).ok_or(FrameError::TooLong)
    }

    /// Where the body begins: behind an empty line.
    fn end_of_headers(&mut self, buffer: &[u8]) -> Option<usize> {
        let mut from = self.scanned;
        while let Some(at) = memchr::memchr(b'\n', buffer.get(from..)?) {
            let next = from + at + 1;
            match buffer.get(next..)? {
                [b'\n', ..] => return Some(next + 1),
                [b'\r', b'\n', ..] => return Some(next + 2),
                // The line break itself must be looked at again with what follows it.
                [] | [b'\r'] => {
                    self.scanned = next - 1;
                    return None;
                }
                _ => from = next,
            }
        }
        self.scanned = buffer.len();
        None
    }
}

/// The length of the body that the headers announce. Whatever another parser might read otherwise
/// is an error: a wrong idea of where a message ends lets a sender hide one message in another.
fn body_len(headers: &[u8]) -> Result<usize, FrameError> {
    let mut lines = headers.split(|byte| *byte == b'\n');
    let is_http = is_http(lines.next().unwrap_or_default().trim_ascii());
    let mut len = Length::default();
    // Whether the header at hand is a Content-Length, which may go on in the next line (RFC 3261
    // §7.3.1).
    let mut is_length = false;
    for line in lines {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            if is_length {
                len.read(line.trim_ascii())?;
            }
            continue;
        }
        if std::mem::take(&mut is_length) {
            len.close()?;
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let name = line.get(..colon).unwrap_or_default().trim_ascii();
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        if is_http && name.eq_ignore_ascii_case(b"Transfer-Encoding") {
            return Err(FrameError::TransferCoding);
        }
        is_length = name.eq_ignore_ascii_case(b"Content-Length")
            || (!is_http && name.eq_ignore_ascii_case(b"l"));
        if is_length {
            len.read(value)?;
        }
    }
    len.known.ok_or(FrameError::NoContentLength)
}

/// Whether a start line is HTTP's: a status line begins with the version, a request line ends
/// with it. A SIP reason phrase may end with anything.
fn is_http(start: &[u8]) -> bool {
    const VERSION: &[u8] = b"HTTP/1.";
    let is_sip_reply = start
        .get(..4)
        .is_some_and(|first| first.eq_ignore_ascii_case(b"SIP/"));
    let mut words = start.rsplit(|byte| *byte == b' ');
    start.starts_with(VERSION)
        || (!is_sip_reply && words.next().is_some_and(|last| last.starts_with(VERSION)))
}

/// The Content-Length headers of one message.
#[derive(Default)]
struct Length {
    /// The value of the complete headers.
    known: Option<usize>,
    /// The value of the header that is being read.
    current: Option<usize>,
}

impl Length {
    /// Takes one line of a header's value.
    fn read(&mut self, line: &[u8]) -> Result<(), FrameError> {
        if line.is_empty() {
            return Ok(());
        }
        let len = number(line).ok_or(FrameError::ContentLength)?;
        match self.current.replace(len) {
            Some(_) => Err(FrameError::ContentLength),
            None => Ok(()),
        }
    }

    /// A header is complete: it must have a value, and the one that others had.
    fn close(&mut self) -> Result<(), FrameError> {
        let len = self.current.take().ok_or(FrameError::ContentLength)?;
        match self.known.replace(len) {
            Some(other) if other != len => Err(FrameError::ContentLength),
            _ => Ok(()),
        }
    }
}

fn number(text: &[u8]) -> Option<usize> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(body: &str) -> String {
        format!(
            "OPTIONS sip:a SIP/2.0\r\nl : {}\r\nX: y\r\n\r\n{body}",
            body.len()
        )
    }

    /// All that a stream holds when it comes in pieces.
    fn divide(pieces: &[&[u8]], max: usize) -> Result<Vec<(Frame, Vec<u8>)>, FrameError> {
        let mut decoder = Decoder::new(max);
        let mut buffer: Vec<u8> = Vec::new();
        let mut found = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                let frame = decoder.next(&buffer)?;
                let len = match frame {
                    Frame::Message(len) | Frame::Ping(len) | Frame::Blank(len) => len,
                    Frame::Incomplete => break,
                };
                found.push((frame, buffer.drain(..len).collect()));
            }
        }
        Ok(found)
    }

    fn messages(text: &str) -> Result<Vec<String>, FrameError> {
        let found = divide(&[text.as_bytes()], 1000)?;
        Ok(found
            .into_iter()
            .filter(|(frame, _)| matches!(frame, Frame::Message(_)))
            .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
            .collect())
    }

    #[test]
    fn the_length_is_found_in_any_spelling() {
        for header in [
            "Content-Length: 3",
            "CONTENT-LENGTH:3",
            "l: 3",
            "L:\t3 ",
            "Content-Length:\r\n 3",
            "Content-Length: 3\r\nl: 3",
        ] {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{header}\r\nX: 9\r\n\r\nabc");
            assert_eq!(messages(&text), Ok(vec![text.clone()]), "{header}");
        }
        let reason = "SIP/2.0 200 as in HTTP/1.1\r\nl: 2\r\n\r\nab";
        assert_eq!(messages(reason), Ok(vec![reason.to_owned()]));
        let bare = "OPTIONS sip:a SIP/2.0\nl: 1\n\nx";
        assert_eq!(messages(bare), Ok(vec![bare.to_owned()]));
    }

    #[test]
    fn http_is_framed_too_and_needs_a_length() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST /x HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        ] {
            assert_eq!(messages(text), Ok(vec![text.to_owned()]));
        }
        for start in ["GET / HTTP/1.1", "POST /x HTTP/1.1", "HTTP/1.1 200 OK"] {
            let text = format!("{start}\r\nHost: a\r\n\r\n{}", message(""));
            assert_eq!(messages(&text), Err(FrameError::NoContentLength), "{start}");
        }
        assert_eq!(
            messages("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Err(FrameError::TransferCoding)
        );
    }

    #[test]
    fn what_cannot_be_divided_is_an_error() {
        for (text, error) in [
            ("OPTIONS sip:a SIP/2.0\r\n\r\n", FrameError::NoContentLength),
            ("A b SIP/2.0\r\nl: -1\r\n\r\n", FrameError::ContentLength),
            (
                "A b SIP/2.0\r\nl: 1\r\nl: 2\r\n\r\n",
                FrameError::ContentLength,
            ),
            (
                "A b SIP/2.0\r\nl: 99999999999999999999\r\n\r\n",
                FrameError::ContentLength,
            ),
            ("A b SIP/2.0\r\nl: 1000\r\n\r\n", FrameError::TooLong),
            ("\u{1f}\u{8b}x", FrameError::NotText),
        ] {
            assert_eq!(messages(text), Err(error), "{text}");
        }
        assert_eq!(messages(&"A".repeat(1000)), Err(FrameError::TooLong));
    }

    #[test]
    fn a_length_that_another_parser_might_read_otherwise_is_an_error() {
        for header in [
            "Content-Length: 1\r\n 2",
            "Content-Length:\r\n 1\r\n 2",
            "Content-Length: 1\r\nContent-Length:\r\n 2",
            "l: 1\r\nX: y\r\nContent-Length: 2",
            "Content-Length:",
            "Content-Length:\r\nl: 1",
            "Content-Length: \r\n \r\nX: y",
            "Content-Length: +1",
            "Content-Length: 1x",
            "Content-Length: 1, 1",
        ] {
            for start in ["OPTIONS sip:a SIP/2.0", "POST / HTTP/1.1"] {
                let header = header.replace("l:", "Content-Length:");
                let text = format!("{start}\r\n{header}\r\n\r\nabcdef");
                assert_eq!(messages(&text), Err(FrameError::ContentLength), "{text}");
            }
        }
    }

    #[test]
    fn the_bound_holds_for_headers_and_body_together() {
        let text = message("abcde");
        for (max, fits) in [(text.len(), true), (text.len() - 1, false)] {
            let found = divide(&[text.as_bytes()], max);
            assert_eq!(found.is_ok(), fits, "{max}");
        }
    }

    #[test]
    fn line_breaks_between_messages_are_pings_or_nothing() {
        let text = format!("\r\n\r\n{}\r\n{}", message("a"), message(""));
        let kinds: Vec<_> = divide(&[text.as_bytes()], 1000)
            .unwrap()
            .into_iter()
            .map(|(frame, _)| frame)
            .collect();
        let len = message("a").len();
        assert_eq!(
            kinds,
            [
                Frame::Ping(4),
                Frame::Message(len),
                Frame::Blank(2),
                Frame::Message(len - 1)
            ]
        );
    }

    proptest! {
        #[test]
        fn any_division_of_a_stream_yields_the_same_messages(
            bodies in proptest::collection::vec("[a-z\r\n]{0,20}", 1..5),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let all: Vec<String> = bodies.iter().map(|body| message(body)).collect();
            let stream = all.concat();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            places.push(0);
            places.push(stream.len());
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2)
                .map(|pair| &stream.as_bytes()[pair[0]..pair[1]]).collect();
            let found: Vec<String> = divide(&pieces, 1000).unwrap().into_iter()
                .map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect();
            prop_assert_eq!(found, all);
        }

        #[test]
        fn no_division_changes_what_is_found_in_anything(
            parts in proptest::collection::vec(prop::sample::select(vec![
                "\r\n", "\n", "\r", " ", "OPTIONS sip:a SIP/2.0\r\n", "GET / HTTP/1.1\r\n", "X: y\r\n",
                "l: 2\r\n", "Content-Length:\r\n 1\r\n", "Content-Length: 1\r\n", "\r\n\r\n", "a", "\u{1}",
            ]), 0..16),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let stream = parts.concat();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            places.extend([0, stream.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2)
                .map(|pair| &stream.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(divide(&pieces, 100), divide(&[stream.as_bytes()], 100));
        }

        #[test]
        fn no_bytes_make_it_panic_or_take_more_than_there_is(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b'l'), any::<u8>()], 0..80),
        ) {
            let mut decoder = Decoder::new(64);
            if let Ok(Frame::Message(len) | Frame::Ping(len) | Frame::Blank(len)) = decoder.next(&bytes) {
                prop_assert!(len > 0 && len <= bytes.len());
            }
        }
    }
}
