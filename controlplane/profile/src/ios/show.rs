//! A profile in IOS's words: what `show running-config` prints. What has no word in IOS is left out, and keys are hidden.

use super::conversion::{Certificate, Conversion, KeyEntry, Proof, Reassembly, Tunnel};
use super::convert::GROUPS;
use super::show_esp::IpsecProfiles;
use super::{show_filter, show_nat, show_qos, show_watch};
use crate::model::PeerIdentity;
use std::collections::HashSet;

/// The name of what a router has to name and a profile has not.
pub(super) const NAME: &str = "sipsec";
pub(super) const HIDDEN: &str = "<hidden>";
const LOOPBACK: &str = "Loopback1";

/// The whole configuration.
#[must_use]
pub fn running_config(conversion: &Conversion) -> String {
    let mut out = Text(String::new());
    out.line(&format!("hostname {}", conversion.gateway.as_deref().unwrap_or(NAME)));
    out.line("!");
    conversion.certificates.iter().for_each(|c| out.certificate(c));
    out.proposals(&conversion.proposals);
    out.keyring(&conversion.keyring);
    out.ike_profiles(conversion);
    if let Some(bytes) = conversion.fragment_bytes {
        // IOS counts the IP and UDP headers in.
        out.line(&format!("crypto ikev2 fragmentation mtu {}\n!", bytes + 28));
    }
    let ipsec = IpsecProfiles::of(conversion);
    ipsec.write(conversion, &mut out.0);
    if let Some(df) = conversion.dont_fragment {
        out.line(&format!("crypto ipsec df-bit {df}\n!"));
    }
    if let Some(packets) = conversion.replay_window {
        out.line(&format!("crypto ipsec security-association replay window-size {packets}\n!"));
    }
    if let Some(source) = conversion.tunnel_source {
        out.line(&format!("interface {LOOPBACK}\n ip address {source} 255.255.255.255\n ip nat inside\n!"));
    }
    show_filter::filters(conversion, &mut out.0);
    show_qos::policies(conversion, &mut out.0);
    conversion.tunnels.iter().for_each(|t| out.tunnel(t, conversion, &ipsec));
    if let Some((wan, _)) = &conversion.wan {
        out.line(&format!("interface {wan}\n ip address dhcp"));
        if conversion.sip_by_dhcp {
            out.line(" ip dhcp client request sip-server-address");
            out.line(" ip dhcp client request vendor-identifying-specific");
        }
        out.line(" ip nat outside");
        if let Some(command) = reassembly(conversion.reassembly) {
            out.line(&command);
        }
        out.line("!");
    }
    conversion.sla.iter().for_each(|o| show_watch::operation(conversion, o, &mut out.0));
    conversion.track.iter().for_each(|t| show_watch::track(conversion, t, &mut out.0));
    conversion.routes.iter().for_each(|r| show_watch::route(conversion, r, &mut out.0));
    conversion.tunnels.iter().for_each(|t| show_watch::tunnel_routes(t, &mut out.0));
    show_nat::primaries(conversion, &mut out.0);
    show_nat::translations(conversion, &mut out.0);
    out.line("!\nvpn-sip enable");
    for line in &conversion.lines {
        let wan = conversion.wan.as_ref().map_or("GigabitEthernet0", |(name, _)| name);
        out.line(&format!("vpn-sip local-number {line} address ipv4 {wan}"));
    }
    if conversion.tunnel_source.is_some() {
        out.line(&format!("vpn-sip tunnel source {LOOPBACK}"));
    }
    out.line("vpn-sip logging\n!\nend");
    out.0
}

/// ` ip virtual-reassembly in …`; nothing if all is the gateway's own.
fn reassembly(said: Reassembly) -> Option<String> {
    let numbers = [
        ("max-reassemblies", said.datagrams_per_peer.filter(|n| *n > 0)),
        ("max-fragments", said.fragments.map(u16::from)),
        ("timeout", said.timeout_s.map(u16::from)),
    ];
    let words = numbers.iter().filter_map(|(word, number)| Some(format!(" {word} {}", (*number)?)));
    let mut words: String = words.collect();
    if said.datagrams_per_peer == Some(0) {
        words.push_str(" drop-fragments");
    }
    (!words.is_empty()).then(|| format!(" ip virtual-reassembly in{words}"))
}

/// One tunnel, as `show running-config interface TunnelN` prints it; nothing if there is none of that name.
#[must_use]
pub fn interface(conversion: &Conversion, name: &str) -> Option<String> {
    let tunnel = conversion.tunnels.iter().find(|t| t.name.eq_ignore_ascii_case(name))?;
    let mut out = Text(String::new());
    out.tunnel(tunnel, conversion, &IpsecProfiles::of(conversion));
    out.line("end");
    Some(out.0)
}

struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn certificate(&mut self, certificate: &Certificate) {
        let name = &certificate.name;
        self.line(&format!("crypto pki trustpoint {name}"));
        if certificate.self_signed {
            self.line(" enrollment selfsigned\n revocation-check none\n!");
            return;
        }
        self.line(" enrollment terminal pem");
        let check = match certificate.crl {
            Some("open") => "crl none",
            Some(_) => "crl",
            None => "none",
        };
        self.line(&format!(" revocation-check {check}\n!"));
        for (rules, sequence) in certificate.maps.iter().zip((10..).step_by(10)) {
            self.line(&format!("crypto pki certificate map {name} {sequence}"));
            for rule in rules {
                let (field, rest) = rule.split_once(' ').unwrap_or((rule, ""));
                let field = match field {
                    "issuer" => "issuer-name",
                    "subject" => "subject-name",
                    _ => "alt-subject-name",
                };
                self.line(&format!(" {field} {rest}"));
            }
            self.line("!");
        }
    }

    fn proposals(&mut self, proposals: &[String]) {
        for (proposal, n) in proposals.iter().zip(1..) {
            self.line(&format!("crypto ikev2 proposal {NAME}-{n}"));
            let words: Vec<&str> = proposal.split('-').collect();
            for (command, word) in [
                ("encryption", encryption as fn(&str) -> Option<&'static str>),
                ("integrity", integrity),
                ("prf", prf),
                ("group", group),
            ] {
                let list: Vec<&str> = words.iter().filter_map(|w| word(w)).collect();
                // Without its own word, the prf of IOS is that of the integrity.
                let implied =
                    command == "prf" && list.iter().copied().eq(words.iter().filter_map(|w| integrity(w)));
                if !list.is_empty() && !implied {
                    self.line(&format!(" {command} {}", list.join(" ")));
                }
            }
            if words.contains(&"ke1_mlkem768") {
                self.line(&format!(
                    " pqc mlkem768{}",
                    if words.contains(&"ke1_none") { " optional" } else { " required" }
                ));
            }
            self.line("!");
        }
        if !proposals.is_empty() {
            self.line(&format!("crypto ikev2 policy {NAME}"));
            for n in 1..=proposals.len() {
                self.line(&format!(" proposal {NAME}-{n}"));
            }
            self.line("!");
        }
    }

    fn keyring(&mut self, keyring: &[KeyEntry]) {
        if keyring.iter().all(|k| matches!(k.proof, Proof::Certificate(_))) {
            return;
        }
        self.line(&format!("crypto ikev2 keyring {NAME}"));
        for entry in keyring.iter().filter(|k| matches!(k.proof, Proof::Psk(_))) {
            match &entry.number {
                Some(number) => self.line(&format!(" peer {number}\n  identity key-id {number}")),
                None => self.line(" peer any\n  address 0.0.0.0 0.0.0.0"),
            }
            self.line(&format!("  pre-shared-key {HIDDEN}"));
            if let Some(ppk) = &entry.ppk {
                let required = if ppk.required { " required" } else { "" };
                self.line(&format!("  ppk manual id {} key {HIDDEN}{required}", ppk.id));
            }
            self.line(" !");
        }
        self.line("!");
    }

    /// One profile for keys, one for each certificate, and one for each entry with identities of its own.
    fn ike_profiles(&mut self, conversion: &Conversion) {
        let mut seen: HashSet<String> = HashSet::new();
        for entry in &conversion.keyring {
            let profile = ike_profile(entry);
            if !seen.insert(profile.clone()) {
                continue;
            }
            let name = match &entry.proof {
                Proof::Psk(_) => None,
                Proof::Certificate(name) => Some(name.as_str()),
            };
            self.line(&format!("crypto ikev2 profile {profile}"));
            let certificate = name.and_then(|n| conversion.certificates.iter().find(|c| c.name == n));
            match (certificate.filter(|c| !c.maps.is_empty()), &entry.peer_identity) {
                (_, Some(PeerIdentity::Is(identity))) => {
                    self.line(&format!(" match identity remote {identity}"));
                }
                (_, Some(PeerIdentity::FqdnOf(domain))) => {
                    self.line(&format!(" match identity remote fqdn domain {domain}"));
                }
                (_, Some(PeerIdentity::EmailOf(domain))) => {
                    self.line(&format!(" match identity remote email domain {domain}"));
                }
                (Some(certificate), None) => self.line(&format!(" match certificate {}", certificate.name)),
                (None, None) => self.line(" match identity remote any"),
            }
            match (&entry.identity, conversion.lines.first()) {
                (Some(identity), _) => self.line(&format!(" identity local {identity}")),
                (None, Some(line)) => self.line(&format!(" identity local key-id {line}")),
                (None, None) => {}
            }
            match name {
                None => self.line(&format!(
                    " authentication remote pre-share\n authentication local pre-share\n keyring local {NAME}"
                )),
                Some(name) => self.line(&format!(
                    " authentication remote rsa-sig\n authentication local rsa-sig\n pki trustpoint {name}"
                )),
            }
            if name.is_none() && conversion.keyring.iter().any(|k| k.ppk.is_some()) {
                self.line(&format!(" keyring ppk {NAME}"));
            }
            if let Some(seconds) = conversion.ike_s {
                self.line(&format!(" lifetime {seconds}"));
            }
            if let Some((mode, seconds)) = conversion.dpd {
                // IOS repeats an unanswered question after so many seconds; the gateway decides that by itself.
                self.line(&format!(" dpd {seconds} 3 {mode}"));
            }
            if let Some(seconds) = conversion.nat_keepalive_s.filter(|s| *s > 0) {
                self.line(&format!(" nat keepalive {seconds}"));
            }
            self.line(" nat force-encap\n!");
        }
    }

    fn tunnel(&mut self, tunnel: &Tunnel, conversion: &Conversion, ipsec: &IpsecProfiles) {
        self.line(&format!("interface {}", tunnel.name));
        match &tunnel.unnumbered {
            Some(device) => {
                self.line(&format!(" ip unnumbered {}", show_watch::interface(conversion, device)));
            }
            None if conversion.tunnel_source.is_some() => {
                self.line(&format!(" ip unnumbered {LOOPBACK}"));
            }
            None => {}
        }
        if let Some(number) = tunnel.filter.as_deref().and_then(|f| show_filter::number(conversion, f)) {
            self.line(&format!(" dialer-group {number}"));
        }
        if let Some(mtu) = tunnel.mtu {
            self.line(&format!(" ip mtu {mtu}"));
        }
        if !tunnel.nat.is_empty() {
            self.line(" ip nat outside");
        }
        if let Some(policy) = &tunnel.qos {
            self.line(&format!(" service-policy output {policy}"));
        }
        if conversion.tunnel_source.is_some() {
            self.line(&format!(" tunnel source {LOOPBACK}"));
        }
        let entry = conversion.keyring.iter().find(|k| k.number.as_deref() == Some(&tunnel.remote));
        let any = || conversion.keyring.iter().find(|k| k.number.is_none());
        let ike = entry.or_else(any).map_or_else(|| NAME.to_owned(), ike_profile);
        self.line(" tunnel mode ipsec ipv4\n tunnel destination dynamic");
        self.line(&format!(
            " tunnel protection ipsec profile {} ikev2-profile {ike}",
            ipsec.of_tunnel(&tunnel.name)
        ));
        self.line(&format!(
            " vpn-sip local-number {} remote-number {} bandwidth {}\n!",
            tunnel.local, tunnel.remote, tunnel.kbps
        ));
    }
}

/// The name of the profile of a keyring's entry.
fn ike_profile(entry: &KeyEntry) -> String {
    let base = match &entry.proof {
        Proof::Psk(_) => NAME,
        Proof::Certificate(name) => name,
    };
    if entry.identity.is_none() && entry.peer_identity.is_none() {
        return base.to_owned();
    }
    format!("{base}-{}", entry.number.as_deref().unwrap_or("any"))
}

fn encryption(word: &str) -> Option<&'static str> {
    Some(match word {
        "aes128" => "aes-cbc-128",
        "aes256" => "aes-cbc-256",
        "aes128gcm16" => "aes-gcm-128",
        "aes256gcm16" => "aes-gcm-256",
        _ => return None,
    })
}

fn integrity(word: &str) -> Option<&'static str> {
    Some(match word {
        "sha256" => "sha256",
        "sha384" => "sha384",
        "sha512" => "sha512",
        _ => return None,
    })
}

fn prf(word: &str) -> Option<&'static str> {
    Some(match word {
        "prfsha256" => "sha256",
        "prfsha384" => "sha384",
        "prfsha512" => "sha512",
        _ => return None,
    })
}

/// The number of a group.
pub(super) fn group(word: &str) -> Option<&'static str> {
    GROUPS.iter().find(|(_, name)| *name == word).map(|(number, _)| *number)
}
