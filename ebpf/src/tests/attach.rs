//! Attached to a veth pair in a network namespace that lives and dies with the test's thread.

use super::fixtures::{LOCAL_V4, PEER_V4, V4};
use super::*;
use crate::ethtool::Ethtool;
use crate::{XdpLadder, XdpMode};
use sipsec_net::TunnelId;
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

/// Sends the frame again and again until it is counted: what is sent while the kernel still changes a device (its carrier, a
/// program that is detached) can be lost.
fn send_until(near: u32, frame: &[u8], steering: &Steering, counter: Counter) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let counted = || steering.counters().expect("counters").get(counter) > 0;
    while !counted() {
        assert!(Instant::now() < deadline, "{} never counted a frame", counter.name());
        sys::send_frame(near, frame);
        let again = Instant::now() + Duration::from_millis(20);
        while !counted() && Instant::now() < again {
            std::thread::yield_now();
        }
    }
}

/// A program that was detached stays for as long as another thread's child has not yet reached its `exec`, which closes what it
/// has inherited.
fn attach_when_free(
    steering: &mut Steering,
    (device, program): (u32, InsideProgram),
    ladder: XdpLadder,
) -> XdpMode {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match steering.attach_inside(device, program, ladder) {
            Err(SteeringError::Busy { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            result => return result.expect("attaches").mode,
        }
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

        rig.steering.media_port_open((LOCAL_V4, 50_001).into(), PEER_V4.into(), TunnelId(1)).expect("opens");
        send_until(near, &V4::udp(LOCAL_V4, 50_001).frame(), &rig.steering, Counter::OutsideNoSocket);
        send_until(near, &V4::udp(LOCAL_V4, 5060).frame(), &rig.steering, Counter::OutsidePass);
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
            let SteeringError::Busy { device, program } = &error else { panic!("{error}") };
            assert_eq!((device.as_str(), program.name.as_deref()), ("far", Some("inside_all")), "{error}");
            assert!(program.id.is_some());
        }
        drop(first);
        let mode = attach_when_free(&mut second.steering, (far, inside), XdpLadder::Auto);
        assert_eq!(mode, XdpMode::Driver);
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

/// On at every veth, and hiding something from XDP.
const NEAR: [&str; 3] = ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert", "tx-checksum-ip-generic"];
const FAR: [&str; 3] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse", "rx-gro"];

fn features(device: &str, names: &[&str]) -> Vec<bool> {
    let features = Ethtool::open().and_then(|e| e.features(device)).expect("ethtool");
    names.iter().map(|name| features.is_on(name).expect("the kernel knows it")).collect()
}

/// IEEE 802.1Q: a frame of a VLAN is another LAN's, although its tag is kept beside it, as a NIC with rx-vlan-offload does and
/// as a veth does by default.
#[test]
fn a_frame_of_another_vlan_is_the_kernels() {
    for mode in [XdpMode::Driver, XdpMode::Generic] {
        for (tpid, outside) in [(0x8100, false), (0x8100, true), (0x88a8, false), (0x88a8, true)] {
            let Some(mut rig) = Rig::new(false) else { return };
            in_namespace(1500, |near, far| {
                let ladder = XdpLadder::Only(mode);
                let (frame, truncated, taken) = if outside {
                    rig.steering.attach_outside(far, ladder).expect("attaches");
                    rig.steering
                        .media_port_open((LOCAL_V4, 50_001).into(), PEER_V4.into(), TunnelId(1))
                        .expect("opens");
                    let frame = V4::udp(LOCAL_V4, 50_001).frame();
                    (frame, Counter::OutsideTruncated, Counter::OutsideNoSocket)
                } else {
                    rig.steering.attach_inside(far, InsideProgram::Lpm, ladder).expect("attaches");
                    rig.steering
                        .prefix_add("10.2.0.0/16".parse().expect("valid"), TunnelId(1))
                        .expect("added");
                    (V4::udp([10, 2, 0, 1], 9).frame(), Counter::InsideTruncated, Counter::InsideNoSocket)
                };
                let tagging = sys::tag_all(near, tpid);
                sys::send_frame(near, &frame);
                drop(tagging);
                // A truncated frame follows: its counter tells that the frame before it was processed.
                send_until(near, &frame[..20], &rig.steering, truncated);
                let counters = rig.steering.counters().expect("counters");
                let what = format!("{mode:?}, {tpid:#x}, outside {outside}");
                assert_eq!(counters.get(taken), 0, "{what}: a frame of VLAN 200 was taken for the tunnel");
                send_until(near, &frame, &rig.steering, taken);
            });
        }
    }
}

#[test]
fn offloads_that_hide_something_are_off_while_a_program_is_attached() {
    let Some(mut driver) = Rig::new(false) else { return };
    let Some(mut generic) = Rig::new(false) else { return };
    in_namespace(1500, |_, far| {
        assert!(
            Command::new("ethtool").args(["-K", "far", "gro", "on"]).status().expect("ethtool").success()
        );
        assert_eq!((features("near", &NEAR), features("far", &FAR)), (vec![true; 3], vec![true; 3]));
        driver
            .steering
            .attach_inside(far, InsideProgram::Lpm, XdpLadder::Only(XdpMode::Driver))
            .expect("attaches");
        assert_eq!(
            (features("near", &NEAR), features("far", &FAR)),
            (vec![false; 3], vec![false, false, true])
        );
        drop(driver);
        assert_eq!((features("near", &NEAR), features("far", &FAR)), (vec![true; 3], vec![true; 3]));
        attach_when_free(&mut generic.steering, (far, InsideProgram::Lpm), XdpLadder::Only(XdpMode::Generic));
        assert_eq!((features("near", &NEAR), features("far", &FAR)), (vec![false; 3], vec![false; 3]));
        drop(generic);
        assert_eq!((features("near", &NEAR), features("far", &FAR)), (vec![true; 3], vec![true; 3]));
    });
}

/// A feature that was off before stays off afterwards.
#[test]
fn an_offload_that_was_off_is_not_switched_on() {
    let Some(mut rig) = Rig::new(false) else { return };
    in_namespace(1500, move |_, far| {
        let off = |args: &[&str]| Command::new("ethtool").args(args).status().expect("ethtool").success();
        assert!(off(&["-K", "far", "rxvlan", "off"]) && off(&["-K", "near", "tx", "off"]));
        rig.steering.attach_inside(far, InsideProgram::All, XdpLadder::Auto).expect("attaches");
        drop(rig);
        assert_eq!(features("far", &FAR[..2]), [false, true]);
        assert_eq!(features("near", &NEAR), [true, true, false]);
    });
}
