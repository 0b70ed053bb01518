//! Maps pinned under /sys/fs/bpf/corex/INSTANCE, where bpftool finds them by name.

use std::{
    fs::{self, File},
    io,
    os::{fd::OwnedFd, linux::fs::MetadataExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::{
        signal::{Signal, kill},
        stat::{major, minor},
        statfs::{BPF_FS_MAGIC, statfs},
    },
    unistd::Pid,
};

use super::root_files;

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
    /// The one that has the name was asked to make way, and didn't.
    #[error(
        "{who} is called `{instance}`, and hasn't made way in {} s; this one gives up. Where the \
         other's log says \"SIGUSR2\" it is stopping and will be gone, else it runs on as before. To replace it, end it ({remedy}), then start this one again",
        PATIENCE.as_secs()
    )]
    Stays {
        /// The name.
        instance: String,
        /// The process, in words.
        who: String,
        /// How to end it.
        remedy: String,
    },
    /// The file system refuses.
    #[error("pin maps in {path}: {source}")]
    Refused {
        /// The folder or the pin.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// How long an instance may take to make way for its successor.
const PATIENCE: Duration = Duration::from_secs(15);

/// One instance's directory. Removed with all pins in it when dropped, unless it is [kept](Self::keep);
/// those of an instance that was killed are there until the next one [clears](Self::clear) them.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    is_kept: bool,
    /// Held as long as the instance lives.
    lock: Flock<File>,
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
        Self::take_in(&root(), instance)
    }

    /// Lets who has the name end, and leaves the name free: for what must be free before it is
    /// taken, such as ports.
    ///
    /// # Errors
    /// As [`Self::take_over`].
    pub fn make_way(instance: &str) -> Result<(), PinError> {
        Self::take_over(instance).map(drop)
    }

    /// Takes the name from who has it: that one is sent SIGUSR2, and waited for.
    ///
    /// # Errors
    /// [`PinError::Stays`] when it doesn't make way; else as [`Self::take`].
    pub fn take_over(instance: &str) -> Result<Pins, PinError> {
        let first = Self::take(instance);
        if !matches!(first, Err(PinError::Taken(_))) {
            return first;
        }
        let holder = holder(instance);
        if let Some(pid) = holder {
            tracing::info!("taking over from process {pid}");
            // Gone already is as good.
            let _ = kill(pid, Signal::SIGUSR2);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::take(instance) {
                Err(PinError::Taken(_)) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(PinError::Taken(_)) => return Err(stays(instance, holder)),
                outcome => return outcome,
            }
        }
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
        Ok(Pins {
            path,
            is_kept: false,
            lock,
        })
    }

    /// The name's lock, to be handed to the process that is to have the name: it has it as soon as
    /// this one [ends](Self::hand_over).
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn lock(&self) -> io::Result<OwnedFd> {
        Ok(self.lock.try_clone()?.into())
    }

    /// The name that another process hands over with its [lock](Self::lock).
    ///
    /// # Errors
    /// When the lock isn't that of the name's folder.
    pub fn received(instance: &str, lock: OwnedFd) -> Result<Pins, PinError> {
        let path = root().join(instance);
        let refused = |source: io::Error| PinError::Refused {
            path: path.clone(),
            source,
        };
        let directory = File::from(lock);
        let found = directory.metadata().map_err(refused)?;
        let wanted = fs::metadata(&path).map_err(refused)?;
        if (found.st_dev(), found.st_ino()) != (wanted.st_dev(), wanted.st_ino()) {
            return Err(refused(io::Error::other("the lock is another folder's")));
        }
        // The lock belongs to the open directory, so it is had already.
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Pins {
                path,
                is_kept: false,
                lock,
            }),
            Err((_, errno)) => Err(refused(errno.into())),
        }
    }

    /// Leaves name and pins to the process that has been given the [lock](Self::lock).
    pub fn hand_over(self) {
        // Dropped, the lock would be let go of, in the other process, too.
        std::mem::forget(self);
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

    /// Lets the pins stay when this is dropped, for a successor.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Removes the maps' pins; those of links have a folder of their own, and stay.
    pub fn clear(&self) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            // What can't be removed is in the way of its successor, which then says so.
            let _ = root_files::remove_file(&entry.path());
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        self.clear();
        let _ = root_files::remove_dir(&self.path);
    }
}

fn stays(instance: &str, holder: Option<Pid>) -> PinError {
    let (who, remedy) = match holder {
        Some(pid) => (format!("process {pid}"), format!("`kill {pid}`")),
        // Of another PID namespace: /proc/locks doesn't show it.
        None => (
            "a process that isn't seen from here, and so wasn't asked,".to_owned(),
            "where it was started".to_owned(),
        ),
    };
    PinError::Stays {
        instance: instance.to_owned(),
        who,
        remedy,
    }
}

/// Folder of all instances.
fn root() -> PathBuf {
    Path::new(BPFFS).join("corex")
}

/// The instances that there are, running or not.
pub fn instances() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The process that has an instance's name.
pub fn holder(instance: &str) -> Option<Pid> {
    holder_of(&root().join(instance))
}

/// The process that has locked a folder, or was handed the lock by who did: the kernel goes on
/// naming the latter.
fn holder_of(path: &Path) -> Option<Pid> {
    let directory = fs::metadata(path).ok()?;
    let (device, inode) = (directory.st_dev(), directory.st_ino());
    let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let taker = locks.lines().find_map(|line| locker(line, &file))?;
    if has_lock(taker, &file) {
        return Some(taker);
    }
    let heir = fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?);
        has_lock(pid, &file).then_some(pid)
    });
    // Of another user's, descriptors aren't seen.
    heir.or_else(|| kill(taker, None).is_ok().then_some(taker))
}

/// Who took a lock, if this line of /proc/locks (proc_locks(5): number, kind, mode, access, process,
/// file, range) is about a whole-file lock of that file.
fn locker(line: &str, file: &str) -> Option<Pid> {
    let mut words = line.split_whitespace().skip(1);
    let kind = words.next()?;
    let mut rest = words.skip(2);
    let pid: i32 = rest.next()?.parse().ok()?;
    (kind == "FLOCK" && rest.next()? == file && pid > 0).then(|| Pid::from_raw(pid))
}

/// Whether a process has a descriptor that the file's lock belongs to (proc_pid_fdinfo(5)).
fn has_lock(pid: Pid, file: &str) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo"));
    descriptors.into_iter().flatten().flatten().any(|entry| {
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        info.lines()
            .filter_map(|line| line.strip_prefix("lock:"))
            .any(|line| locker(line, file).is_some())
    })
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
        let mut pins = Pins::take_in(&root, "edge").unwrap();
        assert!(pins.place("LEFT").exists());
        pins.clear();
        assert!(!pins.place("LEFT").exists());
        fs::write(pins.place("MAP"), "").unwrap();
        pins.keep();
        drop(pins);
        assert!(path.join("MAP").exists());
        let pins = Pins::take_in(&root, "edge").unwrap();
        drop(pins);
        fs::remove_dir(&root).unwrap();
    }

    #[test]
    fn who_stays_is_named_with_what_is_and_what_to_do() {
        let text = stays("edge", Some(Pid::from_raw(42))).to_string();
        for part in [
            "process 42",
            "`edge`",
            "15 s",
            "runs on as before",
            "`kill 42`",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("--instance"), "{text}");
        assert!(stays("edge", None).to_string().contains("wasn't asked"));
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
