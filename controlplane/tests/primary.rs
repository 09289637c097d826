//! Rules of `nat.primary` in the kernel, in a network namespace of this test's own. Needs root and nft.

mod support;

use sipsec_controlplane::net::primary::{Primary, Rules};
use sipsec_profile::model::PrimaryNat;
use sipsec_profile::model::nat::PortProtocol;
use sipsec_profile::model::primary_nat::{Forward, PrimaryFiltering};
use std::time::Duration;
use support::{in_namespace, sh};

fn rules(forwards: &[(PortProtocol, u16, &str)]) -> Rules {
    let prefix = |text: &str| text.parse().expect("a prefix");
    let forward = |(protocol, port, local): &(PortProtocol, u16, &str)| Forward {
        protocol: *protocol,
        port: *port,
        local: local.parse().expect("an endpoint"),
    };
    Rules {
        table: "sipsec-branch".into(),
        tunnels: vec!["svti0".into()],
        primary: vec![PrimaryNat {
            device: "wan1".into(),
            sources: vec![prefix("192.168.1.0/24"), prefix("192.168.128.0/17")],
            exempt: vec![prefix("10.0.0.0/8")],
            port_first: 1024,
            port_last: 49_151,
            filtering: PrimaryFiltering::default(),
            forwards: forwards.iter().map(forward).collect(),
        }],
    }
}

/// Until `nft` shows what is wanted.
async fn shown(is_wanted: impl Fn(&str) -> bool) -> String {
    for _ in 0..100 {
        let text = sh("nft list ruleset");
        if is_wanted(&text) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not shown within 10 s:\n{}", sh("nft list ruleset"));
}

const WHOLE: &str = r#"table ip sipsec-branch {
	chain paths {
		type filter hook prerouting priority raw; policy accept;
		iifname "svti0" ct zone set 83
		fib daddr . mark oifname "svti0" ct zone set 83
	}

	chain own {
		type filter hook output priority raw; policy accept;
		oifname "svti0" ct zone set 83
	}

	chain arriving {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "wan1" fib daddr type local jump ports_0
		ip saddr 192.168.1.0/24 ip daddr != 192.168.1.0/24 ip daddr != 192.168.128.0/17 fib daddr type local jump ports_0
		ip saddr 192.168.128.0/17 ip daddr != 192.168.1.0/24 ip daddr != 192.168.128.0/17 fib daddr type local jump ports_0
	}

	chain ports_0 {
		tcp dport 8080 dnat to 192.168.1.10:80
		udp dport 53 dnat to 192.168.1.11:5353
	}

	chain leaving {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "wan1" fib saddr type local accept
		oifname "wan1" ip daddr 10.0.0.0/8 accept
		oifname "wan1" ip saddr 192.168.1.0/24 meta l4proto tcp masquerade to :1024-49151
		oifname "wan1" ip saddr 192.168.1.0/24 meta l4proto udp masquerade to :1024-49151
		oifname "wan1" ip saddr 192.168.1.0/24 masquerade
		ip saddr 192.168.1.0/24 ct status dnat oifname != "wan1" masquerade
		oifname "wan1" ip saddr 192.168.128.0/17 meta l4proto tcp masquerade to :1024-49151
		oifname "wan1" ip saddr 192.168.128.0/17 meta l4proto udp masquerade to :1024-49151
		oifname "wan1" ip saddr 192.168.128.0/17 masquerade
		ip saddr 192.168.128.0/17 ct status dnat oifname != "wan1" masquerade
	}

	chain guard {
		type filter hook postrouting priority 300; policy accept;
		oifname "wan1" fib saddr type local accept
		oifname "wan1" ip daddr 10.0.0.0/8 accept
		oifname "wan1" ip saddr 192.168.1.0/24 counter packets 0 bytes 0 drop
		oifname "wan1" ip saddr 192.168.128.0/17 counter packets 0 bytes 0 drop
	}
}
"#;

#[test]
fn rules_are_installed_kept_changed_and_removed() {
    in_namespace(async || {
        let all =
            [(PortProtocol::Tcp, 8080, "192.168.1.10:80"), (PortProtocol::Udp, 53, "192.168.1.11:5353")];
        let primary = Primary::start(rules(&all));
        let whole = shown(|text| text.contains("guard")).await;
        assert_eq!(whole, WHOLE);
        assert_eq!(primary.view().state(), Some(Ok(())));
        // Another program loads its rules, and begins with an empty kernel.
        sh("nft flush ruleset");
        sh("nft add table ip other");
        assert!(shown(|text| text.contains("guard")).await.contains("table ip other"));
        // A chain of ours is emptied.
        sh("nft flush chain ip sipsec-branch leaving");
        shown(|text| text.contains("masquerade to")).await;
        // Another profile: in one step, and without what is gone.
        primary.set(rules(&all[..1]));
        let changed = shown(|text| !text.contains("5353")).await;
        assert!(changed.contains("8080") && changed.contains("guard"), "{changed}");
        primary.set(Rules { primary: Vec::new(), ..rules(&[]) });
        shown(|text| !text.contains("sipsec-branch")).await;
        assert_eq!(primary.view().state(), None);
    });
}

#[test]
fn rules_of_an_earlier_run_stay_and_go_with_the_profile() {
    in_namespace(async || {
        let primary = Primary::start(rules(&[]));
        shown(|text| text.contains("guard")).await;
        drop(primary);
        assert!(sh("nft list ruleset").contains("guard"), "hosts go on");
        let primary = Primary::start(Rules { primary: Vec::new(), ..rules(&[]) });
        shown(|text| !text.contains("sipsec-branch")).await;
        drop(primary);
    });
}

#[test]
fn a_port_that_a_host_has_sent_from_is_open_to_all_where_the_profile_says_so() {
    in_namespace(async || {
        let mut open = rules(&[]);
        open.primary[0].filtering = PrimaryFiltering::EndpointIndependent;
        let primary = Primary::start(open);
        let text = shown(|text| text.contains("reaching")).await;
        for wanted in [
            "type inet_proto . inet_service : ipv4_addr . inet_service",
            "flags dynamic,timeout",
            "iifname \"wan1\" fib daddr type local socket wildcard <= 1 accept",
            "map @reached_0",
            "ct direction original ct original ip saddr 192.168.128.0/17 ct status snat meta l4proto udp update @reached_0",
        ] {
            assert!(text.contains(wanted), "`{wanted}` in\n{text}");
        }
        primary.set(rules(&[]));
        shown(|text| text.contains("guard") && !text.contains("reach")).await;
    });
}
