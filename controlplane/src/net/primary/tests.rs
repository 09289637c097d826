//! The transaction as bytes; what the kernel makes of it is told by `tests/primary.rs`.

use super::rules::{Rules, TUNNEL_DEVICES_MAX};
use crate::net::netfilter::NEW_TABLE;
use sipsec_abi::nfnetlink::{Received, find, messages};
use sipsec_profile::model::nat::PortProtocol;
use sipsec_profile::model::primary_nat::{
    EXEMPTIONS_MAX, FORWARDS_MAX, Forward, PRIMARIES_MAX, PrimaryFiltering, PrimaryNat, SOURCES_MAX,
};

fn largest() -> Rules {
    let prefix = |n: usize| format!("10.{n}.0.0/16").parse().expect("a prefix");
    let forward = |n: usize| Forward {
        protocol: PortProtocol::Tcp,
        port: n as u16 + 1,
        local: "10.1.0.2:80".parse().expect("an endpoint"),
    };
    let primary = |n: usize| PrimaryNat {
        device: format!("wan{n}"),
        sources: (0..SOURCES_MAX).map(prefix).collect(),
        exempt: (0..EXEMPTIONS_MAX).map(prefix).collect(),
        port_first: 1024,
        port_last: 49_151,
        filtering: PrimaryFiltering::EndpointIndependent,
        forwards: (0..FORWARDS_MAX).map(forward).collect(),
    };
    Rules {
        table: "sipsec-branch".into(),
        tunnels: (0..TUNNEL_DEVICES_MAX).map(|n| format!("Tunnel{n}")).collect(),
        primary: (0..PRIMARIES_MAX).map(primary).collect(),
    }
}

#[test]
fn every_message_is_whole_numbered_and_of_the_table() {
    let batch = largest().batch();
    let list: Vec<Received<'_>> = messages(&batch.bytes).collect();
    let inner = &list[1..list.len() - 1];
    assert!(batch.rules as usize > FORWARDS_MAX * PRIMARIES_MAX && inner.len() > batch.rules as usize);
    // Twice what `net.core.wmem_max` is by default, less a header.
    assert!(batch.bytes.len() < 2 * 212_992 - 32, "{} bytes do not fit one message", batch.bytes.len());
    for (message, number) in inner.iter().zip(1..) {
        assert_eq!(message.sequence, number);
        assert_eq!(find(message.attributes(), 1).expect("a table").value, b"sipsec-branch\0");
    }
    let lengths: usize = list.iter().map(|m| m.payload.len() + 16).sum();
    assert_eq!(lengths, batch.bytes.len(), "nothing is left over");
}

#[test]
fn without_primaries_the_table_goes() {
    let batch = Rules { primary: Vec::new(), ..largest() }.batch();
    let kinds: Vec<u16> = messages(&batch.bytes).map(|m| m.kind).collect();
    assert_eq!(kinds, [0x10, NEW_TABLE, NEW_TABLE | 2, 0x11]);
    assert_eq!((batch.acknowledged, batch.rules), (2, 0));
}
