//! What Perl's processes can reach: set for the thread that starts them, which they inherit it
//! from.

use std::path::{Path, PathBuf};

use crate::kernel::{
    confine::{self, Reach},
    privileges,
};

use super::process::Setup;

/// What any program may want to open.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// Takes from the calling thread, and what it starts, all privileges and, unless the configuration
/// says otherwise, the files that a script of this configuration doesn't need.
pub(super) fn confine(setup: &Setup) -> Result<(), String> {
    privileges::drop_all().map_err(|error| error.to_string())?;
    if !setup.settings.is_confined {
        return Ok(());
    }
    match confine::confine(&reach(setup)) {
        Ok(true) => {}
        Ok(false) => tracing::info!("this kernel has no Landlock: Perl's files are not confined"),
        Err(error) => tracing::warn!("Perl's files are not confined: {error}"),
    }
    Ok(())
}

fn reach(setup: &Setup) -> Reach {
    let parent = |file: &Path| file.parent().map(Path::to_owned);
    let mut read = vec![setup.folder.clone()];
    read.extend(parent(&setup.script));
    read.extend(parent(&setup.settings.interpreter));
    read.extend(setup.include.iter().cloned());
    let mut write: Vec<PathBuf> = DEVICES.iter().map(PathBuf::from).collect();
    write.push(std::env::temp_dir());
    write.extend(setup.settings.file_roots.iter().cloned());
    Reach { read, write }
}
