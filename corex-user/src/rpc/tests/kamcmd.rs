//! The real `kamcmd` reads every command's reply.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::{Fake, Folder, output, run, runtime};
use crate::rpc::Rpc;
use crate::rpc::commands;
use crate::rpc::ctl::Listener;
use crate::rpc::limits::RpcLimits;
use corex_script::settings::control::{Access, BinrpcAddress};

struct Served {
    at: String,
    fake: Arc<Fake>,
    rpc: Arc<Rpc>,
    _folder: Folder,
    _runtime: Runtime,
}

fn serve(address: &str) -> Served {
    let folder = Folder::new();
    let at = address.replace("DIR", &folder.path().display().to_string());
    let listener = Listener::bind(
        &BinrpcAddress::parse(&at).unwrap(),
        &Access::default(),
        false,
    );
    let listener = listener.unwrap();
    let fake = Arc::new(Fake::new());
    let rpc = Arc::new(Rpc::new(commands::ALL, fake.clone(), RpcLimits::default()));
    let runtime = runtime();
    runtime.spawn(listener.serve(Arc::clone(&rpc)));
    Served {
        at,
        fake,
        rpc,
        _folder: folder,
        _runtime: runtime,
    }
}

impl Served {
    fn ask(&self, words: &[&str]) -> String {
        let mut args = vec!["-s", self.at.as_str()];
        args.extend(words);
        run("kamcmd", &args)
    }
}

fn stream() -> Served {
    serve("unixs:DIR/ctl")
}

#[test]
fn version_is_one_string() {
    assert_eq!(
        stream().ask(&["core.version"]),
        "corex 0.1.0 (x86_64/linux)\n"
    );
}

#[test]
fn structs_have_kamailios_names_and_order() {
    let served = stream();
    assert_eq!(
        served.ask(&["core.psx"]),
        "{\n\tIDX: 0\n\tPID: 4711\n\tDSC: control\n}\n\
         {\n\tIDX: 1\n\tPID: 4712\n\tDSC: worker 0: eth0 queue 0\n}\n"
    );
    assert_eq!(
        served.ask(&["core.shmmem", "m"]),
        "{\n\ttotal: 64\n\tfree: 61\n\tused: 2\n\treal_used: 3\n\tmax_used: 3\n\tfragments: 1\n}\n"
    );
    assert_eq!(
        served.ask(&["shm.stats"]).lines().nth(1),
        Some("\ttotal: 67108864")
    );
    assert_eq!(
        served.ask(&["shm.info"]),
        "{\n\tname: tables\n\tsize: 67108864\n}\n"
    );
    let report = served.ask(&["shm.report"]);
    assert!(
        report.starts_with("{\n\ttotal_size: 67108864\n\tfree_size_s: "),
        "{report}"
    );
    assert!(
        served
            .ask(&["shm.rprint", "/tmp/x", "y"])
            .contains("corex.shm_status")
    );
    for (name, words) in [
        ("info", &[][..]),
        ("report", &[]),
        ("stats", &[]),
        ("rprint", &["a", "b"]),
    ] {
        let [short, long] = ["shm", "corex.shm"].map(|group| {
            let command = format!("{group}.{name}");
            let mut all = vec![command.as_str()];
            all.extend(words);
            served.ask(&all)
        });
        assert_eq!(short, long);
    }
    let sockets = served.ask(&["corex.list_sockets"]);
    let last = sockets.split("{\n\tAF").last().unwrap();
    assert_eq!(
        last,
        ": INET\n\tPROTO: tcp\n\tNAME: 127.9.9.1\n\tADDRLIST: {\n\t\tADDR: 127.9.9.1\n\t}\n\
         \tPORT: 5060\n\tSOCKSTR: tcp:127.9.9.1:5060\n\tAGNAME: -\n\tMCAST: no\n\tMHOMED: no\n\
         \tVIRTUAL: no\n\tSOCKNAME: -\n\tADVERTISE: 1.2.3.4\n}\n"
    );
}

#[test]
fn roads_are_shown_one_by_one() {
    assert_eq!(
        stream().ask(&["corex.roads"]),
        "{\n\troad: 3\n\tsocket: udp:10.0.0.1:5060\n\tto: 192.0.2.9:5060\n\tstate: open\n\tinterface: eth0\n\
         \tmessages: 7\n\tbytes: 700\n\tsteered: 1\n}\n"
    );
}

#[test]
fn lists_look_as_kamailios() {
    let served = stream();
    assert_eq!(
        served.ask(&["core.aliases_list"]),
        "{\n\tmyself_callbacks: yes\n\taliases: {\n\
         \t\talias: {\n\t\t\tproto: tcp\n\t\t\taddress: baz.example.com\n\t\t\tport: *\n\t\t}\n\
         \t\talias: {\n\t\t\tproto: *\n\t\t\taddress: bar.example.com\n\t\t\tport: 5080\n\t\t}\n\
         \t}\n}\n"
    );
    let sockets = served.ask(&["core.sockets_list"]);
    assert!(
        sockets.starts_with("{\n\tsocket: {\n\t\tproto: udp\n\t\taddress: 127.9.9.1\n"),
        "{sockets}"
    );
    assert_eq!(sockets.matches("\tsocket: {").count(), 3);
    assert_eq!(
        served.ask(&["htable.dump", "a"]),
        "{\n\tentry: 3\n\tsize: 1\n\tslot: {\n\
         \t\t{\n\t\t\tname: k2\n\t\t\tvalue: v\n\t\t\ttype: str\n\t\t}\n\t}\n}\n\
         {\n\tentry: 6\n\tsize: 1\n\tslot: {\n\
         \t\t{\n\t\t\tname: k\n\t\t\tvalue: 5\n\t\t\ttype: int\n\t\t}\n\t}\n}\n"
    );
}

#[test]
fn faults_have_code_and_reason() {
    let served = stream();
    for (words, expected) in [
        (&["no.such"][..], "error: 500 - command no.such not found\n"),
        (
            &["corex.pkg_summary"],
            "error: 400 - Selector and value not provided\n",
        ),
        (
            &["corex.pkg_summary", "foo", "1"],
            "error: 500 - Unsupported selector type\n",
        ),
        (
            &["corex.pkg_summary", "idx", "99"],
            "error: 500 - Index value out of range\n",
        ),
        (&["corex.pkg_summary", "pid", "99999"], ""),
        (
            &["htable.delete", "a", "none"],
            "error: 404 - Key not found in htable.\n",
        ),
        (&["htable.dump", "none"], "error: 500 - No such htable\n"),
        (
            &["system.methodHelp", "nope"],
            "error: 400 - command not found\n",
        ),
        (
            &["cfg.seti", "core", "debug"],
            "error: 400 - error at parameter 2: expected integer type but end of packet encountered\n",
        ),
        (
            &["core.prints", "5"],
            "error: 400 - error at parameter 0: expected string type but record doesn't match type\n",
        ),
    ] {
        assert_eq!(served.ask(words), expected, "{words:?}");
    }
}

#[test]
fn numbers_beyond_32_bits_and_fractions_are_shown_whole() {
    let served = stream();
    let counters = served.ask(&["stats.fetchn", "xdp:"]);
    assert_eq!(
        counters,
        "{\n\txdp.dropped: 18446744073709551615\n\txdp.seen: 1099511627776\n}\n"
    );
    let workers = served.ask(&["corex.workers"]);
    assert!(workers.contains("\trx: 5000000000\n"), "{workers}");
    assert!(workers.contains("\tbusy: 0.250000\n"), "{workers}");
    assert!(
        workers.contains("\t\tfill: {\n\t\t\tused: 2000\n"),
        "{workers}"
    );
}

#[test]
fn formats_and_short_names_of_kamcmd_work() {
    let served = stream();
    assert_eq!(
        served.ask(&["-f", "%v|%v\\n", "core.ps"]),
        "4711|control\n4712|worker 0: eth0 queue 0\n"
    );
    assert_eq!(
        served.ask(&["ps"]),
        "4711\tcontrol\n4712\tworker 0: eth0 queue 0\n"
    );
    assert_eq!(
        served.ask(&["-f", "%v;", "core.echo", "a", "s:1", "2"]),
        "a;1;2;"
    );
    assert!(served.ask(&["who"]).contains("binrpc"));
    // Until the end of the clients before is noticed there are more.
    let mut asked = (0..1000).map(|_| served.ask(&["ctl.connections"]));
    assert!(asked.any(|count| count == "1\n"));
}

#[test]
fn the_interactive_mode_lists_commands_and_answers() {
    let served = stream();
    let input = "core.version\nhelp core.echo\n?\nquit\n";
    let output = output("kamcmd", &["-s", &served.at], input);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("corex 0.1.0 (x86_64/linux)"), "{text}");
    assert!(text.contains("Answers with its parameters"), "{text}");
    for command in served.rpc.commands.iter() {
        assert!(text.contains(command.name), "{}: {text}", command.name);
    }
}

#[test]
fn every_transport_answers() {
    for address in [
        "unixs:DIR/ctl",
        "unixd:DIR/ctl",
        "tcp:127.9.9.2:20491",
        "udp:127.9.9.2:20491",
    ] {
        let served = serve(address);
        let dir = served._folder.path().display().to_string();
        assert_eq!(
            served.ask(&["-D", &dir, "core.version"]),
            "corex 0.1.0 (x86_64/linux)\n",
            "{address}"
        );
        assert_eq!(
            served.ask(&["-D", &dir, "no.such"]),
            "error: 500 - command no.such not found\n",
            "{address}"
        );
        assert!(
            served
                .ask(&["-D", &dir, "ctl.listen"])
                .starts_with("binrpc\n"),
            "{address}"
        );
    }
}

#[test]
fn no_command_makes_kamcmd_stumble() {
    let served = stream();
    for command in served.rpc.commands.iter() {
        let text = served.ask(&[command.name]);
        assert!(!text.contains("ERROR:"), "{}: {text}", command.name);
    }
    let told = served.fake.take_told();
    assert!(told.contains(&"Status".to_owned()), "{told:?}");
    assert!(told.contains(&"signal 15".to_owned()), "{told:?}");
}

#[test]
fn a_signature_names_every_way_to_call() {
    let text = stream().ask(&["system.methodSignature", "cfg.get"]);
    // kamcmd writes brackets for arrays.
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!(
        words,
        "[ [ any string ] [ any string string ] ]"
            .split(' ')
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_guards_lists_are_changed_and_explained() {
    let served = stream();
    assert_eq!(
        served.ask(&["guard.block", "203.0.113.0/24;udp", "3600"]),
        "Ok.\n"
    );
    let explained = served.ask(&["corex.guard", "explain", "203.0.113.9"]);
    for line in [
        "\taddress: 203.0.113.9\n",
        "\tverdict: dropped: block\n",
        "\trules: {\n\t\tallow: no entry\n\t\tblock: 203.0.113.0/24; udp by rpc, for 3",
    ] {
        assert!(explained.contains(line), "{explained}");
    }
    let listed = served.ask(&["guard.list", "block"]);
    assert!(
        listed.starts_with("{\n\tlist: block\n\tnetwork: 203.0.113.0/24\n\tproto: udp\n"),
        "{listed}"
    );
    assert_eq!(served.ask(&["guard.save"]), "1\n");
    assert_eq!(served.fake.take_told(), ["save the guard's lists"]);
    assert_eq!(
        served.ask(&["guard.unblock", "203.0.113.0/24;udp"]),
        "Ok.\n"
    );
    let refused = served.ask(&["guard.unblock", "203.0.113.0/24;udp"]);
    assert!(refused.contains("no such entry"), "{refused}");
}
