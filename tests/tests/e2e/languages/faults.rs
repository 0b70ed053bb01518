//! Scripts that fail in every way that they can: the message goes on as it was, the counter says
//! so, and the next one is handled as ever.

use std::{fs, net::UdpSocket, time::Duration};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{ObservedBooks, WorkDir, topology::Relay, wait};

use super::{PATIENCE, Stage, receive, request};

/// Room for all headers.
const WHOLE: usize = 300;

/// A message whose body names the function that the hook calls.
fn calling(function: &str, number: usize) -> Vec<u8> {
    let text = String::from_utf8_lossy(&request(number, WHOLE)).into_owned();
    text.replace("sip:c@d", &format!("sip:{function}@d"))
        .into_bytes()
}

/// Calls the function that To names.
fn hook(run: &str) -> String {
    format!(
        "$var(function) = $(mb{{re.subst,/^.*To: <sip:([a-z_]+)@.*$/\\1/s}}); {run}(\"$var(function)\");"
    )
}

struct Fault {
    function: &'static str,
    /// Counters of the language that must have grown.
    counted: &'static [&'static str],
}

const fn fault(function: &'static str, counted: &'static [&'static str]) -> Fault {
    Fault { function, counted }
}

fn run_all(language: &str, modules: &str, run: &str, faults: &[Fault]) -> Result<()> {
    let work = WorkDir::new()?;
    let stage = Stage::new(&work, modules, &hook(run))?;
    let mut numbers = 0..;
    let mut sent_to = |function: &str| calling(function, numbers.next().unwrap_or(0));
    for fault in faults {
        let before = stage.corex.books()?;
        let sent = sent_to(fault.function);
        ensure!(stage.pass(&sent)? == sent, "{} changed it", fault.function);
        for counter in fault.counted {
            let path = format!("languages.{language}.{counter}");
            // What was lost is counted when it is replaced.
            wait::until(&path, PATIENCE, || {
                let after = stage.corex.books()?;
                Ok((after.get(&path) > before.get(&path)).then_some(()))
            })
            .with_context(|| format!("{}:\n{}", fault.function, stage.corex.log()))?;
        }
        // After it has rested, the next call works.
        wait::until("a good call works again", PATIENCE, || {
            let came = stage.pass(&sent_to("good"))?;
            Ok(came.ends_with(b"\r\n\r\ngood").then_some(()))
        })
        .with_context(|| format!("after {}:\n{}", fault.function, stage.corex.log()))?;
    }
    stage.corex.stop()?.check_balance()
}

const LUA: &str = r#"
function good() KSR.pv.sets("$avp(msg)", KSR.pv.get("$mb") .. "good") end
function dies() KSR.pv.sets("$avp(msg)", "half") error("on purpose") end
function dies_otherwise() error({ code = 1 }) end
function loops() while true do end end
function loops_in_pcall() while true do pcall(function() while true do end end) end end
function allocates() local t = {} while true do t[#t + 1] = ("x"):rep(100000) .. #t end end
function allocates_at_once() return ("x"):rep(2 ^ 30) end
function recurses() return 1 + recurses() end
function returns_a_table() return {} end
function prints() print("to stdout") return 1 end
function exits() os.exit(3) end
function unknown() KSR.no.such.thing() end
"#;

#[test]
fn a_lua_script_that_fails_costs_nothing_else() -> Result<()> {
    let work = WorkDir::new()?;
    let script = work.write("script.lua", LUA)?;
    let modules = format!(
        // Memory and instructions are to end what has no end, not the time of a busy machine.
        "loadmodule \"app_lua.so\"\nmodparam(\"app_lua\", \"load\", \"{}\")\n\
         modparam(\"app_lua\", \"max_time\", 20000)\n",
        script.display()
    );
    run_all(
        "lua",
        &modules,
        "lua_run",
        &[
            fault("dies", &["runs", "errors"]),
            fault("dies_otherwise", &["errors"]),
            fault("loops", &["errors", "timeouts"]),
            fault("loops_in_pcall", &["errors", "timeouts"]),
            fault("allocates", &["errors", "memory"]),
            fault("allocates_at_once", &["errors", "memory"]),
            fault("recurses", &["errors"]),
            fault("returns_a_table", &["runs"]),
            fault("prints", &["runs"]),
            fault("exits", &["errors"]),
            fault("unknown", &["errors"]),
            fault("no_such_function", &["errors"]),
        ],
    )
}

const PERL: &str = r#"
use strict;
use warnings;
use Kamailio;
sub good { my $m = shift; Kamailio::AVP::add("msg", $m->getMessage() . "good"); return 1; }
sub dies { Kamailio::AVP::add("msg", "half"); die "on purpose"; }
sub dies_otherwise { die { code => 1 }; }
sub loops { 1 while 1; }
sub ignores_signals { $SIG{$_} = 'IGNORE' for keys %SIG; 1 while 1; }
sub allocates { my @all; push @all, 'x' x 1000000 while 1; }
sub recurses { no warnings; return 1 + recurses(); }
sub returns_a_list { return [1, 2]; }
sub prints { print "to stdout\n"; print STDERR "to stderr\n"; return 1; }
sub exits { exit 3; }
sub kills_itself { kill 9, $$; sleep 1; }
sub forks { my $pid = fork; if (!$pid) { sleep 600; } return 1; }
sub closes { use POSIX; POSIX::close($_) for 3 .. 200; return 1; }
sub sleeps { sleep 600; }
"#;

#[test]
fn a_perl_script_that_fails_costs_nothing_else() -> Result<()> {
    let work = WorkDir::new()?;
    let script = work.write("script.pl", PERL)?;
    let modules = format!(
        // What is good takes longer on a busy machine; what has no end is waited for as long.
        "loadmodule \"app_perl.so\"\nmodparam(\"app_perl\", \"filename\", \"{}\")\n\
         modparam(\"app_perl\", \"timeout\", 3000)\n",
        script.display()
    );
    run_all(
        "perl",
        &modules,
        "perl_exec",
        &[
            fault("dies", &["runs", "errors"]),
            fault("dies_otherwise", &["errors"]),
            fault("loops", &["errors", "timeouts", "restarts"]),
            fault("ignores_signals", &["errors", "timeouts", "restarts"]),
            fault("allocates", &["errors"]),
            fault("recurses", &["errors"]),
            fault("returns_a_list", &["runs"]),
            fault("prints", &["runs"]),
            fault("exits", &["errors", "restarts"]),
            fault("kills_itself", &["errors", "restarts"]),
            fault("forks", &["runs"]),
            fault("closes", &["errors", "restarts"]),
            fault("sleeps", &["errors", "timeouts", "restarts"]),
            fault("no_such_function", &["errors"]),
        ],
    )
}

/// While one script of two loops again and again, the messages that don't call it pass.
#[test]
fn a_script_that_always_loops_leaves_the_worker_to_the_others() -> Result<()> {
    for (language, module, run, text) in [
        ("lua", "load", "lua_run", LUA),
        ("perl", "filename", "perl_exec", PERL),
    ] {
        let work = WorkDir::new()?;
        let script = work.write("script", text)?;
        let modules = format!(
            "loadmodule \"app_{language}.so\"\n\
             modparam(\"app_{language}\", \"{module}\", \"{}\")\n",
            script.display()
        );
        let hook = format!("if ($mb =~ \"sip:loops@\") {{ {run}(\"loops\"); }}");
        let stage = Stage::new(&work, &modules, &hook)?;
        for number in 0..1000 {
            let function = if number % 2 == 0 { "loops" } else { "other" };
            let sent = calling(function, number);
            ensure!(stage.pass(&sent)? == sent);
        }
        let books = stage.corex.stop()?;
        books.check_balance()?;
        let count = |name: &str| books.get(&format!("languages.{language}.{name}"));
        ensure!(
            count("timeouts") >= 1 && count("held") > 400,
            "{:#}",
            books.0
        );
    }
    Ok(())
}

#[test]
fn a_changed_script_is_picked_up_and_a_broken_one_refused() -> Result<()> {
    for (language, module, run, good, broken) in [
        (
            "lua",
            "load",
            "lua_run",
            "function go() KSR.pv.sets('$avp(msg)', KSR.pv.get('$mb') .. 'MARK') end",
            "function go( oops",
        ),
        (
            "perl",
            "filename",
            "perl_exec",
            "sub go { my $m = shift; Kamailio::AVP::add('msg', $m->getMessage() . 'MARK'); 1 } 1;",
            "sub go { oops",
        ),
    ] {
        let work = WorkDir::new()?;
        let script = work.write("script", good.replace("MARK", "first"))?;
        let modules = format!(
            "loadmodule \"app_{language}.so\"\n\
             modparam(\"app_{language}\", \"{module}\", \"{}\")\n",
            script.display()
        );
        let stage = Stage::new(&work, &modules, &format!("{run}(\"go\");"))?;
        let number = std::cell::Cell::new(0);
        let ends_with = |mark: &str| {
            wait::until("the script's mark", PATIENCE, || {
                number.set(number.get() + 1);
                let came = stage.pass(&request(number.get(), WHOLE))?;
                Ok(came.ends_with(mark.as_bytes()).then_some(()))
            })
            .with_context(|| format!("{language}: {mark}\n{}", stage.corex.log()))
        };
        ends_with("first")?;
        fs::write(&script, good.replace("MARK", "second"))?;
        stage.corex.process.signal(libc::SIGHUP)?;
        ends_with("second")?;
        fs::write(&script, broken)?;
        stage.corex.process.signal(libc::SIGHUP)?;
        stage
            .corex
            .process
            .wait_for_output("the configuration stays as it was", PATIENCE)?;
        ends_with("second")?;
        stage.corex.stop()?.check_balance()?;
    }
    Ok(())
}

/// A sender whose messages use all the time up is held, and another one, of the same address, is
/// served; what the hook couldn't see to goes on or is dropped, as `on_hook_failure` says.
#[test]
fn one_senders_poison_costs_the_others_nothing() -> Result<()> {
    for (on_failure, arrives) in [("pass", true), ("drop", false)] {
        let work = WorkDir::new()?;
        let script = work.write("script", PERL)?;
        let modules = format!(
            "loadmodule \"app_perl.so\"\nmodparam(\"app_perl\", \"filename\", \"{}\")\n\
             modparam(\"corex\", \"on_hook_failure\", \"{on_failure}\")\n",
            script.display()
        );
        let stage = Stage::new(&work, &modules, &hook("perl_exec"))?;
        let evil = stage.relay.uac.udp("10.0.1.2:5099".parse()?)?;
        let held = |books: &ObservedBooks| books.get("languages.perl.quarantined");
        let mut numbers = 0..;
        let mut send = |socket: &UdpSocket, function: &str| -> Result<()> {
            let message = calling(function, numbers.next().unwrap_or(0));
            socket.send_to(&message, Relay::USER_SIDE.sip())?;
            Ok(())
        };
        wait::until("the sender is held", PATIENCE, || {
            send(&evil, "loops")?;
            Ok((held(&stage.corex.books()?) > 0).then_some(()))
        })
        .with_context(|| stage.corex.log())?;
        wait::until("the others are served", PATIENCE, || {
            send(&stage.caller, "good")?;
            let came = receive(&stage.answerer, Duration::from_millis(200))?;
            let is_good = |came: &Vec<u8>| came.ends_with(b"\r\n\r\ngood");
            Ok(came.filter(is_good).map(drop))
        })
        .with_context(|| stage.corex.log())?;
        let books = stage.corex.stop()?;
        books.check_balance()?;
        let dropped = books.get("user.dropped.hook_failed");
        ensure!((dropped == 0) == arrives, "{on_failure}: {:#}", books.0);
        ensure!(books.get("user.hook_failed") > 0, "{:#}", books.0);
    }
    Ok(())
}
