//! `show crypto session`: IKE and SAs.

use crate::api::model::{CryptoSession, Flow, IkeSa, PathMtu, SaHalf};
use sipsec_ike::view::{ChildView, SaView, StateName};
use sipsec_ike::{AuthMethod, FingerprintBasis, PathPhase, PathView, PskSlot};
use sipsec_net::Instant;
use sipsec_net::dp::{Selector, TunnelActivity};
use sipsec_profile::model::limits::WAN_MTU;
use sipsec_session::CryptoView;
use std::net::{IpAddr, Ipv4Addr};

pub(super) fn crypto(v: &CryptoView, now: Instant, activity: Option<TunnelActivity>) -> CryptoSession {
    let activity = activity.unwrap_or_default();
    CryptoSession {
        interface: v.interface.clone(),
        profile: "vpn-sip".to_owned(),
        uptime_s: v.uptime.map(|d| d.as_secs()),
        status: v.status.to_owned(),
        peer: v.peer,
        phase1_id: v.sa.as_ref().and_then(|sa| sa.remote_id.as_ref()).map(ToString::to_string),
        session_id: u64::from(v.tunnel.0),
        ike: v.sa.as_ref().map(|sa| ike(v, sa, now)),
        flows: v
            .sa
            .iter()
            .flat_map(|sa| &sa.children)
            .filter(|child| !child.retired)
            .map(|child| flow(child, v.began.get(&child.child), &activity, now))
            .collect(),
    }
}

fn ike(v: &CryptoView, sa: &SaView, now: Instant) -> IkeSa {
    let mut capabilities = String::from("D");
    for (letter, has) in
        [("N", sa.nat.local || sa.nat.remote), ("F", sa.fragment_bytes.is_some()), ("S", true)]
    {
        if has {
            capabilities.push_str(letter);
        }
    }
    IkeSa {
        local: v.inside_local,
        remote: sa.remote,
        state: if sa.state == StateName::Established { "Active" } else { "Negotiating" }.to_owned(),
        capabilities,
        connid: u64::from(v.tunnel.0),
        lifetime_s: sa.expires_at.map(|at| at.saturating_duration_since(now).as_secs()),
        spi_initiator: format!("0x{:016x}", sa.spi_i),
        spi_responder: format!("0x{:016x}", sa.spi_r),
        algorithms: sa.suite.map(|suite| {
            let ppk = if sa.ppk { " with a PPK" } else { "" };
            format!("{suite}{ppk}{}", weak(suite.weak()))
        }),
        local_id: sa.local_id.to_string(),
        authentication: sa.auth.map(|method| match method {
            AuthMethod::Psk(PskSlot::Current) => "psk".to_owned(),
            AuthMethod::Psk(PskSlot::Next) => "psk-next".to_owned(),
            AuthMethod::Signature(scheme) => scheme.name().to_owned(),
        }),
        fingerprint: sa.fingerprint.map(|basis| match basis {
            FingerprintBasis::Certificate(f) | FingerprintBasis::PskFingerprint(f) => f.to_string(),
            FingerprintBasis::CertificateNotExchanged | FingerprintBasis::PskNotExchanged => {
                "not exchanged".to_owned()
            }
        }),
        fragment_bytes: sa.fragment_bytes.map(|bytes| bytes as u64),
        fragments_in: sa.counters.fragments_in,
        fragments_out: sa.counters.fragments_out,
        fragments_smaller: sa.counters.shrunk_out,
        path: path(sa.path),
    }
}

fn path(found: PathView) -> PathMtu {
    let phase = match found.phase {
        PathPhase::Disabled => "not probed",
        PathPhase::Base => "base",
        PathPhase::Search => "search",
        PathPhase::Complete => "complete",
        PathPhase::Error => "error",
    };
    PathMtu {
        phase: phase.to_owned(),
        proved: found.proved,
        refused: found.refused,
        probes: found.probes,
        probes_lost: found.probes_lost,
    }
}

/// The counters are the tunnel's, which has one CHILD_SA.
fn flow(child: &ChildView, began: Option<&TunnelActivity>, a: &TunnelActivity, now: Instant) -> Flow {
    let life_s = Some(child.expires_at.saturating_duration_since(now).as_secs());
    let half = |spi: sipsec_net::Spi, carried: fn(&TunnelActivity) -> (u64, u64), drops| {
        let (packets, bytes) = carried(a);
        let before = began.map_or((packets, bytes), carried);
        // As the dataplane counts: the packets of ESP, which are larger than those inside.
        let per_packet = WAN_MTU - child.suite.cipher.layout().inner_mtu(WAN_MTU, false);
        let overhead = packets.saturating_sub(before.0) * per_packet as u64;
        let esp = bytes.saturating_sub(before.1) + overhead;
        SaHalf {
            spi: spi.to_string(),
            packets,
            drops,
            life_kb: (child.hard_bytes_max != 0).then(|| child.hard_bytes_max.saturating_sub(esp) / 1024),
            life_s,
        }
    };
    Flow {
        local: selectors(&child.selectors.local),
        remote: selectors(&child.selectors.remote),
        active_sas: 2,
        inbound: half(child.spi_in, |a| (a.packets_in, a.bytes_in), a.drops_in),
        outbound: half(child.spi_out, |a| (a.packets_out, a.bytes_out), a.drops_out),
        algorithm: format!("{}{}", child.suite, weak(child.suite.weak())),
    }
}

/// ` (weak: sha1, modp1536)`, or nothing.
fn weak(names: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { String::new() } else { format!(" (weak: {})", names.join(", ")) }
}

fn selectors(list: &[Selector]) -> String {
    let shown: Vec<_> = list.iter().map(selector).collect();
    shown.join(" ")
}

/// `address/mask` as IOS has it, where the range is a prefix.
fn selector(s: &Selector) -> String {
    if let (IpAddr::V4(start), IpAddr::V4(end)) = (s.addr_start, s.addr_end) {
        let host_bits = start.to_bits() ^ end.to_bits();
        let is_prefix = host_bits.wrapping_add(1) & host_bits == 0 && start.to_bits() & host_bits == 0;
        if is_prefix {
            return format!("{start}/{}", Ipv4Addr::from_bits(!host_bits));
        }
    }
    if let (IpAddr::V6(start), IpAddr::V6(end)) = (s.addr_start, s.addr_end) {
        let host_bits = start.to_bits() ^ end.to_bits();
        if host_bits.wrapping_add(1) & host_bits == 0 && start.to_bits() & host_bits == 0 {
            return format!("{start}/{}", host_bits.leading_zeros());
        }
    }
    format!("{}-{}", s.addr_start, s.addr_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_shown_as_masks_where_they_are_prefixes() {
        let range = |a: &str, b: &str| Selector {
            addr_start: a.parse().expect("address"),
            addr_end: b.parse().expect("address"),
            ..Selector::ANY_V4
        };
        assert_eq!(selector(&Selector::ANY_V4), "0.0.0.0/0.0.0.0");
        assert_eq!(selector(&range("10.2.0.0", "10.2.255.255")), "10.2.0.0/255.255.0.0");
        assert_eq!(selector(&range("10.2.0.1", "10.2.0.1")), "10.2.0.1/255.255.255.255");
        assert_eq!(selector(&Selector::ANY_V6), "::/0");
        assert_eq!(selector(&range("2001:db8::", "2001:db8::ffff")), "2001:db8::/112");
        assert_eq!(selector(&range("10.2.0.1", "10.2.0.9")), "10.2.0.1-10.2.0.9");
    }
}
