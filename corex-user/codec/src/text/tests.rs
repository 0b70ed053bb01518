use crate::codec::Fault;
use crate::testing::{MESSAGE, Store, decode, encode, python};

#[test]
fn the_vectors_of_rfc_4648() {
    let store = Store::default();
    for (codec, pairs) in [
        (
            "base64",
            [
                ("", ""),
                ("f", "Zg=="),
                ("fo", "Zm8="),
                ("foo", "Zm9v"),
                ("foobar", "Zm9vYmFy"),
            ],
        ),
        (
            "base64(url)",
            [
                ("", ""),
                ("f", "Zg"),
                ("fo", "Zm8"),
                ("foo", "Zm9v"),
                ("foobar", "Zm9vYmFy"),
            ],
        ),
        (
            "hex",
            [
                ("", ""),
                ("f", "66"),
                ("fo", "666f"),
                ("foo", "666f6f"),
                ("foobar", "666f6f626172"),
            ],
        ),
    ] {
        let mut chain = store.chain(&format!("x={codec}"));
        for (plain, text) in pairs {
            assert_eq!(
                encode(&mut chain, plain.as_bytes()).unwrap(),
                text.as_bytes()
            );
            assert_eq!(
                decode(&mut chain, text.as_bytes()).unwrap(),
                plain.as_bytes()
            );
        }
    }
}

#[test]
fn lines_and_blanks_are_read_over_and_digits_may_be_of_either_case() {
    let store = Store::default();
    for (codec, text) in [
        ("base64", "Zm9v\r\nYmFy\n"),
        ("base64", " Zm 9v\tYmFy "),
        ("base64(url)", "Zm9v\nYmFy"),
        ("hex", "66 6F 6f\r\n62 61 72\n"),
    ] {
        let mut chain = store.chain(&format!("x={codec}"));
        assert_eq!(decode(&mut chain, text.as_bytes()).unwrap(), b"foobar");
    }
}

#[test]
fn other_characters_and_half_a_byte_are_errors() {
    let store = Store::default();
    for (codec, text) in [
        ("base64", "Zm9v*mFy"),
        ("base64", "Zm9vY"),
        ("base64", "Zg"),
        ("base64", "-_-_"),
        ("base64(url)", "+/+/"),
        ("hex", "6"),
        ("hex", "6g"),
        ("hex", "0x66"),
    ] {
        let mut chain = store.chain(&format!("x={codec}"));
        let error = decode(&mut chain, text.as_bytes()).unwrap_err();
        assert_eq!(error.fault, Fault::Malformed, "{codec} {text}");
    }
}

#[test]
fn pythons_base64_agrees() {
    let program = "import sys, base64\n\
        sys.stdout.buffer.write(base64.encodebytes(sys.stdin.buffer.read()))";
    let Some(lines) = python("base64", program, MESSAGE) else {
        return;
    };
    assert!(lines.iter().filter(|byte| **byte == b'\n').count() > 3);
    let mut chain = Store::default().chain("x=base64");
    assert_eq!(decode(&mut chain, &lines).unwrap(), MESSAGE);
}
