//! `sip:`

use super::carrier::{CarrierKind, SipOverrides};
use super::limits;
use super::secret::{PASSWORD, PRIVATE_KEY, SecretSource};
use super::serial;
use super::words::words;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use sipsec_net::TelNumber;
use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
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

impl Display for Learnt<Vec<Server>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(servers) => {
                let all: Vec<_> = servers.iter().map(ToString::to_string).collect();
                f.write_str(&all.join(", "))
            }
            Self::Dhcp => f.write_str(Self::WORD),
        }
    }
}

impl Display for Learnt<String> {
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

impl Serialize for Learnt<Vec<Server>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Dhcp => serializer.serialize_str(Self::WORD),
            Self::Given(servers) => match servers.as_slice() {
                [one] => one.serialize(serializer),
                all => all.serialize(serializer),
            },
        }
    }
}

words! {
    /// The transport of SIP.
    pub enum SipTransport {
        Udp = "udp", "UDP; a request of more than 1300 bytes goes over TCP where the server takes it";
        Tcp = "tcp", "TCP";
        Tls = "tls", "TLS over TCP";
    }
}

words! {
    /// The IP version of a role.
    pub enum Family {
        Auto = "auto", "that of the server's address; of a name's addresses IPv6 comes first where the WAN has it";
        Ipv4 = "ipv4", "IPv4 alone";
        Ipv6 = "ipv6", "IPv6 alone";
    }
}

impl Family {
    /// Whether an address of this version may be used.
    #[must_use]
    pub const fn takes(self, ip: IpAddr) -> bool {
        match self {
            Self::Auto => true,
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Address(IpAddr),
    Name(String),
}

impl Host {
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Address(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }
}

/// A SIP server: `HOST[:PORT]`. With a port a name is looked up as a host's; without one by NAPTR and SRV first
/// (RFC 3263 §4.1, §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: Host,
    pub port: Option<u16>,
}

impl Server {
    #[must_use]
    pub const fn of(addr: SocketAddr) -> Self {
        Self { host: Host::Address(addr.ip()), port: Some(addr.port()) }
    }
}

impl Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Address(ip), Some(port)) => SocketAddr::new(*ip, port).fmt(f),
            (Host::Address(ip), None) => ip.fmt(f),
            (Host::Name(name), Some(port)) => write!(f, "{name}:{port}"),
            (Host::Name(name), None) => f.write_str(name),
        }
    }
}

impl Serialize for Server {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `sip.tls`
#[derive(Clone, Debug, Default)]
pub struct TlsSection {
    /// Certificates of the authorities that may issue the server's; those of the system are not used.
    pub ca: Option<PathBuf>,
    /// Ours, for servers that ask for one and for connections that the server opens.
    pub own: Option<TlsOwn>,
    /// The name that the server's certificate must have; the server's own name or the SIP domain if absent.
    pub server_name: Option<String>,
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct TlsOwn {
    pub certificate: PathBuf,
    pub key: SecretSource,
}

impl TlsSection {
    fn is_empty(&self) -> bool {
        self.ca.is_none() && self.own.is_none() && self.server_name.is_none()
    }
}

impl Serialize for TlsSection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(ca) = &self.ca {
            map.serialize_entry("ca", ca)?;
        }
        if let Some(own) = &self.own {
            map.serialize_entry("certificate", &own.certificate)?;
            own.key.write(PRIVATE_KEY, &mut map)?;
        }
        if let Some(name) = &self.server_name {
            map.serialize_entry("server_name", name)?;
        }
        map.end()
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
    pub transport: SipTransport,
    /// In the order in which they are tried.
    pub registrar: Learnt<Vec<Server>>,
    /// Takes everything but REGISTER; empty if the registrar does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outbound_proxy: Vec<Server>,
    /// Address family of REGISTER.
    pub registration_family: Family,
    /// Address family of all other SIP, and of media.
    pub call_family: Family,
    #[serde(skip_serializing_if = "TlsSection::is_empty")]
    pub tls: TlsSection,
    /// Name servers; empty if those of the system are asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// The device by which name servers are asked; without one, the kernel's routes decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_device: Option<String>,
    /// RFC 5626 §4.4.1: an empty line over each connection this often. `None` where it is off.
    #[serde(rename = "keepalive_s", serialize_with = "serial::seconds_or_zero")]
    pub keepalive: Option<Duration>,
    #[serde(serialize_with = "serial::text")]
    pub domain: Learnt<String>,
    #[serde(rename = "expires_s", serialize_with = "serial::seconds")]
    pub expires: Duration,
    /// An OPTIONS for each registered line this often. `None` where it is off.
    #[serde(rename = "options_s", serialize_with = "serial::seconds_or_zero")]
    pub options: Option<Duration>,
    /// Redirections of one call that are followed.
    pub redirects: u32,
    /// After a hang-up that nothing has confirmed, the tunnel places no call for this long.
    #[serde(rename = "bye_wait_s", serialize_with = "serial::seconds")]
    pub bye_wait: Duration,
    /// New BYEs in a second at most, and new REGISTERs and refreshes in a second at most.
    pub requests_per_s: u32,
    pub tariff: Tariff,
    pub lines: Vec<SipLine>,
}

impl SipSection {
    /// Whether a family is needed for registrations or for calls: IPv4, IPv6.
    #[must_use]
    pub fn families(&self, dhcp_v6: bool) -> (bool, bool) {
        let registrars = self.registrar.given().map(Vec::as_slice).unwrap_or_default();
        let r = families_of(self.registration_family, registrars, dhcp_v6);
        let c = self.call_families(dhcp_v6);
        (r.0 || c.0, r.1 || c.1)
    }

    /// The same for calls alone.
    #[must_use]
    pub fn call_families(&self, dhcp_v6: bool) -> (bool, bool) {
        let registrars = self.registrar.given().map(Vec::as_slice).unwrap_or_default();
        let servers = if self.outbound_proxy.is_empty() { registrars } else { &self.outbound_proxy };
        families_of(self.call_family, servers, dhcp_v6)
    }

    /// The addresses that the profile itself names.
    pub fn literal_servers(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let registrars = self.registrar.given().map(Vec::as_slice).unwrap_or_default();
        registrars.iter().chain(&self.outbound_proxy).filter_map(|s| s.host.ip())
    }

    /// Everything else at its default.
    #[must_use]
    pub fn new(interface: &str, registrar: SocketAddr, domain: &str, lines: Vec<SipLine>) -> Self {
        Self {
            interface: interface.to_owned(),
            port: limits::SIP_PORT,
            carrier: CarrierKind::Generic,
            own: SipOverrides::default(),
            transport: SipTransport::Udp,
            registrar: Learnt::Given(vec![Server::of(registrar)]),
            outbound_proxy: Vec::new(),
            registration_family: Family::Auto,
            call_family: Family::Auto,
            tls: TlsSection::default(),
            dns: Vec::new(),
            dns_device: None,
            keepalive: None,
            options: None,
            redirects: 0,
            domain: Learnt::Given(domain.to_owned()),
            expires: Duration::from_secs(limits::REGISTER_EXPIRES_S),
            bye_wait: Duration::from_secs(limits::BYE_WAIT_S),
            requests_per_s: limits::REQUESTS_PER_S,
            tariff: Tariff::default(),
            lines,
        }
    }
}

/// A further carrier.
#[derive(Clone, Debug, Serialize)]
pub struct CarrierEntry {
    pub name: String,
    pub sip: SipSection,
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

/// Where nothing says which family it is, a name may have either.
fn families_of(family: Family, servers: &[Server], dhcp_v6: bool) -> (bool, bool) {
    match family {
        Family::Ipv4 => (true, false),
        Family::Ipv6 => (false, true),
        Family::Auto if servers.is_empty() => (!dhcp_v6, dhcp_v6),
        Family::Auto => {
            let any = |of: fn(&IpAddr) -> bool| servers.iter().any(|s| s.host.ip().is_none_or(|ip| of(&ip)));
            (any(IpAddr::is_ipv4), any(IpAddr::is_ipv6))
        }
    }
}
