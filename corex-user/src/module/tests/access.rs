//! permissions, ratelimit, secfilter and pike: what their functions return, by Kamailio's numbers.

use super::*;

const FILES: [(&str, &str); 6] = [
    (
        "address.list",
        "1 192.0.2.0 24\n2 192.0.2.1 32 5062 office\n3 192.0.2.1 32 5063 other\n4 sip.example.com 0 5060 name\n",
    ),
    (
        "trusted.list",
        "192.0.2.1 udp ^sip:alice@ - first 2\n192.0.2.1 any - example second 1\n10.0.0.1 tcp ^sip:bob@\n",
    ),
    ("permissions.deny", "ALL : \"^sip:carol@\"\n"),
    (
        "office.allow",
        "\"^sip:alice@\" : \"^sip:bob@example.com$\"\n",
    ),
    ("office.deny", "ALL : ALL\n"),
    ("phones.deny", "ALL : \"@192.0.2.66$\"\n"),
];

/// What calls in request_route return, one after the other.
fn codes(before: &str, message: &[u8], calls: &[&str]) -> Vec<String> {
    let folder = Folder::new();
    for (name, text) in FILES {
        folder.write(name, text);
    }
    let statements: String = calls
        .iter()
        .map(|call| format!("{call}; send(\"r$rc\");\n"))
        .collect();
    let text = format!(
        "#!KAMAILIO\n{MODULES}loadmodule \"permissions.so\"\nloadmodule \"ratelimit.so\"\n\
         loadmodule \"secfilter.so\"\nloadmodule \"pike.so\"\n{before}\nrequest_route {{ {statements} }}"
    );
    let loaded = folder.load_config(&text);
    assert!(loaded.report.diagnostics().is_empty(), "{}", loaded.report);
    let mut runtime = Runtime::new(loaded.config.unwrap().program, 0);
    let mut host = TestHost::default();
    assert_ne!(run(&mut runtime, message, &mut host), RouteEnd::Failed);
    let code = |sent: Sent| {
        sent.to
            .split([':', ' '])
            .next()
            .unwrap_or_default()
            .replace('r', "")
    };
    host.sent.into_iter().map(code).collect()
}

fn each(before: &str, message: &[u8], cases: &[(&str, &str)]) {
    let calls: Vec<&str> = cases.iter().map(|(call, _)| *call).collect();
    let expected: Vec<&str> = cases.iter().map(|(_, code)| *code).collect();
    assert_eq!(codes(before, message, &calls), expected, "{calls:?}");
}

const ADDRESSES: &str = "modparam(\"permissions\", \"address_file\", \"address.list\")\n\
                         modparam(\"permissions\", \"trusted_file\", \"trusted.list\")\n\
                         modparam(\"permissions\", \"peer_tag_avp\", \"$avp(tag)\")\n";

#[test]
fn addresses_are_found_by_group_and_port() {
    each(
        ADDRESSES,
        INVITE,
        &[
            ("allow_source_address()", "1"),
            ("allow_source_address(\"1\")", "1"),
            ("allow_source_address(2)", "1"),
            ("if ($avp(tag) == \"office\") allow_source_address()", "1"),
            ("allow_source_address(\"3\")", "-1"),
            ("allow_source_address(-1)", "-1"),
            ("allow_source_address_group()", "2"),
            ("allow_address(\"1\", \"192.0.2.200\", \"5\")", "1"),
            ("allow_address(\"1\", \"192.0.3.200\", \"5\")", "-1"),
            ("allow_address(2, $si, $sp)", "1"),
            ("allow_address(4, \"sip.example.com\", 5060)", "1"),
            ("allow_address(4, \"sip.example.com\", 5061)", "-1"),
            ("allow_address_group(\"192.0.2.1\", 5063)", "3"),
            ("allow_address_group(\"192.0.2.1\", 99999)", "-1"),
            ("allow_address_group(\"sip.example.com\", 5060)", "4"),
        ],
    );
    each(
        "",
        INVITE,
        &[("allow_source_address()", "-1"), ("allow_trusted()", "-1")],
    );
}

#[test]
fn peers_are_trusted_by_address_transport_and_patterns() {
    let cases = [
        ("allow_trusted()", "1"),
        ("allow_trusted(\"192.0.2.1\", \"tcp\")", "1"),
        ("allow_trusted(\"10.0.0.1\", \"tcp\")", "-1"),
        ("allow_trusted(\"10.0.0.1\", \"tcp\", \"sip:bob@b\")", "1"),
        ("allow_trusted(\"10.0.0.1\", \"udp\", \"sip:bob@b\")", "-1"),
    ];
    each(ADDRESSES, INVITE, &cases);
    let all = format!("{ADDRESSES}modparam(\"permissions\", \"peer_tag_mode\", 1)\n");
    each(
        &all,
        INVITE,
        &[
            ("allow_trusted()", "2"),
            ("allow_trusted(\"192.0.2.1\", \"tcp\")", "1"),
        ],
    );
}

#[test]
fn rules_are_asked_of_pairs() {
    each(
        "",
        INVITE,
        &[
            ("allow_routing()", "1"),
            ("allow_routing(\"office\")", "1"),
            (
                "append_branch(\"sip:dave@example.com\"); allow_routing()",
                "1",
            ),
            (
                "append_branch(\"sip:carol@example.com\"); allow_routing()",
                "-1",
            ),
            ("allow_uri(\"office\", \"$ru\")", "-1"),
            ("allow_uri(\"office\", \"sip:bob@example.com\")", "1"),
            ("$ru = \"sip:carol@x\"; allow_routing()", "-1"),
            ("allow_routing(\"office.allow\", \"office.deny\")", "-1"),
            ("allow_uri(\"$fU\", \"$ru\")", "-1"),
        ],
    );
    let one = "modparam(\"permissions\", \"check_all_branches\", 0)\n";
    each(
        one,
        INVITE,
        &[(
            "append_branch(\"sip:carol@example.com\"); allow_routing()",
            "1",
        )],
    );
}

#[test]
fn registrations_are_asked_of_each_contact() {
    let register = |contacts: &str| {
        format!(
            "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{contacts}Content-Length: 0\r\n\r\n"
        )
    };
    for (contacts, code) in [
        ("", "1"),
        ("Contact: *\r\n", "1"),
        ("Contact: <sip:a@192.0.2.65:5066;transport=udp>\r\n", "1"),
        ("Contact: <sip:a@192.0.2.66:5066>\r\n", "-1"),
        (
            "Contact: <sip:a@192.0.2.65>, \"x, y\" <sip:a@192.0.2.66>;q=1\r\n",
            "-1",
        ),
        (
            "Contact: <sip:a@192.0.2.65>\r\nm: sip:a@192.0.2.66\r\n",
            "-1",
        ),
        ("Contact: <>\r\n", "-1"),
    ] {
        let message = register(contacts);
        each(
            "",
            message.as_bytes(),
            &[("allow_register(\"phones\")", code)],
        );
    }
}

#[test]
fn pipes_let_so_many_through() {
    let before = "modparam(\"ratelimit\", \"timer_interval\", 1)\n\
                  modparam(\"ratelimit\", \"pipe\", \"0:TAILDROP:2\")\n\
                  modparam(\"ratelimit\", \"pipe\", \"1:TAILDROP:0\")\n\
                  modparam(\"ratelimit\", \"queue\", \"0:INVITE\")\n\
                  modparam(\"ratelimit\", \"queue\", \"1:*\")\n";
    let cases = [
        ("rl_check()", "1"),
        ("rl_check(\"0\")", "1"),
        ("rl_check()", "-1"),
        ("rl_check_pipe(1)", "-1"),
        ("rl_check(7)", "-1"),
    ];
    each(before, INVITE, &cases);
    let bye = String::from_utf8_lossy(INVITE).replace("INVITE", "BYE");
    each(before, bye.as_bytes(), &[("rl_check()", "-1")]);
}

#[test]
fn lists_have_kamailios_codes() {
    let before = "modparam(\"secfilter\", \"blacklist\", \"ua:test\")\n\
                  modparam(\"secfilter\", \"whitelist\", \"ip:192.0.2.\")\n\
                  modparam(\"secfilter\", \"blacklist\", \"user:ali\")\n\
                  modparam(\"secfilter\", \"whitelist\", \"domain:example.com\")\n\
                  modparam(\"secfilter\", \"blacklist\", \"country:XY\")\n\
                  modparam(\"secfilter\", \"destination\", \"00882\")\n";
    let cases = [
        ("secf_check_ip()", "2"),
        ("secf_check_ua()", "-2"),
        ("secf_check_country(\"xyz\")", "-2"),
        ("secf_check_country(\"de\")", "1"),
        ("secf_check_from_hdr()", "-4"),
        ("secf_check_to_hdr()", "3"),
        ("secf_check_contact_hdr()", "1"),
        ("secf_check_dst(\"00882\")", "-2"),
        ("secf_check_dst($rU)", "1"),
        ("secf_check_sqli_hdr(\"a' or 1\")", "-1"),
        ("secf_check_sqli_hdr($fU)", "1"),
        ("secf_check_sqli_all()", "1"),
    ];
    each(before, INVITE, &cases);
    let injected = String::from_utf8_lossy(INVITE).replace("test/1", "x--y");
    let ended = codes("", injected.as_bytes(), &["secf_check_sqli_all()"]);
    assert!(ended.is_empty(), "0 ends the script: {ended:?}");
}

#[test]
fn pike_counts_by_address() {
    let before = "modparam(\"pike\", \"sampling_time_unit\", 3600)\n\
                  modparam(\"pike\", \"reqs_density_per_unit\", 4)\n";
    let calls: Vec<&str> = std::iter::repeat_n("pike_check_req()", 12).collect();
    let all = codes(before, INVITE, &calls);
    let first = all.iter().position(|code| code == "-2").unwrap();
    assert!(all[..first].iter().all(|code| code == "1"), "{all:?}");
    assert!(all[first + 1..].iter().all(|code| code == "-1"), "{all:?}");
    let cases = [
        ("pike_check_ip(\"192.0.2.9\")", "1"),
        ("pike_check_ip(\"[2001:db8::1]\")", "1"),
        ("pike_check_ip(\"x\")", "-1"),
    ];
    each(before, INVITE, &cases);
}
