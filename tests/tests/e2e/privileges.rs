//! Who corex and Perl are once they run, what they still may, and what follows from it: started by
//! root and by a user with capabilities alone, on both engines.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, WorkDir,
    corex::{self, CorexOptions},
    process::{of_every_thread, output_of},
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Of no user that a system has.
const USER: u32 = 61_234;
const GROUP: u32 = 61_235;
/// What AF_XDP takes, and nothing else.
const CAPABILITIES: &str = "+bpf,+perfmon,+net_admin,+net_raw,+ipc_lock";
/// Says what came of opening files, and who it is.
const SCRIPT: &str = r#"use strict;
sub probe {
    my ($message, $list) = @_;
    my @found = ("uid=$<,$>");
    for my $word (split / /, $list) {
        my ($how, $path) = split /:/, $word;
        my $opened = open my $file, $how eq 'w' ? '>>' : '<', $path;
        push @found, "$word=" . ($opened ? 'opened' : 'refused');
    }
    my ($seccomp) = grep { /^Seccomp:/ } do { open my $f, '<', '/proc/self/status'; <$f> };
    $seccomp =~ s/\s+/ /g;
    push @found, $seccomp;
    # unshare(CLONE_NEWUSER), then mount().
    push @found, 'unshare=' . (syscall(272, 0x10000000) == 0 ? 'done' : 'refused');
    Kamailio::AVP::add('found', join ';', @found);
    return 1;
}
1;
"#;

struct Stage {
    relay: Relay,
    work: WorkDir,
    parameters: String,
}

impl Stage {
    fn new() -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        work.write("script.pl", SCRIPT)?;
        Ok(Stage {
            relay,
            work,
            parameters: String::new(),
        })
    }

    fn config(&self, probes: &str) -> String {
        format!(
            "listen=udp:10.0.1.1:5060\n{}\nloadmodule \"corex.so\"\nloadmodule \"sl.so\"\n\
             loadmodule \"pv.so\"\nloadmodule \"textops.so\"\nloadmodule \"ctl.so\"\n\
             loadmodule \"app_perl.so\"\n\
             modparam(\"ctl\", \"binrpc\", \"unix:{ctl}\")\n\
             modparam(\"app_perl\", \"filename\", \"{script}\")\n\
             modparam(\"app_perl\", \"timeout\", 10000)\n\
             request_route {{\n  perl_exec(\"probe\", \"{probes}\");\n  \
             sl_send_reply(\"200\", \"$avp(found)\");\n}}\n",
            self.parameters,
            ctl = self.work.join("ctl").display(),
            script = self.work.join("script.pl").display(),
        )
    }

    fn options(&self, engine: &str, probes: &str) -> Result<CorexOptions> {
        let path = self.work.write("edge.cfg", self.config(probes))?;
        // Nobody else's business, as configurations with secrets are.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let options = CorexOptions::new(&path).engine(engine);
        Ok(if engine == "xdp" {
            options.interface("user")
        } else {
            options
        })
    }

    /// What Perl says, in the status line.
    fn ask(&self) -> Result<String> {
        let socket = self.relay.uac.udp("10.0.1.2:0".parse()?)?;
        socket.set_read_timeout(Some(LIMIT))?;
        let port = socket.local_addr()?.port();
        let message = format!(
            "OPTIONS sip:a@10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2:{port};branch=z9hG4bKp\r\n\
             To: <sip:a@b>\r\nFrom: <sip:c@d>;tag=1\r\nCall-ID: p@x\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n"
        );
        socket.send_to(message.as_bytes(), Relay::USER_SIDE.sip())?;
        let mut buffer = [0; 8192];
        let len = socket.recv(&mut buffer)?;
        let reply = String::from_utf8_lossy(&buffer[..len]).into_owned();
        Ok(reply.lines().next().unwrap_or_default().to_owned())
    }

    fn reload(&self, corex: &Corex) -> Result<()> {
        corex.process.signal(libc::SIGHUP)?;
        corex
            .process
            .wait_for_output("the configuration was read again", LIMIT)
            .map(drop)
    }
}

/// That all threads and all children but corex-root are this user and group, and that nothing has
/// a capability, can get one, or makes the system calls that are forbidden.
fn check_everything(corex: &Corex, user: u32, group: u32, has_root: bool) -> Result<()> {
    let pid = corex.process.pid();
    let none = "0000000000000000";
    for (field, wanted) in [
        ("CapInh:", none),
        ("CapPrm:", none),
        ("CapEff:", none),
        ("CapAmb:", none),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ] {
        for (name, value) in of_every_thread(pid, field)? {
            // CAP_NET_ADMIN, CAP_NET_RAW and CAP_IPC_LOCK, as docs/security.md says.
            let wanted = match field {
                "CapPrm:" | "CapEff:" if name == "corex-nics" => "0000000000007000",
                _ => wanted,
            };
            ensure!(value == wanted, "{name}: {field} {value}");
        }
    }
    let mut rooted = 0;
    for (field, id) in [("Uid:", user), ("Gid:", group)] {
        let wanted = [id; 4].map(|id| id.to_string()).join("\t");
        for (name, value) in of_every_thread(pid, field)? {
            if name == "corex-root" {
                rooted += 1;
                continue;
            }
            ensure!(value == wanted, "{name}: {field} {value}");
        }
    }
    ensure!(rooted == if has_root { 2 } else { 0 }, "{rooted}");
    // A thread names itself, which may take it a moment.
    wait::until("all threads have their names", LIMIT, || {
        let names = of_every_thread(pid, "Name:")?;
        let is_there = |name: &str| names.iter().any(|(it, _)| it == name);
        let all = ["corex-w0", "corex-loader", "corex-perl", "corex-perl work"];
        Ok(all.into_iter().all(is_there).then_some(()))
    })?;
    Ok(())
}

#[test]
fn root_goes_on_as_nobody_or_who_is_named_and_nothing_of_it_is_root() -> Result<()> {
    let nobody = output_of(Command::new("id").args(["-u", "nobody"]))?;
    let nobody: u32 = nobody.trim().parse()?;
    let its_group: u32 = output_of(Command::new("id").args(["-g", "nobody"]))?
        .trim()
        .parse()?;
    for engine in ["xdp", "socket"] {
        for (parameters, arguments, user, group) in [
            ("", &[][..], nobody, its_group),
            ("user=61234\ngroup=61235", &[], USER, GROUP),
            ("uid=\"0\"", &["-u", "61234", "-g", "61235"], USER, GROUP),
        ] {
            // The default is another one where there is such a user.
            if arguments.is_empty()
                && parameters.is_empty()
                && Command::new("id").arg("corex").output()?.status.success()
            {
                continue;
            }
            let mut stage = Stage::new()?;
            stage.parameters = parameters.to_owned();
            let mut options = stage.options(engine, "r:/etc/hosts")?;
            for argument in arguments {
                options = options.argument(argument);
            }
            let corex = options.start(&stage.relay.corex, stage.work.path(), "corex")?;
            check_everything(&corex, user, group, true)?;
            let said = stage.ask()?;
            ensure!(said.contains(&format!("uid={user},{user};")), "{said}");
            // Only root may read the configuration, and only root may write where the books go.
            stage.reload(&corex)?;
            check_everything(&corex, user, group, true)?;
            ensure!(stage.ask()?.contains(&format!("uid={user},{user};")));
            let ctl = format!("unix:{}", stage.work.join("ctl").display());
            output_of(Command::new("kamcmd").args(["-s", &ctl, "core.version"]))?;
            corex.books()?;
            corex.stop()?.check_balance()?;
            ensure!(!stage.work.join("ctl").exists(), "its socket's file stays");
        }
    }
    Ok(())
}

#[test]
fn a_user_with_capabilities_alone_starts_both_engines_and_keeps_none() -> Result<()> {
    for engine in ["xdp", "socket"] {
        let stage = Stage::new()?;
        let binary = stage.work.join("corex");
        corex::copy_binary(&binary)?;
        let options = stage.options(engine, "r:/etc/hosts")?;
        chown(stage.work.path(), Some(USER), Some(GROUP))?;
        chown(stage.work.join("edge.cfg"), Some(USER), Some(GROUP))?;
        // As by a unit with User= and AmbientCapabilities=.
        let mut command = stage.relay.corex.command("setpriv");
        command
            .args(["--reuid", "61234", "--regid", "61235", "--clear-groups"])
            .args(["--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES])
            .args([
                "--bounding-set",
                &format!("-all,{CAPABILITIES}"),
                "--no-new-privs",
            ])
            .arg(&binary);
        if engine == "socket" {
            command = stage.relay.corex.command("setpriv");
            command
                .args(["--reuid", "61234", "--regid", "61235", "--clear-groups"])
                .arg(&binary);
        }
        let corex = options
            .spawn(command, stage.work.path(), "corex")?
            .ready()?;
        check_everything(&corex, USER, GROUP, false)?;
        let said = stage.ask()?;
        ensure!(said.contains(&format!("uid={USER},{USER};")), "{said}");
        stage.reload(&corex)?;
        check_everything(&corex, USER, GROUP, false)?;
        let books = corex.stop()?;
        books.check_balance()?;
        let road = if engine == "xdp" {
            "user.xdp_in"
        } else {
            "user.socket_in"
        };
        ensure!(books.get(road) > 0, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn perl_reaches_what_a_script_needs_and_nothing_else() -> Result<()> {
    for engine in ["xdp", "socket"] {
        for confined in [true, false] {
            let mut stage = Stage::new()?;
            // Beside what is for temporary files, and open to everybody.
            let place = Path::new("/var/lib").join(format!("corex-test-{}", std::process::id()));
            let rooted = place.join("root");
            fs::create_dir_all(&rooted)?;
            for folder in [&place, &rooted] {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?;
            }
            fs::write(place.join("file"), "x")?;
            fs::set_permissions(place.join("file"), fs::Permissions::from_mode(0o666))?;
            stage.parameters = format!(
                "loadmodule \"app_perl.so\"\nmodparam(\"app_perl\", \"file_root\", \"{}\")\n\
                 modparam(\"app_perl\", \"confine\", {})",
                rooted.display(),
                u8::from(confined)
            );
            let (at, config) = (place.display(), stage.work.join("edge.cfg"));
            let probes = format!(
                "r:/etc/hosts w:/dev/null w:{at}/root/new r:/etc/shadow w:/etc/hosts w:/usr/new \
                 w:{config} w:{config}.new r:{config} r:{at}/file w:{at}/new",
                config = config.display()
            );
            let corex = stage
                .options(engine, &probes)?
                .argument("--user")
                .argument("61234")
                .start(&stage.relay.corex, stage.work.path(), "corex")?;
            let said = stage.ask();
            let stopped = corex.stop();
            let wrote = rooted.join("new").exists();
            fs::remove_dir_all(&place)?;
            let (said, _) = (said?, stopped?);
            let found = |word: &str, wanted: &str| -> Result<()> {
                let needle = format!("{word}={wanted}");
                ensure!(said.contains(&needle), "no {needle}: {said}");
                Ok(())
            };
            for word in ["r:/etc/hosts", "w:/dev/null", &format!("w:{at}/root/new")] {
                found(word, "opened")?;
            }
            ensure!(wrote);
            for word in [
                "r:/etc/shadow",
                "w:/etc/hosts",
                "w:/usr/new",
                &format!("w:{}", config.display()),
                &format!("w:{}.new", config.display()),
                &format!("r:{}", config.display()),
            ] {
                found(word, "refused")?;
            }
            // Whoever owns them, where it is confined.
            let wanted = if confined { "refused" } else { "opened" };
            found(&format!("r:{at}/file"), wanted)?;
            found(&format!("w:{at}/new"), wanted)?;
            ensure!(
                said.contains("Seccomp: 2") && said.contains("unshare=refused"),
                "{said}"
            );
        }
    }
    Ok(())
}

#[test]
fn files_are_written_where_only_root_may_when_the_operator_named_the_folder() -> Result<()> {
    for engine in ["xdp", "socket"] {
        let stage = Stage::new()?;
        let (root, state) = (stage.work.join("files"), stage.work.join("state"));
        for folder in [&root, &state] {
            fs::create_dir(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        for (named, folder) in [(true, &root), (false, &state)] {
            let parameter = if named {
                format!(
                    "modparam(\"corex\", \"file_root\", \"{}\")\n",
                    root.display()
                )
            } else {
                String::new()
            };
            let text = format!(
                "listen=udp:10.0.1.1:5060\nloadmodule \"corex.so\"\nloadmodule \"sl.so\"\n{parameter}\
                 request_route {{\n  file_write(\"new\", \"written\");\n  \
                 sl_send_reply(\"200\", \"Done\");\n}}\n"
            );
            let path = stage.work.write("files.cfg", text)?;
            let mut options = CorexOptions::new(&path).engine(engine);
            if engine == "xdp" {
                options = options.interface("user");
            }
            let mut command = stage.relay.corex.command("env");
            command
                .arg(format!("STATE_DIRECTORY={}", state.display()))
                .arg(corex::binary()?);
            let corex = options
                .argument("--user")
                .argument("61234")
                .spawn(command, stage.work.path(), "files")?
                .ready()?;
            ensure!(stage.ask()?.contains("200 Done"));
            let written = folder.join("new");
            wait::until("the file is written", LIMIT, || {
                Ok(fs::read(&written)
                    .is_ok_and(|it| it == b"written")
                    .then_some(()))
            })?;
            corex.stop()?;
            // Root's hands wrote in root's folder; the folder made for corex is its own.
            let owner = fs::metadata(&written)?.uid();
            ensure!(owner == if named { 0 } else { USER }, "{owner}");
        }
    }
    Ok(())
}

#[test]
fn who_can_not_be_is_told_with_file_line_and_remedy() -> Result<()> {
    let stage = Stage::new()?;
    let check = |arguments: &[&str], as_user: bool| -> Result<String> {
        let binary = stage.work.join("corex");
        if !binary.exists() {
            corex::copy_binary(&binary)?;
        }
        let mut command = if as_user {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", "61234", "--regid", "61235", "--clear-groups"])
                .arg(&binary);
            command
        } else {
            Command::new(&binary)
        };
        let path = stage.work.join("who.cfg");
        let output = command
            .args(["check", "-f"])
            .arg(path)
            .args(arguments)
            .output()?;
        ensure!(!output.status.success());
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let write = |line: &str| {
        let text = format!("listen=udp:10.0.1.1:5060\n{line}\nrequest_route {{ exit; }}\n");
        stage.work.write("who.cfg", text).map(drop)
    };
    write("user=\"no-such-user\"")?;
    let said = check(&[], false)?;
    for part in ["who.cfg:2:", "no-such-user", "useradd"] {
        ensure!(said.contains(part), "no {part}: {said}");
    }
    write("group=no_such_group")?;
    let said = check(&[], false)?;
    for part in ["who.cfg:2:", "no_such_group", "groupadd"] {
        ensure!(said.contains(part), "no {part}: {said}");
    }
    write("user=\"nobody\"")?;
    let said = check(&[], true)?;
    for part in ["who.cfg:2:", "only root", "nobody"] {
        ensure!(said.contains(part), "no {part}: {said}");
    }
    write("")?;
    let said = check(&["-u", "no-such-user"], false).context("by the command line")?;
    ensure!(said.contains("useradd"), "{said}");
    Ok(())
}
