//! `corex check` on a corpus of wrong configurations, each with the report that a person
//! should get, and on the right ones that this repository ships.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::corex;

fn tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check(file: &Path) -> Result<Output> {
    let directory = file.parent().context("a folder")?;
    let name = file.file_name().context("a file")?;
    let output = Command::new(corex::binary()?)
        .args(["check", "--config"])
        .arg(name)
        .current_dir(directory)
        .output()?;
    Ok(output)
}

fn configurations(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "cfg") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[test]
fn every_wrong_configuration_gets_its_report_and_exit_status_1() -> Result<()> {
    let files = configurations(&tests().join("configs/bad"))?;
    ensure!(files.len() >= 19, "only {} configurations", files.len());
    let mut differing = Vec::new();
    for file in files {
        let output = check(&file)?;
        let report = String::from_utf8(output.stderr)?;
        let expected = fs::read_to_string(file.with_extension("expected"))?;
        let name = file.display();
        if output.status.code() != Some(1) {
            differing.push(format!("{name}: {}", output.status));
        }
        if report != expected {
            differing.push(format!("{name}: expected\n{expected}\nbut got\n{report}"));
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n"));
    Ok(())
}

#[test]
fn the_configurations_that_are_shipped_are_right_and_without_warnings() -> Result<()> {
    let repository = tests().parent().context("the workspace")?;
    let work = corex_lab::WorkDir::new()?;
    for directory in ["tests/demo", "xtask/src/bench"] {
        let files = configurations(&repository.join(directory))?;
        ensure!(!files.is_empty(), "no configuration in {directory}");
        for file in files {
            let own = as_corex_has_it(&file, &work)?;
            let output = check(&own)?;
            ensure!(
                output.status.success() && output.stderr.is_empty(),
                "{}: {}",
                file.display(),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    Ok(())
}

/// Of a configuration that the benchmark has for corex and Kamailio what is corex's, with a key in the
/// place of the one that it names.
fn as_corex_has_it(file: &Path, work: &corex_lab::WorkDir) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = file.parent().context("a folder")?.display().to_string();
    let key = work.write("enrol.key", [7; 32])?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let text = fs::read_to_string(file)?.replace("/etc/corex/enrol.pem", &key.to_string_lossy());
    let lines = text
        .lines()
        .filter(|line| !line.ends_with("# Kamailio only"))
        .map(|line| line.replace("FOLDER", &folder) + "\n");
    work.write("own.cfg", lines.collect::<String>())
}

#[test]
fn the_first_configuration_of_the_readme_is_right() -> Result<()> {
    let repository = tests().parent().context("the workspace")?;
    let readme = fs::read_to_string(repository.join("README.md"))?;
    let block = readme
        .split("```")
        .find(|block| block.contains("listen="))
        .context("the README has a configuration")?;
    let directory = corex_lab::WorkDir::new()?;
    let file = directory.path().join("readme.cfg");
    fs::write(&file, block)?;
    let output = check(&file)?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// What `corex check --from-kamailio` says of a file, and whether all of it runs.
fn migration(file: &Path) -> Result<(String, bool)> {
    let output = Command::new(corex::binary()?)
        .args(["check", "--from-kamailio"])
        .arg(file)
        .output()?;
    ensure!(output.stderr.is_empty());
    Ok((String::from_utf8(output.stdout)?, output.status.success()))
}

/// What Debian installs, with whatever features its defines bring.
#[test]
fn kamailios_own_configuration_is_divided_block_by_block() -> Result<()> {
    let work = corex_lab::WorkDir::new()?;
    let installed = fs::read_to_string("/etc/kamailio/kamailio.cfg")?;
    let defines = |names: &[&str]| {
        let lines = names.iter().map(|name| format!("#!define {name}\n"));
        work.write("kamailio.cfg", lines.collect::<String>() + &installed)
    };
    let (text, runs) = migration(&defines(&[])?)?;
    ensure!(!runs, "{text}");
    for part in [
        "tm, tmx: transactions (tm) stay out",
        "usrloc, registrar: who is registered where",
        "cfg_rpc: the commands cfg.* are built in",
        "t_relay(); transactions (tm) stay out: forward() sends",
        "failure_route[MANAGE_FAILURE]",
        "route[NATMANAGE]",
    ] {
        ensure!(text.contains(part), "{part}\n{text}");
    }
    ensure!(!text.contains("Elsewhere"), "{text}");

    let all = [
        "WITH_MYSQL",
        "WITH_AUTH",
        "WITH_ALIASDB",
        "WITH_SPEEDDIAL",
        "WITH_MULTIDOMAIN",
        "WITH_PRESENCE",
        "WITH_NAT",
        "WITH_PSTN",
        "WITH_VOICEMAIL",
        "WITH_ACCDB",
    ];
    let (text, _) = migration(&defines(&all)?)?;
    for part in [
        "auth, auth_db: the server behind knows passwords",
        "rtpproxy: corex carries no media",
        "presence, presence_xml: presence is the server's behind",
        "speeddial",
        "domain: domains of ours are `alias` lines",
    ] {
        ensure!(text.contains(part), "{part}\n{text}");
    }
    let here = text.lines().find(|line| line.contains("run here: "));
    ensure!(
        here.is_some_and(|line| line.contains("nathelper")),
        "{text}"
    );
    let line = |title: &str| text.lines().find(|line| line.contains(title));
    ensure!(
        line("route[NATDETECT]").is_some_and(|line| line.ends_with("1 to change")),
        "{text}"
    );
    ensure!(text.contains("fix_nated_register(); it is for a registrar on the same host"));
    ensure!(line("route[DLGURI]").is_some_and(|line| line.ends_with("runs here as it is")));
    Ok(())
}

#[test]
fn a_configuration_without_a_request_route_is_noted_and_right() -> Result<()> {
    let work = corex_lab::WorkDir::new()?;
    let output = check(&work.write("empty.cfg", "")?)?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && output.stderr.is_empty());
    ensure!(
        text.contains("empty.cfg: ok\n") && text.contains("note: there is no request_route"),
        "{text}"
    );
    let route = work.write("route.cfg", "request_route { exit; }\n")?;
    ensure!(check(&route)?.stdout == b"route.cfg: ok\n");
    Ok(())
}
