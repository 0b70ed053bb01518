//! What expressions and statements come to.

use anyhow::{Result, ensure};

use super::{Came, both, case, request};

/// Expressions that both must compute to the same value. `$var(n)` is 7, `$var(s)` "abc",
/// `$avp(i)` 5, `$avp(t)` "12".
const EXPRESSIONS: &[&str] = &[
    "1 + 2 * 3",
    "(1 + 2) * 3",
    "7 / 2",
    "-7 / 2",
    "7 mod 4",
    "10 - 3 - 2",
    "1 << 5",
    "256 >> 3",
    "6 & 3",
    "6 | 3",
    "6 ^ 3",
    "~5",
    "-$var(n)",
    "$var(n) + $avp(i)",
    "$var(s) + $var(n)",
    "$var(n) + $avp(t)",
    "$avp(t) + 1",
    "$avp(i) + \"1\"",
    "\"x\" + \"y\"",
    "(int)\"42\" + 1",
    "(str)42 + 1",
    "$var(n) == 7",
    "$var(n) == \"7\"",
    "$avp(t) == 12",
    "$avp(t) == \"12\"",
    "$var(s) == \"abc\"",
    "$var(s) == \"ABC\"",
    "$var(s) != \"abd\"",
    "$var(s) =~ \"^A\"",
    "$var(s) =~ \"b.$\"",
    "!($var(s) =~ \"x\")",
    "$var(n) > 6",
    "$var(n) >= 7",
    "$var(n) < 7",
    "$var(n) <= 6",
    "1 && 0",
    "1 || 0",
    "0 || 0",
    "!0",
    "!5",
    "$avp(none) == $null",
    "$avp(i) == $null",
    "$var(none) == 0",
    "defined $avp(i)",
    "defined $avp(none)",
    "strlen($var(s))",
    "strempty(\"\")",
    "strempty($var(s))",
    "$var(n) == 7 && $var(s) == \"abc\" || 0",
    "1 + 2 == 3",
    "2 * 3 > 5 && 1",
    "$(var(s){s.len}) + 1",
    "$(var(s){s.toupper}) + $(var(s){s.substr,1,1})",
    "$ml + 0 > 100",
    "$cs + 1",
    "$cl / 2",
    "$rp + 1",
    "$Rp + 1",
    "$sp + 1",
    "$op + 1",
    "$dp + 1",
    "$bs + 1",
    "$cl + 1",
    "$ml + 1",
    "$mt + 1",
    "$rU + 1",
    "-1 && 1",
    "-1 || 0",
    "!(-5)",
    "-1",
    "$var(n) - 9",
    "$avp(i) - 5",
    "$var(s) + \"1\"",
    "is_method(\"OPTIONS\")",
    "is_method(\"INVITE\")",
    "!is_method(\"INVITE\")",
    "is_method(\"INVITE\") || $var(n) == 7",
    "is_method(\"OPTIONS\") && has_body(\"a/b\")",
    "(is_method(\"INVITE\") || 0) == 0",
];

#[test]
fn expressions_have_the_values_that_kamailio_gives_them() -> Result<()> {
    let mut routes = String::from(
        "request_route {\n$var(n) = 7; $var(s) = \"abc\"; $avp(i) = 5; $avp(t) = \"12\";\n",
    );
    for (number, expression) in EXPRESSIONS.iter().enumerate() {
        routes.push_str(&format!(
            "$var(r) = {expression}; append_hf(\"X-{number}: $var(r)\\r\\n\");\n"
        ));
        routes.push_str(&format!(
            "if ({expression}) append_hf(\"Y-{number}: true\\r\\n\"); \
             else append_hf(\"Y-{number}: false\\r\\n\");\n"
        ));
    }
    routes.push_str("$du = \"sip:10.0.2.2\"; forward(); exit;\n}\n");
    let (theirs, ours) = both(&routes, &[request(0, &case(""))])?;
    let ([Came::Forwarded(theirs)], [Came::Forwarded(ours)]) = (&*theirs, &*ours) else {
        anyhow::bail!("{theirs:?}\n{ours:?}");
    };
    let value = |text: &str, name: String| {
        let line = text.lines().find(|line| line.starts_with(&name));
        line.unwrap_or_default().to_owned()
    };
    let mut differing = Vec::new();
    for (number, expression) in EXPRESSIONS.iter().enumerate() {
        for kind in ["X", "Y"] {
            let name = format!("{kind}-{number}: ");
            let (theirs, ours) = (value(theirs, name.clone()), value(ours, name));
            ensure!(!ours.is_empty(), "{expression}");
            if theirs != ours {
                differing.push(format!("{expression}: Kamailio {theirs}, corex {ours}"));
            }
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n"));
    Ok(())
}

#[test]
fn flow_of_control_and_return_codes_are_kamailios() -> Result<()> {
    let routes = r#"
request_route {
    $du = "sip:10.0.2.2";
    route(A);
    append_hf("X-rc: $rc\r\n");
    if (route(B)) append_hf("X-B: true\r\n"); else append_hf("X-B: false\r\n");
    if (route(C)) append_hf("X-C: true\r\n"); else append_hf("X-C: false\r\n");
    $var(i) = 0;
    while ($var(i) < 5) {
        $var(i) = $var(i) + 1;
        if ($var(i) == 4) break;
        append_hf("X-i: $var(i)\r\n");
    }
    switch ($var(i)) {
        case 1:
            append_hf("X-s: 1\r\n");
        case 4:
            append_hf("X-s: 4\r\n");
        case 5:
            append_hf("X-s: 5\r\n");
            break;
        default:
            append_hf("X-s: d\r\n");
    }
    switch ($rm) {
        case /"^OPT":
            append_hf("X-m: options\r\n");
            break;
        default:
            append_hf("X-m: other\r\n");
    }
    if (method == "OPTIONS") append_hf("X-1: method\r\n");
    if (uri =~ "^sip:t0@") append_hf("X-2: uri\r\n");
    if (src_ip == 10.0.1.2) append_hf("X-3: src_ip\r\n");
    if (src_ip == 10.0.1.0/24) append_hf("X-4: network\r\n");
    if (dst_port == 5060) append_hf("X-5: dst_port\r\n");
    if (msg:len > 100) append_hf("X-6: len\r\n");
    if (proto == UDP) append_hf("X-7: proto\r\n");
    if (from_uri =~ "y.example") append_hf("X-8: from\r\n");
    $avp(l) = "1"; $avp(l) = "2"; $avp(l) = "3";
    append_hf("X-9: $avp(l) $(avp(l)[1]) $(avp(l)[2]) $(avp(l)[3])\r\n");
    $avp(l) = $null;
    append_hf("X-10: $avp(l)\r\n");
    $(avp(l)[*]) = "only";
    append_hf("X-11: $avp(l) $(avp(l)[1])\r\n");
    route(E);
    append_hf("X-12: not here\r\n");
}
route[A] { return 5; }
route[B] { return -1; }
route[C] { if (1) { return; } append_hf("X-c: no\r\n"); }
route[E] { forward(); exit; }
"#;
    let (theirs, ours) = both(&routes.replace("\\\\", "\\"), &[request(0, &case(""))])?;
    ensure!(matches!(ours.as_slice(), [Came::Forwarded(_)]), "{ours:?}");
    ensure!(theirs == ours, "Kamailio {theirs:?}\ncorex    {ours:?}");
    Ok(())
}
