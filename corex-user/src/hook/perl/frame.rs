//! What goes over the socket between corex and a Perl process.
//!
//! A frame is a header of ten bytes (magic number, kind, sequence number, length of the rest) and
//! values one after the other. Numbers are big endian.
//!
//! | value | tag | bytes |
//! |---|---|---|
//! | undefined | 0 | none |
//! | integer | 1 | 8, two's complement |
//! | string | 2 | length in 4, then the bytes |

/// The most bytes of a frame behind its header.
pub const MAX_LEN: usize = 1 << 20;

/// Bytes of a header.
pub const HEADER_LEN: usize = 10;

/// The first byte of every frame: what a script writes to the socket by mistake begins otherwise
/// as a rule.
const MAGIC: u8 = 0xc5;

/// The most values in one frame from a script.
const MAX_ITEMS: usize = 64;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a frame means.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            fn of(number: u8) -> Option<Kind> {
                match number {
                    $($number => Some(Kind::$name),)*
                    _ => None,
                }
            }

            /// Every kind, with the number that the Perl side knows it by.
            #[cfg(test)]
            pub const ALL: &[(&str, u8)] = &[$((stringify!($name), $number),)*];
        }
    };
}

kinds! {
    /// To Perl: call a function. Name, whether it gets the message, argument.
    Call = 1,
    /// To Perl: the answer to what it asked, with its sequence number. Values.
    Reply = 2,
    /// To Perl: what it asked for can't be done. The reason.
    Refuse = 3,
    /// The script is loaded.
    Ready = 16,
    /// It isn't, and the process ends. The reason.
    NotLoaded = 17,
    /// A function returned, with the call's sequence number. Its value.
    Done = 18,
    /// A function died, with the call's sequence number. The reason.
    Died = 19,
    /// A log line; no answer. Level, text.
    Log = 32,
    /// Adds a value to an AVP; no answer. Name, value.
    AvpAdd = 33,
    /// The newest value of an AVP. Name.
    AvpGet = 34,
    /// Takes it away; whether there was one. Name.
    AvpDestroy = 35,
    /// The whole message.
    Message = 36,
    /// The parts of its first line: type, version, method, URI, status, reason.
    FirstLine = 37,
    /// First line and headers.
    FullHeader = 38,
    /// The body.
    Body = 39,
    /// Names and values of the headers, in turn.
    Headers = 40,
    /// The values of the headers of one name. Name.
    Header = 41,
    /// Text with its pseudo-variables replaced. Text.
    Format = 42,
    /// Calls a function of a module. Name, arguments.
    Function = 43,
    /// The parts of the request URI: user, password, host, port, parameters, headers.
    Uri = 44,
}

/// The header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the frame means.
    pub kind: Kind,
    /// Which call it is about, or which question.
    pub sequence: u32,
    /// Bytes behind the header.
    pub len: usize,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// It begins otherwise.
    #[error("something that is no frame")]
    Magic,
    /// Nothing is known of its kind.
    #[error("a frame of an unknown kind")]
    Kind,
    /// It says that it has more bytes than [`MAX_LEN`].
    #[error("a frame of more than {MAX_LEN} bytes")]
    TooLong,
    /// Its values exceed it, are of no known type, or too many.
    #[error("a frame that is cut off or has wrong values")]
    Values,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` if there isn't all of it yet.
    ///
    /// # Errors
    /// When no frame begins so.
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
        // Each byte is looked at as soon as it is there.
        match bytes {
            [first, ..] if *first != MAGIC => return Err(Malformed::Magic),
            [_, kind, ..] if Kind::of(*kind).is_none() => return Err(Malformed::Kind),
            _ => {}
        }
        let Some(&[_, kind, s0, s1, s2, s3, l0, l1, l2, l3]) = bytes.first_chunk::<HEADER_LEN>()
        else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if len > MAX_LEN {
            return Err(Malformed::TooLong);
        }
        Ok(Some(Header {
            kind: Kind::of(kind).ok_or(Malformed::Kind)?,
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            len,
        }))
    }
}

/// A value in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// Undefined.
    Null,
    /// An integer.
    Int(i64),
    /// A string.
    Str(&'a [u8]),
}

impl<'a> Item<'a> {
    /// The bytes of a string.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Item::Str(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Reads all values of a frame.
///
/// # Errors
/// When they are no values.
pub fn items(mut bytes: &[u8]) -> Result<Vec<Item<'_>>, Malformed> {
    let mut items = Vec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        if items.len() == MAX_ITEMS {
            return Err(Malformed::Values);
        }
        let (item, rest) = match tag {
            0 => (Item::Null, rest),
            1 => {
                let (number, rest) = rest.split_first_chunk().ok_or(Malformed::Values)?;
                (Item::Int(i64::from_be_bytes(*number)), rest)
            }
            2 => {
                let (len, rest) = rest.split_first_chunk().ok_or(Malformed::Values)?;
                let len = u32::from_be_bytes(*len) as usize;
                let (text, rest) = rest.split_at_checked(len).ok_or(Malformed::Values)?;
                (Item::Str(text), rest)
            }
            _ => return Err(Malformed::Values),
        };
        items.push(item);
        bytes = rest;
    }
    Ok(items)
}

/// A frame that is being written.
#[derive(Default, Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Begins another frame.
    pub fn begin(&mut self, kind: Kind, sequence: u32) {
        self.0.clear();
        self.0.extend_from_slice(&[MAGIC, kind as u8]);
        self.0.extend_from_slice(&sequence.to_be_bytes());
        self.0.extend_from_slice(&[0; 4]);
    }

    /// Adds a value.
    pub fn push(&mut self, item: Item<'_>) {
        match item {
            Item::Null => self.0.push(0),
            Item::Int(number) => {
                self.0.push(1);
                self.0.extend_from_slice(&number.to_be_bytes());
            }
            Item::Str(bytes) => {
                self.0.push(2);
                // What is longer than the length can say is refused as a whole.
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                self.0.extend_from_slice(&len.to_be_bytes());
                self.0.extend_from_slice(bytes);
            }
        }
    }

    /// The whole frame; `None` if it is too long to be sent.
    pub fn finish(&mut self) -> Option<&[u8]> {
        let len = self.0.len().checked_sub(HEADER_LEN)?;
        if len > MAX_LEN {
            return None;
        }
        let len = u32::try_from(len).ok()?.to_be_bytes();
        self.0
            .get_mut(HEADER_LEN - 4..HEADER_LEN)?
            .copy_from_slice(&len);
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Owned {
        Null,
        Int(i64),
        Str(Vec<u8>),
    }

    impl Owned {
        fn item(&self) -> Item<'_> {
            match self {
                Owned::Null => Item::Null,
                Owned::Int(number) => Item::Int(*number),
                Owned::Str(bytes) => Item::Str(bytes),
            }
        }
    }

    fn owned() -> impl Strategy<Value = Vec<Owned>> {
        let item = prop_oneof![
            Just(Owned::Null),
            any::<i64>().prop_map(Owned::Int),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Owned::Str),
        ];
        prop::collection::vec(item, 0..20)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(values in owned(), sequence: u32) {
            let mut writer = Writer::default();
            writer.begin(Kind::AvpAdd, sequence);
            for value in &values {
                writer.push(value.item());
            }
            let frame = writer.finish().unwrap().to_vec();
            for upto in 0..HEADER_LEN {
                prop_assert_eq!(Header::parse(&frame[..upto]), Ok(None));
            }
            let header = Header::parse(&frame).unwrap().unwrap();
            prop_assert_eq!(header.kind, Kind::AvpAdd);
            prop_assert_eq!(header.sequence, sequence);
            prop_assert_eq!(header.len, frame.len() - HEADER_LEN);
            let expected: Vec<_> = values.iter().map(Owned::item).collect();
            prop_assert_eq!(items(&frame[HEADER_LEN..]).unwrap(), expected);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::parse(&bytes);
            if let Ok(items) = items(&bytes) {
                let total: usize = items.iter().filter_map(|item| item.bytes()).map(<[u8]>::len).sum();
                prop_assert!(total <= bytes.len());
            }
        }

        #[test]
        fn a_frame_that_is_cut_off_is_refused(values in owned(), cut in 1usize..9) {
            let mut writer = Writer::default();
            writer.begin(Kind::Done, 1);
            for value in &values {
                writer.push(value.item());
            }
            writer.push(Item::Int(1));
            let frame = writer.finish().unwrap();
            prop_assert_eq!(
                items(&frame[HEADER_LEN..frame.len() - cut.min(8)]),
                Err(Malformed::Values)
            );
        }
    }

    #[test]
    fn what_is_no_frame_is_told_by_its_first_bytes() {
        assert_eq!(Header::parse(b"hello"), Err(Malformed::Magic));
        assert_eq!(Header::parse(&[MAGIC, 200]), Err(Malformed::Kind));
        let long = [MAGIC, 18, 0, 0, 0, 0, 0, 0x10, 0, 1];
        assert_eq!(Header::parse(&long), Err(Malformed::TooLong));
    }

    #[test]
    fn a_frame_that_is_too_long_is_not_sent() {
        let mut writer = Writer::default();
        writer.begin(Kind::Reply, 1);
        writer.push(Item::Str(&vec![0; MAX_LEN]));
        assert_eq!(writer.finish(), None);
        writer.begin(Kind::Reply, 1);
        writer.push(Item::Str(&vec![0; MAX_LEN - 5]));
        assert!(writer.finish().is_some());
    }

    #[test]
    fn both_sides_number_the_kinds_alike() {
        for (name, number) in Kind::ALL {
            let line = format!("{:<11} => {number},", name.to_uppercase());
            assert!(super::super::DRIVER.contains(&line), "{line}");
        }
    }
}
