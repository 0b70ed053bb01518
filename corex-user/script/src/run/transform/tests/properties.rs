//! What holds for any input.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{ALL, Run};
use super::*;

/// One of each transformation, with arguments that fit.
fn one_of_each() -> Vec<Transform> {
    let args = |name: &str| match name {
        "s.substr" => ",1,$var(i)",
        "s.select" => ",-1,,",
        "s.strip" | "s.striptail" | "s.prefixes" | "line.at" => ",$var(i)",
        "s.stripto" | "s.rm" | "s.count" | "s.after" | "s.rafter" | "s.before" | "s.rbefore"
        | "param.value" | "param.in" | "line.sw" | "uri.param" => ",a",
        "s.replace" => ",a,bb",
        "s.fmtlines" | "s.fmtlinet" => ",3,$var(i)",
        "s.ftime" => ",%c %x %j %U %W %V %G %z %Z",
        "param.valueat" | "param.name" => ",$var(i)",
        "re.subst" => r",/a(.*)|([bc]+)/<\1\2>/g",
        _ => "",
    };
    let each = |def: &super::super::TransformDef| {
        compiled(&format!("{{{}{}}}", def.name, args(def.name))).unwrap()
    };
    ALL.iter().map(each).collect()
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..80),
        "[a-c;=,<>\"'@: %\\\\\r\n0-9?&]{0,60}".prop_map(String::into_bytes),
        "(sip|sips|tel|urn):[a-z]{0,3}(:p)?@?[a-z.0-9\\[\\]:]{0,12}(;[a-z=]{0,6}){0,3}(\\?x=y)?"
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_input_yields_a_value_within_bounds_and_leaves_what_was_there(
        text in input(),
        number in any::<i64>(),
    ) {
        for transform in one_of_each() {
            for input in [Input::Str(&text), Input::Int(number), Input::Null] {
                let args = [Input::Int(number), Input::Int(number)];
                let mut out = b"kept".to_vec();
                let result = transform.apply(input, &args, &mut out);
                prop_assert!(out.starts_with(b"kept"));
                prop_assert!(out.len() <= MAX_OUTPUT + 4);
                match (result, input) {
                    (Ok(Output::Appended), _) => {}
                    (Ok(Output::Part(range)), Input::Str(text)) => {
                        prop_assert!(text.get(range).is_some(), "{}", transform.name());
                        prop_assert_eq!(out.len(), 4);
                    }
                    (Ok(Output::Part(_)), _) => prop_assert!(false, "a part of no string"),
                    _ => prop_assert_eq!(out.len(), 4),
                }
            }
        }
    }

    #[test]
    fn any_text_compiles_or_is_refused(text in "[ -~]{0,40}", name in 0..ALL.len()) {
        for whole in [
            format!("{{{},{text}}}", ALL[name].name),
            format!("{{re.subst,/{text}/{text}/gis}}"),
            format!("{{{text}}}"),
        ] {
            let _ = compiled(&whole);
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself(bytes in vec(any::<u8>(), 1..200)) {
        for chain in [
            "{s.encode.hexa}{s.decode.hexa}",
            "{s.encode.base58}{s.decode.base58}",
            "{s.encode.base64}{s.decode.base64}",
            "{s.encode.base64t}{s.decode.base64t}",
            "{s.encode.base64url}{s.decode.base64url}",
            "{s.encode.base64urlt}{s.decode.base64urlt}",
            "{s.escape.common}{s.unescape.common}",
            "{s.urlencode.param}{s.urldecode.param}",
        ] {
            let pv = parse(chain).unwrap();
            let (value, _) = run_all(Value::Str(bytes.clone()), &pv).unwrap();
            prop_assert_eq!(value.to_string(), Value::Str(bytes.clone()).to_string(), "{}", chain);
        }
    }

    #[test]
    fn printable_text_survives_the_escapes_of_uris(text in "[ -~]{0,80}") {
        for chain in ["{s.escape.user}{s.unescape.user}", "{s.escape.param}{s.unescape.param}"] {
            let pv = parse(chain).unwrap();
            let value = Value::Str(text.clone().into_bytes());
            let expected = value.to_string();
            prop_assert_eq!(run_all(value, &pv).unwrap().0.to_string(), expected);
        }
    }
}

#[test]
fn every_transformation_is_documented_and_applies_to_null_as_its_class_does() {
    for (def, transform) in ALL.iter().zip(one_of_each()) {
        assert!(def.doc.ends_with('.') && def.doc.len() > 10, "{}", def.name);
        assert!(
            def.args.is_empty() || def.args.starts_with([',', '[']),
            "{}",
            def.name
        );
        let mut out = Vec::new();
        let of_null = transform.apply(Input::Null, &[], &mut out);
        let is_null = of_null == Ok(Output::Null);
        assert_eq!(is_null, !matches!(def.run, Run::Any(_)), "{}", def.name);
    }
    let mut names: Vec<&str> = ALL.iter().map(|def| def.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
}

#[test]
fn what_needs_no_change_is_not_copied() {
    for (transformation, text, part) in [
        ("{s.substr,1,2}", "abcd", 1..3),
        ("{s.tolower}", "abc", 0..3),
        ("{s.trim}", " ab ", 1..3),
        ("{s.select,1,,}", "a,bc", 2..4),
        ("{s.replace,x,y}", "abc", 0..3),
        ("{s.escape.user}", "alice", 0..5),
        ("{uri.host}", "sip:a@host;x=1", 6..10),
        ("{param.value,b}", "a=1;b=\"22\"", 7..9),
        ("{nameaddr.uri}", "A <sip:b@c>", 3..10),
        ("{re.subst,/z/y/}", "abc", 0..3),
    ] {
        let mut out = Vec::new();
        let transform = compiled(transformation).unwrap();
        let result = transform.apply(Input::Str(text.as_bytes()), &[], &mut out);
        assert_eq!(result, Ok(Output::Part(part)), "{transformation}");
        assert_eq!(out.capacity(), 0, "{transformation}");
    }
}

#[test]
fn what_would_grow_beyond_the_bound_is_an_error_and_leaves_nothing() {
    let long = vec![b'a'; MAX_OUTPUT];
    for transformation in [
        "{s.encode.hexa}",
        "{s.encode.base58}",
        "{s.escape.csv}",
        "{s.prefixes}",
        "{s.replace,a,bb}",
        "{s.fmtlines,1,1000}",
        "{re.subst,/a/aa/g}",
    ] {
        let mut out = b"kept".to_vec();
        let transform = compiled(transformation).unwrap();
        let result = transform.apply(Input::Str(&long), &[], &mut out);
        assert_eq!(result, Err(Error::TooLong), "{transformation}");
        assert_eq!(out, b"kept");
    }
}

#[test]
fn what_the_script_is_to_blame_for_has_a_reason() {
    let failed = |transformation: &str| {
        let pv = parse(transformation).unwrap();
        run_all(Value::Str(b"abc".to_vec()), &pv).unwrap().1
    };
    assert_eq!(failed("{s.strip,$var(a)}"), Some(Error::NotInteger));
    assert_eq!(failed("{s.strip,$avp(none)}"), Some(Error::NullArgument));
    assert_eq!(failed("{re.subst,/x*/-/}"), Some(Error::EmptyMatch));
    assert_eq!(failed("{s.strip,1}"), None);
}

/// Where Kamailio 5.6.3 reads beyond its values or contradicts its documentation.
#[test]
fn what_kamailio_gets_wrong_is_as_documented() {
    const URI: &str = r#""sip:alice@server.com:5060;nat=yes;transport=tcp;line=xyz""#;
    let wrong = differences(&[
        (r#""abcdefcgh""#, "{s.rafter,c}", r#""gh""#),
        (r#""abcdefcgh""#, "{s.rafter,z}", r#""""#),
        (r#""abcdefcgh""#, "{s.rbefore,c}", r#""abcdef""#),
        (r#""abcdefcgh""#, "{s.rbefore,z}", r#""abcdefcgh""#),
        (r#""abcdefgh""#, "{s.fmtlines,4,2}", r#""abcd\r\n  efgh""#),
        (
            r#""abcdefgh""#,
            "{s.fmtlinet,3,1}",
            r#""abc\r\n\tdef\r\n\tgh""#,
        ),
        (r#""abcdefgh""#, "{s.fmtlines,9,1}", r#""abcdefgh""#),
        (r#""ZiCa""#, "{s.decode.base58}", r#""abc""#),
        (r#""99999999999""#, "{s.int}", "99999999999"),
        (r#""9223372036854775808""#, "{s.int}", "$null"),
        (URI, "{uri.duri}", r#""sip:server.com:5060;transport=tcp""#),
        (URI, "{uri.saor}", r#""sip:alice@server.com""#),
        (
            URI,
            "{uri.suri}",
            r#""sip:alice@server.com:5060;transport=tcp""#,
        ),
        (r#""tel:+123""#, "{uri.saor}", r#""tel:+123""#),
        (r#""a\n\nb""#, "{line.at,-2}", r#""""#),
        (r#""h~80""#, "{urialias.decode}", "$null"),
        (r#""YW*j""#, "{s.decode.base64}", "$null"),
        (r#""zz""#, "{s.decode.7bit}", "$null"),
    ]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Classes that Kamailio documents for 5.6 and 5.6.3 lacks.
#[test]
fn what_kamailio_only_documents_is_as_documented() {
    let wrong = differences(&[
        ("$null", "{val.n0}", "0"),
        (r#""a""#, "{val.n0}", r#""a""#),
        ("7", "{val.n0}", "7"),
        ("$null", "{val.ne}", r#""""#),
        ("$null", "{val.json}", r#""""#),
        ("$null", "{val.jsonqe}", r#""\"\"""#),
        ("7", "{val.jsonqe}", "7"),
        (
            r#""\"name\" <sip:name@a.com>\n\x01""#,
            "{val.json}",
            r#""\\\"name\\\" <sip:name@a.com>\\n\\u0001""#,
        ),
        (r#""udp:127.0.0.1:5060""#, "{sock.host}", r#""127.0.0.1""#),
        (r#""udp:127.0.0.1:5060""#, "{sock.port}", r#""5060""#),
        (r#""udp:127.0.0.1:5060""#, "{sock.proto}", r#""udp""#),
        (
            r#""tls:[::1]:5061""#,
            "{sock.touri}",
            r#""sip:[::1]:5061;transport=tls""#,
        ),
        (r#""udp:a:b""#, "{sock.host}", "$null"),
    ]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_pattern_is_posix_and_not_of_the_crate() {
    let wrong = differences(&[
        (r#""ad7""#, r"{re.subst,/\d/X/}", r#""aX7""#),
        (r#""a\\b""#, r"{re.subst,/[\d]/X/}", r#""aXb""#),
        (r#""aab""#, "{re.subst,/a+?/X/}", r#""Xb""#),
        (r#""a&b""#, "{re.subst,/[a&&b]/X/g}", r#""XXX""#),
        (r#""a b""#, "{re.subst,/ /X/}", r#""aXb""#),
        (r#""a#b""#, "{re.subst,/a#/X/}", r#""Xb""#),
        (r#""foobar""#, "{re.subst,/foo|foobar/X/}", r#""Xbar""#),
        (r#""aaaa""#, "{re.subst,/^a/b/g}", r#""baaa""#),
    ]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_time_is_written_in_the_zone_and_the_weeks_of_the_calendar() {
    for (seconds, format, expected) in [
        (
            "1704067199",
            "%G-W%V-%u %U %W %j",
            r#""2023-W52-7 53 52 365""#,
        ),
        (
            "1704067200",
            "%G-W%V-%u %U %W %j",
            r#""2024-W01-1 00 01 001""#,
        ),
        (
            "0",
            "%I %l %p %k|%-d|%_m|%^a|%E|%",
            r#""12 12 AM  0|1| 1|THU|%E|%""#,
        ),
        ("-62135596800", "%C %y %Y", r#""00 01 1""#),
    ] {
        let found = yields(seconds, &format!("{{s.ftime,{format}}}"));
        assert_eq!(found, expected, "{format}");
    }
}
