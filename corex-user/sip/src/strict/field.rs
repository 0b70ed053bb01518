//! The header fields that are looked at.

/// A header field that something is asked of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Field {
    Via,
    /// Addresses, or lists of them, that only have to be closed.
    Addresses,
    ProxyRequire,
    // From here on there is one of each (RFC 3261 §20; RFC 3515, 3892, 4028, 6665).
    From,
    To,
    CallId,
    CSeq,
    MaxForwards,
    ContentLength,
    ContentType,
    ContentDisposition,
    Date,
    Event,
    Expires,
    MimeVersion,
    MinExpires,
    Organization,
    Priority,
    RetryAfter,
    Server,
    SessionExpires,
    Subject,
    Timestamp,
    UserAgent,
    ReferTo,
    ReferredBy,
    ReplyTo,
}

use Field::*;

impl Field {
    /// The field of this name, full or compact, in any case.
    pub fn of(name: &[u8]) -> Option<Field> {
        // Nearly all are written like this; comparing with constants takes no call, and comparing without
        // regard to case many times as long.
        Some(match name {
            b"Via" => Via,
            b"Max-Forwards" => MaxForwards,
            b"From" => From,
            b"To" => To,
            b"Call-ID" => CallId,
            b"CSeq" => CSeq,
            b"Contact" | b"Route" | b"Record-Route" => Addresses,
            b"User-Agent" => UserAgent,
            b"Content-Type" => ContentType,
            b"Content-Length" => ContentLength,
            _ => return Self::of_any_case(name),
        })
    }

    fn of_any_case(name: &[u8]) -> Option<Field> {
        // The length leaves few to compare with.
        let candidates: &[(&[u8], Field)] = match name {
            [letter] => return Self::of_letter(letter.to_ascii_lowercase()),
            _ => match name.len() {
                2 => &[(b"To", To)],
                3 => &[(b"Via", Via)],
                4 => &[
                    (b"From", From),
                    (b"CSeq", CSeq),
                    (b"Date", Date),
                    (b"Path", Addresses),
                ],
                5 => &[(b"Route", Addresses), (b"Event", Event)],
                6 => &[(b"Server", Server)],
                7 => &[
                    (b"Call-ID", CallId),
                    (b"Contact", Addresses),
                    (b"Expires", Expires),
                    (b"Subject", Subject),
                ],
                8 => &[
                    (b"Refer-To", ReferTo),
                    (b"Reply-To", ReplyTo),
                    (b"Priority", Priority),
                ],
                9 => &[(b"Timestamp", Timestamp)],
                10 => &[(b"User-Agent", UserAgent)],
                11 => &[
                    (b"Referred-By", ReferredBy),
                    (b"Retry-After", RetryAfter),
                    (b"Min-Expires", MinExpires),
                ],
                12 => &[
                    (b"Max-Forwards", MaxForwards),
                    (b"Content-Type", ContentType),
                    (b"Record-Route", Addresses),
                    (b"Organization", Organization),
                    (b"MIME-Version", MimeVersion),
                ],
                13 => &[(b"Proxy-Require", ProxyRequire)],
                14 => &[(b"Content-Length", ContentLength)],
                15 => &[(b"Session-Expires", SessionExpires)],
                19 => &[(b"Content-Disposition", ContentDisposition)],
                _ => return None,
            },
        };
        candidates
            .iter()
            .find(|(full, _)| name.eq_ignore_ascii_case(full))
            .map(|(_, field)| *field)
    }

    const fn of_letter(letter: u8) -> Option<Field> {
        Some(match letter {
            b'v' => Via,
            b'f' => From,
            b't' => To,
            b'i' => CallId,
            b'l' => ContentLength,
            b'm' => Addresses,
            b'c' => ContentType,
            b's' => Subject,
            b'o' => Event,
            b'r' => ReferTo,
            b'b' => ReferredBy,
            b'x' => SessionExpires,
            _ => return None,
        })
    }

    /// Whether there is at most one of it, with one value.
    pub const fn is_single(self) -> bool {
        self as u8 > ProxyRequire as u8
    }

    /// What is said of one too many.
    pub const fn doubled(self) -> &'static str {
        match self {
            From => "More than one From",
            To => "More than one To",
            CallId => "More than one Call-ID",
            CSeq => "More than one CSeq",
            MaxForwards => "More than one Max-Forwards",
            ContentLength => "More than one Content-Length",
            ContentType => "More than one Content-Type",
            _ => "More than one of a single header field",
        }
    }
}

/// A set of fields.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen(u32);

impl Seen {
    /// Adds one; false: it was there.
    pub const fn insert(&mut self, field: Field) -> bool {
        let is_new = !self.has(field);
        self.0 |= 1 << field as u8;
        is_new
    }

    pub const fn has(self, field: Field) -> bool {
        self.0 & (1 << field as u8) != 0
    }
}
