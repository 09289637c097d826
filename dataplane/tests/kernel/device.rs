//! The sVTI pair on a real kernel.

use crate::support::{Tap, destination, own_namespace, sh, sysctl, veth};
use sipsec_dataplane::device::{ensure_pair, remove_pair};
use sipsec_dataplane::error::BootError;
use sipsec_dataplane::netlink::Netlink;
use sipsec_net::discard;
use std::net::UdpSocket;

#[test]
fn the_pair_is_made_once_then_adopted_and_a_stranger_is_left_alone() {
    if !own_namespace() {
        return;
    }
    let mut nl = Netlink::open().expect("netlink");
    let made = ensure_pair(&mut nl, "svti0", 1438, 1).expect("made");
    assert!(!made.adopted);
    assert_eq!((made.kernel.peer, made.ours.peer), (Some(made.ours.index), Some(made.kernel.index)));
    assert_ne!(made.kernel.mac, made.ours.mac);
    let shown = sh("ip -d link show svti0");
    assert!(shown.contains("NOARP") && shown.contains("mtu 1438") && shown.contains("LOWER_UP"), "{shown}");
    let features = sh("ethtool -k svti0");
    for feature in ["tx-checksumming: off", "tx-tcp-segmentation: off", "generic-segmentation-offload: off"] {
        assert!(features.contains(feature), "{feature}: {features}");
    }
    let again = ensure_pair(&mut nl, "svti0", 1400, 1).expect("adopted");
    assert!(again.adopted);
    assert_eq!((again.kernel.index, again.kernel.mtu), (made.kernel.index, 1400));

    veth("lan9", "other9");
    let foreign = ensure_pair(&mut nl, "lan9", 1400, 1).expect_err("not ours");
    assert!(matches!(foreign, BootError::ForeignDevice { .. }), "{foreign}");
    assert!(matches!(remove_pair(&mut nl, "lan9", true), Err(BootError::ForeignDevice { .. })));
    assert!(remove_pair(&mut nl, "svti0", false).expect("removed"));
    assert!(!remove_pair(&mut nl, "svti0", false).expect("nothing left"));
    assert_eq!(nl.link("svti0-x").expect("looked up"), None);
    nl.link("lan9").expect("looked up").expect("untouched");
}

/// A gateway without its dataplane: a default route over the WAN, forwarding on, and a tunnel route. What goes into the
/// tunnel must come out nowhere.
#[test]
fn without_a_dataplane_nothing_leaves_in_clear() {
    if !own_namespace() {
        return;
    }
    veth("wan0", "far0");
    veth("lan0", "host0");
    sh("ip addr add 192.0.2.1/24 dev wan0");
    sh("ip neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev wan0");
    sh("ip route add default via 192.0.2.254");
    sh("ip addr add 10.1.0.1/24 dev lan0");
    // Every setting that could let a stray packet through is at its most generous.
    sysctl("ipv4/ip_forward", "1");
    sysctl("ipv4/conf/all/rp_filter", "0");
    let mut nl = Netlink::open().expect("netlink");
    ensure_pair(&mut nl, "svti0", 1438, 1).expect("made");
    let (wan, lan) = (Tap::open("far0"), Tap::open("host0"));
    let host = UdpSocket::bind("0.0.0.0:0").expect("socket");
    let lan_mac = nl.link("lan0").expect("looked up").expect("exists").mac.0;
    let from_lan = |to: [u8; 4]| lan.send(&udp_frame(lan_mac, [10, 1, 0, 9], to));
    let marker = |port: u16| {
        host.send_to(b"marker", ("203.0.113.1", port)).expect("sent");
    };
    let tunnel = |f: &[u8]| destination(f).is_some_and(|d| d.octets()[..2] == [10, 2]);
    let is_marker = |f: &[u8]| destination(f).is_some_and(|d| d.octets() == [203, 0, 113, 1]);

    // The test can see a leak: without the tunnel route, the default route takes the packet.
    from_lan([10, 2, 0, 1]);
    host.send_to(b"clear", "10.2.0.1:9").expect("sent");
    assert_eq!(wan.until(|f| tunnel(f)).len(), 1);
    assert!(wan.until(|f| tunnel(f)).len() == 1);

    sh("ip route add 10.2.0.0/16 dev svti0");
    for round in 0..50 {
        from_lan([10, 2, 0, 1]);
        host.send_to(b"clear", "10.2.0.1:9").expect("sent");
        marker(1000 + round);
        let seen = wan.until(is_marker);
        assert!(!seen.iter().any(|f| tunnel(f)), "round {round}");
    }
    // Packets did reach our end, so the dead end is what stopped them.
    let stats = std::fs::read_to_string("/proc/thread-self/net/dev").expect("statistics");
    let line = stats.lines().find(|l| l.trim_start().starts_with("svti0-x:")).expect("our end");
    let received: u64 = line.split_whitespace().nth(2).expect("packets").parse().expect("a number");
    assert!(received >= 100, "{line}");
}

/// UDP to port 9 with a valid IPv4 header.
fn udp_frame(to_mac: [u8; 6], from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let mut f = to_mac.to_vec();
    f.extend_from_slice(&[2, 0, 0, 0, 0, 9, 8, 0]);
    let mut ip = vec![0x45, 0, 0, 33, 0, 0, 0x40, 0, 64, 17, 0, 0];
    ip.extend_from_slice(&from);
    ip.extend_from_slice(&to);
    let sum: u32 = ip.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    f.extend(ip);
    f.extend_from_slice(&[0x80, 0, 0, 9, 0, 13, 0, 0]);
    f.extend_from_slice(b"clear");
    f.resize(60, 0);
    f
}

/// Host mode's discarding routes are the control plane's; `--remove-devices` removes them with the devices, and those of no
/// other gateway or program.
#[test]
fn remove_devices_takes_the_discarding_routes_of_this_gateway() {
    if !own_namespace() {
        return;
    }
    let (ours, others) = (discard::metric("svti0"), discard::metric("svti1"));
    sh(&format!("ip route add blackhole 10.2.0.0/16 proto {} metric {ours}", discard::PROTOCOL));
    sh(&format!("ip -6 route add blackhole 2001:db8:2::/48 proto {} metric {ours}", discard::PROTOCOL));
    sh(&format!("ip route add blackhole 10.2.0.0/16 proto {} metric {others}", discard::PROTOCOL));
    sh(&format!("ip route add blackhole 10.3.0.0/16 proto static metric {ours}"));
    let mut nl = Netlink::open().expect("netlink");
    ensure_pair(&mut nl, "svti0", 1438, 1).expect("made");
    let dir = std::env::temp_dir().join(format!("sipsec-remove-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("made");
    let profile = dir.join("a.yaml");
    let section = "{ outside: { device: wan0 }, inside: { mode: host, device: svti0 } }";
    let text = format!("version: 1\ngateway: a\nruntime_dir: {}\ndataplane: {section}\n", dir.display());
    std::fs::write(&profile, text).expect("written");
    // The process is of this thread's namespace.
    let command = env!("CARGO_BIN_EXE_sipsec-dataplane");
    sh(&format!("{command} --profile {} --remove-devices", profile.display()));
    let left = sh("ip route show") + &sh("ip -6 route show");
    assert_eq!(left.matches(&format!("metric {ours}")).count(), 1, "the operator's: {left}");
    assert!(left.contains("blackhole 10.3.0.0/16") && left.contains(&format!("metric {others}")), "{left}");
    assert!(!left.contains("2001:db8:2::"), "{left}");
    assert_eq!(nl.link("svti0").expect("looked up"), None);
    std::fs::remove_dir_all(dir).expect("removed");
}
