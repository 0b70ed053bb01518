//! What is the own of gzip, zlib and deflate; what holds for every codec is tested beside the table.

use proptest::prelude::*;

use super::*;
use crate::testing::{MAX, MESSAGE, command, python};

fn with(format: Format) -> Deflate {
    let level = compression_level(DEFAULT_LEVEL);
    Deflate::with(format, level.unwrap())
}

fn gzip() -> Deflate {
    with(Format::Gzip)
}

fn encode_with(format: Format, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    with(format).encode(input, &mut out, usize::MAX).unwrap();
    out
}

fn encode(input: &[u8]) -> Vec<u8> {
    encode_with(Format::Gzip, input)
}

fn decode_with(format: Format, input: &[u8], max: usize) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    with(format).decode(input, &mut out, max)?;
    Ok(out)
}

fn decode(input: &[u8], max: usize) -> Result<Vec<u8>, Fault> {
    decode_with(Format::Gzip, input, max)
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
        let Some(unpacked) = command("gzip", &["-dc"], &encode(input)) else {
            eprintln!("no gzip command here: not compared with it");
            return;
        };
        assert_eq!(unpacked, input);
        for level in ["-1", "-6", "-9"] {
            let packed = command("gzip", &["-c", level], input).unwrap();
            assert_eq!(decode(&packed, MAX).unwrap(), input);
        }
    }
}

#[test]
fn all_levels_work_and_others_are_an_error() {
    for level in 0..=12 {
        let mut gzip = Deflate::with(Format::Gzip, compression_level(level).unwrap());
        let mut out = Vec::new();
        gzip.encode(MESSAGE, &mut out, MAX).unwrap();
        assert_eq!(decode(&out, MAX).unwrap(), MESSAGE);
    }
    for level in [-1, 13, i64::MAX] {
        let error = compression_level(level).unwrap_err();
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

/// Compresses and decompresses with zlib: the first byte says which.
const ZLIB: &str = "\
import sys, zlib
data = sys.stdin.buffer.read()
what, bits, data = data[:1], int(data[1:4]), data[4:]
if what == b'c':
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    data = packer.compress(data) + packer.flush()
else:
    unpacker = zlib.decompressobj(bits)
    data = unpacker.decompress(data) + unpacker.flush()
    assert unpacker.eof
sys.stdout.buffer.write(data)
";

#[test]
fn pythons_zlib_reads_what_we_write_and_we_read_what_it_writes() {
    let large: Vec<u8> = MESSAGE.iter().copied().cycle().take(60_000).collect();
    // zlib's own numbers of the formats: the window's bits, and what is around the data.
    for (format, bits) in [
        (Format::Gzip, "+31"),
        (Format::Zlib, "+15"),
        (Format::Deflate, "-15"),
    ] {
        for input in [&b""[..], b"x", MESSAGE, &large] {
            let ask = |what: &str, data: &[u8]| {
                python(
                    "zlib",
                    ZLIB,
                    &[what.as_bytes(), bits.as_bytes(), data].concat(),
                )
            };
            let Some(unpacked) = ask("d", &encode_with(format, input)) else {
                return;
            };
            assert_eq!(unpacked, input);
            let packed = ask("c", input).unwrap();
            assert_eq!(decode_with(format, &packed, MAX).unwrap(), input);
        }
    }
}

#[test]
fn formats_are_not_taken_for_one_another() {
    let all = [Format::Gzip, Format::Zlib, Format::Deflate];
    for written in all {
        for read in all.into_iter().filter(|read| *read != written) {
            let packed = encode_with(written, MESSAGE);
            assert_ne!(
                decode_with(read, &packed, MAX).ok().as_deref(),
                Some(MESSAGE)
            );
        }
    }
}

#[test]
fn zlib_and_deflate_are_shorter_than_gzip_and_lose_every_truncation() {
    let len = |format| encode_with(format, MESSAGE).len();
    assert_eq!(len(Format::Gzip) - len(Format::Deflate), 18);
    assert_eq!(len(Format::Zlib) - len(Format::Deflate), 6);
    for format in [Format::Zlib, Format::Deflate] {
        let packed = encode_with(format, MESSAGE);
        for cut in 0..packed.len() {
            assert_eq!(
                decode_with(format, &packed[..cut], MAX),
                Err(Fault::Malformed)
            );
        }
    }
}

proptest! {
    #[test]
    fn what_begins_like_gzip_never_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let gzip_like = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &input].concat();
        let _ = decode(&gzip_like, 1000);
    }
}
