//! Which commands there are, mode by mode. The tables name what the import reads and what it knows to be of no matter.

mod crypto;
mod global;
mod interface;
mod other;
mod trie;

pub use trie::{Found, Trie};

use crate::ios::report::Class;
use std::sync::LazyLock;

/// Where a command may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    Global,
    Interface,
    Keyring,
    Peer,
    IkeProfile,
    IkeProposal,
    IkePolicy,
    IpsecProfile,
    TransformSet,
    Trustpoint,
    CertificateMap,
    CertificateChain,
    Sla,
    Track,
    Acl,
    RouteMap,
    ClassMap,
    PolicyMap,
    ZonePair,
    Vrf,
    Applet,
    /// A block of which nothing is read.
    Other(Class, &'static str),
}

/// What a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Known, and nothing of it shapes a profile. `block`: commands below it belong to it.
    Ignore {
        class: Class,
        why: &'static str,
        block: bool,
    },
    /// Leads to the mode above.
    Exit,
    End,
    Hostname,
    Version,
    Do,
    Once,
    Banner,
    Macro,
    Menu,
    Interface,
    Route,
    RouteV6,
    Sla,
    SlaSchedule,
    SlaEcho,
    SlaJitter,
    SlaTcp,
    SlaUdp,
    SlaDns,
    SlaHttp,
    SlaType,
    /// A kind of operation that the gateway does not have.
    SlaOther,
    SlaFrequency,
    SlaTimeout,
    SlaThreshold,
    SlaText,
    SlaVrf,
    TrackObject,
    TrackThreshold,
    Track,
    Acl,
    NumberedAcl,
    RouteMap,
    ClassMap,
    PolicyMap,
    Zone,
    ZonePair,
    Vrf,
    NatSource,
    DialerList,
    Applet,
    SipFeature,
    VpnSipEnable,
    VpnSipLine,
    VpnSipSource,
    VpnSipLogging,
    Keyring,
    IkeProfile,
    IkeProposal,
    IkePolicy,
    IkeDpd,
    IkeFragmentation,
    IkeNatKeepalive,
    IpsecProfile,
    TransformSet,
    IpsecIdle,
    IpsecLifetime,
    IpsecDf,
    IpsecReplay,
    Trustpoint,
    CertificateMap,
    CertificateChain,
    // keyring
    Peer,
    PeerKeyId,
    PeerIdentity,
    PeerAddress,
    PeerKey,
    PeerPpk,
    PeerText,
    // ikev2 profile
    MatchRemote,
    MatchCertificate,
    MatchVrf,
    IdentityLocal,
    AuthLocal,
    AuthRemote,
    ProfileKeyring,
    ProfileTrustpoint,
    Dpd,
    Lifetime,
    NatKeepalive,
    ForceEncap,
    RemoteAccess,
    ProfileIvrf,
    ProfileText,
    // ikev2 proposal and policy
    Encryption,
    Integrity,
    Prf,
    Group,
    Pqc,
    PolicyProposal,
    PolicyMatchVrf,
    // ipsec
    SetIdle,
    SetLifetime,
    SetReplay,
    SetTransform,
    SetPfs,
    SetIkeProfile,
    TransformMode,
    // pki
    Enrollment,
    RevocationCheck,
    TrustpointText,
    MapRule,
    CertificateBlock,
    // interface
    Description,
    Address,
    Unnumbered,
    TunnelMtu,
    Nat,
    DhcpRequest,
    Reassembly,
    AccessGroup,
    ZoneMember,
    PolicyRoute,
    Inspect,
    Protect,
    Backup,
    Routing,
    Rate,
    VerifySource,
    VrfForwarding,
    ServicePolicy,
    DialerGroup,
    Shutdown,
    TunnelSource,
    TunnelMode,
    TunnelDestination,
    TunnelProtection,
    TunnelVrf,
    TunnelVpnSip,
    CryptoMap,
    // lists, maps and zones
    Member,
    Delay,
}

/// A known command that no gateway needs.
const fn ignore(class: Class, why: &'static str) -> Command {
    Command::Ignore { class, why, block: false }
}

/// The same with commands below it.
const fn block(class: Class, why: &'static str) -> Command {
    Command::Ignore { class, why, block: true }
}

/// The commands of a mode; `None` for one of which nothing is read.
#[must_use]
pub fn table(mode: Mode) -> Option<&'static Trie> {
    macro_rules! tries {
        ($($mode:pat => $table:expr),+ $(,)?) => {
            match mode {
                $($mode => {
                    static TRIE: LazyLock<Trie> = LazyLock::new(|| Trie::new($table));
                    Some(&*TRIE)
                })+
                Mode::Other(..) => None,
            }
        };
    }
    tries! {
        Mode::Global => &[global::TABLE, crypto::GLOBAL].concat(),
        Mode::Interface => interface::TABLE,
        Mode::Keyring => crypto::KEYRING,
        Mode::Peer => crypto::PEER,
        Mode::IkeProfile => crypto::IKE_PROFILE,
        Mode::IkeProposal => crypto::IKE_PROPOSAL,
        Mode::IkePolicy => crypto::IKE_POLICY,
        Mode::IpsecProfile => crypto::IPSEC_PROFILE,
        Mode::TransformSet => crypto::TRANSFORM_SET,
        Mode::Trustpoint => crypto::TRUSTPOINT,
        Mode::CertificateMap => crypto::CERTIFICATE_MAP,
        Mode::CertificateChain => crypto::CERTIFICATE_CHAIN,
        Mode::Sla => other::SLA,
        Mode::Track => other::TRACK,
        Mode::Acl => other::ACL,
        Mode::RouteMap => other::ROUTE_MAP,
        Mode::ClassMap => other::CLASS_MAP,
        Mode::PolicyMap => other::POLICY_MAP,
        Mode::ZonePair => other::ZONE_PAIR,
        Mode::Vrf => other::VRF,
        Mode::Applet => other::APPLET,
    }
}

impl Mode {
    /// The mode that `exit` leads to, which is also where a command is looked for that this mode does not have.
    #[must_use]
    pub const fn above(self) -> Option<Self> {
        match self {
            Self::Global => None,
            Self::Peer => Some(Self::Keyring),
            _ => Some(Self::Global),
        }
    }

    /// How the report names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "global configuration",
            Self::Interface => "an interface",
            Self::Keyring => "crypto ikev2 keyring",
            Self::Peer => "a peer of a keyring",
            Self::IkeProfile => "crypto ikev2 profile",
            Self::IkeProposal => "crypto ikev2 proposal",
            Self::IkePolicy => "crypto ikev2 policy",
            Self::IpsecProfile => "crypto ipsec profile",
            Self::TransformSet => "crypto ipsec transform-set",
            Self::Trustpoint => "crypto pki trustpoint",
            Self::CertificateMap => "crypto pki certificate map",
            Self::CertificateChain => "crypto pki certificate chain",
            Self::Sla => "ip sla",
            Self::Track => "track",
            Self::Acl => "an access list",
            Self::RouteMap => "route-map",
            Self::ClassMap => "class-map",
            Self::PolicyMap => "policy-map",
            Self::ZonePair => "zone-pair",
            Self::Vrf => "a VRF",
            Self::Applet => "event manager applet",
            Self::Other(..) => "this block",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ios::words::split;

    fn find(mode: Mode, line: &str) -> Found {
        table(mode).expect("a table").find(&split(line))
    }

    fn command(mode: Mode, line: &str) -> Command {
        match find(mode, line) {
            Found::Command { command, .. } => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn commands_are_found_however_they_are_shortened() {
        for (line, expected) in [
            ("cry pki tru SELF", Command::Trustpoint),
            ("cry ikev2 prof P", Command::IkeProfile),
            ("cry ips prof P", Command::IpsecProfile),
            ("crypto ca trustpoint X", Command::Trustpoint),
            ("INTERFACE Tunnel1", Command::Interface),
            ("int lo11", Command::Interface),
            ("VPN-SIP enable", Command::VpnSipEnable),
            ("vpn-sip local-number 1 address ipv4 gi8", Command::VpnSipLine),
            ("ip route 10.0.0.0 255.0.0.0 tunnel 0", Command::Route),
        ] {
            assert_eq!(command(Mode::Global, line), expected, "{line}");
        }
        for (line, expected) in [
            ("ip add dhcp", Command::Address),
            ("ip unn lo11", Command::Unnumbered),
            ("tun so lo11", Command::TunnelSource),
            ("tun mo ips ipv4", Command::TunnelMode),
            ("tun dest dyn", Command::TunnelDestination),
            ("tun prot ipsec prof P", Command::TunnelProtection),
            ("ip nat out", Command::Nat),
            ("ip dhcp cl req vendor-identifying-specific", Command::DhcpRequest),
            ("desc x", Command::Description),
            ("shut", Command::Shutdown),
        ] {
            assert_eq!(command(Mode::Interface, line), expected, "{line}");
        }
        assert_eq!(command(Mode::IkeProfile, "match id rem any"), Command::MatchRemote);
        assert_eq!(command(Mode::IkeProfile, "auth loc rsa-sig"), Command::AuthLocal);
        assert_eq!(command(Mode::IkeProfile, "nat force"), Command::ForceEncap);
        assert_eq!(command(Mode::IpsecProfile, "set sec idle 90"), Command::SetIdle);
        assert_eq!(command(Mode::Trustpoint, "rev none"), Command::RevocationCheck);
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let Found::Unknown { word: 1, known } = find(Mode::Global, "vpn-sip loging") else { panic!("found") };
        assert!(known.contains(&"logging"));
        assert!(matches!(find(Mode::Global, "rypto ikev2 keyring k"), Found::Unknown { word: 0, .. }));
        assert!(matches!(find(Mode::Interface, "tunnel p"), Found::Ambiguous { word: 1, .. }));
    }
}
