//! What is gzip's own; what holds for every codec is tested beside the table.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

const MAX: usize = 65_535;

const MESSAGE: &[u8] = b"OPTIONS sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP a.example.com;branch=z9hG4bK1\r\n\
    Via: SIP/2.0/UDP b.example.com;branch=z9hG4bK2\r\n\
    From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\n\
    Call-ID: 1@example.com\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

fn gzip() -> Gzip {
    Gzip::new(DEFAULT_LEVEL).unwrap()
}

fn encode(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    gzip().encode(input, &mut out, usize::MAX).unwrap();
    out
}

fn decode(input: &[u8], max: usize) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    gzip().decode(input, &mut out, max)?;
    Ok(out)
}

/// Runs the `gzip` command; `None` where there is none.
fn gzip_command(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new("gzip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    Some(output.stdout)
}

#[test]
fn a_sip_message_gets_smaller_and_comes_back() {
    let packed = encode(MESSAGE);
    assert!(packed.len() < MESSAGE.len() * 3 / 4, "{}", packed.len());
    assert_eq!(decode(&packed, MAX).unwrap(), MESSAGE);
}

#[test]
fn the_gzip_command_reads_what_we_write_and_we_read_what_it_writes() {
    let large: Vec<u8> = MESSAGE.iter().copied().cycle().take(60_000).collect();
    for input in [&b""[..], b"x", MESSAGE, &large] {
        let Some(unpacked) = gzip_command(&["-dc"], &encode(input)) else {
            eprintln!("no gzip command here: not compared with it");
            return;
        };
        assert_eq!(unpacked, input);
        for level in ["-1", "-6", "-9"] {
            let packed = gzip_command(&["-c", level], input).unwrap();
            assert_eq!(decode(&packed, MAX).unwrap(), input);
        }
    }
}

#[test]
fn all_levels_work_and_others_are_an_error() {
    for level in 0..=12 {
        let mut gzip = Gzip::new(level).unwrap();
        let mut out = Vec::new();
        gzip.encode(MESSAGE, &mut out, MAX).unwrap();
        assert_eq!(decode(&out, MAX).unwrap(), MESSAGE);
    }
    for level in [-1, 13, i64::MAX] {
        let error = Gzip::new(level).err().unwrap();
        assert_eq!(
            error,
            Fault::OutOfRange {
                what: "level",
                value: level,
                min: 0,
                max: 12
            }
        );
    }
}

#[test]
fn a_decompression_bomb_stops_at_the_bound() {
    let bomb = encode(&vec![0; 64 << 20]);
    assert!(bomb.len() < 70_000);
    let mut gzip = gzip();
    let mut out = Vec::new();
    let result = gzip.decode(&bomb, &mut out, MAX);
    assert_eq!(result, Err(Fault::TooLong(MAX)));
    assert_eq!(out.capacity(), 0);
    assert!(gzip.scratch.capacity() <= MAX);
}

#[test]
fn a_length_in_the_trailer_that_lies_does_not_help_a_bomb() {
    let mut bomb = encode(&vec![0; 100_000]);
    let at = bomb.len() - 4;
    bomb[at..].copy_from_slice(&1u32.to_le_bytes());
    assert_eq!(decode(&bomb, MAX), Err(Fault::TooLong(MAX)));
    let mut small = encode(MESSAGE);
    let at = small.len() - 4;
    small[at..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode(&small, MAX), Err(Fault::Malformed));
}

#[test]
fn every_truncation_is_an_error() {
    let packed = encode(MESSAGE);
    for len in 0..packed.len() {
        assert_eq!(
            decode(&packed[..len], MAX),
            Err(Fault::Malformed),
            "{len} bytes"
        );
    }
}

#[test]
fn what_follows_the_first_member_is_ignored() {
    let mut packed = encode(MESSAGE);
    packed.extend_from_slice(b"\0\0trailing");
    assert_eq!(decode(&packed, MAX).unwrap(), MESSAGE);
    let two = [encode(b"one"), encode(b"two")].concat();
    assert_eq!(decode(&two, MAX).unwrap(), b"one");
}

#[test]
fn what_is_not_gzip_is_an_error() {
    for input in [&b""[..], MESSAGE, b"\x1f\x8b", b"\x78\x9c\x03\0\0\0\0\x01"] {
        assert_eq!(decode(input, MAX), Err(Fault::Malformed));
    }
}

#[test]
fn a_damaged_checksum_is_an_error() {
    let mut packed = encode(MESSAGE);
    let at = packed.len() - 8;
    packed[at] ^= 1;
    assert_eq!(decode(&packed, MAX), Err(Fault::Malformed));
}

#[test]
fn optional_header_fields_are_skipped() {
    let plain = encode(MESSAGE);
    // FNAME and FEXTRA: two bytes of length, the field, a name that NUL ends.
    let mut packed = plain[..10].to_vec();
    packed[3] = 0x04 | 0x08;
    packed.extend_from_slice(b"\x02\0zzname\0");
    packed.extend_from_slice(&plain[10..]);
    assert_eq!(decode(&packed, MAX).unwrap(), MESSAGE);
}

#[test]
fn messages_after_the_first_do_not_grow_buffers() {
    let mut gzip = gzip();
    let mut out = Vec::with_capacity(1000);
    let mut packed = Vec::with_capacity(1000);
    gzip.encode(MESSAGE, &mut packed, MAX).unwrap();
    gzip.decode(&packed, &mut out, MAX).unwrap();
    let scratch = gzip.scratch.as_ptr();
    for _ in 0..100 {
        packed.clear();
        out.clear();
        gzip.encode(MESSAGE, &mut packed, MAX).unwrap();
        gzip.decode(&packed, &mut out, MAX).unwrap();
    }
    assert_eq!(gzip.scratch.as_ptr(), scratch);
    assert_eq!((out.capacity(), packed.capacity()), (1000, 1000));
}

proptest! {
    #[test]
    fn what_begins_like_gzip_never_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let gzip_like = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &input].concat();
        let _ = decode(&gzip_like, 1000);
    }
}
