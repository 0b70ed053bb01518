//! The pinned maps as bpftool shows them, and as docs/maps.md says that they are.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Mounts, WorkDir,
    config::{self, Family},
    corex::CorexOptions,
    sipp,
    topology::Relay,
    wait,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);
const ROOT: &str = "/sys/fs/bpf/corex";

fn bpftool(corex: &Corex, words: &[&str]) -> Result<Value> {
    let text = corex.beside(&[&["bpftool", "-j"], words].concat())?;
    serde_json::from_str(&text).with_context(|| text)
}

fn dump(corex: &Corex, instance: &str, map: &str) -> Result<Value> {
    let path = format!("{ROOT}/{instance}/{map}");
    bpftool(corex, &["map", "dump", "pinned", &path])
}

/// What docs/maps.md says: (map, its type, `key` or `value`, field).
fn documented() -> Result<BTreeSet<(String, String, String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/maps.md");
    let text = fs::read_to_string(path)?;
    let mut found = BTreeSet::new();
    let mut map = (String::new(), String::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let (name, kind) = title.split_once(" (").context("a type")?;
            map = (name.to_owned(), kind.trim_end_matches(')').to_owned());
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", side @ ("key" | "value"), field, ..] = cells[..] {
            let field = field.trim_matches('`').to_owned();
            found.insert((map.0.clone(), map.1.clone(), side.to_owned(), field));
        }
    }
    Ok(found)
}

/// The members of a type in the BTF.
fn members(types: &[Value], id: u64) -> Vec<String> {
    let found = types.iter().find(|one| one["id"] == id);
    let members = found.and_then(|one| one["members"].as_array());
    match members {
        None => vec!["an integer".to_owned()],
        Some(members) => members
            .iter()
            .filter_map(|member| Some(member["name"].as_str()?.to_owned()))
            .collect(),
    }
}

#[test]
fn the_document_names_what_the_btf_names() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    // Inline mode has all of them.
    let text = config::inline(&[Relay::USER_SIDE.sip()], "", config::COPY);
    let corex = CorexOptions::new(&work.write("edge.cfg", text)?)
        .interface("user")
        .start(&relay.corex, work.path(), "edge")?;
    let mut seen = BTreeSet::new();
    for name in corex
        .beside(&["ls", &format!("{ROOT}/edge")])?
        .split_whitespace()
        .filter(|name| *name != "links")
    {
        let path = format!("{ROOT}/edge/{name}");
        let map = bpftool(&corex, &["map", "show", "pinned", &path])?;
        let kind = map["type"].as_str().unwrap_or_default();
        let btf = map["btf_id"].to_string();
        let types = bpftool(&corex, &["btf", "dump", "id", &btf])?;
        let types = types["types"].as_array().context("types")?;
        // bpftool names the types of a map's key and value with its dump in C; the map's own
        // type ids are in `show` of newer ones only, so they are looked up by the map's variable.
        for (side, id) in sides(types, name)? {
            for field in members(types, id) {
                seen.insert((name.to_owned(), kind.to_owned(), side.to_owned(), field));
            }
        }
    }
    let documented = documented()?;
    let only_btf: Vec<_> = seen.difference(&documented).collect();
    let only_document: Vec<_> = documented.difference(&seen).collect();
    ensure!(
        only_btf.is_empty() && only_document.is_empty(),
        "not in docs/maps.md: {only_btf:?}\nnot in the BTF: {only_document:?}"
    );
    corex.stop()?.check_balance()
}

/// The types of a map's key and value: what the pointers `key` and `value` of its variable's
/// structure point to.
fn sides(types: &[Value], map: &str) -> Result<Vec<(&'static str, u64)>> {
    let by_id = |id: &Value| types.iter().find(|one| one["id"] == *id);
    let variable = types
        .iter()
        .find(|one| one["kind"] == "VAR" && one["name"] == map)
        .with_context(|| format!("no variable {map} in the BTF"))?;
    let mut definition = by_id(&variable["type_id"]).context("its type")?;
    // Wrappers of one member stand around the definition.
    loop {
        let members = definition["members"].as_array().context("members")?;
        let find = |name: &str| members.iter().find(|member| member["name"] == name);
        if let (Some(key), Some(value)) = (find("key"), find("value")) {
            let target = |member: &Value| -> Result<u64> {
                let pointer = by_id(&member["type_id"]).context("a pointer")?;
                pointer["type_id"].as_u64().context("a type")
            };
            return Ok(vec![("key", target(key)?), ("value", target(value)?)]);
        }
        let inner = members.first().context("a member")?;
        definition = by_id(&inner["type_id"]).context("its type")?;
    }
}

fn start(
    relay: &Relay,
    work: &WorkDir,
    name: &str,
    interfaces: &[&str],
    arguments: &[&str],
) -> Result<Corex> {
    let text = config::relay(Family::V4, "debug=2", config::COPY);
    let file = work.write(&format!("{name}.cfg"), text)?;
    let mut options = CorexOptions::new(&file).engine("xdp");
    for interface in interfaces {
        options = options.interface(interface);
    }
    for argument in arguments {
        options = options.argument(argument);
    }
    options.start(&relay.corex, work.path(), name)
}

fn call(relay: &Relay, work: &WorkDir, calls: u64) -> Result<()> {
    sipp::call_through(relay, work.path(), calls)
}

/// The sum of a field over the entries of these keys.
fn total(dump: &Value, is_counted: impl Fn(u64) -> bool, field: &str) -> Result<u64> {
    let mut sum = 0;
    let mut found = false;
    for entry in dump.as_array().context("entries")? {
        let formatted = &entry["formatted"];
        if is_counted(formatted["key"].as_u64().context("a key")?) {
            let value = &formatted["value"];
            sum += value[field].as_u64().with_context(|| format!("{value}"))?;
            found = true;
        }
    }
    ensure!(found, "no such key");
    Ok(sum)
}

fn every(_: u64) -> bool {
    true
}

#[test]
fn bpftool_counts_what_the_books_count() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let corex = start(&relay, &work, "edge", &["user", "core"], &[])?;
    call(&relay, &work, 50)?;
    let books = wait::until("corex is at rest", LIMIT, || {
        let books = corex.books()?;
        Ok((books.get("user.sent") == 300).then_some(books))
    })?;
    let counters = dump(&corex, "edge", "COUNTERS")?;
    ensure!(total(&counters, every, "steered")? == books.get("kernel.steered"));
    ensure!(total(&counters, every, "seen")? >= 300);
    let workers = dump(&corex, "edge", "WORKERS")?;
    ensure!(
        total(&workers, |worker| worker == 0, "sent")? == 300,
        "{workers:#}"
    );
    let of_sockets = dump(&corex, "edge", "SOCKET_COUNTS")?;
    let of_socket = |id| total(&of_sockets, move |key| key % 1024 == id, "steered");
    ensure!(of_socket(0)? + of_socket(1)? == 300);
    ensure!(of_socket(0)? > 0 && of_socket(1)? > 0);
    let sockets = dump(&corex, "edge", "SOCKETS")?;
    let mut ports = Vec::new();
    for socket in sockets.as_array().context("sockets")? {
        ports.push(socket["formatted"]["key"]["port"].as_u64());
    }
    ensure!(ports == [Some(5060), Some(5060)], "{sockets:#}");
    corex.stop()?.check_balance()
}

#[test]
fn a_new_min_msg_len_holds_at_once_for_both_sides() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let corex = start(&relay, &work, "edge", &["user", "core"], &[])?;
    call(&relay, &work, 10)?;
    let path = format!("{ROOT}/edge/CONFIG");
    let before = bpftool(
        &corex,
        &["map", "lookup", "pinned", &path, "key", "0", "0", "0", "0"],
    )?;
    let mut bytes: Vec<String> = before["value"]
        .as_array()
        .context("bytes")?
        .iter()
        .filter_map(|byte| Some(byte.as_str()?.trim_start_matches("0x").to_owned()))
        .collect();
    // Longer than any message here.
    for (byte, new) in bytes.iter_mut().skip(4).zip(["ff", "ff", "00", "00"]) {
        new.clone_into(byte);
    }
    let mut words = vec![
        "bpftool", "map", "update", "pinned", &path, "key", "hex", "00", "00", "00", "00", "value",
        "hex",
    ];
    words.extend(bytes.iter().map(String::as_str));
    corex.beside(&words)?;
    let runs = corex.books()?;
    call(&relay, &work, 10)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.hook_in") == runs.get("user.hook_in"));
    ensure!(books.get("user.hook_out") == runs.get("user.hook_out"));
    ensure!(
        books.get("user.hook_skipped") == runs.get("user.hook_skipped") + 120,
        "{:#}",
        books.0
    );
    Ok(())
}

#[test]
fn pins_of_a_stopped_instance_are_gone_and_those_of_a_killed_one_are_replaced() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let mounts = Mounts::new(&relay.corex, work.path())?;
    let start = |name: &str, interface: &str| -> Result<Corex> {
        let address = match interface {
            "user" => Relay::USER_SIDE.v4,
            _ => Relay::CORE_SIDE.v4,
        };
        let file = work.write(
            &format!("{name}.cfg"),
            format!("listen=udp:{address}\nrequest_route {{ drop; }}\n"),
        )?;
        let command = mounts.command(corex_lab::corex::binary()?);
        CorexOptions::new(&file)
            .engine("xdp")
            .interface(interface)
            .argument("--instance")
            .argument("one")
            .spawn(command, work.path(), name)
    };
    let ready = |corex: &Corex| corex.process.wait_for_output("ready:", LIMIT);
    let list = || mounts.run(&["ls", ROOT]);
    let killed = start("killed", "user")?;
    ready(&killed)?;
    killed.kill()?;
    ensure!(list()?.trim() == "one", "kill -9 leaves the pins");
    let first = start("first", "user")?;
    ready(&first)?;
    let taken = start("taken", "core")?;
    ensure!(!taken.process.wait(LIMIT)?.success());
    ensure!(taken.log().contains("called `one`"), "{}", taken.log());
    ensure!(list()?.trim() == "one");
    first.stop()?.check_balance()?;
    ensure!(list()?.trim().is_empty(), "{}", list()?);
    Ok(())
}
