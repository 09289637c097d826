//! Keeps secrets in the memory of this process (no core files, no debuggers of the same user, no swap), and gives up every
//! permission that the control plane does not need.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Needed as long as the process runs: routes follow probes and daemons (NET_ADMIN), sockets are bound to the WAN's device
/// and DHCP has a packet socket, each made anew when an address changes (NET_RAW), and DHCP has ports below 1024.
pub const NEEDED: CapabilitySet =
    CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW).union(CapabilitySet::NET_BIND_SERVICE);

/// What is not protected, and how to change that.
#[derive(Debug, thiserror::Error)]
pub enum HardenError {
    #[error("core files cannot be forbidden: {0}")]
    CoreFiles(io::Error),
    #[error("memory with keys may be swapped to disk: {0}")]
    Lock(io::Error),
    #[error(
        "memory with keys may be swapped to disk: RLIMIT_MEMLOCK is {0} bytes; write LimitMEMLOCK=infinity in the unit"
    )]
    LockLimit(u64),
    #[error("the process keeps permissions that it does not need: {0}")]
    Capabilities(io::Error),
}

/// Root would leave files that the gateway's user cannot open afterwards.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} belongs to the user with uid {uid}, and this process is root: start it by systemd, or as that user with the capabilities \
     of the unit",
    directory.display()
)]
pub struct OtherOwner {
    directory: PathBuf,
    uid: u32,
}

/// Gives up every capability that is not needed, in this thread and those that it starts, and with it what root may do to
/// files of others.
///
/// # Errors
/// If the kernel refuses.
pub fn keep_needed_capabilities() -> Result<(), HardenError> {
    let fail = |e: rustix::io::Errno| HardenError::Capabilities(e.into());
    // Under a finite limit, memory that is locked already would make allocations fail without it.
    let locks = match getrlimit(Resource::Memlock).current {
        Some(_) => CapabilitySet::IPC_LOCK,
        None => CapabilitySet::empty(),
    };
    let kept = capabilities(None).map_err(fail)?.permitted & (NEEDED | locks);
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(fail)?;
    // No program that is started could get them back.
    set_no_new_privs(true).map_err(fail)
}

/// # Errors
/// If this process is root, and the directory is another user's.
pub fn is_own(directory: &Path) -> Result<(), OtherOwner> {
    let owner = std::fs::metadata(directory).map_or(0, |m| m.uid());
    if rustix::process::geteuid().is_root() && owner != 0 {
        return Err(OtherOwner { directory: directory.to_owned(), uid: owner });
    }
    Ok(())
}

/// A core file of this process would hold every key. Also keeps other processes of the same user from reading its memory.
///
/// # Errors
/// If the kernel refuses.
pub fn forbid_core_dumps() -> Result<(), HardenError> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|e| HardenError::CoreFiles(e.into()))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|e| HardenError::CoreFiles(e.into()))
}

/// Keeps all memory of this process, now and later, out of swap. Pages are locked when they are first used.
///
/// # Errors
/// If it is not permitted. It is not even tried under a finite limit: once that is reached, allocations fail.
pub fn lock_memory() -> Result<(), HardenError> {
    let unlimited = Rlimit { current: None, maximum: None };
    // Permitted with CAP_SYS_RESOURCE; without it the limit may be infinite already.
    let _ = setrlimit(Resource::Memlock, unlimited);
    let exempt = capabilities(None).is_ok_and(|c| c.effective.contains(CapabilitySet::IPC_LOCK));
    match getrlimit(Resource::Memlock).current {
        Some(limit) if !exempt => Err(HardenError::LockLimit(limit)),
        _ => {
            let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
            mlockall(flags).map_err(|e| HardenError::Lock(e.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_locked_or_the_remedy_is_told() {
        match lock_memory() {
            Ok(()) => {
                let status = std::fs::read_to_string("/proc/self/status").expect("readable");
                let locked = status.lines().find_map(|l| l.strip_prefix("VmLck:")).expect("there");
                let kib: u64 = locked.trim().trim_end_matches(" kB").parse().expect("a number");
                assert!(kib > 0, "{locked}");
            }
            Err(error) => assert!(error.to_string().contains("swapped"), "{error}"),
        }
        forbid_core_dumps().expect("always permitted");
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }

    #[test]
    fn a_thread_keeps_what_it_needs_and_nothing_else() {
        // Threads have capabilities of their own, so no other test loses any.
        std::thread::spawn(|| {
            let before = capabilities(None).expect("readable").permitted;
            keep_needed_capabilities().expect("giving up is always permitted");
            let after = capabilities(None).expect("readable");
            assert_eq!(after.effective & NEEDED, before & NEEDED);
            assert!((NEEDED | CapabilitySet::IPC_LOCK).contains(after.permitted), "{after:?}");
            assert!(after.inheritable.is_empty());
            if before.contains(CapabilitySet::DAC_OVERRIDE) {
                let name = std::env::temp_dir().join(format!("sipsec-harden-{}", std::process::id()));
                std::fs::write(&name, "x").expect("written");
                let denied =
                    std::fs::set_permissions(&name, std::os::unix::fs::PermissionsExt::from_mode(0o000))
                        .and_then(|()| std::fs::read(&name).map(drop));
                assert_eq!(denied.map_err(|e| e.kind()), Err(io::ErrorKind::PermissionDenied));
                std::fs::remove_file(&name).expect("removed");
            }
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn root_does_not_write_into_the_directory_of_another_user() {
        let dir = std::env::temp_dir().join(format!("sipsec-owner-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        is_own(&dir).expect("our own");
        is_own(&dir.join("absent")).expect("made later");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&dir, Some(12345), None).expect("changed");
            let error = is_own(&dir).expect_err("another user's").to_string();
            assert!(error.contains("12345") && error.contains("systemd"), "{error}");
        }
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
