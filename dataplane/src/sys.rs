//! System calls that have no safe name elsewhere. The only unsafe code of this crate.
#![expect(unsafe_code, reason = "prctl, scheduling and the monotonic clock have no safe wrapper")]

use sipsec_net::Instant;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{FromRawFd, OwnedFd};

/// Keeps this process's memory (keys, packets) out of core files and away from other processes' debuggers.
pub fn forbid_core_dumps() -> io::Result<()> {
    // SAFETY: no pointers.
    let rc = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// Keeps keys out of swap: every page is locked when it is first touched.
pub fn lock_memory() -> io::Result<()> {
    mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT)
}

/// Touches and locks every page that is mapped now, reserved room of tables and queues included, so that the packet path meets
/// no page fault for them. Later mappings are locked when they are touched, as before.
pub fn populate_memory() -> io::Result<()> {
    mlockall(libc::MCL_CURRENT)?;
    mlockall(libc::MCL_FUTURE | libc::MCL_ONFAULT)
}

/// Says that these pages may be large ones. Their contents stay.
pub fn prefer_huge_pages(range: std::ops::Range<usize>) -> io::Result<()> {
    // SAFETY: this advice changes no byte of the pages, and addresses without a mapping are refused.
    let rc = unsafe {
        libc::madvise(std::ptr::without_provenance_mut(range.start), range.len(), libc::MADV_HUGEPAGE)
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn mlockall(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointers.
    let rc = unsafe { libc::mlockall(flags) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Runs this thread on one processor.
pub fn pin(core: u16) -> io::Result<()> {
    // SAFETY: `set` is plain bits, and CPU_SET stays inside it because of the check.
    let rc = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        if usize::from(core) >= size_of::<libc::cpu_set_t>() * 8 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        libc::CPU_SET(usize::from(core), &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Real-time scheduling of this thread.
pub fn fifo(priority: u8) -> io::Result<()> {
    let param = libc::sched_param { sched_priority: i32::from(priority) };
    // SAFETY: `param` lives until the call returns; 0 is the calling thread.
    let rc = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Blocks SIGTERM and SIGINT in this thread (and those it starts later) and gives a descriptor that tells of them.
pub fn termination_fd() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before use, and signalfd gives a descriptor of our own.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// CLOCK_MONOTONIC (a vDSO call of about 20 ns).
#[must_use]
pub fn now() -> Instant {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}

/// The processor's own counter where there is one, nanoseconds elsewhere: for comparing stages, not for telling time.
#[derive(Clone, Copy, Debug)]
pub struct Cycles;

impl sipsec_pipeline::CycleCounter for Cycles {
    fn now(&self) -> u64 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads a register; every x86-64 processor has it.
        return unsafe { core::arch::x86_64::_rdtsc() };
        #[cfg(not(target_arch = "x86_64"))]
        return now().as_nanos();
    }
}
