//! Files of lists: of the module permissions, of secfilter, of the guard.

use std::net::IpAddr;
use std::path::Path;

use corex_script::settings::guard::network;
use corex_user::access::permissions::{Addresses, Network, Rules, Trusted};
use corex_user::access::{Mistake, secfilter};
use corex_user::guard::kept;

/// Takes the input for a file of each kind, and asks what was read of it.
///
/// # Panics
/// When a mistake is said to be where there is nothing, or a line that was read and written isn't
/// read alike.
pub fn lists(data: &[u8]) {
    let file = Path::new("file");
    let mistakes = [
        Addresses::parse(file, data, 100)
            .map(|addresses| ask(&addresses))
            .err(),
        Trusted::parse(file, data)
            .map(|peers| drop(peers.peers()))
            .err(),
        Rules::parse(file, data)
            .map(|rules| rules.fit(b"sip:a@b", data))
            .err(),
        secfilter::file::parse(file, data, |rule| !rule.data.is_empty()).err(),
    ];
    for mistake in mistakes.into_iter().flatten() {
        lies_within(data, &mistake);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for line in text.lines() {
        of_guard(line);
    }
}

fn lies_within(data: &[u8], mistake: &Mistake) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let line = lines
        .nth(mistake.line as usize - 1)
        .expect("the line is there");
    assert!(mistake.column as usize <= line.len() + 1, "{mistake}");
    assert!(!mistake.what.is_empty() && !mistake.help.is_empty());
}

fn ask(addresses: &Addresses) {
    let networks = addresses.networks().iter();
    let networks = networks.map(|(network, entry)| (network.ip, entry));
    let hosts = addresses.hosts();
    let hosts = hosts.iter().map(|(_, ip, entry)| (*ip, *entry));
    for (ip, entry) in hosts.chain(networks) {
        assert!(addresses.find(Some(entry.group), ip, entry.port).is_some());
    }
    for (network, _) in addresses.networks() {
        let first = Network::of(network.ip, network.bits).ip;
        let same: IpAddr = Network::of(first, network.bits).ip;
        assert_eq!(first, same);
    }
    for (_, name, entry) in addresses.names() {
        assert!(addresses.find_name(None, name, entry.port).is_some());
    }
}

fn of_guard(line: &str) {
    if let Err(mistake) = network(line) {
        assert!(line.get(mistake.part).is_some(), "{}", mistake.what);
    }
    match kept::parse(line) {
        Ok(found) => assert_eq!(kept::parse(&found.line()), Ok(found)),
        Err(mistake) => assert!(line.get(mistake.part).is_some(), "{}", mistake.what),
    }
}
