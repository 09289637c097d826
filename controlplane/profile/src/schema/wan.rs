//! `wan:`

use super::kind::{Group, Kind, Presence, key};
use crate::model::wan::{VendorClass, WanIpv4, WanIpv6};
use Presence::{Default, Optional};

pub const WAN: Group = Group {
    about: "How `sip.interface` gets its address, and how the line's SIP data are learnt.",
    private: false,
    keys: &[
        key(
            "ipv4",
            Kind::Word(WanIpv4::TABLE),
            Default("system"),
            "Where the IPv4 address comes from (RFC 2131).",
        )
        .ios("ip address dhcp, ip dhcp client request sip-server-address"),
        key(
            "ipv6",
            Kind::Word(WanIpv6::TABLE),
            Default("system"),
            "Where the IPv6 address comes from (RFC 8415).",
        ),
        key(
            "vendor_class",
            Kind::Word(VendorClass::TABLE),
            Optional(super::sip::OF_CARRIER),
            "What the DHCP clients send as vendor class (option 124, RFC 3925; option 16 in DHCPv6).",
        )
        .ios("ip dhcp client request vendor-identifying-specific"),
    ],
};
