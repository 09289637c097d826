//! The look-up against a name server of the test.

use super::*;
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, Record};
use sipsec_net::entropy::TestEntropy;
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;

/// `NAME TYPE` and the data.
type Zone = Vec<(&'static str, RData)>;

struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _task: JoinSet<()>,
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn a(text: &str) -> RData {
    RData::A(A(text.parse().expect("an address")))
}

fn aaaa(text: &str) -> RData {
    RData::AAAA(AAAA(text.parse().expect("an address")))
}

fn srv(priority: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, 1, port, name(target)))
}

fn naptr(service: &str, replacement: &str) -> RData {
    let octets = |s: &str| s.as_bytes().to_vec().into_boxed_slice();
    RData::NAPTR(NAPTR::new(1, 1, octets("s"), octets(service), octets(""), name(replacement)))
}

impl NameServer {
    async fn start(zone: Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("bound");
        let zone = Arc::new(Mutex::new(zone));
        let mut task = JoinSet::new();
        let answers = zone.clone();
        task.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                let Ok(asked) = Message::from_vec(&buffer[..len]) else { continue };
                let answer = answer(&asked, &answers.lock().expect("unpoisoned"));
                let _ = socket.send_to(&answer.to_vec().expect("encodes"), from).await;
            }
        });
        Self { address, zone, _task: task }
    }

    fn set(&self, zone: Zone) {
        *self.zone.lock().expect("unpoisoned") = zone;
    }

    fn wanted(&self, servers: &[&str], family: Family, transport: Transport) -> Wanted {
        let server = |text: &&str| match text.split_once(':') {
            Some((host, port)) => Server { host: Host::Name(host.into()), port: port.parse().ok() },
            None => Server { host: Host::Name((*text).into()), port: None },
        };
        let registrars = RoleServers { servers: servers.iter().map(server).collect(), family };
        Wanted {
            transport,
            registrars,
            proxies: RoleServers { servers: Vec::new(), family },
            dns: vec![self.address],
            dns_device: None,
        }
    }
}

fn answer(asked: &Message, zone: &Zone) -> Message {
    let mut message = Message::response(asked.metadata.id, OpCode::Query);
    message.metadata.recursion_available = true;
    let Some(query) = asked.queries.first() else { return message };
    message.add_query(query.clone());
    let (wanted, kind) = (query.name.to_ascii().to_ascii_lowercase(), query.query_type);
    let known = |n: &str| format!("{n}.").eq_ignore_ascii_case(&wanted);
    if !zone.iter().any(|(n, _)| known(n)) {
        message.metadata.response_code = ResponseCode::NXDomain;
    }
    for (_, data) in zone.iter().filter(|(n, data)| known(n) && data.record_type() == kind) {
        message.add_answer(Record::from_rdata(query.name.clone(), 300, data.clone()));
    }
    message
}

async fn found(wanted: &Wanted) -> Result<Vec<String>, String> {
    let (found, _) = look_up(wanted, &mut TestEntropy::new(1)).await;
    found.map(|f| f.registrars.iter().map(ToString::to_string).collect())
}

/// RFC 3263 §4.1, §4.2: NAPTR, then SRV, then addresses; what is missing is passed over.
#[tokio::test]
async fn names_lead_to_addresses_by_naptr_and_srv() {
    let dns = NameServer::start(vec![
        ("carrier.example", naptr("SIP+D2T", "_sip._tcp.t.example.")),
        ("carrier.example", naptr("SIP+D2U", "_sip._udp.u.example.")),
        ("_sip._udp.u.example", srv(20, 5070, "second.example.")),
        ("_sip._udp.u.example", srv(10, 5060, "first.example.")),
        ("_sip._tcp.t.example", srv(10, 5080, "first.example.")),
        ("_sips._tcp.carrier.example", srv(10, 5061, "first.example.")),
        ("first.example", a("192.0.2.1")),
        ("first.example", aaaa("2001:db8::1")),
        ("second.example", a("192.0.2.2")),
        ("bare.example", a("192.0.2.3")),
    ])
    .await;
    let ask = async |server: &str, family, transport| found(&dns.wanted(&[server], family, transport)).await;
    let of = |addresses: &[&str], rest: &str| {
        Ok(addresses.iter().map(|a| format!("{a}{rest}")).collect::<Vec<_>>())
    };
    let udp = "/udp (carrier.example)";
    assert_eq!(
        ask("carrier.example", Family::Auto, Transport::Udp).await,
        of(&["[2001:db8::1]:5060", "192.0.2.1:5060", "192.0.2.2:5070"], udp)
    );
    assert_eq!(
        ask("carrier.example", Family::Ipv4, Transport::Udp).await,
        of(&["192.0.2.1:5060", "192.0.2.2:5070"], udp)
    );
    assert_eq!(
        ask("carrier.example", Family::Ipv6, Transport::Tcp).await,
        of(&["[2001:db8::1]:5080"], "/tcp (carrier.example)")
    );
    assert_eq!(
        ask("carrier.example", Family::Ipv4, Transport::Tls).await,
        of(&["192.0.2.1:5061"], "/tls (carrier.example)")
    );
    // Without SRV, the name's own addresses; with a port, nothing else is asked.
    assert_eq!(
        ask("bare.example", Family::Auto, Transport::Udp).await,
        of(&["192.0.2.3:5060"], "/udp (bare.example)")
    );
    assert_eq!(
        ask("first.example:5099", Family::Ipv4, Transport::Udp).await,
        of(&["192.0.2.1:5099"], "/udp (first.example)")
    );
    // Two servers of the profile, in its order.
    let both = dns.wanted(&["bare.example", "second.example:5060"], Family::Ipv4, Transport::Udp);
    assert_eq!(
        found(&both).await,
        Ok(vec!["192.0.2.3:5060/udp (bare.example)".into(), "192.0.2.2:5060/udp (second.example)".into()])
    );
}

#[tokio::test]
async fn what_cannot_be_found_is_said() {
    let dns = NameServer::start(vec![("v4.example", a("192.0.2.1")), ("odd.example", a("127.0.0.1"))]).await;
    for (server, family, why) in [
        ("missing.example", Family::Auto, "missing.example does not exist"),
        ("v4.example", Family::Ipv6, "v4.example has no address"),
        ("odd.example", Family::Auto, "no server has an address"),
    ] {
        let refused = found(&dns.wanted(&[server], family, Transport::Udp)).await;
        assert!(refused.as_ref().is_err_and(|said| said.contains(why)), "{server}: {refused:?}");
    }
    // One of two is enough, and the other is told.
    let wanted = dns.wanted(&["missing.example", "v4.example"], Family::Auto, Transport::Udp);
    let (found, _) = look_up(&wanted, &mut TestEntropy::new(1)).await;
    let found = found.expect("one is enough");
    assert_eq!(found.registrars.len(), 1);
    assert!(found.trouble.is_some_and(|t| t.contains("missing.example")));
}

/// News is told; the same answer in another order, and a failure after a good answer, are none.
#[tokio::test]
async fn the_last_good_answer_stays() {
    let dns = NameServer::start(vec![("c.example", a("192.0.2.1")), ("c.example", a("192.0.2.2"))]).await;
    let wanted = dns.wanted(&["c.example:5060"], Family::Auto, Transport::Udp);
    let mut resolve = Resolve::start(wanted);
    let first = resolve.next().await.expect("found");
    assert_eq!(first.registrars.len(), 2);
    dns.set(vec![("c.example", a("192.0.2.2")), ("c.example", a("192.0.2.1"))]);
    resolve.again();
    dns.set(Vec::new());
    resolve.again();
    dns.set(vec![("c.example", a("192.0.2.3"))]);
    resolve.again();
    // None of the steps between was told.
    let next = resolve.next().await.expect("found");
    assert_eq!(next.registrars[0].addr.ip().to_string(), "192.0.2.3");
    assert_eq!(next.registrars.len(), 1);
    // Other servers are asked for: what was good for the former ones is not kept.
    resolve.want(dns.wanted(&["gone.example"], Family::Auto, Transport::Udp));
    assert!(resolve.next().await.is_err_and(|why| why.contains("gone.example")));
}

#[tokio::test]
async fn questions_leave_by_the_device_that_the_profile_names() {
    let dns = NameServer::start(vec![("c.example", a("192.0.2.1"))]).await;
    let by = |device: &str| {
        let wanted = dns.wanted(&["c.example:5060"], Family::Auto, Transport::Udp);
        Wanted { dns_device: Some(device.into()), ..wanted }
    };
    // Without CAP_NET_RAW a socket may be bound to a device once, which is enough (Linux 5.7).
    let found_by = found(&by("lo")).await;
    assert_eq!(found_by.expect("by lo"), ["192.0.2.1:5060/udp (c.example)"]);
    assert!(found(&by("sipsec-none")).await.is_err(), "not by another one");
}
