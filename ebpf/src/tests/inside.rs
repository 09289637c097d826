use super::fixtures::{LOCAL_V6, V4, eth, tagged, udp, v6, with_tag};
use super::*;
use sipsec_abi::bpf::{PROG_INSIDE_ALL, PROG_INSIDE_LPM};
use sipsec_net::{IpPrefix, TunnelId};

fn prefix(text: &str) -> IpPrefix {
    text.parse().expect("valid")
}

#[test]
fn host_mode_takes_every_frame() {
    let Some(mut rig) = Rig::new(true) else { return };
    for frame in [V4::udp([10, 2, 0, 1], 1).frame(), eth(0x0806, &[0; 46]), eth(0xffff, &[])] {
        assert_eq!(rig.run(PROG_INSIDE_ALL, &frame), (XDP_REDIRECT, Counter::InsideRedirect));
    }
}

#[test]
fn router_mode_takes_what_its_prefixes_cover() {
    let Some(mut rig) = Rig::new(true) else { return };
    for p in ["10.2.0.0/16", "192.0.2.7/32", "2001:db8::/64"] {
        rig.steering.prefix_add(prefix(p), TunnelId(3)).expect("added");
    }
    let fragment = V4 { fragment: 0x2001, ..V4::udp([10, 2, 3, 4], 1) };
    for (what, frame) in [
        ("in a /16", V4::udp([10, 2, 255, 255], 1).frame()),
        ("a host", V4::udp([192, 0, 2, 7], 1).frame()),
        ("a fragment", fragment.frame()),
        ("with options", V4 { options: vec![1; 40], ..fragment.clone() }.frame()),
        ("IPv6, any next header", v6(0, LOCAL_V6, &[])),
        ("with a priority tag", with_tag(&V4::udp([10, 2, 0, 1], 1).frame(), [0x81, 0, 0xe0, 0])),
    ] {
        assert_eq!(rig.run(PROG_INSIDE_LPM, &frame), (XDP_REDIRECT, Counter::InsideRedirect), "{what}");
    }

    let mut broadcast = V4::udp([10, 2, 0, 1], 1).frame();
    broadcast[..6].fill(0xff);
    let mut other_v6 = LOCAL_V6;
    other_v6[7] = 1;
    for (what, frame) in [
        ("next to the /16", V4::udp([10, 3, 0, 0], 1).frame()),
        ("next to the host", V4::udp([192, 0, 2, 6], 1).frame()),
        ("another IPv6 prefix", v6(17, other_v6, &udp(1))),
        ("ARP", eth(0x0806, &[0; 46])),
        ("802.1Q", tagged(&V4::udp([10, 2, 0, 1], 1).frame())),
        // RFC 1812 §5.3.4.
        ("a link-layer broadcast", broadcast),
    ] {
        assert_eq!(rig.run(PROG_INSIDE_LPM, &frame), (XDP_PASS, Counter::InsidePass), "{what}");
    }

    let v4 = V4::udp([10, 2, 0, 1], 1).frame();
    let v6 = v6(17, LOCAL_V6, &udp(1));
    for (frame, headers) in [(&v4, 34), (&v6, 54)] {
        for len in 14..headers {
            let got = rig.run(PROG_INSIDE_LPM, &frame[..len]);
            assert_eq!(got, (XDP_PASS, Counter::InsideTruncated), "{len} of {headers}");
        }
    }
}

#[test]
fn a_removed_prefix_is_the_kernels_again() {
    let Some(mut rig) = Rig::new(true) else { return };
    let frame = V4::udp([10, 2, 3, 4], 1).frame();
    rig.steering.prefix_add(prefix("10.2.0.0/16"), TunnelId(3)).expect("added");
    rig.steering.prefix_add(prefix("0.0.0.0/0"), TunnelId(4)).expect("added");
    rig.steering.prefix_remove(prefix("10.2.0.0/16")).expect("removed");
    assert_eq!(rig.run(PROG_INSIDE_LPM, &frame).0, XDP_REDIRECT, "the default route still covers it");
    rig.steering.prefix_remove(prefix("0.0.0.0/0")).expect("removed");
    assert_eq!(rig.run(PROG_INSIDE_LPM, &frame).0, XDP_PASS);
    assert!(matches!(
        rig.steering.prefix_remove(prefix("0.0.0.0/0")),
        Err(SteeringError::PrefixNotThere(IpPrefix::ANY_V4))
    ));
    for p in ["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"] {
        rig.steering.prefix_add(prefix(p), TunnelId(1)).expect("added");
    }
    assert!(matches!(
        rig.steering.prefix_add(prefix("10.4.0.0/16"), TunnelId(1)),
        Err(SteeringError::Full { .. })
    ));
}

#[test]
fn what_is_the_hosts_own_is_the_kernels_whatever_covers_it() {
    let Some(mut rig) = Rig::new(true) else { return };
    rig.steering.prefix_add(prefix("10.0.0.0/8"), TunnelId(3)).expect("added");
    rig.steering.prefix_pass(prefix("10.1.0.0/16")).expect("passed");
    rig.steering.prefix_add(prefix("10.1.9.0/24"), TunnelId(3)).expect("added");
    rig.steering.prefix_add(prefix("::/0"), TunnelId(3)).expect("added");
    let mut to = |frame: &[u8]| rig.run(PROG_INSIDE_LPM, frame).0;
    assert_eq!(to(&V4::udp([10, 1, 0, 1], 1).frame()), XDP_PASS);
    assert_eq!(to(&V4::udp([10, 1, 9, 1], 1).frame()), XDP_REDIRECT);
    assert_eq!(to(&V4::udp([10, 2, 0, 1], 1).frame()), XDP_REDIRECT);
    let v6 = v6(17, LOCAL_V6, &udp(1));
    assert_eq!(to(&v6), XDP_REDIRECT);
    rig.steering.prefix_pass(IpPrefix::host(LOCAL_V6.into())).expect("passed");
    assert_eq!(rig.run(PROG_INSIDE_LPM, &v6).0, XDP_PASS);
}

/// Passing would hand clear text to the kernel's routes.
#[test]
fn tunnel_traffic_without_a_socket_is_dropped() {
    let Some(mut rig) = Rig::new(false) else { return };
    rig.steering.prefix_add(prefix("10.2.0.0/16"), TunnelId(3)).expect("added");
    let frame = V4::udp([10, 2, 3, 4], 1).frame();
    for program in [PROG_INSIDE_ALL, PROG_INSIDE_LPM] {
        assert_eq!(rig.run(program, &frame), (XDP_DROP, Counter::InsideNoSocket));
    }
}
