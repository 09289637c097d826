//! Commands to the dataplane and events from it, as domain types. `sipsec-abi` defines their bytes on the shared ring; only
//! the two shells translate.

use crate::esp::Layout;
use crate::filter::{FilterRule, FilterUse};
use crate::nat::{NatBlock, NatEntry, NatPolicy, NatRule, NatStatistics};
use crate::qos::{QosFilters, QosSpec};
use crate::{Instant, IpPrefix, Kbps, MacAddr, MediaPort, SaId, SecretBox, Spi, TunnelId, TxnId};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Most operations in one transaction.
pub const OPS_MAX: usize = 64;
/// Selectors of each side in one [`Selectors`] block, which is what one operation holds.
pub const SELECTORS_PER_BLOCK: usize = 4;
/// Most selectors of each side of one SA.
pub const SELECTORS_MAX: usize = 64;
/// Most blocks of one SA: the one of its `SaAdd` and those of its `SaSelectors`.
pub const SELECTOR_BLOCKS_MAX: usize = SELECTORS_MAX / SELECTORS_PER_BLOCK;
/// Longest key material: that of AES-CBC with 256 bits and of HMAC-SHA2-512.
pub const KEYMAT_MAX: usize = 32 + 64;

/// One change. A transaction is a list of these, validated whole and applied at a batch boundary or not at all. A change
/// that needs more than [`OPS_MAX`] operations is several transactions, of which each but the last says that more follow;
/// until the last is applied, prefixes that one of them took from a tunnel are not given back to the kernel.
#[derive(Clone, Debug)]
pub enum Op {
    TunnelAdd(TunnelSpec),
    /// Gives a tunnel other values. Its routes, SAs, media port, counters and waiting packets stay.
    TunnelSet(TunnelSpec),
    /// Gives a tunnel other classes and another policer, and takes the filters that it has away. Their counters begin anew.
    TunnelQos(QosSpec),
    /// More filters of a tunnel, behind those that it has.
    TunnelQosFilters(QosFilters),
    /// Takes the tunnel's routes, SAs and media port with it.
    TunnelRemove(TunnelId),
    /// Adds a route of this tunnel, or replaces that with its prefix.
    RouteAdd {
        prefix: IpPrefix,
        tunnel: TunnelId,
        adjacency: Adjacency,
    },
    RouteRemove {
        prefix: IpPrefix,
    },
    /// One rule more at the end of a tunnel's filter, at most [`crate::filter::FILTER_RULES_MAX`]. A tunnel without rules
    /// has no filter.
    FilterAdd {
        tunnel: TunnelId,
        used: FilterUse,
        rule: FilterRule,
    },
    /// The tunnel has no filter of this use any more.
    FilterClear {
        tunnel: TunnelId,
        used: FilterUse,
    },
    /// Opens a media port for one call: steering, PAT, IKE punt and shaper.
    MediaOpen(MediaBinding),
    /// Closes it; what still comes is the kernel's, which answers that the port is closed.
    MediaClose(MediaPort),
    /// Layer-2 address of the next hop towards a media binding's peer.
    NextHop {
        media_port: MediaPort,
        mac: MacAddr,
    },
    /// From which ports of the peer's address a media port takes packets, besides that of SDP.
    PeerSource {
        media_port: MediaPort,
        source: PeerSource,
    },
    /// The largest outer packet of a media port, as probes of its path have found (RFC 8899), at least 576 bytes; `None` for no
    /// bound of theirs.
    PathMtu {
        media_port: MediaPort,
        mtu: Option<u16>,
    },
    SaAdd(SaSpec),
    /// Further selectors of an SA, which is added earlier in the same transaction. The SA then admits what matches a local
    /// selector of any of its blocks and a remote one of any of its blocks.
    SaSelectors {
        sa: SaId,
        more: Selectors,
    },
    SaRemove(SaId),
    /// From now on this tunnel's traffic is sealed with this (outbound) SA.
    TunnelBind {
        tunnel: TunnelId,
        outbound: SaId,
    },
    TunnelUnbind(TunnelId),
    /// Sends what waited for the SA, in order, at the negotiated rate.
    ReplayTrigger(TunnelId),
    /// Drops what waited and lets the next packet trigger again.
    FlushTrigger(TunnelId),
    /// What holds for the translations of all tunnels.
    NatPolicy(NatPolicy),
    /// Appends a rule to those of a tunnel. They go with their tunnel.
    NatRule {
        tunnel: TunnelId,
        rule: NatRule,
    },
    /// Removes the rules of a tunnel, and its translations.
    NatRemove(TunnelId),
    /// Ends the translations of a host, or all of them. Rules stay.
    NatClear(Option<Ipv4Addr>),
    /// Asks for a page of the translations from a row on: [`Event::NatEntry`] for each, then [`Event::NatPage`].
    NatPage {
        from: u32,
    },
}

/// A configured tunnel: exists whether or not it has an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelSpec {
    pub tunnel: TunnelId,
    /// Largest inner packet, in bytes.
    pub inner_mtu: u16,
    /// TCP MSS is lowered to fit `inner_mtu` in both directions.
    pub mss_clamp: bool,
    /// RFC 3704 §2.2, strict: what comes out of the tunnel has a source to which its own routes lead.
    pub check_source: bool,
    /// Host mode: link-scope packets of routing protocols (224.0.0.0/24, ff02::/16, between link-local addresses) pass the
    /// tunnel while it has an SA. They never ask for a call and are no activity.
    pub routing_hellos: bool,
    /// Host mode: the tunnel has a kernel device of its own ([`crate::tunnel_device`]). What comes by it goes into this tunnel,
    /// wherever the routes lead.
    pub own_device: bool,
    pub trigger_packets_max: u16,
    pub trigger_bytes_max: u32,
    pub trigger_age_ms_max: u32,
}

impl TunnelSpec {
    /// MSS and sources are watched, and a queue of 64 packets waits for a call, for 5 s at most.
    #[must_use]
    pub const fn new(tunnel: TunnelId, inner_mtu: u16) -> Self {
        Self {
            tunnel,
            inner_mtu,
            mss_clamp: true,
            check_source: true,
            routing_hellos: false,
            own_device: false,
            trigger_packets_max: 64,
            trigger_bytes_max: 65_536,
            trigger_age_ms_max: 5000,
        }
    }
}

/// What becomes of packets to a tunnel's prefix. The tunnel may always send from it: a peer that has failed over before us has
/// a feasible way back (RFC 3704 §2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Adjacency {
    /// They go into the tunnel.
    #[default]
    Tunnel,
    /// Router mode: the host's own routing has a better route, so they are not taken off the LAN.
    Outside,
    Discard,
}

/// The network half of one call. The inside is what IKE and ESP believe (loopback:4500, as IOS has it); the outside is
/// what SDP said; the dataplane's PAT joins them for as long as the call lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaBinding {
    pub tunnel: TunnelId,
    pub inside_local: SocketAddr,
    /// Our address and port in SDP; the port is the binding's key.
    pub outside_local: SocketAddr,
    /// The peer's (or the carrier relay's) address and port in SDP. Anything from elsewhere is dropped and counted.
    pub remote: SocketAddr,
    /// Negotiated rate of the outer packets, IKE included: min(offer, answer).
    pub rate: Kbps,
    pub next_hop: MacAddr,
    /// DSCP of the outer header; the inner one is not copied (RFC 2983 pipe model) unless it says so.
    pub outer_dscp: OuterDscp,
}

impl MediaBinding {
    #[must_use]
    pub const fn media_port(&self) -> MediaPort {
        MediaPort(self.outside_local.port())
    }
}

/// A carrier's media relay may send from another port than the one where it listens. What we send goes to the port of SDP
/// all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerSource {
    /// From every port, until a packet proves itself: ESP whose ICV holds, or an IKE message of which the control plane
    /// says so. It decides, once.
    Unproven,
    /// From this port as well, and from no other.
    Port(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterDscp {
    CopyInner,
    Fixed(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    In,
    Out,
}

/// Encryption and integrity of an ESP SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EspCipher {
    Aes128Gcm16,
    Aes256Gcm16,
    ChaCha20Poly1305,
    /// With the sequence number as IV (RFC 8750).
    Aes128Gcm16Iiv,
    Aes256Gcm16Iiv,
    ChaCha20Poly1305Iiv,
    /// RFC 3602 with RFC 2404.
    Aes128CbcSha1,
    Aes256CbcSha1,
    /// RFC 3602 with RFC 4868.
    Aes128CbcSha256,
    Aes256CbcSha256,
    Aes128CbcSha384,
    Aes256CbcSha384,
    Aes128CbcSha512,
    Aes256CbcSha512,
}

/// The hash of an HMAC that protects ESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EspHmac {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl EspHmac {
    /// RFC 2404 §3, RFC 4868 §2.1.1.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Bytes that are left of the HMAC: RFC 2404 §2, RFC 4868 §2.3.
    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self {
            Self::Sha1 => 12,
            other => other.key_len() / 2,
        }
    }
}

impl EspCipher {
    pub const ALL: [Self; 14] = [
        Self::Aes128Gcm16,
        Self::Aes256Gcm16,
        Self::ChaCha20Poly1305,
        Self::Aes128Gcm16Iiv,
        Self::Aes256Gcm16Iiv,
        Self::ChaCha20Poly1305Iiv,
        Self::Aes128CbcSha1,
        Self::Aes256CbcSha1,
        Self::Aes128CbcSha256,
        Self::Aes256CbcSha256,
        Self::Aes128CbcSha384,
        Self::Aes256CbcSha384,
        Self::Aes128CbcSha512,
        Self::Aes256CbcSha512,
    ];

    /// The cipher whose IV is in the packet: engines do not know where an IV comes from.
    #[must_use]
    pub const fn with_explicit_iv(self) -> Self {
        match self {
            Self::Aes128Gcm16Iiv => Self::Aes128Gcm16,
            Self::Aes256Gcm16Iiv => Self::Aes256Gcm16,
            Self::ChaCha20Poly1305Iiv => Self::ChaCha20Poly1305,
            other => other,
        }
    }

    /// The HMAC beside AES-CBC; an AEAD has none.
    #[must_use]
    pub const fn hmac(self) -> Option<EspHmac> {
        match self {
            Self::Aes128CbcSha1 | Self::Aes256CbcSha1 => Some(EspHmac::Sha1),
            Self::Aes128CbcSha256 | Self::Aes256CbcSha256 => Some(EspHmac::Sha256),
            Self::Aes128CbcSha384 | Self::Aes256CbcSha384 => Some(EspHmac::Sha384),
            Self::Aes128CbcSha512 | Self::Aes256CbcSha512 => Some(EspHmac::Sha512),
            _ => None,
        }
    }

    #[must_use]
    pub const fn is_aead(self) -> bool {
        self.hmac().is_none()
    }

    /// Length of the key that encrypts.
    #[must_use]
    pub const fn encryption_key_len(self) -> usize {
        match self {
            Self::Aes128Gcm16
            | Self::Aes128Gcm16Iiv
            | Self::Aes128CbcSha1
            | Self::Aes128CbcSha256
            | Self::Aes128CbcSha384
            | Self::Aes128CbcSha512 => 16,
            _ => 32,
        }
    }

    /// The salt of an AEAD's nonce, which is the end of its key material (RFC 4106 §8.1, RFC 7634 §2).
    #[must_use]
    pub const fn salt_len(self) -> usize {
        if self.is_aead() { 4 } else { 0 }
    }

    /// Length of the keys: of encryption, then of integrity (RFC 7296 §2.17).
    #[must_use]
    pub const fn key_len(self) -> usize {
        let integrity = match self.hmac() {
            Some(hmac) => hmac.key_len(),
            None => 0,
        };
        self.encryption_key_len() + integrity
    }

    /// Keys and salt.
    #[must_use]
    pub const fn keymat_len(self) -> usize {
        self.key_len() + self.salt_len()
    }

    #[must_use]
    pub const fn layout(self) -> Layout {
        match (self.hmac(), self) {
            (Some(hmac), _) => Layout::aes_cbc(hmac.icv_len() as u8),
            (None, Self::Aes128Gcm16Iiv | Self::Aes256Gcm16Iiv | Self::ChaCha20Poly1305Iiv) => {
                Layout::AEAD_IMPLICIT_IV
            }
            (None, _) => Layout::AEAD,
        }
    }
}

/// One IPsec SA (RFC 4301 §4.4.2), as far as packets need it.
#[derive(Clone, Debug)]
pub struct SaSpec {
    pub sa: SaId,
    pub tunnel: TunnelId,
    pub direction: Direction,
    pub spi: Spi,
    /// The media port whose binding carries this SA.
    pub media_port: MediaPort,
    pub cipher: EspCipher,
    /// Keys ‖ salt. Boxed, because a specification is moved through several queues.
    pub keymat: SecretBox<KEYMAT_MAX>,
    pub esn: bool,
    /// Inbound: window in packets, 64..=65536, a power of two (RFC 4303 §3.4.3).
    pub replay_window: u32,
    /// Traffic selectors of this SA (RFC 4301 §5.2: checked after decryption; outbound before sealing).
    pub selectors: Selectors,
    /// Bytes of outer ESP after which the dataplane reports [`Event::SaExpire`]; 0 for none.
    pub soft_bytes_max: u64,
    pub hard_bytes_max: u64,
}

/// A traffic selector (RFC 7296 §3.13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selector {
    pub addr_start: IpAddr,
    pub addr_end: IpAddr,
    /// 0 is any protocol.
    pub protocol: u8,
    pub port_start: u16,
    pub port_end: u16,
}

impl Selector {
    pub const ANY_V4: Self = Self {
        addr_start: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        addr_end: IpAddr::V4(core::net::Ipv4Addr::BROADCAST),
        protocol: 0,
        port_start: 0,
        port_end: u16::MAX,
    };

    pub const ANY_V6: Self = Self {
        addr_start: IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
        addr_end: IpAddr::V6(core::net::Ipv6Addr::from_bits(u128::MAX)),
        ..Self::ANY_V4
    };

    /// `port` is `None` where the packet has none that can be seen (a fragment, another protocol): RFC 4301 §4.4.1.1
    /// OPAQUE, matched by a selector of all ports alone.
    #[must_use]
    pub fn matches(&self, addr: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        let all_ports = self.port_start == 0 && self.port_end == u16::MAX;
        self.addr_start.is_ipv4() == addr.is_ipv4()
            && (self.addr_start..=self.addr_end).contains(&addr)
            && (self.protocol == 0 || self.protocol == protocol)
            && (all_ports || port.is_some_and(|p| (self.port_start..=self.port_end).contains(&p)))
    }
}

/// Local and remote selectors of one SA, or a part of them; a packet must match one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selectors {
    pub local: [Option<Selector>; SELECTORS_PER_BLOCK],
    pub remote: [Option<Selector>; SELECTORS_PER_BLOCK],
}

impl Selectors {
    pub const ANY_V4: Self = Self {
        local: [Some(Selector::ANY_V4), None, None, None],
        remote: [Some(Selector::ANY_V4), None, None, None],
    };

    /// The blocks that hold these lists: at least one, and at most [`SELECTOR_BLOCKS_MAX`] for lists of at most
    /// [`SELECTORS_MAX`]. The first is of the `SaAdd`, the others are of `SaSelectors`.
    pub fn blocks<'a>(local: &'a [Selector], remote: &'a [Selector]) -> impl Iterator<Item = Self> + 'a {
        let count = local.len().max(remote.len()).div_ceil(SELECTORS_PER_BLOCK).max(1);
        let block = |list: &[Selector], index: usize| {
            core::array::from_fn(|i| list.get(index * SELECTORS_PER_BLOCK + i).copied())
        };
        (0..count).map(move |index| Self { local: block(local, index), remote: block(remote, index) })
    }
}

/// What the dataplane reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Applied(TxnId),
    /// Nothing of the transaction was applied; `op` is the index of the operation at fault.
    Rejected {
        txn: TxnId,
        op: u16,
        reason: RejectReason,
    },
    /// A packet waits and there is no SA. One outstanding per tunnel until its queue is replayed or flushed.
    Acquire {
        tunnel: TunnelId,
        first: PacketSummary,
    },
    /// IKE or ESP came to a live media port from elsewhere than SDP said. At most one per second and port.
    WrongSource {
        media_port: MediaPort,
        from: SocketAddr,
    },
    /// ESP whose ICV held came from this port while [`PeerSource::Unproven`]: the port is the peer's for the rest of the
    /// call. Reported once for each binding, and not for one that the control plane has decided.
    PeerPortProven {
        media_port: MediaPort,
        port: u16,
    },
    /// A soft or hard limit of an SA was reached.
    SaExpire {
        sa: SaId,
        cause: ExpireCause,
        hard: bool,
    },
    /// RFC 7296 §2.8: the first packet of an inbound SA passed its integrity and replay checks, so the peer has the SA and
    /// sends on it. Reported once for each SA.
    SaFirstInbound {
        sa: SaId,
    },
    /// One entry of the answer to a snapshot request; the last is `SnapshotEnd`.
    SnapshotTunnel {
        tunnel: TunnelId,
        outbound: Option<SaId>,
    },
    SnapshotMedia(MediaBinding),
    SnapshotSa {
        sa: SaId,
        tunnel: TunnelId,
        direction: Direction,
        spi: Spi,
        media_port: MediaPort,
    },
    SnapshotEnd,
    /// One translation of a page.
    NatEntry(NatEntry),
    /// The end of a page.
    NatPage {
        from: u32,
        /// The row where the next one begins, if this is not the last.
        next: Option<u32>,
        statistics: NatStatistics,
    },
    /// A block of ports has changed hands.
    NatBlock(NatBlock),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireCause {
    Bytes,
    /// RFC 4303 §3.3.3: the counter must not cycle.
    Sequence,
}

/// The headers of a packet that triggered a call, for the log and the trigger filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketSummary {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub source_port: u16,
    pub destination_port: u16,
    pub len: u16,
}

/// Why a transaction was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RejectReason {
    UnknownTunnel = 1,
    DuplicateTunnel = 2,
    UnknownSa = 3,
    DuplicateSa = 4,
    UnknownMediaPort = 5,
    DuplicateMediaPort = 6,
    UnknownRoute = 7,
    DuplicateSpi = 8,
    BadKeyLength = 9,
    BadReplayWindow = 10,
    BadAddressFamily = 11,
    BadRate = 12,
    /// A table is full; the limit is in the profile.
    TableFull = 13,
    WrongDirection = 14,
    BadMtu = 15,
    UnsupportedCipher = 16,
    Malformed = 17,
    /// A filter names a class that the tunnel does not have, or a class's share is none.
    BadQos = 18,
}

/// When a tunnel last carried data (not IKE, not keepalives), and how much. [`Instant::ZERO`] for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelActivity {
    pub last_out: Instant,
    pub last_in: Instant,
    pub packets_in: u64,
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
    pub drops_in: u64,
    pub drops_out: u64,
    pub trigger_queued: u64,
    pub trigger_replayed: u64,
    pub trigger_dropped: u64,
}

impl TunnelActivity {
    /// In either direction.
    #[must_use]
    pub fn last_data(&self) -> Instant {
        self.last_out.max(self.last_in)
    }
}
