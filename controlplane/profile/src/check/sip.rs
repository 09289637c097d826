//! Transports and families of SIP.

use crate::diagnose::{Problem, Sink};
use crate::model::{Family, Host, Profile, Server, SipSection, SipTransport};
use crate::read::KeyPath;

pub fn check(profile: &Profile, sink: &Sink) {
    for (at, sip) in super::carriers(profile) {
        section(&at, sip, sink);
    }
}

fn section(at: &KeyPath, sip: &SipSection, sink: &Sink) {
    let tls = sip.tls.ca.is_some();
    if sip.transport == SipTransport::Tls && !tls {
        let problem = Problem::error("sip::tls", &at.key("transport"), format!("TLS has no `{at}.tls.ca`"));
        sink.push(
            problem.hint("write `tls: { ca: FILE }`: the certificates of those who may issue the server's"),
        );
    } else if sip.transport != SipTransport::Tls && tls {
        let problem = Problem::warning("sip::tls", &at.key("tls"), format!("`{at}.tls` has no effect"));
        sink.push(problem.hint("write `transport: tls`, or remove it"));
    }
    let registrars = sip.registrar.given().map(Vec::as_slice).unwrap_or_default();
    for (key, servers, family) in [
        ("registrar", registrars, sip.registration_family),
        ("registrar", if sip.outbound_proxy.is_empty() { registrars } else { &[] }, sip.call_family),
        ("outbound_proxy", &sip.outbound_proxy, sip.call_family),
    ] {
        unreachable(&at.key(key), servers, family, sink);
    }
    if sip.keepalive.is_some() && sip.transport == SipTransport::Udp {
        let path = at.key("keepalive_s");
        let problem =
            Problem::warning("sip::keepalive", &path, "keep-alives are sent over TCP and TLS alone");
        sink.push(problem.hint("remove it, or write `transport: tcp` or `tls`"));
    }
}

/// A role whose servers are all addresses of the other IP version places no call.
fn unreachable(key: &KeyPath, servers: &[Server], family: Family, sink: &Sink) {
    let usable = |s: &Server| match &s.host {
        Host::Address(ip) => family.takes(*ip),
        Host::Name(_) => true,
    };
    if !servers.is_empty() && !servers.iter().any(usable) {
        let word = if family == Family::Ipv4 { "IPv4" } else { "IPv6" };
        let problem = Problem::error("sip::family", key, format!("no server of `{key}` has {word}"));
        sink.push(problem.hint(format!(
            "write one with {word}; with `outbound_proxy`, calls can use another IP version than `registrar`"
        )));
    }
}
