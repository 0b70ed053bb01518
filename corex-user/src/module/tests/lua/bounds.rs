//! Scripts that take all they can get: the call ends, the worker and the state go on.

use super::*;

/// Runs a script that is to fail in `f` and to be well afterwards in `g`.
fn after(script: &str) -> Case {
    let mut case = Case::new(
        &format!("function f()\n{script}\nend\nfunction g() say(\"well\") end"),
        "modparam(\"app_lua\", \"max_instructions\", 300000)
         modparam(\"app_lua\", \"max_memory\", 8192)
         request_route {
             $avp(kept) = \"kept\";
             lua_run(\"f\");
             $var(rc) = $rc;
             send_data(\"sip:192.0.2.9\", \"$var(rc) $avp(kept)\");
         }
         reply_route { lua_run(\"g\"); }",
    );
    assert_eq!(case.run(INVITE), ["-1 kept"], "{script}");
    assert_eq!(case.count("errors"), 1, "{script}");
    case.wake();
    assert_eq!(case.run(OK), ["string:well"], "{script}");
    case
}

#[test]
fn what_never_ends_is_ended() {
    for script in [
        "while true do end",
        "for i = 1, math.huge do KSR.pv.sets('$var(x)', 'lost') end",
        "local function g() return g() end g()",
        "local function g() while true do end end while true do pcall(g) end",
        "xpcall(function() while true do end end, function() while true do end end)",
        "while true do xpcall(function() while true do end end, debug.traceback) end",
        "local co = coroutine.wrap(function() while true do end end) while true do pcall(co) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
        "return tostring(setmetatable({}, { __tostring = function() while true do end end }))",
        "table.sort({ 1, 2, 3 }, function() while true do end end)",
        "('x'):rep(100):gsub('x', function() while true do end end)",
        "for k in pairs({ 1 }) do while true do KSR.pv.get('$ru') end end",
        "while true do KSR.setflag(1) end",
        "load(function() while true do end end)",
        "setmetatable(_G, { __index = function() while true do end end }) return unknown",
        "local t = {} for i = 1, 1000 do t[i] = i end while true do table.sort(t) end",
    ] {
        let case = after(script);
        assert_eq!(case.count("timeouts"), 1, "{script}");
        assert_eq!(case.count("restarts"), 0, "{script}");
    }
}

#[test]
fn patterns_that_backtrack_are_ended() {
    for script in [
        "return (('a'):rep(40)):find(('a?'):rep(40) .. ('a'):rep(40) .. 'b')",
        "return (('a'):rep(60000)):find('a-a-a-a-b')",
        "return (('a'):rep(60000)):match('.-b')",
        "for one in (('a'):rep(60000)):gmatch('a*a*a*b') do end",
        "return (('a'):rep(60000)):gsub('a-a-b', '')",
        "return (('('):rep(60000)):find('%b()')",
        "while true do (('a'):rep(60000)):find('b', 1, true) end",
        "local s = string.find while true do s(('a'):rep(5000), '[' .. ('b'):rep(5000) .. ']') end",
    ] {
        assert_eq!(after(script).count("timeouts"), 1, "{script}");
    }
}

#[test]
fn what_wants_too_much_memory_gets_none_and_the_state_is_made_anew() {
    for script in [
        "held = string.rep('x', 2 ^ 30)",
        "held = {} for i = 1, 1e9 do held[i] = ('x'):rep(1000) .. i end",
        "held = 'x' while true do held = held .. held end",
        "held = table.concat(setmetatable({}, {}), '') .. ('y'):rep(5e6) .. ('x'):rep(5e6)",
        "return (('x'):rep(1e6)):gsub('x', 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy')",
        "held = {} while true do held[#held + 1] = coroutine.create(function() end) end",
        "KSR.pv.sets('$avp(kept)', ('x'):rep(1e6)) KSR.pv.sets('$avp(b)', KSR.pv.get('$avp(kept)'):rep(9))",
    ] {
        let case = after(script);
        assert_eq!(case.count("memory"), 1, "{script}");
        assert_eq!(case.count("restarts"), 1, "{script}");
    }
}

/// What a script may ask for when there is hardly any memory left.
const ASKS: &str = r##"
    local text, list = ("a"):rep(50), { 3, 2, 1 }
    local get = KSR.pv.get
    local function ask() return get("$mb") end
    local asks = {
        ask,
        function() KSR.pv.sets("$var(x)", "y" .. #text) end,
        function() text:find("(a)(a)") end,
        function() text:gsub("a-$", ask) end,
        function() for _ in text:gmatch("()a-") do end end,
        function() coroutine.wrap(ask)() end,
        function() get("$nosuch") end,
        function() KSR.route("SUB") end,
        function() KSR.corex.send_data("sip:192.0.2.9", "x") end,
        function() print(1, list) end,
        function() load("return 1")() end,
        function() require("nosuch") end,
        function() table.sort(list) end,
        function() error(list) end,
        function() pcall(error, "x") end,
        function() xpcall(error, debug.traceback) end,
        function() KSR.x.exit() end,
    }
    function fill(which, left)
        left = tonumber(left)
        local n = 0
        while collectgarbage("count") < 1000 - left / 1024 do
            n = n + 1
            held = { held, ("x"):rep(1000) .. n }
        end
        while collectgarbage("count") < 1023.9 - left / 1024 do held = { held } end
        asks[which % #asks + 1]()
    end
    function well() say("well") end
"##;

#[test]
fn what_is_asked_with_no_memory_left_fails_or_works() {
    let mut case = Case::new(
        ASKS,
        "modparam(\"app_lua\", \"max_memory\", 1024)
         request_route { lua_run(\"fill\", \"$rU\", \"$rp\"); }
         reply_route { lua_run(\"well\"); }
         route[SUB] { lua_run(\"well\"); }",
    );
    let request = String::from_utf8_lossy(INVITE);
    for left in (0..4_000).step_by(130) {
        for which in 0..17 {
            let uri = format!("{which}@example.com:{left}");
            case.run(
                request
                    .replacen("bob:pw@example.com:5070", &uri, 1)
                    .as_bytes(),
            );
            case.wake();
            // The global may hold what the next call needs.
            let said = case.run(OK);
            case.wake();
            assert!(
                said == ["string:well"] || case.run(OK) == ["string:well"],
                "{uri}"
            );
        }
    }
    let (memory, errors, runs) = (
        case.count("memory"),
        case.count("errors"),
        case.count("runs"),
    );
    assert!(
        0 < memory && memory < errors + 1 && errors < runs,
        "{memory} {errors} {runs}"
    );
}

#[test]
fn what_a_call_leaves_behind_is_collected_before_the_next_one_needs_it() {
    let mut case = Case::new(
        "function f() local big = {} pcall(function() while true do big = { big } end end) end
         function g() held = {} for i = 1, 3.5e4 do held = { held, i } end say(\"held\") end",
        "modparam(\"app_lua\", \"max_memory\", 4096)
         request_route { lua_run(\"f\"); send_data(\"sip:192.0.2.9\", \"$rc\"); }
         reply_route { lua_run(\"g\"); }",
    );
    for _ in 0..5 {
        assert_eq!(case.run(INVITE), ["1"]);
    }
    assert_eq!((case.count("memory"), case.count("restarts")), (0, 0));
    // What leaves no room for anything else makes way.
    for _ in 0..3 {
        assert_eq!(case.run(OK), ["string:held"]);
        case.wake();
    }
    assert_eq!((case.count("memory"), case.count("restarts")), (0, 2));
}

#[test]
fn what_nests_without_end_is_an_error() {
    for script in [
        "local function g() return 1 + g() end g()",
        "local function g() coroutine.wrap(g)() end g()",
        "local function g() local co = coroutine.create(g) assert(coroutine.resume(co)) end g()",
        "local function g() return (('x'):gsub('x', g)) end g()",
        "local function g() table.sort({ 2, 1, 3 }, function(a, b) g() return a < b end) end g()",
        "local function g() return string.format('%s', setmetatable({}, { __tostring = g })) .. '' end g()",
        "local function g() return tostring(setmetatable({}, { __tostring = g })) .. '' end g()",
        "local function g() assert(load(g)) end g()",
        "local t t = setmetatable({}, { __index = function(_, k) return t[k] .. '' end }) return t.x",
        "assert(load('return ' .. ('('):rep(1e5)))",
        "local f f = function() error(setmetatable({}, { __tostring = f })) end f()",
        "return unpack({}, 1, 1e8)",
        "KSR.pv.get(unpack({}, 1, 7000)) error('x')",
    ] {
        let case = after(script);
        assert_eq!(case.count("timeouts"), 0, "{script}");
    }
}

#[test]
fn coroutines_do_not_hide_how_deep_calls_nest() {
    // A coroutine that caught an error where it was shallow goes on where it is deep.
    let case = after(
        r#"
        local function prepared()
            return coroutine.wrap(function()
                while true do
                    pcall(function() coroutine.yield() error("x") end)
                end
            end)
        end
        local ready = {}
        for at = 1, 200 do ready[at] = prepared() ready[at]() end
        local used = 0
        local function g()
            used = used + 1
            if ready[used] then ready[used]() end
            coroutine.wrap(g)()
        end
        g()
        "#,
    );
    assert_eq!(case.count("timeouts"), 0);
}

#[test]
fn errors_of_any_kind_end_the_call() {
    for script in [
        "error('boom')",
        "error()",
        "error({})",
        "error(function() end)",
        "error(setmetatable({}, { __tostring = function() return 5 end }))",
        "error(('x'):rep(1e6))",
        "error('\\0\\255')",
        "nosuch()",
        "return nil .. 'x'",
        "KSR.nosuch.f()",
        "coroutine.yield()",
        "os.exit(1)",
        "assert(false)",
        "string.rep()",
        "('x'):find('[a')",
        "KSR.route('LOOP')",
    ] {
        let mut case = Case::new(
            &format!("function f()\n{script}\nend\nfunction g() say(\"well\") end"),
            "request_route { lua_run(\"f\"); $var(rc) = $rc; lua_run(\"g\");
               send_data(\"sip:192.0.2.9\", \"$var(rc)\"); }
             route[LOOP] { $var(z) = 1 / $var(none); }",
        );
        assert_eq!(case.run(INVITE), ["string:well", "-1"], "{script}");
        assert_eq!(case.count("errors"), 1, "{script}");
    }
}

#[test]
fn after_a_time_out_calls_rest() {
    let mut case = Case::new(
        "function f() while true do end end function g() say(\"ran\") end",
        "modparam(\"app_lua\", \"max_instructions\", 10000)
         request_route { lua_run(\"f\"); } reply_route { lua_run(\"g\"); }",
    );
    case.run(INVITE);
    assert_eq!(case.run(OK), [""; 0]);
    assert_eq!((case.count("runs"), case.count("held")), (1, 1));
    case.wake();
    assert_eq!(case.run(OK), ["string:ran"]);
    assert_eq!(case.count("held"), 1);
}

#[test]
fn a_sender_that_costs_all_the_time_is_held_and_the_others_are_served() {
    let mut case = Case::new(
        "function f() while true do end end function g() say(\"ran\") end",
        "modparam(\"app_lua\", \"max_instructions\", 10000)
         modparam(\"corex\", \"hook_quarantine\", 86400)
         request_route { lua_run(\"f\"); } reply_route { lua_run(\"g\"); }",
    );
    let sender = "192.0.2.1:5060".parse().unwrap();
    case.host.sender = Some(sender);
    case.run(INVITE);
    assert_eq!(case.count("timeouts"), 1);
    let languages = Arc::clone(&case.config.program.languages);
    hold(&languages.quarantine, "lua", sender);
    assert_eq!(case.run(OK), [""; 0]);
    assert_eq!((case.count("quarantined"), case.count("held")), (1, 1));
    case.host.sender = "192.0.2.2:5060".parse().ok();
    assert_eq!(case.run(OK), ["string:ran"]);
    languages.quarantine.release();
    case.host.sender = Some(sender);
    assert_eq!(case.run(OK), ["string:ran"]);
}

#[test]
fn time_is_bounded_where_each_instruction_takes_long() {
    let mut case = Case::new(
        "function f() local t = {} for i = 1, 2e5 do t[i] = i end
           while true do table.insert(t, 1, 1) table.remove(t, 1) end end",
        "modparam(\"app_lua\", \"max_instructions\", 1000000000)
         modparam(\"app_lua\", \"max_time\", 20)
         request_route { lua_run(\"f\"); }",
    );
    case.run(INVITE);
    assert_eq!(case.count("timeouts"), 1);
}

#[test]
fn a_nested_call_shares_the_budget_of_the_outer_one() {
    let mut case = Case::new(
        "function f() KSR.route(\"G\") say(\"outer\") end function g() while true do end end",
        "modparam(\"app_lua\", \"max_instructions\", 100000)
         request_route { lua_run(\"f\"); } route[G] { lua_run(\"g\"); }",
    );
    assert_eq!(case.run(INVITE), [""; 0]);
    assert_eq!((case.count("runs"), case.count("timeouts")), (2, 2));
}

#[test]
fn a_script_that_catches_its_errors_goes_on() {
    assert_eq!(
        said_by(
            r##"
            say(pcall(error, "boom", 0))
            say(pcall(string.rep, "x", 2 ^ 30))
            say(select("#", pcall(error)))
            say(xpcall(function() error("boom", 0) end, function(e) return "got " .. e end))
            say(coroutine.resume(coroutine.create(function() error("boom", 0) end)))
            local ok, where = xpcall(function() error("boom") end, debug.traceback)
            say(ok, (where:gsub("\n.*", "")), where:find("stack traceback:", 1, true) ~= nil)
            say(pcall(("x").find, "x", "[a"))
            "##
        ),
        [
            "boolean:false string:boom",
            "boolean:false string:not enough memory",
            "number:2",
            "boolean:false string:got boom",
            "boolean:false string:boom",
            "boolean:false string:script.lua:18: boom boolean:true",
            "boolean:false string:malformed pattern (missing ']')",
        ]
    );
}
