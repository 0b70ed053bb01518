use std::path::PathBuf;

use corex_codec::Dictionary;

use super::samples::{self, Samples};
use super::*;

/// A folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("corex-dictionary-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn message(number: usize) -> String {
    format!(
        "REGISTER sip:example.net SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.{}.{}:5060;branch=z9hG4bK{number:x}a7\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{number}@example.net>;tag={}\r\nTo: <sip:{number}@example.net>\r\n\
         Call-ID: {}@10.1.0.1\r\nCSeq: {number} REGISTER\r\nUser-Agent: Thing/1.{}\r\nContent-Length: 3\r\n\r\nabc",
        number % 256,
        number / 256,
        number * 7919,
        number * 104_729,
        number % 7,
    )
}

fn read(path: &std::path::Path) -> anyhow::Result<Samples> {
    samples::read(&[path.to_owned()])
}

#[test]
fn a_file_holds_messages_one_after_the_other_with_either_line_end() {
    let folder = folder("text");
    let (one, two) = (message(1), message(2));
    for (name, text) in [
        ("one", one.clone()),
        ("two", format!("{one}{two}")),
        ("apart", format!("\r\n{one}\r\n\r\n{two}\r\n")),
        ("feeds", format!("{one}{two}").replace('\r', "")),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        let found = read(&path).unwrap().messages;
        let expected = if name == "one" {
            vec![&one]
        } else {
            vec![&one, &two]
        };
        let expected: Vec<_> = expected
            .into_iter()
            .map(|text| text.as_bytes().to_vec())
            .collect();
        assert_eq!(found, expected, "{name}");
    }
    let path = folder.join("none");
    fs::write(&path, "no message").unwrap();
    let error = format!("{:#}", read(&path).err().unwrap());
    assert!(error.contains("there is no SIP message in"), "{error}");
    fs::remove_dir_all(&folder).unwrap();
}

/// A UDP datagram from its IP header on.
fn datagram(payload: &[u8], port: u16) -> Vec<u8> {
    let len = payload.len() as u16;
    let mut ip = vec![
        0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    ip[2..4].copy_from_slice(&(28 + len).to_be_bytes());
    for field in [5060, port, 8 + len, 0] {
        ip.extend_from_slice(&field.to_be_bytes());
    }
    ip.extend_from_slice(payload);
    ip
}

/// A pcap file with these packets.
fn pcap(link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 4 << 16 | 2, 0, 0, 65_535, link] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for packet in packets {
        let len = packet.len() as u32;
        for word in [0, 0, len, len] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(packet);
    }
    file
}

/// A pcapng file with these packets.
fn pcapng(link: u16, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let padded = body.len().next_multiple_of(4);
        let len = (12 + padded) as u32;
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&len.to_le_bytes());
        file.extend_from_slice(body);
        file.resize(file.len() + padded - body.len(), 0);
        file.extend_from_slice(&len.to_le_bytes());
    };
    let section = [
        0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
    ];
    block(0x0a0d_0d0a, &section);
    let interface = [&link.to_le_bytes()[..], &[0, 0, 0, 0, 4, 0]].concat();
    block(1, &interface);
    for packet in packets {
        let len = (packet.len() as u32).to_le_bytes();
        let head = [[0; 4], [0; 4], [0; 4], len, len].concat();
        block(6, &[head, packet.clone()].concat());
    }
    file
}

#[test]
fn a_capture_holds_messages_in_datagrams_of_common_links() {
    let folder = folder("capture");
    let text = message(3);
    let good = datagram(text.as_bytes(), 5070);
    let other = datagram(b"\x80\x00 no SIP", 9);
    let on = |head: &[u8], ip: &[u8]| [head, ip].concat();
    let ethernet = [&[2; 12][..], &[8, 0]].concat();
    for (name, link, head) in [
        ("ethernet", 1, &ethernet[..]),
        ("null", 0, &[2, 0, 0, 0]),
        ("raw", 101, &[]),
        ("sll", 113, &[0; 16]),
        ("sll2", 276, &[0; 20]),
    ] {
        let packets = [on(head, &good), on(head, &other), on(head, &good)];
        for (kind, bytes) in [
            ("pcap", pcap(link, &packets)),
            ("pcapng", pcapng(link as u16, &packets)),
        ] {
            let path = folder.join(format!("{name}.{kind}"));
            fs::write(&path, &bytes).unwrap();
            let found = read(&path).unwrap_or_else(|error| panic!("{name} {kind}: {error:#}"));
            assert_eq!(
                found.messages,
                [text.as_bytes(), text.as_bytes()],
                "{name} {kind}"
            );
            assert_eq!(found.skipped, 1, "{name} {kind}");
            // One that was being written.
            fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
            assert_eq!(read(&path).unwrap().messages.len(), 1, "{name} {kind}");
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_dictionary_of_ones_own_is_made_and_shown() {
    let folder = folder("train");
    let path = folder.join("messages");
    let all: String = (0..2000).map(message).collect();
    fs::write(&path, all).unwrap();
    let mut training = Training {
        files: vec![path.clone()],
        output: folder.join("own.dict"),
        id: 50_000,
        size: 4096,
    };
    let said = make(&training).unwrap();
    assert!(
        said.contains("id 50000, ") && said.contains("from 2000 messages"),
        "{said}"
    );
    let dictionary = Dictionary::new(fs::read(&training.output).unwrap()).unwrap();
    assert_eq!(dictionary.id(), 50_000);
    let shown = show(Some(&training.output), &[path]).unwrap();
    assert!(
        shown.contains("id 50000") && shown.contains("this one "),
        "{shown}"
    );
    let again = format!("{:#}", make(&training).unwrap_err());
    assert!(again.contains("exists"), "{again}");
    training.output = folder.join("other.dict");
    for (id, why) in [(7, "choose from 32768"), (49_153, "comes with corex")] {
        training.id = id;
        let error = format!("{:#}", make(&training).unwrap_err());
        assert!(error.contains(why), "{error}");
    }
    assert!(!training.output.exists());
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn those_that_come_with_corex_are_shown() {
    let shown = show(None, &[]).unwrap();
    assert!(
        shown.contains("sip, version 1: id 49153, 65536 bytes"),
        "{shown}"
    );
}

#[test]
fn a_block_that_says_it_is_shorter_than_its_own_head_is_damage_in_either_byte_order() {
    type Order = fn(u32) -> [u8; 4];
    let orders: [(Order, u32); 2] = [
        (u32::to_le_bytes, 0x0000_0001),
        (u32::to_be_bytes, 0x0001_0000),
    ];
    for (order, version) in orders {
        // Type and length, the byte order mark, the version, no length of the section, the length.
        let (mark, none) = (0x1a2b_3c4d, u32::MAX);
        let section = [0x0a0d_0d0a, 28, mark, version, none, none, 28];
        for length in [0, 9, 11] {
            // A block with information of a process.
            let block = [0x8000_0001, length, 0, 0];
            let words = section.iter().chain(&block);
            let file: Vec<u8> = words.flat_map(|word| order(*word)).collect();
            let file = std::io::Cursor::new(file);
            let error = capture::read(file, &mut Samples::default()).unwrap_err();
            assert!(error.to_string().contains("damaged"), "{error:#}");
        }
    }
}
