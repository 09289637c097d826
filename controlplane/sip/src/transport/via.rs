//! Via: ours, the marks that a receiver makes in a peer's, and the way of a response.

use super::{Flow, FlowId};
use crate::message::{Message, Via, host_addr, host_port};
use std::net::SocketAddr;

/// RFC 3261 §18.1.1: transport, our address, branch; RFC 3581 §3: `rport` where it is wanted.
pub fn write(flow: &Flow, branch: &str, rport: bool) -> String {
    let rport = if rport { ";rport" } else { "" };
    format!("SIP/2.0/{} {};branch={branch}{rport}", flow.transport.via(), flow.local)
}

/// RFC 3261 §18.2.1, RFC 3581 §4: the source address, which the sender could not know.
pub fn marked(m: &Message, via: &str, dest: SocketAddr) -> String {
    let Some(parsed) = m.via() else { return via.to_owned() };
    let rport = parsed.param("rport") == Some("");
    let same_host = host_addr(parsed.sent_by).is_some_and(|a| a.ip() == dest.ip());
    let mut via = via.to_owned();
    if rport {
        let filled = |p: &str| {
            let empty = p.trim().trim_end_matches('=').trim_end().eq_ignore_ascii_case("rport");
            if empty { format!("rport={}", dest.port()) } else { p.to_owned() }
        };
        via = via.split(';').map(filled).collect::<Vec<_>>().join(";");
    }
    if (rport || !same_host) && parsed.param("received").is_none() {
        via += &format!(";received={}", dest.ip());
    }
    via
}

/// Where the responses to a request that came over `flow` go. RFC 3261 §18.2.2: over the same connection; RFC 3581 §4: a
/// datagram to the source port if `rport` asks for it, else to Via's port, of the source address.
pub fn reply(flow: &Flow, via: &Via) -> Flow {
    if flow.transport.is_reliable() || via.param("rport").is_some() {
        return *flow;
    }
    Flow { remote: SocketAddr::new(flow.remote.ip(), sent_by_port(flow, via)), ..*flow }
}

/// RFC 3261 §18.2.2: a connection that was closed before the response is replaced by one to the source address and the port
/// of Via.
pub fn reply_without_connection(flow: &Flow, sent_by_port: u16) -> Flow {
    Flow { remote: SocketAddr::new(flow.remote.ip(), sent_by_port), id: FlowId::DATAGRAM, ..*flow }
}

/// The port of a Via, or the transport's own.
pub fn sent_by_port(flow: &Flow, via: &Via) -> u16 {
    host_port(via.sent_by).and_then(|(_, port)| port).unwrap_or_else(|| flow.transport.default_port())
}

#[cfg(test)]
mod tests {
    use super::super::Transport;
    use super::*;

    fn flow(transport: Transport, remote: &str) -> Flow {
        let local = "192.0.2.1:5060".parse().expect("address");
        Flow { transport, local, remote: remote.parse().expect("address"), id: FlowId(3) }
    }

    #[test]
    fn ours_names_the_transport() {
        let f = flow(Transport::Tcp, "192.0.2.9:5060");
        assert_eq!(write(&f, "z9hG4bKa", true), "SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bKa;rport");
        let f =
            Flow { local: "[2001:db8::1]:5061".parse().expect("address"), transport: Transport::Tls, ..f };
        assert_eq!(write(&f, "z9hG4bKa", false), "SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bKa");
    }

    #[test]
    fn responses_go_back_as_the_transport_wants() {
        let to = |transport, via: &str| {
            let f = flow(transport, "192.0.2.9:41000");
            let dest = reply(&f, &Via::parse(via).expect("a Via"));
            (dest.remote.to_string(), dest.id)
        };
        let same = FlowId(3);
        let udp = |via| to(Transport::Udp, via).0;
        assert_eq!(udp("SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKa"), "192.0.2.9:5062");
        assert_eq!(udp("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa"), "192.0.2.9:5060");
        assert_eq!(udp("SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bKa"), "192.0.2.9:41000");
        for t in [Transport::Tcp, Transport::Tls] {
            let dest = to(t, "SIP/2.0/TCP 192.0.2.9:5062;branch=z9hG4bKa");
            assert_eq!(dest, ("192.0.2.9:41000".to_owned(), same), "the connection it came over");
        }
        let f = flow(Transport::Tls, "192.0.2.9:41000");
        let via = Via::parse("SIP/2.0/TLS proxy.example;branch=z9hG4bKa").expect("a Via");
        let anew = reply_without_connection(&f, sent_by_port(&f, &via));
        assert_eq!(anew.remote.to_string(), "192.0.2.9:5061");
    }
}
