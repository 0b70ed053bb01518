//! Files that corex can reach after its start, by Landlock (Linux 5.13, landlock(7)).

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};

/// What the system itself needs: names, certificates, the time zone, interfaces, limits, programs
/// and libraries.
const SYSTEM: [&str; 7] = ["/etc", "/usr", "/lib", "/lib64", "/bin", "/proc", "/sys"];

/// What may be reached; everything beneath is meant.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// To read.
    pub read: Vec<PathBuf>,
    /// To read, write, make and remove.
    pub write: Vec<PathBuf>,
}

/// Confines the calling thread, and what it starts from now on, to these files. What doesn't
/// exist is left out; an older kernel does what it can.
///
/// # Errors
/// What the kernel refuses; [`Ok`] with `false` where it has no Landlock.
pub fn confine(reach: &Reach) -> Result<bool, RulesetError> {
    let system = SYSTEM.iter().map(PathBuf::from);
    confine_to(&Reach {
        read: system.chain(reach.read.iter().cloned()).collect(),
        write: reach.write.clone(),
    })
}

/// As [`confine`], without what the system needs.
///
/// # Errors
/// As [`confine`].
pub fn confine_to(reach: &Reach) -> Result<bool, RulesetError> {
    let abi = ABI::V3;
    let read = AccessFs::from_read(abi);
    let all = AccessFs::from_all(abi);
    let mut rules = Ruleset::default().handle_access(all)?.create()?;
    let readable = reach.read.iter().map(|path| (path, read));
    let writable = reach.write.iter().map(|path| (path, all));
    for (path, access) in readable.chain(writable) {
        if let Ok(file) = PathFd::new(path) {
            let access = if path.is_dir() {
                access
            } else {
                access & AccessFs::from_file(abi)
            };
            rules = rules.add_rule(PathBeneath::new(file, access))?;
        }
    }
    let RestrictionStatus { ruleset, .. } = rules.restrict_self()?;
    Ok(ruleset != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, thread};

    #[test]
    fn what_is_out_of_reach_can_not_be_read_or_written() {
        let own = std::env::temp_dir().join(format!("corex-confine-{}", std::process::id()));
        let (mine, other) = (own.join("mine"), own.join("other"));
        for folder in [&mine, &other] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("file"), "x").unwrap();
        }
        let reach = Reach {
            read: Vec::new(),
            write: vec![mine.clone(), own.join("nothing")],
        };
        let (inside, outside) = (mine.clone(), other.clone());
        let confined = thread::spawn(move || {
            if !confine(&reach).unwrap() {
                return false;
            }
            assert!(fs::write(inside.join("new"), "y").is_ok());
            assert!(fs::read_to_string("/etc/hosts").is_ok());
            assert!(fs::read(outside.join("file")).is_err());
            assert!(fs::write(outside.join("new"), "y").is_err());
            true
        })
        .join()
        .unwrap();
        if confined {
            assert!(mine.join("new").exists() && !other.join("new").exists());
        }
        fs::remove_dir_all(own).unwrap();
    }
}
