//! sanity_check() against the real Kamailio: the same checks of the same requests, and the same replies.

use anyhow::{Result, ensure};

use super::{Came, both};

/// The check by number or numbers that add up, what is changed in a good request, and what for.
type Case = (u32, &'static str, &'static str);

/// All that Kamailio 5.6.3 has.
const ALL: u32 = 32_743;

const GOOD: &str = "REGISTER sip:x@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bK1\r\nMax-Forwards: 9\r\n\
    From: \"A\" <sip:x@y.example>;tag=f1\r\nTo: <sip:z@y>\r\nCall-ID: sane\r\nCSeq: 7 REGISTER\r\n\
    Contact: <sip:x@10.0.1.2>\r\nExpires: 60\r\nSubject: hello\r\n\
    Authorization: Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"0\"\r\n\
    Content-Length: 0\r\n\r\n";

const CASES: &[Case] = &[
    (ALL, "", ""),
    (1, "", ""),
    (2, "sip:x@example.com", "sip:x@example.com:70000"),
    (4, "", ""),
    (4, "Subject: hello\r\n", "Call-ID: other\r\n"),
    (32, "7 REGISTER", "7 INVITE"),
    (32, "7 REGISTER", "007 REGISTER"),
    (64, "7 REGISTER", "4294967295 REGISTER"),
    (64, "7 REGISTER", "99999999999 REGISTER"),
    (
        128,
        "Content-Length: 0\r\n\r\n",
        "Content-Length: 3\r\n\r\nabcd",
    ),
    (
        128,
        "Content-Length: 0\r\n\r\n",
        "Content-Length: 4\r\n\r\nabcd",
    ),
    (128, "Content-Length: 0\r\n", ""),
    (256, "Expires: 60", "Expires: soon"),
    (256, "Expires: 60", "Expires: 99999999999"),
    (256, "Expires: 60\r\n", ""),
    (512, "Subject: hello", "Proxy-Require: foo, bar"),
    (1024, "<sip:x@y.example>", "<sip:x@y.example:70000>"),
    (1024, "<sip:z@y>", "<sip:z@y:70000>"),
    (1024, "<sip:x@10.0.1.2>", "<sip:x@10.0.1.2:70000>"),
    (1024, "<sip:x@10.0.1.2>", "*"),
    (2048, "username=\"u\"", "username=\"\""),
    (2048, "nonce=\"n\"", "nonce=\"\""),
    (2048, "realm=\"r\", ", ""),
    (2048, "Digest username", "Basic username"),
    (8192, "Digest username", "Basic username"),
    (4096, "tag=f1", "tag=f1;tag=f2"),
    (4096, "<sip:z@y>", "<sip:z@y>;tag=1;tag=2"),
    (16_384, "", ""),
];

#[test]
fn what_fails_and_what_it_gets_is_what_kamailio_says() -> Result<()> {
    let routes = "request_route {\n\
        $var(checks) = $(hdr(X-Checks){s.int});\n\
        if (sanity_check(\"$var(checks)\", \"15\")) sl_send_reply(\"200\", \"Sane\");\n\
        exit;\n}\n";
    let inputs: Vec<String> = CASES
        .iter()
        .map(|(checks, from, to)| {
            let line = format!("Max-Forwards: 9\r\nX-Checks: {checks}");
            GOOD.replacen(from, to, 1)
                .replacen("Max-Forwards: 9", &line, 1)
        })
        .collect();
    let (theirs, ours) = both(routes, &inputs)?;
    let mut differing = Vec::new();
    for ((case, theirs), ours) in CASES.iter().zip(&theirs).zip(&ours) {
        if theirs != ours {
            differing.push(format!("{case:?}\nKamailio {theirs:?}\ncorex    {ours:?}"));
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n\n"));
    // Not all alike.
    let sane = |came: &&Came| matches!(came, Came::Replied(text) if text.contains("Sane"));
    let count = ours.iter().filter(sane).count();
    ensure!((8..16).contains(&count), "{count}: {ours:?}");
    Ok(())
}
