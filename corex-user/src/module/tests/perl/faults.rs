//! Scripts in Perl that do what they shouldn't: the call is false, the AVPs are what they were,
//! the counters say so, and the next call works.

use std::time::Duration;

use super::*;

/// What became of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It returned.
    Fine,
    /// It failed, and the process lives on.
    Failed,
    /// It failed, and took the process with it.
    Lost,
    /// The same, as it took too long.
    TimedOut,
    /// The same, as it took too much memory.
    Memory,
}

use Fate::{Failed, Fine, Lost, Memory, TimedOut};

/// What a function does after it has changed AVPs, and what becomes of it.
const ODDITIES: &[(&str, Fate)] = &[
    // Errors of the language.
    ("die 'on purpose'", Failed),
    ("die { code => 5 }", Failed),
    ("die bless [], 'Some::Class'", Failed),
    ("die \"\\x{263a}\" x 1_000_000", Failed),
    (
        "package Rude; use overload '\"\"' => sub { die 'no text' }; die bless []",
        Failed,
    ),
    ("my $x; $x->method", Failed),
    ("no_such_function()", Failed),
    ("1 / ($_[0] ? 0 : 1)", Failed),
    ("$SIG{__DIE__} = sub { die 'again' }; die 'once'", Failed),
    ("eval { die 'caught' }; 1", Fine),
    ("last", Failed),
    ("next", Failed),
    ("goto NOWHERE", Failed),
    ("Kamailio::AVP::add('a', [])", Failed),
    ("Kamailio::AVP::add('', 1)", Failed),
    ("Kamailio::AVP::add('huge', 'x' x (2 << 20))", Failed),
    ("Kamailio::Message::getType('me')", Failed),
    ("Kamailio::log(1)", Failed),
    // What is no number.
    ("return undef", Failed),
    ("return", Failed),
    ("return 'abc'", Failed),
    ("return ''", Failed),
    ("return []", Failed),
    ("return sub { 1 }", Failed),
    ("return 9**9**9", Failed),
    ("return -sin(9**9**9)", Failed),
    ("return 'x' x (4 << 20)", Failed),
    ("return 1e300", Failed),
    ("return 9_000_000_000_000_000_000", Fine),
    // Time.
    ("1 while 1", TimedOut),
    ("sleep 1000", TimedOut),
    ("{ redo }", TimedOut),
    ("('a' x 40) =~ /^(a|a?)+(??{ 'b' })$/", TimedOut),
    ("Kamailio::AVP::get('a') while 1", TimedOut),
    ("Kamailio::log(L_DBG, 'x') while 1", TimedOut),
    ("eval { Kamailio::AVP::destroy('none') } while 1", TimedOut),
    (
        "$SIG{TERM} = $SIG{INT} = $SIG{HUP} = 'IGNORE'; sleep 1 while 1",
        TimedOut,
    ),
    ("print 'x' x 1000, \"\\n\" while 1", TimedOut),
    ("kill 'STOP', $$; sleep 1000", TimedOut),
    ("system 'sleep 1000'", TimedOut),
    ("fork; sleep 1000", TimedOut),
    (
        "local $SIG{ALRM} = sub { die 'alarm' }; eval { alarm 1; 1 while 1 }; sleep 1000",
        TimedOut,
    ),
    // Memory.
    ("my @x; push @x, 'x' x 1_000_000 while 1", Memory),
    ("my $n = 1 << 40; my $x = 'x' x $n; 1", Memory),
    // The process.
    ("exit 0", Lost),
    ("exit 3", Lost),
    ("eval { exit 1 }; 1", Lost),
    ("kill 9, $$; sleep 1000", Lost),
    ("kill 'SEGV', $$; sleep 1000", Lost),
    ("exec 'true'", Lost),
    ("exec 'sleep 1000'", Lost),
    ("require POSIX; POSIX::_exit(0)", Lost),
    ("require POSIX; POSIX::close($_) for 0 .. 255; 1", Lost),
    (
        "open my $f, '>&=', 100; print $f \"hello\\n\"; close $f; sleep 1000",
        Lost,
    ),
    ("open my $f, '+<&', 100; syswrite $f, \"hello\\n\"; 1", Lost),
    (
        "open my $f, '+<&', 100; syswrite $f, pack('CCNN', 0xc5, 18, 99, 0); 1",
        Lost,
    ),
    (
        "open my $f, '+<&', 100; syswrite $f, pack('CCNN', 0xc5, 1, 0, 0); 1",
        Lost,
    ),
    (
        "open my $f, '+<&', 100; syswrite $f, pack('CCNN', 0xc5, 18, 0, 1 << 30); 1",
        Lost,
    ),
    (
        "open my $f, '+<&', 100; syswrite $f, pack('CCNNC', 0xc5, 36, 0, 1, 77); 1",
        Lost,
    ),
    // What does no harm.
    ("print \"to standard output\\n\" for 1 .. 1000; 1", Fine),
    ("print STDERR \"\\0\\x{ff}\" x 100_000; 1", Fine),
    ("warn 'beware'; 1", Fine),
    (
        "close STDIN; close STDOUT; close STDERR; print 'x'; 1",
        Fine,
    ),
    ("open STDOUT, '>', '/dev/null'; 1", Fine),
    ("chdir '/tmp'; @INC = (); %ENV = (); $0 = 'other'; 1", Fine),
    ("($,, $\\, $/, $\", $;) = ('a' .. 'e'); $| = 0; 1", Fine),
    ("my $line = <STDIN>; defined $line ? -1 : 1", Fine),
    ("my $pid = fork; 1", Fine),
    ("fork; fork; 1", Fine),
    (
        "if (!fork) { Kamailio::AVP::add('child', 1); sleep 1000 } 1",
        Fine,
    ),
    ("if (!fork) { print 'child'; exit 5 } 1", Fine),
    (
        "my $pid = open(my $f, '-|'); if (!$pid) { print 'x'; exit } my $x = <$f>; $x eq 'x'",
        Fine,
    ),
    ("my $x = `echo hello`; $x eq \"hello\\n\"", Fine),
    (
        "system 'ls /proc/self/fd/100 2>/dev/null'; $? ? 1 : -1",
        Fine,
    ),
    ("$SIG{PIPE} = 'IGNORE'; $SIG{CHLD} = 'IGNORE'; 1", Fine),
    (
        "local $SIG{ALRM} = sub { die }; eval { alarm 1; Kamailio::AVP::get('a') while 1 }; 1",
        Fine,
    ),
];

/// A script that has the oddity in `bad`, and `good`.
fn script(oddity: &str) -> String {
    format!(
        "sub bad {{ Kamailio::AVP::add('a', 'changed'); Kamailio::AVP::add('b', 'new');
             Kamailio::AVP::destroy('c');\n{oddity}\n}}\nsub good {{ 1 }}"
    )
}

const ROUTE: &str = "request_route {
        $avp(a) = \"kept\"; $avp(c) = \"kept\";
        perl_exec(\"bad\"); $var(rc) = $rc;
        if ($var(rc) > 0) { send(\"true\"); } else { send(\"false$var(rc)\"); }
        if ($avp(a) == \"kept\" && $avp(b) == $null && $avp(c) == \"kept\") { send(\"kept\"); }
        else { send(\"changed\"); }
        perl_exec(\"good\"); send(\"good$rc\");
    }";

/// What is wrong with what became of it; nothing, as a rule.
fn differences(oddity: &str, fate: Fate) -> Vec<String> {
    // Enough for perl to run into what it is to run into, on a busy machine.
    let timeout = if fate == TimedOut { 500 } else { 20_000 };
    let rest = format!("modparam(\"app_perl\", \"max_memory\", 64)\n{ROUTE}");
    let mut perl = perl_within(timeout, &script(oddity), &rest);
    perl.settle();
    let said = perl.says(INVITE);
    let expected = match fate {
        Fine => ["true", "changed", "good1"],
        _ => ["false-1", "kept", "good1"],
    };
    let mut differences = Vec::new();
    if said != expected {
        differences.push(format!("{oddity}: {said:?}, not {expected:?}"));
    }
    if matches!(fate, Lost | TimedOut | Memory) {
        perl.wait_for("restarts", 1);
    } else {
        perl.settle();
    }
    if fate == Memory {
        perl.wait_for("memory", 1);
    }
    for (name, expected) in [
        ("runs", 2),
        ("errors", u64::from(fate != Fine)),
        ("timeouts", u64::from(fate == TimedOut)),
        ("held", 0),
        (
            "restarts",
            u64::from(matches!(fate, Lost | TimedOut | Memory)),
        ),
    ] {
        let counted = perl.counted(name);
        if counted != expected {
            differences.push(format!("{oddity}: {name} is {counted}, not {expected}"));
        }
    }
    differences
}

#[test]
fn whatever_a_script_does_the_message_goes_on() {
    let differences: Vec<_> = ODDITIES
        .iter()
        .flat_map(|(oddity, fate)| differences(oddity, *fate))
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// The process that a function of the script says it is.
fn pid(perl: &mut Perl) -> String {
    perl.says(INVITE).pop().unwrap()
}

fn is_running(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

fn wait_for_end(pid: &str) {
    for _ in 0..2000 {
        if !is_running(pid) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{pid} still runs");
}

#[test]
fn processes_end_with_the_configuration() {
    let script = "sub f { return $$ } sub g { my $child = fork; sleep 1000 if !$child; $child }";
    let route = "request_route { perl_exec(\"f\"); send(\"$rc\"); }
        reply_route { perl_exec(\"g\"); send(\"$rc\"); }";
    let mut perl = perl(script, route);
    let process = pid(&mut perl);
    let child = perl.says(OK).pop().unwrap();
    assert!(is_running(&process) && is_running(&child));
    drop(perl);
    wait_for_end(&process);
    wait_for_end(&child);
}

#[test]
fn no_process_stands_by_for_a_worker_that_has_gone() {
    // Both of them write down what they are.
    let script = "open my $f, '>>', __FILE__ . '.pid'; print $f \"$$\\n\"; close $f; sub f { 1 }";
    let mut perl = perl(script, "request_route { perl_exec(\"f\"); send(\"$rc\"); }");
    perl.settle();
    let other = Runtime::new(config("request_route { }").program, 0);
    drop(std::mem::replace(&mut perl.runtime, other));
    let pids = std::fs::read_to_string(perl.folder.join("script.pl.pid")).unwrap();
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        wait_for_end(pid);
    }
    perl.runtime = Runtime::new(Arc::clone(&perl.config.program), 0);
    perl.settle();
    assert_eq!(perl.says(INVITE), ["1"]);
}

#[test]
fn a_time_out_kills_what_the_script_has_started() {
    let script = "sub f { my $child = fork; if (!$child) { $SIG{TERM} = 'IGNORE'; sleep 1000 }
            open my $f, '>', __FILE__ . '.pid'; print $f $child; close $f; 1 while 1 }";
    let mut perl = perl_within(
        500,
        script,
        "request_route { perl_exec(\"f\"); send(\"$rc\"); }",
    );
    assert_eq!(perl.says(INVITE), ["-1"]);
    let child = std::fs::read_to_string(perl.folder.join("script.pl.pid")).unwrap();
    wait_for_end(&child);
}

#[test]
fn a_process_that_is_killed_while_it_waits_costs_no_message() {
    let route = "request_route { perl_exec(\"f\"); send(\"$rc\"); }";
    let mut perl = perl("sub f { return $$ }", route);
    let first = pid(&mut perl);
    perl.settle();
    let killed = std::process::Command::new("kill")
        .args(["-9", &first])
        .status();
    assert!(killed.unwrap().success());
    wait_for_end(&first);
    let second = pid(&mut perl);
    assert!(second != first && second != "-1", "{second}");
    assert_eq!(perl.counted("errors"), 0);
    perl.wait_for("restarts", 1);
}

#[test]
fn an_engine_that_fails_again_and_again_rests_and_comes_back() {
    let route = "request_route { perl_exec(\"bad\"); send(\"$rc\"); }
        reply_route { perl_exec(\"good\"); send(\"$rc\"); }";
    let mut perl = perl(&script("exit"), route);
    perl.settle();
    assert_eq!(perl.says(INVITE), ["-1"]);
    perl.settle();
    assert_eq!(perl.says(INVITE), ["-1"]);
    assert_eq!(perl.says(OK), ["-1"], "it rests");
    assert_eq!(perl.counted("held"), 1);
    assert_eq!(perl.counted("errors"), 2);
    perl.settle();
    for _ in 0..2000 {
        if perl.says(OK) == ["1"] {
            assert_eq!(perl.counted("errors"), 2);
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it rests for ever");
}

#[test]
fn a_sender_that_costs_processes_is_held_and_the_others_are_served() {
    let route = "request_route { perl_exec(\"bad\"); send(\"$rc\"); }
        reply_route { perl_exec(\"good\"); send(\"$rc\"); }";
    let route = format!("modparam(\"corex\", \"hook_quarantine\", 86400)\n{route}");
    let mut perl = perl(&script("exit"), &route);
    let (evil, good) = ("192.0.2.1:5060", "192.0.2.1:5061");
    let languages = Arc::clone(&perl.config.program.languages);
    let sender: SocketAddr = evil.parse().unwrap();
    for _ in 0..2 {
        perl.settle();
        perl.host.sender = Some(sender);
        assert_eq!(perl.says(INVITE), ["-1"]);
    }
    assert_eq!(perl.counted("errors"), 2);
    hold(&languages.quarantine, "perl", sender);
    let errors = perl.counted("errors");
    perl.settle();
    assert_eq!(perl.says(OK), ["-1"], "all of its messages are held");
    assert_eq!((perl.counted("quarantined"), perl.counted("held")), (1, 1));
    perl.host.sender = good.parse().ok();
    assert_eq!(perl.says(OK), ["1"], "it doesn't rest");
    assert_eq!(perl.counted("errors"), errors);
    languages.quarantine.release();
    perl.host.sender = Some(sender);
    assert_eq!(perl.says(OK), ["1"]);
}

#[test]
fn without_a_process_calls_are_held_until_there_is_one() {
    let route = "request_route { perl_exec(\"bad\"); send(\"$rc\"); }
        reply_route { perl_exec(\"good\"); send(\"$rc\"); }";
    let text = script("exit");
    let mut perl = perl(&text, route);
    perl.settle();
    let path = perl.folder.join("script.pl");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(perl.says(INVITE), ["-1"]);
    assert_eq!(perl.says(OK), ["1"], "by the process that stood by");
    assert_eq!(perl.says(INVITE), ["-1"]);
    assert_eq!(perl.says(OK), ["-1"]);
    assert_eq!(perl.counted("held"), 1);
    std::fs::write(&path, text).unwrap();
    for _ in 0..4000 {
        if perl.says(OK) == ["1"] {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no process came back");
}

#[test]
fn a_process_that_is_lost_in_a_nested_call_fails_both() {
    let script = "sub outer { my $m = shift; $m->moduleFunction('send', 'next'); return 1 }
        sub inner { exit } sub good { 1 }";
    let rest = "modparam(\"corex\", \"network_io_intercept\", 1)
        modparam(\"corex\", \"msg_avp\", \"$avp(out)\")
        event_route[network:msg] { if ($mb =~ \"^INVITE\") { perl_exec(\"inner\"); } $avp(out) = \"x\" + $mb; }
        request_route { perl_exec(\"outer\"); $var(rc) = $rc; perl_exec(\"good\");
            send_data(\"sip:x\", \"$var(rc) $rc\"); }";
    let mut perl = perl(script, rest);
    perl.settle();
    perl.host.runs_hook = true;
    perl.run(INVITE);
    assert_eq!(perl.host.hooked.first().unwrap().0, HookOutcome::Replaced);
    assert_eq!(perl.host.sent.last().unwrap().payload, b"-1 1");
    assert_eq!(perl.counted("errors"), 2);
    perl.wait_for("restarts", 1);
}
