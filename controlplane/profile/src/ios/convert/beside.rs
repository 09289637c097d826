//! Commands beside `vpn-sip` that say how its tunnels are used: backup interfaces, routing protocols, limits of the rate, a
//! mode or a destination that vpn-sip does not have. The profile says them in other words, so each is told.

use super::Work;
use crate::ios::document::{Destination, Interface, Said, TunnelMode};
use crate::ios::report::At;
use std::collections::HashSet;

impl Work<'_> {
    pub(super) fn beside(&mut self) {
        let doc = self.doc;
        let tunnels: HashSet<&str> = self.used.iter().map(|u| u.interface.name.as_str()).collect();
        let wan = self.out.wan.as_ref().map(|(name, _)| name.clone());
        for interface in doc.interfaces.iter() {
            let name = interface.name.as_str();
            let is_tunnel = tunnels.contains(name);
            let matters = is_tunnel || wan.as_deref() == Some(name);
            self.backup(interface, matters, &tunnels);
            if is_tunnel {
                self.other_tunnel(interface);
                self.unknown(interface);
                self.routing(name, &interface.routing);
                self.rate(name, &interface.rate);
            }
        }
    }

    /// A backup interface watches the line protocol of one interface; here tracks and distances of routes do.
    fn backup(&mut self, interface: &Interface, matters: bool, tunnels: &HashSet<&str>) {
        let named = interface.backup.iter().filter_map(|b| b.value.as_deref());
        let Some(of) = named.into_iter().find(|of| matters || tunnels.contains(of)) else { return };
        let lines: Vec<At> = interface.backup.iter().map(|b| b.at).collect();
        let name = &interface.name;
        let message = format!(
            "{name} has `backup interface {of}`: {of} stands by until {name} is down; nothing of it is imported"
        );
        let hint = "write the primary route into `routes` with a track (`track: [{ id: 1, device: DEVICE }]`, or `sla: N` to probe beyond the link), and give the backup's route a larger `distance`";
        self.report.warn(&lines, message, hint);
    }

    fn other_tunnel(&mut self, interface: &Interface) {
        let name = &interface.name;
        if let Some(Said { value: TunnelMode::Other(mode), at }) = &interface.mode {
            let message =
                format!("{name} has `tunnel mode {mode}`, and vpn-sip needs `tunnel mode ipsec ipv4`");
            let hint = "the gateway's tunnel is one of IPsec: see that the peer's is, too";
            self.report.warn(&[*at], message, hint);
        }
        if let Some(Said { value: Destination::Other(to), at }) = &interface.destination {
            let message = format!(
                "{name} has the fixed destination {to}, and vpn-sip needs `tunnel destination dynamic`"
            );
            let hint = "the gateway takes the address that the peer's SDP names: see whether the tunnel is one of vpn-sip";
            self.report.warn(&[*at], message, hint);
        }
    }

    fn unknown(&mut self, interface: &Interface) {
        if interface.unknown.is_empty() {
            return;
        }
        let n = interface.unknown.len();
        let (what, are) = if n == 1 { ("a setting", "is") } else { ("settings", "are") };
        let message = format!("{what} of {} that the import does not know {are} left out", interface.name);
        self.report.warn(&interface.unknown, message, "see whether the tunnel needs it");
    }

    fn routing(&mut self, name: &str, said: &[Said<String>]) {
        let Some(first) = said.first() else { return };
        let lines: Vec<At> = said.iter().map(|s| s.at).collect();
        let message = format!("{name} speaks a routing protocol on the router (`{}`)", first.value);
        let hint = "if it is to speak it here, write `routing_hellos: true` of the tunnel at both ends, and run the protocol on the system (FRR)";
        self.report.warn(&lines, message, hint);
    }

    fn rate(&mut self, name: &str, said: &[Said<String>]) {
        let Some(first) = said.first() else { return };
        let lines: Vec<At> = said.iter().map(|s| s.at).collect();
        let message = format!("`{}` on {name} is not applied: the negotiated rate alone shapes", first.value);
        let hint = "write `bandwidth_kbps` of the tunnel, or `qos.policies` for shares of the rate";
        self.report.warn(&lines, message, hint);
    }
}
