use std::sync::Arc;

use super::*;
use crate::rpc::Rpc;
use crate::rpc::commands;
use crate::rpc::ctl::Listener;
use crate::rpc::limits::RpcLimits;
use crate::rpc::tests::{Fake, Folder, run, runtime};
use corex_script::settings::control::Access;

struct Served {
    at: String,
    rpc: Arc<Rpc>,
    _runtime: tokio::runtime::Runtime,
    _folder: Folder,
}

fn serve() -> Served {
    let folder = Folder::new();
    let at = format!("unix:{}", folder.join("ctl").display());
    let address = BinrpcAddress::parse(&at).unwrap();
    let listener = Listener::bind(&address, &Access::default(), false).unwrap();
    let rpc = Arc::new(Rpc::new(
        commands::ALL,
        Arc::new(Fake::new()),
        RpcLimits::default(),
    ));
    let runtime = runtime();
    runtime.spawn(listener.serve(Arc::clone(&rpc)));
    Served {
        at,
        rpc,
        _runtime: runtime,
        _folder: folder,
    }
}

fn question(at: &str, words: &[&str], json: bool) -> Printed {
    let (method, params) = words.split_first().unwrap();
    let params: Vec<_> = params.iter().map(|word| (*word).to_owned()).collect();
    ask(&Question {
        socket: Some(at),
        method,
        params: &params,
        json,
        patience: Duration::from_secs(20),
    })
}

fn shown(at: &str, words: &[&str], json: bool) -> String {
    let printed = question(at, words, json);
    assert_eq!((printed.status, printed.error.as_str()), (0, ""));
    String::from_utf8(printed.output).unwrap()
}

#[test]
fn replies_are_printed_as_kamcmd_prints_them() {
    let served = serve();
    let mut asked = 0;
    for command in served.rpc.commands.iter() {
        let params: &[&str] = match command.name {
            // These answer otherwise every time, or end the fake's answers.
            "core.uptime" | "core.runinfo" | "corex.reload" | "ctl.stats" => continue,
            // These depend on whether the last client's end was noticed already.
            "ctl.connections" | "ctl.who" => continue,
            // kamcmd indents the first line of an array, whatever stands before it.
            "system.methodSignature" => continue,
            "core.echo" => &["a", "1", "s:2"],
            "cfg.get" => &["corex"],
            "cfg.help" => &["core", "debug"],
            "stats.get_statistics" | "stats.fetch" | "stats.fetchn" => &["all"],
            "htable.dump" => &["a"],
            "htable.get" => &["a", "k2"],
            _ => &[],
        };
        let words = [&[command.name], params].concat();
        let ours = question(&served.at, &words, false);
        let mut text = String::from_utf8(ours.output).unwrap();
        if !ours.error.is_empty() {
            text += &(ours.error + "\n");
        }
        let theirs = run("kamcmd", &[&["-s", &served.at], &words[..]].concat());
        assert_eq!(text, theirs, "{words:?}");
        asked += 1;
    }
    assert!(asked > 30, "{asked}");
}

#[test]
fn json_has_the_shape_of_json_rpc() {
    let served = serve();
    let json = |words: &[&str]| shown(&served.at, words, true);
    assert_eq!(json(&["core.version"]), "\"corex 0.1.0 (x86_64/linux)\"\n");
    assert_eq!(json(&["corex.shm_status"]), "{}\n");
    assert_eq!(json(&["core.echo", "x"]), "[\n\t\"x\"\n]\n");
    assert_eq!(json(&["core.echo"]), "[]\n");
    let sockets = json(&["core.sockets_list"]);
    assert!(
        sockets.starts_with("[\n\t{\n\t\t\"socket\": {\n"),
        "{sockets}"
    );
    let dump = json(&["htable.dump", "a"]);
    assert!(
        dump.contains("\"slot\": [\n\t\t\t{\n\t\t\t\t\"name\": \"k2\""),
        "{dump}"
    );
    let refused = question(&served.at, &["no.such"], true);
    assert_eq!(refused.status, REFUSED);
    assert_eq!(
        String::from_utf8(refused.output).unwrap(),
        "{\n\t\"code\": 500,\n\t\"message\": \"command no.such not found\"\n}\n"
    );
}

#[test]
fn the_exit_status_tells_what_went_wrong() {
    let served = serve();
    let status = |at: &str, method: &str| question(at, &[method], false).status;
    assert_eq!(status(&served.at, "core.version"), 0);
    assert_eq!(status(&served.at, "no.such"), REFUSED);
    assert_eq!(status("unix:", "core.version"), USAGE);
    assert_eq!(status("unix:/nowhere/ctl", "core.version"), UNREACHABLE);
    assert_eq!(status("udp:127.0.0.1", "core.version"), UNREACHABLE);
}

#[test]
fn words_are_numbers_only_where_they_look_like_one() {
    for (word, value) in [
        ("5", Value::Int(5)),
        ("-5", Value::Int(-5)),
        ("2.5", Value::Double(2.5)),
        ("s:5", "5".into()),
        ("1e3", "1e3".into()),
        ("inf", "inf".into()),
        ("1.2.3.4", "1.2.3.4".into()),
        ("", "".into()),
    ] {
        assert_eq!(parameter(word), value, "{word}");
    }
}

#[test]
fn a_server_that_talks_nonsense_is_no_server() {
    let folder = Folder::new();
    let path = folder.join("ctl");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let at = format!("unix:{}", path.display());
    for answer in [
        &b"\xb1"[..],
        b"\xa1\x10\x00\x01",
        b"\xa1\x10\x01\x01\x21",
        b"",
    ] {
        let serving = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 100];
                let _ = stream.read(&mut request).unwrap();
                stream.write_all(answer).unwrap();
            });
            question(&at, &["core.version"], false)
        });
        assert_eq!(serving.status, UNREACHABLE, "{serving:?}");
    }
}
