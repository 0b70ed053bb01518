//! What other processes say: Perl's, a store's of keys, the kernel's; and patterns of Lua scripts.

use std::net::SocketAddr;

use corex_codec::DeviceId;
use corex_user::hook::lua::pattern::matcher::{Capture, Matcher};
use corex_user::hook::perl::frame::{HEADER_LEN, Header, Item, MAX_LEN, Writer, items};
use corex_user::kernel::extack;
use corex_user::keystore::record::{MAX_RECORD, Records};

/// Takes the input for what a Perl process writes.
///
/// # Panics
/// When what was read isn't what is written again.
pub fn perl(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(header)) = Header::parse(rest) {
        assert!(header.len <= MAX_LEN);
        let Some(values) = rest.get(HEADER_LEN..HEADER_LEN + header.len) else {
            return;
        };
        if let Ok(values) = items(values) {
            let mut writer = Writer::default();
            writer.begin(header.kind, header.sequence);
            for value in &values {
                if let Item::Str(text) = value {
                    assert!(text.len() <= header.len);
                }
                writer.push(*value);
            }
            let written = writer.finish().expect("it was short enough");
            assert_eq!(written, &rest[..HEADER_LEN + header.len]);
        }
        rest = &rest[HEADER_LEN + header.len..];
    }
}

/// Takes the input for an entry of a store, under each kind of name.
///
/// # Panics
/// When an entry that is as it should be isn't written alike.
pub fn record(data: &[u8]) {
    let plain = Records::new(&[]);
    let sealed = Records::new(&[(1, zeroize::Zeroizing::new([7; 32]))]);
    let id = DeviceId::from_bytes(*b"0123456789abcdef");
    let peer: SocketAddr = "192.0.2.1:5060".parse().expect("an address");
    if let Ok(stored) = plain.read_key(&(id, 3), data) {
        assert_eq!(plain.key(&stored).as_deref(), Ok(data));
        assert!(data.len() <= MAX_RECORD);
    }
    if let Ok(name) = plain.read_peer(peer, data) {
        assert_eq!(plain.peer(peer, &name).as_deref(), Ok(data));
    }
    if let Ok(name) = plain.read_device(&id, data) {
        assert_eq!(plain.device(&name).as_deref(), Ok(data));
    }
    // Nobody guesses a tag.
    assert!(sealed.read_key(&(id, 3), data).is_err());
    assert!(sealed.read_peer(peer, data).is_err());
    assert!(sealed.read_device(&id, data).is_err());
}

/// Takes the input for what the kernel answers to a request to attach a program.
///
/// # Panics
/// When the text isn't part of it.
pub fn netlink(data: &[u8]) {
    if let Some(text) = extack::message(data) {
        assert!(text.len() <= 3 * data.len());
    }
}

/// Takes the input for a pattern of Lua's, a line feed, and what it is matched with.
///
/// # Panics
/// When a match isn't within the text, or more work was done than is allowed.
pub fn lua_pattern(data: &[u8]) {
    const MOST: u64 = 20_000;
    let end = data.iter().position(|byte| *byte == b'\n');
    let Some(end) = end else { return };
    let (pattern, text) = (&data[..end], &data[end + 1..]);
    for anchored in [false, true] {
        let mut matcher = Matcher::new(text, pattern, MOST);
        let found = matcher.search(0, anchored);
        // One step may be as long as the text or the pattern.
        assert!(matcher.steps() <= MOST + data.len() as u64 + 1 || found.is_err());
        let Ok(Some(found)) = found else { continue };
        assert!(text.get(found.start..found.end).is_some());
        assert!(!anchored || found.start == 0);
        for capture in &found.captures {
            match *capture {
                Capture::Closed { start, end } => assert!(text.get(start..end).is_some()),
                Capture::Position(at) | Capture::Open(at) => assert!(at <= text.len()),
            }
        }
    }
}
