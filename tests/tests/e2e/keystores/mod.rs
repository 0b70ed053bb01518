//! Devices with keys of their own, and where these are kept: in memory, in redis, in memcached.

mod device;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use corex_codec::Secret;
use corex_codec::enrol::{Answer, EnrolmentKey};
use corex_lab::corex::CorexOptions;
use corex_lab::process::output_of;
use corex_lab::topology::{Inline, Relay};
use corex_lab::{Corex, Namespace, Process, WorkDir, wait};

use self::device::{CODECS, Device, Got, options, psk};

const PATIENCE: Duration = Duration::from_secs(20);
const REDIS_PORT: u16 = 7379;
const MEMCACHED_PORT: u16 = 7211;

/// Writes a key of this byte that only its owner can read.
fn key_file(work: &WorkDir, byte: u8) -> Result<String> {
    let path = work.write(&format!("{byte}.key"), [byte; 32])?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(path.display().to_string())
}

/// A corex that answers what devices send it, and sends them what others do.
fn config(port: u16, lines: &str) -> String {
    format!(
        r#"listen=udp:10.0.1.1:{port}
loadmodule "sl.so"
loadmodule "corex.so"
loadmodule "codec.so"
{lines}modparam("codec", "chain", "edge={CODECS}")
modparam("corex", "codec_in", "none;peer=10.0.2.0/24")
modparam("corex", "codec_in", "edge")
modparam("corex", "codec_out", "none;peer=10.0.2.0/24")
modparam("corex", "codec_out", "edge")
request_route {{
    if ($si == "10.0.2.2") {{
        send("10.0.1.2:$(rU{{s.int}})");
        exit;
    }}
    sl_send_reply("200", "Seen");
}}
"#
    )
}

/// A network, and servers in the namespace of corex.
struct Stage {
    net: Relay,
    work: WorkDir,
}

impl Stage {
    fn new() -> Result<Stage> {
        Ok(Stage {
            net: Relay::new()?,
            work: WorkDir::new()?,
        })
    }

    /// A line that names a key to enrol with.
    fn enrol_key(&self, id: u8) -> Result<String> {
        let path = key_file(&self.work, id)?;
        Ok(format!(
            "modparam(\"codec\", \"enrol_key\", \"{id}:file:{path}\")\n"
        ))
    }

    fn corex(&self, port: u16, lines: &str) -> Result<Corex> {
        let name = format!("c{port}");
        let path = self
            .work
            .write(&format!("{name}.cfg"), config(port, lines))?;
        CorexOptions::new(&path)
            .interface("user")
            .engine("socket")
            .start(&self.net.corex, self.work.path(), &name)
    }

    /// Has a corex read another configuration.
    fn change(&self, corex: &Corex, port: u16, lines: &str) -> Result<()> {
        const DONE: &str = "the configuration was read again";
        let before = corex.log().matches(DONE).count();
        self.work
            .write(&format!("c{port}.cfg"), config(port, lines))?;
        corex.process.signal(libc::SIGHUP)?;
        wait::until("it is read", PATIENCE, || {
            Ok((corex.log().matches(DONE).count() > before).then_some(()))
        })
        .with_context(|| corex.log())
    }

    /// The line for a control socket.
    fn control(&self) -> String {
        let socket = self.work.join("control");
        format!(
            "loadmodule \"ctl.so\"\nmodparam(\"ctl\", \"binrpc\", \"unix:{}\")\n",
            socket.display()
        )
    }

    /// What a command of remote control says.
    fn rpc(&self, words: &[&str]) -> Result<String> {
        let socket = format!("unix:{}", self.work.join("control").display());
        let binary = corex_lab::corex::binary()?;
        output_of(
            Command::new(binary)
                .args(["rpc", "-s", &socket])
                .args(words),
        )
    }

    fn device(&self, port: u16) -> Result<Device> {
        Device::new(&self.net.uac, SocketAddr::from(([10, 0, 1, 2], port)))
    }

    fn redis(&self) -> Result<Process> {
        let port = REDIS_PORT.to_string();
        let folder = self.work.path().display().to_string();
        let words = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            &folder,
            "--requirepass",
            "open-sesame",
        ];
        let server = self
            .net
            .corex
            .spawn("redis-server", &words, &self.work.join("redis.log"))?;
        self.net
            .corex
            .wait_for_tcp_port(REDIS_PORT, &server, PATIENCE)?;
        Ok(server)
    }

    /// What redis has, every name and value.
    fn redis_content(&self) -> Result<Vec<u8>> {
        let script = "for _, name in ipairs(redis.call('keys', '*')) do \
                      redis.call('append', 'all', name .. redis.call('get', name)) end \
                      return redis.call('getdel', 'all')";
        let output = self
            .net
            .corex
            .command("redis-cli")
            .args([
                "-p",
                &REDIS_PORT.to_string(),
                "-a",
                "open-sesame",
                "--no-auth-warning",
            ])
            .args(["eval", script, "0"])
            .output()?;
        Ok(output.stdout)
    }

    fn memcached(&self) -> Result<Process> {
        let port = MEMCACHED_PORT.to_string();
        let words = ["-u", "root", "-l", "127.0.0.1", "-p", &port];
        let server = self
            .net
            .corex
            .spawn("memcached", &words, &self.work.join("memcached.log"))?;
        self.net
            .corex
            .wait_for_tcp_port(MEMCACHED_PORT, &server, PATIENCE)?;
        Ok(server)
    }

    fn password(&self) -> Result<String> {
        let path = self.work.write("password", "open-sesame\n")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(path.display().to_string())
    }

    /// The lines for redis, with entries sealed.
    fn in_redis(&self) -> Result<String> {
        Ok(format!(
            "modparam(\"codec\", \"keystore\", \"redis://127.0.0.1:{REDIS_PORT}/0\")\n\
             modparam(\"codec\", \"keystore_password\", \"file:{}\")\n\
             modparam(\"codec\", \"keystore_key\", \"9:file:{}\")\n",
            self.password()?,
            key_file(&self.work, 9)?
        ))
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, 1], port))
}

fn key(id: u8) -> Result<EnrolmentKey> {
    psk(id, &[id; 32])
}

/// Waits until a counter has this value.
fn counts(corex: &Corex, counter: &str, value: u64) -> Result<()> {
    wait::until(&format!("{counter} is {value}"), PATIENCE, || {
        Ok((corex.books()?.get(counter) == value).then_some(()))
    })
    .with_context(|| {
        format!(
            "{:#}\n{}",
            corex.books().map(|it| it.0).unwrap_or_default(),
            corex.log()
        )
    })
}

fn stop(corex: Corex) -> Result<()> {
    corex.stop()?.check_balance()
}

#[test]
fn a_device_brings_its_key_with_its_first_message_and_may_move() -> Result<()> {
    let stage = Stage::new()?;
    let corex = stage.corex(5060, &(stage.enrol_key(1)? + &stage.control()))?;
    let mut device = stage.device(5061)?;
    device.send_enrolment(at(5060), &key(1)?, Some(&options(77)))?;
    let (first, second) = (device.receive()?, device.receive()?);
    ensure!(
        matches!(first, Got::Answer(Answer::Accepted { .. })),
        "{first:?}"
    );
    ensure!(
        matches!(&second, Got::Message(text) if text.contains("Call-ID: 77")),
        "{second:?}"
    );
    device.ask(at(5060))?;
    device.move_to(&stage.net.uac, SocketAddr::from(([10, 0, 1, 2], 5062)))?;
    device.ask(at(5060))?;
    let listed = stage.rpc(&["corex.sessions"])?;
    let id = device.id.to_string();
    ensure!(
        listed.contains(&id) && listed.contains("10.0.1.2:5062"),
        "{listed}"
    );
    let secret = device.secret().context("no key")?;
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(!listed.contains(&digits), "{listed}");
    // A plain SIP server calls it where it is now.
    let caller = stage.net.uas.udp("10.0.2.2:5060".parse()?)?;
    let call = options(78).replace("sip:edge@", "sip:5062@");
    caller.send_to(call.as_bytes(), "10.0.1.1:5060".parse::<SocketAddr>()?)?;
    let got = device.receive()?;
    ensure!(
        matches!(&got, Got::Message(text) if text.contains("Call-ID: 78")),
        "{got:?}"
    );
    // It is told when it is forgotten.
    let dropped = stage.rpc(&["corex.sessions_drop", &id])?;
    ensure!(dropped.trim() == "1", "{dropped}");
    device.send(at(5060))?;
    ensure!(device.receive()? == Got::Unknown);
    device.enrol(at(5060), &key(1)?)?;
    device.ask(at(5060))?;
    counts(&corex, "keys.enrolled", 2)?;
    counts(&corex, "user.codec_unknown_device", 1)?;
    stop(corex)
}

/// Three at once, told apart by their ids: a shared secret, and keys of the server's for HPKE and for
/// RSA-OAEP.
#[test]
fn devices_enrol_by_a_shared_secret_or_to_a_public_key_of_the_server() -> Result<()> {
    const KINDS: [(u8, &[&str]); 2] = [
        (2, &["-algorithm", "X25519"]),
        (
            3,
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        ),
    ];
    let stage = Stage::new()?;
    let mut lines = stage.enrol_key(1)?;
    let mut keys = vec![key(1)?];
    for (id, kind) in KINDS {
        let private = stage.work.join(format!("{id}.pem"));
        let openssl = |words: &[&str]| {
            let mut command = Command::new("openssl");
            output_of(command.args(words).arg(&private))
        };
        openssl(&[&["genpkey"], kind, &["-out"]].concat())?;
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600))?;
        let public = openssl(&["pkey", "-pubout", "-in"])?;
        keys.push(EnrolmentKey::new(&Secret::new(id, public.as_bytes()))?);
        lines += &format!(
            "modparam(\"codec\", \"enrol_key\", \"{id}:file:{}\")\n",
            private.display()
        );
    }
    let corex = stage.corex(5060, &lines)?;
    for (port, key) in (5061..).zip(&keys) {
        let mut device = stage.device(port)?;
        device.enrol(at(5060), key)?;
        device.ask(at(5060))?;
    }
    counts(&corex, "keys.enrolled", 3)?;
    stop(corex)
}

#[test]
fn what_is_no_good_enrolment_is_dropped_and_counted() -> Result<()> {
    let stage = Stage::new()?;
    let rate = "modparam(\"codec\", \"enrol_rate\", 10)\n";
    let corex = stage.corex(5060, &(stage.enrol_key(1)? + rate))?;
    let mut device = stage.device(5061)?;
    device.send_enrolment(at(5060), &key(2)?, None)?;
    device.send_enrolment(at(5060), &psk(1, &[2; 32])?, None)?;
    counts(&corex, "keys.enrol_unknown_key", 1)?;
    counts(&corex, "keys.enrol_not_authentic", 1)?;
    counts(&corex, "user.dropped.enrolment", 2)?;
    // Somebody else can't take an id that is in use.
    let mut owner = stage.device(5062)?;
    owner.enrol(at(5060), &key(1)?)?;
    let mut thief = stage.device(5063)?;
    thief.id = owner.id;
    thief.send_enrolment(at(5060), &key(1)?, None)?;
    let got = thief.receive()?;
    ensure!(got == Got::Answer(Answer::Taken), "{got:?}");
    owner.ask(at(5060))?;
    // A flood of one source is dropped before anything is opened.
    for _ in 0..200 {
        device.send_enrolment(at(5060), &psk(1, &[2; 32])?, None)?;
    }
    wait::until("all are decided", PATIENCE, || {
        let books = corex.books()?;
        let decided =
            books.get("user.dropped.enrolment") + books.get("user.dropped.enrolment_limited");
        Ok((decided == 202).then_some(()))
    })?;
    let books = corex.books()?;
    ensure!(
        books.get("user.dropped.enrolment_limited") > 50,
        "{:#}",
        books.0
    );
    stop(corex)
}

#[test]
fn instances_share_devices_through_redis_and_go_on_while_it_is_away() -> Result<()> {
    let stage = Stage::new()?;
    let mut redis = stage.redis()?;
    let lines = stage.enrol_key(1)? + &stage.in_redis()?;
    let (a, b) = (stage.corex(5060, &lines)?, stage.corex(5070, &lines)?);
    let mut device = stage.device(5061)?;
    device.enrol(at(5060), &key(1)?)?;
    device.ask(at(5060))?;
    // Where a device is is written when there is time.
    wait::until("redis says where the device is", PATIENCE, || {
        let content = stage.redis_content()?;
        let content = String::from_utf8_lossy(&content);
        Ok(content.contains("corex:1:peer:10.0.1.2:5061").then_some(()))
    })
    .with_context(|| a.log())?;
    // The other one knows neither the device nor where it is.
    let caller = stage.net.uas.udp("10.0.2.2:5060".parse()?)?;
    let call = options(78).replace("sip:edge@", "sip:5061@");
    caller.send_to(call.as_bytes(), at(5070))?;
    let got = device.receive().with_context(|| b.log())?;
    ensure!(
        matches!(&got, Got::Message(text) if text.contains("Call-ID: 78")),
        "{got:?}"
    );
    counts(&b, "keys.delivered", 1)?;
    device.ask(at(5070))?;
    let mut other = stage.device(5062)?;
    other.enrol(at(5070), &key(1)?)?;
    other.ask(at(5060))?;
    counts(&a, "user.key_returns", 2)?;
    // Nothing there tells a key.
    let content = stage.redis_content()?;
    let id = device.id.to_string();
    ensure!(
        String::from_utf8_lossy(&content).contains(&id),
        "{content:?}"
    );
    let secret = device.secret().context("no key")?;
    ensure!(!content.windows(32).any(|part| part == secret), "a key");

    for hangs in [true, false] {
        if hangs {
            redis.signal(libc::SIGSTOP)?;
        } else {
            redis.signal(libc::SIGKILL)?;
        }
        // Who isn't known waits in vain; who is known doesn't notice.
        let before = a.books()?.get("user.dropped.key_away");
        let mut unknown = stage.device(5063)?;
        unknown.send_enrolment(at(5060), &key(1)?, None)?;
        unknown.send(at(5060))?;
        const ASKED: u32 = 200;
        for _ in 0..ASKED {
            device.ask(at(5060))?;
            device.ask(at(5070))?;
        }
        let dropped = wait::until("it has waited in vain", PATIENCE, || {
            let dropped = a.books()?.get("user.dropped.key_away") - before;
            Ok((dropped > 0).then_some(dropped))
        })
        .with_context(|| a.log())?;
        println!(
            "redis {}: one that is known has asked {} times and got as many answers; of one that \
             isn't, {dropped} dropped as key_away",
            if hangs { "hangs" } else { "is dead" },
            2 * ASKED
        );
        if hangs {
            redis.signal(libc::SIGCONT)?;
        } else {
            redis = stage.redis()?;
        }
        let mut late = stage.device(if hangs { 5064 } else { 5065 })?;
        late.socket
            .set_read_timeout(Some(Duration::from_millis(500)))?;
        wait::until("devices enrol again", PATIENCE, || {
            Ok(late.enrol(at(5060), &key(1)?).ok())
        })
        .with_context(|| a.log())?;
        wait::until("the other instance finds it", PATIENCE, || {
            Ok(late.ask(at(5070)).ok())
        })
        .with_context(|| b.log())?;
        device.ask(at(5060))?;
    }
    ensure!(a.books()?.get("keys.came_back") >= 1, "{}", a.log());
    ensure!(!a.log().contains("sesame"), "{}", a.log());
    redis.terminate(PATIENCE)?;
    stop(a)?;
    stop(b)
}

#[test]
fn redis_is_reached_within_tls_by_who_has_its_password() -> Result<()> {
    let stage = Stage::new()?;
    let [cert, private] = ["redis.pem", "redis.key"].map(|name| stage.work.join(name));
    let [cert, private] = [&cert, &private].map(|path| path.display().to_string());
    output_of(
        Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-days", "30"])
            .args([
                "-subj",
                "/CN=redis",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &private, "-out", &cert]),
    )?;
    let port = REDIS_PORT.to_string();
    let words = [
        "--port",
        "0",
        "--tls-port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &private,
        "--tls-ca-cert-file",
        &cert,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "open-sesame",
    ];
    let log = stage.work.join("redis.log");
    let redis = stage.net.corex.spawn("redis-server", &words, &log)?;
    stage
        .net
        .corex
        .wait_for_tcp_port(REDIS_PORT, &redis, PATIENCE)?;
    let keystore = |login: &str| {
        format!(
            "modparam(\"corex\", \"tls_ca_list\", \"{cert}\")\n\
             modparam(\"codec\", \"keystore\", \"rediss://{login}127.0.0.1:{REDIS_PORT}\")\n"
        )
    };
    let enrol = stage.enrol_key(1)?;
    let knows = enrol.clone() + &keystore(":open-sesame@");
    let (a, b) = (
        stage.corex(5060, &knows)?,
        stage.corex(5070, &(enrol + &keystore(":open-barley@")))?,
    );
    let mut device = stage.device(5061)?;
    device.enrol(at(5060), &key(1)?)?;
    device.ask(at(5060))?;
    let mut other = stage.device(5062)?;
    other.send_enrolment(at(5070), &key(1)?, None)?;
    counts(&b, "keys.enrol_unstored", 1)?;
    for log in [a.log(), b.log()] {
        ensure!(!log.contains("sesame") && !log.contains("barley"), "{log}");
    }
    redis.terminate(PATIENCE)?;
    stop(a)?;
    stop(b)
}

#[test]
fn memcached_does_as_well() -> Result<()> {
    let stage = Stage::new()?;
    let memcached = stage.memcached()?;
    let keystore =
        format!("modparam(\"codec\", \"keystore\", \"memcached://127.0.0.1:{MEMCACHED_PORT}\")\n");
    let lines = stage.enrol_key(1)? + &keystore;
    let (a, b) = (stage.corex(5060, &lines)?, stage.corex(5070, &lines)?);
    let mut device = stage.device(5061)?;
    device.enrol(at(5060), &key(1)?)?;
    device.ask(at(5070))?;
    memcached.signal(libc::SIGKILL)?;
    let mut unknown = stage.device(5062)?;
    unknown.send_enrolment(at(5060), &key(1)?, None)?;
    device.ask(at(5060))?;
    device.ask(at(5070))?;
    counts(&a, "keys.enrol_unstored", 1)?;
    let memcached = stage.memcached()?;
    unknown
        .socket
        .set_read_timeout(Some(Duration::from_millis(500)))?;
    wait::until("devices enrol again", PATIENCE, || {
        Ok(unknown.enrol(at(5060), &key(1)?).ok())
    })
    .with_context(|| a.log())?;
    unknown.socket.set_read_timeout(Some(PATIENCE))?;
    unknown.ask(at(5070))?;
    memcached.terminate(PATIENCE)?;
    stop(a)?;
    stop(b)
}

#[test]
fn keys_to_enrol_with_and_the_fleet_s_roll_over_without_loss() -> Result<()> {
    let stage = Stage::new()?;
    let redis = stage.redis()?;
    let sealed = stage.in_redis()?;
    let newer = key_file(&stage.work, 8)?;
    let both = format!("modparam(\"codec\", \"keystore_key\", \"8:file:{newer}\")\n{sealed}");
    let [one, two] = [stage.enrol_key(1)?, stage.enrol_key(2)?];
    let corex = stage.corex(5060, &(one.clone() + &sealed))?;
    let mut device = stage.device(5061)?;
    device.enrol(at(5060), &key(1)?)?;
    device.ask(at(5060))?;
    stage.change(&corex, 5060, &format!("{one}{two}{both}"))?;
    device.ask(at(5060))?;
    let (mut old, mut new) = (stage.device(5062)?, stage.device(5063)?);
    old.enrol(at(5060), &key(1)?)?;
    new.enrol(at(5060), &key(2)?)?;
    stage.change(&corex, 5060, &format!("{two}{both}"))?;
    for device in [&mut device, &mut old, &mut new] {
        device.ask(at(5060))?;
    }
    // The device takes a new key with what is valid now.
    device.enrol(at(5060), &key(2)?)?;
    device.ask(at(5060))?;
    let books = corex.books()?;
    ensure!(books.get("user.dropped.codec") == 0, "{:#}", books.0);
    redis.terminate(PATIENCE)?;
    stop(corex)
}

/// Answers each datagram with itself, until it gets one that begins with `BYE`.
fn echo(namespace: &Namespace, address: SocketAddr) -> Result<std::thread::JoinHandle<Result<()>>> {
    let socket = namespace.udp(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            let (len, from) = socket.recv_from(&mut buffer)?;
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if text.starts_with("BYE") {
                return Ok(());
            }
            let reply = text.replacen("OPTIONS sip:edge@10.0.1.1 SIP/2.0", "SIP/2.0 200 OK", 1);
            socket.send_to(reply.as_bytes(), from)?;
        }
    }))
}

#[test]
fn a_server_behind_inline_mode_has_devices_too() -> Result<()> {
    let (net, work) = (Inline::new()?, WorkDir::new()?);
    let file = key_file(&work, 1)?;
    let config = format!(
        r#"loadmodule "corex.so"
loadmodule "codec.so"
modparam("codec", "enrol_key", "1:file:{file}")
modparam("codec", "chain", "edge={CODECS}")
modparam("corex", "mode", "inline")
modparam("corex", "protect", "udp:{address}")
modparam("corex", "codec_in", "edge")
modparam("corex", "codec_out", "edge")
"#,
        address = Inline::SERVER.sip(),
    );
    let path = work.write("corex.cfg", config)?;
    let server = echo(&net.server, Inline::SERVER.sip())?;
    let corex =
        CorexOptions::new(&path)
            .interface("eth0")
            .start(&net.server, work.path(), "corex")?;
    let mut device = Device::new(&net.device, Inline::DEVICE.sip())?;
    let to = Inline::SERVER.sip();
    device.send_enrolment(to, &key(1)?, Some(&options(77)))?;
    let mut got = [
        device.receive().with_context(|| corex.log())?,
        device.receive()?,
    ];
    got.sort_by_key(|got| matches!(got, Got::Message(_)));
    ensure!(
        matches!(got[0], Got::Answer(Answer::Accepted { .. })),
        "{got:?}"
    );
    ensure!(
        matches!(&got[1], Got::Message(text) if text.contains("Call-ID: 77")),
        "{got:?}"
    );
    for _ in 0..5 {
        device.ask(to)?;
    }
    let mut stranger = Device::new(&net.device, SocketAddr::from(([10, 0, 1, 2], 5071)))?;
    stranger.send_enrolment(to, &psk(1, &[2; 32])?, None)?;
    stranger.send(to)?;
    ensure!(stranger.receive()? == Got::Unknown);
    counts(&corex, "user.dropped.enrolment", 1)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("keys.enrolled") == 1, "{:#}", books.0);
    let done = net.server.udp(SocketAddr::from(([10, 0, 2, 2], 5999)))?;
    done.send_to(b"BYE", to)?;
    server
        .join()
        .map_err(|_| anyhow::anyhow!("the server panicked"))?
}

#[test]
fn what_does_not_fit_together_is_said_before_it_runs() -> Result<()> {
    let stage = Stage::new()?;
    let path = stage.work.write("check.cfg", config(5060, ""))?;
    let binary = corex_lab::corex::binary()?;
    let output = Command::new(binary)
        .args(["check", "-f"])
        .arg(&path)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    ensure!(
        said.contains("no device can enrol") && said.contains("enrol_key"),
        "{said}"
    );
    Ok(())
}
