//! KSR and sr. What functions return is what they returned in Kamailio 5.6.3 for the same calls,
//! unless a test says otherwise.

use super::*;

/// Each line is an expression and what it is.
fn all(prepare: &str, cases: &[(&str, &str)]) {
    let says: Vec<String> = cases
        .iter()
        .map(|(expression, _)| format!("say({expression})"))
        .collect();
    let said = said_by(&format!("{prepare}\n{}", says.join("\n")));
    // Replies go the same way.
    let said: Vec<&String> = said.iter().filter(|s| !s.starts_with("SIP/2.0")).collect();
    for ((expression, value), said) in cases.iter().zip(&said) {
        assert_eq!(said, value, "{expression}");
    }
    assert_eq!(said.len(), cases.len());
}

#[test]
fn pseudo_variables_have_the_types_of_kamailio() {
    all(
        "KSR.pv.seti('$var(int)', 5) KSR.pv.sets('$var(str)', 'abc')",
        &[
            ("KSR.pv.get('$var(int)')", "number:5"),
            ("KSR.pv.get('$var(str)')", "string:abc"),
            ("KSR.pv.get('$null')", "nil:nil"),
            ("KSR.pv.get('$avp(nope)')", "nil:nil"),
            ("KSR.pv.get('$rU')", "string:bob"),
            ("KSR.pv.get('$ml')", "number:260"),
            ("KSR.pv.get('$(var(str){s.len})')", "number:3"),
            ("KSR.pv.get('$hdr(User-Agent)')", "string:test/1"),
            // What can't be is logged and nil.
            ("KSR.pv.get('$nosuch')", "nil:nil"),
            ("KSR.pv.get('var(x)')", "nil:nil"),
            ("KSR.pv.get(5)", "nil:nil"),
            ("KSR.pv.gete('$avp(nope)')", "string:"),
            ("KSR.pv.gete('$var(int)')", "number:5"),
            ("KSR.pv.gete('$nosuch')", "string:"),
            ("KSR.pv.getw('$avp(nope)')", "string:<null>"),
            ("KSR.pv.getw('$var(int)')", "number:5"),
            ("KSR.pv.getvn('$avp(nope)', 42)", "number:42"),
            ("KSR.pv.getvn('$var(int)', 42)", "number:5"),
            ("KSR.pv.getvn('$var(str)', 42)", "string:abc"),
            ("KSR.pv.getvs('$avp(nope)', 'dft')", "string:dft"),
            ("KSR.pv.getvs('$var(int)', 'dft')", "number:5"),
            ("KSR.pv.geti('$var(int)')", "number:5"),
            ("KSR.pv.geti('$var(str)')", "number:0"),
            ("KSR.pv.geti('$null')", "number:0"),
            ("KSR.pv.is_null('$avp(nope)')", "boolean:true"),
            ("KSR.pv.is_null('$var(int)')", "boolean:false"),
            ("KSR.pv.is_null('$nosuch')", "boolean:true"),
        ],
    );
}

#[test]
fn pseudo_variables_are_written_as_in_kamailio() {
    let get = "KSR.pv.get('$var(a)')";
    all(
        "",
        &[
            ("KSR.pv.sets('$var(a)', 'v')", "boolean:true"),
            (get, "string:v"),
            ("KSR.pv.seti('$var(a)', 12.7)", "boolean:true"),
            (get, "number:12"),
            ("KSR.pv.seti('$var(a)', '13')", "boolean:true"),
            (get, "number:13"),
            ("KSR.pv.seti('$var(a)', 'zz')", "boolean:true"),
            (get, "number:0"),
            ("KSR.pv.sets('$var(a)', 14)", "boolean:true"),
            (get, "string:14"),
            ("KSR.pv.sets('$var(a)', nil)", "boolean:true"),
            (get, "string:"),
            ("KSR.pv.sets('$nosuch', 'x')", "boolean:false"),
            ("KSR.pv.sets('$var(a)')", "boolean:false"),
            // Kamailio's integers have 32 bits, ours 64.
            ("KSR.pv.seti('$var(a)', 5000000000)", "boolean:true"),
            (get, "number:5000000000"),
            ("KSR.pv.seti('$var(a)', 0 / 0)", "boolean:true"),
            (get, "number:0"),
            ("KSR.pv.sets('$avp(q)', '1')", "boolean:true"),
            ("KSR.pv.sets('$avp(q)', '2')", "boolean:true"),
            ("KSR.pv.get('$avp(q)')", "string:2"),
            ("KSR.pv.get('$(avp(q)[1])')", "string:1"),
            ("KSR.pv.unset('$avp(q)')", "boolean:true"),
            ("KSR.pv.get('$avp(q)')", "string:1"),
            ("KSR.pv.unset('$avp(q)')", "boolean:true"),
            ("KSR.pv.unset('$avp(q)')", "boolean:true"),
            ("KSR.pv.is_null('$avp(q)')", "boolean:true"),
            ("KSR.pv.unset('$var(a)')", "boolean:true"),
            (get, "number:0"),
            ("KSR.pv.sets('$var(a)', 'a\\0b')", "boolean:true"),
            ("#KSR.pv.get('$var(a)')", "number:3"),
            ("KSR.pv.sets('$sht(t=>k)', 'vv')", "boolean:true"),
            ("KSR.pv.get('$sht(t=>k)')", "string:vv"),
        ],
    );
}

#[test]
fn functions_of_the_core_are_booleans() {
    all(
        "",
        &[
            ("KSR.setflag(3)", "boolean:true"),
            ("KSR.isflagset(3)", "boolean:true"),
            ("KSR.isflagset('3')", "boolean:true"),
            ("KSR.isflagset(4)", "boolean:false"),
            ("KSR.resetflag(3)", "boolean:true"),
            ("KSR.isflagset(3)", "boolean:false"),
            ("KSR.is_myself('sip:example.com:5070')", "boolean:true"),
            ("KSR.is_myself('sip:192.0.2.77')", "boolean:false"),
            ("KSR.is_myself_ruri()", "boolean:true"),
            ("KSR.is_myself_nhuri()", "boolean:true"),
            ("KSR.is_myself_duri()", "boolean:false"),
            ("KSR.is_myself_furi()", "boolean:false"),
            ("KSR.is_myself_srcip()", "boolean:false"),
            ("KSR.is_myself_suri()", "boolean:false"),
            ("KSR.is_method('INVITE')", "boolean:true"),
            ("KSR.is_method('OPTIONS|INVITE')", "boolean:true"),
            ("KSR.is_method('OPTIONS')", "boolean:false"),
            ("KSR.is_method()", "boolean:false"),
            ("KSR.is_method_in('IO')", "boolean:true"),
            ("KSR.is_method_in('OAZ')", "boolean:false"),
            ("KSR.is_INVITE()", "boolean:true"),
            ("KSR.is_ACK()", "boolean:false"),
            ("KSR.is_UDP()", "boolean:true"),
            ("KSR.is_TCP()", "boolean:false"),
            ("KSR.is_WSX()", "boolean:false"),
            ("KSR.is_proto('udp')", "boolean:true"),
            ("KSR.is_proto('UT')", "boolean:true"),
            ("KSR.is_proto('T')", "boolean:false"),
            ("KSR.is_IPv4()", "boolean:true"),
            ("KSR.is_IPv6()", "boolean:false"),
            ("KSR.is_src_port(5062)", "boolean:true"),
            ("KSR.is_dst_port(5060)", "boolean:true"),
            ("KSR.is_dst_port(5061)", "boolean:false"),
            ("KSR.seturi('sip:z@127.0.0.1:9')", "boolean:true"),
            ("KSR.pv.get('$ru')", "string:sip:z@127.0.0.1:9"),
            ("KSR.setdsturi('sip:127.0.0.1:9')", "boolean:true"),
            ("KSR.isdsturiset()", "boolean:true"),
            ("KSR.resetdsturi()", "boolean:true"),
            ("KSR.isdsturiset()", "boolean:false"),
            ("KSR.force_rport()", "boolean:true"),
            ("KSR.nosuch", "nil:nil"),
        ],
    );
}

#[test]
fn functions_of_modules_are_return_codes() {
    all(
        "",
        &[
            ("KSR.hdr.append('X-A: b\\r\\n')", "number:1"),
            ("KSR.hdr.insert('X-B: b\\r\\n')", "number:1"),
            ("KSR.hdr.append_after('X-C: b\\r\\n', 'Via')", "number:1"),
            ("KSR.hdr.remove('User-Agent')", "number:1"),
            ("KSR.hdr.remove('X-None')", "number:1"),
            ("KSR.hdr.rmappend('X-None', 'X-D: b\\r\\n')", "number:1"),
            ("KSR.hdr.is_present('Call-ID')", "number:1"),
            ("KSR.hdr.is_present('X-No')", "number:-1"),
            ("KSR.hdr.get('Call-ID')", "string:abc@192.0.2.1"),
            ("KSR.hdr.get('X-No')", "nil:nil"),
            ("KSR.hdr.gete('X-No')", "string:"),
            ("KSR.hdr.getw('X-No')", "string:<null>"),
            ("KSR.hdr.get_idx('CSeq', 0)", "string:7 INVITE"),
            ("KSR.textops.is_present_hf('X-No')", "number:-1"),
            ("KSR.textops.has_body_type('application/sdp')", "number:-1"),
            ("KSR.maxfwd.process_maxfwd(10)", "number:1"),
            ("KSR.siputils.has_totag()", "number:-1"),
            ("KSR.siputils.is_numeric('12')", "number:1"),
            ("KSR.corex.append_branch()", "number:1"),
            ("KSR.corex.append_branch_uri('sip:a@192.0.2.3')", "number:1"),
            (
                "KSR.corex.append_branch_uri_q('sip:a@192.0.2.3', '0.5')",
                "number:1",
            ),
            (
                "KSR.corex.append_branch_uri_q('sip:a@192.0.2.3', 'zz')",
                "number:-1",
            ),
            ("KSR.corex.has_ruri_user()", "number:1"),
            ("KSR.corex.has_user_agent()", "number:1"),
            ("KSR.corex.file_read('greeting')", "string:hello"),
            ("KSR.corex.file_read('nothing')", "nil:nil"),
            ("KSR.corex.file_write('out', 'hello')", "number:1"),
            ("KSR.htable.sht_get('t', 'k')", "nil:nil"),
            ("KSR.htable.sht_gete('t', 'k')", "string:"),
            ("KSR.htable.sht_getw('t', 'k')", "string:<null>"),
            ("KSR.htable.sht_sets('t', 'k', 'v')", "number:1"),
            ("KSR.htable.sht_seti('t', 'i', 4)", "number:1"),
            ("KSR.htable.sht_get('t', 'k')", "string:v"),
            ("KSR.htable.sht_inc('t', 'i')", "number:5"),
            ("KSR.htable.sht_dec('t', 'i')", "number:4"),
            ("KSR.htable.sht_is_null('t', 'i')", "number:-1"),
            ("KSR.htable.sht_rm('t', 'i')", "number:1"),
            ("KSR.htable.sht_is_null('t', 'i')", "number:1"),
            ("KSR.pvx.var_seti('q', 5)", "number:1"),
            ("KSR.pvx.var_get('q')", "number:5"),
            ("KSR.pvx.avp_is_null('q')", "number:1"),
            ("KSR.pvx.avp_get('q')", "nil:nil"),
            ("KSR.pvx.avp_gete('q')", "string:"),
            ("KSR.pvx.avp_getw('q')", "string:<null>"),
            ("KSR.pvx.avp_sets('q', 'v')", "number:1"),
            ("KSR.pvx.avp_get('q')", "string:v"),
            ("KSR.xlog.xerr('here $ru\\n')", "number:1"),
            ("KSR.xlog.xlog('L_ERR', 'here $ru\\n')", "number:1"),
            ("KSR.xlog.xlog('err', 'here $ru\\n')", "number:1"),
            ("KSR.xlog.xalert('here')", "number:1"),
            ("KSR.sl.sl_send_reply(200, 'OK')", "number:1"),
            ("KSR.sl.send_reply('404', 'No')", "number:1"),
            ("KSR.app_lua.lua_dostring('x = 1')", "number:1"),
            ("x", "number:1"),
            ("KSR.app_lua.run('collectgarbage')", "number:1"),
        ],
    );
}

#[test]
fn wrong_parameters_are_false() {
    all(
        "",
        &[
            ("KSR.setflag()", "boolean:false"),
            ("KSR.hdr.append()", "boolean:false"),
            ("KSR.maxfwd.process_maxfwd(1, 2)", "boolean:false"),
            ("KSR.corex.msg_iflag_set('NO_SUCH')", "boolean:false"),
            ("KSR.info('text $var(x)\\n')", "boolean:false"),
            ("KSR.info(5)", "boolean:false"),
            ("KSR.info()", "boolean:false"),
            ("KSR.log('err', 'text')", "boolean:false"),
            ("KSR.log('nolevel', 'text')", "boolean:false"),
            ("KSR.log()", "boolean:false"),
            ("KSR.route('NONE')", "number:-1"),
        ],
    );
}

#[test]
fn strings_are_taken_as_they_are_but_by_modf() {
    let mut case = Case::new(
        r#"
        function f()
            KSR.corex.send_data("sip:192.0.2.9", "$rU")
            say(KSR.x.modf("send_data", "sip:192.0.2.9", "$rU"))
            say(KSR.x.modf("is_method", "INVITE"), KSR.x.modf("is_method", "ACK"), KSR.x.modf("nosuch"))
        end
        "#,
        "request_route { lua_run(\"f\"); }",
    );
    assert_eq!(
        case.run(INVITE),
        ["$rU", "bob", "number:1", "number:1 number:-1 number:-1"]
    );
}

#[test]
fn what_is_left_out_of_the_configuration_is_false() {
    let folder = Folder::new();
    folder.write("script.lua", SAY);
    folder.write(
        "corex.cfg",
        "loadmodule \"app_lua.so\"\nloadmodule \"corex.so\"\n
         modparam(\"app_lua\", \"load\", \"script.lua\")
         request_route { lua_dostring(\"say(KSR.maxfwd.process_maxfwd(10), KSR.hdr.is_present('To'))\"); }",
    );
    let config = super::super::load(&folder.0.join("corex.cfg"))
        .config
        .unwrap();
    let mut runtime = Runtime::new(config.program, 0);
    let mut host = TestHost::default();
    run(&mut runtime, INVITE, &mut host);
    assert_eq!(host.sent[0].payload, b"boolean:false number:1");
}

#[test]
fn edits_reach_the_message_that_is_forwarded() {
    let mut case = Case::new(
        r#"
        function f()
            KSR.hdr.append("X-Lua: yes\r\n")
            KSR.hdr.remove("User-Agent")
            KSR.seturi("sip:carol@192.0.2.7")
            say(KSR.forward())
        end
        "#,
        "request_route { lua_run(\"f\"); }",
    );
    let sent = case.run(INVITE);
    assert!(
        sent[0].starts_with("INVITE sip:carol@192.0.2.7 SIP/2.0\r\n"),
        "{}",
        sent[0]
    );
    assert!(sent[0].contains("\r\nX-Lua: yes\r\n"));
    assert!(!sent[0].contains("User-Agent"));
    assert_eq!(sent[1], "number:1");
}

#[test]
fn a_reply_is_sent_with_what_was_appended_to_it() {
    let mut case = Case::new(
        "function f() KSR.hdr.append_to_reply(\"X-Lua: yes\\r\\n\") KSR.sl.send_reply(486, \"Busy\") end",
        "request_route { lua_run(\"f\"); }",
    );
    let sent = case.run(INVITE);
    assert!(sent[0].starts_with("SIP/2.0 486 Busy\r\n"), "{}", sent[0]);
    assert!(sent[0].contains("\r\nX-Lua: yes\r\n"), "{}", sent[0]);
}

#[test]
fn replies_have_their_own_view() {
    assert_eq!(
        said_on(
            OK,
            "say(KSR.is_INVITE(), KSR.pv.get('$rs'), KSR.siputils.is_reply())"
        ),
        ["boolean:true number:200 number:1"]
    );
}

#[test]
fn the_older_interface_is_there() {
    all(
        "",
        &[
            ("sr.pv.seti('$var(a)', 3)", ""),
            ("sr.pv.get('$var(a)')", "number:3"),
            ("sr.pv.sets('$var(a)', 'v')", ""),
            ("sr.pv.get('$var(a)')", "string:v"),
            ("sr.pv.get('$null')", "nil:nil"),
            ("sr.pv.get('$nosuch')", "nil:nil"),
            ("sr.pv.unset('$avp(a)')", ""),
            ("sr.pv.is_null('$avp(a)')", "boolean:true"),
            ("sr.pv.is_null('$var(a)')", "boolean:false"),
            ("sr.log('err', 'text $ru\\n')", ""),
            ("sr.err('text\\n')", ""),
            ("sr.dbg('text\\n')", ""),
            ("sr.hdr.append('X-A: b\\r\\n')", ""),
            ("sr.hdr.remove('X-None')", ""),
            ("sr.is_myself('sip:example.com:5070')", "boolean:true"),
            ("sr.setflag(3)", "boolean:true"),
            ("sr.isflagset(3)", "boolean:true"),
            ("sr.resetflag(3)", "boolean:true"),
            ("sr.modf('is_method', 'INVITE')", "number:1"),
            ("sr.maxfwd.process_maxfwd('10')", "number:1"),
            ("sr.sl.send_reply(200, 'OK')", "number:1"),
        ],
    );
}

#[test]
fn every_function_of_every_module_is_there() {
    let mut case = Case::new(
        r#"
        function f(module, name)
            local of = module == "core" and KSR or KSR[module]
            say(type(of[name]))
        end
        "#,
        "request_route { lua_run(\"f\", \"$rU\", \"$rd\"); }",
    );
    for module in crate::module::MODULES.iter() {
        for function in module.functions {
            for name in std::iter::once(&function.name).chain(function.aliases) {
                let request = String::from_utf8_lossy(INVITE).replacen(
                    "bob:pw@example.com:5070",
                    &format!("{}@{name}", module.name),
                    1,
                );
                let said = case.run(request.as_bytes());
                assert_eq!(said, ["string:function"], "{} {name}", module.name);
            }
        }
    }
}
