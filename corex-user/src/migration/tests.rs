use super::*;
use crate::module::MODULES;

fn report(text: &str) -> Migration {
    let (file, report) = corex_script::examine_str("kamailio.cfg", text, MODULES);
    describe("kamailio.cfg", &file, &report, MODULES)
}

#[test]
fn each_block_has_its_fate_and_its_remedies() {
    let Migration { text, runs } = report(
        "#!KAMAILIO\n#!define WITH_X\nmemdbg=5\nlisten=udp:192.0.2.1:5060\n\
         loadmodule \"tm.so\"\nloadmodule \"/usr/lib/kamailio/modules/sl.so\"\nloadmodule \"acc.so\"\n\
         loadmodule \"cfg_rpc.so\"\nloadmodule \"unheard.so\"\n\
         modparam(\"tm\", \"fr_timer\", 5)\n\
         request_route {\n  if (is_method(\"INVITE\")) t_on_failure(\"F\");\n  route(RELAY);\n}\n\
         #!ifdef WITH_X\nroute[RELAY] { forward(); }\n#!else\nroute[RELAY] { nonsense(); }\n#!endif\n\
         failure_route[F] { t_relay(); }\nonreply_route[R] { exit; }\nreply_route { exit; }\n",
    );
    assert!(!runs);
    for line in [
        "Global parameters: 2 are taken as they are, 0 are to be changed",
        "    3:1: (may stay) memdbg has no meaning here",
        "  run here: sl\n",
        "    tm: transactions (tm) stay out",
        "    acc: the server behind sees the calls",
        "  to be taken out:\n",
        "    cfg_rpc: the commands cfg.* are built in",
        "    unheard: corex has no such module",
        "0 are taken as they are, 1 go with their modules",
        "  request_route (line 11): ",
        "t_on_failure(); failure_route runs on the server behind: take it out here",
        "  route[RELAY] (line 16): runs here as it is",
        "  failure_route[F] (line 20): stays with the server behind",
        "  reply_route[R] (line 21): stays with the server behind",
        "  reply_route (line 22): runs here as it is",
        "Of 5 route blocks 2 run here as they are, 1 are to be changed, 2 stay with the server behind.",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("nonsense"), "{text}");
}

#[test]
fn what_runs_is_said_to_run() {
    let Migration { text, runs } =
        report("listen=udp:192.0.2.1:5060\nrequest_route { forward(); }\n");
    assert!(runs, "{text}");
    assert!(text.contains("Of 1 route blocks 1 run here"), "{text}");
}

#[test]
fn what_can_not_be_read_is_said_with_its_file() {
    let Migration { text, runs } =
        report("include_file \"/nowhere/else.cfg\"\nrequest_route { forward( }\n");
    assert!(!runs);
    assert!(text.contains("Elsewhere"), "{text}");
    let Migration { text, runs } = examine(Path::new("/nowhere/kamailio.cfg"), MODULES);
    assert!(!runs && text.contains("can't be read"), "{text}");
}

#[test]
fn long_configurations_are_reported_to_their_end() {
    let mut all = String::from("request_route { exit; }\n");
    for number in 0..150 {
        all.push_str(&format!("route[R{number}] {{ t_relay(); }}\n"));
    }
    let Migration { text, .. } = report(&all);
    assert!(
        text.contains("route[R149] (line 151): 1 to change"),
        "{text}"
    );
}
