//! What the documentation of the module corex does by Perl, on the real Kamailio, beside the chain that does
//! it here without a script: the same messages to both, and which of them Kamailio can take.
//!
//! Kamailio 5.6 hands a string to Perl up to its first NUL, so what comes in binary doesn't arrive there:
//! neither gzip, whose fourth byte is NUL, nor what is encrypted. What goes out may be binary, and what is
//! text works both ways.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use corex_lab::corex::{self, CorexOptions};
use corex_lab::topology::Relay;
use corex_lab::{Kamailio, Namespace, WorkDir, wait};

const PATIENCE: Duration = Duration::from_secs(20);
const MESSAGES: u32 = 3;
/// What Kamailio logs of what it can't read.
const REFUSED: &str = "core parsing of SIP message failed";

/// One way to hide a message.
struct Case {
    name: &'static str,
    /// The port here, of corex.
    port: u16,
    is_tcp: bool,
    /// By Perl: what comes, what goes.
    functions: [&'static str; 2],
    /// The same by a chain.
    codecs: &'static str,
    /// Whether Kamailio can take what comes.
    comes: bool,
}

const CASES: [Case; 4] = [
    // Examples 1.14 and 1.15.
    Case {
        name: "compressed",
        port: 5061,
        is_tcp: false,
        functions: ["do_uncompress", "do_compress"],
        codecs: "gzip",
        comes: false,
    },
    Case {
        name: "masked",
        port: 5062,
        is_tcp: false,
        functions: ["mask", "mask"],
        codecs: "xor(text='change me')",
        comes: false,
    },
    Case {
        name: "text",
        port: 5063,
        is_tcp: false,
        functions: ["from_text", "to_text"],
        codecs: "xor(text='change me') | base64",
        comes: true,
    },
    Case {
        name: "tunnel",
        port: 5064,
        is_tcp: true,
        functions: ["from_http", "to_http"],
        codecs: "xor(text='change me') | base64 | http(post, host=sip.example)",
        comes: true,
    },
];

/// What the documentation describes in words: XOR and base64, and HTTP in front of that.
const PERL: &str = r#"
use MIME::Base64;

sub masked {
    my $text = shift;
    return $text ^ substr("change me" x (1 + length $text), 0, length $text);
}
sub mask { Kamailio::AVP::add("msg", masked($_[0])); return 1; }
sub from_text { Kamailio::AVP::add("msg", masked(decode_base64($_[0]))); return 1; }
sub to_text { Kamailio::AVP::add("msg", encode_base64(masked($_[0]), "")); return 1; }
sub from_http {
    my $message = shift;
    $message =~ s/^.*?\r\n\r\n//s;
    return from_text($message);
}
sub to_http {
    my $body = encode_base64(masked($_[0]), "");
    my $head = "HTTP/1.1 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n";
    Kamailio::AVP::add("msg", $head . $body);
    return 1;
}
"#;

/// The documentation's configuration; the parameters have the names of Kamailio 5.6.
fn by_perl(work: &WorkDir, case: &Case, comes: bool) -> Result<String> {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let documented = std::fs::read_to_string(examples.join("15-custom-compress.pl"))?;
    // Without these its L_WARN is a bareword, and Kamailio doesn't start.
    let uses = "use Kamailio;\nuse Kamailio::Constants;\n";
    let script = work.write("hide.pl", [uses, &documented, PERL].concat())?;
    let [uncompress, compress] = case.functions;
    let incoming = if comes {
        format!("perl_exec_simple(\"{uncompress}\", \"\" + $mb + \"\");")
    } else {
        "$avp(msg) = $mb;".to_owned()
    };
    Ok(format!(
        r#"#!KAMAILIO
listen=udp:10.0.1.1:5060
listen=tcp:10.0.1.1:5060
children=1
debug=1
loadmodule "pv.so"
loadmodule "app_perl.so"
loadmodule "corex.so"
loadmodule "sl.so"
modparam("app_perl", "filename", "{}")
modparam("app_perl", "modpath", "/usr/lib/x86_64-linux-gnu/kamailio/perl")
modparam("corex", "nio_intercept", 1)
modparam("corex", "nio_msg_avp", "$avp(msg)")
event_route[network:msg] {{
    if (is_incoming()) {{
        {incoming}
    }} else if (!perl_exec_simple("{compress}", "" + $mb + "")) {{
        $avp(msg) = $mb;
    }}
}}
request_route {{ sl_send_reply("200", "Seen"); }}
"#,
        script.display()
    ))
}

/// All cases by chains, each on a port of its own.
fn by_chains() -> String {
    let mut text = "loadmodule \"corex.so\"\nloadmodule \"codec.so\"\nloadmodule \"sl.so\"\n\
                    request_route { sl_send_reply(\"200\", \"Seen\"); }\n"
        .to_owned();
    for Case {
        name,
        port,
        is_tcp,
        codecs,
        ..
    } in &CASES
    {
        let transport = if *is_tcp { "tcp" } else { "udp" };
        text += &format!("listen={transport}:10.0.1.1:{port}\n");
        text += &format!("modparam(\"codec\", \"chain\", \"{name}={codecs}\")\n");
        for way in ["codec_in", "codec_out"] {
            text += &format!("modparam(\"corex\", \"{way}\", \"{name};socket=10.0.1.1:{port}\")\n");
        }
    }
    text
}

/// What `corex encode` or `decode` makes, with a case's chain.
fn transformed(what: &[&str], case: &Case, input: &[u8]) -> Result<Vec<u8>> {
    let chain = format!("{}={}", case.name, case.codecs);
    let mut child = Command::new(corex::binary()?)
        .args(what)
        .args(["--chain-line", &chain])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no pipe")?.write_all(input)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{what:?} {chain}");
    Ok(output.stdout)
}

fn request(case: &Case, number: u32) -> Vec<u8> {
    let transport = if case.is_tcp { "TCP" } else { "UDP" };
    format!(
        "OPTIONS sip:u@10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/{transport} 10.0.1.2:6000;branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: {}-{number}\r\n\
         CSeq: {number} OPTIONS\r\nContent-Length: 0\r\n\r\n",
        case.name
    )
    .into_bytes()
}

/// What a phone has that speaks so to a server.
enum Phone {
    Udp(std::net::UdpSocket, SocketAddr),
    Tcp(TcpStream),
}

impl Phone {
    fn new(host: &Namespace, case: &Case, port: u16) -> Result<Phone> {
        let to = SocketAddr::from(([10, 0, 1, 1], port));
        if case.is_tcp {
            // Kamailio's processes for TCP may begin later than those for UDP.
            let stream = wait::until("somebody listens", PATIENCE, || {
                host.enter(|| Ok(TcpStream::connect(to).ok()))
            })?;
            stream.set_read_timeout(Some(PATIENCE))?;
            return Ok(Phone::Tcp(stream));
        }
        let socket = host.udp("10.0.1.2:6000".parse()?)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Phone::Udp(socket, to))
    }

    fn send(&mut self, message: &[u8]) -> Result<()> {
        match self {
            Phone::Udp(socket, to) => socket.send_to(message, *to).map(drop)?,
            Phone::Tcp(stream) => stream.write_all(message)?,
        }
        Ok(())
    }

    /// One message; by TCP one of HTTP.
    fn receive(&mut self) -> Result<Vec<u8>> {
        match self {
            Phone::Udp(socket, _) => {
                let mut buffer = vec![0; 65_536];
                let len = socket.recv(&mut buffer)?;
                buffer.truncate(len);
                Ok(buffer)
            }
            Phone::Tcp(stream) => {
                let mut message = Vec::new();
                while !message.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte)?;
                    message.extend(byte);
                }
                let head = String::from_utf8(message.clone())?;
                let len = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
                let mut body = vec![0; len.context("no length")?];
                stream.read_exact(&mut body)?;
                message.extend(body);
                Ok(message)
            }
        }
    }

    /// The answers to hidden or plain requests, made plain: what is the same by all servers.
    fn answers(&mut self, case: &Case, is_hidden: bool) -> Result<Vec<[String; 3]>> {
        let mut answers = Vec::new();
        for number in 1..=MESSAGES {
            let plain = request(case, number);
            let sent = if is_hidden {
                transformed(&["encode"], case, &plain)?
            } else {
                plain
            };
            self.send(&sent)?;
            let came = self.receive()?;
            ensure!(
                !came.windows(7).any(|part| part == b"SIP/2.0"),
                "it is plain"
            );
            let reply = transformed(&["decode", "--direction", "to-client"], case, &came)?;
            let reply = String::from_utf8(reply)?;
            let line = |start: &str| {
                let found = reply.lines().find(|line| line.starts_with(start));
                found.map(str::to_owned).with_context(|| reply.clone())
            };
            answers.push([line("SIP/2.0 ")?, line("Call-ID: ")?, line("CSeq: ")?]);
        }
        Ok(answers)
    }
}

#[test]
fn kamailios_perl_and_chains_answer_alike_where_kamailio_can_take_what_comes() -> Result<()> {
    let (net, work) = (Relay::new()?, WorkDir::new()?);
    let file = work.write("corex.cfg", by_chains())?;
    let ours = CorexOptions::new(&file)
        .interface("user")
        .engine("socket")
        .start(&net.corex, work.path(), "corex")?;
    for case in &CASES {
        let mut phone = Phone::new(&net.uac, case, case.port)?;
        let expected = phone
            .answers(case, true)
            .with_context(|| format!("corex, {}: {}", case.name, ours.log()))?;
        ensure!(expected.iter().all(|[line, ..]| line == "SIP/2.0 200 Seen"));
        drop(phone);

        let start = |comes, name: &str| {
            let text = by_perl(&work, case, comes)?;
            Kamailio::start(&net.corex, work.path(), name, &text, 5060)
        };
        let theirs = start(true, case.name)?;
        let log = || format!("Kamailio, {}: {}", case.name, theirs.process.log());
        let mut phone = Phone::new(&net.uac, case, 5060)?;
        if case.comes {
            let answers = phone.answers(case, true).with_context(log)?;
            ensure!(answers == expected, "{answers:?}");
            theirs.stop();
            continue;
        }
        phone.send(&transformed(&["encode"], case, &request(case, 1))?)?;
        wait::until("Kamailio refuses it", PATIENCE, || {
            Ok(theirs.process.log().contains(REFUSED).then_some(()))
        })
        .with_context(log)?;
        theirs.stop();
        drop(phone);
        // What goes is another matter.
        let theirs = start(false, &format!("{}-out", case.name))?;
        let mut phone = Phone::new(&net.uac, case, 5060)?;
        let answers = phone
            .answers(case, false)
            .with_context(|| theirs.process.log())?;
        ensure!(answers == expected, "{answers:?}");
        theirs.stop();
    }
    ours.stop()?.check_balance()
}
