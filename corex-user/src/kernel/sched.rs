//! The scheduler's attributes of the calling thread (sched_setattr(2)).

use std::{io, time::Duration};

/// uapi/linux/sched/types.h, as of SCHED_ATTR_SIZE_VER0.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Of SCHED_OTHER since Linux 6.12: the slice, in nanoseconds; 0: the default one.
    runtime: u64,
    deadline: u64,
    period: u64,
}

const SIZE: u32 = size_of::<Attributes>() as u32;
/// The calling thread.
const SELF: libc::pid_t = 0;
/// There are none yet.
const NO_FLAGS: libc::c_uint = 0;

/// Sets the slice of a thread of SCHED_OTHER; of others nothing changes.
///
/// # Errors
/// What the kernel says.
pub fn set_slice(slice: Duration) -> io::Result<()> {
    let mut attributes = get()?;
    if attributes.policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.size = SIZE;
    attributes.runtime = slice.as_nanos() as u64;
    // SAFETY: the kernel reads as many bytes as `size` says, and the value has them.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            SELF,
            &raw const attributes,
            NO_FLAGS,
        )
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn get() -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the kernel writes at most SIZE bytes, and the value has them; any bits will do.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            SELF,
            &raw mut attributes,
            SIZE,
            NO_FLAGS,
        )
    };
    match outcome {
        0 => Ok(attributes),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_slice_changes() {
        std::thread::spawn(|| {
            let before = get().unwrap();
            set_slice(Duration::from_micros(300)).unwrap();
            let after = get().unwrap();
            assert_eq!((before.policy, before.nice), (after.policy, after.nice));
            // Where the kernel doesn't know it, it says 0.
            assert!([0, 300_000].contains(&after.runtime), "{}", after.runtime);
        })
        .join()
        .unwrap();
    }
}
