//! `corex decode --lines`.

use std::cell::RefCell;

use corex_user::decode::{Decoder, Source, serve};

thread_local! {
    static DECODER: RefCell<Option<Decoder>> = const { RefCell::new(None) };
}

/// Takes the input for requests, a line each.
///
/// # Panics
/// When a line hasn't one reply of the three kinds, or serving ends with an error.
pub fn decode_lines(data: &[u8]) {
    let source = Source {
        chain_line: Some("x=zstd(sip) | http(post, host=h) | hex".to_owned()),
        ..Source::default()
    };
    let mut out = Vec::new();
    DECODER.with_borrow_mut(|kept| {
        let decoder = kept.get_or_insert_with(|| Decoder::open(&source).expect("a chain"));
        serve(decoder, &mut &*data, &mut out).expect("no pipe that breaks");
    });
    let text = String::from_utf8(out).expect("text");
    let mut lines = text.lines();
    let hello = lines.next().expect("a first line");
    assert!(hello.starts_with("corex decode 1\tx\t"), "{hello}");
    let ends = data.iter().filter(|byte| **byte == b'\n').count();
    let is_open = data.last().is_some_and(|last| *last != b'\n');
    let mut replies = 0;
    for reply in lines {
        replies += 1;
        let word = reply.split('\t').next().unwrap_or_default();
        assert!(matches!(word, "ok" | "error" | "refused"), "{reply}");
    }
    assert_eq!(replies, ends + usize::from(is_open));
}
