//! Registrations (RFC 3261 §10), with and without authentication, and what registrars answer.

use super::agents::{self, Agent};
use super::auth;
use super::message::Message;
use super::random::Random;

/// REGISTER, and mostly 401, REGISTER and 200; sometimes what comes later or goes wrong.
pub(super) fn flow(random: &mut Random) -> Vec<String> {
    let phone = Phone::new(random);
    let mut all = vec![phone.register(random, 1, None)];
    if random.once_in(8) {
        let status = random.pick(&[
            "403 Forbidden",
            "404 Not Found",
            "423 Interval Too Brief",
            "503 Service Unavailable",
            "500 Server Internal Error",
        ]);
        all.push(phone.refused(random, status));
        return all;
    }
    all.push(phone.challenged(random));
    let answer = auth::response(
        random,
        &phone.user,
        &phone.realm,
        &format!("sip:{}", phone.realm),
    );
    all.push(phone.register(random, 2, Some(&answer)));
    all.push(phone.accepted(random));
    if random.once_in(4) {
        all.push(phone.options(random));
        all.push(phone.options_answer(random));
    }
    all
}

struct Phone {
    agent: Agent,
    user: String,
    realm: String,
    ip: String,
    port: u64,
    via: String,
    contact: String,
    from: String,
    to: String,
    call_id: String,
    first: u64,
    expires: &'static str,
}

impl Phone {
    fn new(random: &mut Random) -> Phone {
        let agent = agents::phone(random);
        let (user, realm) = (random.user(), random.realm());
        let (ip, port) = (random.private_ip(), random.port());
        let transport = random.pick(&["UDP", "UDP", "UDP", "TCP", "TLS"]);
        let mut via = format!("SIP/2.0/{transport} {ip}:{port};branch={}", random.branch());
        via.push_str(agent.via);
        if random.once_in(10) {
            via.push_str(";alias");
        }
        let of_transport = match transport {
            "UDP" => random.pick(&["", "", ";transport=udp"]),
            "TCP" => ";transport=tcp",
            _ => ";transport=tls",
        };
        let line = match random.below(6) {
            0 => format!(";line={}", random.lower(8)),
            1 => ";ob".to_owned(),
            _ => String::new(),
        };
        let contact = format!("<sip:{user}@{ip}:{port}{of_transport}{line}>");
        let contact = match agent.contact {
            "" => contact,
            rest if rest.ends_with("SEP") => format!(
                "{}{}\";+u.sip!model.ccm.cisco.com=\"683\"",
                contact.trim_end_matches('>'),
                [rest, &random.upper_hex(12)].concat()
            ),
            rest if rest.contains("urn:uuid:") => {
                format!(
                    "{contact}{}{}>\"",
                    rest.trim_start_matches('>'),
                    random.uuid()
                )
            }
            rest if rest.ends_with('=') => {
                format!("{}{rest}{}>", contact.trim_end_matches('>'), random.hex(16))
            }
            rest => format!("{contact}{rest}"),
        };
        let name = match random.below(3) {
            0 => format!("\"{}\" ", random.display()),
            1 => format!("{} ", random.display()),
            _ => String::new(),
        };
        let address = format!("{name}<sip:{user}@{realm}>");
        Phone {
            agent,
            from: format!("{address};tag={}", random.tag()),
            to: address,
            call_id: random.call_id(),
            first: random.pick(&[1, 1, 2, 100, 1803]) + random.below(30),
            expires: random.pick(&[
                "3600", "3600", "300", "600", "1800", "120", "60", "0", "7200",
            ]),
            user,
            realm,
            ip,
            port,
            via,
            contact,
        }
    }

    fn register(&self, random: &mut Random, number: u64, answer: Option<&str>) -> String {
        let mut message =
            Message::new(&format!("REGISTER sip:{} SIP/2.0", self.realm)).with("Via", &self.via);
        let is_early = random.once_in(2);
        if is_early {
            message.add("Max-Forwards", "70");
        }
        let ids = |message: Message| {
            message
                .with("From", &self.from)
                .with("To", &self.to)
                .with("Call-ID", &self.call_id)
                .with("CSeq", &format!("{} REGISTER", self.first + number))
        };
        if random.once_in(3) {
            message = ids(message.with("Contact", &self.contact));
        } else {
            message = ids(message).with("Contact", &self.contact);
        }
        if random.once_in(6) {
            message.add("X-Serialnumber", &random.upper_hex(12));
        }
        if let Some(answer) = answer {
            message.add("Authorization", answer);
        }
        if random.once_in(2) {
            message.add("Allow", self.agent.allow);
        }
        if !is_early {
            message.add("Max-Forwards", "70");
        }
        message.add("User-Agent", self.agent.name);
        if random.once_in(3) {
            message.add(
                "Supported",
                random.pick(&[
                    "path",
                    "path, gruu",
                    "replaces, path",
                    "path, outbound",
                    "gruu",
                ]),
            );
        }
        message.add("Expires", self.expires);
        if random.once_in(5) {
            message.add(
                "Allow-Events",
                random.pick(&[
                    "talk,hold,conference,refer,check-sync",
                    "talk, hold, conference",
                    "presence, kpml, talk",
                    "hold,talk,conference,check-sync",
                ]),
            );
        }
        if random.once_in(6) {
            message.add(
                "Accept",
                "application/sdp, application/dtmf-relay, text/plain, message/sipfrag",
            );
        }
        message.bare()
    }

    fn reply(&self, random: &mut Random, status: &str, number: u64) -> Message {
        let received = match random.below(3) {
            0 => format!(";received={};rport={}", random.ip(), random.port()),
            1 => format!(";rport={}", self.port),
            _ => String::new(),
        };
        let via = self.via.replace(";rport", "");
        Message::new(&format!("SIP/2.0 {status}"))
            .with("Via", &format!("{via}{received}"))
            .with("From", &self.from)
            .with("To", &format!("{};tag={}", self.to, random.tag()))
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} REGISTER", self.first + number))
    }

    fn server(&self, random: &mut Random, message: Message) -> Message {
        let server = agents::proxy(random);
        match random.below(4) {
            0 => message.with("Server", server).with(
                "Allow",
                "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE",
            ),
            1 => message,
            2 => message.with("User-Agent", server),
            _ => message.with("Server", server),
        }
    }

    fn challenged(&self, random: &mut Random) -> String {
        let message = self.reply(random, "401 Unauthorized", 1);
        let challenge = auth::challenge(random, &self.realm);
        let message = message.with("WWW-Authenticate", &challenge);
        self.server(random, message).bare()
    }

    fn refused(&self, random: &mut Random, status: &str) -> String {
        let mut message = self.reply(random, status, 1);
        if status.starts_with("423") {
            message.add("Min-Expires", random.pick(&["60", "120", "300"]));
        } else if status.starts_with("50") {
            message.add("Retry-After", random.pick(&["5", "30", "60", "120"]));
        }
        self.server(random, message).bare()
    }

    fn accepted(&self, random: &mut Random) -> String {
        let mut message = self.reply(random, "200 OK", 2);
        let contact = match random.below(4) {
            0 => format!(
                "{};expires={};received=\"sip:{}\"",
                self.contact,
                self.expires,
                random.socket()
            ),
            1 => format!("{};q=0;expires={}", self.contact, self.expires),
            _ => format!("{};expires={}", self.contact, self.expires),
        };
        message.add("Contact", &contact);
        if random.once_in(3) {
            message.add("Expires", self.expires);
        }
        if random.once_in(3) {
            let weekday = random.pick(&["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]);
            let month = random.pick(&[
                "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
            ]);
            let date = format!(
                "{weekday}, {:02} {month} 20{} {:02}:{:02}:{:02} GMT",
                random.between(1, 29),
                random.between(19, 30),
                random.below(24),
                random.below(60),
                random.below(60)
            );
            message.add("Date", &date);
        }
        if random.once_in(6) {
            message.add(
                "Path",
                &format!("<sip:{}@{};lr>", random.hex(8), random.socket()),
            );
        }
        if random.once_in(6) {
            message.add("Supported", "path, outbound");
        }
        self.server(random, message).bare()
    }

    /// What a registrar keeps a NAT open with.
    fn options(&self, random: &mut Random) -> String {
        let host = random.socket();
        Message::new(&format!(
            "OPTIONS sip:{}@{}:{} SIP/2.0",
            self.user, self.ip, self.port
        ))
        .with(
            "Via",
            &format!("SIP/2.0/UDP {host};branch={};rport", random.branch()),
        )
        .with("Max-Forwards", "70")
        .with(
            "From",
            &format!(
                "<sip:{}>;tag={}",
                random
                    .pick(&["ping@invalid", "asterisk@localhost", "nagios@localhost"])
                    .replace("localhost", &self.realm),
                random.tag()
            ),
        )
        .with(
            "To",
            &format!("<sip:{}@{}:{}>", self.user, self.ip, self.port),
        )
        .with("Contact", &format!("<sip:{host}>"))
        .with("Call-ID", &random.call_id())
        .with(
            "CSeq",
            &format!("{} OPTIONS", random.pick(&["102", "10", "1"])),
        )
        .with("User-Agent", agents::proxy(random))
        .with("Supported", "replaces, timer")
        .bare()
    }

    fn options_answer(&self, random: &mut Random) -> String {
        Message::new("SIP/2.0 200 OK")
            .with("Via", &format!("SIP/2.0/UDP {};branch={};rport={}", random.socket(), random.branch(), random.port()))
            .with("From", &format!("<sip:{}@{}>;tag={}", random.user(), self.realm, random.tag()))
            .with("To", &format!("<sip:{}@{}:{}>;tag={}", self.user, self.ip, self.port, random.tag()))
            .with("Call-ID", &random.call_id())
            .with("CSeq", &format!("{} OPTIONS", random.pick(&["102", "10", "1"])))
            .with("Accept", random.pick(&["application/sdp", "application/sdp, application/sdp", "application/sdp, application/pidf+xml, application/simple-message-summary, message/sipfrag;version=2.0, text/plain"]))
            .with("Accept-Encoding", "identity")
            .with("Accept-Language", "en")
            .with("Allow", self.agent.allow)
            .with("Supported", self.agent.supported)
            .with("User-Agent", self.agent.name)
            .bare()
    }
}
