//! Who corex is once it needs root no longer: user and groups (credentials(7)).

use std::{ffi::CString, fmt, io};

use nix::{
    errno::Errno,
    libc,
    sys::prctl,
    unistd::{Gid, Group, Uid, User, getgrouplist},
};

use super::capabilities;

/// The user that root goes on as where nobody names one, if it exists.
const OWN: &str = "corex";
/// The one otherwise: it owns nothing.
const NOBODY: &str = "nobody";

/// A user and its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    user: Uid,
    group: Gid,
    /// Supplementary ones.
    groups: Vec<Gid>,
    /// Nobody asked for it.
    pub is_fallback: bool,
}

/// Why corex can't be who it is told to be.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No such user.
    #[error("there is no user `{0}`: `useradd --system --no-create-home {0}` makes it")]
    NoUser(String),
    /// No such group.
    #[error("there is no group `{0}`: `groupadd --system {0}` makes it")]
    NoGroup(String),
    /// The tables of users can't be read.
    #[error("look up {0}: {1}")]
    LookUp(String, #[source] nix::Error),
    /// Only root becomes somebody else.
    #[error(
        "corex was started as user {0}, and only root can go on as {1}: start it as root, as that \
         user, or name none"
    )]
    NotRoot(Uid, String),
    /// Root in a container, as a rule.
    #[error("corex lacks CAP_SETUID and CAP_SETGID, and so can't go on as {0}")]
    NotAllowed(String),
}

impl Identity {
    /// Who to be, by name or number; `None` to stay who corex was started as. Root that is told
    /// nothing goes on as `corex` if there is such a user, else as `nobody`.
    ///
    /// # Errors
    /// When that can't be.
    pub fn choose(
        user: Option<&str>,
        group: Option<&str>,
    ) -> Result<Option<Identity>, IdentityError> {
        let is_root = Uid::effective().is_root();
        let named = user.map(find_user).transpose()?;
        let by_default = match &named {
            None if is_root => {
                let own = find_user(OWN).or_else(|_| find_user(NOBODY));
                own.ok()
            }
            _ => None,
        };
        let is_fallback = named.is_none();
        let Some(user) = named.or(by_default) else {
            return match group.map(find_group).transpose()? {
                Some(group) if group != Gid::effective() => Err(IdentityError::NotRoot(
                    Uid::effective(),
                    format!("group {group}"),
                )),
                _ => Ok(None),
            };
        };
        let group = group.map(find_group).transpose()?.unwrap_or(user.gid);
        let same = user.uid == Uid::effective() && group == Gid::effective();
        if same && (user.uid.is_root() || !is_root) {
            return Ok(None);
        }
        if !is_root {
            return Err(IdentityError::NotRoot(Uid::effective(), user.name));
        }
        if !capabilities::can_change_user() {
            if is_fallback {
                return Ok(None);
            }
            return Err(IdentityError::NotAllowed(user.name));
        }
        let groups = CString::new(user.name.clone())
            .ok()
            .and_then(|name| getgrouplist(&name, group).ok())
            .unwrap_or_else(|| vec![group]);
        Ok(Some(Identity {
            name: user.name,
            user: user.uid,
            group,
            groups,
            is_fallback,
        }))
    }

    /// Its user ID.
    pub fn user(&self) -> Uid {
        self.user
    }

    /// Its group ID.
    pub fn group(&self) -> Gid {
        self.group
    }

    /// Makes the calling thread, and it alone, this one. Capabilities that are permitted stay
    /// permitted, as the caller is to decide on them. Who is it already stays it.
    pub(super) fn adopt(&self) -> io::Result<()> {
        // By system calls of our own: those of the C library change all threads of a process at
        // once, and end it where one that has no capabilities any more can't.
        if self.is_adopted() {
            return Ok(());
        }
        prctl::set_keepcaps(true)?;
        let groups: Vec<libc::gid_t> = self.groups.iter().map(|group| group.as_raw()).collect();
        let (user, group) = (self.user.as_raw(), self.group.as_raw());
        // SAFETY: the kernel reads as many group IDs as there are in the list.
        checked(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
        // SAFETY: the call takes numbers alone.
        checked(unsafe { libc::syscall(libc::SYS_setresgid, group, group, group) })?;
        // SAFETY: as above.
        checked(unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) })?;
        prctl::set_keepcaps(false)?;
        Ok(())
    }

    /// Whether the calling thread is this one.
    fn is_adopted(&self) -> bool {
        let (user, group) = (self.user, self.group);
        nix::unistd::getresuid()
            .is_ok_and(|has| has.real == user && has.effective == user && has.saved == user)
            && nix::unistd::getresgid()
                .is_ok_and(|has| has.real == group && has.effective == group && has.saved == group)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.name)
    }
}

fn checked(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// What a look-up found. Where there are no tables, as in a container with nothing but corex, C libraries
/// say so by an error (getpwnam(3)); then it found nothing.
fn looked_up<T>(found: nix::Result<Option<T>>) -> nix::Result<Option<T>> {
    match found {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        other => other,
    }
}

/// A number that no table knows is a user, too, with a group of the same number.
fn find_user(name: &str) -> Result<User, IdentityError> {
    let failed = |error| IdentityError::LookUp(format!("user {name}"), error);
    let Ok(number) = name.parse() else {
        return looked_up(User::from_name(name))
            .map_err(failed)?
            .ok_or_else(|| IdentityError::NoUser(name.to_owned()));
    };
    let found = looked_up(User::from_uid(Uid::from_raw(number))).map_err(failed)?;
    Ok(found.unwrap_or_else(|| User {
        name: name.to_owned(),
        passwd: CString::default(),
        uid: Uid::from_raw(number),
        gid: Gid::from_raw(number),
        gecos: CString::default(),
        dir: "/".into(),
        shell: "/".into(),
    }))
}

fn find_group(name: &str) -> Result<Gid, IdentityError> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    looked_up(Group::from_name(name))
        .map_err(|error| IdentityError::LookUp(format!("group {name}"), error))?
        .map(|group| group.gid)
        .ok_or_else(|| IdentityError::NoGroup(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_that_is_told_nothing_goes_on_as_somebody_who_owns_nothing() {
        if !Uid::effective().is_root() {
            return;
        }
        let chosen = Identity::choose(None, None).unwrap().unwrap();
        assert!(chosen.is_fallback && !chosen.user().is_root());
        assert_eq!(Identity::choose(Some("root"), None).unwrap(), None);
        assert_eq!(Identity::choose(Some("0"), Some("root")).unwrap(), None);
        let named = Identity::choose(Some("61234"), Some("61235")).unwrap();
        let named = named.unwrap();
        assert_eq!(
            (named.user().as_raw(), named.group().as_raw()),
            (61234, 61235)
        );
        assert!(!named.is_fallback);
    }

    #[test]
    fn where_there_are_no_tables_nobody_is_found_and_other_errors_are_told() {
        for missing in [Errno::ENOENT, Errno::ESRCH] {
            assert_eq!(looked_up::<u8>(Err(missing)), Ok(None));
        }
        assert_eq!(looked_up::<u8>(Err(Errno::EMFILE)), Err(Errno::EMFILE));
        assert_eq!(looked_up(Ok(Some(7))), Ok(Some(7)));
    }

    #[test]
    fn who_does_not_exist_is_named_with_the_remedy() {
        let user = Identity::choose(Some("no-such-user"), None).unwrap_err();
        assert!(user.to_string().contains("useradd"), "{user}");
        let group = Identity::choose(Some("nobody"), Some("no-such-group")).unwrap_err();
        assert!(group.to_string().contains("groupadd"), "{group}");
    }

    #[test]
    fn one_thread_becomes_somebody_else_and_the_others_stay() {
        if !Uid::effective().is_root() {
            return;
        }
        let identity = Identity::choose(Some("61234"), Some("61235"))
            .unwrap()
            .unwrap();
        let inside = std::thread::spawn(move || {
            identity.adopt().unwrap();
            assert!(identity.is_adopted());
            identity.adopt().unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        let inside = inside.join().unwrap();
        assert!(
            inside.contains("Uid:\t61234\t61234\t61234\t61234"),
            "{inside}"
        );
        assert!(
            inside.contains("Gid:\t61235\t61235\t61235\t61235"),
            "{inside}"
        );
        assert!(inside.contains("Groups:\t61235"), "{inside}");
        assert!(Uid::effective().is_root());
    }
}
