//! The same configuration and the same datagrams, to corex and to the real Kamailio: the same
//! bytes must leave, or nothing.

use std::{net::UdpSocket, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{Kamailio, WorkDir, corex::CorexOptions, topology::Relay};

/// What arrives in this time arrives; on veth it takes far less.
const PATIENCE: Duration = Duration::from_secs(3);

/// A whole request; Kamailio wants its headers.
const REQUEST: &str = "OPTIONS sip:x@10.0.2.2 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
    From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: one\r\nCSeq: 1 OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";

fn config(parameters: &str, hook: &str) -> String {
    format!(
        r#"#!KAMAILIO
listen=udp:{address}
children=1
debug=1
loadmodule "pv.so"
loadmodule "corex.so"
modparam("corex", "nio_intercept", 1)
modparam("corex", "nio_msg_avp", "$avp(msg)")
{parameters}
event_route[network:msg] {{
    if (is_incoming()) {{
        {hook}
    }}
}}
request_route {{
    send_udp("{to}");
    exit;
}}
"#,
        address = Relay::USER_SIDE.sip(),
        to = Relay::UAS.sip(),
    )
}

/// What comes out for each datagram.
fn exchange(relay: &Relay, inputs: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
    let answerer = relay.uas.udp(Relay::UAS.sip())?;
    answerer.set_read_timeout(Some(PATIENCE))?;
    let caller: UdpSocket = relay.uac.udp(Relay::UAC.sip())?;
    let mut buffer = vec![0; 65_536];
    let mut outputs = Vec::new();
    for input in inputs {
        caller.send_to(input, Relay::USER_SIDE.sip())?;
        let received = answerer.recv(&mut buffer).ok();
        outputs.push(
            received
                .and_then(|len| buffer.get(..len))
                .map(<[u8]>::to_vec),
        );
    }
    Ok(outputs)
}

/// Runs both, compares, and returns what came out.
fn compare(parameters: &str, hook: &str, inputs: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
    let work = WorkDir::new()?;
    let text = config(parameters, hook);

    let relay = Relay::new()?;
    let kamailio = Kamailio::start(&relay.corex, work.path(), "kamailio", &text, 5060)?;
    let theirs = exchange(&relay, inputs)?;
    kamailio.stop();

    let file = work.write("corex.cfg", text)?;
    let corex = CorexOptions::new(&file)
        .interface("user")
        .interface("core")
        .engine("xdp")
        .start(&relay.corex, work.path(), "corex")?;
    let ours = exchange(&relay, inputs)?;
    let log = corex.log();
    corex.stop()?.check_balance()?;
    for ((input, ours), theirs) in inputs.iter().zip(&ours).zip(&theirs) {
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            ours == theirs,
            "for {:?}\ncorex sent    {:?}\nKamailio sent {:?}\n{log}",
            show(input),
            ours.as_deref().map(show),
            theirs.as_deref().map(show)
        );
    }
    Ok(ours)
}

fn request() -> Vec<u8> {
    REQUEST.as_bytes().to_vec()
}

#[test]
fn a_string_replaces_the_message() -> Result<()> {
    let out = compare("", "$avp(msg) = $mb + \"tail\";", &[request()])?;
    ensure!(out == [Some([REQUEST.as_bytes(), b"tail"].concat())]);
    Ok(())
}

#[test]
fn an_unset_or_integer_avp_lets_the_original_pass() -> Result<()> {
    for hook in ["$var(x) = 1;", "$avp(msg) = 7;"] {
        ensure!(compare("", hook, &[request()])? == [Some(request())]);
    }
    Ok(())
}

#[test]
fn an_empty_avp_drops_the_message() -> Result<()> {
    ensure!(compare("", "$avp(msg) = \"\";", &[request()])? == [None]);
    Ok(())
}

#[test]
fn the_hook_runs_from_32_bytes_and_from_min_msg_len_on() -> Result<()> {
    // Whatever came, a whole request leaves if the hook ran; else noise, which nobody routes.
    let text = REQUEST.replace("\r\n", "\\r\\n");
    let hook = format!("$avp(msg) = \"{text}\";");
    let noise = |len: usize| vec![b'x'; len];
    let probes = compare("", &hook, &[noise(31), noise(32), noise(33)])?;
    ensure!(probes == [None, Some(request()), Some(request())]);
    let parameter = "modparam(\"corex\", \"nio_min_msg_len\", 40)";
    let short = compare(parameter, &hook, &[noise(39), noise(40), noise(41)])?;
    ensure!(short == [None, Some(request()), Some(request())]);
    Ok(())
}

#[test]
fn bytes_of_every_value_survive() -> Result<()> {
    let body: Vec<u8> = (0..=255).collect();
    let message = [
        REQUEST.replace("Length: 0", "Length: 256").as_bytes(),
        &body,
    ]
    .concat();
    let out = compare(
        "",
        "$avp(msg) = $mb + \"\";",
        std::slice::from_ref(&message),
    )?;
    ensure!(out.first().context("an answer")?.as_ref() == Some(&message));
    Ok(())
}

#[test]
fn sixty_thousand_bytes_with_nul_among_them_survive() -> Result<()> {
    let body: Vec<u8> = (0..60_000u32).map(|n| (n % 251) as u8).collect();
    let message = [
        REQUEST.replace("Length: 0", "Length: 60000").as_bytes(),
        &body,
    ]
    .concat();
    let inputs = std::slice::from_ref(&message);
    let out = compare("", "$avp(msg) = $mb + \"\\r\\n\";", inputs)?;
    let expected = [message.as_slice(), b"\r\n"].concat();
    ensure!(out.first().context("an answer")?.as_ref() == Some(&expected));
    Ok(())
}

#[test]
fn the_language_computes_the_same() -> Result<()> {
    let statements = [
        "$avp(msg) = $mb + \"len=\" + $ml;",
        "$var(n) = 7; $avp(msg) = $mb + $var(n);",
        "$var(n) = 7 * 6 - 4 / 2; $avp(msg) = $mb + $var(n);",
        "$var(n) = 1 << 4 | 3; $avp(msg) = $mb + $var(n);",
        "$var(i) = 0; $var(s) = \"\"; \
         while ($var(i) < 5) { $var(s) = $var(s) + $var(i); $var(i) = $var(i) + 1; } \
         $avp(msg) = $mb + $var(s);",
        "if ($mb =~ \"^OPTIONS\") { $avp(msg) = $mb + \"yes\"; } else { $avp(msg) = $mb + \"no\"; }",
        "if ($mb =~ \"^invite\") { $avp(msg) = $mb + \"yes\"; } else { $avp(msg) = $mb + \"no\"; }",
        "if ($mb =~ \"call-id: ONE\") { $avp(msg) = $mb + \"yes\"; }",
        "if ($ml > 100 && !($ml > 100000)) { $avp(msg) = $mb + \"yes\"; }",
        "$avp(a) = \"1\"; $avp(a) = \"2\"; $avp(msg) = $mb + $avp(a) + $(avp(a)[1]);",
        "if ($var(never) == 0) { $avp(msg) = $mb + \"zero\"; }",
        "if ($avp(never) == $null) { $avp(msg) = $mb + \"null\"; }",
        "switch ($ml mod 2) { case 0: $avp(msg) = $mb + \"even\"; break; \
         default: $avp(msg) = $mb + \"odd\"; }",
    ];
    for hook in statements {
        let out = compare("", hook, &[request()]).with_context(|| hook.to_owned())?;
        ensure!(out != [Some(request())], "{hook}: nothing was computed");
    }
    Ok(())
}

/// Destinations of every kind, and where each must arrive: at the answering side by IPv4 (4) or
/// IPv6 (6), or on the proxy's own loopback (l).
const DESTINATIONS: &[(&str, char)] = &[
    ("10.0.2.2", '4'),
    ("10.0.2.2:5060", '4'),
    ("[fd00:0:0:2::2]", '6'),
    ("[fd00:0:0:2::2]:5060", '6'),
    ("localhost:5071", 'l'),
    ("LOCALHOST:5071", 'l'),
    ("", '4'),
];

fn destinations(function: &str) -> String {
    let mut cases = String::new();
    for (number, (destination, _)) in DESTINATIONS.iter().enumerate() {
        cases.push_str(&format!(
            "if ($rU == \"t{number}\") {function}(\"{destination}\");\n"
        ));
    }
    format!(
        r#"#!KAMAILIO
listen=udp:10.0.1.1
listen=udp:10.0.2.1
listen=udp:[fd00:0:0:1::1]
listen=udp:[fd00:0:0:2::1]
listen=udp:127.0.0.1
mhomed=1
children=1
debug=1
loadmodule "pv.so"
loadmodule "corex.so"
request_route {{
{cases}
if ($rU == "empty-ruri") {function}();
if ($rU == "empty-du") {{ $du = "sip:10.0.2.2:5060"; {function}(); }}
exit;
}}
"#
    )
}

/// Which socket each request arrives at, and as which bytes.
fn arrivals(relay: &Relay, kinds: &str) -> Result<Vec<(char, String)>> {
    let sockets = [
        ('4', relay.uas.udp(Relay::UAS.sip())?),
        ('6', relay.uas.udp(Relay::UAS.sip6())?),
        ('l', relay.corex.udp("127.0.0.1:5071".parse()?)?),
    ];
    let caller = relay.uac.udp(Relay::UAC.sip())?;
    let numbered = DESTINATIONS.iter().enumerate();
    let wanted = numbered.filter(|(_, (_, kind))| kinds.contains(*kind));
    let mut users: Vec<String> = wanted.map(|(n, _)| format!("t{n}")).collect();
    users.extend(["empty-ruri".to_owned(), "empty-du".to_owned()]);
    let mut all = Vec::new();
    for user in users {
        let request = REQUEST.replace("sip:x@10.0.2.2 ", &format!("sip:{user}@10.0.2.2 "));
        // A name may have to be looked up first.
        caller.send_to(request.as_bytes(), Relay::USER_SIDE.sip())?;
        let found = corex_lab::wait::until(&format!("{user} arrives"), PATIENCE * 10, || {
            let mut buffer = [0; 4096];
            for (name, socket) in &sockets {
                socket.set_read_timeout(Some(Duration::from_millis(2)))?;
                if let Ok(len) = socket.recv(&mut buffer) {
                    let text = String::from_utf8(buffer.get(..len).unwrap_or_default().to_vec())?;
                    return Ok(Some((*name, text)));
                }
            }
            Ok(None)
        })?;
        all.push(found);
    }
    Ok(all)
}

#[test]
fn every_kind_of_destination_is_reached_as_kamailio_reaches_it() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let theirs = {
        let text = destinations("send_udp");
        let kamailio = Kamailio::start(&relay.corex, work.path(), "kamailio", &text, 5060)?;
        // It asks name servers about localhost too, and there are none in here.
        let theirs = arrivals(&relay, "46")?;
        kamailio.stop();
        theirs
    };
    let file = work.write("corex.cfg", destinations("send"))?;
    let corex = CorexOptions::new(&file)
        .interface("user")
        .interface("core")
        .engine("xdp")
        .start(&relay.corex, work.path(), "corex")?;
    let mut ours = arrivals(&relay, "46l").with_context(|| corex.log())?;
    corex.stop()?.check_balance()?;
    for ((destination, wanted), (ours, _)) in DESTINATIONS.iter().zip(&ours) {
        ensure!(ours == wanted, "{destination}: at {ours}");
    }
    ours.retain(|(kind, _)| *kind != 'l');
    ensure!(ours == theirs, "corex {ours:?}\nKamailio {theirs:?}");
    Ok(())
}
