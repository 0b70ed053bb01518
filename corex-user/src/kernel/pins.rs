//! Maps pinned under /sys/fs/bpf/corex/INSTANCE, where bpftool finds them by name.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

/// Where the kernel's documentation and bpftool expect the file system for pins.
const BPFFS: &str = "/sys/fs/bpf";

/// Why maps can't be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// There is no such file system, and it can't be mounted.
    #[error("mount the BPF file system on {BPFFS}: {0}; as root: `mount -t bpf bpf {BPFFS}`")]
    Mount(#[source] Errno),
    /// Another corex has the name.
    #[error("another corex that runs is called `{0}`; give this one a name with --instance")]
    Taken(String),
    /// The file system refuses.
    #[error("pin maps in {path}: {source}")]
    Refused {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// One instance's directory. Removed with all pins in it when dropped; those of an instance that
/// was killed go when the next one takes the name.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    /// Held as long as the instance lives.
    _lock: Flock<File>,
}

impl Pins {
    /// Takes an instance's name. Mounts the file system if that isn't done.
    ///
    /// # Errors
    /// [`PinError::Taken`] when another process has it.
    pub fn take(instance: &str) -> Result<Pins, PinError> {
        if !is_bpffs(Path::new(BPFFS)) {
            mount(
                Some("bpf"),
                BPFFS,
                Some("bpf"),
                MsFlags::empty(),
                None::<&str>,
            )
            .map_err(PinError::Mount)?;
        }
        Self::take_in(&Path::new(BPFFS).join("corex"), instance)
    }

    fn take_in(root: &Path, instance: &str) -> Result<Pins, PinError> {
        let path = root.join(instance);
        let refused = |source: io::Error| PinError::Refused {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&path).map_err(refused)?;
        let directory = File::open(&path).map_err(refused)?;
        let lock = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => return Err(PinError::Taken(instance.to_owned())),
            Err((_, errno)) => return Err(refused(errno.into())),
        };
        let pins = Pins { path, _lock: lock };
        pins.clear();
        Ok(pins)
    }

    /// Where a map of this name is to be pinned.
    pub fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The instance's name.
    pub fn instance(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Removes the pins; those of links have a folder of their own, and stay.
    fn clear(&self) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            // What can't be removed is in the way of its successor, which then says so.
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.clear();
        let _ = fs::remove_dir(&self.path);
    }
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// The name of an instance that nobody gave one: its configuration's file without folder and
/// ending, with what a file name in that file system can't hold replaced.
pub fn instance_of(config: &Path) -> String {
    let stem = config.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = stem
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => c,
            _ => '_',
        })
        .collect();
    if name.is_empty() {
        "corex".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_instance_s_until_it_ends_and_what_it_left_is_cleared() {
        let root = std::env::temp_dir().join(format!("corex-pins-{}", std::process::id()));
        let pins = Pins::take_in(&root, "edge").unwrap();
        fs::write(pins.place("MAP"), "").unwrap();
        assert!(matches!(
            Pins::take_in(&root, "edge"),
            Err(PinError::Taken(name)) if name == "edge"
        ));
        assert!(pins.place("MAP").exists(), "the other one is undisturbed");
        let path = pins.path().to_owned();
        drop(pins);
        assert!(!path.exists());
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("LEFT"), "").unwrap();
        let pins = Pins::take_in(&root, "edge").unwrap();
        assert!(!pins.place("LEFT").exists());
        drop(pins);
        fs::remove_dir(&root).unwrap();
    }

    #[test]
    fn an_instance_is_called_after_its_configuration() {
        for (path, name) in [
            ("/etc/corex/edge-1.cfg", "edge-1"),
            ("a b.c.cfg", "a_b_c"),
            ("/", "corex"),
        ] {
            assert_eq!(instance_of(Path::new(path)), name);
        }
    }
}
