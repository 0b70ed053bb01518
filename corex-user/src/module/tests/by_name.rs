//! Names that scripts of other languages ask for while a message is handled.

use super::*;
use corex_script::run::Value;
use corex_script::run::{ByNameError, NamedArg};
use corex_script::run::{Exec, Halt};

const CONFIG: &str = "loadmodule \"pv.so\"\nloadmodule \"sl.so\"\nloadmodule \"textops.so\"\n\
    loadmodule \"corex.so\"\nloadmodule \"maxfwd.so\"\n\
    request_route { $var(before) = \"kept\"; $avp(known) = 5; route(SUB); }\n\
    route[SUB] { $avp(said) = \"by the route\"; return 7; }\n\
    route[END] { exit; }\n";

/// Runs on INVITE; what the host was asked to send.
fn with(test: impl FnOnce(&mut Exec<'_>)) -> Vec<Sent> {
    let program = config(CONFIG).program;
    let mut runtime = Runtime::new(Arc::clone(&program), 0);
    let view = SipView::parse(INVITE).unwrap();
    let mut host = TestHost::default();
    let env = env();
    runtime.begin_message();
    let mut exec = Exec::new(&program, &mut runtime, &mut host, &env, INVITE);
    exec.view = Some(&view);
    test(&mut exec);
    host.sent
}

fn get(exec: &mut Exec<'_>, text: &str) -> String {
    match exec.get_by_name(text.as_bytes()).unwrap() {
        Value::Null => "null".to_owned(),
        Value::Int(number) => format!("{number}"),
        Value::Str(string) => format!("{:?}", String::from_utf8_lossy(exec.bytes(string))),
    }
}

fn set(exec: &mut Exec<'_>, text: &str, value: &str) {
    let value = exec.text(value.as_bytes()).unwrap();
    exec.set_by_name(text.as_bytes(), value).unwrap();
}

fn wrong<T: std::fmt::Debug>(result: Result<T, ByNameError>) -> String {
    match result {
        Err(ByNameError::Wrong(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_variable_reads_as_in_the_configuration() {
    with(|exec| {
        assert_eq!(get(exec, "$rm"), "\"INVITE\"");
        assert_eq!(get(exec, "$hdr(user-agent)"), "\"test/1\"");
        assert_eq!(get(exec, "$(ru{uri.host}{s.toupper})"), "\"EXAMPLE.COM\"");
        assert_eq!(get(exec, "$cs"), "\"7\"");
        assert_eq!(get(exec, "$var(never)"), "0");
        assert_eq!(get(exec, "$avp(never)"), "null");
        assert_eq!(get(exec, "$null"), "null");
    });
}

#[test]
fn what_one_language_writes_the_other_reads() {
    with(|exec| {
        set(exec, "$var(before)", "late");
        set(exec, "$avp(known)", "a");
        set(exec, "$avp(known)", "b");
        set(exec, "$avp(made up)", "\0binary\0");
        assert_eq!(get(exec, "$var(before)"), "\"late\"");
        assert_eq!(get(exec, "$avp(known)"), "\"b\"");
        assert_eq!(get(exec, "$(avp(known)[1])"), "\"a\"");
        assert_eq!(get(exec, "$avp(made up)"), "\"\\0binary\\0\"");
        exec.set_by_name(b"$avp(known)", Value::Null).unwrap();
        assert_eq!(get(exec, "$avp(known)"), "\"a\"");
        set(exec, "$ru", "sip:new@host");
        assert_eq!(get(exec, "$rU"), "\"new\"");
        assert_eq!(exec.route_by_name("SUB"), Ok(7));
        assert_eq!(get(exec, "$avp(said)"), "\"by the route\"");
    });
}

#[test]
fn text_is_formatted() {
    with(|exec| {
        let value = exec.format_by_name(b"<$rm to $tU, $$ $var(x)>").unwrap();
        let Value::Str(string) = value else {
            panic!("{value:?}")
        };
        assert_eq!(exec.bytes(string), b"<INVITE to bob, $ 0>");
    });
}

#[test]
fn functions_take_their_arguments_as_values_or_as_text_with_variables() {
    let sent = with(|exec| {
        let formatted = [NamedArg::Str(b"404"), NamedArg::Str(b"No $rU")];
        let code = exec.call_by_name(Some("sl"), "sl_send_reply", &formatted, true);
        assert_eq!(code, Ok(1));
        let plain = [NamedArg::Int(404), NamedArg::Str(b"No $rU")];
        let code = exec.call_by_name(None, "sl_send_reply", &plain, false);
        assert_eq!(code, Ok(1));
        let hdr = [NamedArg::Str(b"User-Agent")];
        assert_eq!(exec.call_by_name(None, "is_present_hf", &hdr, false), Ok(1));
        let no = [NamedArg::Str(b"X-None")];
        assert_eq!(exec.call_by_name(None, "is_present_hf", &no, false), Ok(-1));
        let subst = [NamedArg::Str(b"/test/proof/")];
        assert_eq!(exec.call_by_name(None, "subst", &subst, false), Ok(1));
        let line = [NamedArg::Str(b"^user-agent: .*$")];
        assert_eq!(exec.call_by_name(None, "search", &line, false), Ok(1));
    });
    let first = |at: usize| String::from_utf8_lossy(&sent[at].payload[..20]).into_owned();
    assert!(first(0).starts_with("SIP/2.0 404 No bob\r\n"));
    assert!(first(1).starts_with("SIP/2.0 404 No $rU\r\n"));
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    with(|exec| {
        let get = |exec: &mut Exec<'_>, text: &str| wrong(exec.get_by_name(text.as_bytes()));
        assert_eq!(
            get(exec, "$nosuch"),
            "$nosuch: there is no pseudo-variable $nosuch; `corex list variables` shows those \
             that there are"
        );
        assert_eq!(get(exec, "rm"), "rm: a pseudo-variable begins with $");
        assert!(get(exec, "$avp(x").starts_with("$avp(x: "));
        assert!(get(exec, "$rm or so").contains("something follows"));
        let value = Value::Int(1);
        assert!(wrong(exec.set_by_name(b"$ci", value)).contains("can't be written"));
        let call = |exec: &mut Exec<'_>, name: &str, args: &[NamedArg<'_>]| {
            wrong(exec.call_by_name(None, name, args, false))
        };
        assert_eq!(call(exec, "nosuch", &[]), "there is no function nosuch()");
        assert!(call(exec, "codec_encode", &[]).contains("the module codec, which is not loaded"));
        assert!(call(exec, "sl_send_reply", &[]).contains("with 0 arguments"));
        assert!(call(exec, "is_incoming", &[]).contains("can't be used in request_route"));
        let flag = [NamedArg::Str(b"NO_FLAG")];
        assert!(call(exec, "msg_iflag_set", &flag).contains("`flag`"));
        assert!(wrong(exec.route_by_name("NONE")).contains("no route[NONE]"));
        // Each of the mistakes above was one; what follows is none.
        assert_eq!(super::by_name::get(exec, "$rm"), "\"INVITE\"");
        assert_eq!(
            exec.route_by_name("END"),
            Err(ByNameError::Halt(Halt::Exit)),
            "what ends the run, ends it"
        );
    });
}

#[test]
fn avps_and_decisions_go_back_to_what_they_were() {
    with(|exec| {
        set(exec, "$avp(a)", "one");
        set(exec, "$ru", "sip:first@host");
        let before = exec.before();
        set(exec, "$avp(a)", "two");
        set(exec, "$avp(b)", "three");
        exec.set_by_name(b"$avp(known)", Value::Int(1)).unwrap();
        set(exec, "$ru", "sip:second@host");
        let flag = [NamedArg::Str(b"3")];
        assert_eq!(exec.call_by_name(None, "setflag", &flag, false), Ok(1));
        exec.undo(before);
        assert_eq!(get(exec, "$ru"), "\"sip:first@host\"");
        assert_eq!(exec.call_by_name(None, "isflagset", &flag, false), Ok(-1));
        assert_eq!(get(exec, "$avp(a)"), "\"one\"");
        assert_eq!(get(exec, "$avp(b)"), "null");
        assert_eq!(get(exec, "$avp(known)"), "null");
    });
}

#[test]
fn names_without_end_cost_bounded_memory_and_an_error() {
    let program = config(CONFIG).program;
    let mut runtime = Runtime::new(Arc::clone(&program), 0);
    let mut host = TestHost::default();
    let env = env();
    for round in 0..3 {
        runtime.begin_message();
        let mut exec = Exec::new(&program, &mut runtime, &mut host, &env, INVITE);
        let mut refused = None;
        for number in 0..70_000 {
            let name = format!("$hdr(X-{round}-{number})");
            if let Err(error) = exec.get_by_name(name.as_bytes()) {
                refused = Some(error);
                break;
            }
        }
        assert!(matches!(
            refused,
            Some(ByNameError::Halt(Halt::Error(
                corex_script::run::ScriptError::Memory
            )))
        ));
    }
    runtime.begin_message();
    let mut exec = Exec::new(&program, &mut runtime, &mut host, &env, INVITE);
    set(&mut exec, "$avp(known)", "still");
    assert_eq!(get(&mut exec, "$avp(known)"), "\"still\"");
}
