//! What lua_run() and its like return, and what scripts leave behind. The codes are those that
//! Kamailio 5.6.3 returned for the same scripts.

use super::*;

const RC: &str = "send_data(\"sip:192.0.2.9\", \"$rc\");";

/// The return code of a call.
fn code(call: &str) -> String {
    let mut case = Case::new(
        r#"
        function nothing() end
        function number() return 5 end
        function zero() return 0 end
        function negative() return -3 end
        function text() return "x" end
        function no() return false end
        function fails() error("boom") end
        function fails_with_table() error({}) end
        function fails_with_nil() error() end
        function leaves() KSR.x.exit() error("not reached") end
        function drops() KSR.x.drop() error("not reached") end
        within = { f = function() end }
        "#,
        &format!("request_route {{ {call}; {RC} }}"),
    );
    case.folder.write("one.lua", "#!/usr/bin/lua\nreturn 9\n");
    case.run(INVITE).concat()
}

#[test]
fn a_call_is_true_whatever_the_function_returns() {
    for name in ["nothing", "number", "zero", "negative", "text", "no"] {
        assert_eq!(code(&format!("lua_run(\"{name}\")")), "1", "{name}");
    }
    assert_eq!(code("lua_dostring(\"return 3\")"), "1");
    assert_eq!(code("lua_runstring(\"return 3\")"), "1");
    assert_eq!(code("lua_dofile(\"one.lua\")"), "1");
}

#[test]
fn what_fails_or_is_not_there_is_false() {
    for name in [
        "missing",
        "within.f",
        "within",
        "fails",
        "fails_with_table",
        "fails_with_nil",
    ] {
        assert_eq!(code(&format!("lua_run(\"{name}\")")), "-1", "{name}");
    }
    assert_eq!(code("lua_dostring(\"x = = \")"), "-1");
    assert_eq!(code("lua_dostring(\"error('boo')\")"), "-1");
    assert_eq!(code("lua_dofile(\"none.lua\")"), "-1");
    assert_eq!(code("lua_dofile(\"/dev/zero\")"), "-1");
    assert_eq!(code("lua_dofile(\".\")"), "-1");
}

#[test]
fn exit_and_drop_end_the_function_and_the_route_goes_on() {
    assert_eq!(code("lua_run(\"leaves\")"), "1");
    assert_eq!(code("lua_run(\"drops\")"), "1");
}

#[test]
fn parameters_are_strings() {
    let mut case = Case::new(
        "function f(...) say(...) end",
        "request_route { $var(n) = 5; lua_run(\"f\"); lua_run(\"f\", \"a\"); \
         lua_run(\"f\", \"x$var(n)\", \"3\", \"\"); }",
    );
    assert_eq!(
        case.run(INVITE),
        ["", "string:a", "string:x5 string:3 string:"]
    );
}

#[test]
fn globals_last_from_message_to_message() {
    let mut case = Case::new(
        "n = 0 function f() n = n + 1 say(n) end",
        "request_route { lua_run(\"f\"); }",
    );
    assert_eq!(case.run(INVITE), ["number:1"]);
    assert_eq!(case.run(INVITE), ["number:2"]);
    assert_eq!(case.count("runs"), 2);
}

#[test]
fn an_exit_of_a_route_that_the_script_calls_ends_the_message() {
    let mut case = Case::new(
        "function f() pcall(KSR.route, \"END\") say(\"not reached\") end",
        &format!("request_route {{ lua_run(\"f\"); {RC} }} route[END] {{ exit; }}"),
    );
    assert_eq!(case.run(INVITE), [""; 0]);
    assert_eq!(case.count("errors"), 0);
}

#[test]
fn avps_of_a_script_that_fails_are_undone() {
    let mut case = Case::new(
        r#"
        function f()
            KSR.pv.sets("$avp(a)", "changed")
            KSR.pv.sets("$avp(b)", "new")
            KSR.pv.unset("$avp(c)")
            error("boom")
        end
        "#,
        "request_route { $avp(a) = \"one\"; $avp(c) = 3; lua_run(\"f\"); \
         send_data(\"sip:192.0.2.9\", \"$avp(a) $avp(b) $avp(c)\"); }",
    );
    assert_eq!(case.run(INVITE), ["one <null> 3"]);
    assert_eq!(case.count("errors"), 1);
}

/// A configuration whose hook runs `f`.
const HOOK: &str = "modparam(\"corex\", \"network_io_intercept\", 1)
    modparam(\"corex\", \"msg_avp\", \"$avp(msg)\")
    event_route[network:msg] { $avp(msg) = $mb; lua_run(\"f\"); }";

fn hook(case: &mut Case, message: &[u8]) -> (HookOutcome, Vec<u8>) {
    let mut out = Vec::new();
    case.runtime.begin_message();
    let outcome = case.runtime.run_network_msg(
        &env(),
        message,
        Direction::Incoming,
        &mut case.host,
        &mut out,
    );
    (outcome, out)
}

#[test]
fn any_bytes_go_through_the_hook() {
    let mut case = Case::new(
        "function f() KSR.pv.sets(\"$avp(msg)\", KSR.pv.get(\"$mb\"):reverse()) end",
        HOOK,
    );
    for length in [256, 65_535] {
        let mut message: Vec<u8> = (0..=255).cycle().take(length).collect();
        let (outcome, out) = hook(&mut case, &message);
        message.reverse();
        assert_eq!(outcome, HookOutcome::Replaced);
        assert!(out == message, "{length}");
    }
}

#[test]
fn a_message_goes_on_as_it_was_when_its_script_fails() {
    let mut case = Case::new(
        "function f() KSR.pv.sets(\"$avp(msg)\", \"lost\") error(\"boom\") end",
        HOOK,
    );
    assert_eq!(hook(&mut case, b"message").0, HookOutcome::Unchanged);
}

#[test]
fn a_script_whose_message_goes_through_the_hook_is_called_by_it_up_to_a_depth() {
    let mut case = Case::new(
        r#"
        depth = 0
        function f()
            depth = depth + 1
            KSR.corex.send_data("sip:192.0.2.9", "depth " .. depth)
            depth = depth - 1
        end
        "#,
        "modparam(\"corex\", \"network_io_intercept\", 1)
         modparam(\"corex\", \"msg_avp\", \"$avp(msg)\")
         event_route[network:msg] { lua_run(\"f\"); }
         request_route { lua_run(\"f\"); }",
    );
    case.host.runs_hook = true;
    let said = case.run(INVITE);
    assert_eq!(said.first().map(String::as_str), Some("depth 8"));
    assert_eq!(said.len(), 8);
    assert_eq!(case.count("errors"), 1);
    assert_eq!(case.run(INVITE).len(), 8);
}

#[test]
fn a_broken_script_is_a_mistake_in_the_configuration() {
    let folder = Folder::new();
    folder.write("script.lua", "local x = 1\nx = = 2\n");
    let report = folder.load("").report.render(false);
    assert!(
        report.contains("script.lua:2: unexpected symbol near '='"),
        "{report}"
    );
    assert!(
        report.contains("modparam(\"app_lua\", \"load\", \"script.lua\")"),
        "{report}"
    );
    for (script, reason) in [
        ("error('boom')", "script.lua:1: boom"),
        ("while true do end", "it takes too long"),
        ("x = ('x'):rep(2^30)", "not enough memory"),
        ("KSR.pv.get('$ru')", "only while a message is handled"),
    ] {
        folder.write("script.lua", script);
        let report = folder.load("").report.render(false);
        assert!(report.contains(reason), "{script}: {report}");
    }
    std::fs::remove_file(folder.0.join("script.lua")).unwrap();
    let report = folder.load("").report.render(false);
    assert!(report.contains("No such file"), "{report}");
}
