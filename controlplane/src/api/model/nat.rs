//! Translations of addresses.

use crate::net::primary::Translated;
use serde::{Deserialize, Serialize};

/// One line of `show ip nat translations`. An end is `ADDRESS:PORT`; for ICMP the port is the identifier. A static network is
/// `ADDRESS/LENGTH`, and what it does not have is `---`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// `tcp`, `udp`, `icmp` or `---`.
    pub protocol: String,
    pub inside_global: String,
    pub inside_local: String,
    /// Absent for a static entry that has no peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_local: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_global: Option<String>,
    #[serde(default)]
    pub kind: TranslationKind,
    /// Absent for the media port of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<String>,
    /// The device of a primary line, to which the kernel translates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Of a tunnel: `open`, `syn-sent`, `syn-received`, `established`, `fin-sent`, `fin-received`, `closing` or `reset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u32>,
    /// Until it ends, if no packet comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_s: Option<u32>,
}

impl From<&Translated> for Translation {
    fn from(t: &Translated) -> Self {
        Self {
            protocol: t.protocol_name(),
            inside_global: t.inside_global.to_string(),
            inside_local: t.inside_local.to_string(),
            outside_local: Some(t.outside.to_string()),
            outside_global: Some(t.outside.to_string()),
            kind: if t.is_forward { TranslationKind::Port } else { TranslationKind::Overload },
            device: Some(t.device.clone()),
            state: t.state.map(str::to_owned),
            left_s: Some(t.left_s),
            ..Self::default()
        }
    }
}

/// What made a translation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TranslationKind {
    /// A call: its media port.
    #[default]
    Call,
    /// A port rule.
    Port,
    /// A network rule.
    Network,
    /// A rule of overload.
    Overload,
}

/// `GET /v1/nat-statistics`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatStatistics {
    /// Media ports of calls, and static entries of the profile.
    pub calls: u32,
    pub statics: u32,
    /// Translations with a peer, and the most there have been.
    pub translations: u32,
    pub translations_peak: u32,
    pub translations_max: u32,
    /// Inside endpoints that have a global one.
    pub mappings: u32,
    pub hosts: u32,
    /// Blocks of ports in use.
    pub port_blocks: u32,
    /// Packets of known translations.
    pub hits: u64,
    /// Translations made.
    pub misses: u64,
    pub expired: u64,
    /// Ended by a command, or because rules have changed.
    pub cleared: u64,
    /// Absent without primary lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<PrimaryStatistics>,
}

/// Of the translation to primary lines, which the kernel does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryStatistics {
    pub translations: u32,
    /// Why its rules are not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl From<&sipsec_net::nat::NatStatistics> for NatStatistics {
    fn from(s: &sipsec_net::nat::NatStatistics) -> Self {
        Self {
            calls: 0,
            statics: 0,
            translations: s.sessions,
            translations_peak: s.sessions_peak,
            translations_max: s.sessions_max,
            mappings: s.mappings,
            hosts: s.hosts,
            port_blocks: s.blocks,
            hits: s.hits,
            misses: s.created,
            expired: s.expired,
            cleared: s.cleared,
            primary: None,
        }
    }
}

/// Body of `POST /v1/nat-clear`: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatClear {
    /// The translations of this host of the LAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<std::net::Ipv4Addr>,
    /// `true` ends every translation; those of calls and static ones stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}
