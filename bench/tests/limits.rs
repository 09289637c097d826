//! What `sipsec check` promises of the dataplane's tables is what the dataplane has.

use sipsec_pipeline::Limits;
use sipsec_profile::model::limits::{FRAMES_PER_TRIGGER_PACKET, ROUTES_PER_TUNNEL};

#[test]
fn a_checked_profile_fits_the_dataplane() {
    let (tunnels, frames) = (1000, 4096);
    let limits = Limits::for_tunnels(tunnels, frames);
    assert_eq!(limits.tunnels_max, tunnels);
    assert_eq!(limits.routes_max as usize, tunnels as usize * ROUTES_PER_TUNNEL);
    assert!(limits.waiting_packets_max >= frames / FRAMES_PER_TRIGGER_PACKET);
}
