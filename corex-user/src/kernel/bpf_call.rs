//! bpf(2), for what aya doesn't offer.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
};

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;
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

/// The part of `union bpf_attr` that is about one element of a map.
#[repr(C)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Element {
    /// A key of a map, or null, and the value's place, or null.
    fn new<K, V>(map: BorrowedFd<'_>, key: *const K, value: *const V) -> Self {
        Self {
            map_fd: map.as_raw_fd() as u32,
            padding: 0,
            key: key as u64,
            value: value as u64,
            flags: 0,
        }
    }
}

/// The part of it that is `batch`.
#[repr(C)]
struct Elements {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Calls it with attributes that name memory.
///
/// # Safety
/// What the attributes name must be as the command has it, and outlive the call.
unsafe fn call<A>(command: libc::c_long, attributes: &mut A) -> io::Result<()> {
    // SAFETY: pointer and length describe `attributes`; the caller answers for what they name.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            ptr::from_mut(attributes),
            size_of::<A>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets an element of a map, whose keys and values are of these types.
///
/// # Errors
/// What the kernel says.
pub(super) fn map_update<K, V>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let mut element = Element::new(map, ptr::from_ref(key), ptr::from_ref(value));
    // SAFETY: a key and a value, which are only read.
    unsafe { call(BPF_MAP_UPDATE_ELEM, &mut element) }
}

/// Takes an element out of a map.
///
/// # Errors
/// What the kernel says; ENOENT if there is none.
pub(super) fn map_delete<K>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut element = Element::new(map, ptr::from_ref(key), ptr::null::<u8>());
    // SAFETY: a key, which is only read.
    unsafe { call(BPF_MAP_DELETE_ELEM, &mut element) }
}

/// Reads an element of a map.
///
/// # Errors
/// What the kernel says; ENOENT if there is none.
pub(super) fn map_lookup<K, V>(map: BorrowedFd<'_>, key: &K, value: &mut V) -> io::Result<()> {
    let mut element = Element::new(map, ptr::from_ref(key), ptr::from_mut(value));
    // SAFETY: a key, which is only read, and room for a value.
    unsafe { call(BPF_MAP_LOOKUP_ELEM, &mut element) }
}

/// Finds the key behind `from` in a map, or the first one, also where `from` isn't there any more.
///
/// # Errors
/// What the kernel says; ENOENT if there is none.
pub(super) fn map_next_key<K>(
    map: BorrowedFd<'_>,
    from: Option<&K>,
    next: &mut K,
) -> io::Result<()> {
    // In the value's place it takes the next key.
    let mut element = Element::new(
        map,
        from.map_or(ptr::null(), ptr::from_ref),
        ptr::from_mut(next),
    );
    // SAFETY: a key or none, which is only read, and room for another one.
    unsafe { call(BPF_MAP_GET_NEXT_KEY, &mut element) }
}

/// Sets elements of a map, as many as there are both keys and values.
///
/// # Errors
/// What the kernel says; some may be set then.
pub(super) fn map_update_batch<K, V>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> io::Result<()> {
    let mut elements = Elements {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len().min(values.len()) as u32,
        map_fd: map.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: `count` keys and values, which are only read.
    unsafe { call(BPF_MAP_UPDATE_BATCH, &mut elements) }
}

/// Reads elements of a map behind `from`, or from the first on, into both rows. Returns how many,
/// and whether there may be more, behind `next`.
///
/// # Errors
/// What the kernel says.
pub(super) fn map_lookup_batch<K, V>(
    map: BorrowedFd<'_>,
    from: Option<&K>,
    next: &mut K,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, bool)> {
    let mut elements = Elements {
        in_batch: from.map_or(0, |from| ptr::from_ref(from) as u64),
        out_batch: ptr::from_mut(next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: keys.len().min(values.len()) as u32,
        map_fd: map.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: room for `count` keys and values and for one more key.
    match unsafe { call(BPF_MAP_LOOKUP_BATCH, &mut elements) } {
        Ok(()) => Ok((elements.count as usize, true)),
        // That was the last of them.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            Ok((elements.count as usize, false))
        }
        Err(error) => Err(error),
    }
}
