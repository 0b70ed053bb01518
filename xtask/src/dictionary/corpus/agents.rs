//! User agents, and what each kind writes into every message.

use super::random::Random;

/// What a kind of device always writes.
#[derive(Clone, Copy)]
pub(super) struct Agent {
    pub name: &'static str,
    pub allow: &'static str,
    pub supported: &'static str,
    /// Parameters of its Via besides the branch.
    pub via: &'static str,
    /// Parameters of its Contact in a registration.
    pub contact: &'static str,
    /// The codecs that it offers: see `sdp.rs`.
    pub codecs: &'static [u8],
    /// Whether it says User-Agent in replies, too; else Server.
    pub is_client: bool,
}

const FULL_ALLOW: &str = "INVITE, INFO, PRACK, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REGISTER, SUBSCRIBE, REFER, PUBLISH, \
     UPDATE, MESSAGE";
const POLYCOM_ALLOW: &str =
    "INVITE,ACK,BYE,CANCEL,OPTIONS,INFO,MESSAGE,SUBSCRIBE,NOTIFY,PRACK,UPDATE,REFER";
const CISCO_ALLOW: &str = "INVITE, OPTIONS, INFO, BYE, CANCEL, ACK, PRACK, UPDATE, REFER, SUBSCRIBE, NOTIFY, INFO, REGISTER";
const PJSIP_ALLOW: &str =
    "PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS";
const ASTERISK_ALLOW: &str =
    "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE";
const SOFIA_ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY, PUBLISH, \
     SUBSCRIBE";

const fn agent(
    name: &'static str,
    allow: &'static str,
    supported: &'static str,
    via: &'static str,
    contact: &'static str,
    codecs: &'static [u8],
) -> Agent {
    Agent {
        name,
        allow,
        supported,
        via,
        contact,
        codecs,
        is_client: true,
    }
}

const fn server(
    name: &'static str,
    allow: &'static str,
    supported: &'static str,
    codecs: &'static [u8],
) -> Agent {
    Agent {
        name,
        allow,
        supported,
        via: ";rport",
        contact: "",
        codecs,
        is_client: false,
    }
}

#[rustfmt::skip]
const AGENTS: &[Agent] = &[
    agent("Yealink SIP-T46S 66.86.0.15", FULL_ALLOW, "replaces, 100rel", "", ">;reg-id=1;+sip.instance=\"<urn:uuid:", &[9, 0, 8, 18, 101]),
    agent("Yealink SIP-T54W 96.86.0.100", FULL_ALLOW, "replaces", ";rport", "", &[0, 8, 18, 9, 101]),
    agent("Yealink SIP-W60B 77.85.0.25", FULL_ALLOW, "replaces, 100rel", "", "", &[0, 8, 18, 101]),
    agent("PolycomVVX-VVX_411-UA/5.9.5.0614", POLYCOM_ALLOW, "100rel,replaces", "", ";methods=\"INVITE,ACK,BYE,CANCEL,OPTIONS,INFO,MESSAGE,SUBSCRIBE,NOTIFY,PRACK,UPDATE,REFER\"", &[9, 0, 8, 18, 127]),
    agent("PolycomSoundPointIP-SPIP_550-UA/4.0.14.1388", POLYCOM_ALLOW, "100rel,replaces", "", ";methods=\"INVITE,ACK,BYE,CANCEL,OPTIONS,INFO,MESSAGE,SUBSCRIBE,NOTIFY,PRACK,UPDATE,REFER\"", &[0, 8, 18, 127]),
    agent("Cisco-CP8841/12.8.1", CISCO_ALLOW, "replaces,join,sdp-anat,norefersub,resource-priority,extended-refer,X-cisco-callinfo,X-cisco-serviceuri,X-cisco-escapecodes,X-cisco-service-control,X-cisco-srtp-fallback,X-cisco-monrec,X-cisco-config,X-cisco-sis-9.0.0,X-cisco-xsi-8.5.1", "", ";transport=udp>;+u.sip!devicename.ccm.cisco.com=\"SEP", &[9, 0, 8, 18, 101]),
    agent("Cisco/SPA504G-7.6.2f", "ACK, BYE, CANCEL, INFO, INVITE, NOTIFY, OPTIONS, REFER, UPDATE", "replaces", "", "", &[0, 2, 8, 18, 101]),
    agent("snomD785/10.1.54.13", "INVITE, ACK, CANCEL, BYE, REFER, OPTIONS, NOTIFY, SUBSCRIBE, PRACK, MESSAGE, INFO, UPDATE", "timer, replaces, from-change", ";rport", ";reg-id=1;q=1.0;+sip.instance=\"<urn:uuid:", &[9, 0, 8, 3, 18, 101]),
    agent("Grandstream GXP2170 1.0.11.35", "INVITE, ACK, OPTIONS, CANCEL, BYE, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE, MESSAGE", "replaces, path, timer", ";rport", ";reg-id=1;+sip.instance=\"<urn:uuid:", &[0, 8, 18, 9, 101]),
    agent("Grandstream HT802 1.0.29.8", "INVITE, ACK, OPTIONS, CANCEL, BYE, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE", "replaces, timer, path", ";rport", "", &[0, 8, 4, 18, 101]),
    agent("Fanvil X4U 2.4.5", "INVITE, ACK, OPTIONS, BYE, CANCEL, REFER, NOTIFY, INFO, PRACK, UPDATE, MESSAGE, SUBSCRIBE, PUBLISH", "replaces, outbound, gruu", ";rport", "", &[8, 0, 18, 9, 101]),
    agent("Gigaset N510 IP PRO/42.245.00.000.000", "INVITE, ACK, OPTIONS, CANCEL, BYE, REFER, NOTIFY, INFO, PRACK, UPDATE", "replaces", ";rport", "", &[9, 8, 0, 2, 101]),
    agent("AVM FRITZ!Box 7590 154.07.29 TAL", "INVITE, ACK, OPTIONS, CANCEL, BYE, UPDATE, PRACK, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, PUBLISH", "100rel, replaces, timer", ";rport", "", &[8, 0, 2, 102, 100, 101]),
    agent("Zoiper rv2.10.18.6", "INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE", "replaces, norefersub, extended-refer, timer, outbound, path, X-cisco-serviceuri", ";rport", ";rinstance=", &[0, 8, 3, 101]),
    agent("Linphone/4.4.8 (belle-sip/4.5.3)", "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, PRACK, UPDATE", "replaces, outbound, gruu, path", ";rport", ">;+sip.instance=\"<urn:uuid:", &[96, 97, 0, 8, 101]),
    agent("Bria 6 release 6.5.0 stamp 111502", "INVITE, ACK, CANCEL, BYE, REFER, INFO, NOTIFY, OPTIONS, UPDATE, PRACK, MESSAGE, SUBSCRIBE", "replaces, eventlist, outbound", ";rport", ";rinstance=", &[9, 0, 8, 96, 101]),
    agent("X-Lite release 5.0.0 stamp 67284", "SUBSCRIBE, NOTIFY, INVITE, ACK, CANCEL, BYE, REFER, INFO, OPTIONS, MESSAGE", "replaces", ";rport", ";rinstance=", &[0, 8, 101]),
    agent("MicroSIP/3.21.3", PJSIP_ALLOW, "replaces, 100rel, timer, norefersub", ";rport", ";ob", &[8, 0, 101]),
    agent("PJSUA v2.12 Linux-5.10.0/x86_64/glibc-2.31", PJSIP_ALLOW, "replaces, 100rel, timer, norefersub, trickle-ice", ";rport", ";ob", &[96, 0, 8, 3, 9, 101]),
    agent("baresip v3.1.0 (x86_64/Linux)", "INVITE,ACK,BYE,CANCEL,OPTIONS,NOTIFY,SUBSCRIBE,INFO,MESSAGE,UPDATE,REFER", "gruu", ";rport", ";expires=3600;+sip.instance=\"<urn:uuid:", &[96, 0, 8, 101]),
    agent("Obihai/OBi202-3.2.2.8680EX", "ACK,BYE,CANCEL,INFO,INVITE,NOTIFY,OPTIONS,PRACK,REFER,UPDATE", "replaces, eventlist", "", "", &[0, 8, 18, 101]),
    agent("Mitel-6920-SIP-Phone 6.3.2.67", "INVITE, NOTIFY, PRACK, CANCEL, ACK, BYE, INFO, REFER, OPTIONS, SUBSCRIBE", "path, gruu", "", ";reg-id=1;+sip.instance=\"<urn:uuid:", &[9, 0, 8, 18, 101]),
    agent("Avaya one-X Deskphone", "INVITE, ACK, BYE, CANCEL, SUBSCRIBE, NOTIFY, MESSAGE, REFER, INFO, PRACK, PUBLISH, UPDATE", "eventlist, 100rel, replaces, feature-ref, tdialog", "", ";+avaya-cm-line=1", &[0, 8, 18, 120]),
    server("Asterisk PBX 18.9.0", "OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, MESSAGE, REFER", "100rel, timer, replaces, norefersub, histinfo", &[0, 8, 9, 101]),
    server("Asterisk PBX 16.28.0~dfsg-0+deb11u1", ASTERISK_ALLOW, "replaces, timer", &[0, 8, 3, 101]),
    server("FPBX-16.0.40.4(18.19.0)", ASTERISK_ALLOW, "replaces, timer", &[0, 8, 101]),
    server("FreeSWITCH-mod_sofia/1.10.9-release~64bit", SOFIA_ALLOW, "timer, path, replaces", &[9, 0, 8, 101]),
    server("Oracle SBC", "ACK, BYE, CANCEL, INFO, INVITE, OPTIONS, PRACK, REFER, NOTIFY, UPDATE", "100rel, timer", &[8, 0, 18, 101]),
    server("Sonus UAC", "INVITE,ACK,CANCEL,BYE,REGISTER,REFER,INFO,SUBSCRIBE,NOTIFY,PRACK,UPDATE,OPTIONS,MESSAGE,PUBLISH", "timer,100rel,precondition,replaces", &[8, 0, 18, 101]),
    server("Mediant 1000B/v.7.20A.258.010", "REGISTER,OPTIONS,INVITE,ACK,CANCEL,BYE,NOTIFY,PRACK,REFER,INFO,SUBSCRIBE,UPDATE", "em,100rel,timer,replaces,path,resource-priority,sdp-anat", &[8, 0, 18, 96]),
    server("Cisco-SIPGateway/IOS-15.6.3.M", "INVITE, OPTIONS, BYE, CANCEL, ACK, PRACK, UPDATE, REFER, SUBSCRIBE, NOTIFY, INFO, REGISTER", "100rel,timer,resource-priority,replaces,sdp-anat", &[0, 8, 18, 101]),
    server("Cisco-CUCM12.5", "INVITE, OPTIONS, INFO, BYE, CANCEL, ACK, PRACK, UPDATE, REFER, SUBSCRIBE, NOTIFY", "timer,resource-priority,replaces", &[0, 8, 18, 101]),
    server("3CXPhoneSystem 18.0.5.418 (418)", "INVITE, ACK, CANCEL, OPTIONS, BYE, REGISTER, SUBSCRIBE, NOTIFY, REFER, INFO, MESSAGE, UPDATE", "replaces, timer", &[8, 0, 18, 101]),
    server("Twilio Gateway", "INVITE, ACK, CANCEL, OPTIONS, BYE, NOTIFY, REFER, INFO, UPDATE", "", &[0, 8, 101]),
];

/// One that says next to nothing of itself, as gateways and programs do.
const TERSE: Agent = agent("", "", "", "", "", &[0]);

/// Any of them.
pub(super) fn any(random: &mut Random) -> Agent {
    if random.once_in(5) {
        return Agent {
            codecs: random.pick(&[&[0], &[0], &[8], &[0, 8], &[0, 101], &[8, 0, 18, 101]]),
            ..TERSE
        };
    }
    random.pick(AGENTS)
}

/// One of the phones.
pub(super) fn phone(random: &mut Random) -> Agent {
    loop {
        let agent = any(random);
        if agent.is_client {
            return agent;
        }
    }
}

const PROXIES: &[&str] = &[
    "kamailio (5.6.3 (x86_64/linux))",
    "kamailio (5.7.4 (x86_64/linux))",
    "OpenSIPS (3.2.9 (x86_64/linux))",
    "OpenSER (1.3.4-notls (x86_64/linux))",
    "Asterisk PBX 18.9.0",
    "FreeSWITCH-mod_sofia/1.10.9-release~64bit",
    "Cirpack/v4.76 (gw_sip)",
    "BroadWorks",
];

/// What a server says of itself.
pub(super) fn proxy(random: &mut Random) -> &'static str {
    random.pick(PROXIES)
}
