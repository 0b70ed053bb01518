//! `corex dictionary`: trains dictionaries for zstd from messages of one's own, and shows what they
//! are.

pub mod capture;
pub mod samples;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use corex_codec::{Chain, ChainSpec, Dictionary, Keys, Materials, SHIPPED, train};

/// What `corex dictionary train` is told.
#[derive(Debug)]
pub struct Training {
    /// Files with messages, or captures.
    pub files: Vec<PathBuf>,
    /// Where the dictionary goes; it must not be there yet.
    pub output: PathBuf,
    /// What frames call it.
    pub id: u32,
    /// The most bytes of it.
    pub size: usize,
}

/// Trains a dictionary. Returns what there is to say about it.
///
/// # Errors
/// When a file can't be read or has no messages, or these are too few.
pub fn make(training: &Training) -> anyhow::Result<String> {
    if SHIPPED
        .iter()
        .any(|shipped| id_of(shipped.bytes) == Some(training.id))
    {
        bail!(
            "the id {} is that of a dictionary that comes with corex: choose another one",
            training.id
        );
    }
    let found = samples::read(&training.files)?;
    let dictionary = train(&found.messages, training.size, training.id)
        .context("more messages, from as many devices as there are, make a dictionary")?;
    let path = &training.output;
    // What was made from real messages is nobody else's business.
    let mut file = private(path).with_context(|| format!("write {}", path.display()))?;
    file.write_all(&dictionary)
        .with_context(|| format!("write {}", path.display()))?;
    let mut text = format!(
        "{}: id {}, {} bytes, from {} messages",
        path.display(),
        training.id,
        dictionary.len(),
        found.messages.len()
    );
    if found.skipped > 0 {
        let _ = write!(text, " ({} packets hold none)", found.skipped);
    }
    let own = Dictionary::new(dictionary).context("use the dictionary")?;
    let _ = write!(
        text,
        "\non these messages, in the median: {}",
        measured(Some(Arc::new(own)), &found.messages)?
    );
    Ok(text)
}

/// Shows a dictionary, or those that come with corex, and what it makes of messages.
///
/// # Errors
/// When a file can't be read, or isn't what it should be.
pub fn show(file: Option<&Path>, messages: &[PathBuf]) -> anyhow::Result<String> {
    let mut text = String::new();
    let own = match file {
        None => {
            for shipped in SHIPPED {
                let dictionary = Dictionary::new(shipped.bytes)?;
                let (name, version) = (shipped.name, shipped.version);
                let _ = write!(text, "{name}, version {version}: ");
                describe(&mut text, &dictionary);
            }
            None
        }
        Some(path) => {
            let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
            let dictionary = Dictionary::new(bytes)
                .with_context(|| format!("{} can't be used", path.display()))?;
            let _ = write!(text, "{}: ", path.display());
            describe(&mut text, &dictionary);
            Some(Arc::new(dictionary))
        }
    };
    if !messages.is_empty() {
        let found = samples::read(messages)?;
        let _ = writeln!(
            text,
            "on {} messages, in the median: {}",
            found.messages.len(),
            measured(own, &found.messages)?
        );
    }
    Ok(text)
}

fn describe(text: &mut String, dictionary: &Dictionary) {
    let len = dictionary.bytes().len();
    let _ = writeln!(text, "id {}, {len} bytes", dictionary.id());
}

fn id_of(bytes: &'static [u8]) -> Option<u32> {
    Some(Dictionary::new(bytes).ok()?.id())
}

/// A new file that only its owner can read.
fn private(path: &Path) -> std::io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// The dictionaries that measuring needs: one's own, and those that come with corex.
struct Both(Option<Arc<Dictionary>>);

impl Materials for Both {
    fn keys(&self, _: &str) -> Option<Arc<Keys>> {
        None
    }

    fn dictionaries(&self, name: &str) -> Option<Vec<Arc<Dictionary>>> {
        match &self.0 {
            Some(own) if name == "own" => Some(vec![Arc::clone(own)]),
            _ => Dictionary::shipped(name),
        }
    }
}

/// What codecs leave of messages, in percent, in the median.
fn measured(own: Option<Arc<Dictionary>>, messages: &[Vec<u8>]) -> anyhow::Result<String> {
    let own_codec = own.is_some().then_some(("this one", "zstd(own)"));
    let materials = Both(own);
    let codecs = [("gzip", "gzip"), ("zstd(sip)", "zstd(sip)")];
    let mut parts = Vec::new();
    for (name, codec) in codecs.into_iter().chain(own_codec) {
        let spec = ChainSpec::single(codec)?;
        let mut chain = Chain::new(&spec, &materials)?;
        let mut percents: Vec<f64> = Vec::new();
        let mut out = Vec::new();
        for message in messages {
            out.clear();
            chain.encode(message, &mut out, usize::MAX)?;
            percents.push(100.0 * out.len() as f64 / message.len() as f64);
        }
        percents.sort_by(f64::total_cmp);
        let median = percents.get(percents.len() / 2).copied();
        parts.push(format!("{name} {:.1} %", median.unwrap_or_default()));
    }
    Ok(parts.join(", "))
}
