//! `cargo xtask dictionary`: trains the dictionary that comes with corex.

mod corpus;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

/// So many messages are made up. With half as many, messages that it has not seen get half a percent
/// longer; twice as many change nothing.
const MESSAGES: usize = 6_000;
/// Bytes of the dictionary. Twice as many save little more, and cost memory in each worker's cache.
const SIZE: usize = 65_536;
/// What messages call it: the first of corex's own, one more for each version.
const ID: u32 = 0xc000 + VERSION;
const VERSION: u32 = 1;

/// Train the dictionary that comes with corex, anew from messages that are made up.
///
/// The result is always the same: without --write it is compared with the one in
/// corex-user/codec/dictionary. Once corex has been released with a version, that one must stay as
/// it is: a change of what is made up then makes another version, and its file goes beside the old
/// one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask dictionary                      compare
  cargo xtask dictionary --write              train and write
  cargo xtask dictionary --messages DIRECTORY write what is made up, one file each")]
pub struct DictionaryArgs {
    /// Write the dictionary
    #[arg(long)]
    write: bool,
    /// Write the messages into this directory instead, one file each
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "write")]
    messages: Option<PathBuf>,
}

pub fn run(args: &DictionaryArgs) -> Result<ExitCode> {
    let messages = corpus::messages(MESSAGES);
    if let Some(folder) = &args.messages {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        for (number, message) in messages.iter().enumerate() {
            let path = folder.join(format!("{number:05}.sip"));
            fs::write(&path, message).with_context(|| format!("write {}", path.display()))?;
        }
        println!("{} messages in {}", messages.len(), folder.display());
        return Ok(ExitCode::SUCCESS);
    }
    let bytes = messages.iter().map(Vec::len).sum::<usize>();
    println!(
        "{MESSAGES} messages of {} bytes on average",
        bytes / MESSAGES
    );
    let dictionary = corex_codec::train(&messages, SIZE, ID)?;
    let path = codec_folder().join(format!("dictionary/sip-{VERSION}.dict"));
    if args.write {
        fs::write(&path, &dictionary).with_context(|| format!("write {}", path.display()))?;
        println!("{}: {} bytes, id {ID}", path.display(), dictionary.len());
        return Ok(ExitCode::SUCCESS);
    }
    let there = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    if there == dictionary {
        println!("{} is what comes out", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} isn't what comes out: `cargo xtask dictionary --write` replaces it; if corex was \
         released with it, count VERSION up first",
        path.display()
    );
    Ok(ExitCode::FAILURE)
}

/// The crate that the dictionary is part of.
fn codec_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corex-user/codec")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_is_shipped_is_what_comes_out() {
        let made = corex_codec::train(&corpus::messages(MESSAGES), SIZE, ID).expect("a dictionary");
        let path = codec_folder().join(format!("dictionary/sip-{VERSION}.dict"));
        assert!(
            fs::read(path).is_ok_and(|there| there == made),
            "`cargo xtask dictionary` says what to do"
        );
    }
}
