//! What protects or shapes a tunnel on the router and cannot be brought along: said, never dropped in silence.

use super::Work;
use super::qos::Converted;
use crate::ios::document::Interface;
use crate::ios::names;
use crate::ios::report::{At, Class};
use std::collections::{BTreeMap, HashSet};

/// A feature by name, the interfaces that have it, and its lines.
#[derive(Default)]
struct Lost {
    interfaces: Vec<String>,
    lines: Vec<At>,
}

/// Names of interfaces in one message.
const NAMED_MAX: usize = 4;

impl Work<'_> {
    pub(super) fn security(&mut self) {
        let doc = self.doc;
        let wan = self.out.wan.as_ref().map(|(name, _)| name.clone());
        let tunnels: HashSet<&str> = self.used.iter().map(|u| u.interface.name.as_str()).collect();
        let all: HashSet<&str> =
            doc.interfaces.iter().filter(|i| i.vpn_sip.is_some()).map(|i| i.name.as_str()).collect();
        let (mut filters, mut wan_filters, mut policies, mut zones) = (
            BTreeMap::<&str, Lost>::new(),
            BTreeMap::<&str, Lost>::new(),
            BTreeMap::<&str, Lost>::new(),
            Lost::default(),
        );
        let (mut nat, mut other) = (Lost::default(), BTreeMap::<&str, Lost>::new());
        for interface in doc.interfaces.iter() {
            let is_wan = wan.as_deref() == Some(interface.name.as_str());
            let is_tunnel = tunnels.contains(interface.name.as_str());
            if let Some(said) = &interface.policy_route {
                self.policy_route(interface, &said.value, said.at, &all);
            }
            if !is_wan && !is_tunnel {
                continue;
            }
            for said in &interface.filters {
                let map = if is_tunnel { &mut filters } else { &mut wan_filters };
                add(map.entry(&said.value).or_default(), interface, said.at);
            }
            if let Some(said) = &interface.zone {
                add(&mut zones, interface, said.at);
            }
            for said in &interface.service_policy {
                if is_tunnel {
                    add(policies.entry(&said.value).or_default(), interface, said.at);
                }
            }
            let lost = |at: &At| is_tunnel && !self.translated.contains(at);
            for said in interface.nat.iter().filter(|n| n.value == "outside" && lost(&n.at)) {
                add(&mut nat, interface, said.at);
            }
            for said in &interface.other_security {
                add(other.entry(&said.value).or_default(), interface, said.at);
            }
        }
        for (name, mut lost) in filters {
            lost.lines.extend(doc.acls.get(name).into_iter().flat_map(|a| &a.lines));
            let message = format!(
                "the filter {name} on {} is not imported: without it everything passes the tunnel",
                list(&lost)
            );
            self.report.warn(
                &lost.lines,
                message,
                "write it for the system's firewall (nftables) before the tunnel is used",
            );
        }
        for (name, mut lost) in wan_filters {
            lost.lines.extend(doc.acls.get(name).into_iter().flat_map(|a| &a.lines));
            let message = format!("the filter {name} on the WAN {} is not imported", list(&lost));
            self.report.warn(
                &lost.lines,
                message,
                "the system's firewall has to let SIP (UDP 5060) and the media ports (`media.ports`) through",
            );
        }
        if !zones.lines.is_empty() {
            zones.lines.extend(&doc.zones);
            let inspect: HashSet<&At> = doc.zones.iter().collect();
            let blocks = doc.class_maps.iter().chain(doc.policy_maps.iter());
            zones.lines.extend(
                blocks
                    .filter(|b| b.lines.first().is_some_and(|l| inspect.contains(l)))
                    .flat_map(|b| &b.lines),
            );
            let message = format!(
                "the zone firewall of {} is not imported: its zone protects nothing any more",
                list(&zones)
            );
            self.report.warn(&zones.lines, message, "write its rules for the system's firewall (nftables)");
        }
        for (name, mut lost) in policies {
            let is_output = |at: &At| self.report.line(*at).is_some_and(|l| l.text.contains(" output "));
            if let Some(converted) = self.policy(name).filter(|_| lost.lines.iter().any(is_output)) {
                self.service_policy(name, &lost, converted);
                continue;
            }
            if let Some(map) = doc.policy_maps.get(name) {
                lost.lines.extend(&map.lines);
                let classes = map.refers.iter().filter_map(|class| doc.class_maps.get(class));
                lost.lines.extend(classes.flat_map(|c| &c.lines));
            }
            let message = format!(
                "the policy {name} on {} is not applied: nothing of it has a word in the profile, so the negotiated rate alone \
                 shapes",
                list(&lost)
            );
            self.report.warn(
                &lost.lines,
                message,
                "write `qos.policies` by hand, or remove it from the tunnel",
            );
        }
        if !nat.lines.is_empty() {
            let message = format!("address translation into {} (ip nat outside) is not imported", list(&nat));
            self.report.warn(
                &nat.lines,
                message,
                "translate with the system's firewall if the peer expects translated addresses",
            );
        }
        for (name, lost) in other {
            let message = format!("`{name}` on {} is not imported", list(&lost));
            self.report.warn(&lost.lines, message, "write it for the system's firewall (nftables)");
        }
        self.translations(wan.as_deref(), &all);
        self.applets(&all);
    }

    /// It becomes a policy inside the negotiated rate.
    fn service_policy(&mut self, name: &str, on: &Lost, converted: Converted) {
        let Converted { policy, used, lost } = converted;
        let tunnels = self.doc.interfaces.iter().filter(|i| i.service_policy.iter().any(|p| p.value == name));
        for interface in tunnels {
            let of_interface = |t: &&mut crate::ios::conversion::Tunnel| t.name == interface.name;
            for tunnel in self.out.tunnels.iter_mut().filter(of_interface) {
                tunnel.qos = Some(policy.name.clone());
            }
        }
        let lines = [&on.lines[..], &used[..]].concat();
        self.mark_converted(&lines);
        let message = format!(
            "the policy {name} on {} divides the negotiated rate here; on the router a session fails beside a static policy",
            list(on)
        );
        self.report.warn(&lines, message, "`qos.mode: strict-cisco` would let its calls fail as well");
        if !lost.is_empty() {
            let message = format!("these lines of the policy {name} have no word in the profile");
            self.report.warn(&lost, message, "see `sipsec check --explain qos.policies`");
        }
        if self.out.qos.iter().all(|p| p.name != policy.name) {
            self.out.qos.push(policy);
        }
    }

    fn policy_route(&mut self, interface: &Interface, map: &str, at: At, tunnels: &HashSet<&str>) {
        let Some(block) = self.doc.route_maps.get(map) else { return };
        if !block.tunnels.iter().any(|t| tunnels.contains(t.as_str())) {
            return;
        }
        let acls = block.refers.iter().filter_map(|name| self.doc.acls.get(name));
        let lines: Vec<At> = [at]
            .into_iter()
            .chain(block.lines.iter().copied())
            .chain(acls.flat_map(|a| a.lines.iter().copied()))
            .collect();
        let message = format!(
            "policy routing ({map} on {}) sends packets into a tunnel that no route names; it is not imported",
            interface.name
        );
        self.report.warn(&lines, message, "write rules of the system (`ip rule`), or routes");
    }

    /// `ip nat inside source … interface X overload`
    fn translations(&mut self, wan: Option<&str>, tunnels: &HashSet<&str>) {
        let doc = self.doc;
        let mut lines: Vec<At> = Vec::new();
        let mut into: Vec<&str> = Vec::new();
        let mut unnamed = false;
        let mut seen: HashSet<&str> = HashSet::new();
        for nat in doc.nats.iter().filter(|nat| !self.translated.contains(&nat.at)) {
            let Some(interface) = nat.interface.as_deref() else { continue };
            let is_tunnel = tunnels.contains(interface);
            if wan != Some(interface) && !is_tunnel {
                continue;
            }
            if is_tunnel && into.len() < NAMED_MAX {
                into.push(interface);
            }
            unnamed |= !self.options.interfaces.contains_key(interface);
            lines.push(nat.at);
            for name in nat.refers.iter().filter(|n| seen.insert(n.as_str())) {
                let blocks = [doc.acls.get(name), doc.route_maps.get(name)];
                lines.extend(blocks.into_iter().flatten().flat_map(|b| &b.lines));
                let through = doc
                    .route_maps
                    .get(name)
                    .into_iter()
                    .flat_map(|m| &m.refers)
                    .filter_map(|acl| doc.acls.get(acl));
                lines.extend(through.flat_map(|a| &a.lines));
            }
        }
        if lines.is_empty() {
            return;
        }
        let hint = if unnamed {
            "name the device of the interface with --ifmap to have it converted, or write `nat.primary`"
        } else {
            "it is converted where its list permits sources alone, after `deny` lines for destinations; write `nat.primary` for \
             the rest"
        };
        let into = if into.is_empty() {
            String::new()
        } else {
            format!("; the one into {} is not imported", into.join(", "))
        };
        let message = format!("address translation (overload) is the system's{into}");
        self.report.warn(&lines, message, hint);
    }

    fn applets(&mut self, tunnels: &HashSet<&str>) {
        let doc = self.doc;
        let mut names: HashSet<String> = tunnels.iter().map(|t| (*t).to_owned()).collect();
        names.insert("vpn-sip".to_owned());
        for used in &self.used {
            names.extend(used.ike.map(|p| p.name.clone()));
            names.extend(used.ipsec.map(|p| p.name.clone()));
        }
        names.extend(doc.routes.iter().filter_map(|r| r.track.as_ref()).map(|t| format!("track {t}")));
        for applet in doc.applets.iter() {
            if let Some(touched) = applet.mentions.iter().find(|m| names.contains(*m)) {
                let message = format!(
                    "the applet {} of the event manager acts on {touched} at run time; nothing of it is imported",
                    applet.name
                );
                self.report.warn(
                    &applet.lines,
                    message,
                    "see what it was for, and do the same on the system if it is needed",
                );
            }
        }
    }

    /// VRFs and the interfaces in them.
    pub(super) fn vrfs(&mut self) {
        let doc = self.doc;
        let wan = self.out.wan.as_ref().map(|(name, _)| name.clone());
        for interface in doc.interfaces.iter() {
            let ours = interface.vpn_sip.is_some() || wan.as_deref() == Some(interface.name.as_str());
            if interface.vrf.is_some() && !ours && !names::is_tunnel(&interface.name) {
                self.report.ignore(&interface.lines, Class::Unrelated, "of a VRF");
            }
        }
        let mut ours: BTreeMap<&str, Vec<At>> = BTreeMap::new();
        for interface in doc.interfaces.iter().filter(|i| i.vpn_sip.is_some()) {
            for vrf in interface.vrf.iter().chain(&interface.tunnel_vrf) {
                ours.entry(&vrf.value).or_default().push(vrf.at);
            }
        }
        for (name, mut lines) in ours {
            let Some(vrf) = doc.vrfs.get(name) else { continue };
            lines.extend(&vrf.lines);
            let message = format!("the VRF {name} of a tunnel cannot be brought along");
            self.report.warn(&lines, message, "give it a gateway of its own");
        }
    }
}

fn add(lost: &mut Lost, interface: &Interface, at: At) {
    if lost.interfaces.len() <= NAMED_MAX {
        lost.interfaces.push(interface.name.clone());
    }
    lost.lines.push(at);
}

fn list(lost: &Lost) -> String {
    match lost.interfaces.get(NAMED_MAX) {
        Some(_) => format!("{} and others", lost.interfaces[..NAMED_MAX].join(", ")),
        None => lost.interfaces.join(", "),
    }
}
