//! What must hold for any input: the way to text and back changes nothing, and nothing panics or hangs.

use super::super::ast::*;
use super::super::span::Span;
use super::super::{parse_bytes, parse_str};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv6Addr};

fn at<T>(kind: T) -> Node<T> {
    Node::new(kind, Span::NONE)
}

/// Names that no rule takes for a keyword.
fn name() -> impl Strategy<Value = String> {
    "[a-z_][a-z0-9_]{0,6}".prop_filter("a keyword", |name| {
        let keywords = [
            "if", "else", "while", "switch", "case", "default", "break", "return", "exit", "drop",
            "or", "and", "not", "mod", "eq", "ne", "ieq", "ine", "defined", "strlen", "strempty",
            "yes", "no", "on", "off", "true", "false", "enable", "disable", "name", "virtual",
            "desc", "descr", "route", "listen", "alias", "udp", "tcp", "tls", "sctp", "ws", "wss",
        ];
        !keywords.contains(&name.as_str())
    })
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        vec(any::<u8>(), 0..12).prop_map(Text::new),
        "[ -~\\n\\té]{0,16}".prop_map(|text: String| Text::new(text)),
    ]
}

fn pv() -> impl Strategy<Value = Pv> {
    let name = prop_oneof![name(), Just("?".to_owned())];
    let inner = option::of("[a-zA-Z:=> .-]{0,6}(\\([a-z]{0,3}\\))?(\\$[a-z]{1,3})?");
    let leaf = (name, inner).prop_map(|(name, inner)| Pv {
        name: at(name),
        inner: inner.map(|inner| at(Text::new(inner))),
        index: None,
        transformations: Vec::new(),
        span: Span::NONE,
    });
    leaf.prop_recursive(3, 6, 1, |pv| {
        let index = prop_oneof![
            (-9i64..9).prop_map(PvIndex::At),
            Just(PvIndex::All),
            pv.clone().prop_map(|pv| PvIndex::Pv(Box::new(pv))),
        ];
        let transformation = (
            "[a-z]{1,3}(\\.[a-z]{1,3})?",
            option::of("[a-z0-9,/$ ]{0,6}"),
        )
            .prop_map(|(name, args)| Transformation {
                name: at(name),
                args: args.map(|args| at(Text::new(args))),
            });
        (pv, option::of(index), vec(transformation, 0..3)).prop_map(
            |(mut pv, index, transformations)| {
                pv.index = index.map(at);
                pv.transformations = transformations;
                pv
            },
        )
    })
}

fn unary_op() -> impl Strategy<Value = UnaryOp> {
    prop::sample::select(vec![
        UnaryOp::Not,
        UnaryOp::Negate,
        UnaryOp::BitNot,
        UnaryOp::ToInt,
        UnaryOp::ToStr,
        UnaryOp::Defined,
        UnaryOp::StrLen,
        UnaryOp::StrEmpty,
    ])
}

fn binary_op() -> impl Strategy<Value = BinaryOp> {
    prop::sample::select(vec![
        BinaryOp::Or,
        BinaryOp::And,
        BinaryOp::BitOr,
        BinaryOp::BitAnd,
        BinaryOp::BitXor,
        BinaryOp::ShiftLeft,
        BinaryOp::ShiftRight,
        BinaryOp::Equal,
        BinaryOp::NotEqual,
        BinaryOp::Match,
        BinaryOp::NotMatch,
        BinaryOp::StrEqual,
        BinaryOp::StrNotEqual,
        BinaryOp::IntEqual,
        BinaryOp::IntNotEqual,
        BinaryOp::Less,
        BinaryOp::LessEqual,
        BinaryOp::Greater,
        BinaryOp::GreaterEqual,
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Mod,
    ])
}

fn expr() -> impl Strategy<Value = Expr> {
    let word = prop_oneof![
        name(),
        prop::sample::select(vec![
            "uri", "msg:len", "uri:host", "a.b.c", "int", "str", "method"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        (0i64..=i64::MAX).prop_map(ExprKind::Int),
        text().prop_map(ExprKind::Str),
        word.prop_map(ExprKind::Word),
        (any::<IpAddr>(), option::of(0u8..=32))
            .prop_map(|(address, prefix)| ExprKind::Ip { address, prefix }),
        pv().prop_map(|pv| ExprKind::Pv(Box::new(pv))),
        "[a-z]{1,4}(\\.[a-z]{1,4}){0,2}".prop_map(ExprKind::Select),
    ]
    .prop_map(at);
    leaf.prop_recursive(6, 48, 3, |inner| {
        prop_oneof![
            (unary_op(), inner.clone()).prop_map(|(op, operand)| at(ExprKind::Unary {
                op: at(op),
                operand: Box::new(operand),
            })),
            (binary_op(), inner.clone(), inner.clone()).prop_map(|(op, left, right)| {
                at(ExprKind::Binary {
                    op: at(op),
                    left: Box::new(left),
                    right: Box::new(right),
                })
            }),
            call(inner),
        ]
    })
}

fn call(args: impl Strategy<Value = Expr>) -> impl Strategy<Value = Expr> {
    let name = prop_oneof![name(), Just("route".to_owned())];
    (name, vec(args, 0..3)).prop_map(|(name, args)| {
        at(ExprKind::Call(Call {
            name: at(name),
            args,
        }))
    })
}

fn block(statement: impl Strategy<Value = Stmt>) -> impl Strategy<Value = Block> {
    vec(statement, 0..3).prop_map(|statements| Block {
        statements,
        span: Span::NONE,
    })
}

fn stmt() -> impl Strategy<Value = Stmt> {
    let target = prop_oneof![
        pv().prop_map(|pv| ExprKind::Pv(Box::new(pv))),
        name().prop_map(ExprKind::Word),
    ];
    let assign_op = prop_oneof![Just(AssignOp::Set), Just(AssignOp::Add)];
    let leaf = prop_oneof![
        Just(StmtKind::Break),
        option::of(expr()).prop_map(StmtKind::Return),
        option::of(expr()).prop_map(StmtKind::Exit),
        option::of(expr()).prop_map(StmtKind::Drop),
        call(expr()).prop_map(StmtKind::Expr),
        (target, assign_op, expr()).prop_map(|(target, op, value)| StmtKind::Assign {
            target: at(target),
            op: at(op),
            value,
        }),
    ]
    .prop_map(at);
    leaf.prop_recursive(3, 12, 3, |inner| {
        let arm =
            (expr(), block(inner.clone())).prop_map(|(condition, body)| IfArm { condition, body });
        let label = prop_oneof![
            expr().prop_map(CaseLabel::Value),
            text().prop_map(|regex| CaseLabel::Regex(at(ExprKind::Str(regex)))),
        ];
        let case = (label, vec(inner.clone(), 0..3)).prop_map(|(label, statements)| Case {
            label: at(label),
            statements,
        });
        prop_oneof![
            block(inner.clone()).prop_map(StmtKind::Block),
            (vec(arm, 1..3), option::of(block(inner.clone())))
                .prop_map(|(arms, otherwise)| StmtKind::If { arms, otherwise }),
            (expr(), block(inner.clone()))
                .prop_map(|(condition, body)| StmtKind::While { condition, body }),
            (expr(), vec(case, 0..3), option::of(vec(inner, 0..2))).prop_map(
                |(subject, mut cases, default)| {
                    cases.extend(default.map(|statements| Case {
                        label: at(CaseLabel::Default),
                        statements,
                    }));
                    StmtKind::Switch { subject, cases }
                }
            ),
        ]
        .prop_map(at)
    })
}

fn address() -> impl Strategy<Value = Node<Address>> {
    let transport = prop::sample::select(vec!["udp", "TCP", "tls", "sctp"]).prop_map(str::to_owned);
    let host = prop_oneof![
        any::<IpAddr>().prop_map(HostKind::Ip),
        (any::<Ipv6Addr>(), "[a-w][a-z0-9]{0,4}")
            .prop_map(|(address, zone)| HostKind::Scoped(address, zone)),
        "[a-w][a-z0-9]{0,4}([.-][a-w][a-z0-9]{0,3}){1,2}".prop_map(HostKind::Name),
        Just(HostKind::Any),
    ];
    (option::of(transport), host, option::of(any::<u16>())).prop_map(|(transport, host, port)| {
        at(Address {
            transport: transport.map(at),
            host: at(host),
            port: port.map(at),
        })
    })
}

fn listen() -> impl Strategy<Value = Listen> {
    (
        address(),
        option::of(address()),
        option::of(text()),
        any::<bool>(),
    )
        .prop_map(|(address, advertise, name, is_virtual)| Listen {
            address,
            advertise,
            name: name.map(at),
            is_virtual,
        })
}

fn setting() -> impl Strategy<Value = Setting> {
    let plain = prop_oneof![
        (-i64::MAX..=i64::MAX).prop_map(SettingValueKind::Int),
        any::<bool>().prop_map(SettingValueKind::Bool),
        text().prop_map(SettingValueKind::Str),
        name().prop_map(SettingValueKind::Word),
    ];
    prop_oneof![
        (option::of(name()), name(), plain, option::of(text())).prop_map(
            |(group, name, value, description)| Setting {
                description: group.as_ref().and(description).map(at),
                group: group.map(at),
                name: at(name),
                values: vec![at(value)],
            }
        ),
        (
            prop::sample::select(vec!["listen", "alias"]),
            vec(listen(), 1..3)
        )
            .prop_map(|(name, values)| Setting {
                group: None,
                name: at(name.to_owned()),
                values: values
                    .into_iter()
                    // A host written as `*` begins no further address.
                    .filter(|listen| listen.address.kind.host.kind != HostKind::Any)
                    .map(|listen| at(SettingValueKind::Address(Box::new(listen))))
                    .collect(),
                description: None,
            }),
    ]
    .prop_filter("a setting without value", |setting| {
        !setting.values.is_empty()
    })
}

fn route() -> impl Strategy<Value = Route> {
    let named = prop_oneof![name(), "[a-z0-9 :.-]{1,6}"]
        .prop_filter("the main block's", |name| name != "0");
    let head = prop_oneof![
        Just((RouteKind::Request, None)),
        Just((RouteKind::Reply, None)),
        Just((RouteKind::OnSend, None)),
        named
            .clone()
            .prop_map(|name| (RouteKind::Request, Some(name))),
        named
            .clone()
            .prop_map(|name| (RouteKind::Reply, Some(name))),
        option::of(named.clone()).prop_map(|name| (RouteKind::Failure, name)),
        option::of(named).prop_map(|name| (RouteKind::Branch, name)),
        "[a-z]{1,6}(:[a-z][a-z-]{0,6}){1,2}".prop_map(|name| (RouteKind::Event, Some(name))),
    ];
    (head, block(stmt())).prop_map(|((kind, name), body)| Route {
        kind: at(kind),
        name: name.map(at),
        body,
    })
}

fn file() -> impl Strategy<Value = File> {
    let value = prop_oneof![
        (-i64::MAX..=i64::MAX).prop_map(ParamValue::Int),
        text().prop_map(ParamValue::Str),
    ];
    let item = prop_oneof![
        setting().prop_map(ItemKind::Setting),
        text().prop_map(|path| ItemKind::LoadModule(at(path))),
        text().prop_map(|path| ItemKind::LoadPath(at(path))),
        (text(), text(), value).prop_map(|(modules, name, value)| ItemKind::ModParam(ModParam {
            modules: at(modules),
            name: at(name),
            value: at(value),
        })),
        route().prop_map(ItemKind::Route),
    ];
    vec(item.prop_map(at), 0..4).prop_map(|items| File { items })
}

const VALID: &str = r#"#!KAMAILIO
#!define X "a" + $var(x)
#!ifdef X
listen=udp:[::1]:5060 advertise 192.0.2.1:5060 name "n"
#!else
alias=sip.example.com
#!endif
modparam("corex", "msg_avp", "$avp(msg)")
request_route {
    if (uri == myself && $rU =~ "^\+[0-9]+" || src_ip == 10.0.0.0/8) { drop; } else if (!$a) exit;
    $avp(x) = (int)$(hdr(A)[-1]{s.substr,0,$var(n)}) << 2 + X;
    switch ($rm) { case "A": case /"^B": break; default: return -1; };
    while ($var(i) < 10) { $var(i) += 1; /* c */ xlog("L_INFO", "x\x41\n$mb" "y"); }
}
event_route[network:msg] { route(A); } # end
"#;

/// Parses and shows whatever comes of it.
fn survives(bytes: Vec<u8>) {
    let parsed = parse_bytes("any.cfg", bytes);
    let shown = parsed.report.render(true);
    assert_eq!(shown.is_empty(), parsed.report.diagnostics().is_empty());
    if parsed.report.has_errors() {
        return;
    }
    let again = parse_str("again.cfg", &parsed.file.to_string());
    assert!(
        !again.report.has_errors(),
        "{}{}",
        parsed.file,
        again.report
    );
    assert_eq!(again.file, parsed.file);
}

proptest! {
    #[test]
    fn printed_tree_parses_to_an_equal_tree(file in file()) {
        let text = file.to_string();
        let parsed = parse_str("printed.cfg", &text);
        prop_assert!(!parsed.report.has_errors(), "{text}\n{}", parsed.report);
        prop_assert_eq!(&parsed.file, &file, "{}", text);
        prop_assert_eq!(parsed.file.to_string(), text);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        survives(bytes);
    }

    #[test]
    fn arbitrary_signs_of_the_language_never_panic(
        pieces in vec(prop::sample::select(vec![
            "if", "else", "while", "switch", "case", "default", ":", "(", ")", "{", "}", "[", "]",
            "$", "$(", "$var(x)", "\"", "'", "\\", "/*", "*/", "#", "#!ifdef A\n", "#!else\n",
            "#!endif\n", "#!subst \"/a/b/g\"\n", "#!substdef \"!A!$$1!\"\n", "#!substdefs \"/x/\\xff/\"\n",
            "include_file \"x\"", "import_file", "#!import_file \"src\"\n", "#!defenv HOME\n", "#!define A ", "A", "\n", " ", ";", "=", "==", "+", "!", "~", "/", "1",
            "::1", "10.0.0.1", "0x", "é", "route", "request_route", "listen=", "udp:", "modparam(",
            ",", "\"a\"", "return", "@a.b", ".", "-", "\x00", "event_route[a:b]", "strlen(",
        ]), 0..80)
    ) {
        survives(pieces.concat().into_bytes());
    }

    #[test]
    fn mutated_configuration_never_panics(
        edits in vec((0usize..VALID.len(), any::<u8>(), 0u8..4, 0usize..40), 1..6)
    ) {
        let mut bytes = VALID.as_bytes().to_vec();
        for (at, byte, kind, len) in edits {
            let at = at.min(bytes.len().saturating_sub(1));
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.drain(at..(at + len).min(bytes.len()))),
                _ => {
                    let copy: Vec<u8> = bytes[at..(at + len).min(bytes.len())].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        survives(bytes);
    }
}

#[test]
fn valid_sample_is_valid() {
    survives(VALID.as_bytes().to_vec());
    assert!(!parse_str("valid.cfg", VALID).report.has_errors());
}
