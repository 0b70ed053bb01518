//! Where a corex and its successor meet.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        linux::fs::MetadataExt as _,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::{Pid, Uid},
};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::daemon::state_folder;

/// Successors that may wait.
const BACKLOG: i32 = 4;

/// The socket's path for an instance. Ports are a network namespace's, and so is the socket.
///
/// # Errors
/// Why there is no folder for it.
pub fn path(instance: &str) -> io::Result<PathBuf> {
    let network = fs::metadata("/proc/self/ns/net")?.st_ino();
    let folder = state_folder::runtime(instance)?;
    let name = state_folder::plain(instance);
    Ok(folder.join(format!("{name}-{network}.take-over")))
}

/// Opens the socket; one that nobody listens on any more is replaced.
///
/// # Errors
/// `AddrInUse` where somebody does; what the kernel says.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    if path.symlink_metadata().is_ok() {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?;
            }
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file takes the permissions that the socket has: at no time is it open to others.
    let socket = File::from(OwnedFd::from(socket));
    socket.set_permissions(Permissions::from_mode(0o600))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(OwnedFd::from(socket).into())
}

/// Takes a socket that listens over from another process.
///
/// # Errors
/// What the kernel says.
pub fn listen_again(listener: &UnixListener) -> io::Result<()> {
    SockRef::from(listener).listen(BACKLOG)
}

/// The process at the other end (unix(7), SO_PEERCRED), if it is root's or of this process's user.
///
/// # Errors
/// It is somebody else's.
pub fn trusted(peer: &UnixStream) -> io::Result<Pid> {
    let credentials = getsockopt(peer, PeerCredentials)?;
    let user = Uid::from_raw(credentials.uid());
    if user.is_root() || user == Uid::effective() {
        return Ok(Pid::from_raw(credentials.pid()));
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("process {} is user {user}'s", credentials.pid()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_had_once_and_one_that_was_left_is_replaced() {
        let path = std::env::temp_dir().join(format!("corex-place-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let first = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().st_mode() & 0o777, 0o600);
        let kind = listen(&path).map(drop).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::AddrInUse);
        let client = UnixStream::connect(&path).unwrap();
        assert_eq!(trusted(&client).unwrap(), Pid::this());
        drop((client, first));
        listen(&path).unwrap();
        fs::remove_file(&path).unwrap();
    }
}
