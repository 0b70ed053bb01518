//! What a carrier's trunk adds (RFC 3323, 3325, 5806, 7044, 8224).

use super::random::Random;

/// Headers of a call from there.
pub(super) fn headers(random: &mut Random, caller: &str, realm: &str) -> String {
    let mut text = String::new();
    let mut add = |line: String| {
        text.push_str(&line);
        text.push_str("\r\n");
    };
    if !random.once_in(3) {
        let name = if random.once_in(2) {
            format!("\"{}\" ", random.display())
        } else {
            String::new()
        };
        add(format!("P-Asserted-Identity: {name}<sip:{caller}@{realm}>"));
    }
    if random.once_in(4) {
        add(format!(
            "Remote-Party-ID: \"{}\" <sip:{caller}@{realm}>;party=calling;privacy=off;screen={}",
            random.display(),
            random.pick(&["yes", "no"])
        ));
    }
    if random.once_in(4) {
        add(format!(
            "Privacy: {}",
            random.pick(&["none", "id", "user;id", "id;critical"])
        ));
    }
    if random.once_in(4) {
        add(format!(
            "Diversion: <sip:{}@{realm}>;reason={};privacy=off;screen=no;counter=1",
            random.number(),
            random.pick(&["unconditional", "no-answer", "user-busy", "deflection"])
        ));
    }
    if random.once_in(6) {
        add(format!(
            "History-Info: <sip:{}@{realm}>;index=1,<sip:{}@{realm};cause=302>;index=1.1",
            random.number(),
            random.number()
        ));
    }
    if random.once_in(6) {
        add(format!("P-Preferred-Identity: <sip:{caller}@{realm}>"));
    }
    if random.once_in(6) {
        add("X-FS-Support: update_display,send_info".to_owned());
    }
    if random.once_in(8) {
        add(format!(
            "Cisco-Guid: {}-{}-{}-{}",
            random.digits(10),
            random.digits(10),
            random.digits(10),
            random.digits(10)
        ));
    }
    if random.once_in(8) {
        add(format!(
            "Identity: {}.{}.{};info=<https://{}/{}.pem>;alg=ES256;ppt=shaken",
            random.base64(100),
            random.base64(160),
            random.base64(86),
            random.domain(),
            random.lower(12)
        ));
    }
    if random.once_in(8) {
        add("P-Early-Media: supported".to_owned());
    }
    text
}
