//! System calls that nothing in corex makes, and that would be of use to who has taken it over:
//! seccomp(2) filters.

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter,
};

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// For this machine's architecture none can be made.
    #[error("no filter can be made: {0}")]
    Made(#[from] BackendError),
    /// The kernel refuses it.
    #[error("the kernel refuses the filter: {0}")]
    Refused(#[from] seccompiler::Error),
}

/// Calls that administer the machine, reach into other processes, or are large and seldom needed
/// parts of the kernel. What programs are attached by, bpf(2), isn't among them: maps are read
/// by it, and the kernel asks for capabilities.
const NEEDED_BY_NOBODY: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Flags of clone(2) that make namespaces.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Makes these calls fail with EPERM, in the calling thread and all that it starts.
///
/// # Errors
/// When there can be no filter.
pub fn forbid_what_nobody_needs() -> Result<(), FilterError> {
    let mut rules: Vec<(i64, Vec<SeccompRule>)> = NEEDED_BY_NOBODY
        .iter()
        .map(|number| (*number, Vec::new()))
        .collect();
    let namespaces = NAMESPACES.iter().map(|flag| {
        let flag = *flag as u64;
        let is_set = SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(flag),
            flag,
        )?;
        SeccompRule::new(vec![is_set])
    });
    rules.push((libc::SYS_clone, namespaces.collect::<Result<_, _>>()?));
    install(rules, libc::EPERM)?;
    // Its flags are in memory, which a filter can't see; without it, C libraries use clone(2).
    install(vec![(libc::SYS_clone3, Vec::new())], libc::ENOSYS)
}

/// Lets the calling thread, and all that it starts, start no programs.
///
/// # Errors
/// When there can be no filter.
pub fn forbid_programs() -> Result<(), FilterError> {
    let calls = [libc::SYS_execve, libc::SYS_execveat];
    let rules = calls.map(|number| (number, Vec::new()));
    install(rules.into(), libc::EPERM)
}

/// Lets the calling thread open no sockets, and send no signals.
///
/// # Errors
/// When there can be no filter.
pub fn forbid_reaching_out() -> Result<(), FilterError> {
    let calls = [
        libc::SYS_connect,
        libc::SYS_kill,
        libc::SYS_pidfd_send_signal,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_socket,
    ];
    let rules = calls.map(|number| (number, Vec::new()));
    install(rules.into(), libc::EPERM)
}

fn install(rules: Vec<(i64, Vec<SeccompRule>)>, errno: libc::c_int) -> Result<(), FilterError> {
    let filter = SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    Ok(apply_filter(&program)?)
}

#[cfg(test)]
mod tests {
    use std::{io, process::Command, thread};

    use nix::{
        errno::Errno,
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };

    use super::*;

    #[test]
    fn what_nobody_needs_fails_and_all_else_works() {
        thread::spawn(|| {
            nix::sys::prctl::set_no_new_privs().unwrap();
            forbid_what_nobody_needs().unwrap();
            let refused = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET);
            assert_eq!(refused, Err(Errno::EPERM));
            let refused = mount(
                None::<&str>,
                "/nonexistent",
                None::<&str>,
                MsFlags::empty(),
                None::<&str>,
            );
            assert_eq!(refused, Err(Errno::EPERM));
            let refused = Command::new("unshare").args(["-U", "true"]).output();
            assert!(!refused.unwrap().status.success());
            assert!(thread::spawn(|| true).join().unwrap());
            assert!(Command::new("true").status().unwrap().success());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn no_program_is_started_once_that_is_forbidden() {
        thread::spawn(|| {
            nix::sys::prctl::set_no_new_privs().unwrap();
            forbid_programs().unwrap();
            let refused = Command::new("true").status().unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            assert!(thread::spawn(|| true).join().unwrap());
        })
        .join()
        .unwrap();
    }
}
