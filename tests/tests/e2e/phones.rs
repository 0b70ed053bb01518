//! `corex client` in front of plain SIP clients, each a device of its own.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use corex_lab::corex::{CorexOptions, binary, make_enrolment_keys};
use corex_lab::process::Process;
use corex_lab::sipp::SippOptions;
use corex_lab::topology::Relay;
use corex_lab::{Capture, Corex, WorkDir};

const PATIENCE: Duration = Duration::from_secs(120);
/// As many as one corex client stands in front of.
const PHONES: u64 = 1000;
/// Where apps send plain SIP.
const LISTEN: &str = "127.0.0.1:5070";

/// Asks once, and takes 200.
const ASKS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<scenario name="options">
  <send retrans="500">
    <![CDATA[

OPTIONS sip:edge@10.0.1.1 SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
From: <sip:phone[call_number]@example.org>;tag=[pid]c[call_number]
To: <sip:edge@10.0.1.1>
Call-ID: [call_id]
CSeq: 1 OPTIONS
Content-Length: 0

    ]]>
  </send>
  <recv response="200"/>
</scenario>
"#;

/// A server with this chain, which answers all that it can read.
fn server(net: &Relay, work: &WorkDir, lines: &str, codecs: &str) -> Result<Corex> {
    let config = format!(
        r#"listen=udp:10.0.1.1:5060
loadmodule "sl.so"
loadmodule "corex.so"
loadmodule "codec.so"
{lines}modparam("codec", "chain", "edge={codecs}")
modparam("corex", "codec_in", "edge")
modparam("corex", "codec_out", "edge")
request_route {{ sl_send_reply("200", "Read"); }}
"#
    );
    let file = work.write("corex.cfg", config)?;
    CorexOptions::new(&file)
        .interface("user")
        .start(&net.corex, work.path(), "corex")
}

/// The phone's side, on the callers' host.
fn client(net: &Relay, work: &WorkDir, arguments: &[&str]) -> Result<Process> {
    let mut command = net.uac.command(binary()?);
    let server = Relay::USER_SIDE.sip().to_string();
    command
        .args(["client", "--server", &server, "--listen", LISTEN])
        .args(arguments);
    let client = Process::spawn("corex client", command, &work.join("client.log"))?;
    client.wait_for_output("ready", PATIENCE)?;
    Ok(client)
}

/// So many phones, each at an address of its own, ask once and are answered.
fn ask(net: &Relay, work: &WorkDir, phones: u64) -> Result<()> {
    let scenario = work.write("asks.xml", ASKS)?;
    let lines = (0..phones).map(|phone| format!("127.1.{}.{};\n", phone / 250, phone % 250 + 1));
    let addresses = lines.collect::<String>();
    let addresses = work.write("addresses.csv", format!("SEQUENTIAL\n{addresses}"))?;
    let report = SippOptions::uac("127.0.0.1:5061".parse()?, LISTEN.parse()?, phones, 100)
        .scenario(&scenario)
        .resending()
        // By ports sipp would take one again that an earlier phone is done with.
        .argument("-t")
        .argument("ui")
        .argument("-inf")
        .argument(&addresses.display().to_string())
        .argument("-ip_field")
        .argument("0")
        .argument("-max_socket")
        .argument(&(phones + 20).to_string())
        .start(&net.uac, work.path(), "phones")?
        .finish(PATIENCE)?;
    ensure!(
        report.successful == phones && report.failed == 0,
        "{report:?}"
    );
    Ok(())
}

#[test]
fn plain_phones_speak_a_chain_with_one_key() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    const CODECS: &str = "zstd(sip) | aead(aes-256-gcm, key=edge) | http(post, host=example.org)";
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let key = work.write("edge.key", [7; 32])?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    let key = format!("edge=7:file:{}", key.display());
    let lines = format!("modparam(\"codec\", \"key\", \"{key}\")\n");
    let corex = server(&net, &work, &lines, CODECS)?;
    let arguments = ["--chain", CODECS, "--key", &key, "--devices", "20"];
    let client = client(&net, &work, &arguments)?;
    ask(&net, &work, 20).with_context(|| corex.log())?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.codec_in") >= 20, "{:#}", books.0);
    ensure!(client.terminate(PATIENCE)?.success());
    let said = client.log();
    ensure!(said.contains("20 devices"), "{said}");
    Ok(())
}

#[test]
fn the_example_of_devices_carries_calls_of_a_plain_phone() -> Result<()> {
    const CALLS: u64 = 20;
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let (private, public) = make_enrolment_keys(&binary()?, &work)?;
    let key = format!("1:file:{}", public.display());
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/edge-devices.cfg");
    let text = std::fs::read_to_string(example)?
        .replace("10.0.3.1", "10.0.1.1")
        .replace("10.0.4.", "10.0.2.")
        .replace("/etc/corex/enrol.pem", &private.display().to_string());
    let corex = CorexOptions::new(&work.write("edge.cfg", text)?)
        .interface("user")
        .interface("core")
        .start(&net.corex, work.path(), "edge")?;
    let chain = "zstd(sip) | aead(chacha20-poly1305, key=device)";
    let arguments = ["--chain", chain, "--server-key", &key];
    let client = client(&net, &work, &arguments)?;
    let uas = SippOptions::uas(Relay::UAS.sip()).start(&net.uas, work.path(), "uas")?;
    SippOptions::uac("127.0.0.1:5061".parse()?, LISTEN.parse()?, CALLS, 20)
        .start(&net.uac, work.path(), "uac")?
        .finish(PATIENCE)?
        .check(CALLS)
        .with_context(|| format!("{}\n{}", client.log(), corex.log()))?;
    uas.stop()?.check(CALLS)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("keys.enrolled") == 1, "{:#}", books.0);
    Ok(())
}

#[test]
fn a_thousand_phones_have_keys_of_their_own() -> Result<()> {
    const CODECS: &str =
        "zstd(sip) | aead(chacha20-poly1305, key=device) | http(post, host=example.org)";
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let (private, public) = make_enrolment_keys(&binary()?, &work)?;
    // All of them come from one address: the bound for each is for those that don't.
    let lines = format!(
        "modparam(\"codec\", \"keystore\", \"memory\")\n\
         modparam(\"codec\", \"enrol_rate\", {RATE})\n\
         modparam(\"codec\", \"enrol_key\", \"8:file:{}\")\n",
        private.display(),
        RATE = 10 * PHONES,
    );
    let corex = server(&net, &work, &lines, CODECS)?;
    let key = format!("8:file:{}", public.display());
    let phones = PHONES.to_string();
    let arguments = [
        "--chain",
        CODECS,
        "--server-key",
        &key,
        "--devices",
        &phones,
    ];
    let client = client(&net, &work, &arguments)?;
    let wire = Capture::start(&net.uac, "eth0")?;
    ask(&net, &work, PHONES).with_context(|| corex.log())?;
    let frames = wire.stop()?;
    ensure!(!frames.is_empty());
    for seen in frames {
        let text = String::from_utf8_lossy(&seen.frame.bytes);
        ensure!(!text.contains("SIP/2.0"), "{text}");
    }
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(client.terminate(PATIENCE)?.success());
    let said = client.log();
    ensure!(said.contains("1000 devices"), "{said}");
    ensure!(
        said.contains(&format!("{PHONES} of them accepted")),
        "{said}"
    );
    Ok(())
}
