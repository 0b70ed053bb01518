use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::rpc::Rpc;
use crate::rpc::commands;
use crate::rpc::limits::RpcLimits;
use crate::rpc::tests::Fake;

fn rpc() -> Rpc {
    Rpc::new(commands::ALL, Arc::new(Fake::new()), RpcLimits::default())
}

fn ask_bytes(document: &[u8], pretty: bool) -> Answered {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(answer(&rpc(), document, pretty))
}

/// The document that answers a document; empty where nothing may.
fn ask(document: &str) -> String {
    String::from_utf8(
        ask_bytes(document.as_bytes(), false)
            .body
            .unwrap_or_default(),
    )
    .unwrap()
}

#[test]
fn results_look_as_kamailios() {
    for (method, result) in [
        ("core.version", r#""corex 0.1.0 (x86_64/linux)""#),
        (
            "core.psx",
            r#"[{"IDX":0,"PID":4711,"DSC":"control"},{"IDX":1,"PID":4712,"DSC":"worker 0: eth0 queue 0"}]"#,
        ),
        (
            "core.ps",
            r#"[4711,"control",4712,"worker 0: eth0 queue 0"]"#,
        ),
        ("core.echo", "[]"),
        ("corex.shm_status", "{}"),
        (
            "core.aliases_list",
            r#"{"myself_callbacks":"yes","aliases":[{"alias":{"proto":"tcp","address":"baz.example.com","port":"*"}},{"alias":{"proto":"*","address":"bar.example.com","port":"5080"}}]}"#,
        ),
        (
            "corex.list_aliases",
            r#"[{"PROTO":"tcp","ADDR":"baz.example.com","PORT":0},{"PROTO":"*","ADDR":"bar.example.com","PORT":5080},{"PROTO":"udp","ADDR":"sub.example.com","PORT":5060,"SUBDOMAINS":"yes"}]"#,
        ),
    ] {
        let answered = ask(&format!(
            r#"{{"jsonrpc":"2.0","method":"{method}","id":1}}"#
        ));
        assert_eq!(
            answered,
            format!(r#"{{"jsonrpc":"2.0","result":{result},"id":1}}"#)
        );
    }
    assert_eq!(
        ask(r#"{"jsonrpc":"2.0","method":"htable.dump","params":["a"],"id":3}"#),
        r#"{"jsonrpc":"2.0","result":[{"entry":3,"size":1,"slot":[{"name":"k2","value":"v","type":"str"}]},{"entry":6,"size":1,"slot":[{"name":"k","value":5,"type":"int"}]}],"id":3}"#
    );
    assert!(
        ask(r#"{"jsonrpc":"2.0","method":"core.sockets_list","id":3}"#)
            .contains(r#""result":[{"socket":{"proto":"udp","address":"127.9.9.1","port":"5060","#)
    );
}

#[test]
fn ids_are_echoed_as_they_came() {
    for id in [
        "1",
        "-7",
        "1.50",
        "12345678901234567890123",
        "1e3",
        "null",
        r#""a\u0062\"c""#,
        r#""""#,
    ] {
        let document = format!(r#"{{"jsonrpc":"2.0","method":"core.echo","id": {id} }}"#);
        assert_eq!(
            ask(&document),
            format!(r#"{{"jsonrpc":"2.0","result":[],"id":{id}}}"#)
        );
    }
    for id in ["true", "[1]", r#"{"a":1}"#] {
        let document = format!(r#"{{"jsonrpc":"2.0","method":"core.echo","id":{id}}}"#);
        let answered = ask(&document);
        assert!(
            answered.contains(r#""code":-32600"#) && answered.ends_with(r#""id":null}"#),
            "{answered}"
        );
    }
}

#[test]
fn parameters_are_taken_by_place_and_numbers_stand_for_their_digits() {
    let echo = |params: &str| {
        ask(&format!(
            r#"{{"jsonrpc":"2.0","method":"core.echo","params":{params},"id":0}}"#
        ))
    };
    for (params, result) in [
        (r#"["a",1,2.5,true]"#, r#"["a","1","2.5","1"]"#),
        (r#"{"z":"1","a":"2"}"#, r#"["1","2"]"#),
        (r#"["",[1],{"x":1}]"#, r#"[""]"#),
        (r#"["ä\u0001\n"]"#, r#"["ä\u0001\n"]"#),
    ] {
        assert_eq!(
            echo(params),
            format!(r#"{{"jsonrpc":"2.0","result":{result},"id":0}}"#)
        );
    }
    assert_eq!(
        ask(r#"{"jsonrpc":"2.0","method":"core.printi","params":["7"],"id":3}"#),
        r#"{"jsonrpc":"2.0","result":[7],"id":3}"#
    );
}

#[test]
fn errors_have_the_standard_codes_or_kamailios() {
    for (document, code, message, id) in [
        ("{", -32700, "Parse error", "null"),
        ("", -32700, "Parse error", "null"),
        (
            r#"{"jsonrpc":"2.0","method":"core.version","id":1} x"#,
            -32700,
            "Parse error",
            "null",
        ),
        ("5", -32600, "Invalid Request: it is no object", "null"),
        ("[]", -32600, "Invalid Request: the batch is empty", "null"),
        (
            "{}",
            -32600,
            "Invalid Request: jsonrpc is not \\\"2.0\\\"",
            "null",
        ),
        (
            r#"{"method":"core.version","id":3}"#,
            -32600,
            "Invalid Request: jsonrpc is not \\\"2.0\\\"",
            "3",
        ),
        (
            r#"{"jsonrpc":"2.0","id":3}"#,
            -32600,
            "Invalid Request: there is no method",
            "3",
        ),
        (
            r#"{"jsonrpc":"2.0","method":5,"id":3}"#,
            -32600,
            "Invalid Request: there is no method",
            "3",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"no.such","id":"x"}"#,
            -32601,
            "Method Not Found",
            "\"x\"",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"core.echo","params":"x","id":3}"#,
            -32602,
            "Invalid params",
            "3",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"core.echo","params":[null],"id":3}"#,
            -32602,
            "Invalid params",
            "3",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"system.methodHelp","id":3}"#,
            400,
            "Method Name Expected",
            "3",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"htable.delete","params":["a","zz"],"id":3}"#,
            404,
            "Key not found in htable.",
            "3",
        ),
    ] {
        assert_eq!(
            ask(document),
            format!(
                r#"{{"jsonrpc":"2.0","error":{{"code":{code},"message":"{message}"}},"id":{id}}}"#
            ),
            "{document}"
        );
    }
}

#[test]
fn the_http_status_is_the_faults() {
    let status = |document: &str| {
        let answered = ask_bytes(document.as_bytes(), false);
        (
            answered.status,
            answered.reason.unwrap_or_default().into_owned(),
        )
    };
    let of = |method: &str, rest: &str| {
        status(&format!(r#"{{"jsonrpc":"2.0","method":"{method}"{rest}}}"#))
    };
    assert_eq!(of("core.version", r#","id":1"#), (200, String::new()));
    assert_eq!(of("core.version", ""), (204, String::new()));
    assert_eq!(
        of("no.such", r#","id":1"#),
        (500, "Method Not Found".to_owned())
    );
    assert_eq!(
        of("htable.delete", r#","params":["a","zz"],"id":1"#),
        (404, "Key not found in htable.".to_owned())
    );
    assert_eq!(status("{"), (400, "Parse error".to_owned()));
}

#[test]
fn a_notification_is_run_and_never_answered() {
    let rpc = rpc();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let ask = |document: &str| {
        runtime
            .block_on(answer(&rpc, document.as_bytes(), false))
            .body
    };
    assert_eq!(ask(r#"{"jsonrpc":"2.0","method":"no.such"}"#), None);
    assert_eq!(
        ask(r#"[{"jsonrpc":"2.0","method":"cfg.seti","params":["core","debug",3]}]"#),
        None
    );
    assert_eq!(
        ask(r#"{"jsonrpc":"2.0","method":"cfg.get","params":["core","debug"],"id":1}"#),
        Some(br#"{"jsonrpc":"2.0","result":3,"id":1}"#.to_vec())
    );
}

#[test]
fn a_batch_is_answered_as_one_without_its_notifications() {
    assert_eq!(
        ask(
            r#"[{"jsonrpc":"2.0","method":"core.echo","id":1}, {"jsonrpc":"2.0","method":"core.echo"},
               1, {"jsonrpc":"2.0","method":"no.such","id":"2"}]"#
        ),
        r#"[{"jsonrpc":"2.0","result":[],"id":1},{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request: it is no object"},"id":null},{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method Not Found"},"id":"2"}]"#
    );
    let batch = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert!(ask(&batch(MAX_BATCH)).starts_with('['));
    assert!(ask(&batch(MAX_BATCH + 1)).contains("the batch is too long"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        // The document itself is one level.
        let params = ["[".repeat(depth - 1), "]".repeat(depth - 1)].concat();
        ask(&format!(
            r#"{{"jsonrpc":"2.0","method":"core.echo","params":{params},"id":1}}"#
        ))
    };
    assert!(nested(MAX_DEPTH).contains("result"));
    assert!(nested(MAX_DEPTH + 1).contains("nested too deeply"));
    assert!(ask(&"[".repeat(1 << 16)).contains("nested too deeply"));
    // Brackets in strings are none.
    let text = "[".repeat(100);
    assert!(
        ask(&format!(
            r#"{{"jsonrpc":"2.0","method":"core.echo","params":["\"{text}"],"id":1}}"#
        ))
        .contains("result")
    );
}

#[test]
fn pretty_replies_have_lines_and_tabs() {
    let answered = ask_bytes(br#"{"jsonrpc":"2.0","method":"corex.debug","id":1}"#, true);
    assert_eq!(
        String::from_utf8(answered.body.unwrap()).unwrap(),
        "{\n\t\"jsonrpc\": \"2.0\",\n\t\"result\": {\n\t\t\"debug\": 2\n\t},\n\t\"id\": 1\n}\n"
    );
    let answered = ask_bytes(br#"{"jsonrpc":"2.0","method":"core.echo","id":1}"#, true);
    assert!(
        String::from_utf8(answered.body.unwrap())
            .unwrap()
            .contains("\"result\": [],\n")
    );
}

#[test]
fn documents_are_told_apart_where_nothing_separates_them() {
    let split = |text: &str| {
        let mut rest = text.as_bytes();
        let mut pieces = Vec::new();
        while let Some(piece) = next_document(rest) {
            pieces.push(match piece {
                Piece::Skip { length, is_junk } => {
                    rest = &rest[length..];
                    if is_junk { "junk".to_owned() } else { continue }
                }
                Piece::Document(length) => {
                    let (document, after) = rest.split_at(length);
                    rest = after;
                    String::from_utf8(document.to_vec()).unwrap()
                }
                Piece::Incomplete => {
                    pieces.push("incomplete".to_owned());
                    break;
                }
            });
        }
        pieces
    };
    assert_eq!(
        split(r#" {"a":"}"}{"b":[{}]}  [1]"#),
        [r#"{"a":"}"}"#, r#"{"b":[{}]}"#, "[1]"]
    );
    assert_eq!(split("{\"a\":\n\"\\\"}"), ["incomplete"]);
    assert_eq!(split("junk { \n}\n{}"), ["junk", "junk", "{}"]);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered_or_not_and_never_disturb(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let answered = ask_bytes(&bytes, false);
        if let Some(body) = answered.body {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        }
    }

    #[test]
    fn whatever_a_caller_sends_comes_back_as_valid_json(
        text in any::<String>(),
        number in any::<f64>(),
    ) {
        let text = serde_json::to_string(&text).unwrap();
        let number = if number.is_finite() { number } else { 0.0 };
        let document = format!(
            r#"{{"jsonrpc":"2.0","method":"core.echo","params":[{text},{number:?}],"id":{text}}}"#
        );
        let answered: serde_json::Value = serde_json::from_str(&ask(&document)).unwrap();
        let text: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&answered["id"], &text);
        prop_assert_eq!(&answered["result"][0], &text);
    }
}
