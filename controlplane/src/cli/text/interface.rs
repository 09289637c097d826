//! `show ip interface brief`

use crate::api::interfaces::Interface;
use std::fmt::Write as _;

/// IOS's columns; a name that is longer than its column moves the others of its line.
#[must_use]
pub fn interfaces(list: &[Interface]) -> String {
    let mut out = line(["Interface", "IP-Address", "OK?", "Method", "Status", "Protocol"]);
    for interface in list {
        let protocol = if interface.line_up { "up" } else { "down" };
        let status = if interface.admin_up { "up" } else { "administratively down" };
        let bare = |address: &String| address.split('/').next().unwrap_or_default().to_owned();
        let first = interface.addresses.first().map_or("unassigned".to_owned(), bare);
        out += &line([&interface.name, &first, "YES", &interface.method, status, protocol]);
        for more in interface.addresses.iter().skip(1) {
            let _ = writeln!(out, "{:<23}{}", "", bare(more));
        }
    }
    out
}

fn line([name, address, ok, method, status, protocol]: [&str; 6]) -> String {
    let line = format!("{name:<22} {address:<15} {ok:<3} {method:<6} {status:<21} {protocol}");
    line.trim_end().to_owned() + "\n"
}

/// Tunnels of the kernel, as `show vpn-sip session` names them; empty if there is none.
#[must_use]
pub fn without_vpn_sip(list: &[Interface]) -> String {
    let mut out = String::new();
    for interface in list {
        if let Some(kind) = &interface.kernel_tunnel {
            let _ = write!(
                out,
                "\nInterface: {}\n   Session status: not configured for vpn-sip ({kind})\n",
                interface.name
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn the_columns_are_those_of_ios() {
        let device = |name: &str, address: &[&str], method: &str, up: (bool, bool)| Interface {
            name: name.to_owned(),
            addresses: address.iter().map(|a| (*a).to_owned()).collect(),
            method: method.to_owned(),
            admin_up: up.0,
            line_up: up.1,
            tunnel: false,
            kernel_tunnel: None,
        };
        let list = [
            device("lo", &["127.0.0.1/8"], "manual", (true, true)),
            device("wan0", &["198.51.100.6/24"], "DHCP", (true, true)),
            device("wan1", &["192.0.2.2/24", "192.0.2.3/24"], "manual", (true, false)),
            device("eth3", &[], "unset", (false, false)),
            Interface { tunnel: true, ..device("Tunnel1", &[], "SIP", (true, false)) },
        ];
        let text = interfaces(&list);
        assert!(text.lines().all(|l| l.len() <= 80), "{text}");
        golden("ip-interface-brief.txt", &text);
    }

    #[test]
    fn a_tunnel_without_vpn_sip_is_named_as_such() {
        let gre = Interface {
            name: "Tunnel9".to_owned(),
            kernel_tunnel: Some("gre".to_owned()),
            ..Interface::default()
        };
        let lo = Interface { name: "lo".to_owned(), ..Interface::default() };
        let text = without_vpn_sip(&[lo, gre]);
        assert_eq!(text, "\nInterface: Tunnel9\n   Session status: not configured for vpn-sip (gre)\n");
    }
}
