//! Calls: what two phones and the proxies between them send (RFC 3261, 3262, 3311, 3515, 4028).

use super::agents::{self, Agent};
mod messages;

use super::message::Message;
use super::random::Random;
use super::{auth, trunk};

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
}
