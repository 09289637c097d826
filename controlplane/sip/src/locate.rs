//! Locating SIP servers (RFC 3263): which records are asked for, and in which order their targets are tried.
//!
//! The caller asks the name server. Answers may hold anything, and any number of records.

use crate::target::{TARGETS_MAX, Target};
use crate::transport::Transport;
use sipsec_net::Entropy;
use std::net::{IpAddr, SocketAddr};

/// Records of one answer that are looked at.
const RECORDS_MAX: usize = 64;
/// SRV names and hosts that one server's name may lead to.
const NAMES_MAX: usize = 8;

/// RFC 3403 §4.1, as far as RFC 3263 §4.1 uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    pub order: u16,
    pub preference: u16,
    pub flags: Vec<u8>,
    pub services: Vec<u8>,
    pub regexp: Vec<u8>,
    pub replacement: String,
}

/// RFC 2782.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: String,
}

/// A host and a port, whose addresses are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

/// RFC 3263 §4.1: the names whose SRV records are asked for. Records of other transports are passed over; without one of
/// ours it is the name that RFC 3263 §4.2 makes of the transport.
#[must_use]
pub fn srv_names(name: &str, transport: Transport, mut answer: Vec<Naptr>) -> Vec<String> {
    let service: &[u8] = match transport {
        Transport::Udp => b"SIP+D2U",
        Transport::Tcp => b"SIP+D2T",
        Transport::Tls => b"SIPS+D2T",
    };
    answer.truncate(RECORDS_MAX);
    answer.retain(|r| {
        r.services.eq_ignore_ascii_case(service)
            && r.flags.eq_ignore_ascii_case(b"s")
            && r.regexp.is_empty()
            && is_name(&r.replacement)
    });
    answer.sort_by_key(|r| (r.order, r.preference));
    let mut names: Vec<String> = Vec::new();
    for r in answer {
        if names.len() < NAMES_MAX && !names.contains(&r.replacement) {
            names.push(r.replacement);
        }
    }
    if names.is_empty() {
        let (service, protocol) = match transport {
            Transport::Udp => ("_sip", "_udp"),
            Transport::Tcp => ("_sip", "_tcp"),
            Transport::Tls => ("_sips", "_tcp"),
        };
        names.push(format!("{service}.{protocol}.{}", name.trim_end_matches('.')));
    }
    names
}

/// RFC 2782: by priority, and within one by weighted chance. Port 0 and the target `.` say that there is no service.
pub fn hosts(mut answer: Vec<Srv>, entropy: &mut dyn Entropy) -> Vec<HostPort> {
    answer.truncate(RECORDS_MAX);
    answer.retain(|r| r.port > 0 && is_name(&r.target));
    // Those without weight come first in each round, so that chance seldom takes them.
    answer.sort_by_key(|r| (r.priority, r.weight));
    let mut out: Vec<HostPort> = Vec::new();
    while let Some(priority) = answer.first().map(|r| r.priority) {
        let same = answer.iter().take_while(|r| r.priority == priority);
        let sum: u32 = same.clone().map(|r| u32::from(r.weight)).sum();
        let chosen = entropy.below(sum + 1);
        let mut running = 0;
        let at = same
            .map(|r| {
                running += u32::from(r.weight);
                running
            })
            .position(|sum| sum >= chosen);
        let r = answer.remove(at.unwrap_or(0));
        let host = HostPort { host: r.target.trim_end_matches('.').to_owned(), port: r.port };
        if out.len() < NAMES_MAX && !out.contains(&host) {
            out.push(host);
        }
    }
    out
}

/// The targets of a server whose hosts have these addresses. `name` is what a certificate must show: the name that was
/// configured, and not one that the name server gave (RFC 5922 §4).
#[must_use]
pub fn targets(name: Option<&str>, transport: Transport, addresses: &[(u16, Vec<IpAddr>)]) -> Vec<Target> {
    let mut out: Vec<Target> = Vec::new();
    for (port, ips) in addresses {
        for ip in ips {
            let target =
                Target { transport, addr: SocketAddr::new(*ip, *port), name: name.map(str::to_owned) };
            if out.len() < TARGETS_MAX && is_host(*ip) && !out.contains(&target) {
                out.push(target);
            }
        }
    }
    out
}

/// Whether requests can be sent there: a name server that says otherwise would have us call ourselves, or everyone.
fn is_host(ip: IpAddr) -> bool {
    let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    !special && !matches!(ip, IpAddr::V4(v4) if v4.is_broadcast())
}

/// A host name that can be asked for; the root stands for "no service".
fn is_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 253 && name.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sipsec_net::entropy::TestEntropy;
    use std::collections::BTreeMap;

    fn naptr(order: u16, preference: u16, services: &str, replacement: &str) -> Naptr {
        let (flags, services, regexp) = (b"S".to_vec(), services.as_bytes().to_vec(), Vec::new());
        Naptr { order, preference, flags, services, regexp, replacement: replacement.into() }
    }

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.into() }
    }

    #[test]
    fn naptr_records_of_our_transport_in_their_order() {
        let records = vec![
            naptr(20, 1, "SIP+D2U", "_sip._udp.c.example."),
            naptr(10, 50, "SIP+D2T", "_sip._tcp.a.example."),
            naptr(10, 60, "sip+d2u", "_sip._udp.b.example."),
            naptr(10, 50, "SIP+D2U", "_sip._udp.a.example."),
            naptr(10, 50, "SIPS+D2T", "_sips._tcp.a.example."),
            naptr(1, 1, "SIP+D2U", "."),
            Naptr { regexp: b"!x!y!".to_vec(), ..naptr(1, 1, "SIP+D2U", "_sip._udp.r.example.") },
            Naptr { flags: b"u".to_vec(), ..naptr(1, 1, "SIP+D2U", "_sip._udp.u.example.") },
        ];
        let names = |t| srv_names("carrier.example", t, records.clone());
        assert_eq!(
            names(Transport::Udp),
            ["_sip._udp.a.example.", "_sip._udp.b.example.", "_sip._udp.c.example."]
        );
        assert_eq!(names(Transport::Tcp), ["_sip._tcp.a.example."]);
        assert_eq!(names(Transport::Tls), ["_sips._tcp.a.example."]);
        for (t, name) in [
            (Transport::Udp, "_sip._udp.carrier.example"),
            (Transport::Tcp, "_sip._tcp.carrier.example"),
            (Transport::Tls, "_sips._tcp.carrier.example"),
        ] {
            assert_eq!(srv_names("carrier.example.", t, Vec::new()), [name]);
        }
    }

    #[test]
    fn srv_records_by_priority_and_weight() {
        let records = vec![
            srv(20, 0, "backup."),
            srv(10, 75, "a."),
            srv(10, 25, "b."),
            srv(10, 0, "c."),
            srv(1, 1, "."),
        ];
        let mut entropy = TestEntropy::new(3);
        let mut first: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..1000 {
            let order = hosts(records.clone(), &mut entropy);
            assert_eq!(order.len(), 4);
            assert_eq!(order[3].host, "backup", "a higher number comes last");
            *first.entry(order[0].host.clone()).or_default() += 1;
        }
        let share = |h: &str| first.get(h).copied().unwrap_or(0);
        assert!((650..850).contains(&share("a")) && (150..350).contains(&share("b")), "{first:?}");
        assert!(share("c") < 50, "{first:?}");
        assert!(hosts(vec![Srv { port: 0, ..srv(1, 1, "a") }], &mut entropy).is_empty());
    }

    #[test]
    fn addresses_that_no_server_has_are_passed_over() {
        let ips = [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "192.0.2.1",
            "192.0.2.1",
        ];
        let ips = ips.map(|ip| ip.parse().expect("an address")).to_vec();
        let found = targets(Some("sip.example"), Transport::Tls, &[(5061, ips.clone()), (5062, ips)]);
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.0.2.1:5061/tls (sip.example)", "192.0.2.1:5062/tls (sip.example)"]);
    }

    proptest! {
        /// Any answer: no panic, and no more than the bounds.
        #[test]
        fn any_answer(
            records in prop::collection::vec((any::<u16>(), any::<u16>(), any::<u16>(), ".{0,300}"), 0..200),
            ips in prop::collection::vec(any::<u32>(), 0..100),
            seed in any::<u64>(),
        ) {
            let naptrs = records.iter().map(|(o, p, _, n)| naptr(*o, *p, "SIP+D2U", n)).collect();
            let names = srv_names("carrier.example", Transport::Udp, naptrs);
            prop_assert!((1..=NAMES_MAX).contains(&names.len()));
            let srvs = records.iter().map(|(p, w, port, n)| Srv { priority: *p, weight: *w, port: *port, target: n.clone() });
            let found = hosts(srvs.collect(), &mut TestEntropy::new(seed));
            prop_assert!(found.len() <= NAMES_MAX && found.iter().all(|h| h.port > 0));
            let ips: Vec<IpAddr> = ips.into_iter().map(|n| IpAddr::from(n.to_be_bytes())).collect();
            prop_assert!(targets(None, Transport::Udp, &[(5060, ips)]).len() <= TARGETS_MAX);
        }
    }
}
