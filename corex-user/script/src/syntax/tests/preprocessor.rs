//! `#!define`, `#!ifdef` and their like.

use super::super::ast::{Expr, ExprKind, ItemKind, SettingValueKind, StmtKind};
use super::super::parse_str;
use super::{good, item, statement};

/// The numbers of the settings that are left.
fn settings(text: &str) -> Vec<(String, i64)> {
    good(text)
        .items
        .into_iter()
        .map(|item| match item.kind {
            ItemKind::Setting(setting) => match setting.values[0].kind {
                SettingValueKind::Int(value) => (setting.name.kind, value),
                _ => panic!("{setting:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect()
}

fn shown(text: &str) -> String {
    let pairs = settings(text);
    let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    pairs.join(" ")
}

#[test]
fn definition_stands_for_its_tokens() {
    assert_eq!(
        shown("#!define N 7\ndebug=N\n!!def M N\nchildren=M"),
        "debug=7 children=7"
    );
}

#[test]
fn definition_goes_on_after_a_backslash_and_ends_before_a_comment() {
    assert_eq!(
        shown("#!define N \\\n 7 # seven\ndebug=N\nchildren=2"),
        "debug=7 children=2"
    );
}

#[test]
fn definition_can_be_part_of_an_address() {
    let ItemKind::Setting(setting) = item("#!define IP 192.0.2.1\nlisten=udp:IP:5070") else {
        panic!();
    };
    let SettingValueKind::Address(listen) = &setting.values[0].kind else {
        panic!();
    };
    assert_eq!(listen.to_string(), "udp:192.0.2.1:5070");
}

#[test]
fn definition_is_not_replaced_in_strings_and_variables() {
    let text = "#!define x 1\nrequest_route { $var(x) = \"x\"; }";
    let printed = good(text).to_string();
    assert!(printed.contains("$var(x) = \"x\";"), "{printed}");
}

#[test]
fn conditions_choose_by_definition_and_nest() {
    let text = "#!define A\n\
        #!ifdef A\n#!ifdef B\na=1\n#!else\na=2\n#!endif\n#!else\na=3\n#!endif\n\
        #!ifndef A\nb=1\n#!endif\n  #!ifndef B # comment\nb=2\n  #!endif";
    assert_eq!(shown(text), "a=2 b=2");
}

#[test]
fn text_that_a_condition_switches_off_need_not_make_sense() {
    let text =
        "#!ifdef A\n\"unfinished ' } $( /* \n#!ifdef B\n?\n#!else\n?\n#!endif\n#!endif\ndebug=1";
    assert_eq!(shown(text), "debug=1");
}

#[test]
fn trydef_keeps_and_redefine_replaces() {
    assert_eq!(
        shown("#!define N 1\n#!trydef N 2\na=N\n#!redefine N 3\nb=N\n#!trydef M 4\nc=M"),
        "a=1 b=3 c=4"
    );
}

#[test]
fn script_mode_lines_and_unknown_comments_do_nothing() {
    assert_eq!(
        shown("#!KAMAILIO\n#!/usr/sbin/kamailio\n# plain\n// also\na=1"),
        "a=1"
    );
}

#[test]
fn unterminated_condition_is_reported_where_it_began() {
    let report = parse_str("a.cfg", "a=1\n#!ifdef X\nb=2\n#!ifndef Y\n").report;
    let text = report.render(false);
    assert!(
        text.contains("a.cfg:2:1") && text.contains("a.cfg:4:1"),
        "{text}"
    );
    assert_eq!(report.error_count(), 2);
}

#[test]
fn definitions_that_multiply_are_an_error_and_cheap() {
    let mut text = String::from("#!define A0 1 + 1 + 1 + 1\n");
    for i in 1..30 {
        text += &format!("#!define A{i} A{p} + A{p} + A{p} + A{p}\n", p = i - 1);
    }
    text += "request_route { $var(x) = A29; }";
    let report = parse_str("a.cfg", &text).report;
    assert!(report.render(false).contains("too much text"), "{report}");
}

#[test]
fn definition_that_leads_to_itself_is_an_error() {
    let report = parse_str("a.cfg", "#!define A B\n#!define B A\na=A").report;
    assert!(
        report.render(false).contains("leads back to itself"),
        "{report}"
    );
}

#[test]
fn mistake_in_what_a_definition_supplied_points_at_its_use() {
    let report = parse_str("a.cfg", "#!define A )\n\nrequest_route { $var(x) = A; }").report;
    let text = report.render(false);
    assert!(text.contains("a.cfg:3:27"), "{text}");
}

#[test]
fn double_exclamation_mark_is_still_not_not() {
    let StmtKind::Assign { value, .. } = statement("$var(x) = !!$var(y);") else {
        panic!();
    };
    let Expr {
        kind: ExprKind::Unary { operand, .. },
        ..
    } = value
    else {
        panic!();
    };
    assert!(matches!(operand.kind, ExprKind::Unary { .. }));
}
