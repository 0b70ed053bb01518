//! Wrong configurations, and what is said about them.

use super::super::diag::{Diagnostic, MAX_DIAGNOSTICS, Report, Severity};
use super::super::span::Span;
use super::super::{Parsed, parse_bytes, parse_file, parse_str, read};

/// Asserts that a text yields exactly these reports: each `place` (line:column) with every one of its words.
#[track_caller]
fn wrong(text: &str, expected: &[(&str, &[&str])]) {
    let report = parse_str("bad.cfg", text).report;
    let shown = report.render(false);
    assert_eq!(report.diagnostics().len(), expected.len(), "{shown}");
    let blocks: Vec<&str> = shown.split("\n\n").collect();
    for ((place, words), block) in expected.iter().zip(&blocks) {
        let place = format!("--> bad.cfg:{place}\n");
        assert!(
            block.contains(&place),
            "{place} not in\n{block}\nof\n{shown}"
        );
        for word in *words {
            assert!(block.contains(word), "{word:?} not in\n{block}");
        }
    }
}

/// The same for statements in a block: line 1 is the block's head.
#[track_caller]
fn wrong_in_block(text: &str, expected: &[(&str, &[&str])]) {
    wrong(&format!("request_route {{\n{text}\n}}\n"), expected);
}

#[test]
fn report_has_place_line_caret_expectation_and_remedy() {
    let report = parse_str(
        "dir/bad.cfg",
        "debug=1\nrequest_route {\n    if ($rm = \"X\") { drop; }\n}\n",
    );
    let expected = "\
error: unexpected `=`
 --> dir/bad.cfg:3:13
  |
3 |     if ($rm = \"X\") { drop; }
  |             ^ expected `)`
";
    let shown = report.report.render(false);
    assert!(shown.starts_with(expected), "{shown}");
    assert!(shown.contains("= help: to compare, write `==`"), "{shown}");
    assert!(shown.ends_with("\n\n1 error\n"), "{shown}");
}

#[test]
fn forgotten_semicolons_are_each_reported_behind_their_statements() {
    wrong_in_block(
        "$var(x) = 1\nxlog(\"a\")\ndrop",
        &[
            ("2:12", &["expected `;`"]),
            ("3:10", &["expected `;`"]),
            ("4:5", &["expected `;`"]),
        ],
    );
}

#[test]
fn forgotten_brace_is_noticed_at_the_next_route_block() {
    wrong(
        "request_route {\n  if ($a) {\n    drop;\n}\nroute[A] { exit; }\n",
        &[(
            "5:1",
            &[
                "unexpected `route`",
                "expected `}`",
                "still open (bad.cfg:1:15)",
            ],
        )],
    );
    wrong(
        "request_route {\n  drop;\n",
        &[("3:1", &["unexpected end of the file", "expected `}`"])],
    );
}

#[test]
fn several_open_blocks_are_one_mistake_at_the_end() {
    wrong(
        "request_route {\n  if ($a) {\n    while ($b) {\n",
        &[("4:1", &["expected `}`", "still open (bad.cfg:3:16)"])],
    );
}

#[test]
fn brace_too_many_is_reported_and_the_rest_is_read() {
    wrong(
        "request_route {\n}\n}\ndebug=\n",
        &[
            ("3:1", &["unexpected `}`", "remove this"]),
            ("4:7", &["`debug` has no value"]),
        ],
    );
}

#[test]
fn parentheses_that_do_not_match_cost_only_their_condition() {
    wrong_in_block(
        "if ($rm == \"A\" { exit; }\nif $rm == \"A\") { exit; }\nif ($rm == ) { x }\n",
        &[
            ("2:16", &["expected `)`", "begins here (bad.cfg:2:4)"]),
            ("3:14", &["too many"]),
            ("4:12", &["expected an expression"]),
            ("4:18", &["expected `(`", "x()"]),
        ],
    );
}

#[test]
fn statements_that_do_nothing_are_mistakes() {
    wrong_in_block(
        "$var(x) == 1;\n$var(y);\nxlog;\n1 + 2;\n\"a\";\n1 = 2;",
        &[
            ("2:9", &["this compares", "write `=`"]),
            ("3:8", &["expected `=` and a value"]),
            ("4:5", &["expected `(`", "xlog()"]),
            ("5:1", &["a value, not a statement"]),
            ("6:1", &["a value, not a statement"]),
            ("7:1", &["nothing can be assigned"]),
        ],
    );
}

#[test]
fn arguments_are_separated_and_complete() {
    wrong_in_block(
        "f($a, , 2);\nf($a $b);\nf($a,);\nf(;\nxlog(\"a\"",
        &[
            ("2:7", &["expected an argument"]),
            ("3:6", &["expected `,` or `)`"]),
            ("4:6", &["expected an argument"]),
            ("5:3", &["expected an expression"]),
            ("7:1", &["expected `,` or `)`"]),
        ],
    );
}

#[test]
fn string_without_end_is_reported_where_it_begins_not_where_the_next_one_does() {
    wrong_in_block(
        "xlog(\"hello);\nxlog(\"world\");\nxlog('x);\n1;",
        &[
            (
                "2:6",
                &["this string does not end", "expected a closing \"", "\\\""],
            ),
            ("4:6", &["this string does not end", "expected a closing '"]),
            ("5:1", &["a value"]),
        ],
    );
}

#[test]
fn comment_without_end_is_reported_where_it_begins() {
    wrong(
        "debug=1\n/* a /* b */\n",
        &[("2:1", &["this comment does not end", "comments nest"])],
    );
}

#[test]
fn typographic_quotation_marks_are_explained() {
    wrong_in_block(
        "xlog(“x”);",
        &[("2:6", &["straight quotation marks"]), ("2:8", &[])],
    );
}

#[test]
fn else_without_if_names_the_semicolon() {
    wrong_in_block(
        "if ($a) { drop; }; else { x; }\ny;",
        &[
            ("2:20", &["no `if`", "`;`"]),
            ("2:28", &["expected `(`"]),
            ("3:2", &["expected `(`"]),
        ],
    );
}

#[test]
fn switch_takes_labels_only() {
    wrong_in_block(
        "switch ($a) {\ndrop;\ncase 1: exit;\ndefault: break;\ndefault: break;\ncase 2 exit;\n}\ncase 3: exit;",
        &[
            ("3:1", &["expected `case`, `default` or `}`"]),
            ("6:1", &["a `default` already", "bad.cfg:5:1"]),
            ("7:8", &["expected `:`"]),
            ("9:1", &["not in a `switch`"]),
        ],
    );
}

#[test]
fn pseudo_variables_are_checked_to_their_end() {
    wrong_in_block(
        "$(avp(x) = 2;\n$avp(x = 3;\n$ = 3;\n$(var(a){s len}) = 1;\n$(var(a)[x]) = 1;\n$avp(x)[1] = 1;",
        &[
            ("2:9", &["does not end", "expected `)`, `[` or `{`"]),
            ("3:5", &["`(` is never closed"]),
            ("4:1", &["expected a name after `$`", "`$$`"]),
            ("5:10", &["not a transformation", "{s.len}"]),
            ("6:9", &["not an index", "[-1]"]),
            ("7:8", &["write $(avp(…)[index])"]),
        ],
    );
}

#[test]
fn numbers_and_networks_have_their_ranges() {
    wrong_in_block(
        "f(99999999999999999999);\nf(3cx);\nf(089);\nif (src_ip == 10.0.0.0/33) drop;\nif (src_ip == 10.0.0.0/255.0.255.0) drop;",
        &[
            ("2:3", &["too large", "9223372036854775807"]),
            ("3:3", &["expected a number", "octal"]),
            ("4:3", &["expected a number"]),
            ("5:24", &["from 0 to 32"]),
            ("6:24", &["network mask"]),
        ],
    );
}

#[test]
fn addresses_are_checked_part_by_part() {
    wrong(
        "listen=udp:1.2.3.256:5060\nlisten=udp:1.2.3.4:99999\nlisten=udp:[2001:zz]:5060\nlisten=udp:\nlisten=\nalias=\"a b\"\nlisten=udp:1.2.3.4:5060/tcp\n",
        &[
            (
                "1:12",
                &["not an IPv4 address", "0 to 255", "[proto:]host[:port]"],
            ),
            ("2:20", &["not a port", "1 to 65535"]),
            ("3:12", &["not an IPv6 address"]),
            ("4:12", &["no host"]),
            ("5:8", &["no address here"]),
            ("6:8", &["not a host"]),
            ("7:24", &["expected the end of the line"]),
        ],
    );
}

#[test]
fn module_lines_want_strings() {
    wrong(
        "modparam(corex, \"b\", 1)\nmodparam(\"corex\", \"b\")\nmodparam(\"corex\", \"b\", foo)\nloadmodule corex.so\nmodparam \"a\"\n",
        &[
            ("1:10", &["expected a string", "quotation marks"]),
            ("2:22", &["expected `,`"]),
            (
                "3:24",
                &["expected a number or a string", "quotation marks"],
            ),
            ("4:12", &["expected a string", "quotation marks"]),
            ("5:10", &["expected `(`"]),
        ],
    );
}

#[test]
fn mistyped_keywords_get_a_suggestion() {
    wrong(
        "requst_route { drop }\nmodparm(\"a\", \"b\", 1)\nlodmodule \"a.so\"\n",
        &[
            ("1:1", &["did you mean `request_route`?"]),
            ("1:20", &["expected `;`"]),
            ("2:1", &["did you mean `modparam`?"]),
            ("3:1", &["did you mean `loadmodule`?"]),
        ],
    );
}

#[test]
fn route_heads_are_explained() {
    wrong(
        "route(FOO) { drop; }\nevent_route { drop; }\nevent_route[foo] { drop; }\nevent_route[network:msg { drop; }\nreply_route[X] { drop; }\nroute[] { drop; }\nroute[a b] { drop; }\nxlog(\"a\");\nwhatever 1\n",
        &[
            ("1:6", &["expected `{`", "route[NAME]"]),
            ("2:1", &["needs a name", "event_route[network:msg]"]),
            ("3:13", &["expected module:event"]),
            ("4:25", &["expected `]`"]),
            ("5:13", &["onreply_route[X]"]),
            ("6:7", &["expected a name"]),
            ("7:9", &["unexpected `b`", "expected `]`"]),
            ("8:1", &["within route blocks"]),
        ],
    );
}

#[test]
fn setting_without_sign_or_value_is_explained() {
    wrong(
        "children 4\ndebug = $var(x)\nlog_stderror =\n",
        &[
            ("1:10", &["expected `=`", "children = value"]),
            ("2:9", &["expected a number, a string or a word"]),
            ("3:15", &["`log_stderror` has no value"]),
        ],
    );
}

#[test]
fn directives_are_explained() {
    wrong(
        "#!define\n#!define FOO-BAR 1\n#!define A 1\n#!define A 2\n#!ifdfe X\n#!else\n#!endif\n#!defexp B 1 + 1\n#!ifdef A B\n#!endif\n!!include_file x\ninclude_file 'x'\n",
        &[
            ("1:9", &["no name"]),
            ("2:13", &["can't be part of a name"]),
            ("4:10", &["defined already", "bad.cfg:3:10", "#!redefine"]),
            ("5:1", &["warning", "taken as a comment"]),
            ("6:1", &["no condition"]),
            ("7:1", &["no condition"]),
            ("8:1", &["#!defexp is not supported", "#!define"]),
            ("9:11", &["expected the end of the line"]),
            ("11:15", &["names no file", "double quotes"]),
            ("12:1", &["needs a file's name in double quotes"]),
        ],
    );
}

#[test]
fn keyword_is_no_operand() {
    wrong_in_block("return return;", &[("2:8", &["unexpected `return`"])]);
}

#[test]
fn columns_count_characters_and_tabs_as_one() {
    wrong_in_block("\t/* äöü */ x;", &[("2:13", &["expected `(`"])]);
}

#[test]
fn long_line_is_shown_in_part_with_its_true_column() {
    let padding = "\"a\" + ".repeat(1000);
    let text = format!("request_route {{ $var(x) = {padding} ; }}");
    let shown = parse_str("bad.cfg", &text).report.render(false);
    assert!(shown.contains("--> bad.cfg:1:"), "{shown}");
    assert!(shown.len() < 2000, "{shown}");
    let text = format!(
        "request_route {{ f({}); ? }}",
        "\"aaaaaaaa\", ".repeat(100) + "1"
    );
    let column = text.find('?').unwrap() + 1;
    let shown = parse_str("bad.cfg", &text).report.render(false);
    assert!(
        shown.contains(&format!("--> bad.cfg:1:{column}\n")),
        "{shown}"
    );
}

#[test]
fn mistakes_beyond_the_bound_are_counted_only() {
    let report = parse_str(
        "bad.cfg",
        &format!("request_route {{ {} }}", "x;\n".repeat(500)),
    )
    .report;
    assert_eq!(report.diagnostics().len(), MAX_DIAGNOSTICS);
    assert_eq!(report.error_count(), 500);
    let shown = report.render(false);
    assert!(shown.ends_with("500 errors (400 not shown)\n"), "{shown}");
}

#[test]
fn colour_is_there_only_on_request() {
    let report = parse_str("bad.cfg", "x").report;
    assert!(report.render(true).contains('\x1b'));
    assert!(!report.render(false).contains('\x1b'));
}

#[test]
fn control_characters_of_the_source_do_not_reach_the_terminal() {
    let report = parse_str("bad.cfg", "\x1b[31m x\x07 ?").report;
    assert!(!report.render(false).contains(['\x1b', '\x07']));
}

#[test]
fn later_stages_add_to_the_same_report() {
    let Parsed { file, mut report } = parse_str("a.cfg", "debug=1\nchildren=2\n");
    assert_eq!(report.render(false), "");
    report.push(
        Diagnostic::warning(file.items[1].span, "it does nothing here")
            .label("here")
            .help("remove it"),
    );
    report.push(Diagnostic::error(Span::NONE, "no listener").help("add `listen`"));
    assert!(report.has_errors());
    assert_eq!((report.error_count(), report.warning_count()), (1, 1));
    assert_eq!(report.diagnostics()[0].severity, Severity::Warning);
    let shown = report.render(false);
    assert!(
        shown.contains("warning: it does nothing here\n --> a.cfg:2:1\n"),
        "{shown}"
    );
    assert!(shown.contains("error: no listener\n"), "{shown}");
    assert!(shown.ends_with("1 error, 1 warning\n"), "{shown}");
    assert!(!Report::new().has_errors());
}

#[test]
fn bytes_that_are_not_utf8_are_reported_with_their_place() {
    let shown = parse_bytes("a.cfg", b"debug=1\n# caf\xe9\n".to_vec())
        .report
        .render(false);
    assert!(
        shown.contains("a.cfg:2:6") && shown.contains("UTF-8"),
        "{shown}"
    );
}

#[test]
fn file_that_is_missing_or_too_large_is_reported() {
    let shown = parse_file(std::path::Path::new("/nonexistent/x.cfg"), &read)
        .report
        .render(false);
    assert!(
        shown.contains("/nonexistent/x.cfg can't be read"),
        "{shown}"
    );
    let report = parse_bytes("a.cfg", vec![b' '; (4 << 20) + 1]).report;
    assert!(
        report.render(false).contains("larger than 4 MiB"),
        "{report}"
    );
}
