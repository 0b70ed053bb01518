//! What runs scripts dies.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    config::{self, Family, MARK},
    sys, wait,
};

use super::{
    load::LIMIT,
    stage::{ENGINES, Proxy, dropped},
};

/// The processes that run Perl for one corex: children, and children of these.
fn perls(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let child = child.parse()?;
            let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.contains("perl") {
                found.push(child);
            }
            found.extend(perls(child).unwrap_or_default());
        }
    }
    Ok(found)
}

#[test]
fn proxy_while_perl_is_dead_messages_go_on_without_the_hook() -> Result<()> {
    for engine in ENGINES {
        let stage = Proxy::with(engine, |work| {
            let script = format!(
                "use Kamailio;\nsub mark {{ my $m = shift; \
                 Kamailio::AVP::add(\"msg\", $m->getMessage() . \"{MARK}\"); 1 }}\n1;\n"
            );
            let script = work.write("mark.pl", script)?;
            let parameters = format!(
                // A busy machine may make a good call wait.
                "loadmodule \"app_perl.so\"\nmodparam(\"app_perl\", \"filename\", \"{}\")\n\
                 modparam(\"app_perl\", \"timeout\", 3000)\n\
                 modparam(\"corex\", \"intercept_send\", 0)\n",
                script.display()
            );
            let hook = "if (is_incoming()) perl_exec(\"mark\");";
            Ok(config::relay(Family::V4, &parameters, hook))
        })?;
        let corex = stage.start("corex")?;
        let load = stage.load()?;
        load.more(200)?;
        for times in 1..=2 {
            let perls = perls(corex.process.pid())?;
            ensure!(!perls.is_empty(), "there is no Perl");
            for perl in perls {
                // Its parent may have been faster.
                let _ = sys::kill(perl, libc::SIGKILL);
            }
            wait::until("Perl runs again, and is called", LIMIT, || {
                let books = corex.books()?;
                let restarts = books.get("languages.perl.restarts");
                Ok((restarts >= times).then_some(()))
            })
            .with_context(|| corex.log())?;
            let runs = corex.books()?.get("languages.perl.runs");
            wait::until("Perl is called again", LIMIT, || {
                let books = corex.books()?;
                Ok((books.get("languages.perl.runs") > runs + 100).then_some(()))
            })
            .with_context(|| corex.log())?;
        }
        let tally = load.finish_whole()?;
        let log = corex.log();
        let books = corex.stop()?;
        books.check_balance()?;
        let failed = books.get("user.hook_failed") + books.get("user.hook_unset");
        println!(
            "{engine}: {tally}; hook_failed and hook_unset {failed}; restarts {}; {}",
            books.get("languages.perl.restarts"),
            dropped(&books)
        );
        ensure!(u64::from(tally.plain) == failed, "{:#}", books.0);
        ensure!(failed > 0, "nothing came meanwhile: {:#}", books.0);
        ensure!(log.contains("a perl process has ended"), "{log}");
    }
    Ok(())
}
