//! Events and messages: SUBSCRIBE, NOTIFY, PUBLISH, MESSAGE (RFC 6665, 3856, 3842, 4235, 3903, 3428).

use super::agents::{self, Agent};
use super::message::Message;
use super::random::Random;
use super::{auth, bodies};

pub(super) fn flow(random: &mut Random) -> Vec<String> {
    let peer = Peer::new(random);
    match random.below(6) {
        0 => vec![
            peer.message(random),
            peer.answer(random, "200 OK", "MESSAGE"),
        ],
        1 => vec![peer.publish(random), peer.published(random)],
        _ => {
            let (event, accept, kind) = random.pick(&[
                ("presence", "application/pidf+xml", "application/pidf+xml"),
                (
                    "message-summary",
                    "application/simple-message-summary",
                    "application/simple-message-summary",
                ),
                (
                    "dialog",
                    "application/dialog-info+xml",
                    "application/dialog-info+xml",
                ),
                (
                    "dialog",
                    "application/dialog-info+xml",
                    "application/dialog-info+xml",
                ),
                ("reg", "application/reginfo+xml", "application/reginfo+xml"),
                (
                    "conference",
                    "application/conference-info+xml",
                    "application/conference-info+xml",
                ),
            ]);
            let mut all = vec![peer.subscribe(random, event, accept)];
            let status = random.pick(&[
                "200 OK",
                "202 Accepted",
                "200 OK",
                "489 Bad Event",
                "401 Unauthorized",
            ]);
            all.push(peer.subscribed(random, status));
            all.push(peer.notify(random, event, kind));
            all.push(peer.answer(random, "200 OK", "NOTIFY"));
            all
        }
    }
}

struct Peer {
    agent: Agent,
    user: String,
    other: String,
    realm: String,
    contact: String,
    from: String,
    to: String,
    call_id: String,
    number: u64,
}

impl Peer {
    fn new(random: &mut Random) -> Peer {
        let (user, other, realm) = (random.user(), random.user(), random.realm());
        let name = if random.once_in(2) {
            format!("\"{}\" ", random.display())
        } else {
            String::new()
        };
        Peer {
            agent: agents::any(random),
            from: format!("{name}<sip:{user}@{realm}>;tag={}", random.tag()),
            to: format!("<sip:{other}@{realm}>"),
            contact: format!("<sip:{user}@{}>", random.socket()),
            call_id: random.call_id(),
            number: random.between(1, 30_000),
            user,
            other,
            realm,
        }
    }

    fn request(&self, random: &mut Random, method: &str, to_tag: bool) -> Message {
        let to = if to_tag {
            format!("{};tag={}", self.to, random.tag())
        } else {
            self.to.clone()
        };
        let target = if to_tag {
            format!("sip:{}@{}", self.other, random.socket())
        } else {
            format!("sip:{}@{}", self.other, self.realm)
        };
        Message::new(&format!("{method} {target} SIP/2.0"))
            .with(
                "Via",
                &format!(
                    "SIP/2.0/UDP {};branch={}{}",
                    random.socket(),
                    random.branch(),
                    self.agent.via
                ),
            )
            .with("Max-Forwards", "70")
            .with("From", &self.from)
            .with("To", &to)
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} {method}", self.number))
    }

    fn answer(&self, random: &mut Random, status: &str, method: &str) -> String {
        self.reply(random, status, method).bare()
    }

    fn reply(&self, random: &mut Random, status: &str, method: &str) -> Message {
        let message = Message::new(&format!("SIP/2.0 {status}"))
            .with(
                "Via",
                &format!(
                    "SIP/2.0/UDP {};branch={};received={};rport={}",
                    random.socket(),
                    random.branch(),
                    random.ip(),
                    random.port()
                ),
            )
            .with("From", &self.from)
            .with("To", &format!("{};tag={}", self.to, random.tag()))
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} {method}", self.number));
        match random.below(3) {
            0 => message.with("Server", agents::proxy(random)),
            1 => message.with("User-Agent", self.agent.name),
            _ => message.with("Contact", &self.contact),
        }
    }

    fn subscribe(&self, random: &mut Random, event: &str, accept: &str) -> String {
        let mut message = self
            .request(random, "SUBSCRIBE", false)
            .with("Contact", &self.contact);
        if random.once_in(3) {
            let answer = auth::response(
                random,
                &self.user,
                &self.realm,
                &format!("sip:{}@{}", self.other, self.realm),
            );
            message.add("Authorization", &answer);
        }
        message.add("Event", event);
        message.add("Accept", accept);
        message.add(
            "Expires",
            random.pick(&["3600", "1800", "600", "300", "86400", "0", "7200"]),
        );
        if random.once_in(3) {
            message.add(
                "Supported",
                random.pick(&["eventlist", "replaces, eventlist", "100rel, replaces"]),
            );
        }
        if random.once_in(2) {
            message.add("Allow", self.agent.allow);
        }
        message.with("User-Agent", self.agent.name).bare()
    }

    fn subscribed(&self, random: &mut Random, status: &str) -> String {
        let mut message = self.reply(random, status, "SUBSCRIBE");
        if status.starts_with("401") {
            message.add("WWW-Authenticate", &auth::challenge(random, &self.realm));
        } else if status.starts_with("2") {
            message.add("Expires", random.pick(&["3600", "1800", "600"]));
        }
        message.bare()
    }

    fn notify(&self, random: &mut Random, event: &str, kind: &str) -> String {
        let state = match random.below(4) {
            0 => "terminated;reason=timeout".to_owned(),
            1 => "active".to_owned(),
            _ => format!("active;expires={}", random.between(10, 3600)),
        };
        let body = bodies::of(random, kind, &self.user, &self.realm);
        self.request(random, "NOTIFY", true)
            .with("Contact", &self.contact)
            .with("Event", event)
            .with("Subscription-State", &state)
            .with("User-Agent", self.agent.name)
            .body(kind, &body)
    }

    fn publish(&self, random: &mut Random) -> String {
        let mut message = self
            .request(random, "PUBLISH", false)
            .with("Event", "presence")
            .with("Expires", random.pick(&["3600", "600", "300"]));
        if random.once_in(2) {
            message.add("SIP-If-Match", &random.lower(12));
        }
        let kind = "application/pidf+xml";
        let body = bodies::of(random, kind, &self.user, &self.realm);
        message
            .with("User-Agent", self.agent.name)
            .body(kind, &body)
    }

    fn published(&self, random: &mut Random) -> String {
        self.reply(random, "200 OK", "PUBLISH")
            .with("SIP-ETag", &random.lower(12))
            .with("Expires", random.pick(&["3600", "600"]))
            .bare()
    }

    fn message(&self, random: &mut Random) -> String {
        let mut text = String::new();
        for _ in 0..random.between(2, 14) {
            let len = random.between(2, 8) as usize;
            text.push_str(&random.lower(len));
            text.push(' ');
        }
        let kind = random.pick(&[
            "text/plain",
            "text/plain;charset=UTF-8",
            "text/plain;charset=utf-8",
        ]);
        self.request(random, "MESSAGE", false)
            .with("User-Agent", self.agent.name)
            .body(kind, text.trim_end())
    }
}
