//! Statements and expressions.

use super::*;

#[test]
fn if_else_takes_the_first_arm_that_holds() {
    let script = |x: i64| {
        says(&format!(
            "$var(x) = {x}; if ($var(x) == 1) send(\"a\"); else if ($var(x) == 2) send(\"b\"); else send(\"c\");"
        ))
    };
    assert_eq!(script(1), ["a"]);
    assert_eq!(script(2), ["b"]);
    assert_eq!(script(3), ["c"]);
}

#[test]
fn while_turns_until_its_condition_fails_or_break() {
    let turns = "$var(i) = 0; while ($var(i) < 3) { send(\"a\"); $var(i) += 1; }";
    assert_eq!(says(turns).len(), 3);
    assert_eq!(
        says("while (1) { send(\"a\"); break; } send(\"b\");"),
        ["a", "b"]
    );
}

#[test]
fn a_loop_of_exactly_max_while_loops_is_fine_and_one_more_is_an_error() {
    let script = |most: u32| {
        let mut runtime = runtime(&format!(
            "max_while_loops = 10
             request_route {{ $var(i) = 0; while ($var(i) < {most}) {{ $var(i) = $var(i) + 1; }} }}"
        ));
        run(&mut runtime, INVITE, &mut TestHost::default())
    };
    assert_eq!(script(10), RouteEnd::Finished);
    assert_eq!(script(11), RouteEnd::Failed);
}

#[test]
fn switch_runs_from_its_label_to_break_and_through_the_next_without() {
    let script = |subject: &str| {
        says(&format!(
            "switch ({subject}) {{ case 1: send(\"a\"); break; case \"x\": send(\"b\"); \
             case /\"^y\": send(\"c\"); break; default: send(\"d\"); }} send(\"e\");"
        ))
    };
    assert_eq!(script("1"), ["a", "e"]);
    assert_eq!(script("\"x\""), ["b", "c", "e"]);
    assert_eq!(script("\"Yes\""), ["c", "e"]);
    assert_eq!(script("5"), ["d", "e"]);
}

#[test]
fn return_leaves_the_block_and_exit_leaves_the_script() {
    let blocks = "route[R] { send(\"r\"); return; send(\"x\"); } route[E] { exit; }";
    assert_eq!(
        says_on(INVITE, blocks, "route(R); send(\"a\");"),
        ["r", "a"]
    );
    assert_eq!(says_on(INVITE, blocks, "route(E); send(\"a\");"), [""; 0]);
    assert_eq!(says("send(\"a\"); return; send(\"b\");"), ["a"]);
}

#[test]
fn drop_ends_the_script_and_says_so() {
    let mut runtime = runtime("request_route { route(D); } route[D] { drop; }");
    let end = run(&mut runtime, INVITE, &mut TestHost::default());
    assert_eq!(end, RouteEnd::Drop);
}

#[test]
fn a_return_code_above_zero_is_true_below_is_false_and_zero_ends_the_script() {
    let script = |code: &str| {
        says_on(
            INVITE,
            &format!("route[R] {{ return {code}; }}"),
            "if (route(R)) send(\"true\"); else send(\"false\"); send(\"after\");",
        )
    };
    assert_eq!(script("5"), ["true", "after"]);
    assert_eq!(script("-1"), ["false", "after"]);
    assert_eq!(script("0"), [""; 0]);
    assert_eq!(script(""), ["true", "after"]);
}

#[test]
fn a_block_that_ends_without_return_returns_one() {
    let script = "if (route(R)) send(\"true\"); if ($rc == 1) send(\"one\");";
    assert_eq!(
        says_on(INVITE, "route[R] { $var(x) = 0; }", script),
        ["true", "one"]
    );
}

#[test]
fn and_and_or_stop_as_soon_as_the_result_is_known() {
    let blocks = "route[T] { send(\"t\"); return 1; } route[F] { send(\"f\"); return -1; }";
    let script =
        |condition: &str| says_on(INVITE, blocks, &format!("if ({condition}) send(\"y\");"));
    assert_eq!(script("route(F) && route(T)"), ["f"]);
    assert_eq!(script("route(T) || route(F)"), ["t", "y"]);
    assert_eq!(
        script("!route(F) && !(route(F) || route(F))"),
        ["f", "f", "f", "y"]
    );
}

#[test]
fn arithmetic_is_on_integers() {
    for (expression, result) in [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 / 2", "3"),
        ("-7 % 4", "-3"),
        ("6 & 3 | 8", "10"),
        ("6 ^ 3", "5"),
        ("1 << 4", "16"),
        ("256 >> 4", "16"),
        ("1 << 64", "0"),
        ("~0", "-1"),
        ("\"5\" - 2", "3"),
        ("5 + \"2\"", "7"),
        ("-(3)", "-3"),
        ("9223372036854775807 + 1", "-9223372036854775808"),
    ] {
        assert_eq!(value(expression), result, "{expression}");
    }
}

#[test]
fn plus_joins_strings_by_the_type_of_its_left_operand() {
    assert_eq!(value("\"a\" + \"b\" + 1"), "ab1");
    assert_eq!(value("\"5\" + 2"), "52");
    assert_eq!(value("\"\" + $mb + \"\""), "message");
    assert_eq!(value("$null + \"x\""), "x");
}

#[test]
fn comparisons_go_by_the_type_of_the_left_operand() {
    for (expression, result) in [
        ("5 == \"5\"", "1"),
        ("\"5\" == 5", "1"),
        ("\"05\" == 5", "0"),
        ("5 == \"05\"", "1"),
        ("0 == \"abc\"", "0"),
        ("0 == \"\"", "0"),
        ("\"a\" == \"A\"", "0"),
        ("\"a\" != \"b\"", "1"),
        ("$null == $null", "1"),
        ("$avp(none) == $null", "1"),
        ("$avp(none) == \"\"", "0"),
        ("\"\" != $null", "1"),
        ("\"10\" > 9", "1"),
        ("2 >= 2", "1"),
        ("1 < 1", "0"),
        ("\"05\" eq \"5\"", "0"),
        ("\"05\" ieq \"5\"", "1"),
        ("\"a\" ne \"b\"", "1"),
        ("\"05\" ine \"6\"", "1"),
    ] {
        assert_eq!(value(expression), result, "{expression}");
    }
}

#[test]
fn casts_defined_and_lengths() {
    for (expression, result) in [
        ("(int)\"12\" + 1", "13"),
        ("(int)\"x\" + 1", "1"),
        ("(str)12 + \"1\"", "121"),
        ("defined $avp(none)", "0"),
        ("defined $var(x)", "1"),
        ("strlen($mb)", "7"),
        ("strempty(\"\")", "1"),
        ("strempty($mb)", "0"),
        ("!0", "1"),
        ("not \"1\"", "0"),
    ] {
        assert_eq!(value(expression), result, "{expression}");
    }
}

#[test]
fn a_string_is_true_when_it_reads_as_a_number_other_than_zero() {
    for (text, truth) in [("1", "1"), ("0", "0"), ("", "0"), ("abc", "0"), ("-5", "1")] {
        assert_eq!(value(&format!("\"{text}\" && 1")), truth, "{text:?}");
    }
}

#[test]
fn patterns_ignore_case_and_dots_match_line_breaks() {
    for (expression, result) in [
        ("\"INVITE\" =~ \"^inv\"", "1"),
        ("\"a\\nb\" =~ \"a.b\"", "1"),
        ("\"a\\nb\" =~ \"^b\"", "0"),
        ("\"abc\" !~ \"x\"", "1"),
        ("\"user12\" =~ \"^user[[:digit:]]+$\"", "1"),
        ("$mb =~ \"essag\"", "1"),
        ("\"abc\" =~ (\"^A\" + \"B\")", "1"),
        ("\"abc\" =~ (\"(\" + \"\")", "0"),
        ("200 =~ \"^2\"", "1"),
    ] {
        assert_eq!(value(expression), result, "{expression}");
    }
}

#[test]
fn old_words_read_what_they_name() {
    for (condition, holds) in [
        ("method == \"INVITE\"", true),
        ("method == INVITE", true),
        ("method == BYE", false),
        ("uri =~ \"^sip:bob\"", true),
        ("uri == myself", true),
        ("from_uri == myself", false),
        ("from_uri != myself", true),
        ("src_ip == 192.0.2.1", true),
        ("src_ip == 192.0.2.0/24", true),
        ("src_ip == 198.51.100.0/24", false),
        ("src_ip != 10.0.0.0/8", true),
        ("dst_port == 5060", true),
        ("proto == UDP", true),
        ("proto != tcp", true),
        ("msg:len > 50", true),
        ("$rd == myself", true),
    ] {
        let said = says(&format!("if ({condition}) send(\"yes\");"));
        assert_eq!(!said.is_empty(), holds, "{condition}");
    }
}

#[test]
fn replies_run_reply_route_with_their_status() {
    let said = says_on(
        OK,
        "",
        "if (status == 200 && $rs =~ \"^2..$\") send(\"yes\");",
    );
    assert_eq!(said, ["yes"]);
}

#[test]
fn a_message_without_a_route_of_its_kind_finishes() {
    let mut runtime = runtime("request_route { drop; }");
    let end = run(&mut runtime, OK, &mut TestHost::default());
    assert_eq!(end, RouteEnd::Finished);
}
