//! The sVTI pair on a real kernel.

use crate::support::{Tap, destination, own_namespace, sh, sysctl, veth};
use sipsec_dataplane::device::{ensure_pair, remove_pair};
use sipsec_dataplane::error::BootError;
use sipsec_dataplane::netlink::Netlink;
use sipsec_dataplane::tun::{ensure_tun, remove_tun};
use sipsec_net::discard;
use std::net::UdpSocket;
use std::num::NonZeroU8;

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
    nothing_leaves_in_clear(|nl| ensure_pair(nl, "svti0", 1438, 1).map(drop).expect("made"));
    // Packets did reach our end, so the dead end is what stopped them.
    let stats = std::fs::read_to_string("/proc/thread-self/net/dev").expect("statistics");
    let line = stats.lines().find(|l| l.trim_start().starts_with("svti0-x:")).expect("our end");
    let received: u64 = line.split_whitespace().nth(2).expect("packets").parse().expect("a number");
    assert!(received >= 100, "{line}");
}

/// The same in tun mode, whose device has no carrier then.
#[test]
fn without_a_dataplane_nothing_leaves_in_clear_in_tun_mode() {
    if !own_namespace() {
        return;
    }
    nothing_leaves_in_clear(|nl| ensure_tun(nl, "svti0", 1438, NonZeroU8::MIN).map(drop).expect("made"));
    assert!(sh("ip link show svti0").contains("NO-CARRIER"));
}

fn nothing_leaves_in_clear(make: impl FnOnce(&mut Netlink)) {
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
    make(&mut nl);
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
}

#[test]
fn the_device_of_tun_mode_is_kept_adopted_and_one_that_serves_or_is_a_stranger_is_left_alone() {
    if !own_namespace() {
        return;
    }
    let mut nl = Netlink::open().expect("netlink");
    let two = NonZeroU8::new(2).expect("some");
    let made = ensure_tun(&mut nl, "svti0", 1438, two).expect("made");
    assert!(!made.adopted && made.queues.len() == 2);
    let shown = sh("ip -d link show svti0");
    for part in ["NOARP", "mtu 1438", "LOWER_UP", "multi_queue", "persist on", "link/ether"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let features = sh("ethtool -k svti0");
    for feature in ["tx-checksumming: on", "tx-tcp-segmentation: on", "tx-tcp6-segmentation: on"] {
        assert!(features.contains(feature), "{feature}: {features}");
    }
    let again = ensure_tun(&mut nl, "svti0", 1400, two).expect_err("in use");
    assert!(matches!(again, BootError::TunInUse { .. }), "{again}");
    assert!(matches!(remove_tun(&mut nl, "svti0", false), Err(BootError::TunInUse { .. })));
    let index = made.link.index;
    drop(made);
    let again = ensure_tun(&mut nl, "svti0", 1400, NonZeroU8::MIN).expect("adopted");
    assert!(again.adopted);
    assert_eq!((again.link.index, again.link.mtu), (index, 1400));
    drop(again);

    veth("lan9", "other9");
    let foreign = ensure_tun(&mut nl, "lan9", 1400, two).expect_err("not ours");
    assert!(matches!(foreign, BootError::NotTun { .. }), "{foreign}");
    assert!(matches!(remove_tun(&mut nl, "lan9", true), Err(BootError::NotTun { .. })));
    // What host mode has made is not taken over, and the other way round.
    assert!(matches!(ensure_pair(&mut nl, "svti0", 1400, 1), Err(BootError::ForeignDevice { .. })));
    assert!(remove_tun(&mut nl, "svti0", false).expect("removed"));
    assert!(!remove_tun(&mut nl, "svti0", false).expect("nothing left"));
    ensure_pair(&mut nl, "svti0", 1438, 1).expect("made");
    assert!(matches!(ensure_tun(&mut nl, "svti0", 1400, two), Err(BootError::NotTun { .. })));
}

/// With this setting routes would not count while the dataplane is stopped.
#[test]
fn tun_mode_needs_routes_that_count_without_carrier() {
    if !own_namespace() {
        return;
    }
    let mut nl = Netlink::open().expect("netlink");
    for (family, of) in [("ipv4", "all"), ("ipv4", "default"), ("ipv6", "all"), ("ipv6", "default")] {
        let key = format!("{family}/conf/{of}/ignore_routes_with_linkdown");
        sysctl(&key, "1");
        let refused = ensure_tun(&mut nl, "svti0", 1438, NonZeroU8::MIN).expect_err("refused");
        assert!(refused.to_string().contains(&format!("net.{family}.conf.{of}.ignore")), "{refused}");
        assert_eq!(nl.link("svti0").expect("looked up"), None);
        sysctl(&key, "0");
    }
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

/// Host mode's discarding routes and the translations to primary lines are the control plane's; `--remove-devices` removes them
/// with the devices, and those of no other gateway or program.
#[test]
fn remove_devices_takes_the_routes_and_translations_of_this_gateway() {
    if !own_namespace() {
        return;
    }
    let (ours, others) = (discard::metric("svti0"), discard::metric("svti1"));
    sh(&format!("ip route add blackhole 10.2.0.0/16 proto {} metric {ours}", discard::PROTOCOL));
    sh(&format!("ip -6 route add blackhole 2001:db8:2::/48 proto {} metric {ours}", discard::PROTOCOL));
    sh(&format!("ip route add blackhole 10.2.0.0/16 proto {} metric {others}", discard::PROTOCOL));
    sh(&format!("ip route add blackhole 10.3.0.0/16 proto static metric {ours}"));
    let has_nft = std::process::Command::new("nft").arg("--version").output().is_ok();
    let tables = |words: &str| if has_nft { sh(&format!("nft {words}")) } else { String::new() };
    tables("add table ip sipsec-a");
    tables("add table ip sipsec-b");
    tables("add table inet sipsec-drain-a");
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
    let left = tables("list tables");
    assert!(
        !left.contains("sipsec-a")
            && !left.contains("sipsec-drain-a")
            && (!has_nft || left.contains("sipsec-b")),
        "{left}"
    );
    // Again: there is nothing left to remove.
    sh(&format!("{command} --profile {} --remove-devices", profile.display()));
    std::fs::remove_dir_all(dir).expect("removed");
}
