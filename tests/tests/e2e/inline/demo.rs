//! What `cargo xtask demo --inline` and `--secure` show.

use anyhow::{Result, ensure};
use corex_lab::{Registrar, Secure};

use super::pair::LIMIT;

#[test]
fn a_phone_registers_and_calls_by_an_unmodified_server_over_a_wire_without_sip() -> Result<()> {
    let scene = Registrar::start(None)?;
    let phone = scene.stage.phone()?;
    ensure!(
        phone.registered && phone.established && phone.terminated,
        "{}\n{}",
        phone.log,
        scene.logs()
    );
    let calls = 50;
    let report = scene.stage.calls(calls, 25)?.finish(LIMIT)?;
    ensure!(report.check(calls).is_ok(), "{report}\n{}", scene.logs());
    let seen = scene.finish()?;
    ensure!(seen.wire.sip == 0, "{seen:#?}");
    // REGISTER, INVITE, ACK and BYE, and the replies to three of them, 100 and 180.
    ensure!(seen.wire.messages >= 9 * calls, "{seen:#?}");
    ensure!(
        seen.stack.sip > 0 && seen.stack.sip == seen.stack.messages,
        "{seen:#?}"
    );
    for books in &seen.books {
        books.check_balance()?;
        ensure!(books.get("kernel.steered") > 0, "{:#}", books.0);
    }
    // Audio passes, and corex never sees it.
    ensure!(
        seen.books[1].get("kernel.passed.no_socket") > 100,
        "{:#}",
        seen.books[1].0
    );
    Ok(())
}

#[test]
fn a_phone_behind_the_client_calls_by_an_unmodified_server_with_a_key_of_its_own() -> Result<()> {
    let scene = Secure::start(None)?;
    let phone = scene.stage.phone()?;
    ensure!(
        phone.registered && phone.established && phone.terminated,
        "{}\n{}",
        phone.log,
        scene.logs()
    );
    let calls = 50;
    let report = scene.stage.calls(calls, 25)?.finish(LIMIT)?;
    ensure!(report.check(calls).is_ok(), "{report}\n{}", scene.logs());
    let seen = scene.finish()?;
    ensure!(seen.wire.sip == 0, "{seen:#?}");
    ensure!(seen.wire.messages >= 9 * calls, "{seen:#?}");
    ensure!(
        seen.stack.sip > 0 && seen.stack.sip == seen.stack.messages,
        "{seen:#?}"
    );
    ensure!(seen.head.starts_with("POST / HTTP/1.1"), "{seen:#?}");
    ensure!(
        seen.client.contains("1 enrolments, 1 of them accepted"),
        "{seen:#?}"
    );
    seen.books.check_balance()?;
    ensure!(seen.books.get("keys.enrolled") == 1, "{:#}", seen.books.0);
    Ok(())
}
