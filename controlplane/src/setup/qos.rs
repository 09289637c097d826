//! From the profile's policies to what the dataplane knows of a tunnel's classes.

use sipsec_net::dp::OuterDscp;
use sipsec_net::qos::{ClassSpec, DEFAULT_CLASS, Filter, Police, PoliceAction, PortRange, QosSpec, Share};
use sipsec_profile::Profile;
use sipsec_profile::model::TunnelEntry;
use sipsec_profile::model::carrier::MediaDscp;
use sipsec_profile::model::qos::{CLASS_DEFAULT, Exceed, Part, PoliceEntry, QosClass, QosMatch, QosMode};
use sipsec_session::TunnelQos;

pub fn tunnel_qos(profile: &Profile, tunnel: &TunnelEntry) -> TunnelQos {
    let mut out = TunnelQos::plain(tunnel.id);
    let policy = tunnel.qos.as_deref().and_then(|name| profile.qos.policy(name));
    let police_entry = policy.and_then(|p| p.police).unwrap_or(profile.qos.police);
    if let Some(policy) = policy {
        out.policy = Some(policy.name.clone());
        out.fails_calls = profile.qos.mode == QosMode::StrictCisco;
        let default = policy.classes.iter().find(|c| c.is_default()).map(class).unwrap_or_default();
        let (mut classes, mut number) = (vec![default], DEFAULT_CLASS);
        for own in policy.classes.iter().filter(|c| !c.is_default()) {
            number += 1;
            classes.push(class(own));
            out.class_names.push(own.name.clone());
            out.filters.extend(own.matches.iter().map(|m| filter(number, m)));
        }
        // The reader has counted them.
        out.spec = QosSpec::new(tunnel.id).with_classes(&classes).unwrap_or(out.spec);
    }
    out.class_names[0] = CLASS_DEFAULT.to_owned();
    out.spec.police = police(&police_entry);
    out
}

const fn police(entry: &PoliceEntry) -> Police {
    let action = match entry.exceed {
        Exceed::Off => PoliceAction::Off,
        Exceed::Count => PoliceAction::Count,
        Exceed::Mark => PoliceAction::Mark(entry.dscp.value()),
        Exceed::Drop => PoliceAction::Drop,
    };
    Police { action, burst_ms: entry.burst_ms }
}

fn class(class: &QosClass) -> ClassSpec {
    let share = |part: Part| match part {
        Part::Kbps(kbps) => Share::Kbps(kbps),
        Part::Percent(percent) => Share::Percent(percent),
    };
    ClassSpec {
        guarantee: class.guarantee.map(share),
        ceiling: class.ceiling.map(share),
        priority: class.priority,
        outer_dscp: class.dscp.map(|dscp| match dscp {
            MediaDscp::Copy => OuterDscp::CopyInner,
            MediaDscp::Fixed(dscp) => OuterDscp::Fixed(dscp),
        }),
    }
}

fn filter(class: u8, m: &QosMatch) -> Filter {
    let dscp = match &m.dscp[..] {
        [] => u64::MAX,
        some => some.iter().fold(0, |mask, dscp| mask | 1 << dscp.value()),
    };
    Filter {
        class,
        dscp,
        source: m.source,
        destination: m.destination,
        protocol: m.protocol.number(),
        source_ports: m.source_ports.unwrap_or(PortRange::ANY),
        destination_ports: m.destination_ports.unwrap_or(PortRange::ANY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn profile(qos: &str, of_tunnel: &str) -> Profile {
        let text = format!(
            "version: 1\ngateway: g\nsip:\n  interface: wan0\n  registrar: \"192.0.2.1:5060\"\n  domain: example.com\n  lines:\n  - number: \"0388881001\"\n\
             ike:\n  keyring:\n  - {{ number: \"0388882001\", psk: \"0xd1f0a93b7c4e58261b7f9c03e6a2d845\" }}\n\
             media:\n  ports: 50000-50999\n  tunnel_source: 10.255.0.1\n{qos}\
             tunnels:\n- {{ name: Tunnel1, local_number: \"0388881001\", remote_number: \"0388882001\", bandwidth_kbps: 64, routes: [10.2.0.0/16]{of_tunnel} }}\n\
             dataplane:\n  outside: {{ device: wan0 }}\n  inside: {{ mode: host, device: svti0 }}\n"
        );
        let (profile, findings) = config::examine("test.yaml", &text);
        profile.unwrap_or_else(|| panic!("{findings:?}"))
    }

    #[test]
    fn a_tunnel_without_a_policy_has_one_class_and_is_measured() {
        let profile = profile("", "");
        let qos = tunnel_qos(&profile, &profile.tunnels[0]);
        assert_eq!(qos, TunnelQos::plain(profile.tunnels[0].id));
        assert_eq!(qos.spec.police.action, PoliceAction::Count);
    }

    #[test]
    fn classes_are_numbered_in_their_order_with_the_default_first() {
        const QOS: &str = "qos:\n  police: { exceed: drop, burst_ms: 300 }\n  policies:\n  - name: P\n    classes:\n    \
            - { name: VOICE, match: [{ dscp: [ef, 44] }, { protocol: udp, destination_ports: 5060-5061 }], priority: true, guarantee_percent: 25 }\n    \
            - { name: class-default, ceiling_kbps: 50 }\n    - { name: BULK, match: [{ dscp: [cs1] }], dscp: copy }\n";
        let profile = profile(QOS, ", qos: P");
        let qos = tunnel_qos(&profile, &profile.tunnels[0]);
        assert_eq!(qos.class_names, ["class-default", "VOICE", "BULK"]);
        let [default, voice, bulk] = qos.spec.classes() else { panic!("{:?}", qos.spec) };
        assert_eq!((default.ceiling, voice.guarantee), (Some(Share::Kbps(50)), Some(Share::Percent(25))));
        assert!(voice.priority && bulk.outer_dscp == Some(OuterDscp::CopyInner));
        let of: Vec<(u8, u64)> = qos.filters.iter().map(|f| (f.class, f.dscp)).collect();
        assert_eq!(of, [(1, 1 << 46 | 1 << 44), (1, u64::MAX), (2, 1 << 8)]);
        assert_eq!(qos.spec.police, Police { action: PoliceAction::Drop, burst_ms: 300 });
        assert!(!qos.fails_calls && qos.policy.as_deref() == Some("P"));
    }
}
