//! `sipsec explain mtu TUNNEL`: how large a packet the tunnel carries, and why.

use super::{CliError, envelope};
use crate::config;
use serde::Serialize;
use sipsec_ike::algorithm::{EspEncr, EspProposal, Integ, esp_integ};
use sipsec_net::dp::EspCipher;
use sipsec_net::{esp, ipv4, ipv6, tcp, udp};
use sipsec_profile::model::limits::{INNER_MTU_MIN, WAN_MTU};
use sipsec_profile::model::{KeyOwner, PeerKind, Profile, TunnelEntry};
use std::fmt::{self, Write};
use std::path::Path;

const USAGE: &str = "usage: sipsec --profile FILE explain mtu TUNNEL [--wan-mtu BYTES]";
/// A packet that takes longer than this at the tunnel's rate delays voice behind it noticeably.
const SLOW_MS: u64 = 100;

/// # Errors
/// If the profile cannot be read, has errors, or has no such tunnel.
pub fn mtu(
    profile: Option<&Path>,
    tunnel: &str,
    wan_mtu: Option<u16>,
    json: bool,
) -> Result<String, CliError> {
    let path = profile.ok_or_else(|| CliError::Words(format!("name the profile\n{USAGE}")))?;
    let profile = config::load(path)?.profile;
    let found = profile.tunnels.iter().find(|t| t.name.eq_ignore_ascii_case(tunnel));
    let tunnel = found.ok_or_else(|| {
        let names: Vec<_> = profile.tunnels.iter().take(10).map(|t| t.name.as_str()).collect();
        CliError::Words(format!("the profile has no tunnel {tunnel}; it has {}\n{USAGE}", names.join(", ")))
    })?;
    let (wan_mtu, source) = wan(&profile, wan_mtu);
    let derived = Derivation::of(&profile, tunnel, wan_mtu, source);
    if json { Ok(envelope(&derived)) } else { Ok(derived.to_string()) }
}

/// The MTU of the WAN, and who says so.
fn wan(profile: &Profile, given: Option<u16>) -> (usize, String) {
    let device = &profile.dataplane.outside.device;
    if let Some(mtu) = given {
        return (mtu.into(), "--wan-mtu".to_owned());
    }
    let read = std::fs::read_to_string(format!("/sys/class/net/{device}/mtu"));
    match read.ok().and_then(|text| text.trim().parse().ok()) {
        Some(mtu) => (mtu, format!("the MTU of {device}")),
        None => (WAN_MTU, format!("Ethernet, for want of a device {device} on this machine")),
    }
}

/// What one suite leaves for inner packets.
#[derive(Debug, Serialize)]
struct Row {
    suite: String,
    inner_v4: usize,
    inner_v6: usize,
}

#[derive(Debug, Serialize)]
struct Derivation {
    tunnel: String,
    wan_mtu: usize,
    wan_mtu_source: String,
    /// Whether SIP and media use IPv6.
    outer_v6: bool,
    /// The suite that is offered first, and its sizes.
    suite: String,
    iv: usize,
    padding: usize,
    block: usize,
    icv: usize,
    /// What the WAN and that suite leave.
    inner_max: usize,
    /// `mtu` of the tunnel, or what a gateway takes without.
    configured: usize,
    /// The smaller of both.
    mtu: usize,
    suites: Vec<Row>,
    rate_kbps: u32,
    /// Time of a full packet at the configured rate.
    full_packet_ms: u64,
    outer_bytes: usize,
    /// Time of a full packet in a tunnel with the smallest MTU.
    smallest_packet_ms: u64,
    /// The path's MTU is probed for (RFC 8899).
    probed: bool,
}

impl Derivation {
    fn of(profile: &Profile, tunnel: &TunnelEntry, wan_mtu: usize, wan_mtu_source: String) -> Self {
        let outer_v6 = profile.calls_may_be_v6();
        let ciphers = offered(profile, tunnel);
        // A proposal always has a cipher; AES-GCM is the default's first.
        let first = ciphers.first().copied().unwrap_or(EspCipher::Aes256Gcm16);
        let layout = first.layout();
        let inner_max = layout.inner_mtu(wan_mtu, outer_v6);
        let configured = usize::from(profile.tunnel_mtu(tunnel));
        let mtu = inner_max.min(configured);
        let outer = |inner: usize| ip_len(outer_v6) + udp::HEADER_LEN + layout.packet_len(inner);
        let rate = tunnel.bandwidth.0;
        let time_ms = |bytes: usize| bytes as u64 * 8 / u64::from(rate.max(1));
        Self {
            tunnel: tunnel.name.clone(),
            wan_mtu,
            wan_mtu_source,
            outer_v6,
            suite: name(first),
            iv: layout.iv_len(),
            padding: layout.pad_len(inner_max),
            block: layout.block_len(),
            icv: layout.icv_len(),
            inner_max,
            configured,
            mtu,
            suites: ciphers
                .iter()
                .map(|cipher| Row {
                    suite: name(*cipher),
                    inner_v4: cipher.layout().inner_mtu(wan_mtu, false).min(configured),
                    inner_v6: cipher.layout().inner_mtu(wan_mtu, true).min(configured),
                })
                .collect(),
            rate_kbps: rate,
            full_packet_ms: time_ms(outer(mtu)),
            outer_bytes: outer(mtu),
            smallest_packet_ms: time_ms(outer(INNER_MTU_MIN.into())),
            probed: tunnel.probe_path_mtu,
        }
    }
}

const fn ip_len(v6: bool) -> usize {
    if v6 { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN }
}

fn name(cipher: EspCipher) -> String {
    let integ = esp_integ(cipher).map(|i| format!("-{}", i.name())).unwrap_or_default();
    format!("{}{integ}", EspEncr::of(cipher).name())
}

/// The suites that the peer of this tunnel is offered, in order.
fn offered(profile: &Profile, tunnel: &TunnelEntry) -> Vec<EspCipher> {
    let written: Vec<EspProposal> =
        profile.ike.esp_proposals.iter().filter_map(|text| text.parse().ok()).collect();
    let mut proposals = if written.is_empty() { EspProposal::defaults() } else { written };
    let entry = |owner| profile.ike.keyring.iter().find(|e| e.owner == owner);
    let entry = entry(KeyOwner::Number(tunnel.remote_number)).or_else(|| entry(KeyOwner::Any));
    if entry.is_some_and(|e| e.peer == PeerKind::Cisco) {
        proposals.push(EspProposal::cisco());
    }
    let mut out = Vec::new();
    for proposal in &proposals {
        let integ: Vec<Option<Integ>> = match &proposal.integ[..] {
            [] => vec![None],
            some => some.iter().copied().map(Some).collect(),
        };
        for encr in &proposal.encr {
            for cipher in integ.iter().filter_map(|i| encr.with(*i)) {
                if !out.contains(&cipher) {
                    out.push(cipher);
                }
            }
        }
    }
    out
}

impl fmt::Display for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.outer_v6 { "IPv6" } else { "IPv4" };
        writeln!(f, "{}: packets of up to {} bytes inside\n", self.tunnel, self.mtu)?;
        let mut line = |sign: &str, bytes: usize, what: fmt::Arguments<'_>| {
            writeln!(f, "{:>8}  {what}", format!("{sign}{bytes}"))
        };
        line("", self.wan_mtu, format_args!("the WAN: {}", self.wan_mtu_source))?;
        line("-", ip_len(self.outer_v6), format_args!("outer {family} header"))?;
        line("-", udp::HEADER_LEN, format_args!("UDP header: ESP is always in UDP (RFC 6193, RFC 3948)"))?;
        line("-", esp::ESP_HEADER_LEN, format_args!("ESP header: SPI and sequence number"))?;
        line("-", self.iv, format_args!("IV of {}", self.suite))?;
        line("-", self.icv, format_args!("ICV"))?;
        line("-", esp::TRAILER_LEN, format_args!("pad length and next header"))?;
        let rest = self.unused();
        line("-", rest, format_args!("not used: the rest is a multiple of {}", self.block))?;
        line("", self.inner_max, format_args!("largest inner packet"))?;
        if self.configured < self.inner_max {
            line(
                "",
                self.configured,
                format_args!("`mtu` of the tunnel, or of the inside device, is smaller"),
            )?;
        }
        self.suites(f)?;
        writeln!(
            f,
            "\nA full packet has {} bytes outside and takes {} ms at {} kbit/s.",
            self.outer_bytes, self.full_packet_ms, self.rate_kbps
        )?;
        if self.full_packet_ms > SLOW_MS {
            writeln!(
                f,
                "Voice behind it waits as long. With `mtu: {INNER_MTU_MIN}` it takes {} ms.",
                self.smallest_packet_ms
            )?;
        }
        if self.probed {
            f.write_str(
                "\nThe path may carry less. Each call probes it with packets of the WAN's size and\n\
                 smaller ones (RFC 8899); `sipsec show crypto session detail` has the result.\n",
            )
        } else {
            f.write_str(
                "\nThe path may carry less. It is not probed: `probe_path_mtu` of the tunnel is\n\
                 false. ICMP errors from it are followed.\n",
            )
        }
    }
}

impl Derivation {
    /// What is left of the WAN's MTU when the largest packet is in it.
    fn unused(&self) -> usize {
        let used = ip_len(self.outer_v6)
            + udp::HEADER_LEN
            + esp::ESP_HEADER_LEN
            + self.iv
            + self.icv
            + esp::TRAILER_LEN
            + self.inner_max;
        self.wan_mtu.saturating_sub(used)
    }

    fn suites(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nLargest inner packet, and MSS of TCP over IPv4 inside, by suite:")?;
        writeln!(f, "  {:<26} {:>10} {:>5} {:>10} {:>5}", "suite", "outer IPv4", "MSS", "outer IPv6", "MSS")?;
        for Row { suite, inner_v4, inner_v6 } in &self.suites {
            let mss = |mtu: &usize| mtu.saturating_sub(ipv4::HEADER_LEN + tcp::HEADER_LEN);
            let mut line = String::new();
            write!(
                line,
                "  {suite:<26} {inner_v4:>10} {:>5} {inner_v6:>10} {:>5}",
                mss(inner_v4),
                mss(inner_v6)
            )?;
            writeln!(f, "{line}")?;
        }
        writeln!(f, "The suite of the session decides: `sipsec show crypto session detail` names it.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(more: &str, wan_mtu: usize) -> Derivation {
        let text = format!(
            "version: 1\ngateway: g\nsip:\n  interface: wan0\n  registrar: \"192.0.2.1:5060\"\n  domain: example.com\n  lines:\n  - number: \"0388881001\"\n\
             ike:\n  keyring:\n  - {{ number: \"0388882001\", psk: \"0xd1f0a93b7c4e58261b7f9c03e6a2d845\"{more} }}\n\
             media:\n  ports: 50000-50999\n  tunnel_source: 10.255.0.1\n\
             tunnels:\n- {{ name: Tunnel1, local_number: \"0388881001\", remote_number: \"0388882001\", bandwidth_kbps: 64, idle_s: 120, routes: [10.2.0.0/16] }}\n\
             dataplane:\n  outside: {{ device: wan0 }}\n  inside: {{ mode: host, device: svti0 }}\n"
        );
        let (profile, findings) = config::examine("test.yaml", &text);
        let profile = profile.unwrap_or_else(|| panic!("{findings:?}"));
        Derivation::of(&profile, &profile.tunnels[0], wan_mtu, "a test".to_owned())
    }

    #[test]
    fn a_full_packet_at_64_kbps_takes_187_ms() {
        let d = derived("", 1500);
        assert_eq!((d.mtu, d.outer_bytes, d.full_packet_ms), (1438, 1500, 187));
        let text = d.to_string();
        for words in ["packets of up to 1438", "takes 187 ms at 64 kbit/s", "aes256gcm16", "aes128-sha512"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.contains("sha1"));
    }

    #[test]
    fn each_line_of_the_sum_is_what_it_says() {
        for (more, wan) in [("", 1500), ("", 1492), ("", 1400), (", peer: cisco", 1454)] {
            let d = derived(more, wan);
            let sum = ip_len(false) + 8 + 8 + d.iv + d.icv + 2 + d.unused() + d.inner_max;
            assert_eq!(sum, wan);
            assert!(d.unused() < d.block);
            assert_eq!(d.suites.iter().any(|row| row.suite.ends_with("-sha1")), !more.is_empty());
        }
    }
}
