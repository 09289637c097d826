//! `show crypto session [detail]`

use super::clock;
use crate::api::model::{CryptoSession, PathMtu, SaHalf};
use std::fmt::{self, Write as _};

const LEGEND: &str = "Code: C - IKE Configuration mode, D - Dead Peer Detection
K - Keepalives, N - NAT-traversal, T - cTCP encapsulation
X - IKE Extended Authentication, F - IKE Fragmentation
R - IKE Auto Reconnect, U - IKE Dynamic Route Update
S - SIP VPN-SIP
";

#[must_use]
pub fn crypto_sessions(list: &[CryptoSession], detail: bool) -> String {
    let mut out = String::from("Crypto session current status\n");
    if detail {
        out.push_str(LEGEND);
    }
    for session in list {
        out.push('\n');
        // Writing to a String cannot fail.
        let _ = one(&mut out, session, detail);
    }
    out
}

fn one(out: &mut String, s: &CryptoSession, detail: bool) -> std::fmt::Result {
    writeln!(out, "Interface: {}", s.interface)?;
    if detail {
        writeln!(out, "Profile: {}", s.profile)?;
        if let Some(uptime) = s.uptime_s {
            writeln!(out, "Uptime: {}", clock(uptime))?;
        }
    }
    writeln!(out, "Session status: {}", s.status)?;
    let (ip, port) = s.peer.map_or(("0.0.0.0".to_owned(), 0), |p| (p.ip().to_string(), p.port()));
    if detail {
        writeln!(out, "Peer: {ip} port {port} fvrf: (none) ivrf: (none)")?;
        writeln!(out, "      Phase1_id: {}", s.phase1_id.as_deref().unwrap_or("(none)"))?;
        writeln!(out, "      Desc: (none)")?;
        writeln!(out, "  Session ID: {}", s.session_id)?;
    } else {
        writeln!(out, "Peer: {ip} port {port}")?;
    }
    if let Some(ike) = &s.ike {
        let (local, remote) = (ike.local, ike.remote);
        writeln!(
            out,
            "  IKEv2 SA: local {}/{} remote {}/{} {}",
            local.ip(),
            local.port(),
            remote.ip(),
            remote.port(),
            ike.state
        )?;
        if detail {
            let life = ike.lifetime_s.map_or("--".to_owned(), clock);
            writeln!(
                out,
                "          Capabilities:{} connid:{} lifetime:{life}",
                ike.capabilities, ike.connid
            )?;
            writeln!(out, "          SPI: initiator {} responder {}", ike.spi_initiator, ike.spi_responder)?;
            if let Some(algorithms) = &ike.algorithms {
                writeln!(out, "          Algorithms: {algorithms}")?;
            }
            if let Some(method) = &ike.authentication {
                writeln!(out, "          Authentication: {method}, our id {}", ike.local_id)?;
            }
            if let Some(fingerprint) = &ike.fingerprint {
                writeln!(out, "          Fingerprint in SDP: {fingerprint}")?;
            }
            if let Some(bytes) = ike.fragment_bytes {
                let (sent, received) = (ike.fragments_out, ike.fragments_in);
                writeln!(
                    out,
                    "          IKE fragments: above {bytes} bytes; sent {sent}, received {received}"
                )?;
            }
            path(out, &ike.path)?;
        }
    }
    for flow in &s.flows {
        writeln!(out, "  IPSEC FLOW: permit ip {} {}", flow.local, flow.remote)?;
        writeln!(out, "        Active SAs: {}, origin: crypto map", flow.active_sas)?;
        if detail {
            writeln!(out, "        Inbound:  #pkts dec'ed {}", half(&flow.inbound))?;
            writeln!(out, "        Outbound: #pkts enc'ed {}", half(&flow.outbound))?;
            writeln!(
                out,
                "        SPI: in {} out {} {}",
                flow.inbound.spi, flow.outbound.spi, flow.algorithm
            )?;
        }
    }
    Ok(())
}

fn path(out: &mut String, found: &PathMtu) -> fmt::Result {
    let PathMtu { phase, proved, refused, probes, probes_lost } = found;
    if *probes == 0 {
        return Ok(());
    }
    write!(out, "          Path MTU: {phase}")?;
    if *proved > 0 {
        write!(out, ", {proved} bytes pass")?;
    }
    if let Some(refused) = refused {
        write!(out, ", {refused} bytes do not")?;
    }
    writeln!(out, "; probes {probes}, lost {probes_lost}")
}

fn half(sa: &SaHalf) -> String {
    let life = |v: Option<u64>| v.map_or("--".to_owned(), |v| v.to_string());
    format!("{} drop {} life (KB/Sec) {}/{}", sa.packets, sa.drops, life(sa.life_kb), life(sa.life_s))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, words};
    use super::*;
    use crate::api::model::{Flow, IkeSa};

    fn up() -> CryptoSession {
        let half = |packets| SaHalf {
            spi: "0x0a0b0c0d".into(),
            packets,
            drops: 0,
            life_kb: Some(4_222_536),
            life_s: Some(3366),
        };
        CryptoSession {
            interface: "Tunnel1".into(),
            profile: "IPROF".into(),
            uptime_s: Some(233),
            status: "UP-ACTIVE".into(),
            peer: Some("10.6.6.49:50002".parse().expect("address")),
            phase1_id: Some("0388881001".into()),
            session_id: 43,
            ike: Some(IkeSa {
                local: "10.11.1.1:4500".parse().expect("address"),
                remote: "10.6.6.49:50002".parse().expect("address"),
                state: "Active".into(),
                capabilities: "S".into(),
                connid: 1,
                lifetime_s: Some(86_167),
                spi_initiator: "0x0102030405060708".into(),
                spi_responder: "0x1112131415161718".into(),
                algorithms: Some("AES-GCM-16-256 PRF-HMAC-SHA2-256 group 31".into()),
                local_id: "dn:CN=headend".into(),
                authentication: Some("ecdsa-sha256".into()),
                fingerprint: Some("sha-256 4A:AD:B9:B1".into()),
                fragment_bytes: Some(1200),
                fragments_in: 3,
                fragments_out: 2,
                fragments_smaller: 1,
                path: PathMtu {
                    phase: "complete".into(),
                    proved: 1454,
                    refused: Some(1460),
                    probes: 4,
                    probes_lost: 2,
                },
            }),
            flows: vec![Flow {
                local: "0.0.0.0/0.0.0.0".into(),
                remote: "0.0.0.0/0.0.0.0".into(),
                active_sas: 2,
                inbound: half(6),
                outbound: half(4),
                algorithm: "esp-gcm-256".into(),
            }],
        }
    }

    /// The seed prints the peer's port once as 4500 and once as it is; ours is the real one both times.
    #[test]
    fn detail_has_every_line_of_the_seed() {
        let seed = "Crypto session current status\nCode: C - IKE Configuration mode, D - Dead Peer Detection\n\
            K - Keepalives, N - NAT-traversal, T - cTCP encapsulation\n\
            X - IKE Extended Authentication, F - IKE Fragmentation\n\
            R - IKE Auto Reconnect, U - IKE Dynamic Route Update\nS - SIP VPN-SIP\nInterface: Tunnel1\nProfile: IPROF\n\
            Uptime: 00:03:53\nSession status: UP-ACTIVE\nPeer: 10.6.6.49 port 50002 fvrf: (none) ivrf: (none)\n\
            Phase1_id: 0388881001\nDesc: (none)\nSession ID: 43\n\
            IKEv2 SA: local 10.11.1.1/4500 remote 10.6.6.49/50002 Active\nCapabilities:S connid:1 lifetime:23:56:07\n\
            IPSEC FLOW: permit ip 0.0.0.0/0.0.0.0 0.0.0.0/0.0.0.0\nActive SAs: 2, origin: crypto map\n\
            Inbound: #pkts dec'ed 6 drop 0 life (KB/Sec) 4222536/3366\n\
            Outbound: #pkts enc'ed 4 drop 0 life (KB/Sec) 4222536/3366\n";
        let text = crypto_sessions(&[up()], true);
        let shown = words(&text);
        for line in words(seed) {
            assert!(shown.contains(&line), "{line} is missing in:\n{text}");
        }
        golden("crypto-detail.txt", &text);
    }
}
