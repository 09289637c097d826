//! Capabilities: each thread keeps those that its own work needs.
//!
//! | thread | keeps | for |
//! |---|---|---|
//! | main | NET_ADMIN, NET_RAW, BPF, PERFMON | an sVTI that is removed is made again, with programs and sockets |
//! | main | IPC_LOCK, SYS_NICE | memory and the scheduling of the worker that follows |
//! | control | NET_ADMIN, BPF | routes of router mode, offloads, the maps of the XDP programs |
//! | worker | none | packets come and go by descriptors that are open |
//!
//! Threads share their memory, so this bounds what a fault in one of them may ask of the kernel, not what it may overwrite.

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};
use std::io;

/// What the process needs; the unit gives no more.
pub const MAIN: CapabilitySet = CONTROL
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::SYS_NICE);
pub const CONTROL: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::BPF);
pub const WORKER: CapabilitySet = CapabilitySet::empty();

/// Gives up what is not in `wanted`, in this thread and those that it starts.
///
/// # Errors
/// If the kernel refuses.
pub fn keep(wanted: CapabilitySet) -> io::Result<()> {
    let permitted = capabilities(None)?.permitted;
    // Before Linux 5.8 SYS_ADMIN stands for both.
    let bpf = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
    let older = wanted.intersects(bpf) && !permitted.intersects(bpf);
    let wanted = if older { wanted | CapabilitySet::SYS_ADMIN } else { wanted };
    let kept = permitted & wanted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)?;
    // No program that is started could get them back.
    Ok(set_no_new_privs(true)?)
}

/// Locked memory without a limit, while the process may say so.
pub fn lift_memory_limit() {
    // Where it is refused, the unit has set the limit, or locking will fail and be reported.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_gives_what_the_process_needs_and_no_more() {
        let unit = include_str!("../../deploy/systemd/sipsec-dataplane@.service");
        for directive in ["CapabilityBoundingSet=", "AmbientCapabilities="] {
            let given = unit.lines().find_map(|l| l.strip_prefix(directive)).expect(directive);
            let mut given: Vec<_> = given.split(' ').map(str::to_owned).collect();
            let mut needed: Vec<_> = MAIN.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
            given.sort();
            needed.sort();
            assert_eq!(given, needed, "{directive}");
        }
    }

    #[test]
    fn each_thread_has_what_is_left_to_it() {
        std::thread::spawn(|| {
            let before = capabilities(None).expect("readable").permitted;
            for set in [MAIN, CONTROL, WORKER] {
                keep(set).expect("giving up is always permitted");
                let after = capabilities(None).expect("readable");
                assert_eq!((after.permitted, after.effective), (before & set, before & set));
            }
            // What is given up does not come back.
            keep(MAIN).expect("permitted");
            assert!(capabilities(None).expect("readable").permitted.is_empty());
        })
        .join()
        .expect("no panic");
    }
}
