//! Session descriptions (RFC 8866) as common devices write them.

use super::agents::Agent;
use super::random::Random;

/// What is said of a payload type; empty: nothing needs to be.
fn attributes(kind: u8) -> &'static str {
    match kind {
        0 => "a=rtpmap:0 PCMU/8000\r\n",
        2 => "a=rtpmap:2 G726-32/8000\r\n",
        3 => "a=rtpmap:3 GSM/8000\r\n",
        4 => "a=rtpmap:4 G723/8000\r\n",
        8 => "a=rtpmap:8 PCMA/8000\r\n",
        9 => "a=rtpmap:9 G722/8000\r\n",
        18 => "a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n",
        96 => "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n",
        97 => "a=rtpmap:97 speex/16000\r\na=fmtp:97 vbr=on\r\n",
        100 => "a=rtpmap:100 G726-40/8000\r\n",
        101 => "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n",
        102 => "a=rtpmap:102 G726-32/8000\r\n",
        120 => "a=rtpmap:120 telephone-event/8000\r\na=fmtp:120 0-15\r\n",
        127 => "a=rtpmap:127 telephone-event/8000\r\n",
        _ => "",
    }
}

fn session(random: &mut Random) -> (&'static str, &'static str) {
    random.pick(&[
        ("-", "-"),
        ("-", "SDP data"),
        ("-", "pjmedia"),
        ("root", "Asterisk PBX 18.9.0"),
        ("root", "session"),
        ("FreeSWITCH", "FreeSWITCH"),
        ("-", "SIP Call"),
        ("Z", "Z"),
        ("user", "call"),
        ("CiscoSystemsSIP-GW-UserAgent", "SIP Call"),
        ("Cisco-SIPUA", "SIP Call"),
        ("MxSIP", "SIP Call"),
        ("-", "Polycom IP Phone"),
        ("sip", "-"),
        ("Sonus_UAC", "SIP Media Capabilities"),
        ("-", "Asterisk"),
        ("-", "call"),
    ])
}

/// A description from this agent.
pub(super) fn audio(random: &mut Random, agent: Agent, ip: &str, way: &str) -> String {
    let (user, name) = session(random);
    let id = random.digits(10);
    let version = match random.below(3) {
        0 => id.clone(),
        1 => "1".to_owned(),
        _ => random.digits(10),
    };
    let mut text =
        format!("v=0\r\no={user} {id} {version} IN IP4 {ip}\r\ns={name}\r\nc=IN IP4 {ip}\r\n");
    if random.once_in(8) {
        text.push_str(random.pick(&["b=AS:84\r\n", "b=CT:1000\r\n", "b=AS:64\r\n"]));
    }
    text.push_str("t=0 0\r\n");
    let types: Vec<String> = agent.codecs.iter().map(u8::to_string).collect();
    let port = random.between(5000, 32_500) * 2;
    text.push_str(&format!("m=audio {port} RTP/AVP {}\r\n", types.join(" ")));
    for kind in agent.codecs {
        text.push_str(attributes(*kind));
    }
    let tail = random.pick(&[
        "a=ptime:20\r\n",
        "a=ptime:20\r\na=maxptime:150\r\n",
        "a=silenceSupp:off - - - -\r\na=ptime:20\r\n",
        "a=maxptime:40\r\n",
        "",
    ]);
    text.push_str(tail);
    if random.once_in(5) {
        text.push_str(&format!("a=rtcp:{} IN IP4 {ip}\r\n", port + 1));
    }
    if random.once_in(8) {
        text.push_str(&format!(
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}\r\n",
            random.base64(40)
        ));
    }
    text.push_str(&format!("a={way}\r\n"));
    if random.once_in(6) {
        text.push_str(&format!(
            "a=ssrc:{} cname:{}\r\n",
            random.digits(10),
            random.hex(16)
        ));
    }
    if random.once_in(8) {
        text.push_str(&video(random));
    }
    text
}

fn video(random: &mut Random) -> String {
    let port = random.between(5000, 32_500) * 2;
    let codec = random.pick(&[
        "RTP/AVP 99\r\nb=AS:384\r\na=rtpmap:99 H264/90000\r\na=fmtp:99 profile-level-id=42801F; \
         packetization-mode=0\r\na=rtcp-fb:* nack pli\r\na=rtcp-fb:* ccm fir\r\n",
        "RTP/AVP 97 34\r\na=rtpmap:97 H264/90000\r\na=fmtp:97 profile-level-id=42e01f;\
         packetization-mode=1\r\na=rtpmap:34 H263/90000\r\na=fmtp:34 QCIF=2\r\n",
        "RTP/AVP 100\r\na=rtpmap:100 VP8/90000\r\n",
        "RTP/AVP 31\r\na=rtpmap:31 H261/90000\r\n",
    ]);
    format!("m=video {port} {codec}a=sendrecv\r\n")
}

/// A fax.
pub(super) fn fax(random: &mut Random, ip: &str) -> String {
    let (user, name) = session(random);
    format!(
        "v=0\r\no={user} {} {} IN IP4 {ip}\r\ns={name}\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=image {} udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\n\
         a=T38FaxRateManagement:transferredTCF\r\na=T38FaxMaxDatagram:{}\r\n\
         a=T38FaxUdpEC:t38UDPRedundancy\r\n",
        random.digits(9),
        random.digits(9),
        random.between(5000, 32_500) * 2,
        random.pick(&["72", "200", "238", "400"]),
    )
}
