//! Calls: what two phones and the proxies between them send (RFC 3261, 3262, 3311, 3515, 4028).

use super::agents::{self, Agent};
use super::random::Random;
use super::{Message, auth, sdp, trunk};

/// A call from INVITE to BYE, or what it ends with.
pub(super) fn flow(random: &mut Random) -> Vec<String> {
    let call = Call::new(random);
    let mut all = Vec::new();
    if random.once_in(3) {
        all.push(call.invite(random, 1, None));
        all.push(call.challenged(random));
        all.push(call.ack(random, 1, true));
        let answer = auth::response(random, &call.caller, &call.realm, &call.uri);
        all.push(call.invite(random, 2, Some(&answer)));
    } else {
        all.push(call.invite(random, 2, None));
    }
    all.push(call.trying(random));
    match random.below(10) {
        0 => {
            let status = random.pick(&[
                "486 Busy Here",
                "404 Not Found",
                "480 Temporarily Unavailable",
                "603 Decline",
                "488 Not Acceptable Here",
                "503 Service Unavailable",
                "408 Request Timeout",
                "484 Address Incomplete",
                "403 Forbidden",
                "600 Busy Everywhere",
                "302 Moved Temporarily",
            ]);
            all.push(call.failed(random, status));
            all.push(call.ack(random, 2, true));
            return all;
        }
        1 => {
            all.push(call.ringing(random));
            all.push(call.cancel(random));
            all.push(call.answer_to(random, "CANCEL", 2));
            all.push(call.failed(random, "487 Request Terminated"));
            all.push(call.ack(random, 2, true));
            return all;
        }
        2 => {
            all.push(call.progress(random));
            all.push(call.prack(random));
            all.push(call.answer_to(random, "PRACK", 3));
        }
        3..6 => all.push(call.progress(random)),
        _ => all.push(call.ringing(random)),
    }
    all.push(call.answered(random));
    all.push(call.ack(random, 2, false));
    match random.below(8) {
        0 => {
            all.push(call.hold(random));
            all.push(call.answered(random));
            all.push(call.ack(random, 3, false));
        }
        1 => {
            all.push(call.refer(random));
            all.push(call.accepted(random));
            all.push(call.notify_refer(random));
            all.push(call.answer_to(random, "NOTIFY", 4));
        }
        2 => {
            all.push(call.info(random));
            all.push(call.answer_to(random, "INFO", 4));
        }
        3 => {
            all.push(call.update(random));
            all.push(call.answer_to(random, "UPDATE", 4));
        }
        _ => {}
    }
    all.push(call.bye(random));
    all.push(call.answer_to(random, "BYE", 5));
    all
}

struct Call {
    from_agent: Agent,
    to_agent: Agent,
    caller: String,
    realm: String,
    /// The request's URI.
    uri: String,
    /// Where the caller's contact leads.
    contact: String,
    other_contact: String,
    from: String,
    to: String,
    to_tag: String,
    call_id: String,
    first: u64,
    ip: String,
    other_ip: String,
    /// Vias, each with its line's end; the topmost is drawn anew for each transaction.
    vias: Vec<String>,
    /// Record-Route headers, each with its line's end.
    routes: String,
    hops: u64,
    is_compact: bool,
    /// What a trunk adds.
    extras: String,
}

impl Call {
    fn new(random: &mut Random) -> Call {
        let is_trunk = random.once_in(4);
        let from_agent = agents::any(random);
        let to_agent = agents::any(random);
        let (caller, callee) = if is_trunk {
            (random.number(), random.number())
        } else {
            (random.user(), random.user())
        };
        let realm = random.realm();
        let other_realm = if random.once_in(2) {
            realm.clone()
        } else {
            random.realm()
        };
        let (ip, other_ip) = (random.private_ip(), random.ip());
        let port = random.port();
        let transport = random.pick(&["UDP", "UDP", "UDP", "UDP", "TCP", "TLS"]);
        let of_transport = match transport {
            "UDP" => "",
            "TCP" => ";transport=tcp",
            _ => ";transport=tls",
        };
        let user_phone = if is_trunk && random.once_in(2) {
            ";user=phone"
        } else {
            ""
        };
        let contact = format!("<sip:{caller}@{ip}:{port}{of_transport}>");
        let other_contact = format!("<sip:{callee}@{other_ip}:{}>", random.port());
        let name = random.display();
        let name = match random.below(4) {
            0 => String::new(),
            1 => format!("{name} "),
            _ => format!("\"{name}\" "),
        };
        let hops = random.pick(&[0, 0, 1, 1, 2]);
        let mut vias = vec![format!("Via: SIP/2.0/{transport} {ip}:{port};")];
        let mut routes = String::new();
        for _ in 0..hops {
            let proxy = random.socket();
            vias.insert(0, format!("Via: SIP/2.0/UDP {proxy};"));
            let more = match random.below(6) {
                0 => format!(";ftag={}", random.tag()),
                1 => format!(";did={}.{}", random.hex(3), random.hex(8)),
                2 => ";r2=on".to_owned(),
                3 => ";nat=yes".to_owned(),
                _ => String::new(),
            };
            let lr = random.pick(&[";lr", ";lr", ";lr=on"]);
            routes.push_str(&format!(
                "Record-Route: <sip:{}{lr}{more}>\r\n",
                proxy.replace(":5060", "")
            ));
        }
        let extras = if is_trunk {
            trunk::headers(random, &caller, &realm)
        } else {
            String::new()
        };
        Call {
            from_agent,
            to_agent,
            uri: format!("sip:{callee}@{other_realm}{user_phone}"),
            from: format!(
                "{name}<sip:{caller}@{realm}{user_phone}>;tag={}",
                random.tag()
            ),
            to: format!("<sip:{callee}@{other_realm}{user_phone}>"),
            to_tag: random.tag(),
            call_id: random.call_id(),
            first: random.pick(&[0, 0, 100, 19]) + random.below(100),
            contact,
            other_contact,
            caller,
            realm,
            ip,
            other_ip,
            vias,
            routes,
            hops,
            is_compact: random.once_in(25),
            extras,
        }
    }

    /// The Vias of a request, or of its reply.
    fn via(&self, random: &mut Random, is_reply: bool) -> String {
        let mut text = String::new();
        for (at, via) in self.vias.iter().enumerate() {
            let is_last = at + 1 == self.vias.len();
            let rest = match (is_last, is_reply, random.below(3)) {
                (true, true, 0) => format!(";received={};rport={}", random.ip(), random.port()),
                (true, true, 1) => format!(";rport={}", random.port()),
                (true, false, 0) if self.hops > 0 => {
                    format!(";received={};rport={}", random.ip(), random.port())
                }
                (true, false, _) => self.from_agent.via.to_owned(),
                (false, _, 0) => ";i=".to_owned() + &random.hex(3),
                _ => String::new(),
            };
            text.push_str(&format!("{via}branch={}{rest}\r\n", random.branch()));
        }
        text
    }

    fn request(&self, random: &mut Random, method: &str, number: u64, is_known: bool) -> Message {
        let uri = if is_known {
            self.other_contact.trim_matches(['<', '>']).to_owned()
        } else {
            self.uri.clone()
        };
        let mut message = Message::new(&format!("{method} {uri} SIP/2.0"));
        let to = if is_known {
            format!("{};tag={}", self.to, self.to_tag)
        } else {
            self.to.clone()
        };
        let is_late = random.once_in(3);
        let forwards = (70 - self.hops).to_string();
        if method == "INVITE" && self.hops > 0 {
            message = message.lines(&self.routes);
        }
        message = message.lines(&self.via(random, false));
        if !is_late {
            message.add("Max-Forwards", &forwards);
        }
        if is_known && self.hops > 0 && !self.routes.is_empty() {
            message = message.lines(&self.routes.replace("Record-Route", "Route"));
        }
        message = message
            .with("From", &self.from)
            .with("To", &to)
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} {method}", self.first + number));
        if is_late {
            message.add("Max-Forwards", &forwards);
        }
        message
    }

    fn reply(&self, random: &mut Random, status: &str, method: &str, number: u64) -> Message {
        let to = if status.starts_with("100") {
            self.to.clone()
        } else {
            format!("{};tag={}", self.to, self.to_tag)
        };
        let mut message = Message::new(&format!("SIP/2.0 {status}")).lines(&self.via(random, true));
        if method == "INVITE" && !status.starts_with("100") {
            message = message.lines(&self.routes);
        }
        message
            .with("From", &self.from)
            .with("To", &to)
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} {method}", self.first + number))
    }

    fn said_by(&self, message: Message) -> Message {
        let agent = self.to_agent;
        if agent.is_client {
            message.with("User-Agent", agent.name)
        } else {
            message.with("Server", agent.name)
        }
    }

    fn finish(&self, message: String) -> String {
        if !self.is_compact {
            return message;
        }
        let mut text = message;
        for (long, short) in [
            ("\r\nVia: ", "\r\nv: "),
            ("\r\nFrom: ", "\r\nf: "),
            ("\r\nTo: ", "\r\nt: "),
            ("\r\nCall-ID: ", "\r\ni: "),
            ("\r\nContact: ", "\r\nm: "),
            ("\r\nContent-Type: ", "\r\nc: "),
            ("\r\nContent-Length: ", "\r\nl: "),
            ("\r\nSupported: ", "\r\nk: "),
        ] {
            text = text.replace(long, short);
        }
        text
    }

    fn invite(&self, random: &mut Random, number: u64, answer: Option<&str>) -> String {
        let agent = self.from_agent;
        let mut message = self
            .request(random, "INVITE", number, false)
            .with("Contact", &self.contact);
        if let Some(answer) = answer {
            message.add(
                random.pick(&["Authorization", "Proxy-Authorization"]),
                answer,
            );
        }
        message.add("Allow", agent.allow);
        if !agent.supported.is_empty() {
            message.add("Supported", agent.supported);
        }
        message.add("User-Agent", agent.name);
        if random.once_in(4) {
            message.add(
                "Session-Expires",
                random.pick(&[
                    "1800",
                    "1800;refresher=uac",
                    "1800;refresher=uas",
                    "3600;refresher=uac",
                    "600",
                ]),
            );
            message.add("Min-SE", random.pick(&["90", "90", "600"]));
        }
        if random.once_in(6) {
            message.add(
                "Allow-Events",
                random.pick(&[
                    "talk,hold,conference,refer,check-sync",
                    "telephone-event",
                    "hold,talk,conference",
                ]),
            );
        }
        if random.once_in(6) {
            message.add("Accept", "application/sdp");
        }
        if random.once_in(10) {
            message.add("Accept-Language", "en");
        }
        message = message.lines(&self.extras);
        let body = if random.once_in(25) {
            sdp::fax(random, &self.ip)
        } else {
            sdp::audio(random, agent, &self.ip, "sendrecv")
        };
        self.finish(message.body("application/sdp", &body))
    }

    fn challenged(&self, random: &mut Random) -> String {
        let challenge = auth::challenge(random, &self.realm);
        let (status, name) = random.pick(&[
            ("407 Proxy Authentication Required", "Proxy-Authenticate"),
            ("401 Unauthorized", "WWW-Authenticate"),
        ]);
        let server = agents::proxy(random);
        let message = self
            .reply(random, status, "INVITE", 1)
            .with(name, &challenge)
            .with("Server", server);
        self.finish(message.bare())
    }

    fn trying(&self, random: &mut Random) -> String {
        let status = random.pick(&[
            "100 Trying",
            "100 Trying",
            "100 trying -- your call is important to us",
            "100 Giving a try",
        ]);
        let mut message = self.reply(random, status, "INVITE", 2);
        if random.once_in(2) {
            message.add("Server", agents::proxy(random));
        }
        self.finish(message.bare())
    }

    fn ringing(&self, random: &mut Random) -> String {
        let status = random_ringing(random);
        let mut message = self
            .reply(random, status, "INVITE", 2)
            .with("Contact", &self.other_contact);
        message = self.said_by(message);
        if random.once_in(2) {
            message.add("Allow", self.to_agent.allow);
        }
        if random.once_in(4) {
            message.add("Allow-Events", "talk,hold,conference");
        }
        self.finish(message.bare())
    }

    fn progress(&self, random: &mut Random) -> String {
        let mut message = self
            .reply(random, "183 Session Progress", "INVITE", 2)
            .with("Contact", &self.other_contact);
        if random.once_in(3) {
            message.add("Require", "100rel");
            message.add("RSeq", &random.between(1, 9000).to_string());
        }
        message = self.said_by(message).with("Allow", self.to_agent.allow);
        let body = sdp::audio(random, self.to_agent, &self.other_ip, "sendrecv");
        self.finish(message.body("application/sdp", &body))
    }

    fn prack(&self, random: &mut Random) -> String {
        let mut message = self.request(random, "PRACK", 3, true);
        message.add(
            "RAck",
            &format!("{} {} INVITE", random.between(1, 9000), self.first + 2),
        );
        self.finish(message.with("User-Agent", self.from_agent.name).bare())
    }

    fn answered(&self, random: &mut Random) -> String {
        let mut message = self
            .reply(random, "200 OK", "INVITE", 2)
            .with("Contact", &self.other_contact);
        message = self.said_by(message).with("Allow", self.to_agent.allow);
        if !self.to_agent.supported.is_empty() {
            message.add("Supported", self.to_agent.supported);
        }
        if random.once_in(4) {
            message.add(
                "Session-Expires",
                random.pick(&[
                    "1800;refresher=uac",
                    "1800;refresher=uas",
                    "3600;refresher=uas",
                ]),
            );
            message.add("Require", "timer");
        }
        let way = random.pick(&["sendrecv", "sendrecv", "recvonly"]);
        let body = sdp::audio(random, self.to_agent, &self.other_ip, way);
        self.finish(message.body("application/sdp", &body))
    }

    fn ack(&self, random: &mut Random, number: u64, is_refusal: bool) -> String {
        let mut message = self.request(random, "ACK", number, !is_refusal);
        if is_refusal {
            message = Message {
                text: message.text.replace(
                    &format!("To: {}\r\n", self.to),
                    &format!("To: {};tag={}\r\n", self.to, self.to_tag),
                ),
            };
        }
        if random.once_in(2) {
            message.add("Contact", &self.contact);
        }
        if random.once_in(2) {
            message.add("User-Agent", self.from_agent.name);
        }
        self.finish(message.bare())
    }

    fn failed(&self, random: &mut Random, status: &str) -> String {
        let mut message = self.reply(random, status, "INVITE", 2);
        message = self.said_by(message);
        if status.starts_with("302") {
            message.add("Contact", &self.other_contact);
        }
        if random.once_in(4) {
            message.add(
                "Reason",
                random.pick(&[
                    "Q.850;cause=17;text=\"User busy\"",
                    "Q.850;cause=16;text=\"Normal call clearing\"",
                    "Q.850;cause=1",
                    "Q.850;cause=21;text=\"Call rejected\"",
                    "Q.850;cause=34",
                    "Q.850 ;cause=16 ;text=\"Terminated\"",
                    "SIP;cause=487;text=\"ORIGINATOR_CANCEL\"",
                ]),
            );
        }
        self.finish(message.bare())
    }

    fn cancel(&self, random: &mut Random) -> String {
        let mut message = self.request(random, "CANCEL", 2, false);
        if random.once_in(2) {
            message.add(
                "Reason",
                random.pick(&[
                    "SIP;cause=200;text=\"Call completed elsewhere\"",
                    "Q.850;cause=16",
                    "SIP ;cause=200 ;text=\"Call completed elsewhere\"",
                ]),
            );
        }
        self.finish(message.with("User-Agent", self.from_agent.name).bare())
    }

    fn answer_to(&self, random: &mut Random, method: &str, number: u64) -> String {
        let mut message = self.reply(random, "200 OK", method, number);
        if random.once_in(4) {
            message.add("Contact", &self.other_contact);
        }
        message = self.said_by(message);
        if random.once_in(4) {
            message.add("Allow", self.to_agent.allow);
            if !self.to_agent.supported.is_empty() {
                message.add("Supported", self.to_agent.supported);
            }
        }
        self.finish(message.bare())
    }

    fn hold(&self, random: &mut Random) -> String {
        let message = self
            .request(random, "INVITE", 3, true)
            .with("Contact", &self.contact)
            .with("User-Agent", self.from_agent.name)
            .with("Allow", self.from_agent.allow);
        let ip = random.pick(&["", "0.0.0.0"]);
        let ip = if ip.is_empty() { &self.ip } else { ip };
        let way = random_hold(random);
        let body = sdp::audio(random, self.from_agent, ip, way);
        self.finish(message.body("application/sdp", &body))
    }

    fn refer(&self, random: &mut Random) -> String {
        let target = format!("sip:{}@{}", random.user(), self.realm);
        let target = match random.below(2) {
            0 => format!("<{target}>"),
            _ => format!(
                "<{target}?Replaces={}%3Bto-tag%3D{}%3Bfrom-tag%3D{}>",
                random.uuid(),
                random.tag(),
                random.tag()
            ),
        };
        let message = self
            .request(random, "REFER", 4, true)
            .with("Contact", &self.contact)
            .with("Refer-To", &target)
            .with(
                "Referred-By",
                &format!("<sip:{}@{}>", self.caller, self.realm),
            )
            .with("User-Agent", self.from_agent.name);
        self.finish(message.bare())
    }

    fn accepted(&self, random: &mut Random) -> String {
        let status = random.pick(&["202 Accepted", "202 Accepted", "200 OK"]);
        let message = self
            .reply(random, status, "REFER", 4)
            .with("Contact", &self.other_contact);
        self.finish(self.said_by(message).bare())
    }

    fn notify_refer(&self, random: &mut Random) -> String {
        let body = random.pick(&[
            "SIP/2.0 100 Trying\r\n",
            "SIP/2.0 200 OK\r\n",
            "SIP/2.0 180 Ringing\r\n",
            "SIP/2.0 503 Service Unavailable",
        ]);
        let state = random.pick(&[
            "active;expires=60",
            "terminated;reason=noresource",
            "active;expires=180",
        ]);
        let event = random.pick(&["refer", "refer;id=2", "refer;id=103"]);
        let message = self
            .request(random, "NOTIFY", 4, true)
            .with("Contact", &self.contact)
            .with("Event", event)
            .with("Subscription-State", state)
            .with("User-Agent", self.to_agent.name);
        self.finish(message.body(
            random.pick(&["message/sipfrag", "message/sipfrag;version=2.0"]),
            body,
        ))
    }

    fn info(&self, random: &mut Random) -> String {
        let key = random.pick(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"]);
        let message = self
            .request(random, "INFO", 4, true)
            .with("User-Agent", self.from_agent.name);
        let text = match random.below(3) {
            0 => message.body("application/dtmf-relay", &format!("Signal={key}\r\nDuration={}\r\n", random.pick(&["160", "250", "100"]))),
            1 => message.body("application/dtmf", key),
            _ => message.body("application/media_control+xml", "<?xml version=\"1.0\" encoding=\"utf-8\" ?>\n<media_control><vc_primitive><to_encoder><picture_fast_update></picture_fast_update></to_encoder></vc_primitive></media_control>"),
        };
        self.finish(text)
    }

    fn update(&self, random: &mut Random) -> String {
        let message = self
            .request(random, "UPDATE", 4, true)
            .with("Contact", &self.contact)
            .with(
                "Session-Expires",
                random.pick(&["1800;refresher=uac", "1800;refresher=uas"]),
            )
            .with("Min-SE", "90")
            .with("Supported", "timer")
            .with("User-Agent", self.from_agent.name);
        self.finish(message.bare())
    }

    fn bye(&self, random: &mut Random) -> String {
        let mut message = self.request(random, "BYE", 5, true);
        if random.once_in(3) {
            message.add("Contact", &self.contact);
        }
        message.add("User-Agent", self.from_agent.name);
        if random.once_in(4) {
            message.add(
                "Reason",
                random.pick(&[
                    "Q.850;cause=16;text=\"Normal call clearing\"",
                    "Q.850;cause=16",
                    "Q.850;cause=16;text=\"NORMAL_CLEARING\"",
                ]),
            );
        }
        if random.once_in(8) {
            message.add(
                "RTP-RxStat",
                "Dur=5,Pkt=250,Oct=40000,LatePkt=0,LostPkt=0,AvgJit=0",
            );
        }
        self.finish(message.bare())
    }
}

fn random_ringing(random: &mut Random) -> &'static str {
    random.pick(&[
        "180 Ringing",
        "180 Ringing",
        "180 Ringing",
        "181 Call Is Being Forwarded",
        "182 Queued",
    ])
}

fn random_hold(random: &mut Random) -> &'static str {
    random.pick(&["sendonly", "inactive", "sendonly"])
}
