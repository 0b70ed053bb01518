//! Remote control by the real kamcmd, while calls pass.

use std::{
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, WorkDir,
    config::{self, Family},
    corex::CorexOptions,
    process::output_of,
    sipp,
    topology::Relay,
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);

struct Stage {
    relay: Relay,
    work: WorkDir,
    corex: Corex,
    socket: PathBuf,
}

impl Stage {
    fn new(more: &str) -> Result<Stage> {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let socket = work.join("ctl");
        let parameters = format!(
            "debug=2\nloadmodule \"ctl.so\"\nloadmodule \"htable.so\"\n\
             modparam(\"ctl\", \"binrpc\", \"unix:{}\")\n\
             modparam(\"htable\", \"htable\", \"seen=>size=8\")\n\
             alias=tcp:alias.example:5070\n\
             modparam(\"corex\", \"alias_subdomains\", \"udp:kamailio.org\")\n{more}",
            socket.display()
        );
        let file = work.write(
            "corex.cfg",
            config::relay(Family::V4, &parameters, config::COPY),
        )?;
        let corex = CorexOptions::new(&file)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .start(&relay.corex, work.path(), "corex")?;
        Ok(Stage {
            relay,
            work,
            corex,
            socket,
        })
    }

    fn kamcmd(&self, words: &[&str]) -> Result<String> {
        let socket = format!("unix:{}", self.socket.display());
        output_of(Command::new("kamcmd").args(["-s", &socket]).args(words))
    }

    fn call(&self, calls: u64) -> Result<()> {
        sipp::call_through(&self.relay, self.work.path(), calls)
    }

    fn logged(&self, text: &str) -> Result<()> {
        self.corex.process.wait_for_output(text, LIMIT)
    }
}

/// The value of `name: value` in what kamcmd prints.
fn field<'t>(text: &'t str, name: &str) -> Result<&'t str> {
    let prefix = format!("{name}: ");
    let mut lines = text.lines().map(str::trim);
    lines
        .find_map(|line| line.strip_prefix(&prefix))
        .with_context(|| format!("no {name} in\n{text}"))
}

#[test]
fn kamcmd_shows_what_the_books_show_while_calls_pass() -> Result<()> {
    let stage = Stage::new("")?;
    std::thread::scope(|scope| -> Result<()> {
        let calls = scope.spawn(|| stage.call(200));
        while !calls.is_finished() {
            for command in ["corex.workers", "corex.counters", "core.psx", "htable.dump"] {
                // htable.dump without a name is a fault, which disturbs nobody either.
                let _ = stage.kamcmd(&[command]);
            }
        }
        calls
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let books = wait::until("corex is at rest", LIMIT, || {
        let books = stage.corex.books()?;
        Ok((books.get("user.sent") == 1200).then_some(books))
    })?;
    let workers = stage.kamcmd(&["corex.counters", "workers"])?;
    for name in [
        "sent",
        "xdp_in",
        "bytes_in",
        "bytes_out",
        "hook_in",
        "out_in_place",
    ] {
        let path = format!("user.{name}");
        ensure!(
            field(&workers, name)?.parse::<u64>()? == books.get(&path),
            "{name}\n{workers}"
        );
    }
    let kernel = stage.kamcmd(&["corex.counters", "kernel"])?;
    ensure!(field(&kernel, "steered")?.parse::<u64>()? == books.get("kernel.steered"));
    let sockets = stage.kamcmd(&["corex.list_sockets"])?;
    for socket in ["udp:10.0.1.1:5060", "udp:10.0.2.1:5060"] {
        ensure!(sockets.contains(&format!("SOCKSTR: {socket}")), "{sockets}");
    }
    let aliases = stage.kamcmd(&["corex.list_aliases"])?;
    ensure!(aliases.contains("ADDR: alias.example") && aliases.contains("SUBDOMAINS: yes"));
    stage.corex.stop()?.check_balance()
}

#[test]
fn what_is_set_holds_and_what_is_bad_is_a_fault() -> Result<()> {
    let stage = Stage::new("")?;
    stage.kamcmd(&["cfg.set_now_int", "corex", "min_msg_len", "60000"])?;
    ensure!(stage.kamcmd(&["cfg.get", "corex", "min_msg_len"])?.trim() == "60000");
    stage.call(10)?;
    let books = stage.corex.books()?;
    ensure!(books.get("user.hook_in") == 0, "{:#}", books.0);
    ensure!(books.get("user.hook_skipped") == 120, "{:#}", books.0);
    stage.kamcmd(&["htable.seti", "seen", "key", "7"])?;
    let entry = stage.kamcmd(&["htable.get", "seen", "key"])?;
    ensure!(field(&entry, "value")? == "7", "{entry}");
    ensure!(stage.kamcmd(&["corex.reload"])?.contains("reloaded"));
    let entry = stage.kamcmd(&["htable.get", "seen", "key"])?;
    ensure!(field(&entry, "value")? == "7", "a reload keeps it: {entry}");
    for (words, fault) in [
        (&["nonsense"][..], "500 - command nonsense not found"),
        (
            &["corex.pkg_summary", "name", "1"],
            "500 - Unsupported selector type",
        ),
        (
            &["corex.pkg_summary", "idx", "999"],
            "500 - Index value out of range",
        ),
        (
            &["corex.pkg_summary"],
            "400 - Selector and value not provided",
        ),
    ] {
        let socket = format!("unix:{}", stage.socket.display());
        let output = Command::new("kamcmd")
            .args(["-s", &socket])
            .args(words)
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(said.contains(fault), "{words:?}: {said}");
    }
    stage.corex.stop()?.check_balance()
}

#[test]
fn messages_that_match_are_shown_before_and_after_the_hook() -> Result<()> {
    let stage = Stage::new("")?;
    // Replaces something in what goes out, so that before and after differ.
    let text = std::fs::read_to_string(stage.work.join("corex.cfg"))?.replace(
        config::COPY,
        "if (is_incoming()) $avp(msg) = $mb; else $avp(msg) = $(mb{re.subst,/^INVITE/XNVITE/});",
    );
    stage.work.write("corex.cfg", text)?;
    stage.kamcmd(&["corex.reload"])?;
    let traced = || {
        std::thread::scope(|scope| {
            let trace = scope.spawn(|| stage.kamcmd(&["corex.trace", "^INVITE", "2", "20"]));
            let caller = stage.relay.uac.udp(Relay::UAC.sip())?;
            wait::until("the messages are traced", LIMIT, || {
                let invite = "INVITE sip:10.0.1.1 SIP/2.0\r\nCall-ID: 1\r\n\r\n";
                caller.send_to(invite.as_bytes(), Relay::USER_SIDE.sip())?;
                Ok(trace.is_finished().then_some(()))
            })?;
            trace
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    };
    // A worker that hasn't run since has the former configuration, and changes nothing.
    let text = wait::until("the worker has the new configuration", LIMIT, || {
        let text = traced()?;
        Ok(text.contains("after_hook").then_some(text))
    })?;
    for part in [
        "direction: incoming",
        "direction: outgoing",
        "src: udp:10.0.1.2:5060",
        "dst: udp:10.0.2.2:5060",
        "message: INVITE",
        "after_hook: XNVITE",
    ] {
        ensure!(text.contains(part), "no {part} in\n{text}");
    }
    let seen = stage.kamcmd(&["corex.trace", "nothing is like this", "1", "1"])?;
    ensure!(seen.trim().is_empty(), "{seen}");
    stage.corex.stop().map(drop)
}

/// What curl gets from corex's side of the network.
fn curl(stage: &Stage, words: &[&str]) -> Result<String> {
    stage.relay.corex.exec("curl", &[&["-sS"], words].concat())
}

#[test]
fn metrics_are_what_promtool_accepts_and_the_books_say() -> Result<()> {
    let stage = Stage::new("modparam(\"corex\", \"metrics\", \"127.0.0.1:9470\")")?;
    stage.call(30)?;
    let books = wait::until("corex is at rest", LIMIT, || {
        let books = stage.corex.books()?;
        Ok((books.get("user.sent") == 180).then_some(books))
    })?;
    let text = curl(&stage, &["http://127.0.0.1:9470/metrics"])?;
    let value = |series: &str| -> Result<u64> {
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line
            .with_context(|| format!("no {series} in\n{text}"))?
            .parse()?)
    };
    for (series, path) in [
        (
            "corex_kernel_packets_total{verdict=\"steered\",reason=\"\"}",
            "kernel.steered",
        ),
        (
            "corex_worker_messages_total{worker=\"0\",verdict=\"sent\",reason=\"\"}",
            "user.sent",
        ),
        ("corex_worker_hook_in_total{worker=\"0\"}", "user.hook_in"),
        (
            "corex_hook_duration_seconds_count{kind=\"route\",way=\"incoming\"}",
            "user.hook_in",
        ),
        (
            "corex_hook_duration_seconds_count{kind=\"route\",way=\"outgoing\"}",
            "user.hook_out",
        ),
    ] {
        ensure!(value(series)? == books.get(path), "{series}\n{text}");
    }
    let file = stage.work.write("metrics.txt", &text)?;
    // It reads the older format: that has no last line of its own, and the help of counters under
    // another name, which it grumbles about.
    let check = format!(
        "grep -v '^# EOF' {} | promtool check metrics --extended",
        file.display()
    );
    let check = Command::new("sh").args(["-c", &check]).output()?;
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    ensure!(!said.contains("error while linting"), "{said}");
    ensure!(curl(&stage, &["http://127.0.0.1:9470/health"])?.trim() == "ok");
    ensure!(curl(&stage, &["http://127.0.0.1:9470/ready"])?.trim() == "ready");
    let refused = curl(
        &stage,
        &[
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "http://127.0.0.1:9470/RPC",
        ],
    )?;
    ensure!(refused.trim() == "404", "{refused}");
    // Nobody reaches it from outside.
    let outside = stage
        .relay
        .uac
        .exec("curl", &["-sS", "-m", "2", "http://10.0.1.1:9470/metrics"]);
    ensure!(outside.is_err());
    stage.corex.stop()?.check_balance()
}

#[test]
fn kamcmd_prometheus_bpftool_and_sipp_agree_at_rest() -> Result<()> {
    const CALLS: u64 = 100;
    let stage = Stage::new("modparam(\"corex\", \"metrics\", \"9470\")")?;
    stage.call(CALLS)?;
    wait::until("corex is at rest", LIMIT, || {
        let sent = stage.corex.books()?.get("user.sent");
        Ok((sent == CALLS * 6).then_some(()))
    })?;
    let bpftool = |map: &str, field: &str| -> Result<u64> {
        let path = format!("/sys/fs/bpf/corex/corex/{map}");
        let text = stage
            .corex
            .beside(&["bpftool", "-j", "map", "dump", "pinned", &path])?;
        let dump: serde_json::Value = serde_json::from_str(&text)?;
        // An entry for each worker, or for each CPU.
        let entries = dump.as_array().context("entries")?;
        let number = |entry: &serde_json::Value| entry["formatted"]["value"][field].as_u64();
        Ok(entries.iter().filter_map(number).sum())
    };
    let kamcmd = |group: &str, name: &str| -> Result<u64> {
        let text = stage.kamcmd(&["corex.counters", group])?;
        Ok(field(&text, name)?.parse()?)
    };
    let text = curl(&stage, &["http://127.0.0.1:9470/metrics"])?;
    let metric = |series: &str| -> Result<u64> {
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no {series}"))?.parse()?)
    };
    let sent = "corex_worker_messages_total{worker=\"0\",verdict=\"sent\",reason=\"\"}";
    let steered = "corex_kernel_packets_total{verdict=\"steered\",reason=\"\"}";
    ensure!(
        [
            kamcmd("workers", "sent")?,
            metric(sent)?,
            bpftool("WORKERS", "sent")?,
            kamcmd("kernel", "steered")?,
            metric(steered)?,
            bpftool("COUNTERS", "steered")?,
        ] == [CALLS * 6; 6]
    );
    stage.corex.stop()?.check_balance()
}

#[test]
fn two_instances_on_two_interfaces_are_two() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let start = |name: &str, interface: &str, address: &str, port: u16| -> Result<Corex> {
        let text = format!(
            "listen=udp:{address}\nloadmodule \"ctl.so\"\nloadmodule \"corex.so\"\n\
             loadmodule \"sl.so\"\n\
             modparam(\"ctl\", \"binrpc\", \"unix:{}\")\n\
             modparam(\"corex\", \"metrics\", \"{port}\")\n\
             request_route {{ sl_send_reply(\"200\", \"{name}\"); }}\n",
            work.join(format!("{name}.ctl")).display()
        );
        CorexOptions::new(&work.write(&format!("{name}.cfg"), text)?)
            .interface(interface)
            .engine("xdp")
            .start(&relay.corex, work.path(), name)
    };
    let one = start("one", "user", "10.0.1.1", 9471)?;
    let two = start("two", "core", "10.0.2.1", 9472)?;
    let sockets = |name: &str| {
        let socket = format!("unix:{}", work.join(format!("{name}.ctl")).display());
        output_of(Command::new("kamcmd").args(["-s", &socket, "corex.list_sockets"]))
    };
    ensure!(sockets("one")?.contains("udp:10.0.1.1:5060"));
    ensure!(sockets("two")?.contains("udp:10.0.2.1:5060"));
    one.stop()?.check_balance()?;
    ensure!(sockets("one").is_err());
    ensure!(sockets("two")?.contains("udp:10.0.2.1:5060"));
    let health = relay
        .corex
        .exec("curl", &["-sS", "http://127.0.0.1:9472/health"])?;
    ensure!(health.trim() == "ok");
    ensure!(relay.corex.xdp_program("core")?.is_some());
    two.stop()?.check_balance()
}

/// Asks the Prometheus of this stage; how many series the answer has.
fn query(stage: &Stage, expression: &str) -> Result<usize> {
    let query = format!("query={expression}");
    let words = [
        "-G",
        "http://127.0.0.1:9090/api/v1/query",
        "--data-urlencode",
        &query,
    ];
    let answer: serde_json::Value = serde_json::from_str(&curl(stage, &words)?)?;
    ensure!(answer["status"] == "success", "{expression}: {answer:#}");
    Ok(answer["data"]["result"].as_array().map_or(0, Vec::len))
}

#[test]
fn the_dashboard_s_queries_resolve_against_what_prometheus_scrapes() -> Result<()> {
    let stage = Stage::new("modparam(\"corex\", \"metrics\", \"9470\")")?;
    let config = stage.work.write(
        "prometheus.yml",
        "global: { scrape_interval: 500ms }\n\
         scrape_configs:\n  - job_name: corex\n    static_configs:\n      \
         - targets: ['127.0.0.1:9470']\n",
    )?;
    let _prometheus = stage.relay.corex.spawn(
        "prometheus",
        &[
            &format!("--config.file={}", config.display()),
            &format!("--storage.tsdb.path={}", stage.work.join("tsdb").display()),
            "--web.listen-address=127.0.0.1:9090",
        ],
        &stage.work.join("prometheus.log"),
    )?;
    stage.call(20)?;
    wait::until("Prometheus has scraped twice", LIMIT, || {
        let scraped = query(&stage, "rate(corex_kernel_seen_total[10s])");
        Ok(scraped.ok().filter(|series| *series == 1))
    })?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana-dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let mut resolved = 0;
    for panel in dashboard["panels"].as_array().context("panels")? {
        for target in panel["targets"].as_array().context("targets")? {
            let expression = target["expr"]
                .as_str()
                .context("an expression")?
                .replace("$__rate_interval", "10s")
                .replace("$instance", "127.0.0.1:9470");
            let series = query(&stage, &expression)?;
            // What shows only what isn't zero may have nothing to show.
            ensure!(
                series > 0 || expression.ends_with("> 0"),
                "{expression} has no series"
            );
            resolved += 1;
        }
    }
    ensure!(resolved > 20, "{resolved} queries");
    stage.corex.stop()?.check_balance()
}

#[test]
fn memory_is_logged_by_those_who_hold_it() -> Result<()> {
    let stage = Stage::new("")?;
    stage.kamcmd(&["corex.shm_status"])?;
    for map in ["SOCKETS", "COUNTERS", "CONFIG", "QUEUES", "WORKERS", "XSKS"] {
        stage.logged(&format!("shm: map {map}"))?;
    }
    stage.logged("shm: htable seen")?;
    for part in ["aliases", "DNS cache", "packet memory", "four rings"] {
        stage.logged(&format!("shm: {part}"))?;
    }
    stage.logged("shm: all, in bytes")?;
    stage.kamcmd(&["corex.pkg_summary", "idx", "1"])?;
    stage.call(5)?;
    stage.logged("pkg: heap, in bytes worker=0")?;
    stage.logged("pkg: packet memory worker=0")?;
    stage.corex.stop()?.check_balance()
}

#[test]
fn http_answers_by_its_own_names_and_who_shows_the_token() -> Result<()> {
    let work = WorkDir::new()?;
    let path = work.write("token", "0123456789abcdef0123456789abcdef\n")?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
    let stage = Stage::new(&format!(
        "modparam(\"corex\", \"metrics\", \"9470\")\n\
         modparam(\"corex\", \"http_host\", \"edge.example\")\n\
         modparam(\"corex\", \"http_token_file\", \"{}\")\n",
        path.display()
    ))?;
    let status = |path: &str, host: &str, token: &str| {
        let url = format!("http://127.0.0.1:9470{path}");
        let (host, token) = (
            format!("Host: {host}"),
            format!("Authorization: Bearer {token}"),
        );
        let words = [
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            &host,
            "-H",
            &token,
            &url,
        ];
        curl(&stage, &words)
    };
    let token = "0123456789abcdef0123456789abcdef";
    ensure!(status("/metrics", "edge.example", token)? == "200");
    ensure!(status("/metrics", "127.0.0.1:9470", token)? == "200");
    ensure!(status("/metrics", "evil.example", token)? == "421");
    ensure!(status("/metrics", "edge.example", "0123456789abcdef")? == "401");
    ensure!(status("/health", "edge.example", "")? == "200");
    let counted = stage.kamcmd(&["ctl.stats"])?;
    ensure!(field(&counted, "http_wrong_host")? == "1", "{counted}");
    ensure!(field(&counted, "http_no_token")? == "1", "{counted}");
    stage.corex.stop().map(drop)
}

#[test]
fn clients_that_talk_nonsense_or_nothing_disturb_nobody() -> Result<()> {
    let stage = Stage::new("")?;
    let connect = |path: &Path| UnixStream::connect(path);
    let idle = connect(&stage.socket)?;
    let mut half = connect(&stage.socket)?;
    half.write_all(&[0xa1, 0x03, 0x20])?;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 4096],
        &[0xa1, 0x0f, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0],
    ] {
        let mut client = connect(&stage.socket)?;
        // It may have hung up by then.
        let _ = client.write_all(garbage);
        client.set_read_timeout(Some(LIMIT))?;
        let _ = client.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
    }
    ensure!(stage.kamcmd(&["core.version"])?.starts_with("corex "));
    stage.call(20)?;
    ensure!(stage.kamcmd(&["core.uptime"])?.contains("uptime: "));
    drop((idle, half));
    let books = stage.corex.stop()?;
    books.check_balance()?;
    ensure!(!stage.socket.exists(), "the socket file stays");
    ensure!(books.get("user.sent") == 120);
    Ok(())
}
