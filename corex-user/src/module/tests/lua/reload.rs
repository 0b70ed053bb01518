//! Scripts that are read again while messages are handled.

use super::*;

const F: &str = "request_route { lua_run(\"f\"); }";

#[test]
fn a_changed_script_is_taken_over_before_the_next_call() {
    let mut case = Case::new("function f() say(\"old\") end", F);
    assert_eq!(case.run(INVITE), ["string:old"]);
    case.folder.write(
        "script.lua",
        &format!("{SAY} function f() say(\"new\") end"),
    );
    assert_eq!(case.run(INVITE), ["string:old"]);
    case.config.program.reload_scripts("app_lua").unwrap();
    assert_eq!(case.run(INVITE), ["string:new"]);
    assert_eq!((case.count("reloads"), case.count("restarts")), (1, 0));
}

#[test]
fn a_broken_script_leaves_the_old_one() {
    let mut case = Case::new("function f() say(\"old\") end", F);
    for broken in ["x = = 1", "error('boom')", "while true do end"] {
        case.folder.write("script.lua", broken);
        let reason = case.config.program.reload_scripts("app_lua").unwrap_err();
        assert!(!reason.to_string().is_empty());
        assert_eq!(case.run(INVITE), ["string:old"], "{broken}");
    }
    assert_eq!((case.count("reloads"), case.count("reload_errors")), (3, 3));
}

#[test]
fn a_state_that_was_lost_runs_the_scripts_that_were_loaded_last() {
    let mut case = Case::new(
        "function f() say(\"old\") end function g() held = ('x'):rep(2 ^ 30) end",
        "request_route { lua_run(\"f\"); } reply_route { lua_run(\"g\"); }",
    );
    case.folder.write("script.lua", "x = = 1");
    case.run(OK);
    case.wake();
    assert_eq!(case.run(INVITE), ["string:old"]);
    assert_eq!(case.count("restarts"), 1);
}

#[test]
fn reload_is_refused_where_the_configuration_says_so() {
    let case = Case::new("", "modparam(\"app_lua\", \"reload\", 0)");
    assert!(case.config.program.reload_scripts("app_lua").is_err());
    assert_eq!(case.count("reloads"), 0);
    assert!(config("").program.reload_scripts("app_lua").is_err());
}
