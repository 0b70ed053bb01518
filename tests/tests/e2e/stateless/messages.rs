//! What is forwarded and what is replied, function by function.

use anyhow::{Result, ensure};

use super::{Came, Case, both, case, request};

const fn via(via: &'static str, statements: &'static str) -> Case {
    Case {
        statements,
        via,
        method: "OPTIONS",
    }
}

/// Cases that send one message to the answering side, or one reply.
const CASES: &[Case] = &[
    case("forward();"),
    via(":5060;branch=z9hG4bK1;rport", "forward();"),
    via(":5060;rport;branch=z9hG4bK1;x=y", "forward();"),
    via(";branch=z9hG4bK1", "forward();"),
    via(":5060;branch=old", "forward();"),
    case("force_rport(); forward();"),
    via(":5060;branch=z9hG4bK1;rport", "force_rport(); forward();"),
    case("rewriteuri(\"sip:new@10.0.2.2\"); forward();"),
    case("sethost(\"h.example\"); setport(\"5099\"); setuser(\"u\"); forward();"),
    case("prefix(\"00\"); strip_tail(1); forward();"),
    case("$rU = \"other\"; $rd = \"d.example\"; $rp = 5071; forward();"),
    case("append_hf(\"X-1: a\\r\\n\"); append_hf(\"X-2: b\\r\\n\"); forward();"),
    case("insert_hf(\"X-1: a\\r\\n\"); insert_hf(\"X-2: b\\r\\n\"); forward();"),
    case("append_hf(\"X-1: a\\r\\n\", \"From\"); insert_hf(\"X-2: b\\r\\n\", \"To\"); forward();"),
    case("remove_hf(\"Subject\"); remove_hf(\"X-A\"); forward();"),
    case("remove_hf_re(\"^X-\"); forward();"),
    case("if (search(\"HELLO\")) append_hf(\"X-1: found\\r\\n\"); forward();"),
    case("if (search_body(\"^hello\")) append_hf(\"X-1: found\\r\\n\"); forward();"),
    case("if (search(\"^Subj.*lo$\")) append_hf(\"X-1: found\\r\\n\"); forward();"),
    case("replace(\"hello\", \"BYE\"); forward();"),
    case("replace_all(\"hello\", \"ADIEU\"); forward();"),
    case("replace_body(\"hello\", \"BYE-BYE\"); forward();"),
    case("replace_body_all(\"l\", \"\"); forward();"),
    case("subst(\"/(h)(ello)/\\2\\1/g\"); forward();"),
    case("subst(\"/HELLO/bye/i\"); forward();"),
    case("subst_body(\"/l+/L/g\"); forward();"),
    case("subst_hf(\"Subject\", \"/hello/HH/\", \"a\"); forward();"),
    case("subst_uri(\"/(.*)@(.*)/\\1@new.\\2/\"); forward();"),
    case("subst_user(\"/t/TT/\"); forward();"),
    case("search_append(\"Subject: \", \"PRE-\"); forward();"),
    case("mf_process_maxfwd_header(\"10\"); forward();"),
    case("if (is_maxfwd_lt(\"71\") == 1) append_hf(\"X-1: lt\\r\\n\"); forward();"),
    case("add_uri_param(\"a=b\"); forward();"),
    case(
        "if (is_method(\"INVITE|OPTIONS\") && !has_totag()) append_hf(\"X-1: y\\r\\n\"); forward();",
    ),
    case("if (is_present_hf(\"l\") && has_body(\"a/b\")) append_hf(\"X-1: y\\r\\n\"); forward();"),
    case("setflag(3); if (isflagset(3) && !isflagset(4)) append_hf(\"X-1: y\\r\\n\"); forward();"),
    case(
        "setxflag(\"63\"); if (isxflagset(\"63\") && !isxflagset(\"4\")) append_hf(\"X-1: y\\r\\n\"); forward();",
    ),
    case(
        "setxflag(\"5\"); resetxflag(\"5\"); if (isxflagset(\"5\")) append_hf(\"X-1: y\\r\\n\"); forward();",
    ),
    case("if (set_send_socket(\"udp:10.0.1.1:5060\")) append_hf(\"X-1: y\\r\\n\"); forward();"),
    case("if (is_socket_name(\"edge\") || is_faked_msg()) append_hf(\"X-1: y\\r\\n\"); forward();"),
    case(
        "append_hf(\"X-1: $fU $fd $tU $ft $cT $cl $bs $rm $hdr(X-A) $(hdr(Subject){s.len})\\r\\n\"); forward();",
    ),
    case(
        "append_hf(\"X-1: $oU $od $du $dd $dp $rz $ci $cs $si $sp $Ri $Rp $pr\\r\\n\"); forward();",
    ),
    case(
        "append_hf(\"X-1: $time(mon) $time(year) $time(wday) $time(yday) $time(mday) $time(hour) $utime(isdst)\\r\\n\"); forward();",
    ),
    case(
        "append_hf(\"X-1: $(hdr(From){nameaddr.uri}) $(ru{uri.host}) $(rb{s.select,1, }) $fn $tt\\r\\n\"); forward();",
    ),
    case("sl_send_reply(\"404\", \"Not here\");"),
    via(
        ":5060;branch=z9hG4bK1;rport",
        "sl_send_reply(\"200\", \"OK\");",
    ),
    case("force_rport(); sl_send_reply(\"200\", \"OK\");"),
    case("append_to_reply(\"X-1: a\\r\\n\"); sl_send_reply(\"486\", \"Busy\");"),
    case("sl_send_reply(\"100\", \"Trying\");"),
    case(
        "append_branch(\"sip:a@b\", \"0.75\"); append_branch(\"sip:c@d:99;x=y\", \"0.5\"); sl_send_reply(\"300\", \"Multiple\");",
    ),
    case("append_branch(\"sip:a@b\"); sl_send_reply(\"302\", \"Moved\");"),
    case("append_branch(\"sip:a@b\", \"2\"); sl_send_reply(\"302\", \"Moved\");"),
    case("send_udp(\"10.0.2.2\");"),
    case("send_udp(\"10.0.2.2:5060\");"),
    case("send_udp();"),
    case("$du = $null; $ru = \"sip:x@10.0.2.2\"; send_udp();"),
    Case {
        statements: "forward();",
        via: ":5060;branch=z9hG4bK1",
        method: "CANCEL",
    },
    Case {
        statements: "forward();",
        via: ":5060;branch=z9hG4bK1",
        method: "ACK",
    },
];

#[test]
fn what_is_forwarded_and_replied_is_what_kamailio_sends() -> Result<()> {
    let mut routes = String::from("request_route {\n$du = \"sip:10.0.2.2\";\nswitch ($rU) {\n");
    for (number, case) in CASES.iter().enumerate() {
        routes.push_str(&format!("case \"t{number}\": {} break;\n", case.statements));
    }
    routes.push_str("}\nexit;\n}\n");
    let inputs: Vec<String> = CASES
        .iter()
        .enumerate()
        .map(|(number, case)| request(number, case))
        .collect();
    let (theirs, ours) = both(&routes, &inputs)?;
    let mut differing = Vec::new();
    for ((case, theirs), ours) in CASES.iter().zip(&theirs).zip(&ours) {
        if theirs != ours {
            differing.push(format!(
                "{} (Via …{})\nKamailio {theirs:?}\ncorex    {ours:?}",
                case.statements, case.via
            ));
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n\n"));
    ensure!(ours.iter().filter(|came| **came == Came::Nothing).count() <= 1);
    Ok(())
}
