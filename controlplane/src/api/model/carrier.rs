//! What the carrier has said: registrations, and DHCP on the WAN.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub number: String,
    pub registered: bool,
    pub contact: Option<SocketAddr>,
    pub domain: String,
    pub expires_s: Option<u64>,
    pub transport: String,
    /// Where the last REGISTER went.
    #[serde(default)]
    pub server: Option<SocketAddr>,
    pub call_id: String,
    /// The name of the line's carrier; `default` is that of `sip`.
    #[serde(default)]
    pub carrier: String,
    /// Requests of all lines of the carrier that went to another server, because one did not answer or answered 503.
    #[serde(default)]
    pub failed_over: u64,
    /// Why it is not registered.
    pub reason: Option<String>,
}

/// What DHCP has said on the WAN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpView {
    pub interface: String,
    /// `None` where DHCP of the family is not used.
    pub ipv4: Option<DhcpFamily>,
    pub ipv6: Option<DhcpFamily>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpFamily {
    /// `bound`, or why there is no lease.
    pub state: String,
    pub addresses: Vec<String>,
    pub prefixes: Vec<String>,
    pub server: Option<String>,
    pub expires_s: Option<u64>,
    pub renews_s: Option<u64>,
    pub routes: Vec<String>,
    pub dns: Vec<String>,
    /// `ipv4:ADDRESS`, `ipv6:ADDRESS` or `dns:NAME`.
    pub sip_servers: Vec<String>,
    pub number: Option<String>,
    pub additional_numbers: Vec<String>,
    pub sip_domain: Option<String>,
    pub update_host: Option<String>,
    /// Vendor sub-options that could not be read.
    pub unreadable: Vec<String>,
}
