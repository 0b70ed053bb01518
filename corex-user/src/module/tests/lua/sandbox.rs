//! What of the standard library scripts find, and that it does what Lua's does.

use super::*;

#[test]
fn what_leaves_the_process_or_waits_is_not_there() {
    for name in [
        "jit",
        "ffi",
        "newproxy",
        "os.execute",
        "os.exit",
        "os.remove",
        "os.rename",
        "os.setlocale",
        "os.tmpname",
        "io.open",
        "io.popen",
        "io.read",
        "io.lines",
        "io.stdin",
        "string.dump",
        "debug.getregistry",
        "debug.getupvalue",
        "debug.sethook",
        "package.loadlib",
        "package.loaders",
        "package.loaded.os",
    ] {
        assert_eq!(value_of(name), "nil:nil", "{name}");
    }
}

#[test]
fn what_computes_is_there() {
    for (expression, value) in [
        ("_VERSION", "string:Lua 5.1"),
        ("bit.bxor(5, 3)", "number:6"),
        ("math.max(1, 7)", "number:7"),
        ("type(os.time())", "string:number"),
        ("os.date('!%Y', 0)", "string:1970"),
        ("type(os.clock())", "string:number"),
        ("os.difftime(5, 2)", "number:3"),
        ("type(collectgarbage('count'))", "string:number"),
        ("collectgarbage()", "number:0"),
        ("table.concat({ 1, 2, 3 }, '-')", "string:1-2-3"),
        ("select('#', unpack({ 1, 2, 3 }))", "number:3"),
        ("('%5.1f|%q'):format(2.25, 'a')", "string:  2.2|\"a\""),
        ("loadstring('return ...')(5)", "number:5"),
        ("load('return x', 'n', 't', { x = 7 })()", "number:7"),
        (
            "load((function() local n = 0 return function() n = n + 1 return ({ 'return ', '8' })[n] end end)())()",
            "number:8",
        ),
        (
            "coroutine.wrap(function(a) local b = coroutine.yield(a) return b end)(3)",
            "number:3",
        ),
        ("type(debug.traceback('x'))", "string:string"),
        ("require('string') == string", "boolean:true"),
    ] {
        assert_eq!(value_of(expression), value, "{expression}");
    }
}

#[test]
fn bytecode_is_not_loaded() {
    for expression in [
        r"(load('\27LJ\2'))",
        r"(loadstring('\27LJ\2'))",
        r"(load(function() local c = code code = nil return c end, 'x', 'b'))",
    ] {
        let mut case = Case::new(
            &format!("code = '\\27LJ\\2' function f() say({expression}) end"),
            "request_route { lua_run(\"f\"); }",
        );
        assert_eq!(case.run(INVITE), ["nil:nil"], "{expression}");
    }
}

#[test]
fn tables_are_sorted_in_any_order() {
    assert_eq!(
        said_by(
            "local t = { 3, 1, 2 } table.sort(t) say(unpack(t))
             table.sort(t, function(a, b) return a > b end) say(unpack(t))
             say(pcall(table.sort, { 1, 'x' }))"
        )[..2],
        ["number:1 number:2 number:3", "number:3 number:2 number:1"]
    );
}

#[test]
fn scripts_run_others_from_their_own_folder_only() {
    let folder = Folder::new();
    folder.write(
        "script.lua",
        &format!(
            r##"{SAY}
            m = require("lib.m")
            function f()
                say(m.n, require("lib.m") == m, package.loaded["lib.m"] == m)
                say(dofile("lib/one.lua"))
                for _, name in ipairs({{ "../x", "/etc/x", "", ".", "a..b", "lib/m", "os" }}) do
                    say(name, (pcall(require, name)))
                end
                say((pcall(dofile, "../script.lua")))
                say((loadfile("/etc/passwd")))
                say(pcall(require, "broken"))
            end
            "##
        ),
    );
    folder.write("lib/m.lua", "return { n = 5, name = ... }");
    folder.write("lib/one.lua", "return 1");
    folder.write("broken.lua", "x = = 1");
    let mut case = Case::in_folder(folder, "request_route { lua_run(\"f\"); }");
    let said = case.run(INVITE);
    assert_eq!(
        said[..2],
        ["number:5 boolean:true boolean:true", "number:1"]
    );
    for refused in &said[2..10] {
        assert!(refused.ends_with("boolean:false"), "{refused}");
    }
    assert_eq!(said[10], "nil:nil");
    assert!(said[11].contains("broken.lua:1:"), "{}", said[11]);
}

#[test]
fn printing_is_no_output_of_the_daemon() {
    assert_eq!(
        said_by("print('a', nil, 5) io.write('x', 1):write('y') io.stderr:write('z') say('on')"),
        ["string:on"]
    );
}

#[test]
fn replacing_and_iterating_do_what_luajit_does() {
    // Long subjects are matched by our own code: `.-` and `a*` here.
    let case = r##"
        local long = ("key=value; "):rep(300)
        local n, keys = 0, 0
        for key, value in long:gmatch("(%w+)=(%w+)") do n = n + 1 end
        for key in long:gmatch("%w+%f[=]") do keys = keys + 1 end
        say(n, keys)
        say(select(2, long:gsub("(%w+)=(%w+)", "%2=%1")), (long:gsub("(%w+)=(%w+)", "%2=%1")):sub(1, 11))
        say((long:gsub("(%w+)=%w+", { key = "<k>" })):sub(1, 5))
        say((long:gsub("%w+=(%w+)", string.upper)):sub(1, 7))
        say((long:gsub("%s*;%s*.-", function() end)) == long)
        say(select(2, long:gsub("%s*;%s*.-", "%%", 3)))
        say((long:gsub("^%w+=(%w+)", "%0+%1", 5)):sub(1, 15))
        say(pcall(string.gsub, long, "(%w+)=%w+", "%2"))
        say(pcall(string.gsub, long, "(%w+)=%w+", function() return {} end))
        say(pcall(string.gsub, long, "(%w+)=%w+", true))
        local a = ("a"):rep(3000)
        say(#a:gsub("a*", "x"), select(2, a:gsub("a*", "x")))
        say(#a:gsub("b*", "-"), select(2, a:gsub("b*", "-")))
        local count = 0
        for _ in a:gmatch("b*") do count = count + 1 end
        say(count)
        for at in ("abc"):gmatch("()") do count = at end
        say(count)
    "##;
    assert_eq!(
        said_by(case),
        [
            "number:300 number:300",
            "number:300 string:value=key; ",
            "string:<k>; ",
            "string:VALUE; ",
            "boolean:true",
            "number:3",
            "string:key=value+value",
            "boolean:false string:invalid capture index",
            "boolean:false string:invalid replacement value (a table)",
            "boolean:false string:bad argument #3 to 'gsub' (string/function/table expected)",
            // What LuaJIT says of 30 times "a", with the lengths that follow from it.
            "number:2 number:2",
            "number:6001 number:3001",
            "number:3001",
            "number:4",
        ]
    );
}
