//! Folders of corex's own: the one that scripts write files in, where the configuration names none,
//! and the one where a successor finds the corex that runs.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use nix::unistd::Uid;

use crate::kernel::identity::Identity;

/// Where states of services lie: Filesystem Hierarchy Standard 3.0, section 5.8.
const STATES: &str = "/var/lib/corex";
/// Where sockets of services lie: the same, section 3.15.
const RUNTIME: &str = "/run/corex";
/// Bits of a mode that let others write.
const OTHERS_WRITE: u32 = 0o022;
/// In a folder with this bit only its owner removes or renames a file (inode(7)).
const STICKY: u32 = 0o1000;

/// Makes the folder of an instance, or takes the one that is there: what systemd made for the unit
/// ($STATE_DIRECTORY, systemd.exec(5)), else /var/lib/corex/INSTANCE, else one below the directory
/// for temporary files. It is ours, and nobody else writes there.
/// `identity`: who is to have it where root makes it.
///
/// # Errors
/// Why there is none: above all that somebody else has made what is to be ours.
pub fn make(instance: &str, identity: Option<&Identity>) -> io::Result<PathBuf> {
    // Several are divided by colons.
    let given = env::var("STATE_DIRECTORY").unwrap_or_default();
    if let Some(first) = given.split(':').next().filter(|first| !first.is_empty()) {
        let given = fs::canonicalize(first)?;
        if let Some(identity) = identity {
            hand_over(&open(&given)?, identity)?;
        }
        return Ok(given);
    }
    make_in(Path::new(STATES), &env::temp_dir(), instance, identity)
}

/// The folder for what is there as long as an instance runs: what systemd made for the unit
/// ($RUNTIME_DIRECTORY, systemd.exec(5)), else /run/corex, else the instance's one below the
/// directory for temporary files. It is ours, and nobody else writes there.
///
/// # Errors
/// Why there is none.
pub fn runtime(instance: &str) -> io::Result<PathBuf> {
    let given = env::var("RUNTIME_DIRECTORY").unwrap_or_default();
    if let Some(first) = given.split(':').next().filter(|first| !first.is_empty()) {
        return fs::canonicalize(first);
    }
    match private(Path::new(RUNTIME), 0o755, None) {
        Ok(()) => Ok(PathBuf::from(RUNTIME)),
        Err(error) => temporary(&env::temp_dir(), &plain(instance), None, &error),
    }
}

/// An instance's name as a file can have it.
pub fn plain(instance: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    instance
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect()
}

fn make_in(
    states: &Path,
    temporary: &Path,
    instance: &str,
    identity: Option<&Identity>,
) -> io::Result<PathBuf> {
    let name = plain(instance);
    let own = states.join(&name);
    match private(states, 0o755, None).and_then(|()| private(&own, 0o700, identity)) {
        Ok(()) => Ok(own),
        Err(error) => {
            let refused = io::Error::other(format!("{}: {error}", own.display()));
            self::temporary(temporary, &name, identity, &refused)
        }
    }
}

/// An instance's folder below the directory for temporary files, as another one is `refused`.
fn temporary(
    folder: &Path,
    name: &str,
    identity: Option<&Identity>,
    refused: &io::Error,
) -> io::Result<PathBuf> {
    let user = identity.map_or_else(Uid::effective, Identity::user);
    let mode = fs::metadata(folder)?.mode();
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        return Err(io::Error::other(format!(
            "{refused}; {} is open to everybody",
            folder.display()
        )));
    }
    let own = folder.join(format!("corex-{user}-{name}"));
    private(&own, 0o700, identity)
        .map(|()| own.clone())
        .map_err(|error| io::Error::other(format!("{}: {error}", own.display())))
}

/// Makes a folder, or looks whether the one that is there is ours alone; then gives it to who is to
/// have it.
fn private(path: &Path, mode: u32, identity: Option<&Identity>) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let folder = open(path)?;
    let found = folder.metadata()?;
    let is_ours = |user: Uid| found.uid() == user.as_raw();
    if !is_ours(Uid::effective()) && !identity.is_some_and(|it| is_ours(it.user())) {
        return Err(io::Error::other("it is somebody else's"));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return Err(io::Error::other("others may write there"));
    }
    match identity {
        Some(identity) => hand_over(&folder, identity),
        None => Ok(()),
    }
}

/// Opens a folder. Through no symbolic link: somebody else's would lead to anything of ours.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
}

/// Makes a folder somebody's. What is in it stays who it was: a link there may lead anywhere.
fn hand_over(folder: &File, identity: &Identity) -> io::Result<()> {
    let (user, group) = (identity.user().as_raw(), identity.group().as_raw());
    fchown(folder, Some(user), Some(group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = env::temp_dir().join(format!("corex-state-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("tmp")).unwrap();
            fs::set_permissions(path.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
            Folder(path)
        }

        fn make(&self, instance: &str) -> io::Result<PathBuf> {
            make_in(&self.0.join("lib"), &self.0.join("tmp"), instance, None)
        }

        fn fallback(&self, instance: &str) -> PathBuf {
            let name = format!("corex-{}-{instance}", Uid::effective());
            self.0.join("tmp").join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn it_is_made_for_corex_alone_and_found_again() {
        let folder = Folder::new("made");
        let made = folder.make("edge").unwrap();
        assert_eq!(made, folder.0.join("lib/edge"));
        assert_eq!(fs::metadata(&made).unwrap().mode() & 0o7777, 0o700);
        fs::write(made.join("kept"), "x").unwrap();
        assert_eq!(folder.make("edge").unwrap(), made);
        assert!(made.join("kept").exists());
    }

    #[test]
    fn no_name_leads_out() {
        let folder = Folder::new("name");
        for name in ["../x", "a/b", "..", "/etc"] {
            let made = folder.make(name).unwrap();
            assert_eq!(made.parent(), Some(&*folder.0.join("lib")), "{name}");
        }
    }

    #[test]
    fn what_others_made_is_not_taken() {
        let folder = Folder::new("others");
        // There is no place for states.
        fs::write(folder.0.join("lib"), "a file").unwrap();
        let open = folder.fallback("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(folder.make("open").is_err());
        let elsewhere = folder.0.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, folder.fallback("link")).unwrap();
        assert!(folder.make("link").is_err());
        assert_eq!(folder.make("good").unwrap(), folder.fallback("good"));
        fs::set_permissions(folder.0.join("tmp"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(folder.make("good").is_err(), "anybody could exchange it");
    }
}
