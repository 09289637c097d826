//! A configuration in the words of a profile.

use super::document::Secret;
use crate::model::{
    FilterEntry, IkeIdentity, Operation, PeerIdentity, PrimaryNat, QosPolicy, StaticRoute, TrackEntry,
    TunnelNat, TunnelRoute,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

#[derive(Debug, Default)]
pub struct Conversion {
    /// The name that the hostname gives, if it can be a gateway's.
    pub gateway: Option<String>,
    /// The interface of the line: its name on the router, and the device that it maps to.
    pub wan: Option<(String, Option<String>)>,
    pub lines: Vec<String>,
    /// The interface of the line learns the registrar and the domain by DHCP, with its address.
    pub sip_by_dhcp: bool,
    pub keyring: Vec<KeyEntry>,
    pub certificates: Vec<Certificate>,
    /// Empty: what the gateway offers by itself.
    pub proposals: Vec<String>,
    pub esp_proposals: Vec<String>,
    /// The peers have nothing better than AES-CBC with SHA-1, or the groups 5 and 2.
    pub old_peers: bool,
    pub ike_s: Option<u32>,
    pub child_s: Option<u32>,
    pub child_kb: Option<u32>,
    pub dpd: Option<(&'static str, u32)>,
    pub nat_keepalive_s: Option<u32>,
    pub fragment_bytes: Option<u32>,
    /// In packets, as the profile takes it.
    pub replay_window: Option<u32>,
    pub tunnel_source: Option<Ipv4Addr>,
    pub tunnels: Vec<Tunnel>,
    /// Filters that tunnels name.
    pub filters: Vec<FilterEntry>,
    /// Policies that tunnels name.
    pub qos: Vec<QosPolicy>,
    /// Interfaces of the router, and the devices that take their places.
    pub interfaces: BTreeMap<String, String>,
    pub sla: Vec<Operation>,
    pub track: Vec<TrackEntry>,
    /// Beside those of the tunnels.
    pub routes: Vec<StaticRoute>,
    /// Translation to primary lines: the interface of each, and what becomes of it.
    pub primary: Vec<(String, PrimaryNat)>,
    pub dont_fragment: Option<&'static str>,
    pub reassembly: Reassembly,
}

/// How fragments from the WAN are put together; `None`: what the gateway does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reassembly {
    pub datagrams_per_peer: Option<u16>,
    pub fragments: Option<u8>,
    pub timeout_s: Option<u8>,
}

impl Conversion {
    /// Nothing of it shapes a profile.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tunnels.is_empty()
            && self.lines.is_empty()
            && self.keyring.is_empty()
            && self.certificates.is_empty()
            && self.esp_proposals.is_empty()
            && self.proposals.is_empty()
            && self.sla.is_empty()
            && self.track.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// `None`: any.
    pub number: Option<String>,
    pub proof: Proof,
    pub ppk: Option<Ppk>,
    /// What the router says it is, where that is not the number of its line.
    pub identity: Option<IkeIdentity>,
    /// What the peer must say it is, where that is not its number.
    pub peer_identity: Option<PeerIdentity>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    Psk(Secret),
    Certificate(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ppk {
    pub id: String,
    pub key: Secret,
    pub required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub name: String,
    pub self_signed: bool,
    /// `open` or `closed`.
    pub crl: Option<&'static str>,
    pub maps: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
pub struct Tunnel {
    pub name: String,
    pub local: String,
    pub remote: String,
    pub kbps: u32,
    pub idle_s: Option<u32>,
    pub mtu: Option<u32>,
    /// A kernel device of its own, and the device whose addresses that has.
    pub device: Option<String>,
    pub unnumbered: Option<String>,
    /// Which packets place a call and keep it up: a filter of the conversion.
    pub filter: Option<String>,
    pub qos: Option<String>,
    pub routes: Vec<TunnelRoute>,
    pub metric: Option<u32>,
    pub nat: Vec<TunnelNat>,
}
