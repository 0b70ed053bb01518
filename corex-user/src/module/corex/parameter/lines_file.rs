//! Files of lines that a parameter's value names, and that are read where it is set.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The most bytes of a file of short texts.
pub(super) const MAX_FILE: u64 = 65_536;

/// A file's text, of at most so many bytes; a device or a pipe isn't waited for.
pub(super) fn read(path: &Path, most: u64) -> Result<String, String> {
    let data = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !data.is_file() {
        return Err("it is no file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = file.take(most + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > most {
        return Err(format!("it has more than {most} bytes"));
    }
    Ok(text)
}
