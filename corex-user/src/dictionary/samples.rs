//! The messages in files.

use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use corex_sip::SipView;

use super::capture;

/// The most messages that are looked at: a dictionary gets no better by more.
const MAX_MESSAGES: usize = 100_000;
/// The most bytes of a file that is no capture.
const MAX_TEXT: u64 = 64 << 20;

/// What files hold.
#[derive(Debug, Default)]
pub struct Samples {
    /// The messages, in order.
    pub messages: Vec<Vec<u8>>,
    /// Packets of captures that hold no message.
    pub skipped: usize,
}

impl Samples {
    /// Takes a message in, unless there are enough.
    pub fn take(&mut self, message: &[u8]) {
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message.to_vec());
        }
    }
}

/// Reads all files: captures, and files with one or more whole messages.
///
/// # Errors
/// When one can't be read, or has no message.
pub fn read(files: &[PathBuf]) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    for path in files {
        let before = samples.messages.len();
        read_one(path, &mut samples).with_context(|| format!("read {}", path.display()))?;
        if samples.messages.len() == before && before < MAX_MESSAGES {
            bail!("there is no SIP message in {}", path.display());
        }
    }
    Ok(samples)
}

fn read_one(path: &Path, samples: &mut Samples) -> anyhow::Result<()> {
    let mut file = File::open(path)?;
    let mut magic = [0; 4];
    let is_capture = file.read_exact(&mut magic).is_ok() && capture::is_magic(magic);
    if is_capture {
        return capture::read(BufReader::new(File::open(path)?), samples);
    }
    if file.metadata()?.len() > MAX_TEXT {
        bail!("it is longer than {MAX_TEXT} bytes, and no capture");
    }
    text(&fs::read(path)?, samples);
    Ok(())
}

/// Messages one after the other, each as long as its Content-Length says; what has none goes on to
/// the end. Line feeds alone become line ends.
fn text(bytes: &[u8], samples: &mut Samples) {
    let on_wire = if bytes.windows(2).any(|pair| pair == b"\r\n") {
        bytes.to_vec()
    } else {
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        lines.join(&b"\r\n"[..])
    };
    let mut rest = on_wire.trim_ascii_start();
    while let Ok(view) = SipView::parse(rest) {
        let body = view.body().len();
        let head = rest.len() - body;
        let announced = view
            .content_length()
            .and_then(|len| usize::try_from(len).ok());
        let len = head + announced.unwrap_or(body).min(body);
        let Some((message, after)) = rest.split_at_checked(len) else {
            return;
        };
        samples.take(message);
        rest = after.trim_ascii_start();
    }
}
