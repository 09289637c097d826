//! `sip:`

use super::carrier::{CarrierKind, SipOverrides};
use super::limits;
use super::secret::{PASSWORD, SecretSource};
use super::serial;
use super::words::words;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use sipsec_net::TelNumber;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::time::Duration;

/// A value of the profile, or one that DHCP gives (the word `dhcp`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learnt<T> {
    Given(T),
    Dhcp,
}

impl<T> Learnt<T> {
    /// The word in the profile.
    pub const WORD: &str = "dhcp";

    #[must_use]
    pub const fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Dhcp => None,
        }
    }
}

impl<T: Display> Display for Learnt<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(value) => value.fmt(f),
            Self::Dhcp => f.write_str(Self::WORD),
        }
    }
}

words! {
    /// How money is counted.
    pub enum Tariff {
        DataConnect = "data-connect", "The published classes of Hikari Denwa data connect, without tax.";
        None = "none", "Not at all: the carrier charges otherwise.";
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct SipSection {
    /// The device whose address SIP and media use; it may come and go.
    pub interface: String,
    pub port: u16,
    /// What the access line expects, unless a key of its own says otherwise.
    pub carrier: CarrierKind,
    #[serde(flatten)]
    pub own: SipOverrides,
    /// Registrar and outbound proxy.
    #[serde(serialize_with = "serial::text")]
    pub registrar: Learnt<SocketAddr>,
    #[serde(serialize_with = "serial::text")]
    pub domain: Learnt<String>,
    #[serde(rename = "expires_s", serialize_with = "serial::seconds")]
    pub expires: Duration,
    /// After a hang-up that nothing has confirmed, the tunnel places no call for this long.
    #[serde(rename = "bye_wait_s", serialize_with = "serial::seconds")]
    pub bye_wait: Duration,
    /// New BYEs in a second at most, and new REGISTERs and refreshes in a second at most.
    pub requests_per_s: u32,
    pub tariff: Tariff,
    pub lines: Vec<SipLine>,
}

impl SipSection {
    /// Everything else at its default.
    #[must_use]
    pub fn new(interface: &str, registrar: SocketAddr, domain: &str, lines: Vec<SipLine>) -> Self {
        Self {
            interface: interface.to_owned(),
            port: limits::SIP_PORT,
            carrier: CarrierKind::Generic,
            own: SipOverrides::default(),
            registrar: Learnt::Given(registrar),
            domain: Learnt::Given(domain.to_owned()),
            expires: Duration::from_secs(limits::REGISTER_EXPIRES_S),
            bye_wait: Duration::from_secs(limits::BYE_WAIT_S),
            requests_per_s: limits::REQUESTS_PER_S,
            tariff: Tariff::default(),
            lines,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct SipLine {
    #[serde(serialize_with = "serial::text")]
    pub number: TelNumber,
    /// `None` where the carrier authenticates the access line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<LineAuth>,
}

#[derive(Clone, Debug)]
pub struct LineAuth {
    pub username: String,
    pub password: SecretSource,
}

impl Serialize for LineAuth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("username", &self.username)?;
        self.password.write(PASSWORD, &mut map)?;
        map.end()
    }
}
