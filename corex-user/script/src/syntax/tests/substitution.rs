//! `#!subst`, `#!substdef`, `#!substdefs`, `#!defenv`.

use super::super::{Parsed, parse_str};
use super::good;

/// A string of a setting after what a preamble says about it.
fn substituted(preamble: &str, string: &str) -> String {
    let text = good(&format!("{preamble}\nx={string}")).to_string();
    text.trim_end().trim_start_matches("x = ").to_owned()
}

fn report(text: &str) -> String {
    parse_str("a.cfg", text).report.render(false)
}

#[test]
fn substitution_replaces_the_first_match_in_each_string_or_all() {
    assert_eq!(substituted("#!subst \"/A/x/\"", "\"A A a\""), "\"x A a\"");
    assert_eq!(substituted("#!subst '/A/x/g'", "'A A a'"), "\"x x a\"");
    assert_eq!(substituted("!!subst \"!A!x!gi\"", "\"A A a\""), "\"x x x\"");
}

#[test]
fn substitution_sees_what_stands_after_it_only_and_whole_strings() {
    let file = good("a=\"A\"\n#!subst \"/AB/x/\"\nb=\"A\" \"B AB\"\nc=\"C\\101B\"");
    assert_eq!(file.to_string(), "a = \"A\"\nb = \"x AB\"\nc = \"Cx\"\n");
}

#[test]
fn substitutions_follow_each_other_in_order() {
    assert_eq!(
        substituted("#!subst \"/A/B/\"\n#!subst \"/B/C/\"", "\"A\""),
        "\"C\""
    );
}

#[test]
fn earlier_substitution_changes_a_later_ones_text() {
    let preamble = "#!substdef \"/ID/42/g\"\n#!substdef \"/ID/43/g\"";
    let text = format!("{preamble}\nx=\"ID\"\ny=ID");
    let Parsed { file, report } = parse_str("a.cfg", &text);
    assert_eq!(file.to_string(), "x = \"43\"\ny = 42\n");
    let shown = report.render(false);
    assert!(shown.contains("warning: this is not a name"), "{shown}");
    assert!(shown.contains("made it `42`"), "{shown}");
}

#[test]
fn replacement_has_groups_and_escapes() {
    let cases = [
        ("/(a)(b)/\\2\\1/", "ba"),
        ("/(a)(b)/\\\\2\\\\1/", "ba"),
        ("/a(b)/[\\0]/", "[ab]"),
        ("/ab/[&]/", "[&]"),
        ("/ab/x\\3y/", "xy"),
        ("/ab/x\\/y/", "x/y"),
        ("/ab/a$$x\\$y/", "a$x$y"),
        ("/ab/x\\\\ty/", "x\\ty"),
        ("/ab//", ""),
        ("/b*/x/g", "ab"),
    ];
    for (rule, expected) in cases {
        assert_eq!(
            substituted(&format!("#!subst \"{rule}\""), "\"ab\""),
            format!("\"{expected}\""),
            "{rule}"
        );
    }
}

#[test]
fn lines_are_apart_unless_the_flag_s_joins_them() {
    assert_eq!(substituted("#!subst \"/a.b/x/\"", "\"a\\nb\""), "\"a\\nb\"");
    assert_eq!(substituted("#!subst \"/a.b/x/s\"", "\"a\\nb\""), "\"x\"");
    assert_eq!(substituted("#!subst \"/^b/x/\"", "\"a\\nb\""), "\"a\\nx\"");
}

#[test]
fn substitution_changes_variables_and_what_definitions_supply() {
    let file = good(
        "#!define V \"foo\"\n#!subst \"/foo/bar/g\"\nrequest_route { $var(foo) = \"$var(foo)\" + V; }",
    );
    let text = file.to_string();
    assert!(
        text.contains("$var(bar) = \"$var(bar)\" + \"bar\";"),
        "{text}"
    );
}

#[test]
fn substdef_defines_tokens_and_substdefs_a_string() {
    let file = good("#!substdef \"!ADDR!127.0.0.1:5060!g\"\n#!substdefs \"/NAME/a\\/b/\"\n");
    assert!(file.items.is_empty());
    let file = good(
        "#!substdef \"!ADDR!127.0.0.1:5060!g\"\n#!substdefs \"!NAME!a/b!\"\nlisten=udp:ADDR\n#!ifdef NAME\nx=NAME\ny=\"<ADDR;NAME>\"\n#!endif",
    );
    assert_eq!(
        file.to_string(),
        "listen = udp:127.0.0.1:5060\nx = \"a/b\"\ny = \"<127.0.0.1:5060;a/b>\"\n"
    );
}

#[test]
fn environment_defines() {
    // Cargo sets these for tests.
    let version = env!("CARGO_PKG_NAME");
    let name = "CARGO_PKG_NAME";
    assert_eq!(
        substituted(&format!("#!defenvs ID={name}"), "ID"),
        format!("\"{version}\"")
    );
    let text = good(&format!("#!defenvs {name} # comment\nx={name}")).to_string();
    assert_eq!(text, format!("x = \"{version}\"\n"));
    assert_eq!(
        substituted("#!defenv ID=CARGO_PKG_VERSION_MAJOR", "ID"),
        "0"
    );
    assert_eq!(
        substituted("#!trydefenv ID=NO_SUCH_VARIABLE\n#!trydef ID 7", "ID"),
        "7"
    );
    let shown = report("#!defenv ID=NO_SUCH_VARIABLE\n");
    assert!(shown.contains("a.cfg:1:10"), "{shown}");
    assert!(shown.contains("NO_SUCH_VARIABLE"), "{shown}");
}

#[test]
fn mistakes_in_a_substitution_are_shown_at_their_place() {
    let cases = [
        ("#!subst", "a.cfg:1:8", "no substitution"),
        ("#!subst \"\"", "a.cfg:1:10", "empty"),
        (
            "#!subst \"/A\"",
            "a.cfg:1:10",
            "regular expression does not end",
        ),
        ("#!subst \"/A/x\"", "a.cfg:1:10", "expected a further `/`"),
        ("#!subst \"/A/x/gq\"", "a.cfg:1:16", "expected g, i or s"),
        ("#!subst \"/(/x/\"", "a.cfg:1:11", "unclosed group"),
        ("#!subst \"/A/$si/\"", "a.cfg:1:13", "write \\$"),
        ("#!substdef \"/A.B/x/\"", "a.cfg:1:14", "not a name"),
        (
            "#!define A 1\n#!substdef \"/A/x/\"",
            "a.cfg:2:14",
            "defined already",
        ),
        (
            "#!substdef \"/A/?/\"",
            "the value of A:1:1",
            "used by a.cfg:1:12",
        ),
        (
            "#!subst \"/x/(/\"\nrequest_route { $var(x) = 1; }",
            "a.cfg:2:17",
            "no variable",
        ),
    ];
    for (text, place, words) in cases {
        let shown = report(text);
        assert!(shown.contains(place), "{place} not in\n{shown}");
        assert!(shown.contains(words), "{words} not in\n{shown}");
    }
}

#[test]
fn substitutions_that_multiply_are_an_error_and_cheap() {
    let mut text = String::new();
    for index in 0..40 {
        text += &format!(
            "#!subst \"/x{index}y/x{next}yx{next}y/g\"\n",
            next = index + 1
        );
    }
    text += "x=\"x0y\"";
    assert!(report(&text).contains("too much"), "{}", report(&text));
    let mut text = String::new();
    for index in 0..1000 {
        text += &format!("#!subst \"/x{index}y/z/\"\n");
    }
    text += &format!("x=\"{}\"\n", "a".repeat(1 << 20));
    let Parsed { report, .. } = parse_str("a.cfg", &text);
    assert!(report.render(false).contains("too much"), "{report}");
    let text = "#!subst \"/x/y/\"\n".repeat(1100);
    assert!(self::report(&text).contains("more than 1000"));
}
