//! Whom each takes for itself.

use anyhow::{Result, ensure};

use super::{Came, both, case, request};

/// Hosts and ports around those that are ours.
fn uris() -> Vec<String> {
    let hosts = [
        "10.0.1.1",
        "10.0.1.2",
        "10.0.2.1",
        "127.0.0.1",
        "alias.example",
        "ALIAS.Example",
        "sub.alias.example",
        "xalias.example",
        "alias.example.org",
        "tcponly.example",
        "port.example",
        "kamailio.org",
        "sip.kamailio.org",
        "a.b.kamailio.org",
        "evilkamailio.org",
        "kamailio.org.evil",
        "SIP.KAMAILIO.ORG",
        "udp.sub.example",
        "a.udp.sub.example",
        "ported.sub.example",
        "a.ported.sub.example",
        "example.com",
    ];
    let ends = [
        "",
        ":5060",
        ":5061",
        ":5070",
        ":0",
        ";transport=udp",
        ";transport=tcp",
        ":5060;transport=udp",
        ":5070;transport=tcp",
        ":5061;transport=tls",
    ];
    let with = |host: &str| ends.map(|end| format!("sip:u@{host}{end}"));
    hosts.iter().flat_map(|host| with(host)).collect()
}

#[test]
fn myself_is_whom_kamailio_takes_for_itself() -> Result<()> {
    let uris = uris();
    ensure!(uris.len() >= 200);
    let routes = r#"
alias="alias.example"
alias=tcp:"tcponly.example"
alias=udp:"port.example":5070
modparam("corex", "alias_subdomains", "kamailio.org")
modparam("corex", "alias_subdomains", "udp:udp.sub.example")
modparam("corex", "alias_subdomains", "ported.sub.example:5070")
request_route {
    if (uri == myself) sl_send_reply("200", "Myself");
    else sl_send_reply("404", "Another");
    exit;
}
"#;
    let inputs: Vec<String> = uris
        .iter()
        .enumerate()
        .map(|(number, uri)| {
            let text = request(number, &case(""));
            text.replace(&format!("sip:t{number}@example.com"), uri)
        })
        .collect();
    let (theirs, ours) = both(routes, &inputs)?;
    let line = |came: &Came| match came {
        Came::Replied(text) => text.lines().next().unwrap_or_default().to_owned(),
        other => format!("{other:?}"),
    };
    let mut differing = Vec::new();
    let mut mine = 0;
    for ((uri, theirs), ours) in uris.iter().zip(&theirs).zip(&ours) {
        mine += usize::from(line(ours).contains("200"));
        if line(theirs) != line(ours) {
            differing.push(format!(
                "{uri}: Kamailio {}, corex {}",
                line(theirs),
                line(ours)
            ));
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n"));
    ensure!(
        mine > 20 && mine < uris.len() - 20,
        "{mine} of {}",
        uris.len()
    );
    Ok(())
}
