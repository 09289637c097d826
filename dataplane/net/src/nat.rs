//! Network address translation of what a tunnel carries: the words in which it is configured and shown.
//!
//! *Local* is an address as the LAN has it, *global* the one that the packet bears inside the tunnel; *inside* is this side
//! of the tunnel, *outside* the peer's. The words are those of `show ip nat translations`.

use crate::{IpPrefix, TunnelId};
use core::net::{IpAddr, Ipv4Addr, SocketAddrV4};

/// Rules of one tunnel.
pub const NAT_RULES_MAX: usize = 64;
/// Port rules of a gateway.
pub const NAT_PORT_RULES_MAX: usize = 4096;
/// Addresses of one pool.
pub const NAT_POOL_MAX: u32 = 256;
/// Addresses of all pools of a gateway. Each has its own ports, which take 36 KiB.
pub const NAT_POOL_ADDRESSES_MAX: u32 = 1024;
/// Entries in one page of the table.
pub const NAT_PAGE_MAX: u16 = 256;

/// What has ports, or an identifier in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatProtocol {
    Tcp,
    Udp,
    /// Queries: the identifier stands for the port (RFC 5508 §3.1).
    Icmp,
}

impl NatProtocol {
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

/// Whose addresses a network translation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatSide {
    /// Ours: sources on the way out, destinations on the way back.
    Inside,
    /// The peer's: destinations on the way out, sources on the way back.
    Outside,
}

/// One rule of a tunnel. Port and network rules come first; of the others the first that matches decides. A packet that no
/// rule matches goes as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatRule {
    /// One to one, host bits unchanged; IPv6 by RFC 6296. No state.
    Network { side: NatSide, local: IpPrefix, global: IpPrefix },
    /// A port that is reachable from outside.
    Port { protocol: NatProtocol, local: SocketAddrV4, global: SocketAddrV4 },
    /// Many to few, with ports (RFC 3022 §2.2, RFC 4787).
    Overload {
        source: IpPrefix,
        destination: IpPrefix,
        first: Ipv4Addr,
        last: Ipv4Addr,
        /// The gateway itself has these addresses: a packet that belongs to no translation is the gateway's.
        own_address: bool,
    },
    /// Not translated.
    Exempt { source: IpPrefix, destination: IpPrefix },
}

impl NatRule {
    /// Whether the rule can be obeyed.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let v4 = |p: &IpPrefix| p.addr().is_ipv4();
        match self {
            Self::Network { local, global, .. } => {
                let same = v4(local) == v4(global) && local.prefix_len() == global.prefix_len();
                // RFC 6296 §3.5: beyond /64 no word is left for the adjustment.
                same && (v4(local) || local.prefix_len() <= 64)
            }
            Self::Port { protocol, local, global } => {
                *protocol != NatProtocol::Icmp && local.port() != 0 && global.port() != 0
            }
            Self::Overload { source, destination, first, last, .. } => {
                v4(source) && v4(destination) && pool_len(*first, *last).is_some()
            }
            Self::Exempt { source, destination } => v4(source) && v4(destination),
        }
    }

    /// The addresses whose ports the rule takes from a pool.
    #[must_use]
    pub fn pool_addresses(&self) -> u32 {
        match self {
            Self::Overload { first, last, .. } => pool_len(*first, *last).unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether the address is one that the peer sees instead of ours.
    #[must_use]
    pub fn is_inside_global(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Network { side: NatSide::Inside, global, .. }, a) => global.contains(a),
            (Self::Port { global, .. }, IpAddr::V4(a)) => *global.ip() == a,
            (Self::Overload { first, last, .. }, IpAddr::V4(a)) => (*first..=*last).contains(&a),
            _ => false,
        }
    }
}

/// `None` if it is empty or too long.
fn pool_len(first: Ipv4Addr, last: Ipv4Addr) -> Option<u32> {
    let len = last.to_bits().checked_sub(first.to_bits())?.checked_add(1)?;
    (len <= NAT_POOL_MAX).then_some(len)
}

/// RFC 4787 §5: from whom a translation takes packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatFiltering {
    /// From every sender.
    EndpointIndependent,
    /// From addresses to which the inside has sent.
    #[default]
    AddressDependent,
    /// From addresses and ports to which the inside has sent.
    AddressAndPortDependent,
}

/// How long a translation lives without a packet, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatTimeouts {
    /// RFC 4787 §4.3: 5 minutes recommended, 2 minutes at least.
    pub udp_s: u32,
    /// RFC 5508 §3.2: 60 seconds at least.
    pub icmp_s: u32,
    /// RFC 5382 §5: 2 hours and 4 minutes at least.
    pub tcp_s: u32,
    /// Opening, closing and reset connections: RFC 5382 §5: 4 minutes at least.
    pub tcp_transitory_s: u32,
    /// A SYN from outside that the inside has not answered: RFC 5382 §4.3: 6 seconds.
    pub tcp_syn_s: u32,
}

impl Default for NatTimeouts {
    fn default() -> Self {
        Self { udp_s: 300, icmp_s: 60, tcp_s: 7440, tcp_transitory_s: 240, tcp_syn_s: 6 }
    }
}

/// What holds for every tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatPolicy {
    pub filtering: NatFiltering,
    pub timeouts: NatTimeouts,
    /// Ports (and identifiers of ICMP) of a pool's address; whole blocks of it are used.
    pub port_first: u16,
    pub port_last: u16,
    /// Ports that a host gets at a time (RFC 6888 §4): a power of two, 64 to 1024.
    pub block_ports: u16,
    pub blocks_per_host_max: u8,
    /// RFC 6888 REQ-4.
    pub sessions_per_host_max: u32,
}

impl Default for NatPolicy {
    fn default() -> Self {
        Self {
            filtering: NatFiltering::default(),
            timeouts: NatTimeouts::default(),
            port_first: 1024,
            port_last: u16::MAX,
            block_ports: 256,
            blocks_per_host_max: 8,
            sessions_per_host_max: 4096,
        }
    }
}

impl NatPolicy {
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let block = self.block_ports;
        let t = &self.timeouts;
        let times = [t.udp_s, t.icmp_s, t.tcp_s, t.tcp_transitory_s, t.tcp_syn_s];
        block.is_power_of_two()
            && (64..=1024).contains(&block)
            && u32::from(self.port_first).next_multiple_of(block.into()) + u32::from(block)
                <= u32::from(self.port_last) + 1
            && self.port_first > 0
            && self.blocks_per_host_max > 0
            && self.sessions_per_host_max > 0
            && times.iter().all(|t| (1..=86_400).contains(t))
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatState {
    /// UDP and ICMP.
    Open,
    /// A SYN from inside.
    SynSent,
    /// A SYN from outside.
    SynReceived,
    Established,
    /// The inside has sent FIN.
    FinSent,
    /// The outside has.
    FinReceived,
    /// Both have.
    Closing,
    /// One has sent RST.
    Reset,
}

/// One translation. A port is the identifier for ICMP; the outside's is 0 then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatEntry {
    pub tunnel: TunnelId,
    pub protocol: NatProtocol,
    pub inside_global: SocketAddrV4,
    pub inside_local: SocketAddrV4,
    pub outside_local: SocketAddrV4,
    pub outside_global: SocketAddrV4,
    pub state: NatState,
    /// Made by a port rule.
    pub is_static: bool,
    pub age_s: u32,
    pub idle_s: u32,
    /// Until it ends, if no packet comes.
    pub left_s: u32,
}

/// A block of ports that a host has got or given back: one record instead of one for each connection (RFC 6888 REQ-14,
/// RFC 7422 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatBlock {
    pub tunnel: TunnelId,
    pub host: Ipv4Addr,
    pub global: Ipv4Addr,
    pub port_first: u16,
    pub port_last: u16,
    /// Got; otherwise given back.
    pub is_allocated: bool,
}

/// Numbers of the whole table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatStatistics {
    /// Translations now, and the most there have been.
    pub sessions: u32,
    pub sessions_peak: u32,
    pub sessions_max: u32,
    /// Inside endpoints with a global one, those of port rules included.
    pub mappings: u32,
    pub hosts: u32,
    /// Blocks of ports in use.
    pub blocks: u32,
    /// Packets of known translations.
    pub hits: u64,
    /// Translations made.
    pub created: u64,
    pub expired: u64,
    /// Ended by a command or a change of the rules.
    pub cleared: u64,
    /// Records of blocks for which there was no room.
    pub log_lost: u64,
}

impl NatStatistics {
    /// Adds those of another table.
    pub const fn add(&mut self, other: &Self) {
        let Self { sessions, sessions_peak, sessions_max, mappings, hosts, blocks, .. } = self;
        *sessions += other.sessions;
        *sessions_peak += other.sessions_peak;
        *sessions_max += other.sessions_max;
        *mappings += other.mappings;
        *hosts += other.hosts;
        *blocks += other.blocks;
        let Self { hits, created, expired, cleared, log_lost, .. } = self;
        *hits += other.hits;
        *created += other.created;
        *expired += other.expired;
        *cleared += other.cleared;
        *log_lost += other.log_lost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &str) -> IpPrefix {
        text.parse().expect("prefix")
    }

    #[test]
    fn rules_that_cannot_be_obeyed_are_refused() {
        let network =
            |local, global| NatRule::Network { side: NatSide::Inside, local: p(local), global: p(global) };
        assert!(network("10.0.0.0/24", "192.168.1.0/24").is_valid());
        assert!(network("fd00:1::/48", "2001:db8::/48").is_valid());
        assert!(!network("10.0.0.0/24", "192.168.0.0/23").is_valid());
        assert!(!network("fd00::/72", "2001:db8::/72").is_valid());
        assert!(!network("0.0.0.0/0", "::/0").is_valid());
        let pool = |first: [u8; 4], last: [u8; 4]| NatRule::Overload {
            source: IpPrefix::ANY_V4,
            destination: IpPrefix::ANY_V4,
            first: first.into(),
            last: last.into(),
            own_address: false,
        };
        assert_eq!((pool([10, 0, 0, 1], [10, 0, 0, 1]).pool_addresses()), 1);
        assert!(pool([10, 0, 0, 0], [10, 0, 0, 255]).is_valid());
        assert!(!pool([10, 0, 0, 0], [10, 0, 1, 0]).is_valid());
        assert!(!pool([10, 0, 0, 2], [10, 0, 0, 1]).is_valid());
        assert!(!pool([0, 0, 0, 0], [255, 255, 255, 255]).is_valid());
        assert!(pool([10, 0, 0, 1], [10, 0, 0, 3]).is_inside_global(IpAddr::V4([10, 0, 0, 3].into())));
    }

    #[test]
    fn a_policy_has_at_least_one_whole_block() {
        assert!(NatPolicy::default().is_valid());
        let with =
            |port_first, port_last| NatPolicy { port_first, port_last, ..NatPolicy::default() }.is_valid();
        assert!(with(1024, 1279) && with(1000, 1279) && with(65280, 65535));
        assert!(!with(1025, 1279) && !with(1024, 1278) && !with(65281, 65535) && !with(0, 65535));
        assert!(!NatPolicy { block_ports: 96, ..NatPolicy::default() }.is_valid());
    }
}
