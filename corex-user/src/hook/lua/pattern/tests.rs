//! Lua's patterns against LuaJIT's own functions.

use std::time::Duration;

use mlua::{Function, StdLib};
use proptest::prelude::*;

use super::*;

/// A state whose `string` is LuaJIT's, and `ours` what scripts get.
fn both() -> Lua {
    let lua = Lua::new_with(StdLib::STRING | StdLib::TABLE, mlua::LuaOptions::default()).unwrap();
    let budget = Arc::new(Budget::new());
    let ours = lua.create_table().unwrap();
    register(&lua, &ours, &budget).unwrap();
    lua.globals().set("ours", ours).unwrap();
    lua
}

const COMPARE: &str = r##"
    local name, subject, pattern, init = ...
    local function text(ok, ...)
        if not ok then return "error" end
        local out = { select("#", ...) }
        for at = 1, select("#", ...) do
            local value = select(at, ...)
            out[#out + 1] = type(value) .. ":" .. tostring(value)
        end
        return table.concat(out, "|")
    end
    return text(pcall(string[name], subject, pattern, init)),
        text(pcall(ours[name], subject, pattern, init))
"##;

fn same(compare: &Function, name: &str, subject: &[u8], pattern: &[u8], init: i64) {
    let bytes = |bytes: &[u8]| mlua::BString::from(bytes);
    let (theirs, ours): (mlua::BString, mlua::BString) = compare
        .call((name, bytes(subject), bytes(pattern), init))
        .unwrap();
    assert_eq!(
        ours,
        theirs,
        "{name} of {:?} in {:?} from {init}",
        bytes(pattern),
        bytes(subject)
    );
}

#[test]
fn patterns_match_what_they_match_in_luajit() {
    let lua = both();
    let compare = lua.load(COMPARE).into_function().unwrap();
    let subjects: [&[u8]; 8] = [
        b"",
        b"hello world from Lua",
        b"key = value; other=1",
        b"INVITE sip:bob@example.com SIP/2.0\r\nVia: x\r\n\r\nbody",
        b"(a(b)c)(d",
        b"aaaaaaaab",
        b"a\0b\0\xffc",
        b"THE (quick) fox 0x1F -12.5",
    ];
    let patterns: [&[u8]; 44] = [
        b"",
        b"l",
        b"l+",
        b"l-",
        b"l*o",
        b"(l)(l)",
        b"()ll()",
        b"^hello",
        b"^(%w+)",
        b"world$",
        b"%s*$",
        b"(%w+)%s*=%s*(%w+)",
        b"[^\r\n]*\r\n",
        b"^.-\r\n\r\n(.*)$",
        b"%b()",
        b"%b(",
        b"%f[%w]%w+",
        b"%f[%z]",
        b"(a*(.)%w(%s*))",
        b"(.)%1",
        b"%1",
        b"[]]",
        b"[^]]",
        b"[a-",
        b"[a",
        b"%",
        b"(",
        b")",
        b"(()",
        b"[%a_][%w_]*",
        b"[+-]?%d+",
        b"%x+",
        b"[a-z-]+",
        b"[%-%d]",
        b"%z",
        b"[%z\xff]",
        b"%g+",
        b"$",
        b"a?a?a?aaab",
        b"$a",
        b"a$b",
        b"^",
        b".-b",
        b"[^%s]+",
    ];
    for subject in subjects {
        for pattern in patterns {
            for init in [1, 2, -1, -3, 0, 100] {
                same(&compare, "find", subject, pattern, init);
                same(&compare, "match", subject, pattern, init);
            }
        }
    }
}

/// A state whose `string` always takes our matching in gmatch() and gsub(); `raw` is LuaJIT's.
fn sandboxed() -> (Lua, Function) {
    let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH | StdLib::BIT | StdLib::OS;
    let lua = Lua::new_with(libraries, mlua::LuaOptions::default()).unwrap();
    let rust = lua.create_table().unwrap();
    register(&lua, &rust, &Arc::new(Budget::new())).unwrap();
    let never = lua.create_function(|_, _: Value| Ok(-1)).unwrap();
    rust.set("longest", never).unwrap();
    lua.load("raw = { gsub = string.gsub, gmatch = string.gmatch }")
        .exec()
        .unwrap();
    lua.load("local rust = ... rust.ending = function() return false end rust.reason = tostring")
        .call::<()>(&rust)
        .unwrap();
    lua.load(include_str!("../sandbox.lua"))
        .call::<()>(rust)
        .unwrap();
    let compare = lua.load(REPLACE).into_function().unwrap();
    (lua, compare)
}

const REPLACE: &str = r##"
    local subject, pattern, most = ...
    local function all(gmatch)
        local out = {}
        for a, b in gmatch(subject, pattern) do
            out[#out + 1] = tostring(a) .. "," .. tostring(b)
        end
        return table.concat(out, "|")
    end
    local function both(f, g, ...)
        local ok, text, n = pcall(f, ...)
        local our_ok, our_text, m = pcall(g, ...)
        -- LuaJIT doesn't mind where nobody asks for the capture.
        if not our_ok and our_text:find("unfinished capture", 1, true) then
            return
        end
        if ok ~= our_ok or (ok and (text ~= our_text or n ~= m)) then
            return tostring(text) .. " " .. tostring(n) .. " not " .. tostring(our_text) .. " " .. tostring(m)
        end
    end
    local function length(s) return #tostring(s) end
    return both(all, function() return all(string.gmatch) end, raw.gmatch)
        or both(raw.gsub, string.gsub, subject, pattern, "<%0>", most)
        or both(raw.gsub, string.gsub, subject, pattern, "%1%%%x", most)
        or both(raw.gsub, string.gsub, subject, pattern, length, most)
        or both(raw.gsub, string.gsub, subject, pattern, { a = "T", ab = false, [1] = "n" }, most)
        or "same"
"##;

fn piece() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        "[ab.$^]",
        "%[awdsWz.%]",
        Just("[ab]".to_owned()),
        Just("[^a]".to_owned()),
        Just("[a-b%d]".to_owned()),
    ];
    prop_oneof![
        6 => (item, "[*+?-]?").prop_map(|(item, times)| item + &times),
        1 => Just("(".to_owned()),
        1 => Just(")".to_owned()),
        1 => Just("()".to_owned()),
        1 => "%[1-2]",
        1 => Just("%bab".to_owned()),
        1 => Just("%f[a]".to_owned()),
        1 => "[\\[\\]%-]",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_pattern_matches_what_it_matches_in_luajit(
        pieces in prop::collection::vec(piece(), 0..7),
        subject in "[ab1 ]{0,12}",
        init in -3_i64..6,
    ) {
        let lua = both();
        let compare = lua.load(COMPARE).into_function().unwrap();
        let pattern = pieces.concat();
        same(&compare, "find", subject.as_bytes(), pattern.as_bytes(), init);
        same(&compare, "match", subject.as_bytes(), pattern.as_bytes(), init);
    }

    #[test]
    fn any_pattern_is_replaced_and_iterated_as_in_luajit(
        pieces in prop::collection::vec(piece(), 0..6),
        anchor in "\\^?",
        subject in "[ab1 ]{0,12}",
        most in prop::option::of(0_i64..4),
    ) {
        let (_lua, compare) = sandboxed();
        let pattern = anchor + &pieces.concat();
        let verdict: String = compare.call((subject, pattern, most)).unwrap();
        prop_assert_eq!(verdict, "same");
    }

    #[test]
    fn no_pattern_takes_more_steps_than_it_may(
        pieces in prop::collection::vec(piece(), 0..12),
        subject in "[ab]{0,200}",
    ) {
        let pattern = pieces.concat();
        let mut matcher = Matcher::new(subject.as_bytes(), pattern.as_bytes(), 5_000);
        let found = matcher.search(0, false);
        prop_assert!(found.is_err() || matcher.steps() <= 5_000);
        prop_assert!(matcher.steps() < 6_000);
    }
}

#[test]
fn what_would_backtrack_for_ages_ends_with_its_budget() {
    let budget = Budget::new();
    budget.begin(std::time::Instant::now(), 100_000, Duration::from_secs(60));
    let subject = vec![b'a'; 60_000];
    let found = search(&subject, b"a-a-a-a-b", 0, false, &budget);
    assert_eq!(found, Err(PatternError::Spent(Spent)));
    assert_eq!(budget.ending(), super::super::budget::Ending::Spent);
}

#[test]
fn luajit_searches_itself_only_where_that_is_quick() {
    assert!(longest(b".") > 65_535);
    assert!(longest(b"%d%d") > 65_535);
    assert!((500..2_000).contains(&longest(b"%s+")));
    assert!(longest(b"^[^\r\n]*\r\n.-\r\n\r\n(.*)$") < 100);
    assert!(longest(b"a-a-a-a-b") < 40);
    assert!(longest(&b"a?".repeat(30)) == 0);
    assert!(longest(b"%b()%b()") < 100);
}
