//! Byte streams, and what name servers answer.

use crate::locate::{self, Naptr, Srv};
use crate::target::TARGETS_MAX;
use crate::transport::framing::{BODY_MAX, HEAD_MAX};
use crate::transport::{Framed, Framer, Transport};
use arbitrary::{Result, Unstructured};
use sipsec_net::entropy::TestEntropy;
use std::net::IpAddr;

const RECORDS_MAX: usize = 200;

/// A stream, in parts as the first byte has it: the messages are those of the whole, and no more than one is held.
pub fn framing(bytes: &[u8]) {
    let Some((size, stream)) = bytes.split_first() else { return };
    let whole = cut(std::iter::once(stream));
    let parts = cut(stream.chunks(usize::from(*size).max(1)));
    assert_eq!(whole, parts, "the reads decide nothing");
    for message in &whole.0 {
        assert!(message.len() <= HEAD_MAX + BODY_MAX);
        super::datagram(message);
    }
}

fn cut<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let (mut framer, mut messages) = (Framer::default(), Vec::new());
    for part in parts {
        framer.push(part);
        loop {
            match framer.cut() {
                Ok(Some(Framed::Message(message))) => messages.push(message),
                Ok(Some(Framed::Ping | Framed::Pong)) => {}
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
        assert!(framer.held() <= HEAD_MAX + BODY_MAX + part.len());
    }
    (messages, false)
}

/// Any records, as a name server may answer with: bounded, and never a target that is none.
pub fn locate(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    // An input that ends in the middle of a record is a shorter answer.
    let _ = answers(&mut u);
}

fn answers(u: &mut Unstructured<'_>) -> Result<()> {
    let transport = *u.choose(&[Transport::Udp, Transport::Tcp, Transport::Tls])?;
    let mut naptrs = Vec::new();
    for _ in 0..u.int_in_range(0..=RECORDS_MAX)? {
        naptrs.push(Naptr {
            order: u.arbitrary()?,
            preference: u.arbitrary()?,
            flags: u.choose(&[&b"s"[..], b"S", b"a", b"u", b""])?.to_vec(),
            services: u.choose(&[&b"SIP+D2U"[..], b"SIP+D2T", b"SIPS+D2T", b"", b"\xff"])?.to_vec(),
            regexp: if u.ratio(1, 8)? { b"!".to_vec() } else { Vec::new() },
            replacement: u.arbitrary()?,
        });
    }
    let names = locate::srv_names("carrier.example", transport, naptrs);
    assert!(!names.is_empty() && names.len() <= TARGETS_MAX);
    let mut srvs = Vec::new();
    for _ in 0..u.int_in_range(0..=RECORDS_MAX)? {
        srvs.push(Srv {
            priority: u.int_in_range(0..=3)?,
            weight: u.arbitrary()?,
            port: u.arbitrary()?,
            target: u.arbitrary()?,
        });
    }
    let hosts = locate::hosts(srvs, &mut TestEntropy::new(u.arbitrary()?));
    assert!(hosts.len() <= TARGETS_MAX && hosts.iter().all(|h| h.port > 0 && !h.host.is_empty()));
    let mut addresses = Vec::new();
    for host in &hosts {
        let ips: Vec<[u8; 16]> = u.arbitrary()?;
        addresses.push((host.port, ips.into_iter().map(IpAddr::from).collect()));
    }
    let targets = locate::targets(Some("carrier.example"), transport, &addresses);
    assert!(targets.len() <= TARGETS_MAX);
    assert!(targets.iter().all(|t| !t.addr.ip().is_unspecified() && !t.addr.ip().is_multicast()));
    Ok(())
}
