//! What a configuration says, before it is asked whether that makes a profile. Every fact knows its line.

use super::report::At;
use crate::model::track::Of;
use sipsec_net::IpPrefix;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use zeroize::Zeroizing;

/// A key as it is written; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A value and the line that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said<T> {
    pub value: T,
    pub at: At,
}

impl<T> Said<T> {
    pub const fn new(value: T, at: At) -> Self {
        Self { value, at }
    }
}

/// Blocks by name; names differ in case in IOS.
#[derive(Debug)]
pub struct Named<T> {
    pub items: Vec<T>,
    index: HashMap<String, usize>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { items: Vec::new(), index: HashMap::new() }
    }
}

impl<T: Block> Named<T> {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.index.get(name).map(|i| &self.items[*i])
    }

    /// The block of that name, made if it is not there: later lines add to a block.
    pub fn open(&mut self, name: &str, at: At) -> usize {
        if let Some(i) = self.index.get(name) {
            return *i;
        }
        self.items.push(T::new(name.to_owned(), at));
        self.index.insert(name.to_owned(), self.items.len() - 1);
        self.items.len() - 1
    }

    /// Its name leads nowhere any more; its lines stay.
    pub fn remove(&mut self, name: &str) -> bool {
        self.index.remove(name).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().filter(|item| self.index.contains_key(item.name()))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(Block::name)
    }
}

pub trait Block {
    fn new(name: String, at: At) -> Self;
    fn name(&self) -> &str;
    fn lines(&mut self) -> &mut Vec<At>;
    /// Its first line.
    fn head(&self) -> &[At];
}

macro_rules! block {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name {
            pub name: String,
            /// Every line of it, the first one being its head.
            pub lines: Vec<At>,
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl Block for $name {
            fn new(name: String, _at: At) -> Self {
                Self { name, ..Self::default() }
            }
            fn name(&self) -> &str {
                &self.name
            }
            fn lines(&mut self) -> &mut Vec<At> {
                &mut self.lines
            }
            fn head(&self) -> &[At] {
                &self.lines[..self.lines.len().min(1)]
            }
        }

    };
}

/// Which direction a key serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Both,
    Local,
    Remote,
}

/// Why a key cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// Encrypted (6) or obfuscated (7).
    Type(&'static str),
    Masked,
    NotHex,
    Blank,
    /// Characters that a key of IOS does not have: column and code point of each.
    Characters(Vec<(usize, char)>),
    TooLong,
    /// The line may go on in the next one.
    Cut,
}

#[derive(Clone, Debug)]
pub struct KeyLine {
    pub at: At,
    pub direction: Direction,
    pub key: Result<Secret, KeyFault>,
}

/// RFC 8784.
#[derive(Clone, Debug)]
pub struct PpkLine {
    pub at: At,
    pub id: String,
    pub key: Result<Secret, KeyFault>,
    pub required: bool,
}

#[derive(Debug, Default)]
pub struct Peer {
    pub name: String,
    pub lines: Vec<At>,
    pub key_ids: Vec<Said<String>>,
    /// By name or address, which no telephone number leads to.
    pub identities: Vec<Said<String>>,
    pub address: Option<Said<String>>,
    pub keys: Vec<KeyLine>,
    pub ppk: Option<PpkLine>,
}

impl Peer {
    /// `address 0.0.0.0 0.0.0.0` without an identity serves every peer.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.key_ids.is_empty()
            && self.identities.is_empty()
            && self
                .address
                .as_ref()
                .is_some_and(|a| matches!(a.value.as_str(), "0.0.0.0 0.0.0.0" | "::/0" | "0.0.0.0"))
    }
}

block! {
    Keyring {
        peers: Vec<Peer>,
    }
}

/// How an end proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    Psk,
    Signature,
    /// EAP and others.
    Other(String),
}

block! {
    IkeProfile {
        match_any: bool,
        match_numbers: Vec<Said<String>>,
        match_other: Vec<Said<String>>,
        match_maps: Vec<Said<String>>,
        vrf: Option<Said<String>>,
        identity: Option<Said<Identity>>,
        local: Option<Said<Auth>>,
        remote: Vec<Said<Auth>>,
        /// `authentication … pre-share key`
        inline_keys: Vec<KeyLine>,
        keyring: Option<Said<String>>,
        keyring_aaa: Option<Said<String>>,
        ppk_keyring: Option<Said<String>>,
        trustpoints: Vec<Said<Signs>>,
        dpd: Option<Said<Dpd>>,
        lifetime: Option<Said<u32>>,
        nat_keepalive: Option<Said<u32>>,
        force_encap: Option<bool>,
        /// Commands of remote access.
        remote_access: Vec<Said<String>>,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signs {
    pub trustpoint: String,
    pub sign: bool,
    pub verify: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    KeyId(String),
    Other(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpd {
    pub interval_s: u32,
    pub periodic: bool,
}

block! {
    IkeProposal {
        encryption: Option<Said<Vec<String>>>,
        integrity: Option<Said<Vec<String>>>,
        prf: Option<Said<Vec<String>>>,
        group: Option<Said<Vec<String>>>,
        pqc: Option<Said<Pqc>>,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pqc {
    pub method: String,
    pub optional: bool,
}

block! {
    IkePolicy {
        proposals: Vec<Said<String>>,
        vrf: Option<Said<String>>,
    }
}

block! {
    TransformSet {
        transforms: Vec<String>,
    }
}

block! {
    IpsecProfile {
        idle_s: Option<Said<u32>>,
        lifetime_s: Option<Said<u32>>,
        /// 0: no limit.
        lifetime_kb: Option<Said<u32>>,
        transforms: Vec<Said<String>>,
        pfs: Option<Said<String>>,
        replay_window: Option<Said<u32>>,
        ike_profile: Option<Said<String>>,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    None,
    Crl,
    CrlNone,
    Other,
}

block! {
    Trustpoint {
        self_signed: bool,
        enrolled: bool,
        revocation: Option<Said<Revocation>>,
    }
}

block! {
    CertificateMap {
        /// By sequence number, in order.
        entries: Vec<(u32, Vec<String>)>,
    }
}

/// `vpn-sip local-number L remote-number R bandwidth B`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpnSip {
    pub local: String,
    pub remote: String,
    pub kbps: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    pub ipsec: String,
    pub ike: Option<String>,
}

block! {
    Interface {
        address: Option<Said<Address>>,
        nat: Vec<Said<&'static str>>,
        dhcp_requests: Vec<At>,
        reassembly: Option<Said<Reassembly>>,
        /// Settings that the import does not know.
        unknown: Vec<At>,
        filters: Vec<Said<String>>,
        zone: Option<Said<String>>,
        policy_route: Option<Said<String>>,
        other_security: Vec<Said<String>>,
        vrf: Option<Said<String>>,
        service_policy: Vec<Said<String>>,
        dialer_group: Option<Said<u32>>,
        shutdown: Option<At>,
        mtu: Option<Said<u32>>,
        source: Option<Said<String>>,
        mode: Option<Said<TunnelMode>>,
        destination: Option<Said<Destination>>,
        /// `backup interface X`, and the delays and loads beside it.
        backup: Vec<Said<Option<String>>>,
        /// Commands of routing protocols, as written.
        routing: Vec<Said<String>>,
        /// Limits of the rate, as written.
        rate: Vec<Said<String>>,
        tunnel_vrf: Option<Said<String>>,
        protection: Option<Said<Protection>>,
        vpn_sip: Option<Said<VpnSip>>,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    None,
    Dynamic,
    Fixed(Ipv4Addr, Ipv4Addr),
    Unnumbered(String),
}

/// `ip virtual-reassembly [in] …`: what is not written is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reassembly {
    pub datagrams: Option<u32>,
    pub fragments: Option<u32>,
    pub timeout_s: Option<u32>,
    /// A share of the router's memory.
    pub percentage: Option<u32>,
    pub drop: bool,
}

/// `tunnel mode …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelMode {
    Ipsec,
    Other(String),
}

/// `tunnel destination …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Dynamic,
    Other(String),
}

/// Where a static route leads.
#[derive(Clone, Debug)]
pub struct Route {
    pub at: At,
    pub prefix: IpPrefix,
    pub interface: Option<String>,
    pub via: Option<IpAddr>,
    pub distance: Option<u8>,
    pub track: Option<String>,
    pub name: Option<String>,
    pub vrf: Option<String>,
}

/// `vpn-sip local-number N address ipv4 IF`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipLine {
    pub number: String,
    pub interface: String,
}

block! {
    /// An access list, map, class, policy or VRF: lines, and the other blocks that these name.
    Opaque {
        refers: Vec<String>,
        tunnels: Vec<String>,
    }
}

block! {
    Track {
        watched: Option<Said<Watched>>,
        members: Vec<Member>,
        threshold: Option<Said<Threshold>>,
        delay_up_ms: u64,
        delay_down_ms: u64,
    }
}

/// What a track follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    Operation(String, Of),
    Interface(String),
    Route(IpPrefix),
    And,
    Or,
    Weight,
    Percentage,
    /// Nothing that the gateway has.
    Other(String),
}

/// `object N [not] [weight W]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: u32,
    pub not: bool,
    pub weight: u32,
    pub at: At,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threshold {
    pub up: Option<u32>,
    pub down: Option<u32>,
}

block! {
    Probe {
        target: Option<Said<Target>>,
        frequency_ms: Option<Said<u64>>,
        timeout_ms: Option<Said<u64>>,
        threshold_ms: Option<Said<u64>>,
        tag: Option<Said<String>>,
        vrf: Option<Said<String>>,
        scheduled: Option<Said<Scheduled>>,
    }
}

/// What an operation probes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Empty: a kind that the gateway does not have.
    pub kind: &'static str,
    pub address: String,
    pub port: Option<u16>,
    pub source: Option<String>,
    pub interface: Option<String>,
    pub query: Option<String>,
    pub server: Option<String>,
    pub url: Option<String>,
    pub packets: Option<u16>,
    pub interval_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// `None`: for ever.
    pub life_s: Option<u64>,
    pub starts: bool,
    /// At a time of day, or after a while.
    pub at_a_time: bool,
}

block! {
    Applet {
        /// Interfaces and tracks that its actions name; `vpn-sip` if they change that.
        mentions: Vec<String>,
    }
}

#[derive(Debug)]
pub struct Nat {
    pub at: At,
    pub interface: Option<String>,
    pub refers: Vec<String>,
}

/// `dialer-list N protocol P …`: which packets place a call on the interfaces with `dialer-group N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialerList {
    pub at: At,
    pub number: u32,
    pub v6: bool,
    pub packets: Interesting,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interesting {
    All,
    None,
    /// An access list.
    List(String),
}

/// A whole configuration.
#[derive(Debug, Default)]
pub struct Document {
    pub hostname: Option<Said<String>>,
    /// The name in prompts, used without a hostname.
    pub prompt: Option<Said<String>>,
    pub keyrings: Named<Keyring>,
    pub ike_profiles: Named<IkeProfile>,
    pub proposals: Named<IkeProposal>,
    pub policies: Named<IkePolicy>,
    pub transforms: Named<TransformSet>,
    pub ipsec_profiles: Named<IpsecProfile>,
    pub trustpoints: Named<Trustpoint>,
    /// Certificate chains by trustpoint.
    pub chains: Named<Opaque>,
    pub maps: Named<CertificateMap>,
    pub interfaces: Named<Interface>,
    pub routes: Vec<Route>,
    pub lines: Vec<Said<SipLine>>,
    pub enable: Option<Said<bool>>,
    pub source: Option<Said<String>>,
    pub vpn_sip: Vec<At>,
    pub dpd: Option<Said<Dpd>>,
    pub fragmentation: Option<Said<Option<u32>>>,
    pub nat_keepalive: Option<Said<u32>>,
    pub idle_s: Option<Said<u32>>,
    pub lifetime_s: Option<Said<u32>>,
    pub lifetime_kb: Option<Said<u32>>,
    pub df: Option<Said<&'static str>>,
    /// In packets.
    pub replay_window: Option<Said<u32>>,
    pub sip_features: Vec<At>,
    pub acls: Named<Opaque>,
    pub route_maps: Named<Opaque>,
    pub class_maps: Named<Opaque>,
    pub policy_maps: Named<Opaque>,
    pub zones: Vec<At>,
    pub vrfs: Named<Opaque>,
    pub nats: Vec<Nat>,
    pub dialer_lists: Vec<DialerList>,
    pub tracks: Named<Track>,
    pub probes: Named<Probe>,
    pub applets: Named<Applet>,
    /// Lines of a header that promises an `end`, and whether it came.
    pub header: Option<At>,
    pub ended: bool,
    /// Commands that were understood, whether or not they matter.
    pub commands: usize,
}
