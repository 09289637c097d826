//! Attached to a veth pair in a network namespace that lives and dies with the test's thread.

use super::fixtures::{LOCAL_V4, V4};
use super::*;
use crate::{XdpLadder, XdpMode};
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs in a new network namespace with a veth pair `near`–`far`, both up; gives their indexes.
fn in_namespace(mtu: u32, test: impl FnOnce(u32, u32) + Send) {
    std::thread::scope(|scope| {
        let body = scope.spawn(move || {
            // SAFETY: a network namespace concerns no memory; only this thread moves.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("unshare");
            let mtu = mtu.to_string();
            ip(&["link", "add", "near", "mtu", &mtu, "type", "veth", "peer", "name", "far", "mtu", &mtu]);
            for device in ["near", "far"] {
                ip(&["link", "set", device, "up"]);
            }
            let index = |name| rustix::net::netdevice::name_to_index(control(), name).expect("exists");
            test(index("near"), index("far"));
        });
        if let Err(panic) = body.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn control() -> OwnedFd {
    rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .expect("socket")
}

fn ip(args: &[&str]) {
    let status = Command::new("ip").args(args).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {args:?}");
}

/// Counters of frames that are already on their way; bounded by a generous deadline, not by a sleep.
fn until(steering: &Steering, counter: Counter, n: u64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while steering.counters().expect("counters").get(counter) < n {
        assert!(Instant::now() < deadline, "{} never reached {n}", counter.name());
        std::thread::yield_now();
    }
}

#[test]
fn the_ladder_takes_driver_mode_and_says_so() {
    let Some(mut rig) = Rig::new(false) else { return };
    // Driver mode with an MTU of 9000 needs `xdp.frags` programs.
    in_namespace(9000, |near, far| {
        let attached = rig.steering.attach_outside(far, XdpLadder::Auto).expect("attaches");
        assert_eq!(attached.mode, XdpMode::Driver);
        assert!(attached.driver_refused.is_none());
        assert!(matches!(
            rig.steering.attach_outside(far, XdpLadder::Auto),
            Err(SteeringError::AttachedBefore(Port::Outside))
        ));

        rig.steering.media_port_open((LOCAL_V4, 50_001).into(), sipsec_net::TunnelId(1)).expect("opens");
        sys::send_frame(near, &V4::udp(LOCAL_V4, 50_001).frame());
        until(&rig.steering, Counter::OutsideNoSocket, 1);
        sys::send_frame(near, &V4::udp(LOCAL_V4, 5060).frame());
        until(&rig.steering, Counter::OutsidePass, 1);
    });
}

#[test]
fn a_device_that_has_a_program_is_busy_and_is_free_after_drop() {
    let (Some(mut first), Some(mut second)) = (Rig::new(false), Rig::new(false)) else { return };
    in_namespace(1500, move |_, far| {
        let inside = InsideProgram::All;
        first.steering.attach_inside(far, inside, XdpLadder::Only(XdpMode::Generic)).expect("attaches");
        for ladder in [XdpLadder::Auto, XdpLadder::Only(XdpMode::Generic)] {
            let error = second.steering.attach_inside(far, inside, ladder).expect_err("busy");
            assert!(matches!(error, SteeringError::Busy { ifindex } if ifindex == far), "{error}");
        }
        drop(first);
        let attached = second.steering.attach_inside(far, inside, XdpLadder::Auto).expect("free again");
        assert_eq!(attached.mode, XdpMode::Driver);
    });
}

/// A device whose driver has no XDP: loopback.
#[test]
fn the_ladder_goes_on_to_generic_and_says_why() {
    let Some(mut rig) = Rig::new(false) else { return };
    in_namespace(1500, |_, _| {
        let attached = rig.steering.attach_outside(1, XdpLadder::Auto).expect("attaches");
        assert_eq!(attached.mode, XdpMode::Generic);
        assert!(attached.driver_refused.is_some());
    });
    let Some(mut rig) = Rig::new(false) else { return };
    in_namespace(1500, |_, _| {
        let only = XdpLadder::Only(XdpMode::Driver);
        let error = rig.steering.attach_outside(1, only).expect_err("no driver mode");
        assert!(matches!(error, SteeringError::Attach { mode: XdpMode::Driver, .. }), "{error}");
    });
}
