//! What a script sees of a message, and what it does to one.

use super::*;

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
