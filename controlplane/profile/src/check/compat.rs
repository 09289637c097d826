//! `compat: cisco`: what VPN-SIP of IOS does not take is refused with IOS's reason, so that a profile can be tried here
//! before it is written for a router. Without it, the same is a warning where the peer of a tunnel is such a router.

use crate::diagnose::{Problem, Severity, Sink};
use crate::model::wan::WanIpv6;
use crate::model::{
    CertificateEntry, Compat, Family, KeyOwner, KeyringEntry, PeerKind, Profile, Proof, TunnelEntry,
};
use crate::read::KeyPath;
use crate::surroundings::{CertificateKind, Surroundings};
use std::collections::HashMap;

/// The classes that `vpn-sip … bandwidth` takes.
const BANDWIDTHS: [u32; 3] = [64, 512, 1000];
/// Track objects of IOS.
const TRACKS_MAX: usize = 1000;
/// Sessions that an ISR G2 is made for.
const SESSIONS_MAX: usize = 8;

pub fn check(profile: &Profile, sink: &Sink, around: &dyn Surroundings) {
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
    for (i, certificate) in profile.ike.certificates.iter().enumerate() {
        let severity = match (strict, shown_to_a_router(profile, &certificate.name)) {
            (true, _) => Severity::Error,
            (false, true) => Severity::Warning,
            (false, false) => continue,
        };
        if let Some(kind) = around.certificate_kind(certificate) {
            let at = KeyPath::dotted("ike.certificates").index(i);
            Check { severity, sink }.certificate(certificate, &kind, &at);
        }
    }
    if strict {
        let check = Check { severity: Severity::Error, sink };
        check.whole(profile);
        for (i, tunnel) in profile.tunnels.iter().enumerate() {
            check.policy(tunnel, &KeyPath::dotted("tunnels").index(i));
        }
    }
}

/// Whether the certificate of this name is shown to a peer that is a router.
fn shown_to_a_router(profile: &Profile, name: &str) -> bool {
    let shown = |entry: &KeyringEntry| match &entry.proof {
        Proof::Certificate(named) => entry.peer == PeerKind::Cisco && named == name,
        Proof::Psk(_) => false,
    };
    profile.ike.keyring.iter().any(shown)
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

    /// IOS puts the negotiated rate on the tunnel interface as an output policy, and there can be one.
    fn policy(&self, tunnel: &TunnelEntry, path: &KeyPath) {
        let Some(policy) = &tunnel.qos else { return };
        let message = format!(
            "{} has the policy {}, and IOS fails the session of a tunnel with a static policy",
            tunnel.name,
            crate::diagnose::shown_raw(policy)
        );
        let hint =
            "remove it: IOS makes the policy of the negotiated rate itself, and cannot add it to another";
        self.refuse(&path.key("qos"), message, hint);
    }

    /// A trustpoint of IOS is `enrollment selfsigned` or has an authority, for our certificate and for the peer's.
    fn certificate(&self, entry: &CertificateEntry, kind: &CertificateKind, at: &KeyPath) {
        let name = crate::diagnose::shown_raw(&entry.name);
        if !kind.key.starts_with("RSA") {
            let message =
                format!("the certificate {name} has an {} key, and VPN-SIP of IOS takes RSA alone", kind.key);
            let hint = "make one with an RSA key: `sipsec pki self-signed NAME --key-type rsa-2048`, or `pki csr` with the same";
            self.refuse(&at.key("certificate"), message, hint);
        }
        let trust = &entry.trust;
        if kind.is_self_signed && !trust.self_signed {
            let message = format!(
                "the certificate {name} signs itself and only authorities are trusted: a trustpoint of IOS with `enrollment selfsigned` takes self-signed peers"
            );
            let hint = "add `self_signed: true`, or have an authority issue the certificate";
            self.refuse(&at.key("trust"), message, hint);
        } else if !kind.is_self_signed && trust.ca.is_empty() {
            let message = format!(
                "an authority has issued the certificate {name} and only self-signed peers are trusted: a trustpoint of IOS with an authority takes its certificates alone"
            );
            let hint = "add the authority to `ca`";
            self.refuse(&at.key("trust"), message, hint);
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
        if !profile.carriers.is_empty() {
            let message = "there are several carriers, and IOS has one SIP user agent".to_owned();
            self.refuse(&dotted("carriers"), message, "give each carrier a gateway of its own");
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
