//! What the shipped dictionary saves on messages that it has not seen: tests/unseen/README.md.

use std::fs;
use std::path::Path;

use crate::testing::{Store, decode, encode};

/// The messages, with the line ends that they have on the wire.
fn unseen() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unseen");
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "txt") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let (_, messages) = text.split_once('\n').unwrap();
        let each = messages.split("----\n");
        all.extend(each.map(|message| message.replace('\n', "\r\n").into_bytes()));
    }
    all
}

/// The sizes of what a codec makes of each, in percent of the plain one; in order.
fn percents(codec: &str, messages: &[Vec<u8>]) -> Vec<f64> {
    let mut chain = Store::default().chain(&format!("measured={codec}"));
    let sizes = messages.iter().map(|message| {
        let out = encode(&mut chain, message).unwrap();
        assert!(decode(&mut chain, &out).unwrap() == *message);
        100.0 * out.len() as f64 / message.len() as f64
    });
    let mut sizes: Vec<f64> = sizes.collect();
    sizes.sort_by(f64::total_cmp);
    sizes
}

#[test]
fn in_the_median_a_message_that_it_has_not_seen_gets_a_third_of_its_size() {
    let messages = unseen();
    assert!(messages.len() > 30, "{}", messages.len());
    for codec in [
        "gzip",
        "deflate",
        "zstd",
        "zstd(sip, level=1)",
        "zstd(sip)",
        "zstd(sip, level=19)",
    ] {
        let all = percents(codec, &messages);
        let (least, median, most) = (all[0], all[all.len() / 2], all[all.len() - 1]);
        println!("{codec}: {least:.0} to {most:.0} %, {median:.1} % in the median");
        match codec {
            "gzip" => assert!(median > 55.0, "they are no harder than others: {median}"),
            "zstd(sip)" => assert!(median <= 35.0, "{median}: {all:.1?}"),
            _ => {}
        }
    }
}
