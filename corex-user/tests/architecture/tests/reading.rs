//! Words, `use` declarations and paths out of source.

use crate::{
    paths::{self, Found},
    source,
};

fn words(text: &str) -> String {
    let tokens = source::tokens(text);
    let texts: Vec<&str> = source::without_tests(&tokens)
        .iter()
        .map(|token| token.text)
        .collect();
    texts.join(" ")
}

/// `path as name`, with `pub` before it where it goes on.
fn uses(text: &str) -> Vec<String> {
    let uses = paths::read(text).uses;
    let shown = uses.iter().map(|brought| {
        let public = if brought.public { "pub " } else { "" };
        let path = brought.path.parts.join("::");
        format!("{public}{path} as {}", brought.name)
    });
    shown.collect()
}

fn code_paths(found: &Found) -> Vec<String> {
    found
        .paths
        .iter()
        .map(|path| path.parts.join("::"))
        .collect()
}

#[test]
fn comments_and_literals_are_no_code() {
    for text in [
        "a // crate::io\nb",
        "a /// [`crate::io`]\nb",
        "a //! crate::io\nb",
        "a /* crate::io /* inner */ crate::io */ b",
        r#"a "crate::io \" crate::io" b"#,
        r##"a r"crate::io\" b"##,
        r###"a r#"crate::io " crate::io"# b"###,
        r#"a b"crate::io" b"#,
        r##"a br#"crate::io"# b"##,
        "a c\"crate::io\" b",
        "a \"crate::io\n\n\" b",
    ] {
        assert_eq!(words(text), "a b", "{text}");
    }
}

#[test]
fn characters_and_lifetimes_hide_nothing() {
    assert_eq!(words(r"a '\'' b '\\' c 'x' d b'\'' e '„' f"), "a b c d e f");
    assert_eq!(
        words("f<'a>(x: &'a T, y: &'_ U)"),
        "f < > ( x : & T , y : & U )"
    );
    assert_eq!(
        words("'outer: loop { break 'outer; }"),
        ": loop { break ; }"
    );
    assert_eq!(words("r#type r b c"), "type r b c");
}

#[test]
fn tokens_know_their_lines() {
    let tokens = source::tokens("a\n/* \n */ b \"\n\" c\n  d");
    let lines: Vec<(&str, usize)> = tokens
        .iter()
        .map(|token| (token.text, token.line))
        .collect();
    assert_eq!(lines, [("a", 1), ("b", 3), ("c", 4), ("d", 5)]);
}

#[test]
fn code_of_tests_is_left_out() {
    for item in [
        "mod tests { use super::*; fn f() { g(); } }",
        "mod tests;",
        "use crate::{io::{a, b}, rpc};",
        "fn f<A, B>(x: [u8; 2]) -> u8 { if x { y } else { z } }",
        "pub(crate) struct S { a: u8 }",
        "const A: [u8; 2] = [1, 2];",
        "#[derive(Debug)] #[allow(dead_code)] enum E { A, B }",
        "impl<T> From<T> for S { fn from(_: T) -> S { S } }",
    ] {
        assert_eq!(
            words(&format!("a; #[cfg(test)] {item} b;")),
            "a ; b ;",
            "{item}"
        );
    }
    assert_eq!(words("a #[cfg(all(test, unix))] mod m { x } b"), "a b");
    assert_eq!(
        words("struct S { #[cfg(test)] a: Vec<u8>, b: u8 } c"),
        "struct S { b : u8 } c"
    );
    assert_eq!(words("{ a; #[cfg(test)] f(x, y); b }"), "{ a ; b }");
    assert_eq!(words("{ a; #[cfg(test)] f(x) } b"), "{ a ; } b");
    assert_eq!(
        words("#[cfg(not(test))] mod a { b }"),
        "# [ cfg ( not ( test ) ) ] mod a { b }"
    );
    assert_eq!(
        words("#[cfg(unix)] fn f() {}"),
        "# [ cfg ( unix ) ] fn f ( ) { }"
    );
}

#[test]
fn use_trees_are_taken_apart() {
    assert_eq!(uses("use crate::io;"), ["crate::io as io"]);
    assert_eq!(
        uses("use crate::io::Shared as Io;"),
        ["crate::io::Shared as Io"]
    );
    assert_eq!(uses("use crate::io::Sink as _;"), ["crate::io::Sink as _"]);
    assert_eq!(uses("use crate::io::*;"), ["crate::io as *"]);
    assert_eq!(
        uses("pub(in crate::io) use self::a::B;"),
        ["pub self::a::B as B"]
    );
    assert_eq!(
        uses("use crate::{io::{self, stream::{A, b::{self, C}}}, rpc, hook::*,};"),
        [
            "crate::io as io",
            "crate::io::stream::A as A",
            "crate::io::stream::b as b",
            "crate::io::stream::b::C as C",
            "crate::rpc as rpc",
            "crate::hook as *",
        ]
    );
    assert_eq!(
        uses("use {corex_sip as sip, std::fmt}; fn f() { use ::corex_packet::Envelope; }"),
        [
            "corex_sip as sip",
            "std::fmt as fmt",
            "corex_packet::Envelope as Envelope"
        ]
    );
    assert_eq!(uses("fn f<'a>() -> impl Sized + use<'a> {}"), [""; 0]);
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = "
        impl crate::io::Sink for S {}
        fn f(a: &crate::rpc::Call, b: impl Fn(super::X)) -> Option<<T as crate::hook::H>::Out> {
            let v = Vec::<corex_script::Value>::new();
            crate::module::find::<u8>(|x| super::super::y(x));
            macro_of!(crate::codec::Codec);
        }";
    let found = paths::read(text);
    assert_eq!(
        code_paths(&found),
        [
            "crate::io::Sink",
            "crate::rpc::Call",
            "super::X",
            "crate::hook::H",
            "corex_script::Value",
            "crate::module::find",
            "super::super::y",
            "crate::codec::Codec",
        ]
    );
    assert_eq!(found.paths[5].line, 5);
}

#[test]
fn visibility_is_no_import() {
    let found =
        paths::read("pub(in crate::io) fn f() {} pub(crate) struct S(pub (crate::a::B, u8));");
    assert_eq!(code_paths(&found), ["crate::a::B"]);
}

#[test]
fn modules_are_files_or_stand_between_braces() {
    let found = paths::read("mod a; pub mod b { mod c; use super::d; } pub(crate) mod e;");
    assert_eq!(found.files, ["a", "e"]);
    let (name, inner) = &found.inline[0];
    assert_eq!(
        (name.as_str(), inner.files.len(), inner.uses.len()),
        ("b", 1, 1)
    );
    assert!(found.uses.is_empty());
}

#[test]
fn unsafe_is_found_in_code_alone() {
    let text = "// unsafe\nfn f() { unsafe { g(\"unsafe\") } }\n#[cfg(test)]\nunsafe impl S {}";
    assert_eq!(paths::read(text).unsafe_lines, [2, 4]);
}
