//! What phones and cores of mobile networks send (3GPP TS 24.229, RFC 3329, 3608, 7315).

mod media;

use super::message::Message;
use super::random::Random;
use super::{agents, sdp};

pub(super) fn flow(random: &mut Random) -> Vec<String> {
    let phone = Phone::new(random);
    match random.below(3) {
        0 => vec![
            phone.register(random, false),
            phone.challenged(random),
            phone.register(random, true),
            phone.accepted(random),
            phone.subscribe(random),
        ],
        1 => vec![
            phone.invite(random),
            phone.trying(random),
            phone.progress(random),
            phone.prack(random),
            phone.ok(random, "PRACK"),
            phone.update(random),
            phone.ringing(random),
            phone.bye(random),
            phone.ok(random, "BYE"),
        ],
        _ => vec![
            phone.sms(random),
            phone.ok(random, "MESSAGE"),
            phone.invite(random),
            phone.ringing(random),
            phone.cancel(random),
            phone.ok(random, "CANCEL"),
        ],
    }
}

struct Phone {
    identity: String,
    private: String,
    realm: String,
    ip: String,
    port: u64,
    instance: String,
    from: String,
    to: String,
    call_id: String,
    agent: &'static str,
    access: String,
    server: String,
}

impl Phone {
    fn new(random: &mut Random) -> Phone {
        let mnc = random.digits(3);
        let mcc = random.digits(3);
        let realm = format!("ims.mnc{mnc}.mcc{mcc}.3gppnetwork.org");
        let imsi = format!("{mcc}{mnc}{}", random.digits(9));
        let number = format!("+{}", random.digits(11));
        let identity = match random.below(3) {
            0 => format!("sip:{imsi}@{realm}"),
            _ => format!("sip:{number}@{realm}"),
        };
        let other = match random.below(2) {
            0 => format!("<tel:+{}>", random.digits(11)),
            _ => format!("<sip:+{}@{realm};user=phone>", random.digits(11)),
        };
        let ip = if random.once_in(2) {
            format!(
                "[2{}:{}:{}:{}:{}::{}]",
                random.hex(3),
                random.hex(4),
                random.hex(4),
                random.hex(4),
                random.hex(4),
                random.hex(1)
            )
        } else {
            random.private_ip()
        };
        let cell = random.hex(13);
        let access = match random.below(4) {
            0 => format!("IEEE-802.11;i-wlan-node-id={}", random.hex(12)),
            1 => format!("3GPP-UTRAN-TDD; utran-cell-id-3gpp={cell}"),
            2 => format!("3GPP-NR-FDD;utran-cell-id-3gpp={cell}"),
            _ => format!("3GPP-E-UTRAN-FDD; utran-cell-id-3gpp={cell}"),
        };
        Phone {
            private: format!("{imsi}@{realm}"),
            instance: format!(
                "+sip.instance=\"<urn:gsma:imei:{}-{}-0>\"",
                random.digits(8),
                random.digits(6)
            ),
            from: format!("<{identity}>;tag={}", random.tag()),
            to: other,
            call_id: random.call_id(),
            agent: random.pick(&[
                "Samsung IMS 6.0",
                "iOS/16.5.1 iPhone",
                "SM-G991B Samsung IMS 6.0",
                "iOS/17.2 (21C62) iPhone",
                "IM-client/OMA1.0 Xiaomi",
                "Qualcomm IMS",
                "Google-Pixel IMS 1.0",
                "HUAWEI IMS 1.0",
            ]),
            server: format!(
                "{}.{}",
                random.pick(&["pcscf", "scscf", "sbg", "tas"]),
                realm
            ),
            port: random.port(),
            identity,
            realm,
            ip,
            access,
        }
    }

    fn via(&self, random: &mut Random) -> String {
        let transport = random.pick(&["UDP", "TCP", "UDP"]);
        let mut text = String::new();
        if random.once_in(2) {
            text.push_str(&format!(
                "Via: SIP/2.0/UDP {};branch={}\r\n",
                random.socket(),
                random.branch()
            ));
        }
        text.push_str(&format!(
            "Via: SIP/2.0/{transport} {}:{};branch={};rport\r\n",
            self.ip,
            self.port,
            random.branch()
        ));
        text
    }

    fn request(
        &self,
        random: &mut Random,
        method: &str,
        uri: &str,
        to: &str,
        number: u64,
    ) -> Message {
        Message::new(&format!("{method} {uri} SIP/2.0"))
            .lines(&self.via(random))
            .with("Max-Forwards", "70")
            .with("From", &self.from)
            .with("To", to)
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{number} {method}"))
    }

    fn reply(&self, random: &mut Random, status: &str, method: &str) -> Message {
        let mut message = Message::new(&format!("SIP/2.0 {status}")).lines(&self.via(random));
        if method == "INVITE" {
            message.add(
                "Record-Route",
                &format!("<sip:{}:{};lr>", self.server, random.port()),
            );
        }
        message
            .with("From", &self.from)
            .with("To", &format!("{};tag={}", self.to, random.tag()))
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} {method}", random.between(1, 9)))
    }

    fn contact(&self) -> String {
        format!(
            "<sip:{}@{}:{}>",
            self.identity
                .trim_start_matches("sip:")
                .split('@')
                .next()
                .unwrap_or_default(),
            self.ip,
            self.port
        )
    }

    fn security(random: &mut Random, what: &str) -> String {
        format!(
            "{what}: ipsec-3gpp;alg={};ealg={};mod=trans;spi-c={};spi-s={};port-c={};port-s={}\r\n",
            random.pick(&["hmac-sha-1-96", "hmac-md5-96"]),
            random.pick(&["aes-cbc", "null", "des-ede3-cbc"]),
            random.digits(9),
            random.digits(9),
            random.digits(5),
            random.digits(5)
        )
    }

    fn register(&self, random: &mut Random, is_second: bool) -> String {
        let authorization = if is_second {
            format!(
                "Digest username=\"{}\",realm=\"{}\",nonce=\"{}\",uri=\"sip:{}\",response=\"{}\",algorithm=AKAv1-MD5,cnonce=\"{}\",opaque=\"{}\",qop=auth,nc=00000001",
                self.private,
                self.realm,
                random.base64(44),
                self.realm,
                random.hex(32),
                random.hex(16),
                random.hex(8)
            )
        } else {
            format!(
                "Digest username=\"{}\",realm=\"{}\",uri=\"sip:{}\",nonce=\"\",response=\"\"",
                self.private, self.realm, self.realm
            )
        };
        let mut message = self
            .request(random, "REGISTER", &format!("sip:{}", self.realm), &format!("<{}>", self.identity), if is_second { 2 } else { 1 })
            .with("Contact", &format!("{};{};+g.3gpp.accesstype=\"cellular2\";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\";audio;video;+g.3gpp.smsip", self.contact(), self.instance))
            .with("Expires", random.pick(&["600000", "3600", "7200"]))
            .with("Supported", random.pick(&["path,sec-agree", "path,gruu,sec-agree", "path"]))
            .with("Require", "sec-agree")
            .with("Proxy-Require", "sec-agree")
            .with("P-Access-Network-Info", &self.access)
            .lines(&Self::security(random, "Security-Client"));
        if is_second {
            message = message.lines(&Self::security(random, "Security-Verify"));
        }
        message
            .with("Authorization", &authorization)
            .with(
                "Allow",
                "INVITE,ACK,CANCEL,BYE,UPDATE,PRACK,MESSAGE,REFER,NOTIFY,INFO,OPTIONS",
            )
            .with("User-Agent", self.agent)
            .bare()
    }

    fn challenged(&self, random: &mut Random) -> String {
        self.reply(random, "401 Unauthorized", "REGISTER")
            .with(
                "WWW-Authenticate",
                &format!(
                    "Digest realm=\"{}\",nonce=\"{}\",algorithm=AKAv1-MD5,qop=\"auth\"",
                    self.realm,
                    random.base64(44)
                ),
            )
            .lines(&Self::security(random, "Security-Server"))
            .bare()
    }

    fn accepted(&self, random: &mut Random) -> String {
        self.reply(random, "200 OK", "REGISTER")
            .with(
                "Contact",
                &format!("{};{};expires=3600", self.contact(), self.instance),
            )
            .with(
                "Path",
                &format!("<sip:term@{}:{};lr>", self.server, random.port()),
            )
            .with(
                "Service-Route",
                &format!("<sip:orig@{}:{};lr>", self.server, random.port()),
            )
            .with(
                "P-Associated-URI",
                &format!("<{}>,<tel:+{}>", self.identity, random.digits(11)),
            )
            .with(
                "P-Charging-Vector",
                &format!(
                    "icid-value=\"{}\";icid-generated-at={};orig-ioi=\"{}\"",
                    random.hex(24),
                    random.ip(),
                    self.realm
                ),
            )
            .with(
                "P-Charging-Function-Addresses",
                &format!("ccf=\"aaa://{}\"", self.server),
            )
            .bare()
    }

    fn subscribe(&self, random: &mut Random) -> String {
        self.request(
            random,
            "SUBSCRIBE",
            &self.identity,
            &format!("<{}>", self.identity),
            1,
        )
        .with(
            "Route",
            &format!(
                "<sip:{}:{};lr>,<sip:orig@{}:{};lr>",
                random.ip(),
                random.port(),
                self.server,
                random.port()
            ),
        )
        .with("Event", "reg")
        .with("Expires", "600000")
        .with("P-Preferred-Identity", &format!("<{}>", self.identity))
        .with("P-Access-Network-Info", &self.access)
        .with("Contact", &self.contact())
        .with("Accept", "application/reginfo+xml")
        .with("User-Agent", self.agent)
        .bare()
    }

    fn target(&self) -> String {
        self.to.trim_matches(['<', '>']).to_owned()
    }

    fn invite(&self, random: &mut Random) -> String {
        let body = self.media(random);
        self.request(random, "INVITE", &self.target(), &self.to, 1)
            .with(
                "Contact",
                &format!(
                    "{};+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\";{};audio",
                    self.contact(),
                    self.instance
                ),
            )
            .with(
                "Route",
                &format!(
                    "<sip:{}:{};lr>,<sip:orig@{}:{};lr>",
                    random.ip(),
                    random.port(),
                    self.server,
                    random.port()
                ),
            )
            .with(
                "P-Preferred-Service",
                "urn:urn-7:3gpp-service.ims.icsi.mmtel",
            )
            .with("P-Preferred-Identity", &format!("<{}>", self.identity))
            .with("P-Access-Network-Info", &self.access)
            .with(
                "Accept-Contact",
                "*;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"",
            )
            .with("P-Early-Media", "supported")
            .with(
                "Supported",
                random.pick(&[
                    "100rel,timer,precondition,gruu",
                    "100rel,precondition",
                    "timer,100rel,histinfo",
                ]),
            )
            .with(
                "Allow",
                "INVITE,ACK,OPTIONS,CANCEL,BYE,UPDATE,INFO,REFER,NOTIFY,MESSAGE,PRACK",
            )
            .with("Accept", "application/sdp,application/3gpp-ims+xml")
            .with("Session-Expires", "1800")
            .with("Min-SE", "90")
            .with("User-Agent", self.agent)
            .body("application/sdp", &body)
    }

    fn trying(&self, random: &mut Random) -> String {
        Message::new("SIP/2.0 100 Trying")
            .lines(&self.via(random))
            .with("From", &self.from)
            .with("To", &self.to)
            .with("Call-ID", &self.call_id)
            .with("CSeq", "1 INVITE")
            .bare()
    }

    fn progress(&self, random: &mut Random) -> String {
        let body = self.media(random);
        self.reply(random, "183 Session Progress", "INVITE")
            .with(
                "Contact",
                &format!(
                    "<sip:{}@{}:{}>",
                    random.lower(16),
                    self.server,
                    random.port()
                ),
            )
            .with(
                "Require",
                random.pick(&["100rel", "100rel,precondition", "precondition,100rel"]),
            )
            .with("RSeq", &random.between(1, 9999).to_string())
            .with("P-Asserted-Identity", &self.to)
            .with(
                "P-Charging-Vector",
                &format!(
                    "icid-value=\"{}\";icid-generated-at={};orig-ioi=\"{}\";term-ioi=\"{}\"",
                    random.hex(24),
                    random.ip(),
                    self.realm,
                    self.realm
                ),
            )
            .with(
                "Feature-Caps",
                "*;+g.3gpp.srvcc;+g.3gpp.mid-call;+g.3gpp.srvcc-alerting",
            )
            .with(
                "P-Early-Media",
                random.pick(&["sendrecv", "gated", "inactive"]),
            )
            .with(
                "Allow",
                "INVITE,ACK,OPTIONS,CANCEL,BYE,UPDATE,INFO,REFER,NOTIFY,MESSAGE,PRACK",
            )
            .body("application/sdp", &body)
    }

    fn ringing(&self, random: &mut Random) -> String {
        self.reply(random, "180 Ringing", "INVITE")
            .with(
                "Contact",
                &format!(
                    "<sip:{}@{}:{}>",
                    random.lower(16),
                    self.server,
                    random.port()
                ),
            )
            .with("P-Asserted-Identity", &self.to)
            .with("Recv-Info", "g.3gpp.state-and-event")
            .with(
                "Allow",
                "INVITE,ACK,OPTIONS,CANCEL,BYE,UPDATE,INFO,REFER,NOTIFY,MESSAGE,PRACK",
            )
            .bare()
    }

    fn prack(&self, random: &mut Random) -> String {
        let uri = format!("sip:{}@{}:{}", random.lower(16), self.server, random.port());
        let to = format!("{};tag={}", self.to, random.tag());
        self.request(random, "PRACK", &uri, &to, 2)
            .with("RAck", &format!("{} 1 INVITE", random.between(1, 9999)))
            .with("P-Access-Network-Info", &self.access)
            .with("User-Agent", self.agent)
            .bare()
    }

    fn update(&self, random: &mut Random) -> String {
        let uri = format!("sip:{}@{}:{}", random.lower(16), self.server, random.port());
        let to = format!("{};tag={}", self.to, random.tag());
        let body = self.media(random);
        self.request(random, "UPDATE", &uri, &to, 3)
            .with("Contact", &self.contact())
            .with("Require", "precondition,sec-agree")
            .with("P-Access-Network-Info", &self.access)
            .with("User-Agent", self.agent)
            .body("application/sdp", &body)
    }

    fn cancel(&self, random: &mut Random) -> String {
        self.request(random, "CANCEL", &self.target(), &self.to, 1)
            .with("Reason", "SIP;cause=200;text=\"User ended call\"")
            .with("P-Access-Network-Info", &self.access)
            .bare()
    }

    fn bye(&self, random: &mut Random) -> String {
        let uri = format!("sip:{}@{}:{}", random.lower(16), self.server, random.port());
        let to = format!("{};tag={}", self.to, random.tag());
        self.request(random, "BYE", &uri, &to, 4)
            .with("P-Access-Network-Info", &self.access)
            .with(
                "Reason",
                random.pick(&[
                    "SIP;cause=200;text=\"User ended call\"",
                    "RELEASE_CAUSE;cause=1;text=\"User ends call\"",
                ]),
            )
            .with("User-Agent", self.agent)
            .bare()
    }

    fn ok(&self, random: &mut Random, method: &str) -> String {
        let agent = agents::any(random);
        if method == "PRACK" && random.once_in(2) {
            let body = sdp::audio(random, agent, self.ip.trim_matches(['[', ']']), "sendrecv");
            return self
                .reply(random, "200 OK", method)
                .body("application/sdp", &body);
        }
        self.reply(random, "200 OK", method)
            .with("P-Access-Network-Info", &self.access)
            .bare()
    }

    /// A short message (3GPP TS 24.341), whose body is binary and left out.
    fn sms(&self, random: &mut Random) -> String {
        let center = format!("sip:+{}@{}", random.digits(11), self.realm);
        self.request(random, "MESSAGE", &center, &format!("<{center}>"), 1)
            .with("P-Preferred-Identity", &format!("<{}>", self.identity))
            .with("P-Access-Network-Info", &self.access)
            .with("Request-Disposition", "no-fork")
            .with("Accept-Contact", "*;+g.3gpp.smsip;require;explicit")
            .with("User-Agent", self.agent)
            .body("application/vnd.3gpp.sms", &random.word(40))
    }
}
