use std::fs;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

/// A folder of the test's own, which goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("corex-decode-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn key(&self, id: u8) -> PathBuf {
        self.write(&format!("{id}.key"), [id; 32])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const PLAIN: &[u8] = b"OPTIONS sip:a SIP/2.0\r\n\r\n";

fn line(chain: &str, keys: &[&str]) -> Source {
    Source {
        chain_line: Some(chain.to_owned()),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        ..Source::default()
    }
}

fn configured(path: &Path, chain: Option<&str>) -> Source {
    Source {
        config: Some(path.to_owned()),
        chain: chain.map(str::to_owned),
        ..Source::default()
    }
}

fn refusal(source: &Source) -> String {
    format!("{:#}", Decoder::open(source).unwrap_err())
}

/// As many replies as there are lines, without the first one.
fn served(source: &Source, input: &[u8]) -> (String, Vec<String>) {
    let mut out = Vec::new();
    let mut decoder = Decoder::open(source).unwrap();
    // Small reads, as from a pipe.
    serve(
        &mut decoder,
        &mut BufReader::with_capacity(7, input),
        &mut out,
    )
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.collect())
}

#[test]
fn what_encode_makes_decodes_whichever_way_it_goes_and_as_often_as_asked() {
    let folder = Folder::new("both-ways");
    let key = format!("edge=7:file:{}", folder.key(7).display());
    let source = line(
        "edge=zstd(sip)|aead(aes-256-gcm, key=edge)|http(post, host=a)",
        &[&key],
    );
    let mut decoder = Decoder::open(&source).unwrap();
    for towards in [Towards::Server, Towards::Client] {
        let sealed = encode(&source, towards, PLAIN).unwrap().unwrap();
        for _ in 0..2 {
            let decoded = decoder.decode(Towards::Either, &sealed);
            assert_eq!(decoded.plain(), Ok(PLAIN));
            assert_eq!(decoded.towards, towards);
            assert_eq!(decoder.decode(towards, &sealed).plain(), Ok(PLAIN));
        }
    }
}

#[test]
fn a_message_of_docs_codecs_md_decodes_though_it_is_older_than_any_window() {
    let folder = Folder::new("old");
    let key: [u8; 32] = std::array::from_fn(|at| at as u8);
    let path = folder.write("key", key);
    let source = line(
        "x=aead(aes-256-gcm, key=k)",
        &[&format!("k=7:file:{}", path.display())],
    );
    let sealed = b"c1076a00000001020304050600000009a97137511a1d5e5decfe0c51f\
                   a96d7f1d8c23539f59e45fc72d4056a235fd7e2c1774bbd28e0e94fed";
    let sealed = message(&mut &sealed[..], true).unwrap();
    let decoded = Decoder::open(&source)
        .unwrap()
        .decode(Towards::Either, &sealed);
    assert_eq!(decoded.plain(), Ok(PLAIN));
    assert_eq!(decoded.towards, Towards::Server);
}

#[test]
fn the_error_is_that_of_the_way_that_leads_further() {
    let folder = Folder::new("further");
    let [right, wrong] = [7, 8].map(|id| format!("edge=7:file:{}", folder.key(id).display()));
    let chain = "edge=aead(aes-256-gcm, key=edge)|http(post, host=a)";
    let mut decoder = Decoder::open(&line(chain, &[&wrong])).unwrap();
    for towards in [Towards::Server, Towards::Client] {
        let sealed = encode(&line(chain, &[&right]), towards, PLAIN)
            .unwrap()
            .unwrap();
        let decoded = decoder.decode(Towards::Either, &sealed);
        let error = decoded.plain().unwrap_err();
        assert_eq!(
            (error.codec, error.fault.reason().name()),
            ("aead", "not_authentic")
        );
        assert_eq!(decoded.towards, towards);
        assert_eq!(decoded.made.steps.len(), 1, "http's");
    }
    assert_eq!(
        decoder.decode(Towards::Either, b"x").towards,
        Towards::Either
    );
}

#[test]
fn of_a_configuration_only_what_it_sets_of_codecs_counts() {
    let folder = Folder::new("config");
    let key = folder.key(7);
    let config = folder.write(
        "edge.cfg",
        format!(
            "loadmodule \"codec.so\"\nloadmodule \"app_lua.so\"\n\
             modparam(\"app_lua\", \"load\", \"/nowhere/at/all.lua\")\n\
             modparam(\"codec\", \"key\", \"edge=7:file:{}\")\n\
             modparam(\"codec\", \"chain\", \"edge(client)=aead(aes-256-gcm, key=edge)\")\n\
             modparam(\"codec\", \"chain\", \"text=base64\")\n\
             request_route {{ no_such_function(); }}\n",
            key.display()
        ),
    );
    let mut decoder = Decoder::open(&configured(&config, Some("text"))).unwrap();
    assert_eq!(
        decoder.decode(Towards::Either, b"YQ==").plain(),
        Ok(&b"a"[..])
    );
    assert!(Decoder::open(&configured(&config, Some("edge"))).is_ok());
    assert!(Decoder::open(&configured(&config, Some("gzip"))).is_ok());
    assert_eq!(
        refusal(&configured(&config, None)),
        "there are several chains, name one: edge, text"
    );
    assert_eq!(
        refusal(&configured(&config, Some("edgy"))),
        "there is no chain `edgy`: expected one of gzip, deflate, zlib, zstd, base64, hex, edge, text"
    );
    // A key of the command line stands for the configuration's of that name.
    fs::remove_file(key).unwrap();
    assert!(refusal(&configured(&config, Some("edge"))).contains("7.key"));
    let mut source = configured(&config, Some("edge"));
    source.keys = vec![format!("edge=9:file:{}", folder.key(9).display())];
    assert!(Decoder::open(&source).is_ok());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let folder = Folder::new("wrong");
    let config = folder.write(
        "bad.cfg",
        "loadmodule \"codec.so\"\nmodparam(\"codec\", \"chain\", \"edge=zstt\")\n",
    );
    let text = refusal(&configured(&config, None));
    assert!(
        text.contains("there is no codec `zstt`") && text.contains("bad.cfg:2:"),
        "{text}"
    );
    let text = refusal(&line("edge=zstt", &[]));
    assert!(
        text.contains("at \"zstt\": there is no codec `zstt`"),
        "{text}"
    );
    let text = refusal(&line("edge=aead(aes-256-gcm, key=k)", &[]));
    assert!(text.contains("there is no key `k`"), "{text}");
    assert!(refusal(&Source::default()).contains("there is no chain"));
}

#[test]
fn digits_may_have_blanks_and_colons_between_them() {
    for text in [
        "616263",
        "61:62:63\n",
        " 61 62\t63\r\n",
        "616263".to_uppercase().as_str(),
    ] {
        assert_eq!(message(&mut text.as_bytes(), true).unwrap(), b"abc");
    }
    assert!(message(&mut &b"616"[..], true).is_err());
    assert!(message(&mut &b"6z"[..], true).is_err());
    assert_eq!(message(&mut &b"61"[..], false).unwrap(), b"61");
    let mut endless = std::io::repeat(b'0');
    assert!(message(&mut endless, true).is_err());
    assert!(message(&mut endless, false).is_err());
}

#[test]
fn each_line_has_one_reply() {
    let source = line("edge=gzip(level=0) | base64", &[]);
    let packed = encode(&source, Towards::Server, b"hello").unwrap().unwrap();
    let digits = HEXLOWER.encode(&packed);
    let input = format!(
        "{digits}\nto-client {digits}\r\neither {}\n\nsideways {digits}\nto-server\nto-server a b\n\
         to-server 7a7a7a7a\nto-server {digits}",
        digits.to_uppercase()
    );
    let (first, replies) = served(&source, input.as_bytes());
    assert_eq!(first, "corex decode 1\tedge\tgzip,base64");
    let binary = data_encoding::BASE64.decode(&packed).unwrap();
    let steps = format!("base64={}\tgzip=68656c6c6f", HEXLOWER.encode(&binary));
    let expected = [
        format!("ok\teither\t{steps}"),
        format!("ok\tto-client\t{steps}"),
        format!("ok\teither\t{steps}"),
        "error\tmalformed\tgzip\teither\tgzip: the input is not gzip data, or it is damaged or cut \
         off\tbase64="
            .to_owned(),
        "refused\texpected to-server, to-client or either".to_owned(),
        "refused\tthese are no pairs of hexadecimal digits".to_owned(),
        "refused\texpected a direction and hexadecimal digits".to_owned(),
        "error\tmalformed\tgzip\tto-server\tgzip: the input is not gzip data, or it is damaged or cut \
         off\tbase64=cf3cf3"
            .to_owned(),
        format!("ok\tto-server\t{steps}"),
    ];
    assert_eq!(replies, expected);
}

#[test]
fn a_line_without_end_is_refused_and_the_next_one_answered() {
    let mut input = vec![b'0'; 3 * MAX_MESSAGE];
    input.extend_from_slice(b"\n6869\n");
    let (_, replies) = served(&line("x=hex", &[]), &input);
    assert!(
        replies[0].starts_with("refused\tthe line is longer"),
        "{}",
        replies[0]
    );
    assert_eq!(replies.len(), 2);
    assert!(
        replies[1].starts_with("error\tmalformed\thex"),
        "{}",
        replies[1]
    );
}

/// A packet that docs/enrolment.md shows.
fn documented(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/enrolment.md");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().skip_while(|line| *line != name).skip(1);
    let digits: String = lines
        .take_while(|line| line.starts_with("  "))
        .map(str::trim)
        .collect();
    message(&mut digits.as_bytes(), true).unwrap()
}

/// The device's UUID there, and its key.
const UUID: &str = "0b5f3a52-6f0e-4c2e-9d0a-3a1c5e7b9d11";

fn device_key() -> String {
    let key: [u8; 32] = std::array::from_fn(|at| 0xa0 + at as u8);
    HEXLOWER.encode(&key)
}

/// The chain that the document's packets are made by, and what its keys are.
fn of_devices(chain: &str, devices: Option<PathBuf>, enrol_keys: &[String]) -> Decoder {
    let source = Source {
        devices,
        enrol_keys: enrol_keys.to_vec(),
        ..line(chain, &[])
    };
    Decoder::open(&source).unwrap()
}

const BY_ID: &str = "x=aead(chacha20-poly1305, key=device)";

#[test]
fn messages_of_devices_decode_with_their_keys_from_a_file() {
    let folder = Folder::new("devices");
    // Others before it, which by their address are tried first.
    let others: String = (0..20)
        .map(|at| format!("{at:08x}{}=3:{}\n", &UUID[8..], HEXLOWER.encode(&[at; 32])))
        .collect();
    let lines = format!("# of the lab\n{others}\n {UUID} = 3 : {}\r\n", device_key());
    let file = folder.write("devices", lines);
    let mut by_id = of_devices(BY_ID, Some(file.clone()), &[]);
    let decoded = by_id.decode(Towards::Either, &documented("message by-id"));
    assert_eq!(decoded.plain(), Ok(PLAIN));
    assert_eq!(decoded.towards, Towards::Server);
    let chain = "x=aead(aes-256-gcm, key=device, by=address)";
    let mut by_address = of_devices(chain, Some(file), &[]);
    let sealed = documented("message by-address");
    let decoded = by_address.decode(Towards::Either, &sealed);
    assert_eq!(decoded.plain(), Ok(PLAIN));
    assert_eq!(decoded.towards, Towards::Client);
    for file in [None, Some(folder.write("others", others))] {
        let known = file.is_some();
        let mut without = of_devices(chain, file.clone(), &[]);
        let error = without
            .decode(Towards::Either, &sealed)
            .plain()
            .unwrap_err();
        let expected = ["unknown_device", "not_authentic"][usize::from(known)];
        assert_eq!(error.fault.reason().name(), expected);
        let mut without = of_devices(BY_ID, file, &[]);
        let sealed = documented("message by-id");
        let error = without
            .decode(Towards::Either, &sealed)
            .plain()
            .unwrap_err();
        assert_eq!(error.fault.reason().name(), "unknown_device");
    }
}

#[test]
fn enrolments_are_steps_and_bring_the_key_to_who_can_open_them() {
    let folder = Folder::new("enrol");
    let psk: [u8; 32] = std::array::from_fn(|at| at as u8);
    let key = format!("7:file:{}", folder.write("psk", psk).display());
    let names = |decoded: &Decoded| -> Vec<&str> {
        decoded.made.steps.iter().map(|step| step.codec).collect()
    };
    for keys in [&[][..], std::slice::from_ref(&key)] {
        let mut decoder = of_devices(BY_ID, None, keys);
        for (packet, name) in [
            ("psk packet", "enrolment"),
            ("hpke-aes-256-gcm packet", "enrolment"),
            ("answer accepted", "answer"),
            ("notice packet", "notice"),
        ] {
            let decoded = decoder.decode(Towards::Either, &documented(packet));
            assert_eq!(decoded.plain(), Ok(&b""[..]), "{packet}");
            assert_eq!(names(&decoded), [name]);
            let expected = [Towards::Client, Towards::Server][usize::from(name == "enrolment")];
            assert_eq!(decoded.towards, expected, "{packet}");
        }
        // The key came with the first of them.
        let decoded = decoder.decode(Towards::Either, &documented("message by-id"));
        let plain = decoded.plain().map_err(|error| error.fault.reason().name());
        assert_eq!(
            plain,
            if keys.is_empty() {
                Err("unknown_device")
            } else {
                Ok(PLAIN)
            }
        );
    }
    let mut decoder = of_devices(BY_ID, None, std::slice::from_ref(&key));
    let decoded = decoder.decode(Towards::Either, &documented("first packet"));
    assert_eq!(
        (decoded.plain(), names(&decoded)),
        (Ok(PLAIN), vec!["enrolment", "aead"])
    );
    // Cut anywhere it is an error or a shorter message that isn't authentic.
    let whole = documented("first packet");
    for len in 0..whole.len() {
        let decoded = decoder.decode(Towards::Either, &whole[..len]);
        assert!(decoded.plain() != Ok(PLAIN), "{len}");
    }
}

#[test]
fn a_file_of_devices_that_is_wrong_is_refused_with_its_line() {
    let folder = Folder::new("device-file");
    let key = device_key();
    for (text, what) in [
        (String::from("# nothing\n"), "no lines"),
        (format!("{UUID} {key}\n"), "line 1: expected UUID="),
        (format!("\n{}={key}\n", &UUID[1..]), "line 2: it is no UUID"),
        (format!("{UUID}=300:{key}\n"), "line 1: a generation is"),
        (
            format!("{UUID}={}\n", &key[1..]),
            "line 1: a key is 32 bytes",
        ),
        (format!("{UUID}=\n"), "line 1: a key is 32 bytes"),
    ] {
        let source = Source {
            devices: Some(folder.write("devices", text)),
            ..line(BY_ID, &[])
        };
        let refusal = refusal(&source);
        assert!(refusal.contains(what), "{refusal}");
        assert!(!refusal.contains(&key[..8]), "{refusal}");
    }
    let open = folder.write("open", format!("{UUID}={key}"));
    fs::set_permissions(&open, fs::Permissions::from_mode(0o640)).unwrap();
    let source = Source {
        devices: Some(open),
        ..line(BY_ID, &[])
    };
    assert!(refusal(&source).contains("chmod 600"));
}

#[test]
fn encode_for_a_device_takes_the_first_key_that_is_given() {
    let folder = Folder::new("encode-device");
    let source = Source {
        devices: Some(folder.write("devices", format!("{UUID}={}", device_key()))),
        ..line(BY_ID, &[])
    };
    for towards in [Towards::Server, Towards::Client] {
        let sealed = encode(&source, towards, PLAIN).unwrap().unwrap();
        let decoded = Decoder::open(&source)
            .unwrap()
            .decode(Towards::Either, &sealed);
        assert_eq!((decoded.plain(), decoded.towards), (Ok(PLAIN), towards));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_comes_each_line_has_one_reply_of_the_three(
        input in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b' '), Just(b'6'), Just(b'a'), any::<u8>()],
            0..300,
        ),
    ) {
        let (_, replies) = served(&line("x=zstd(sip)|base64", &[]), &input);
        let ends = input.iter().filter(|byte| **byte == b'\n').count();
        let is_open = input.last().is_some_and(|last| *last != b'\n');
        prop_assert_eq!(replies.len(), ends + usize::from(is_open));
        for reply in replies {
            let word = reply.split('\t').next().unwrap_or_default();
            prop_assert!(matches!(word, "ok" | "error" | "refused"), "{reply}");
        }
    }
}
