//! `show vpn-sip sip dhcp`

use super::clock;
use crate::api::model::{DhcpFamily, DhcpView};
use std::fmt::Write as _;

/// The first lines are those of the original; the options follow, by family.
#[must_use]
pub fn dhcp(view: &DhcpView) -> String {
    let mut out = format!("SIP-DHCP interface: {}\n\n", view.interface);
    let families = [("DHCPv4", &view.ipv4), ("DHCPv6", &view.ipv6)];
    let used: Vec<_> = families.iter().filter_map(|(name, f)| Some((name, f.as_ref()?))).collect();
    if used.is_empty() {
        out.push_str("DHCP is not used: `wan` says `system`.\n");
        return out;
    }
    out.push_str("SIP server address:\n");
    for (_, family) in &used {
        for server in &family.sip_servers {
            let _ = writeln!(out, "Domain name: {server}");
        }
    }
    for (name, family) in used {
        let _ = writeln!(out, "\n{name}: {}", family.state);
        out.push_str(&options(family));
    }
    out
}

fn options(family: &DhcpFamily) -> String {
    let seconds = |s: &Option<u64>| s.map(clock);
    let joined = |list: &Vec<String>| (!list.is_empty()).then(|| list.join(", "));
    let rows = [
        ("Address", joined(&family.addresses)),
        ("Prefix", joined(&family.prefixes)),
        ("Server", family.server.clone()),
        ("Lease ends in", seconds(&family.expires_s)),
        ("Renewal in", seconds(&family.renews_s)),
        ("Routes", joined(&family.routes)),
        ("Name servers", joined(&family.dns)),
        ("Number", family.number.clone()),
        ("More numbers", joined(&family.additional_numbers)),
        ("SIP domain", family.sip_domain.clone()),
        ("Update host", family.update_host.clone()),
        ("Unreadable", joined(&family.unreadable)),
    ];
    let mut out = String::new();
    for (name, value) in rows.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let _ = writeln!(out, "  {:<15}{value}", format!("{name}:"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_are_the_originals() {
        let view = DhcpView {
            interface: "wan0".into(),
            ipv4: Some(DhcpFamily {
                state: "bound".into(),
                addresses: vec!["192.0.2.7/24".into()],
                server: Some("192.0.2.1".into()),
                sip_servers: vec!["ipv4:198.51.100.10".into(), "dns:example.com".into()],
                number: Some("0388881001".into()),
                expires_s: Some(3725),
                ..DhcpFamily::default()
            }),
            ipv6: None,
        };
        assert_eq!(
            dhcp(&view),
            "SIP-DHCP interface: wan0\n\nSIP server address:\nDomain name: ipv4:198.51.100.10\n\
             Domain name: dns:example.com\n\nDHCPv4: bound\n  Address:       192.0.2.7/24\n  \
             Server:        192.0.2.1\n  Lease ends in: 01:02:05\n  Number:        0388881001\n"
        );
        let unused = DhcpView { interface: "wan0".into(), ipv4: None, ipv6: None };
        assert!(dhcp(&unused).ends_with("DHCP is not used: `wan` says `system`.\n"));
    }
}
