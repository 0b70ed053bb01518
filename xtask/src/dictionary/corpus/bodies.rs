//! Bodies of events.

use super::random::Random;

pub(super) fn of(random: &mut Random, kind: &str, user: &str, realm: &str) -> String {
    match kind {
        "application/pidf+xml" => presence(random, user, realm),
        "application/simple-message-summary" => summary(random, user, realm),
        "application/dialog-info+xml" => dialog(random, user, realm),
        "application/reginfo+xml" => registration(random, user, realm),
        _ => conference(random, user, realm),
    }
}

fn presence(random: &mut Random, user: &str, realm: &str) -> String {
    let basic = random.pick(&["open", "closed", "open"]);
    let id = random.hex(8);
    match random.below(2) {
        0 => format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
             entity=\"sip:{user}@{realm}\">\r\n  <tuple id=\"{id}\">\r\n    <status>\r\n      <basic>{basic}</basic>\r\n    </status>\r\n    \
             <contact priority=\"0.8\">sip:{user}@{realm}</contact>\r\n    <timestamp>20{}-0{}-1{}T1{}:2{}:3{}Z</timestamp>\r\n  </tuple>\r\n</presence>\r\n",
            random.between(19, 30),
            random.between(1, 10),
            random.below(10),
            random.below(10),
            random.below(10),
            random.below(10)
        ),
        _ => format!(
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \n\
             xmlns:pp=\"urn:ietf:params:xml:ns:pidf:person\"\nxmlns:es=\"urn:ietf:params:xml:ns:pidf:rpid:status:rpid-status\"\n\
             xmlns:ep=\"urn:ietf:params:xml:ns:pidf:rpid:rpid-person\"\nentity=\"sip:{user}@{realm}\">\n\
             <pp:person><status>\n<ep:activities><ep:{}/></ep:activities>\n</status></pp:person>\n<note>{}</note>\n\
             <tuple id=\"{id}\">\n<contact priority=\"1\">sip:{user}@{realm}</contact>\n<status><basic>{basic}</basic></status>\n</tuple>\n</presence>\n",
            random.pick(&["away", "busy", "on-the-phone"]),
            random.pick(&[
                "Ready",
                "On the phone",
                "Unavailable",
                "Not online",
                "Ringing"
            ])
        ),
    }
}

fn summary(random: &mut Random, user: &str, realm: &str) -> String {
    let new = random.below(10);
    let waiting = if new > 0 { "yes" } else { "no" };
    format!(
        "Messages-Waiting: {waiting}\r\nMessage-Account: sip:{user}@{realm}\r\nVoice-Message: {new}/{} (0/0)\r\n",
        random.below(20)
    )
}

fn dialog(random: &mut Random, user: &str, realm: &str) -> String {
    let version = random.below(200);
    let state = random.pick(&["confirmed", "early", "terminated", "trying", "proceeding"]);
    let head = format!(
        "<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" state=\"{}\" entity=\"sip:{user}@{realm}\">\n",
        random.pick(&["full", "full", "partial"])
    );
    match random.below(3) {
        0 => format!("{head}</dialog-info>\n"),
        1 => format!(
            "{head}<dialog id=\"{user}\">\n<state>{state}</state>\n</dialog>\n</dialog-info>\n"
        ),
        _ => format!(
            "{head}<dialog id=\"{}\" call-id=\"{}\" local-tag=\"{}\" remote-tag=\"{}\" direction=\"{}\">\n\
             <state>{state}</state>\n<local>\n<identity>sip:{user}@{realm}</identity>\n<target uri=\"sip:{user}@{realm}\">\n\
             <param pname=\"+sip.rendering\" pvalue=\"yes\"/>\n</target>\n</local>\n<remote>\n\
             <identity display=\"{}\">sip:{}@{realm}</identity>\n<target uri=\"sip:{}@{realm}\"/>\n</remote>\n</dialog>\n</dialog-info>\n",
            random.hex(8),
            random.call_id(),
            random.tag(),
            random.tag(),
            random.pick(&["initiator", "recipient"]),
            random.display(),
            random.user(),
            random.user()
        ),
    }
}

fn registration(random: &mut Random, user: &str, realm: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\r\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"{}\" state=\"full\">\r\n\
         <registration aor=\"sip:{user}@{realm}\" id=\"{}\" state=\"{}\">\r\n<contact id=\"{}\" state=\"active\" event=\"{}\" expires=\"{}\">\r\n\
         <uri>sip:{user}@{}</uri>\r\n</contact>\r\n</registration>\r\n</reginfo>\r\n",
        random.below(30),
        random.hex(8),
        random.pick(&["active", "terminated", "init"]),
        random.hex(8),
        random.pick(&[
            "registered",
            "created",
            "refreshed",
            "expired",
            "unregistered"
        ]),
        random.between(30, 3600),
        random.socket()
    )
}

fn conference(random: &mut Random, user: &str, realm: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" entity=\"sip:{user}@{realm}\" state=\"full\" version=\"{}\">\r\n\
         <conference-state>\r\n<user-count>{}</user-count>\r\n<active>true</active>\r\n</conference-state>\r\n<users>\r\n<user entity=\"sip:{}@{realm}\" state=\"full\">\r\n\
         <display-text>{}</display-text>\r\n<endpoint entity=\"sip:{}@{}\">\r\n<status>connected</status>\r\n<joining-method>dialed-in</joining-method>\r\n</endpoint>\r\n</user>\r\n</users>\r\n</conference-info>\r\n",
        random.below(50),
        random.between(2, 9),
        random.user(),
        random.display(),
        random.user(),
        random.socket()
    )
}
