//! Kernel routes of last resort that discard what a tunnel does not take, rather than let it leave in clear by a less
//! specific route. Both processes of a gateway know them: one installs them, the other removes them with the devices.

/// `rtm_protocol` of these routes: one that neither linux/rtnetlink.h nor iproute2 assigns.
pub const PROTOCOL: u8 = 183;

/// The metric of the discarding routes of the gateway with this sVTI. It is worse than that of any route that forwards:
/// FRRouting reads the highest byte as administrative distance 255, so that each of its own routes is preferred
/// (Documentation/networking/vrf.rst uses such a metric for the same purpose). The device's name is hashed into it (FNV-1a),
/// so that each gateway of a host has routes of its own.
#[must_use]
pub const fn metric(device: &str) -> u32 {
    let (bytes, mut hash, mut i) = (device.as_bytes(), 0x811c_9dc5_u32, 0);
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    0xff00_0000 | (hash & 0x000f_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_is_of_the_device_and_the_worst_distance() {
        assert_eq!(metric("svti0"), metric("svti0"));
        assert_ne!(metric("svti0"), metric("svti1"));
        // An update must find the routes of the former release.
        assert_eq!(metric(""), 0xff0c_9dc5);
        for device in ["svti0", "svti1", "abcdefghijklmno"] {
            assert_eq!(metric(device) >> 20, 0xff0);
        }
    }
}
