//! Keeps secrets in the memory of this process: no core files, no debuggers of the same user, no swap.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use std::io;

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
}
