//! Browsers behind a gateway (RFC 7118, 8839, 8842): WebSockets, ICE, DTLS.

use super::auth;
use super::message::Message;
use super::random::Random;

pub(super) fn flow(random: &mut Random) -> Vec<String> {
    let page = Page::new(random);
    let mut all = Vec::new();
    if random.once_in(2) {
        all.push(page.register(random, None));
        let answer = auth::response(
            random,
            &page.user,
            &page.realm,
            &format!("sip:{}", page.realm),
        );
        all.push(page.register(random, Some(&answer)));
        all.push(page.accepted(random));
    }
    all.push(page.invite(random));
    all.push(page.reply(random, "100 Trying", false));
    all.push(page.reply(random, "180 Ringing", false));
    all.push(page.reply(random, "200 OK", true));
    all.push(page.ack(random, "ACK"));
    all.push(page.ack(random, "BYE"));
    all
}

struct Page {
    user: String,
    realm: String,
    host: String,
    contact: String,
    from: String,
    to: String,
    call_id: String,
    agent: &'static str,
    number: u64,
}

impl Page {
    fn new(random: &mut Random) -> Page {
        let (user, realm) = (random.user(), random.domain());
        let host = format!("{}.invalid", random.lower(12));
        let contact = match random.below(2) {
            0 => format!("<sip:{}@{host};transport=ws;ob>", random.lower(8)),
            _ => format!("<sip:{}@{host};transport=wss>", random.lower(8)),
        };
        Page {
            from: format!(
                "\"{}\" <sip:{user}@{realm}>;tag={}",
                random.display(),
                random.lower(10)
            ),
            to: format!("<sip:{}@{realm}>", random.user()),
            call_id: random.lower(20),
            agent: random.pick(&[
                "JsSIP 3.10.0",
                "JsSIP 3.3.6",
                "SIP.js/0.21.2",
                "SIP.js/0.15.11",
                "IM-client/OMA1.0 sipML5-v1.2016.03.04",
                "Browser Phone 0.3.26 (SIPJS - 0.20.0) Mozilla/5.0 (X11; Linux x86_64)",
            ]),
            number: random.between(1, 9999),
            user,
            realm,
            host,
            contact,
        }
    }

    fn request(&self, random: &mut Random, method: &str, uri: &str, to: &str) -> Message {
        Message::new(&format!("{method} {uri} SIP/2.0"))
            .with(
                "Via",
                &format!(
                    "SIP/2.0/{} {};branch=z9hG4bK{}",
                    random.pick(&["WSS", "WS"]),
                    self.host,
                    random.digits(7)
                ),
            )
            .with("Max-Forwards", random.pick(&["69", "70"]))
            .with("To", to)
            .with("From", &self.from)
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} {method}", self.number))
    }

    fn register(&self, random: &mut Random, answer: Option<&str>) -> String {
        let mut message = self.request(
            random,
            "REGISTER",
            &format!("sip:{}", self.realm),
            &format!("<sip:{}@{}>", self.user, self.realm),
        );
        if let Some(answer) = answer {
            message.add("Authorization", answer);
        }
        message
            .with(
                "Contact",
                &format!(
                    "{};reg-id=1;+sip.instance=\"<urn:uuid:{}>\";expires=600",
                    self.contact,
                    random.uuid()
                ),
            )
            .with("Expires", "600")
            .with(
                "Allow",
                "INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY",
            )
            .with(
                "Supported",
                random.pick(&["path,gruu,outbound", "outbound, path, gruu"]),
            )
            .with("User-Agent", self.agent)
            .bare()
    }

    fn accepted(&self, random: &mut Random) -> String {
        Message::new("SIP/2.0 200 OK")
            .with("Via", &format!("SIP/2.0/WSS {};rport={};received={};branch=z9hG4bK{}", self.host, random.port(), random.ip(), random.digits(7)))
            .with("To", &format!("<sip:{}@{}>;tag={}", self.user, self.realm, random.tag()))
            .with("From", &self.from)
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} REGISTER", self.number))
            .with("Contact", &format!("{};expires=600;pub-gruu=\"sip:{}@{};gr=urn:uuid:{}\";temp-gruu=\"sip:uloc-{}@{};gr\";+sip.instance=\"<urn:uuid:{}>\";reg-id=1", self.contact, self.user, self.realm, random.uuid(), random.hex(24), self.realm, random.uuid()))
            .with("Server", "kamailio (5.6.3 (x86_64/linux))")
            .bare()
    }

    fn invite(&self, random: &mut Random) -> String {
        let body = media(random);
        let uri = self.to.trim_matches(['<', '>']).to_owned();
        self.request(random, "INVITE", &uri, &self.to)
            .with("Contact", &self.contact)
            .with("Session-Expires", "90")
            .with(
                "Allow",
                "INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY",
            )
            .with(
                "Supported",
                random.pick(&[
                    "timer,ice,replaces,outbound",
                    "outbound",
                    "100rel, outbound, path, gruu",
                ]),
            )
            .with("User-Agent", self.agent)
            .body("application/sdp", &body)
    }

    fn reply(&self, random: &mut Random, status: &str, has_body: bool) -> String {
        let message = Message::new(&format!("SIP/2.0 {status}"))
            .with(
                "Via",
                &format!(
                    "SIP/2.0/WSS {};rport={};received={};branch=z9hG4bK{}",
                    self.host,
                    random.port(),
                    random.ip(),
                    random.digits(7)
                ),
            )
            .with(
                "Record-Route",
                &format!("<sip:{};transport=ws;lr;nat=yes>", random.socket()),
            )
            .with("From", &self.from)
            .with("To", &format!("{};tag={}", self.to, random.tag()))
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} INVITE", self.number));
        if has_body {
            let body = media(random);
            return message
                .with(
                    "Contact",
                    &format!(
                        "<sip:{}@{};alias={}~{}~6>",
                        random.user(),
                        random.socket(),
                        random.ip(),
                        random.port()
                    ),
                )
                .with(
                    "Allow",
                    "INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY",
                )
                .with("Supported", "timer,ice,replaces,outbound")
                .body("application/sdp", &body);
        }
        message.bare()
    }

    fn ack(&self, random: &mut Random, method: &str) -> String {
        let uri = format!(
            "sip:{}@{};alias={}~{}~6",
            random.user(),
            random.socket(),
            random.ip(),
            random.port()
        );
        let to = format!("{};tag={}", self.to, random.tag());
        self.request(random, method, &uri, &to)
            .with(
                "Route",
                &format!("<sip:{};transport=ws;lr;nat=yes>", random.socket()),
            )
            .with(
                "Allow",
                "INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY",
            )
            .with("Supported", "outbound")
            .with("User-Agent", self.agent)
            .bare()
    }
}

fn fingerprint(random: &mut Random) -> String {
    let bytes: Vec<String> = (0..32).map(|_| random.upper_hex(2)).collect();
    bytes.join(":")
}

fn media(random: &mut Random) -> String {
    let (ufrag, password) = (random.word(4), random.base64(24));
    let (local, public) = (random.private_ip(), random.ip());
    let (port, ssrc) = (random.between(10_000, 65_000), random.digits(10));
    let stream = random.uuid();
    let mut text = format!(
        "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS {stream}\r\n\
         m=audio {port} UDP/TLS/RTP/SAVPF 111 63 103 104 9 0 8 106 105 13 110 112 113 126\r\nc=IN IP4 {public}\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=candidate:{} 1 udp 2122260223 {local} {} typ host generation 0 network-id 1 network-cost 10\r\n\
         a=candidate:{} 1 udp 1686052607 {public} {} typ srflx raddr {local} rport {} generation 0 network-id 1 network-cost 10\r\n",
        random.digits(19),
        random.digits(10),
        random.between(10_000, 65_000),
        random.digits(10),
        random.between(10_000, 65_000),
        random.between(10_000, 65_000)
    );
    if random.once_in(2) {
        text.push_str(&format!(
            "a=candidate:{} 1 tcp 1518280447 {local} 9 typ host tcptype active generation 0 network-id 1 network-cost 10\r\n\
             a=candidate:{} 1 udp 41885439 {} {} typ relay raddr {public} rport {} generation 0 network-id 1 network-cost 10\r\n",
            random.digits(10), random.digits(10), random.ip(), random.between(10_000, 65_000), random.between(10_000, 65_000)
        ));
    }
    text.push_str(&format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {}\r\na=setup:{}\r\na=mid:0\r\n\
         a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
         a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
         a=sendrecv\r\na=msid:{stream} {}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
         a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:103 ISAC/16000\r\na=rtpmap:104 ISAC/32000\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:106 CN/32000\r\na=rtpmap:105 CN/16000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\n\
         a=rtpmap:112 telephone-event/32000\r\na=rtpmap:113 telephone-event/16000\r\na=rtpmap:126 telephone-event/8000\r\n\
         a=ssrc:{ssrc} cname:{}\r\na=ssrc:{ssrc} msid:{stream} {}\r\n",
        fingerprint(random), random.pick(&["actpass", "active", "passive"]), random.uuid(), random.base64(16), random.uuid()
    ));
    text
}
