//! Lists against what Kamailio's documentation says of them, and look-ups against a naive model.

use proptest::prelude::*;

use super::*;

fn filter(rules: &[(RuleList, RuleKind, &str)]) -> Secfilter {
    let settings = settings::Secfilter {
        rules: rules
            .iter()
            .map(|(list, kind, data)| file::rule(*list, *kind, data.as_bytes()).unwrap())
            .collect(),
        ..settings::Secfilter::default()
    };
    Secfilter::load(&settings, Path::new("/nowhere")).unwrap()
}

const BLACK: RuleList = RuleList::Black;
const WHITE: RuleList = RuleList::White;

#[test]
fn a_value_begins_with_what_is_listed_and_white_comes_first() {
    let filter = filter(&[
        (BLACK, RuleKind::UserAgent, "friendly"),
        (WHITE, RuleKind::UserAgent, "Friendly Phone"),
        (BLACK, RuleKind::Ip, "192.0.2."),
    ]);
    let ua = |text: &str| filter.check(RuleKind::UserAgent, Part::UserAgent, text.as_bytes());
    assert_eq!(ua("friendly-scanner"), -2);
    assert_eq!(ua("FRIENDLY PHONE 1.0"), 2);
    assert_eq!(ua("friend"), 1);
    assert_eq!(ua(""), 1);
    assert_eq!(filter.check(RuleKind::Ip, Part::Ip, b"192.0.2.77"), -2);
    assert_eq!(filter.count(Met::Listed(BLACK, Part::UserAgent)), 1);
    assert_eq!(filter.count(Met::Listed(WHITE, Part::UserAgent)), 1);
    assert_eq!(filter.count(Met::Listed(BLACK, Part::Ip)), 1);
    filter.reset_counts();
    assert_eq!(filter.count(Met::Listed(BLACK, Part::Ip)), 0);
}

#[test]
fn users_have_names_and_domains() {
    let filter = filter(&[
        (BLACK, RuleKind::User, "sipvicious"),
        (BLACK, RuleKind::User, "mallory"),
        (BLACK, RuleKind::Domain, "bad.example"),
        (WHITE, RuleKind::User, "alice"),
        (WHITE, RuleKind::Domain, "good.example"),
    ]);
    let check = |header, name: &str, user: &str, domain: &str| {
        let (name, user, domain) = (name.as_bytes(), user.as_bytes(), domain.as_bytes());
        filter.check_user(header, User { name, user, domain })
    };
    for (name, user, domain, code) in [
        ("", "sipvicious", "x", -2),
        ("SIPVicious", "x", "x", -4),
        ("mallory", "sipvicious", "x", -2),
        ("sipvicious", "mallory", "x", -4),
        ("", "x", "bad.example", -3),
        ("", "alice2", "bad.example", 2),
        ("alice", "sipvicious", "x", 4),
        ("", "x", "good.example", 3),
        ("", "mallory", "good.example", -2),
        ("", "x", "x", 1),
    ] {
        assert_eq!(
            check(Header::From, name, user, domain),
            code,
            "{name} {user} {domain}"
        );
    }
    assert_eq!(
        check(Header::Contact, "sipvicious", "x", "x"),
        1,
        "Contact has no name"
    );
    assert_eq!(
        filter.count(Met::Listed(BLACK, Part::Domain(Header::From))),
        1
    );
    assert_eq!(
        filter.count(Met::Listed(BLACK, Part::Name(Header::From))),
        2
    );
}

#[test]
fn destinations_and_injections() {
    let rules = [(RuleList::Destination, RuleKind::UserAgent, "00882")];
    let exact = filter(&rules);
    assert_eq!(exact.check_destination(b"00882"), -2);
    assert_eq!(exact.check_destination(b"008821"), 1);
    let mut settings = exact.settings.clone();
    settings.is_dst_exact = false;
    let prefix = Secfilter::load(&settings, Path::new("/nowhere")).unwrap();
    assert_eq!(prefix.check_destination(b"008821"), -2);
    assert_eq!(prefix.check_destination(b"0088"), 1);
    for (text, code) in [
        ("o'neil", -1),
        ("a\"b", -1),
        ("a--b", -1),
        ("a%27b", -1),
        ("a%24", -1),
        ("%60", -1),
        ("a-b%20", 1),
    ] {
        assert_eq!(exact.check_injection(text.as_bytes()), code, "{text}");
    }
    assert_eq!(exact.count(Met::Injection), 6);
}

#[test]
fn a_file_has_the_rows_of_kamailios_table() {
    let mut rules = Vec::new();
    let text = b"# action type data\n0 0 friendly scanner # old\nwhitelist user alice\n2 0 00882\n\n0 user a#b\n";
    let read = file::parse(Path::new("x"), text, |rule| {
        rules.push((
            rule.list,
            rule.kind,
            String::from_utf8_lossy(&rule.data).into_owned(),
        ));
        true
    });
    assert_eq!(read, Ok(()));
    let text = |list, kind, data: &str| (list, kind, data.to_owned());
    assert_eq!(
        rules,
        [
            text(BLACK, RuleKind::UserAgent, "friendly scanner"),
            text(WHITE, RuleKind::User, "alice"),
            text(RuleList::Destination, RuleKind::UserAgent, "00882"),
            text(BLACK, RuleKind::User, "a#b"),
        ]
    );
    for (bad, said) in [
        ("3 0 x", "x:1:1: this is no action"),
        ("0", "x:1:2: the type is missing"),
        ("0 5 x", "x:1:3: this is no type"),
        ("0 0", "x:1:4: the text is missing"),
    ] {
        let mistake = file::parse(Path::new("x"), bad.as_bytes(), |_| true).unwrap_err();
        assert!(mistake.to_string().starts_with(said), "{mistake}");
    }
    assert!(file::parse(Path::new("x"), b"0 0 a", |_| false).is_err());
}

#[test]
fn what_is_added_stays_until_a_reload() {
    let filter = filter(&[(BLACK, RuleKind::UserAgent, "a")]);
    assert!(filter.add(&file::rule(BLACK, RuleKind::UserAgent, b"b").unwrap()));
    assert_eq!(filter.texts(BLACK, RuleKind::UserAgent).len(), 2);
    assert_eq!(filter.reload(), Ok(()));
    assert_eq!(filter.texts(BLACK, RuleKind::UserAgent).len(), 1);
}

proptest! {
    /// Look-ups by length find the first text that a search through all of them finds.
    #[test]
    fn a_look_up_finds_the_first_prefix(
        texts in prop::collection::vec("[abA]{1,4}", 0..12), value in "[abB]{0,6}",
    ) {
        let mut all = Prefixes::default();
        for text in &texts {
            all.add(text.as_bytes());
        }
        let lower = value.to_lowercase();
        let expected = texts.iter().position(|text| lower.starts_with(&text.to_lowercase()));
        prop_assert_eq!(all.first_prefix(value.as_bytes()).map(|at| at as usize), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = file::parse(Path::new("x"), &bytes, |_| true);
    }
}
