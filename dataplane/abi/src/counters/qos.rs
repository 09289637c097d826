//! What the classes of each tunnel count, in a slot of words beside the tunnel's activity.

use super::{ACTIVITY, ACTIVITY_WORDS, TUNNELS_MAX};
use sipsec_net::TunnelId;
use sipsec_net::qos::{CLASSES_MAX, ClassActivity, QosActivity};

/// Version, then [`VALUES`].
pub(super) const WORDS: usize = 96;
pub(super) const AT: usize = ACTIVITY + TUNNELS_MAX * ACTIVITY_WORDS;
/// Tunnel with its mark, rate and number of classes, MTU, the policer's two, then the classes.
pub(super) const VALUES: usize = HEAD + CLASSES_MAX * CLASS;
const HEAD: usize = 5;
const CLASS: usize = 10;
const _: () = assert!(VALUES < WORDS, "a tunnel's classes fit their slot");

pub(super) fn encode(tunnel: TunnelId, activity: &QosActivity) -> [u64; VALUES] {
    let mut words = [0; VALUES];
    let classes = activity.classes();
    words[..HEAD].copy_from_slice(&[
        1 << 32 | u64::from(tunnel.0),
        (classes.len() as u64) << 32 | u64::from(activity.rate_kbps),
        u64::from(activity.probe_ceiling) << 48
            | u64::from(activity.inner_mtu) << 32
            | u64::from(activity.is_path_mtu) << 16
            | u64::from(activity.outer_mtu),
        activity.exceeded,
        activity.exceeded_bytes,
    ]);
    for (to, c) in words[HEAD..].chunks_exact_mut(CLASS).zip(classes) {
        to.copy_from_slice(&[
            c.packets,
            c.bytes,
            c.drops_full,
            c.drops_aqm,
            c.marks,
            c.queued_packets,
            c.queued_bytes,
            c.delayed,
            c.delay_p50_us,
            c.delay_p99_us,
        ]);
    }
    words
}

/// `None` if the slot is not this tunnel's, or holds what cannot be.
pub(super) fn decode(tunnel: TunnelId, words: &[u64; VALUES]) -> Option<QosActivity> {
    if words[0] != 1 << 32 | u64::from(tunnel.0) {
        return None;
    }
    let len = usize::try_from(words[1] >> 32).ok().filter(|len| *len <= CLASSES_MAX)?;
    let (values, _) = words[HEAD..].as_chunks::<CLASS>();
    let mut classes = [ClassActivity::default(); CLASSES_MAX];
    for (to, values) in classes.iter_mut().zip(values) {
        let [
            packets,
            bytes,
            drops_full,
            drops_aqm,
            marks,
            queued_packets,
            queued_bytes,
            delayed,
            delay_p50_us,
            delay_p99_us,
        ] = *values;
        *to = ClassActivity {
            packets,
            bytes,
            drops_full,
            drops_aqm,
            marks,
            queued_packets,
            queued_bytes,
            delayed,
            delay_p50_us,
            delay_p99_us,
        };
    }
    let mut activity = QosActivity::new(&classes[..len])?;
    activity.rate_kbps = words[1] as u32; // the lower half
    (activity.outer_mtu, activity.is_path_mtu) = (words[2] as u16, words[2] >> 16 & 1 != 0); // the lower bits
    activity.inner_mtu = (words[2] >> 32) as u16;
    activity.probe_ceiling = (words[2] >> 48) as u16;
    (activity.exceeded, activity.exceeded_bytes) = (words[3], words[4]);
    Some(activity)
}
