use corex_common::guard::{
    rates::{OPAQUE, OPTIONS},
    signatures::{SHORTEST, VIA_WITHIN, WINDOW, refuses},
};
use proptest::prelude::*;

use super::*;

fn pattern(place: SignaturePlace, is_anchored: bool, text: &str) -> SignaturePattern {
    SignaturePattern {
        place,
        is_anchored,
        text: text.to_ascii_lowercase().into_bytes(),
    }
}

fn of(patterns: Vec<SignaturePattern>) -> Box<Automaton> {
    let settings = SignatureSettings {
        patterns,
        drops_malformed: false,
        ..SignatureSettings::default()
    };
    compile(&settings, true).unwrap()
}

/// Whether a pattern is in a place, the slow way.
fn is_in(patterns: &[SignaturePattern], place: SignaturePlace, text: &[u8]) -> bool {
    let small = text.to_ascii_lowercase();
    patterns
        .iter()
        .filter(|pattern| pattern.place == place)
        .any(|pattern| {
            if pattern.is_anchored {
                small.starts_with(&pattern.text)
            } else {
                let mut windows = small.windows(pattern.text.len());
                windows.any(|window| window == pattern.text)
            }
        })
}

/// The same as the automaton, line by line.
fn naive(patterns: &[SignaturePattern], message: &[u8]) -> bool {
    if message.len() < SHORTEST {
        return false;
    }
    let message = message.get(..WINDOW).unwrap_or(message);
    let begin = message.iter().position(|byte| !b"\r\n".contains(byte));
    let message = message
        .get(begin.unwrap_or(message.len())..)
        .unwrap_or_default();
    for (number, line) in message.split(|byte| *byte == b'\n').enumerate() {
        if number == 0 {
            if is_in(patterns, SignaturePlace::FirstLine, line) {
                return true;
            }
            continue;
        }
        // What stands behind the last line break is a line that isn't over: never an empty one.
        if line == b"\r" || line.is_empty() {
            return false;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let blanks = |text: &[u8]| text.iter().take_while(|byte| b" \t".contains(byte)).count();
        let reversed: Vec<u8> = name.iter().rev().copied().collect();
        let name = name.get(..name.len() - blanks(&reversed));
        let value = value.get(1..).unwrap_or_default();
        let value = value.get(blanks(value)..).unwrap_or_default();
        if name.is_some_and(|name| name.eq_ignore_ascii_case(b"user-agent"))
            && is_in(patterns, SignaturePlace::UserAgent, value)
        {
            return true;
        }
    }
    false
}

#[test]
fn patterns_are_found_where_they_belong_and_nowhere_else() {
    let automaton = of(vec![
        pattern(SignaturePlace::UserAgent, false, "friendly-scanner"),
        pattern(SignaturePlace::UserAgent, true, "smap"),
        pattern(SignaturePlace::FirstLine, true, "options sip:nm "),
    ]);
    let is_found = |text: &str| refuses(&automaton, text.as_bytes(), OPTIONS);
    for text in [
        "OPTIONS sip:x SIP/2.0\r\nUser-Agent: friendly-scanner\r\n\r\n",
        "OPTIONS sip:x SIP/2.0\r\nVia: v\r\nUSER-AGENT\t :\t a Friendly-Scanner",
        "OPTIONS sip:x SIP/2.0\nuser-agent:friendly-scanner\n\n",
        "OPTIONS sip:x SIP/2.0\r\nUser-Agent: SMAP 0.6\r\n",
        "\r\n\r\nOPTIONS sip:nm SIP/2.0\r\n",
    ] {
        assert!(is_found(text), "{text}");
    }
    let far = format!(
        "OPTIONS sip:x SIP/2.0\r\nX: {}\r\nUser-Agent: friendly-scanner\r\n",
        "x".repeat(WINDOW)
    );
    for text in [
        "",
        "OPTIONS sip:friendly-scanner@x SIP/2.0\r\nUser-Agent: phone\r\n",
        "OPTIONS sip:x SIP/2.0\r\nTo: <sip:friendly-scanner@x>\r\n",
        "OPTIONS sip:x SIP/2.0\r\nX-User-Agent: friendly-scanner\r\n",
        "OPTIONS sip:x SIP/2.0\r\nUser-Agents: friendly-scanner\r\n",
        "OPTIONS sip:x SIP/2.0\r\nUser-Agent: friendly- scanner\r\n",
        "OPTIONS sip:x SIP/2.0\r\nUser-Agent: fri\r\nendly-scanner\r\n",
        "OPTIONS sip:x SIP/2.0\r\n\r\nUser-Agent: friendly-scanner\r\n",
        "OPTIONS sip:x SIP/2.0\r\nUser-Agent: my smap\r\n",
        "INVITE sip:x SIP/2.0\r\nX: options sip:nm sip/2.0\r\n",
        &far,
    ] {
        assert!(!is_found(text), "{text}");
    }
}

#[test]
fn what_has_no_method_or_no_via_near_its_beginning_is_malformed() {
    let settings = SignatureSettings {
        patterns: Vec::new(),
        drops_malformed: true,
        ..SignatureSettings::default()
    };
    let automaton = compile(&settings, true).unwrap();
    let fits = "x".repeat(VIA_WITHIN - "OPTIONS sip:x SIP/2.0\r\nX: \r\nVia:".len());
    for (text, kind, expected) in [
        (
            "OPTIONS sip:x SIP/2.0\r\nVia: v\r\n".to_owned(),
            OPTIONS,
            false,
        ),
        (
            "OPTIONS sip:x SIP/2.0\r\nv : v\r\n".to_owned(),
            OPTIONS,
            false,
        ),
        (
            format!("OPTIONS sip:x SIP/2.0\r\nX: {fits}\r\nVIA: v"),
            OPTIONS,
            false,
        ),
        (
            format!("OPTIONS sip:x SIP/2.0\r\nX: x{fits}\r\nVIA: v"),
            OPTIONS,
            true,
        ),
        (
            "OPTIONS sip:x SIP/2.0\r\nVi: v\r\n".to_owned(),
            OPTIONS,
            true,
        ),
        (
            "OPTIONS sip:x SIP/2.0\r\nViaa: v\r\n".to_owned(),
            OPTIONS,
            true,
        ),
        (
            "OPTIONS sip:x SIP/2.0\r\n\r\nVia: v\r\n".to_owned(),
            OPTIONS,
            true,
        ),
        ("hello\r\nVia: v\r\n".to_owned(), OPAQUE, true),
    ] {
        assert_eq!(
            refuses(&automaton, text.as_bytes(), kind),
            expected,
            "{text}"
        );
    }
    // Where something decodes it, it needn't be SIP yet.
    let automaton = compile(&settings, false).unwrap();
    assert!(!refuses(&automaton, b"hello", OPAQUE));
}

#[test]
fn what_isn_t_sip_and_comes_to_its_port_all_the_same_is_not_malformed() {
    let settings = SignatureSettings {
        patterns: Vec::new(),
        drops_malformed: true,
        ..SignatureSettings::default()
    };
    let automaton = compile(&settings, true).unwrap();
    let binding = b"\x00\x01\x00\x00\x21\x12\xa4\x42aaaaaaaaaaaa";
    let behind = b"\r\n\r\nOPTIONS sip:x SIP/2.0\r\nVia: v\r\n\r\n";
    for message in [
        &b"\r\n\r\n"[..],
        b"\r\n",
        b"\0\0\0\0",
        b"x",
        b"",
        binding,
        behind,
    ] {
        let kind = crate::guard::signatures::kind(message);
        assert!(!refuses(&automaton, message, kind), "{message:?}");
    }
    for junk in [
        &b"junk"[..],
        b" OPTIONS sip:x SIP/2.0",
        b"\x80\x60rtp",
        b"xy",
    ] {
        assert!(refuses(&automaton, junk, OPAQUE), "{junk:?}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let text = |n: usize| format!("{n:03}{}", "x".repeat(29));
    let many = |n| {
        (0..n)
            .map(text)
            .map(|text| pattern(SignaturePlace::FirstLine, false, &text))
    };
    let settings = |n| SignatureSettings {
        patterns: many(n).collect(),
        drops_malformed: false,
        ..SignatureSettings::default()
    };
    assert!(compile(&settings(30), true).is_ok());
    assert_eq!(compile(&settings(40), true).err(), Some(TooLarge::States));
    let all: String = (b'!'..=b'~').map(char::from).collect();
    let settings = SignatureSettings {
        patterns: vec![pattern(SignaturePlace::FirstLine, false, &all)],
        drops_malformed: false,
        ..SignatureSettings::default()
    };
    assert_eq!(compile(&settings, true).err(), Some(TooLarge::Classes));
}

fn any_pattern() -> impl Strategy<Value = SignaturePattern> {
    let place = prop_oneof![
        Just(SignaturePlace::FirstLine),
        Just(SignaturePlace::UserAgent)
    ];
    (place, any::<bool>(), "[ab]{1,4}")
        .prop_map(|(place, anchored, text)| pattern(place, anchored, &text))
}

/// Messages whose parts are likely to be what the automaton has states for.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("User-Agent".to_owned()),
        Just("user-".to_owned()),
        Just("agent".to_owned()),
        Just(":".to_owned()),
        Just(" ".to_owned()),
        Just("\t".to_owned()),
        Just("Via".to_owned()),
        Just("v".to_owned()),
        Just("\r\nUser-Agent: ".to_owned()),
        "[abAB]{1,6}",
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #[test]
    fn the_automaton_finds_what_a_search_line_by_line_does(
        patterns in proptest::collection::vec(any_pattern(), 1..6),
        messages in proptest::collection::vec(any_message(), 1..20),
    ) {
        let automaton = of(patterns.clone());
        for message in messages {
            let shown = String::from_utf8_lossy(&message).into_owned();
            prop_assert_eq!(
                refuses(&automaton, &message, OPTIONS),
                naive(&patterns, &message),
                "{:?} in {:?}", &patterns, shown
            );
        }
    }
}
