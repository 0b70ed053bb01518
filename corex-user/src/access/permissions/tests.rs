//! Files against what Kamailio's documentation says of them, and look-ups against a naive model.

use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use corex_sip::Transport;

const FILE: &str = "address.list";

fn addresses(text: &str) -> Result<Addresses, String> {
    let parsed = Addresses::parse(Path::new(FILE), text.as_bytes(), 512);
    parsed.map_err(|mistake| mistake.to_string())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_address_file_is_kamailios() {
    let all = addresses(
        "# group address mask port tag\n\
         1 192.0.2.1\n\
         \t1\t192.0.2.2 32 5060 office # with a port\r\n\
         2 198.51.100.0 24 0 net\n\
         1 [2001:db8::1] 128 5061\n\
         3 2001:db8:1:: 48\n\
         1 sip.example.com 0 5060 named\n\
         4 192.0.2.1 backup\n\
         \n",
    )
    .unwrap();
    let found = |group, address: &str, port| {
        let entry = all.find(group, ip(address), port)?;
        let tag = entry.tag.as_deref().map(String::from_utf8_lossy);
        Some((entry.group, tag.unwrap_or_default().into_owned()))
    };
    let some = |group, tag: &str| Some((group, tag.to_owned()));
    assert_eq!(found(Some(1), "192.0.2.1", 1), some(1, ""));
    assert_eq!(found(Some(4), "192.0.2.1", 1), some(4, "backup"));
    // The last line of an address counts where no group is asked for.
    assert_eq!(found(None, "192.0.2.1", 1), some(4, "backup"));
    assert_eq!(found(Some(1), "192.0.2.2", 5060), some(1, "office"));
    assert_eq!(found(Some(1), "192.0.2.2", 5061), None);
    assert_eq!(found(None, "198.51.100.255", 9), some(2, "net"));
    assert_eq!(found(None, "198.51.101.0", 9), None);
    assert_eq!(found(Some(1), "2001:db8::1", 5061), some(1, ""));
    assert_eq!(found(Some(3), "2001:db8:1:ffff::", 5061), some(3, ""));
    assert_eq!(found(Some(2), "2001:db8:1:ffff::", 5061), None);
    assert_eq!(
        all.find_name(None, b"sip.example.com", 5060)
            .map(|e| e.group),
        Some(1)
    );
    assert!(all.find_name(None, b"SIP.example.com", 5060).is_none());
    assert!(all.find_name(None, b"sip.example.com", 5061).is_none());
}

#[test]
fn mistakes_in_an_address_file_have_a_place() {
    for (text, said) in [
        (
            "1 192.0.2.1\nx 192.0.2.2",
            "address.list:2:1: this is not a group's number",
        ),
        ("1", "address.list:1:2: the address is missing"),
        (
            "1 192.0.2.0 33",
            "address.list:1:13: this is not a mask's bits from 0 to 32",
        ),
        (
            "1 192.0.2.0 24x",
            "address.list:1:13: this is not a mask's bits from 0 to 32",
        ),
        (
            "1 2001:db8:: 129",
            "address.list:1:14: this is not a mask's bits from 0 to 128",
        ),
        (
            "1 192.0.2.1 32 65536",
            "address.list:1:16: this is not a port from 0 to 65535",
        ),
        (
            "1 192.0.2.0/24",
            "address.list:1:3: this is neither an address nor a host name",
        ),
        (
            "4294967296 192.0.2.1",
            "address.list:1:1: this is not a group's number",
        ),
    ] {
        assert_eq!(addresses(text).map(|_| ()), Err(said.to_owned()), "{text}");
    }
    let parsed = Addresses::parse(Path::new(FILE), b"1 10.0.0.0 8\n1 11.0.0.0 8\n", 1);
    let mistake = parsed.unwrap_err();
    assert_eq!(
        mistake.to_string(),
        "address.list:2:3: these are more than 1 networks"
    );
    assert!(mistake.help.contains("max_subnets"));
}

#[test]
fn a_dump_has_kamailios_slots() {
    // Read off the real one: permissions.addressDump of these addresses.
    let all = addresses("1 10.0.1.2\n7 10.0.1.2\n1 127.0.0.1\n").unwrap();
    let dumped: Vec<_> = all
        .hosts()
        .into_iter()
        .map(|(_, ip, e)| (ip, e.group))
        .collect();
    let position = |wanted| dumped.iter().position(|line| *line == wanted).unwrap();
    assert!(position((ip("10.0.1.2"), 7)) < position((ip("10.0.1.2"), 1)));
    assert!(all.hosts().iter().all(|(slot, ..)| *slot < 128));
}

proptest! {
    /// Look-ups by length of prefix find what a search through all lines finds.
    #[test]
    fn a_look_up_finds_what_a_search_finds(
        lines in prop::collection::vec((1u32..4, 0u32..64, 26u8..33, 0u16..3), 0..40),
        asked in prop::collection::vec((0u32..64, 0u16..3, prop::option::of(1u32..4)), 1..40),
    ) {
        let address = |low: u32| IpAddr::from((0x0a00_0000u32 + low).to_be_bytes());
        let mut text = String::new();
        for (group, low, bits, port) in &lines {
            text += &format!("{group} {} {bits} {port}\n", address(*low));
        }
        let all = addresses(&text).unwrap();
        for (low, port, group) in asked {
            let ip = address(low);
            let fits = |line: &&(u32, u32, u8, u16)| {
                (line.3 == 0 || line.3 == port) && group.is_none_or(|group| group == line.0)
            };
            let mut sorted: Vec<_> = lines.iter().filter(|line| line.2 < 32).collect();
            sorted.sort_by_key(|line| line.0);
            let single = lines.iter().rev().filter(|line| line.2 == 32 && line.1 == low).find(fits);
            let inside = |line: &&&(u32, u32, u8, u16)| {
                Network::of(ip, line.2).ip == Network::of(address(line.1), line.2).ip
            };
            let network = sorted.iter().filter(inside).copied().find(fits);
            let expected = single.or(network).map(|line| (line.0, line.3));
            let found = all.find(group, ip, port).map(|entry| (entry.group, entry.port));
            prop_assert_eq!(found, expected);
        }
    }

    /// No bytes make the parsers do anything but read or refuse them.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Addresses::parse(Path::new(FILE), &bytes, 4);
        let _ = Trusted::parse(Path::new(FILE), &bytes);
        let _ = Rules::parse(Path::new(FILE), &bytes);
    }
}

fn rules(text: &str) -> Result<Rules, String> {
    Rules::parse(Path::new("x.allow"), text.as_bytes()).map_err(|mistake| mistake.to_string())
}

#[test]
fn rules_are_lists_with_exceptions_on_both_sides() {
    let all = rules(
        "# comment with : and \"\n\
         ALL : \"^sip:361[0-9]*@abc\\.com$\" EXCEPT \"^sip:361[0-9]*3@abc\\.com$\", \"^sip:361[0-9]*4@abc\\.com$\"\n\
         \"^sip:3677[0-9]*@abc\\.com$\" :  ALL # all of them\n\
         \"^sip:a,b@x$\", sip_user : \"^sip:c:d\"\n",
    )
    .unwrap();
    for (left, right, fits) in [
        ("sip:x@y", "sip:36125@abc.com", true),
        ("sip:x@y", "SIP:36125@ABC.com", true),
        ("sip:x@y", "sip:36123@abc.com", false),
        ("sip:x@y", "sip:36124@abc.com", false),
        ("sip:367712@abc.com", "sip:36124@abc.com", true),
        ("sip:a,b@x", "sip:c:d@x", true),
        ("my sip_user", "sip:c:d@x", true),
        ("sip:a", "sip:c:d@x", false),
    ] {
        assert_eq!(
            all.fit(left.as_bytes(), right.as_bytes()),
            fits,
            "{left} {right}"
        );
    }
    assert!(rules("\n# nothing\n").unwrap().is_empty());
}

#[test]
fn mistakes_in_rules_have_a_place() {
    for (text, said) in [
        (
            "ALL ALL",
            "x.allow:1:8: there is no `:` outside of quotation marks",
        ),
        (
            "\nALL : \"a",
            "x.allow:2:7: this quotation mark has no partner",
        ),
        ("ALL : a,,b", "x.allow:1:9: an expression is missing here"),
        (": ALL", "x.allow:1:1: an expression is missing here"),
    ] {
        assert_eq!(rules(text).map(|_| ()), Err(said.to_owned()), "{text}");
    }
    let bad = rules("ALL : \"[\"").unwrap_err();
    assert!(
        bad.starts_with("x.allow:1:7: this is no regular expression"),
        "{bad}"
    );
}

#[test]
fn trusted_peers_are_asked_by_priority() {
    let all = Trusted::parse(
        Path::new("trusted.list"),
        b"10.0.0.1 udp ^sip:a@ - low 1\n\
          10.0.0.1 ANY - ^sip:911@ high 5\n\
          10.0.0.2 tcp \"^sip:a b\"\n\
          10.0.0.3 none -\n",
    )
    .unwrap();
    let tags = |address: &str, proto, from: &'static str, uri: &'static str| {
        let found = all.find(address.as_bytes(), proto, from.as_bytes(), uri.as_bytes());
        let tag =
            |peer: &Peer| String::from_utf8_lossy(peer.tag.as_deref().unwrap_or(b"-")).into_owned();
        found.map(tag).collect::<Vec<_>>()
    };
    let udp = Proto::One(Transport::Udp);
    assert_eq!(
        tags("10.0.0.1", udp, "sip:a@b", "sip:911@b"),
        ["high", "low"]
    );
    assert_eq!(tags("10.0.0.1", udp, "sip:a@b", "sip:1@b"), ["low"]);
    assert_eq!(
        tags(
            "10.0.0.1",
            Proto::One(Transport::Tcp),
            "sip:a@b",
            "sip:911@b"
        ),
        ["high"]
    );
    assert_eq!(tags("10.0.0.2", Proto::Any, "sip:a b", ""), ["-"]);
    assert!(tags("10.0.0.2", udp, "sip:a b", "").is_empty());
    assert!(tags("10.0.0.3", udp, "", "").is_empty());
    let bad = Trusted::parse(Path::new("t"), b"10.0.0.1 xyz -").unwrap_err();
    assert_eq!(bad.to_string(), "t:1:10: this is no transport");
    let bad = Trusted::parse(Path::new("t"), b"10.0.0.1 udp - - t high").unwrap_err();
    assert_eq!(bad.to_string(), "t:1:20: this is no priority");
}

#[test]
fn a_reload_soon_after_another_one_is_refused() {
    let settings = settings::Permissions::default();
    let permissions = Permissions::load(&settings, Path::new("/nowhere"), &[]).unwrap();
    let now = Instant::now();
    assert!(permissions.may_reload(now));
    assert!(!permissions.may_reload(now + std::time::Duration::from_secs(4)));
    assert!(permissions.may_reload(now + std::time::Duration::from_secs(5)));
}

#[test]
fn a_group_and_all_of_trusted_file_are_trusted() {
    let folder = std::env::temp_dir().join(format!("corex-trusted-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = "1 10.0.0.1\n2 10.0.0.2\n1 10.1.7.7 16\n1 10.0.0.3 32 5060\n";
    std::fs::write(folder.join(FILE), file).unwrap();
    let peers = "192.0.2.1 udp ^sip:a\n192.0.2.1 tcp -\n2001:db8::1 any -\n192.0.2.2 none -\n";
    std::fs::write(folder.join("trusted"), peers).unwrap();
    let trusts = |trusted_group| {
        let settings = settings::Permissions {
            address_file: Some(FILE.to_owned()),
            trusted_file: Some("trusted".to_owned()),
            trusted_group,
            ..settings::Permissions::default()
        };
        let permissions = Permissions::load(&settings, &folder, &[]).unwrap();
        let all = permissions.trusts().into_iter();
        let mut all: Vec<_> = all.map(|it| format!("{}/{}", it.addr, it.len)).collect();
        all.sort();
        all
    };
    let groups = [1, 2, 0].map(trusts);
    std::fs::remove_dir_all(&folder).unwrap();
    let peers = ["192.0.2.1/32", "2001:db8::1/128"];
    assert_eq!(
        groups[0],
        ["10.0.0.1/32", "10.1.0.0/16", peers[0], peers[1]]
    );
    assert_eq!(groups[1], ["10.0.0.2/32", peers[0], peers[1]]);
    assert_eq!(groups[2], peers);
    assert_eq!(settings::Permissions::default().trusted_group, 1);
}

#[test]
fn the_guard_gets_the_group_that_it_is_to_let_in() {
    let folder = std::env::temp_dir().join(format!("corex-guard-group-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = "1 10.0.0.1\n2 10.0.0.2\n1 10.1.7.7 16\n1 10.0.0.3 32 5060\n1 2001:db8:: 32\n";
    std::fs::write(folder.join(FILE), file).unwrap();
    let mut settings = settings::Permissions {
        address_file: Some(FILE.to_owned()),
        guard_group: Some(1),
        ..settings::Permissions::default()
    };
    let allowed = |settings: &settings::Permissions| {
        let permissions = Permissions::load(settings, &folder, &[]).unwrap();
        let mut all: Vec<_> = permissions
            .allowed()
            .into_iter()
            .map(|it| (it.addr, it.len))
            .collect();
        all.sort();
        all
    };
    let group = allowed(&settings);
    settings.guard_group = None;
    let none = allowed(&settings);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(
        group,
        [
            (ip("10.0.0.1"), 32),
            (ip("10.1.0.0"), 16),
            (ip("2001:db8::"), 32)
        ]
    );
    assert!(none.is_empty());
}
