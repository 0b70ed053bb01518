//! Descriptors that go from one process to another by a UNIX socket (unix(7), SCM_RIGHTS).

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};

/// Descriptors that go with one byte; the kernel takes 253 at most (SCM_MAX_FD).
const AT_ONCE: usize = 128;

/// Sends descriptors, each 128 of them with a byte of their own.
///
/// # Errors
/// What the kernel says.
pub fn send(socket: &UnixStream, descriptors: &[impl AsFd]) -> io::Result<()> {
    descriptors
        .chunks(AT_ONCE)
        .try_for_each(|some| send_with(socket, &[0], some))
}

/// Sends bytes, few enough to go at once, and descriptors with them, 128 at most.
///
/// # Errors
/// What the kernel says.
pub fn send_with(socket: &UnixStream, bytes: &[u8], descriptors: &[impl AsFd]) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors
        .iter()
        .map(|fd| fd.as_fd().as_raw_fd())
        .collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let messages = if raw.is_empty() { &[][..] } else { &rights };
    let parts = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let sent = sendmsg::<()>(socket.as_raw_fd(), &parts, messages, flags, None)?;
    if sent != bytes.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

/// Receives as many descriptors as were [sent](send), in their order.
///
/// # Errors
/// What the kernel says; that the other end closed, or sent fewer.
pub fn receive(socket: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    while all.len() < count {
        let some = receive_with(socket, &mut [0])?;
        if some.is_empty() {
            // The process has no more descriptors to give (RLIMIT_NOFILE).
            return Err(io::Error::other(
                "descriptors that were sent did not arrive",
            ));
        }
        all.extend(some);
    }
    if all.len() == count {
        Ok(all)
    } else {
        Err(io::Error::other(
            "more descriptors came than were announced",
        ))
    }
}

/// The other side of [`send_with`]: fills `bytes`, and returns the descriptors that came with them.
///
/// # Errors
/// What the kernel says; that the other end closed before all was there.
pub fn receive_with(socket: &UnixStream, bytes: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
    let len = bytes.len();
    let mut room = cmsg_space!([RawFd; AT_ONCE]);
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL;
    // A signal ends the wait of a socket with a time-out, whatever its handler asks for (signal(7)).
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags) {
            Err(Errno::EINTR) => {}
            outcome => break outcome?,
        }
    };
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(some) = control {
            for fd in some {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else owns it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    if message.bytes != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, io::Read as _, io::Write as _};

    #[test]
    fn many_descriptors_arrive_in_their_order_and_bytes_beside_them_stay_apart() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let (ends, sent): (Vec<UnixStream>, Vec<UnixStream>) =
            (0..300).map(|_| UnixStream::pair().unwrap()).unzip();
        here.write_all(b"before").unwrap();
        send(&here, &sent).unwrap();
        here.write_all(b"behind").unwrap();
        drop(sent);
        let mut text = [0; 6];
        there.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"before");
        let received = receive(&there, 300).unwrap();
        for (number, (mut end, received)) in ends.into_iter().zip(received).enumerate() {
            File::from(received)
                .write_all(&number.to_be_bytes())
                .unwrap();
            let mut bytes = [0; size_of::<usize>()];
            end.read_exact(&mut bytes).unwrap();
            assert_eq!(usize::from_be_bytes(bytes), number);
        }
        there.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"behind");
    }

    #[test]
    fn who_sends_fewer_than_announced_is_found_out() {
        let (here, there) = UnixStream::pair().unwrap();
        send(&here, &[&there]).unwrap();
        drop(here);
        assert!(receive(&there, 2).is_err());
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(b"x").unwrap();
        assert!(receive(&there, 1).is_err());
    }
}
