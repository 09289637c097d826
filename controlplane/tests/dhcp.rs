//! The DHCP clients against servers by others (dnsmasq, Kea), in network namespaces of this test's own. Needs root.

mod support;

use sipsec_controlplane::net::dhcp::{Change, Config, Dhcp, V4, V6, VendorClass};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use support::sh;

/// A server's namespace with the far end of `wan0`, and a directory for its files. Both go with it.
struct Line {
    namespace: String,
    directory: PathBuf,
    server: Option<Child>,
}

impl Line {
    fn new(name: &str) -> Self {
        let namespace = format!("sipsec-dhcp-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(&namespace);
        fs::create_dir_all(&directory).expect("a directory");
        sh(&format!("ip netns add {namespace}"));
        sh(&format!("ip link add wan0 type veth peer name srv netns {namespace}"));
        let line = Self { namespace, directory, server: None };
        line.there("ip link set lo up");
        // A server that starts while its link-local address is still being checked listens to nothing.
        line.there("sysctl -qw net.ipv6.conf.srv.accept_dad=0");
        line.there("ip addr add 192.0.2.1/24 dev srv");
        line.there("ip -6 addr add 2001:db8::1/64 dev srv nodad");
        line.there("ip link set srv up");
        sh("ip link set wan0 up");
        line
    }

    fn there(&self, line: &str) -> String {
        sh(&format!("ip netns exec {} {line}", self.namespace))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::write(&path, text).expect("written");
        path
    }

    fn serve(&mut self, program: &str, arguments: &[&str]) {
        let log = fs::File::create(self.directory.join("server.log")).expect("a log");
        let child = Command::new("ip")
            .args(["netns", "exec", &self.namespace, program])
            .args(arguments)
            .env("KEA_PIDFILE_DIR", &self.directory)
            .env("KEA_LOCKFILE_DIR", &self.directory)
            .stdout(Stdio::from(log.try_clone().expect("a log")))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the server starts");
        self.server = Some(child);
    }

    fn serve_dnsmasq(&mut self, text: &str) {
        let conf = self.file("dnsmasq.conf", text);
        let leases = format!("--dhcp-leasefile={}", self.directory.join("leases").display());
        self.serve("dnsmasq", &["-k", "-C", conf.to_str().expect("text"), &leases]);
    }

    fn store(&self) -> PathBuf {
        self.directory.join("dhcp.json")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("server.log")).unwrap_or_default()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs in a fresh namespace. Without the server the test is skipped.
fn in_namespace(server: &str, test: impl AsyncFnOnce()) {
    if !Path::new("/usr/sbin").join(server).exists() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {server} is not installed");
        return;
    }
    // One server at a time: their lines have the same addresses and names.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    support::in_namespace(async || {
        // Servers that do not answer fail the test instead of holding it.
        tokio::time::timeout(Duration::from_secs(180), test()).await.expect("an answer within 180 s");
    });
}

/// The next lease of DHCPv4.
async fn v4_lease(dhcp: &mut Dhcp) -> Box<sipsec_dhcp::v4::Lease> {
    loop {
        match dhcp.next().await {
            Change::V4(Ok(lease)) => break lease,
            Change::V4(Err(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn v4(vendor_class: Option<VendorClass>) -> V4 {
    V4 { address: true, vendor_class, host_name: None }
}

const DNSMASQ: &str = "\
port=0
interface=srv
bind-interfaces
no-resolv
no-hosts
dhcp-authoritative
no-ping
dhcp-range=192.0.2.100,192.0.2.150,255.255.255.0,120s
dhcp-option=option:router,192.0.2.1
dhcp-option-force=option:sip-server,198.51.100.10,198.51.100.20
dhcp-option-force=option:classless-static-route,198.51.100.0/24,192.0.2.1
dhcp-match=set:ntt,vi-encap:210
dhcp-option-force=tag:ntt,vi-encap:210,202,\"0388881001\"
dhcp-option-force=tag:ntt,vi-encap:210,204,08:6e:74:74:2d:65:61:73:74:02:6e:65:02:6a:70:00
user=root
log-dhcp
log-facility=-
";

#[test]
fn dnsmasq_gives_address_routes_and_the_lines_data() {
    in_namespace("dnsmasq", async || {
        let mut line = Line::new("dnsmasq");
        line.serve_dnsmasq(DNSMASQ);
        let config = Config {
            device: "wan0".into(),
            v4: Some(v4(Some(VendorClass::Ntt))),
            v6: None,
            store: line.store(),
        };
        let mut dhcp = Dhcp::start(config.clone()).expect("starts");
        let lease = v4_lease(&mut dhcp).await;
        let servers: Vec<String> = lease.sip.servers.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["198.51.100.10", "198.51.100.20"], "{}", line.log());
        assert_eq!(lease.sip.vendor.number.as_deref(), Some("0388881001"));
        assert_eq!(lease.sip.vendor.sip_domain.as_deref(), Some("ntt-east.ne.jp"));
        let address = lease.address.to_string();
        assert!(sh("ip -4 -o addr show wan0").contains(&format!("{address}/24")));
        let routes = sh("ip -4 route show proto dhcp");
        assert!(routes.contains("198.51.100.0/24 via 192.0.2.1"), "{routes}");
        assert!(!routes.contains("default"), "RFC 3442: option 3 does not count beside 121: {routes}");
        dhcp.release().await;
        assert!(!sh("ip -4 -o addr show wan0").contains(&address));
        assert_eq!(sh("ip -4 route show proto dhcp"), "");
        assert!(line.log().contains("DHCPRELEASE"), "{}", line.log());
    });
}

#[test]
fn without_the_vendor_class_the_line_says_nothing_of_itself_and_a_restart_keeps_the_address() {
    in_namespace("dnsmasq", async || {
        let mut line = Line::new("restart");
        line.serve_dnsmasq(DNSMASQ);
        let config = Config { device: "wan0".into(), v4: Some(v4(None)), v6: None, store: line.store() };
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let mut dhcp = Dhcp::start(config.clone()).expect("starts");
            let lease = v4_lease(&mut dhcp).await;
            assert_eq!(lease.sip.vendor.number, None);
            addresses.push(lease.address);
            // A process that dies releases nothing.
            drop(dhcp);
        }
        assert_eq!(addresses[0], addresses[1]);
        assert_eq!(line.log().matches("DHCPDISCOVER").count(), 1, "INIT-REBOOT: {}", line.log());
    });
}

#[test]
fn an_address_that_another_host_has_is_declined() {
    in_namespace("dnsmasq", async || {
        let mut line = Line::new("conflict");
        line.there("ip addr add 192.0.2.100/32 dev lo");
        line.there("ip addr add 192.0.2.101/32 dev lo");
        line.serve_dnsmasq(&DNSMASQ.replace("192.0.2.100,192.0.2.150", "192.0.2.100,192.0.2.101"));
        let config = Config { device: "wan0".into(), v4: Some(v4(None)), v6: None, store: line.store() };
        let dhcp = Dhcp::start(config).expect("starts");
        while !line.log().contains("DHCPDECLINE") {
            tokio::task::yield_now().await;
        }
        assert!(!sh("ip -4 -o addr show wan0").contains("192.0.2."));
        drop(dhcp);
    });
}

const KEA6: &str = r#"{ "Dhcp6": {
  "interfaces-config": { "interfaces": [ "srv" ] },
  "server-id": { "type": "LL", "htype": 1, "identifier": "020000000009", "persist": false },
  "lease-database": { "type": "memfile", "persist": false },
  "preferred-lifetime": 600, "valid-lifetime": 900,
  "option-def": [
    { "space": "vendor-210", "name": "number", "code": 202, "type": "string" },
    { "space": "vendor-210", "name": "domain", "code": 204, "type": "fqdn" } ],
  "option-data": [
    { "name": "sip-server-addr", "data": "2001:db8::5060" },
    { "name": "sip-server-dns", "data": "sip.carrier.example" } ],
  "client-classes": [ {
    "name": "line", "test": "option[16].exists",
    "option-data": [
      { "name": "vendor-opts", "data": "210", "always-send": true },
      { "space": "vendor-210", "name": "number", "data": "3", "always-send": true },
      { "space": "vendor-210", "name": "domain", "data": "ntt-east.ne.jp", "always-send": true } ] } ],
  "subnet6": [ {
    "subnet": "2001:db8::/64", "interface": "srv",
    "pools": [ { "pool": "2001:db8::1000-2001:db8::10ff" } ],
    "pd-pools": [ { "prefix": "2001:db8:8000::", "prefix-len": 48, "delegated-len": 56 } ] } ],
  "loggers": [ { "name": "kea-dhcp6", "severity": "INFO", "output_options": [ { "output": "stdout" } ] } ]
} }"#;

#[test]
fn kea_delegates_a_prefix_and_gives_the_lines_data() {
    in_namespace("kea-dhcp6", async || {
        let mut line = Line::new("kea6");
        let conf = line.file("kea6.json", KEA6);
        line.serve("kea-dhcp6", &["-c", conf.to_str().expect("text")]);
        let config = Config {
            device: "wan0".into(),
            v4: None,
            v6: Some(V6 { address: false, prefix: true, vendor_class: Some(VendorClass::Ntt) }),
            store: line.store(),
        };
        let mut dhcp = Dhcp::start(config).expect("starts");
        let lease = loop {
            match dhcp.next().await {
                Change::V6(Ok(lease)) => break lease,
                Change::V6(Err(_)) => {}
                other => panic!("{other:?}"),
            }
        };
        let prefix = lease.prefixes[0];
        assert_eq!(prefix.len, 56, "{}", line.log());
        assert_eq!(lease.sip.servers.addresses[0].to_string(), "2001:db8::5060");
        assert_eq!(lease.sip.servers.names, ["sip.carrier.example"]);
        assert_eq!(lease.sip.vendor.number.as_deref(), Some("3"));
        assert_eq!(lease.sip.vendor.sip_domain.as_deref(), Some("ntt-east.ne.jp"));
        let inside = |text: &str| {
            let address = text.split_whitespace().find_map(|w| w.strip_suffix("/128")?.parse().ok());
            address.is_some_and(|a| prefix.contains(a))
        };
        assert!(inside(&sh("ip -6 -o addr show wan0 scope global")));
        dhcp.release().await;
        assert!(!inside(&sh("ip -6 -o addr show wan0 scope global")));
    });
}

#[test]
fn a_cable_that_is_pulled_takes_the_address() {
    in_namespace("dnsmasq", async || {
        let mut line = Line::new("cable");
        line.serve_dnsmasq(DNSMASQ);
        let config = Config { device: "wan0".into(), v4: Some(v4(None)), v6: None, store: line.store() };
        let mut dhcp = Dhcp::start(config).expect("starts");
        let next = async |dhcp: &mut Dhcp, up: bool| loop {
            match dhcp.next().await {
                Change::V4(Ok(_)) if up => break,
                Change::V4(Err(why)) if !up && why.contains("cable") => break,
                _ => {}
            }
        };
        next(&mut dhcp, true).await;
        line.there("ip link set srv down");
        next(&mut dhcp, false).await;
        assert!(!sh("ip -4 -o addr show wan0").contains("192.0.2."));
        line.there("ip link set srv up");
        next(&mut dhcp, true).await;
        dhcp.release().await;
    });
}
