//! `qos:`

use super::kind::{Group, Kind, Presence, Text, int, key};
use crate::model::qos::{Exceed, MatchProtocol, QosMode};
use Presence::{Default, Optional, Required};

pub const QOS: Group = Group {
    about: "How packets share the negotiated rate of a call, and what happens to those that arrive above it. IKE goes before all classes.",
    private: false,
    keys: &[
        key(
            "mode",
            Kind::Word(QosMode::TABLE),
            Default("compose"),
            "What a policy is beside the rate that a call negotiates.",
        )
        .now(),
        key(
            "police",
            Kind::Group(&POLICE),
            Optional("the defaults of its keys"),
            "The policer of what arrives, for every tunnel.",
        )
        .ios("police … exceed-action …")
        .now(),
        key(
            "policies",
            Kind::List(&Kind::Group(&POLICY)),
            Optional("none"),
            "Policies, which tunnels name with `qos`. Without one a tunnel has one class.",
        )
        .ios("policy-map NAME")
        .now(),
    ],
};

const POLICE: Group = Group {
    about: "Packets that arrive by a call are measured in outer IP bytes against the negotiated rate (RFC 2697), after their integrity check.",
    private: false,
    keys: &[
        key("exceed", Kind::Word(Exceed::TABLE), Default("count"), "What becomes of packets above the rate.")
            .ios("exceed-action drop, exceed-action set-dscp-transmit DSCP")
            .now(),
        key(
            "burst_ms",
            int(10, 60_000),
            Default("1000"),
            "How much may arrive at once, in time at the negotiated rate.",
        )
        .unit("ms")
        .now(),
        key("dscp", Kind::Text(Text::Dscp), Default("cs1"), "`mark`: the DSCP of the packet inside.").now(),
    ],
};

const POLICY: Group = Group {
    about: "One policy: at most seven classes beside `class-default`, and 32 matches.",
    private: false,
    keys: &[
        key(
            "name",
            Kind::Text(Text::TunnelName),
            Required("BRANCH"),
            "The policy's name: 1 to 32 letters, digits, `-`, `_`, `.` and `/`.",
        )
        .ios("policy-map NAME")
        .now(),
        key(
            "classes",
            Kind::List(&Kind::Group(&CLASS)),
            Required("[{ name: VOICE, … }]"),
            "The classes. A packet is of the first that matches it.",
        )
        .ios("class NAME")
        .now(),
        key(
            "police",
            Kind::Group(&POLICE),
            Optional("`qos.police`"),
            "The policer of what arrives by tunnels with this policy.",
        )
        .now(),
    ],
};

const KBPS: Kind = int(1, 10_000_000);
const PERCENT: Kind = int(1, 100);

const CLASS: Group = Group {
    about: "One class. Its flows share it fairly (RFC 8290), and CoDel keeps their delay down by marks or drops (RFC 8289, RFC 3168).",
    private: false,
    keys: &[
        key("name", Kind::Text(Text::TunnelName), Required("VOICE"), "The class's name. `class-default` has no `match`: it takes what no other class matches.")
            .ios("class-map NAME").now(),
        key("match", Kind::List(&Kind::Group(&MATCH)), Optional("`class-default` alone has none"), "A packet is of the class if one of these matches it.")
            .ios("match …").now(),
        key("priority", Kind::Flag, Default("false"), "The class goes before all others while it keeps to its guarantee; above it, after them.")
            .ios("priority").now(),
        key("guarantee_kbps", KBPS, Optional("a part of what the others leave"), "What the class gets at least while it has packets, outer headers included.")
            .unit("kbps").ios("bandwidth KBPS, priority KBPS").now(),
        key("guarantee_percent", PERCENT, Optional("see `guarantee_kbps`"), "The same in per cent of the negotiated rate.")
            .unit("%").ios("bandwidth percent N, priority percent N").now(),
        key("ceiling_kbps", KBPS, Optional("the negotiated rate"), "What the class gets at most.").unit("kbps").ios("shape average BPS").now(),
        key("ceiling_percent", PERCENT, Optional("see `ceiling_kbps`"), "The same in per cent of the negotiated rate.")
            .unit("%").ios("shape average percent N").now(),
        key("dscp", Kind::Text(Text::MediaDscp), Optional("`media.dscp`"), "DSCP of the outer header: 0 to 63, a name as `ef` or `af31`, or `copy` for that of the packet inside (RFC 2983).")
            .ios("set dscp tunnel DSCP").now(),
    ],
};

const MATCH: Group = Group {
    about: "What a packet must be in every respect that is written.",
    private: false,
    keys: &[
        key(
            "dscp",
            Kind::List(&Kind::Text(Text::Dscp)),
            Optional("any"),
            "One of these, by number or name: `[ef, cs3, 26]`.",
        )
        .ios("match dscp …")
        .now(),
        key("source", Kind::Text(Text::Prefix), Optional("any"), "The network of the sender.")
            .ios("match access-group")
            .now(),
        key("destination", Kind::Text(Text::Prefix), Optional("any"), "The network of the receiver.")
            .ios("match access-group")
            .now(),
        key(
            "protocol",
            Kind::Word(MatchProtocol::TABLE),
            Default("any"),
            "The protocol inside the IP packet.",
        )
        .ios("match access-group")
        .now(),
        key("source_ports", Kind::Text(Text::Range), Optional("any"), "Ports of TCP, UDP and SCTP.")
            .ios("match access-group")
            .now(),
        key("destination_ports", Kind::Text(Text::Range), Optional("any"), "Ports of TCP, UDP and SCTP.")
            .ios("match access-group")
            .now(),
    ],
};
