//! A directory for the files of one experiment.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};

use crate::cleanup::{self, Guard};

static NEXT: AtomicU32 = AtomicU32::new(0);
const PREFIX: &str = "corex-lab-";

/// A directory that is removed when the value is dropped. With `COREX_LAB_KEEP` set it
/// stays, and its path is printed.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    _guard: Guard,
}

impl WorkDir {
    /// Makes the directory.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new() -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("{PREFIX}{}-{number}", process::id()));
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        let doomed = path.clone();
        let guard = cleanup::defer(move || {
            if env::var_os("COREX_LAB_KEEP").is_some() {
                eprintln!("kept: {}", doomed.display());
            } else {
                // Whatever can't be removed is in the system's temporary directory.
                let _ = fs::remove_dir_all(&doomed);
            }
        });
        Ok(Self {
            path,
            _guard: guard,
        })
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file inside, which need not be there.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file and returns its path.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// Removes the directories of runs that were killed before they could, unless
/// `COREX_LAB_KEEP` is set.
pub fn sweep() {
    if env::var_os("COREX_LAB_KEEP").is_some() {
        return;
    }
    for entry in fs::read_dir(env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok());
        if owner.is_some_and(|pid: u32| !Path::new(&format!("/proc/{pid}")).exists()) {
            // As in drop.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
