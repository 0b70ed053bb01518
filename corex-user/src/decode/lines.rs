//! One request a line, one reply a line: for programs that have many messages decoded by one process.
//!
//! The first line says what is there: `corex decode 1`, a tab, the chain's name, a tab, its codecs in
//! the order of encoding, with commas. Then, for each line `DIRECTION HEX`, or `HEX` alone:
//!
//! ```text
//! ok      DIRECTION   CODEC=HEX …                         what each codec made; the last is plain
//! error   REASON  CODEC  DIRECTION  TEXT  CODEC=HEX …     as far as it went; REASON as $codec_error
//! refused TEXT                                            the line is no request
//! ```
//!
//! with tabs between the fields.

use std::io::{self, BufRead, Read as _, Write};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use super::{Decoded, Decoder, MAX_MESSAGE, Towards};

/// The version of what is spoken here.
const VERSION: u32 = 1;
/// The most bytes of a line: two digits for each byte of a message, and the direction.
const MAX_LINE: usize = 2 * MAX_MESSAGE + 16;

/// Answers line by line until the input ends.
///
/// # Errors
/// When input or output fail.
pub fn serve(
    decoder: &mut Decoder,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> io::Result<()> {
    let codecs: Vec<_> = decoder.opened.spec.codecs().collect();
    let (name, codecs) = (&decoder.opened.name, codecs.join(","));
    writeln!(out, "corex decode {VERSION}\t{name}\t{codecs}")?;
    out.flush()?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut *input).take(MAX_LINE as u64 + 1);
        let read = bounded.read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.pop_if(|byte| *byte == b'\n').is_none() && read > MAX_LINE {
            input.skip_until(b'\n')?;
            writeln!(out, "refused\tthe line is longer than {MAX_LINE} bytes")?;
        } else {
            match request(line.trim_ascii()) {
                Ok((towards, message)) => reply(&decoder.decode(towards, &message), out)?,
                Err(reason) => writeln!(out, "refused\t{reason}")?,
            }
        }
        out.flush()?;
    }
}

fn request(line: &[u8]) -> Result<(Towards, Vec<u8>), &'static str> {
    let mut words = line.split(|byte| *byte == b' ');
    let (towards, digits) = match (words.next(), words.next(), words.next()) {
        (Some(digits), None, _) => (Towards::Either, digits),
        (Some(towards), Some(digits), None) => {
            let towards = Towards::find(towards);
            let towards = towards.ok_or("expected to-server, to-client or either")?;
            (towards, digits)
        }
        _ => return Err("expected a direction and hexadecimal digits"),
    };
    match HEXLOWER_PERMISSIVE.decode(digits) {
        Ok(message) => Ok((towards, message)),
        Err(_) => Err("these are no pairs of hexadecimal digits"),
    }
}

fn reply(decoded: &Decoded, out: &mut dyn Write) -> io::Result<()> {
    let Decoded { towards, made } = decoded;
    match made.error {
        None => write!(out, "ok\t{towards}")?,
        Some(error) => {
            let reason = error.fault.reason().name();
            write!(out, "error\t{reason}\t{}\t{towards}\t{error}", error.codec)?;
        }
    }
    for step in &made.steps {
        write!(out, "\t{}={}", step.codec, HEXLOWER.encode(&step.output))?;
    }
    writeln!(out)
}
