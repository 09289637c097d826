//! `wan:`

use super::words::words;
use serde::Serialize;

words! {
    /// Where the WAN's IPv4 address comes from, and what DHCP is asked for.
    pub enum WanIpv4 {
        System = "system", "the system configures the address; DHCP is not used";
        Dhcp = "dhcp", "address, routes and SIP data by DHCPv4";
        Options = "options", "the system configures the address; SIP data by DHCPINFORM";
    }
}

words! {
    /// The same for IPv6.
    pub enum WanIpv6 {
        System = "system", "the system configures the address; DHCPv6 is not used";
        Prefix = "prefix", "a delegated prefix and SIP data by DHCPv6; SIP and media use an address inside the prefix, and none without it";
        Address = "address", "address and SIP data by DHCPv6";
        Options = "options", "the system configures the address; SIP data by Information-request";
    }
}

words! {
    /// What the DHCP clients say of themselves.
    pub enum VendorClass {
        None = "none", "nothing";
        Ntt = "ntt", "enterprise 210 and the hardware address; NTT's line gives number and domain to such clients alone";
    }
}

/// How the WAN gets its address, and how the line's SIP data are learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WanSection {
    pub ipv4: WanIpv4,
    pub ipv6: WanIpv6,
    /// `None`: as the carrier says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<VendorClass>,
}

impl WanSection {
    /// Whether DHCP of either family is used.
    #[must_use]
    pub fn uses_dhcp(&self) -> bool {
        self.ipv4 != WanIpv4::System || self.ipv6 != WanIpv6::System
    }

    /// Whether SIP data of DHCPv6 count. With DHCP of both families those of DHCPv4 do.
    #[must_use]
    pub fn sip_by_v6(&self) -> bool {
        self.ipv4 == WanIpv4::System && self.ipv6 != WanIpv6::System
    }
}
