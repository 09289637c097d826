//! `show vpn-sip session [detail]`

use super::clock;
use crate::api::model::{Failure, Session};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const UNSPECIFIED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[must_use]
pub fn sessions(list: &[Session], detail: bool) -> String {
    let mut out = String::from("VPN-SIP session current status\n");
    for session in list {
        out.push('\n');
        // Writing to a String cannot fail.
        let _ = one(&mut out, session, detail);
    }
    out
}

fn one(out: &mut String, s: &Session, detail: bool) -> std::fmt::Result {
    let role = s.role.map(|r| format!(" ({})", r.letter())).unwrap_or_default();
    let remote = s.remote.unwrap_or(SocketAddr::new(UNSPECIFIED, 0));
    let local = SocketAddr::new(s.local_ip.unwrap_or(UNSPECIFIED), s.local_port);
    writeln!(out, "Interface: {}", s.interface)?;
    writeln!(out, "   Session status: {}{role}", s.status)?;
    if let Some(uptime) = s.uptime_s {
        writeln!(out, "   Uptime        : {}", clock(uptime))?;
    }
    writeln!(out, "   Remote number : {}", s.remote_number)?;
    writeln!(out, "   Local number  : {}", s.local_number)?;
    writeln!(out, "   Remote address:port: {remote}")?;
    if let Some(port) = s.peer_port {
        writeln!(out, "   Remote source port: {port} (learnt)")?;
    }
    writeln!(out, "   Local address:port : {local}")?;
    if !detail {
        return Ok(());
    }
    writeln!(out, "   Crypto conn handle: {:#010X}", s.crypto_handle)?;
    if s.sip_handle == 0 {
        writeln!(out, "   SIP Handle        : 0x0")?;
    } else {
        writeln!(out, "   SIP Handle        : {:#010X}", s.sip_handle)?;
    }
    writeln!(out, "   SIP callID        : {}", s.sip_call_id.map_or("--".to_owned(), |id| id.to_string()))?;
    let (configured, negotiated) = (s.bandwidth_configured_kbps, s.bandwidth_negotiated_kbps);
    writeln!(out, "   Configured/Negotiated bandwidth: {configured}/{negotiated} kbps")?;
    more(out, s)
}

/// What the original does not tell.
fn more(out: &mut String, s: &Session) -> std::fmt::Result {
    if let Some(waits) = &s.waits_for {
        writeln!(out, "   Waits for     : {waits}")?;
    }
    for call in &s.unconfirmed {
        writeln!(out, "   Not confirmed : {}", super::unconfirmed(call))?;
    }
    if let Some(Failure { code, reason, cure, ago_s, count }) = &s.last_failure {
        let times = if *count > 1 { format!(", {count} in a row") } else { String::new() };
        writeln!(out, "   Last failure  : {reason} ({code}, {} ago{times})", clock(*ago_s))?;
        writeln!(out, "   What to do    : {cure}")?;
    }
    if let Some(retry) = s.retry_in_s {
        writeln!(out, "   Next call     : not before {} s", retry)?;
    }
    if !s.phases.is_empty() {
        let phases: Vec<_> = s.phases.iter().map(|p| format!("{} {} ms", p.name, p.at_ms)).collect();
        writeln!(out, "   Phases        : {}", phases.join(", "))?;
    }
    if let Some(mtu) = &s.mtu {
        let from = if mtu.of_path { "told by the path" } else { "the WAN's" };
        writeln!(out, "   MTU in/outside: {}/{} bytes ({from})", mtu.inner, mtu.outer)?;
    }
    if let Some(t) = &s.traffic {
        if let Some(idle) = t.idle_s {
            writeln!(out, "   Idle          : {idle} of {} s", t.idle_max_s)?;
        }
        writeln!(
            out,
            "   Packets in/out: {}/{} ({}/{} bytes)",
            t.packets_in, t.packets_out, t.bytes_in, t.bytes_out
        )?;
        writeln!(out, "   Drops in/out  : {}/{}", t.drops_in, t.drops_out)?;
        if let Some(r) = s.rates {
            writeln!(out, "   Rate in/out   : {}/{} kbps (30 s)", r.kbps_in, r.kbps_out)?;
        }
        let (queued, replayed, dropped) = (t.trigger_queued, t.trigger_replayed, t.trigger_dropped);
        writeln!(out, "   Trigger queue : {queued} queued, {replayed} replayed, {dropped} dropped")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, words};
    use super::*;
    use crate::api::model::{Phase, Rates, Role, Traffic};

    fn up() -> Session {
        Session {
            interface: "Tunnel1".into(),
            status: "SESSION_UP".into(),
            role: Some(Role::Initiator),
            uptime_s: Some(42),
            remote_number: "0388881001".into(),
            local_number: "0388882001".into(),
            remote: Some("10.6.6.49:50002".parse().expect("address")),
            peer_port: None,
            local_ip: Some("10.6.6.50".parse().expect("address")),
            local_port: 50001,
            crypto_handle: 0x8000_017D,
            sip_handle: 0x8000_00C7,
            sip_call_id: Some(1554),
            bandwidth_configured_kbps: 64,
            bandwidth_negotiated_kbps: 64,
            last_failure: None,
            retry_in_s: None,
            waits_for: None,
            unconfirmed: Vec::new(),
            phases: Vec::new(),
            traffic: None,
            rates: None,
            mtu: None,
        }
    }

    fn ready() -> Session {
        Session {
            status: "READY_TO_CONNECT".into(),
            role: None,
            uptime_s: None,
            remote: None,
            local_port: 0,
            crypto_handle: 0x8000_002C,
            sip_handle: 0,
            sip_call_id: None,
            bandwidth_configured_kbps: 1000,
            bandwidth_negotiated_kbps: 0,
            ..up()
        }
    }

    #[test]
    fn detail_has_the_words_of_the_seed() {
        let seed = "VPN-SIP session current status\n\nInterface: Tunnel1\nSession status: SESSION_UP (I)\nUptime : 00:00:42\n\
            Remote number : 0388881001\nLocal number : 0388882001\nRemote address:port: 10.6.6.49:50002\n\
            Local address:port : 10.6.6.50:50001\nCrypto conn handle: 0x8000017D\nSIP Handle : 0x800000C7\nSIP callID : 1554\n\
            Configured/Negotiated bandwidth: 64/64 kbps\n";
        assert_eq!(words(&sessions(&[up()], true)), words(seed));
        let idle = "VPN-SIP session current status\nInterface: Tunnel1\nSession status: READY_TO_CONNECT\n\
            Remote number : 0388881001\nLocal number : 0388882001\nRemote address:port: 0.0.0.0:0\n\
            Local address:port : 10.6.6.50:0\nCrypto conn handle: 0x8000002C\nSIP Handle : 0x0\nSIP callID : --\n\
            Configured/Negotiated bandwidth: 1000/0 kbps\n";
        assert_eq!(words(&sessions(&[ready()], true)), words(idle));
    }

    #[test]
    fn every_session_and_what_the_original_kept_to_itself() {
        let failed = Session {
            interface: "Tunnel4".into(),
            last_failure: Some(Failure {
                code: "ike-authentication".into(),
                cure: "add the number to ike.keyring".into(),
                reason: "no PSK for number 0612349999; closest entry 0645676666".into(),
                ago_s: 61,
                count: 3,
            }),
            retry_in_s: Some(8),
            waits_for: Some("wan0 has no IPv4 address".into()),
            ..ready()
        };
        let busy = Session {
            phases: vec![
                Phase { name: "invite".into(), at_ms: 0 },
                Phase { name: "answered".into(), at_ms: 31 },
                Phase { name: "up".into(), at_ms: 44 },
            ],
            rates: Some(Rates { kbps_in: 12, kbps_out: 3 }),
            traffic: Some(Traffic {
                idle_s: Some(7),
                idle_max_s: 120,
                packets_in: 10,
                packets_out: 11,
                bytes_in: 840,
                bytes_out: 924,
                trigger_queued: 2,
                trigger_replayed: 2,
                ..Traffic::default()
            }),
            ..up()
        };
        let owed = Session {
            waits_for: Some("the end of its last call is not confirmed, which may still be charged".into()),
            unconfirmed: vec![crate::api::model::Unconfirmed {
                interface: Some("Tunnel1".into()),
                remote_number: Some("0388881001".into()),
                call_id: "e1f0".into(),
                recovered: false,
                charged_s: Some(67),
                hung_up_s: 12,
                refused: Some(500),
                next_bye_s: Some(3),
            }],
            ..ready()
        };
        let text = sessions(&[owed], true);
        assert!(
            text.contains(
                "   Not confirmed : call with 0388881001, answered 67 s ago, hung up 12 s ago; BYE refused with 500, next in \
                 3 s (Call-ID e1f0)\n"
            ),
            "{text}"
        );
        golden("session.txt", &sessions(&[up(), failed.clone()], false));
        golden("session-detail.txt", &sessions(&[busy, failed], true));
    }
}
