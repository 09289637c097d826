//! The maps. Sizes that depend on the profile are set by the loader; these are the largest.

use crate::layout::{
    COUNTERS as COUNTERS_LEN, Counter, FragmentKey, KERNEL_FRAGMENTS_MAX, MEDIA_PORTS_MAX, MediaPeerKey,
    MediaPortKey, Owner, PREFIXES_MAX, QUEUES_MAX,
};
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, LpmTrie, LruHashMap, PerCpuArray, XskMap};

#[map]
pub static MEDIA_PORTS: HashMap<MediaPortKey, Owner> =
    HashMap::with_max_entries(MEDIA_PORTS_MAX, BPF_F_NO_PREALLOC);

/// The value is how many calls are live between the two.
#[map]
pub static MEDIA_PEERS: HashMap<MediaPeerKey, u32> =
    HashMap::with_max_entries(MEDIA_PORTS_MAX, BPF_F_NO_PREALLOC);

#[map]
pub static KERNEL_FRAGMENTS: LruHashMap<FragmentKey, u8> = LruHashMap::with_max_entries(KERNEL_FRAGMENTS_MAX, 0);

#[map]
pub static PREFIXES_V4: LpmTrie<[u8; 4], Owner> = LpmTrie::with_max_entries(PREFIXES_MAX, BPF_F_NO_PREALLOC);

#[map]
pub static PREFIXES_V6: LpmTrie<[u8; 16], Owner> = LpmTrie::with_max_entries(PREFIXES_MAX, BPF_F_NO_PREALLOC);

#[map]
pub static XSKS_OUTSIDE: XskMap = XskMap::with_max_entries(QUEUES_MAX, 0);

#[map]
pub static XSKS_INSIDE: XskMap = XskMap::with_max_entries(QUEUES_MAX, 0);

#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS_LEN, 0);

#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot is this CPU's own, and XDP programs are not preempted by one another on a CPU.
        unsafe { *slot += 1 };
    }
}
