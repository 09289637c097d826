//! `compat: cisco`: what VPN-SIP of IOS does not take is refused with IOS's reason, so that a profile can be tried here
//! before it is written for a router. Without it, the same is a warning where the peer of a tunnel is such a router.

use crate::diagnose::{Problem, Severity, Sink};
use crate::model::wan::WanIpv6;
use crate::model::{Compat, Family, KeyOwner, PeerKind, Profile, Proof, TunnelEntry};
use crate::read::KeyPath;
use std::collections::HashMap;

/// The classes that `vpn-sip … bandwidth` takes.
const BANDWIDTHS: [u32; 3] = [64, 512, 1000];
/// Track objects of IOS.
const TRACKS_MAX: usize = 1000;
/// Sessions that an ISR G2 is made for.
const SESSIONS_MAX: usize = 8;

pub fn check(profile: &Profile, sink: &Sink) {
    let strict = profile.compat == Compat::Cisco;
    let peers: HashMap<KeyOwner, PeerKind> =
        profile.ike.keyring.iter().map(|entry| (entry.owner, entry.peer)).collect();
    for (i, entry) in profile.tunnels.iter().enumerate() {
        let of = |owner| peers.get(&owner);
        let peer = of(KeyOwner::Number(entry.remote_number)).or_else(|| of(KeyOwner::Any));
        let severity = match (strict, peer) {
            (true, _) => Severity::Error,
            (false, Some(PeerKind::Cisco)) => Severity::Warning,
            _ => continue,
        };
        let check = Check { severity, sink };
        check.tunnel(entry, &KeyPath::dotted("tunnels").index(i));
    }
    if strict {
        Check { severity: Severity::Error, sink }.whole(profile);
    }
}

struct Check<'a> {
    severity: Severity,
    sink: &'a Sink,
}

impl Check<'_> {
    fn refuse(&self, path: &KeyPath, message: String, hint: &str) {
        let mut problem = Problem::error("compat::cisco", path, message).label("IOS refuses this").hint(hint);
        problem.severity = self.severity;
        self.sink.push(problem);
    }

    fn tunnel(&self, tunnel: &TunnelEntry, path: &KeyPath) {
        let (name, kbps) = (&tunnel.name, tunnel.bandwidth.0);
        if !BANDWIDTHS.contains(&kbps) {
            let message = format!("{name} has a bandwidth of {kbps} kbps, and IOS takes 64, 512 and 1000");
            let hint = "write one of the three: both ends negotiate the smaller value";
            self.refuse(&path.key("bandwidth_kbps"), message, hint);
        }
        if let Some(i) = tunnel.prefixes().position(|prefix| prefix.addr().is_ipv6()) {
            let message = format!("{name} carries IPv6, and VPN-SIP of IOS carries IPv4 alone");
            let hint = "take the IPv6 routes out: the mode of the tunnel there is `ipsec ipv4`";
            self.refuse(&path.key("routes").index(i), message, hint);
        }
        if tunnel.routing_hellos {
            let message =
                format!("{name} lets routing protocols pass, which a session of IOS does not support");
            self.refuse(
                &path.key("routing_hellos"),
                message,
                "write static routes, and `routing_hellos: false`",
            );
        }
    }

    fn whole(&self, profile: &Profile) {
        let dotted = KeyPath::dotted;
        let (sip, ike) = (&profile.sip, &profile.ike);
        if sip.lines.len() > 1 {
            let message = format!("there are {} lines, and IOS has one local number", sip.lines.len());
            let hint = "give each line a gateway of its own, as each has a router of its own there";
            self.refuse(&dotted("sip.lines").index(1), message, hint);
        }
        let (_, v6) = profile.sip_families();
        let v6_by_family = [sip.registration_family, sip.call_family].contains(&Family::Ipv6);
        let server_v6 = sip.literal_servers().any(|ip| ip.is_ipv6());
        if profile.wan.ipv6 != WanIpv6::System {
            let message = "the WAN uses DHCPv6, and SIP and media of IOS use IPv4 alone".to_owned();
            self.refuse(&dotted("wan.ipv6"), message, "write `ipv4: dhcp`");
        } else if v6 && (v6_by_family || server_v6) {
            let message = "SIP uses IPv6, and SIP and media of IOS use IPv4 alone".to_owned();
            let key = if server_v6 { "sip.registrar" } else { "sip" };
            self.refuse(&dotted(key), message, "write the registrar's IPv4 address");
        }
        if profile.media.tunnel_source.is_ipv6() {
            let message =
                "the tunnel source is an IPv6 address, and that of IOS is the IPv4 address of a loopback";
            self.refuse(&dotted("media.tunnel_source"), message.to_owned(), "write an IPv4 address");
        }
        let source = profile.media.tunnel_source;
        let routed = |t: &&TunnelEntry| t.prefixes().any(|p| p.prefix_len() > 0 && p.contains(source));
        if let Some(tunnel) = profile.tunnels.iter().find(routed) {
            let message = format!(
                "the tunnel source {source} lies in a route of {}, and the loopback of IOS must be used and routed by nothing",
                tunnel.name
            );
            let hint = "write an address that nothing else uses and no tunnel routes";
            self.refuse(&dotted("media.tunnel_source"), message, hint);
        }
        if !ike.force_encap {
            let message =
                "`force_encap` is off, and vpn-sip of IOS needs `nat force-encap` at both ends".to_owned();
            self.refuse(&dotted("ike.force_encap"), message, "remove it");
        }
        let certificate = ike.keyring.iter().any(|entry| matches!(entry.proof, Proof::Certificate(_)));
        if certificate && !ike.fragmentation {
            let message = "certificates need `crypto ikev2 fragmentation` on IOS, and `fragmentation` is off"
                .to_owned();
            self.refuse(&dotted("ike.fragmentation"), message, "remove it: fragmentation is on by default");
        }
        if profile.track.len() > TRACKS_MAX {
            let message =
                format!("there are {} track objects, and IOS has {TRACKS_MAX}", profile.track.len());
            self.refuse(&dotted("track").index(TRACKS_MAX), message, "let several tunnels share one");
        }
        if profile.tunnels.len() > SESSIONS_MAX {
            let message = format!(
                "there are {} tunnels, and a router (ISR G2) is made for {SESSIONS_MAX} sessions at a time",
                profile.tunnels.len()
            );
            let problem = Problem::warning("compat::cisco", &dotted("tunnels"), message).at_key();
            self.sink.push(
                problem.hint("IOS takes more tunnels than sessions; see that no more are up at a time"),
            );
        }
    }
}
