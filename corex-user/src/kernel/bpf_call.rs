//! bpf(2), for what aya doesn't offer.

use std::io;

const BPF_PROG_QUERY: libc::c_long = 16;
/// Programs that a place for TCX programs has at most (BPF_MPROG_MAX).
const MAX_PROGRAMS: usize = 64;

/// The first 64 bytes of `union bpf_attr` (include/uapi/linux/bpf.h); what follows is zero.
#[repr(C, align(8))]
pub(super) struct Attributes([u32; 16]);

impl Attributes {
    /// These fields of 32 bits, and zeros.
    pub fn of<const N: usize>(fields: &[u32; N]) -> Self {
        const { assert!(N <= 16) };
        let mut all = [0; 16];
        for (place, field) in all.iter_mut().zip(fields) {
            *place = *field;
        }
        Self(all)
    }
}

/// Calls it with a command whose attributes name no memory.
///
/// # Errors
/// What the kernel says.
pub(super) fn bpf(command: libc::c_long, attributes: &Attributes) -> io::Result<libc::c_long> {
    // SAFETY: pointer and length describe `attributes`, which the kernel only reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// The ids of the programs that a place of an interface has, such as BPF_TCX_INGRESS. Takes
/// CAP_NET_ADMIN.
///
/// # Errors
/// What the kernel says; ENODEV without such an interface.
pub(super) fn attached_to(ifindex: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    /// The part of `union bpf_attr` that is `query`.
    #[repr(C)]
    struct Query {
        target_ifindex: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        count: u32,
        reserved: u32,
        others: [u64; 4],
    }
    let mut ids = vec![0_u32; MAX_PROGRAMS];
    let mut query = Query {
        target_ifindex: ifindex,
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        count: MAX_PROGRAMS as u32,
        reserved: 0,
        others: [0; 4],
    };
    // SAFETY: pointer and length describe `query`, and what it names are `count` numbers; both
    // outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            std::ptr::from_mut(&mut query),
            size_of::<Query>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    ids.truncate(query.count as usize);
    Ok(ids)
}
