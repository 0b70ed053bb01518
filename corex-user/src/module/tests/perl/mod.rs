//! What scripts in Perl can do, by the real interpreter.

mod faults;
mod message;

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::hook::perl::PerlScript;

/// The script of the documentation's example 1.15, as it is printed there.
const EXAMPLE: &str = include_str!("../../../../../examples/15-custom-compress.pl");

/// The hook of example 1.14.
const EXAMPLE_HOOK: &str = r#"
    modparam("corex", "network_io_intercept", 32)
    modparam("corex", "min_msg_len", 32)
    modparam("corex", "msg_avp", "$avp(msg)")
    event_route[network:msg] {
        if (is_incoming()) {
            if (perl_exec_simple("do_uncompress", "" + $mb + "")) {
                xlog("L_INFO", "Received message '$avp(msg)' \n");
            } else {
                xlog("L_INFO", "Received message '$mb' \n");
                $avp(msg) = $mb;
            };
        } else {
            xlog("L_INFO", "Sending message '$mb' \n");
            if (!perl_exec_simple("do_compress", "" + $mb + "")) {
                $avp(msg) = $mb;
            };
        };
    }"#;

/// A configuration with a script, and one worker.
struct Perl {
    folder: PathBuf,
    config: Config,
    runtime: Runtime,
    host: TestHost,
}

impl Drop for Perl {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("corex-perl-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn load_in(folder: &Path, script: &str, rest: &str) -> Loaded {
    std::fs::write(folder.join("script.pl"), script).unwrap();
    let text = format!(
        "{MODULES}loadmodule \"sl.so\"\nloadmodule \"textops.so\"\nloadmodule \"app_perl.so\"\n\
         modparam(\"app_perl\", \"filename\", \"script.pl\")\n{rest}\n"
    );
    std::fs::write(folder.join("corex.cfg"), text).unwrap();
    load(&folder.join("corex.cfg"))
}

/// With a time that a busy machine keeps.
fn perl(script: &str, rest: &str) -> Perl {
    perl_within(20_000, script, rest)
}

fn perl_within(timeout: u32, script: &str, rest: &str) -> Perl {
    let folder = folder();
    let rest = format!("modparam(\"app_perl\", \"timeout\", {timeout})\n{rest}");
    let loaded = load_in(&folder, script, &rest);
    assert!(loaded.report.diagnostics().is_empty(), "{}", loaded.report);
    let config = loaded.config.unwrap();
    Perl {
        folder,
        runtime: Runtime::new(Arc::clone(&config.program), 0),
        host: TestHost::default(),
        config,
    }
}

impl Perl {
    /// Runs a message through the routes.
    fn run(&mut self, message: &[u8]) -> RouteEnd {
        run(&mut self.runtime, message, &mut self.host)
    }

    /// Runs it and takes what was sent, by host.
    fn says(&mut self, message: &[u8]) -> Vec<String> {
        assert_ne!(self.run(message), RouteEnd::Failed);
        let said = self.host.sent.drain(..);
        said.map(|sent| {
            let to = sent.to.strip_suffix(" by name").unwrap_or(&sent.to);
            to.strip_suffix(":5060").unwrap_or(to).to_owned()
        })
        .collect()
    }

    /// Runs the hook on bytes; what comes out.
    fn hook(&mut self, bytes: &[u8], direction: Direction) -> (HookOutcome, Vec<u8>) {
        let mut out = Vec::new();
        self.runtime.begin_message();
        let runtime = &mut self.runtime;
        let outcome = runtime.run_network_msg(&env(), bytes, direction, &mut self.host, &mut out);
        (outcome, out)
    }

    /// A counter.
    fn counted(&self, name: &str) -> u64 {
        let all = self.config.program.languages.perl.snapshot();
        all.into_iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// Waits until a process stands by.
    fn settle(&self) {
        let script = self.config.program.scripts::<PerlScript>();
        script.unwrap().settle();
    }

    /// Waits until a counter has this value: what it counts happens beside.
    fn wait_for(&self, name: &str, value: u64) {
        for _ in 0..2000 {
            if self.counted(name) == value {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("{name} is {}, not {value}", self.counted(name));
    }
}

#[test]
fn the_documentation_example_restores_every_message() {
    let mut perl = perl(EXAMPLE, EXAMPLE_HOOK);
    let mut seed = 1u32;
    for len in [32usize, 33, 400, 1500, 20_000, 65_000] {
        // Text, text with every byte, and noise that doesn't get shorter.
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .take(len)
        .collect();
        let text: Vec<u8> = INVITE.iter().copied().cycle().take(len).collect();
        let bytes: Vec<u8> = (0..=255u8).cycle().take(len).collect();
        for message in [noise, text, bytes] {
            let (outcome, packed) = perl.hook(&message, Direction::Outgoing);
            if packed.len() > 65_535 || outcome == HookOutcome::TooLong {
                continue;
            }
            assert_eq!(outcome, HookOutcome::Replaced);
            assert_eq!(packed.get(..2), Some(&[0x1f, 0x8b][..]));
            let (outcome, restored) = perl.hook(&packed, Direction::Incoming);
            assert_eq!(outcome, HookOutcome::Replaced);
            assert!(restored == message, "{len} bytes");
        }
    }
    // What isn't gzip passes as it is: gunzip hands it through.
    let (outcome, _) = perl.hook(INVITE, Direction::Incoming);
    assert_eq!(outcome, HookOutcome::Unchanged);
    assert_eq!(perl.counted("errors"), 0);
    assert_eq!(perl.counted("restarts"), 0);
}

#[test]
fn return_codes_are_kamailios() {
    let script = "sub five { 5 } sub minus { return -3 } sub text { '7' } sub part { 2.9 }
        sub list { return (4, 5, 6) } sub no { return 1 == 2 } sub zero { 0 }
        sub args { scalar(@_) * 10 + (ref $_[0] eq 'Kamailio::Message' ? 1 : 0) }
        sub context { defined wantarray && !wantarray ? 1 : -1 }
        package Other; sub eight { 8 }";
    let calls = [
        ("perl_exec(\"five\")", 5),
        ("perl_exec(\"minus\")", -3),
        ("perl_exec(\"text\")", 7),
        ("perl_exec(\"part\")", 2),
        ("perl_exec(\"list\")", 6),
        ("perl_exec(\"args\")", 11),
        ("perl_exec(\"args\", \"x\")", 21),
        ("perl_exec(\"context\")", 1),
        ("perl_exec(\"Other::eight\")", 8),
        ("perl_exec(\"nosuch\")", -1),
        ("perl_exec_simple(\"five\")", 1),
        ("perl_exec_simple(\"minus\")", 1),
        ("perl_exec_simple(\"zero\")", 1),
        ("perl_exec_simple(\"context\")", 1),
        ("perl_exec_simple(\"nosuch\")", -1),
    ];
    let route: String = calls
        .iter()
        .map(|(call, _)| format!("{call}; send(\"rc$rc\"); "))
        .collect();
    let mut perl = perl(
        script,
        &format!("request_route {{ {route} perl_exec(\"no\"); send(\"not reached\"); }}"),
    );
    let expected: Vec<_> = calls.iter().map(|(_, code)| format!("rc{code}")).collect();
    assert_eq!(perl.says(INVITE), expected, "0 has ended the route");
    assert_eq!(perl.counted("runs"), calls.len() as u64 + 1);
    assert_eq!(perl.counted("errors"), 2);
}

#[test]
fn a_function_that_sends_is_called_again_by_the_hook() {
    let script = "our $depth = 0;
        sub outer { my $m = shift; $depth++; my $code = $m->moduleFunction('send', 'next');
            Kamailio::AVP::add('seen', $depth); $depth--; return $code; }
        sub inner { $depth++; Kamailio::AVP::add('out', \"depth $depth: $_[0]\"); $depth--; 1 }";
    let rest = "modparam(\"corex\", \"network_io_intercept\", 1)
        modparam(\"corex\", \"msg_avp\", \"$avp(out)\")
        event_route[network:msg] { perl_exec_simple(\"inner\", \"$mb\"); }
        request_route { if (perl_exec(\"outer\")) { send_data(\"sip:x\", \"$avp(seen)\"); } }";
    let mut perl = perl(script, rest);
    perl.host.runs_hook = true;
    perl.run(INVITE);
    let (outcome, out) = perl.host.hooked.remove(0);
    assert_eq!(outcome, HookOutcome::Replaced);
    assert_eq!(out, [b"depth 2: ", INVITE].concat(), "the same process");
    assert_eq!(perl.host.sent.last().unwrap().payload, b"1");
    assert_eq!(perl.counted("errors"), 0);
}

#[test]
fn calls_that_call_themselves_end() {
    let script = "sub again { my $m = shift; $m->moduleFunction('send', 'next'); 1 }";
    let rest = "modparam(\"corex\", \"network_io_intercept\", 1)
        modparam(\"corex\", \"msg_avp\", \"$avp(out)\")
        event_route[network:msg] { perl_exec(\"sender\"); $avp(out) = $mb; }
        request_route { perl_exec(\"again\"); }";
    let script =
        format!("{script} sub sender {{ $_[0]->moduleFunction('send_data', 'sip:x', 'x'); }}");
    let mut perl = perl(&script, rest);
    perl.host.runs_hook = true;
    assert_eq!(perl.run(INVITE), RouteEnd::Finished);
    // Each send runs the hook, which sends: the innermost is refused.
    assert_eq!(perl.counted("errors"), 1);
    assert_eq!(perl.counted("runs"), 8);
    assert_eq!(perl.counted("restarts"), 0);
}

#[test]
fn what_ends_the_configurations_script_ends_it_through_perl() {
    let script = "sub f { my $m = shift; eval { $m->append_hf('X: y') for 1 .. 1; }; 
        eval { Kamailio::AVP::add('big', 'x' x 60_000) for 1 .. 100; }; return 1; }";
    let mut perl = perl(script, "request_route { perl_exec(\"f\"); send(\"on\"); }");
    assert_eq!(perl.run(INVITE), RouteEnd::Failed, "AVPs have a bound");
}

#[test]
fn modules_are_found_by_modpath() {
    let folder = folder();
    std::fs::create_dir(folder.join("lib")).unwrap();
    let module = "package Greeting; sub text { 'hello' } 1;";
    std::fs::write(folder.join("lib/Greeting.pm"), module).unwrap();
    let script = "use Greeting; sub f { Greeting::text() eq 'hello' ? 1 : -1 }";
    let rest = "modparam(\"app_perl\", \"modpath\", \"/nowhere:lib\")";
    let loaded = load_in(&folder, script, rest);
    assert!(loaded.config.is_some(), "{}", loaded.report);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_script_with_a_mistake_is_a_mistake_of_the_configuration() {
    let folder = folder();
    let report = |script: &str, rest: &str| {
        let loaded = load_in(&folder, script, rest);
        assert!(loaded.config.is_none(), "{script}");
        loaded.report.to_string()
    };
    let text = report("sub f {\n  my $x = ;\n}\n", "");
    assert!(text.contains("syntax error at "), "{text}");
    assert!(text.contains("script.pl line 2"), "{text}");
    let text = report("use strict; use No::Such::Module;", "");
    assert!(text.contains("No/Such/Module.pm"), "{text}");
    assert!(report("die 'not today';", "").contains("not today at "));
    assert!(report("exit 0;", "").contains("perl ended while it loaded the script"));
    let missing = "modparam(\"app_perl\", \"filename\", \"missing.pl\")";
    assert!(report("1;", missing).contains("missing.pl: No such file"));
    let nowhere = "modparam(\"app_perl\", \"perl_path\", \"/nowhere/perl\")";
    assert!(report("1;", nowhere).contains("there is no /nowhere/perl: install perl"));
    let small = "modparam(\"app_perl\", \"max_memory\", 64)";
    let greedy = report("my @x; push @x, 'x' x 1_000_000 while 1;", small);
    assert!(greedy.contains("more memory than max_memory"), "{greedy}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_changed_script_takes_over_and_a_broken_one_does_not() {
    let route = "request_route { perl_exec(\"f\"); send(\"rc$rc\"); }";
    let mut perl = perl("sub f { 1 }", route);
    assert_eq!(perl.says(INVITE), ["rc1"]);
    perl.settle();
    std::fs::write(perl.folder.join("script.pl"), "sub f { 2 }").unwrap();
    assert_eq!(perl.says(INVITE), ["rc1"], "not before it is asked for");
    perl.config.program.reload_scripts("app_perl").unwrap();
    perl.wait_for("reloads", 1);
    for _ in 0..2000 {
        if perl.says(INVITE) == ["rc2"] {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(perl.says(INVITE), ["rc2"]);
    perl.settle();
    std::fs::write(perl.folder.join("script.pl"), "sub f { 3").unwrap();
    perl.config.program.reload_scripts("app_perl").unwrap();
    perl.wait_for("reload_errors", 1);
    assert_eq!(perl.says(INVITE), ["rc2"]);
    assert_eq!(perl.counted("errors"), 0);
    assert_eq!(perl.counted("held"), 0);
}

#[test]
fn after_reset_cycles_another_process_goes_on() {
    let script = "our $n = 0; sub f { return ++$n; }
        sub bye { open my $f, '>', $ENV{none} // $main::path; print $f $n; close $f; }
        our $path = __FILE__ . '.bye';";
    let rest = "modparam(\"app_perl\", \"reset_cycles\", 3)
        modparam(\"app_perl\", \"perl_destroy_func\", \"bye\")
        request_route { perl_exec(\"f\"); send(\"rc$rc\"); }";
    let mut perl = perl(script, rest);
    perl.settle();
    let said: Vec<_> = (0..5).flat_map(|_| perl.says(INVITE)).collect();
    assert_eq!(said, ["rc1", "rc2", "rc3", "rc1", "rc2"]);
    let bye = perl.folder.join("script.pl.bye");
    for _ in 0..2000 {
        if std::fs::read(&bye).is_ok_and(|text| text == b"3") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(std::fs::read(&bye).unwrap(), b"3");
    assert_eq!(perl.counted("restarts"), 0);
}
