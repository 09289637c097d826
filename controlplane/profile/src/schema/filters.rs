//! `filters:`

use super::kind::{Group, Kind, Presence, Text, int, key};
use crate::model::filter::Action;
use Presence::{Optional, Required};

pub const FILTER: Group = Group {
    about: "An ordered list of rules. The first rule that agrees with a packet decides; a packet with which none agrees is denied. The filter `routing` is always there: it denies OSPF, EIGRP, PIM, IGMP, VRRP, RIP, BFD, LDP and BGP, and permits the rest.",
    private: false,
    keys: &[
        key(
            "name",
            Kind::Text(Text::TunnelName),
            Required("business"),
            "What tunnels name it by: 1 to 32 letters, digits, `-`, `_`, `.` and `/`.",
        )
        .ios("ip access-list extended NAME")
        .now(),
        key(
            "rules",
            Kind::List(&Kind::Group(&RULE)),
            Required("[{ action: permit }]"),
            "1 to 16 rules, in their order.",
        )
        .now(),
    ],
};

const RULE: Group = Group {
    about: "One rule. What it does not have agrees with every packet. Source and destination are as the inside sees them: of a packet that arrives through the tunnel they change places.",
    private: false,
    keys: &[
        key("action", Kind::Word(Action::TABLE), Required("permit"), "What becomes of a packet that agrees.")
            .ios("permit, deny")
            .now(),
        key(
            "protocol",
            Kind::Text(Text::IpProtocol),
            Optional("every protocol"),
            "The protocol of IP: `tcp`, `udp`, `icmp`, `ospf` and others, or its number.",
        )
        .now(),
        key("source", Kind::Text(Text::Prefix), Optional("every source"), "The network of the sender.").now(),
        key(
            "destination",
            Kind::Text(Text::Prefix),
            Optional("every destination"),
            "The network of the receiver.",
        )
        .now(),
        key(
            "source_ports",
            Kind::Text(Text::Numbers),
            Optional("every port"),
            "The sender's port, or a range. A later fragment shows no port and does not agree.",
        )
        .ios("eq PORT, range FIRST LAST")
        .now(),
        key(
            "destination_ports",
            Kind::Text(Text::Numbers),
            Optional("every port"),
            "The receiver's port, or a range.",
        )
        .ios("eq PORT, range FIRST LAST")
        .now(),
        key("dscp", int(0, 63), Optional("every DSCP"), "The DSCP of the inner packet, as in 46 for EF.")
            .ios("dscp N")
            .now(),
        key(
            "length",
            Kind::Text(Text::Numbers),
            Optional("every length"),
            "The length of the inner IP packet, or a range.",
        )
        .unit("bytes")
        .now(),
    ],
};
