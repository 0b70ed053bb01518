//! What scripts in Perl can do, by the real interpreter.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// The script of the documentation's example 1.15, as it is printed there.
const EXAMPLE: &str = r#"use strict;
use warnings;

use IO::Compress::Gzip qw(gzip $GzipError) ;
use IO::Uncompress::Gunzip qw(gunzip $GunzipError) ;

sub do_compress() {
    my $input = shift;
    my $output;

    gzip \$input => \$output
        or eval {
        Kamailio::log(L_WARN, "GZIP failed: $GzipError\n");
        $output = $input;
    };

    Kamailio::AVP::add("msg", $output);
}

sub do_uncompress() {
    my $input = shift;
    my $output;

    gunzip \$input => \$output
        or eval {
        Kamailio::log(L_WARN, "GUNZIP failed: $GunzipError\n");
        $output = $input;
    };

    Kamailio::AVP::add("msg", $output);
}
"#;

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
pub(super) struct Perl {
    pub folder: PathBuf,
    pub config: Config,
    pub runtime: Runtime,
    pub host: TestHost,
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
pub(super) fn perl(script: &str, rest: &str) -> Perl {
    perl_within(20_000, script, rest)
}

pub(super) fn perl_within(timeout: u32, script: &str, rest: &str) -> Perl {
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
    pub fn run(&mut self, message: &[u8]) -> RouteEnd {
        run(&mut self.runtime, message, &mut self.host)
    }

    /// Runs it and takes what was sent, by host.
    pub fn says(&mut self, message: &[u8]) -> Vec<String> {
        assert_ne!(self.run(message), RouteEnd::Failed);
        let said = self.host.sent.drain(..);
        said.map(|sent| {
            let to = sent.to.strip_suffix(" by name").unwrap_or(&sent.to);
            to.strip_suffix(":5060").unwrap_or(to).to_owned()
        })
        .collect()
    }

    /// Runs the hook on bytes; what comes out.
    pub fn hook(&mut self, bytes: &[u8], direction: Direction) -> (HookOutcome, Vec<u8>) {
        let mut out = Vec::new();
        self.runtime.begin_message();
        let runtime = &mut self.runtime;
        let outcome = runtime.run_network_msg(&env(), bytes, direction, &mut self.host, &mut out);
        (outcome, out)
    }

    /// A counter.
    pub fn counted(&self, name: &str) -> u64 {
        let all = self.config.program.languages.perl.snapshot();
        all.into_iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// Waits until a process stands by.
    pub fn settle(&self) {
        self.config.program.perl.as_ref().unwrap().settle();
    }

    /// Waits until a counter has this value: what it counts happens beside.
    pub fn wait_for(&self, name: &str, value: u64) {
        for _ in 0..2000 {
            if self.counted(name) == value {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("{name} is {}, not {value}", self.counted(name));
    }
}

/// What `sub f`, called with the message, leaves in `$avp(out)`; several values are joined.
fn message_value(message: &[u8], body: &str) -> String {
    let script = format!(
        "use strict; use warnings; use Kamailio; use Kamailio::Constants;\n\
         sub f {{ my $m = shift; my @v = do {{ {body} }};\n\
         Kamailio::AVP::add('out', join('|', map {{ defined $_ ? $_ : 'undef' }} @v)); return 1; }}"
    );
    let route = "$avp(before) = \"older\"; $avp(before) = \"newer\"; $avp(number) = 42;
        if (perl_exec(\"f\")) { send_data(\"sip:x\", \"$avp(out)\"); } else { send(\"failed\"); }";
    let mut perl = perl(
        &script,
        &format!("request_route {{ {route} }}\nreply_route {{ {route} }}"),
    );
    assert_ne!(perl.run(message), RouteEnd::Failed);
    String::from_utf8_lossy(&perl.host.sent.pop().unwrap().payload).into_owned()
}

fn value(body: &str) -> String {
    message_value(INVITE, body)
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
fn avps_are_those_of_the_configuration() {
    let get = |name: &str| format!("Kamailio::AVP::get({name})");
    assert_eq!(value(&get("'before'")), "newer");
    assert_eq!(value(&get("'number'")), "42");
    assert_eq!(value(&get("'none'")), "undef");
    assert_eq!(value("Kamailio::AVP::add('a', 'x')"), "0");
    assert_eq!(
        value(
            "Kamailio::AVP::add('a', 'x'); Kamailio::AVP::add('a', 'y');
             (Kamailio::AVP::get('a'), Kamailio::AVP::destroy('a'), Kamailio::AVP::get('a'),
              Kamailio::AVP::destroy('a'), Kamailio::AVP::destroy('a'), Kamailio::AVP::get('a'))"
        ),
        "y|1|x|1|0|undef"
    );
    assert_eq!(
        value(
            "Kamailio::AVP::add(10, 'i'); Kamailio::AVP::add('10', 's');
               (Kamailio::AVP::get(10), Kamailio::AVP::get('10'))"
        ),
        "i|s",
        "numbers are other names"
    );
    assert_eq!(
        value("Kamailio::AVP::add('u', undef); Kamailio::AVP::get('u')"),
        "undef"
    );
    // Integers stay integers, text stays text, of any bytes.
    let typed = |value: &str| {
        let script = format!("sub f {{ Kamailio::AVP::add('x', {value}); 1 }}");
        let route = "request_route { perl_exec(\"f\"); $var(sum) = $avp(x) + 1;
            send(\"$var(sum)\"); send(\"$(avp(x){s.len})\"); }";
        perl(&script, route).says(INVITE)
    };
    assert_eq!(typed("5"), ["6", "1"]);
    assert_eq!(typed("10 / 2"), ["6", "1"]);
    assert_eq!(typed("'5'"), ["51", "1"]);
    assert_eq!(typed("2.5"), ["2.51", "3"]);
    assert_eq!(typed("\"a\\0b\"").last().unwrap(), "3");
    assert_eq!(typed("\"\\x{263a}\"").last().unwrap(), "3", "as UTF-8");
}

#[test]
fn the_message_is_read_as_in_kamailio() {
    let get = |method: &str| value(&format!("$m->{method}"));
    assert_eq!(get("getType"), "1");
    assert_eq!(value("$m->getType() == SIP_REQUEST ? 'yes' : 'no'"), "yes");
    assert_eq!(get("getMethod"), "INVITE");
    assert_eq!(get("getVersion"), "SIP/2.0");
    let uri = "sip:bob:pw@example.com:5070;transport=udp";
    assert_eq!(get("getRURI"), uri);
    assert_eq!(get("getStatus"), "undef");
    assert_eq!(get("getReason"), "undef");
    assert_eq!(get("getBody"), "");
    let text = String::from_utf8_lossy(INVITE);
    assert_eq!(get("getMessage"), text);
    assert_eq!(get("getFullHeader"), text.strip_suffix("\r\n").unwrap());
    assert_eq!(
        get("getHeaderNames"),
        "Via|From|To|Call-ID|CSeq|User-Agent|Content-Length"
    );
    assert_eq!(get("getHeader('To')"), "<sip:bob@example.com>");
    assert_eq!(get("getHeader('user-agent')"), "test/1");
    assert_eq!(get("getHeader('X-None')"), "undef");
    assert_eq!(get("pseudoVar('$rm for $rU, $$5')"), "INVITE for bob, $5");
    assert_eq!(get("pseudoVar('$nosuch')"), "undef");
    assert_eq!(
        value(
            "my $u = $m->getParsedRURI;
               map { $u->$_ } qw(user passwd host port headers transport transport_val lr)"
        ),
        "bob|pw|example.com|5070|undef|transport=udp|udp|undef"
    );
    let several =
        b"OPTIONS sip:a@b SIP/2.0\r\nX: 1\r\nx: 2\r\nX: 3\r\nContent-Length: 4\r\n\r\nb\0dy";
    assert_eq!(message_value(several, "$m->getHeader('X')"), "1|3");
    assert_eq!(message_value(several, "scalar $m->getHeader('X')"), "3");
    assert_eq!(message_value(several, "length $m->getBody"), "4");
}

#[test]
fn a_reply_has_a_status_and_no_method() {
    let get = |method: &str| message_value(OK, &format!("$m->{method}"));
    assert_eq!(get("getType"), "2");
    assert_eq!(get("getStatus"), "200");
    assert_eq!(get("getReason"), "All fine");
    assert_eq!(get("getMethod"), "undef");
    assert_eq!(get("getRURI"), "undef");
    assert_eq!(get("rewrite_ruri('sip:a@b')"), "-1");
    assert_eq!(message_value(OK, "defined $m->getParsedRURI ? 1 : 0"), "0");
}

#[test]
fn in_the_hook_the_message_may_be_anything() {
    let script = "sub f { my $m = shift; Kamailio::AVP::add('out',
        join '|', map { defined $_ ? $_ : 'undef' } $m->getType, $m->getMethod, length $m->getMessage,
        scalar $m->getHeader('To'), $m->getBody); 1 }";
    let rest = "modparam(\"corex\", \"network_io_intercept\", 1)
        modparam(\"corex\", \"msg_avp\", \"$avp(out)\")
        event_route[network:msg] { perl_exec(\"f\"); }";
    let mut perl = perl(script, rest);
    let (_, out) = perl.hook(b"\x1f\x8b no SIP at all", Direction::Incoming);
    assert_eq!(out, b"0|undef|16|undef|undef");
    let (_, out) = perl.hook(INVITE, Direction::Incoming);
    let expected = format!("1|INVITE|{}|<sip:bob@example.com>|", INVITE.len());
    assert_eq!(out, expected.as_bytes());
}

#[test]
fn what_a_script_changes_the_route_sees() {
    let script = "sub f { my $m = shift;
            $m->setFlag(5); $m->setFlag(6); $m->resetFlag(6);
            my @is = map { $m->isFlagSet($_) } 5, 6;
            my $ok = $m->rewrite_ruri('sip:new@example.net');
            my $bad = $m->rewrite_ruri('no uri');
            my $still = $m->getRURI =~ /bob/ ? 'original' : 'new';
            my $branch = $m->append_branch('sip:branch@example.net', '0.5');
            Kamailio::AVP::add('out', join '-', @is, $ok, $bad, $still, $branch, $m->pseudoVar('$ru'));
            return 1; }";
    let route = "request_route { perl_exec(\"f\");
        if (isflagset(5)) { send(\"five\"); } if (isflagset(6)) { send(\"six\"); }
        send(\"$rU\"); send(\"$(branch(uri)[0]{uri.user})\"); send_data(\"sip:x\", \"$avp(out)\"); }";
    let mut perl = perl(script, route);
    perl.run(INVITE);
    let sent: Vec<_> = perl.host.sent.iter().map(|sent| sent.to.as_str()).collect();
    assert_eq!(
        sent.get(..3).unwrap(),
        [
            "five:5060 by name",
            "new:5060 by name",
            "branch:5060 by name"
        ]
    );
    let out = String::from_utf8_lossy(&perl.host.sent.last().unwrap().payload).into_owned();
    assert_eq!(out, "1-0-0--1-original-1-sip:new@example.net");
}

#[test]
fn functions_of_modules_are_called_by_name_or_as_methods() {
    assert_eq!(value("$m->moduleFunction('is_present_hf', 'To')"), "1");
    assert_eq!(value("$m->moduleFunction('is_present_hf', 'X')"), "-1");
    assert_eq!(value("$m->is_present_hf('To', undef)"), "1");
    assert_eq!(value("$m->moduleFunction('nosuch', 'x')"), "-1");
    assert_eq!(value("$m->nosuch()"), "-1");
    assert_eq!(value("$m->is_present_hf()"), "-1");
    let script = "sub f { my $m = shift; $m->sl_send_reply(404, 'No $rU'); }";
    let mut perl = perl(script, "request_route { perl_exec(\"f\"); }");
    perl.run(INVITE);
    let sent = perl.host.sent.pop().unwrap();
    assert_eq!(sent.purpose, Purpose::Reply);
    assert!(sent.payload.starts_with(b"SIP/2.0 404 No bob\r\n"));
}

#[test]
fn a_message_object_is_of_no_use_after_its_call() {
    let script = "our $kept; sub keep { $kept = shift; 1 }
        sub late { Kamailio::AVP::add('why', eval { $kept->getMethod } // $@); 1 }";
    let route = "request_route { perl_exec(\"keep\"); perl_exec(\"late\");
        send_data(\"sip:x\", \"$avp(why)\"); }";
    let mut perl = perl(script, route);
    perl.run(INVITE);
    let said = String::from_utf8_lossy(&perl.host.sent.pop().unwrap().payload).into_owned();
    assert!(
        said.starts_with("the message of this object is no longer handled at /"),
        "{said}"
    );
    assert!(said.ends_with("script.pl line 2.\n"), "{said}");
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
fn a_script_finds_itself_as_under_kamailio() {
    assert_eq!(
        value("use FindBin; -e \"$FindBin::Bin/script.pl\" ? 1 : 0"),
        "1"
    );
    assert_eq!(value("use Cwd; getcwd"), "/");
    assert_eq!(
        value("join ',', map { \"$_=$ENV{$_}\" } grep { $_ ne 'PATH' } sort keys %ENV"),
        "LANG=C"
    );
    assert_eq!(value("$0"), "corex-perl worker 0");
    assert_eq!(value("my $x = <STDIN>; $x"), "undef");
    assert_eq!(value("use Kamailio qw( log ); log(L_DBG, \"x\"); 1"), "1");
    assert_eq!(
        value("use Kamailio::Message; use Kamailio::AVP; L_ALERT . L_DBG"),
        "-53"
    );
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
    perl.config.reload_perl();
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
    perl.config.reload_perl();
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
