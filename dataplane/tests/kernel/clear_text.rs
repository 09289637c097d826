//! Ways in which packets for a tunnel could come to leave in clear: the sVTI down, deleted, removed or taken over by mistake.

use crate::process::Dataplane;
use crate::support::{is_root, sh};
use crate::topology::{Side, Topology};

const SECTION: &str = "{ outside: { device: wan0 }, inside: { mode: host, device: svti0 } }";

fn device(topology: &Topology, name: &str) -> Option<String> {
    let out = std::process::Command::new("ip")
        .args(["-n", &topology.gateway(Side::A), "link", "show", "dev", name])
        .output()
        .expect("iproute2");
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn an_svti_that_is_set_down_comes_up_again_and_one_that_is_deleted_is_made_again() {
    if !is_root() {
        return;
    }
    let topology = Topology::new("svti");
    let gateway = topology.gateway(Side::A);
    let mut dataplane = Dataplane::start(&topology, Side::A, SECTION);
    sh(&format!("ip -n {gateway} link set svti0 down"));
    dataplane.await_log("the sVTI was down");
    let shown = device(&topology, "svti0").expect("there");
    assert!(shown.contains(",UP") && shown.contains("NOARP"), "{shown}");
    sh(&format!("ip -n {gateway} link del svti0"));
    // The same process starts anew on a new device.
    dataplane.await_log("the sVTI was removed");
    dataplane.await_log("ready: ");
    let shown = device(&topology, "svti0").expect("made again");
    assert!(shown.contains(",UP") && shown.contains("NOARP"), "{shown}");
    assert!(dataplane.terminate().success());
}

#[test]
fn devices_of_a_running_gateway_are_removed_by_force_only() {
    if !is_root() {
        return;
    }
    let topology = Topology::new("rmdev");
    let mut dataplane = Dataplane::start(&topology, Side::A, SECTION);
    let remove = |more: &[&str]| Dataplane::remove_devices(&topology, Side::A, "a", more);
    let (said, code) = remove(&[]);
    assert!(said.contains("runs") && said.contains("--force") && code == Some(1), "{said}");
    assert!(device(&topology, "svti0").is_some());
    let (said, code) = remove(&["--force"]);
    assert_eq!(code, Some(0), "{said}");
    // A running dataplane makes it again.
    dataplane.await_log("the sVTI was removed");
    dataplane.await_log("ready: ");
    assert!(dataplane.terminate().success());
    let (said, code) = remove(&[]);
    assert_eq!((code, device(&topology, "svti0")), (Some(0), None), "{said}");
}

/// Another gateway on this host, with a device of the running one.
#[test]
fn a_device_serves_one_gateway_and_a_failed_start_leaves_nothing() {
    if !is_root() {
        return;
    }
    let topology = Topology::new("two");
    let first = Dataplane::start(&topology, Side::A, SECTION);
    for (section, in_use) in [
        // The sVTI of the first; its WAN.
        ("{ outside: { device: lan0 }, inside: { mode: host, device: svti0 } }", "svti0"),
        ("{ outside: { device: wan0 }, inside: { mode: host, device: svti1 } }", "wan0"),
    ] {
        let mut second = Dataplane::spawn_as(&topology, Side::A, "second", section);
        let said = second.await_log("has an XDP program already");
        assert!(said.contains(&format!("{in_use} has")) && said.contains("bpftool prog show id"), "{said}");
        assert_eq!(second.wait().code(), Some(1), "{section}");
        assert_eq!(device(&topology, "svti1"), None);
        let (said, code) = Dataplane::remove_devices(&topology, Side::A, "second", &[]);
        assert_eq!(code, Some(u8::from(in_use == "svti0").into()), "{said}");
    }
    // A start that fails later than that: veths take no zero copy.
    let section = "{ outside: { device: lan0 }, inside: { mode: host, device: svti1 }, bind_mode: zerocopy }";
    let mut third = Dataplane::spawn_as(&topology, Side::A, "third", section);
    third.await_log("the sVTI of this failed start");
    assert_eq!((third.wait().code(), device(&topology, "svti1")), (Some(1), None));
    assert!(device(&topology, "svti0").is_some());
    assert!(first.terminate().success());
}

#[test]
fn the_wan_may_shrink_while_the_gateway_runs() {
    if !is_root() {
        return;
    }
    let topology = Topology::new("mtu");
    let mut dataplane = Dataplane::start(&topology, Side::A, SECTION);
    sh(&format!("ip -n {} link set wan0 mtu 1280", topology.gateway(Side::A)));
    let said = dataplane.await_log("the MTU of the WAN has changed");
    assert!(said.contains("1280"), "{said}");
    assert!(dataplane.terminate().success());
}
