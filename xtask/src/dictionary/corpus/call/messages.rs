//! The messages of a call.

use super::super::message::Message;
use super::super::random::Random;
use super::super::{agents, auth, sdp};
use super::Call;

impl Call {
    pub fn invite(&self, random: &mut Random, number: u64, answer: Option<&str>) -> String {
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

    pub fn challenged(&self, random: &mut Random) -> String {
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

    pub fn trying(&self, random: &mut Random) -> String {
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

    pub fn ringing(&self, random: &mut Random) -> String {
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

    pub fn progress(&self, random: &mut Random) -> String {
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

    pub fn prack(&self, random: &mut Random) -> String {
        let mut message = self.request(random, "PRACK", 3, true);
        message.add(
            "RAck",
            &format!("{} {} INVITE", random.between(1, 9000), self.first + 2),
        );
        self.finish(message.with("User-Agent", self.from_agent.name).bare())
    }

    pub fn answered(&self, random: &mut Random) -> String {
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

    pub fn ack(&self, random: &mut Random, number: u64, is_refusal: bool) -> String {
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

    pub fn failed(&self, random: &mut Random, status: &str) -> String {
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

    pub fn cancel(&self, random: &mut Random) -> String {
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

    pub fn answer_to(&self, random: &mut Random, method: &str, number: u64) -> String {
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

    pub fn hold(&self, random: &mut Random) -> String {
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

    pub fn refer(&self, random: &mut Random) -> String {
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

    pub fn accepted(&self, random: &mut Random) -> String {
        let status = random.pick(&["202 Accepted", "202 Accepted", "200 OK"]);
        let message = self
            .reply(random, status, "REFER", 4)
            .with("Contact", &self.other_contact);
        self.finish(self.said_by(message).bare())
    }

    pub fn notify_refer(&self, random: &mut Random) -> String {
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

    pub fn info(&self, random: &mut Random) -> String {
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

    pub fn update(&self, random: &mut Random) -> String {
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

    pub fn bye(&self, random: &mut Random) -> String {
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
