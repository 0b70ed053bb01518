//! What is said of transformations that can't be.

use super::{BEFORE, compiled};
use crate::syntax::diag::Diagnostic;

/// The part of the transformation that the diagnostic shows, with the diagnostic.
fn refused(transformation: &str) -> (String, Diagnostic) {
    match compiled(transformation) {
        Ok(_) => panic!("{transformation} was taken"),
        Err(diagnostic) => {
            let at = |offset: u32| (offset as usize).checked_sub(BEFORE.len()).unwrap();
            let shown = &transformation[at(diagnostic.span.start)..at(diagnostic.span.end)];
            (shown.to_owned(), diagnostic)
        }
    }
}

#[test]
fn a_mistyped_name_is_answered_with_the_right_one() {
    for (wrong, right) in [
        ("{s.lenn}", "did you mean {s.len}?"),
        ("{s.subst,0,1}", "did you mean {s.substr}?"),
        ("{uri.hots}", "did you mean {uri.host}?"),
        ("{S.LEN}", "did you mean {s.len}?"),
        ("{s.encode.base46}", "did you mean {s.encode.base64}?"),
    ] {
        let (_, diagnostic) = refused(wrong);
        assert_eq!(diagnostic.help, [right], "{wrong}");
        assert!(diagnostic.message.starts_with("there is no transformation"));
    }
}

#[test]
fn a_name_that_is_near_none_is_answered_with_those_of_its_class() {
    let (_, diagnostic) = refused("{line.everything}");
    assert_eq!(diagnostic.help, ["those of line are count, at, sw"]);
    let (_, diagnostic) = refused("{sdp.body}");
    assert!(diagnostic.help[0].starts_with("known are the classes s, uri, param"));
}

#[test]
fn a_class_of_a_module_that_is_not_here_names_the_module() {
    let (shown, diagnostic) = refused("{json.parse,key}");
    assert_eq!(shown, "json.parse");
    assert_eq!(diagnostic.message, "{json.parse} is not supported");
    assert!(diagnostic.help[0].contains("module json"));
}

#[test]
fn an_argument_that_is_wrong_is_shown_with_how_it_is_written() {
    for (wrong, shown, message, label) in [
        (
            "{s.substr,1}",
            "",
            "{s.substr} lacks an argument",
            "expected {s.substr,offset,length}",
        ),
        (
            "{s.strip}",
            "",
            "{s.strip} lacks an argument",
            "expected {s.strip,length}",
        ),
        (
            "{s.len,1}",
            "1",
            "{s.len} takes no further argument",
            "expected {s.len}",
        ),
        (
            "{s.rm,a,b}",
            "b",
            "{s.rm} takes no further argument",
            "expected {s.rm,match}",
        ),
        (
            "{s.rm,$var(a)b}",
            "b",
            "this is no argument of {s.rm}",
            "expected text without a comma, or a pseudo-variable",
        ),
        (
            "{s.substr, x,1}",
            "x",
            "this is no argument of {s.substr}",
            "expected an integer or a pseudo-variable",
        ),
        (
            "{s.substr,0,-1}",
            "-1",
            "this is no argument of {s.substr}",
            "expected 0, a positive integer or a pseudo-variable",
        ),
        (
            "{s.select,0,ab}",
            "ab",
            "this is no argument of {s.select}",
            "expected one character, or one of \\t \\n \\r \\\\",
        ),
        (
            "{param.value,a,,}",
            ",",
            "this is no argument of {param.value}",
            "expected one character other than a comma",
        ),
        (
            "{re.subst,/a/b/gx}",
            "x",
            "this is no flag",
            "expected one of i, s, g",
        ),
        (
            "{re.subst,/a/b}",
            "",
            "this substitution does not end",
            "expected `/`",
        ),
    ] {
        let (found, diagnostic) = refused(wrong);
        assert_eq!(found, shown, "{wrong}");
        assert_eq!(diagnostic.message, message, "{wrong}");
        assert_eq!(diagnostic.label.as_deref(), Some(label), "{wrong}");
    }
}

#[test]
fn what_is_wrong_with_a_pattern_is_said_from_where_it_is_wrong() {
    for (wrong, shown, help) in [
        (
            "{re.subst,/(a/b/}",
            "(a",
            "this parenthesis is never closed",
        ),
        ("{re.subst,/a)/b/}", ")", "this parenthesis closes no group"),
        ("{re.subst,/*a/b/}", "*a", "there is nothing to repeat"),
        ("{re.subst,/x[a/b/}", "[a", "this bracket is never closed"),
        ("{re.subst,/[z-a]/b/}", "z-a]", "this range is empty"),
        (
            "{re.subst,/[[:foo:]]/b/}",
            "[:foo:]]",
            "there is no such class of characters",
        ),
        (
            r"{re.subst,/(.)\1/b/}",
            r"\1",
            "back references in a pattern are not supported",
        ),
        (
            "{re.subst,/(((a{1000}){1000}){1000})/b/}",
            "(((a{1000}){1000}){1000})",
            "it is too large when compiled",
        ),
    ] {
        let (found, diagnostic) = refused(wrong);
        assert_eq!(found, shown, "{wrong}");
        assert_eq!(diagnostic.message, "this pattern can't be used", "{wrong}");
        assert_eq!(diagnostic.help, [help], "{wrong}");
    }
}

#[test]
fn a_pseudo_variable_that_is_none_is_an_echo_of_its_own_diagnostic() {
    let (shown, diagnostic) = refused("{s.rm,$nope}");
    assert_eq!(shown, "$nope");
    assert_eq!(diagnostic.message, "this pseudo-variable is no argument");
}
