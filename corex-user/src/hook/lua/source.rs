//! Script files: found, read and named.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::kernel::root_files;

/// The most bytes of one script: more takes too long to compile while messages wait.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// A script's text.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// What messages call it: its path as the configuration has it.
    pub name: String,
    pub text: Vec<u8>,
}

/// Where a path of the configuration leads.
pub(super) fn resolve(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path)
}

/// Reads a script.
///
/// # Errors
/// What is wrong with the file, in a sentence.
pub(super) fn read(folder: &Path, path: &Path) -> Result<Source, String> {
    let name = path.display().to_string();
    let wrong = |reason: &dyn std::fmt::Display| format!("{name}: {reason}");
    let text = root_files::read(&resolve(folder, path), read_file).map_err(|e| wrong(&e))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(wrong(&format_args!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(Source { name, text })
}

/// Reads a file, but not much more than is allowed.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    // Opening a pipe would wait for whoever writes to it.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("this is no file"));
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// The places of a module that a script `require`s: in the script's own folder and below it.
///
/// # Errors
/// When the name could lead elsewhere.
pub(super) fn module_paths(name: &str) -> Result<[PathBuf; 2], String> {
    let is_plain = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    if !name.split('.').all(is_plain) {
        return Err(format!("`{name}` is no name of a module"));
    }
    let base = name.replace('.', "/");
    Ok([
        PathBuf::from(format!("{base}.lua")),
        PathBuf::from(format!("{base}/init.lua")),
    ])
}

/// The place of a file that a script runs: in the script's own folder and below it.
///
/// # Errors
/// When the path leads elsewhere.
pub(super) fn inner_path(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    let is_inner = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.components().all(is_inner) {
        Ok(path)
    } else {
        Err(format!(
            "{}: it leads out of the script's folder",
            path.display()
        ))
    }
}

/// Reads the first of these files that is in one of these folders.
///
/// # Errors
/// What is wrong with the last that was looked at.
pub(super) fn read_first(folders: &[PathBuf], paths: &[PathBuf]) -> Result<Source, String> {
    let mut wrong = "there is no folder with scripts".to_owned();
    for folder in folders {
        for path in paths {
            match read(folder, path) {
                Ok(source) => return Ok(source),
                Err(reason) => wrong = reason,
            }
        }
    }
    Err(wrong)
}
