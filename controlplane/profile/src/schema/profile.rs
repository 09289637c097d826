//! The top level.

use super::kind::{Group, Kind, Presence, Text, int, key};
use super::{dataplane, filters, ike, nat, qos, sip, track, tunnels, wan};
use crate::model::Compat;
use crate::model::carrier::PeerPort;
use crate::model::limits::LOG_DEFAULT;
use Presence::{Default, Optional, Required};

pub const PROFILE: Group = Group {
    about: "The profile of one gateway.",
    private: false,
    keys: &[
        key("version", int(0, u32::MAX as u64), Required("1"), "The version of the profile format. This release reads version 1."),
        key(
            "gateway",
            Kind::Text(Text::GatewayName),
            Required("branch"),
            "The gateway's name: 1 to 64 letters, digits, `-` and `_`. It names the gateway's directories and log lines.",
        )
        .ios("hostname NAME"),
        key(
            "include",
            Kind::List(&Kind::Text(Text::Path)),
            Optional("no other file"),
            "Files with more keys of the profile, absolute or relative to the file that names them; `*`, `?` and `[…]` stand for parts of names, and each pattern must match a file. Lists are put behind those of the profile, groups are merged, and no value may stand in two files. Files may include files, 8 deep, 16384 in all, 16 MiB together. The dataplane reads the profile alone, so `version`, `gateway`, `runtime_dir`, `state_dir` and `dataplane` stand there. Relative paths under other keys mean what they mean in the profile.",
        )
        .now(),
        key(
            "runtime_dir",
            Kind::Text(Text::Path),
            Optional("/run/sipsec/GATEWAY"),
            "Directory of the sockets: an absolute path of at most 92 bytes.",
        ),
        key(
            "state_dir",
            Kind::Text(Text::Path),
            Optional("/var/lib/sipsec/GATEWAY"),
            "Directory of the call journal: an absolute path on a disk that survives a restart.",
        ),
        key(
            "log",
            Kind::Text(Text::LogFilter),
            Default(LOG_DEFAULT),
            "What is logged: a level, or a filter such as `info,sipsec::sip=debug,sipsec::ike=debug`. `sipsec log` changes it at run time.",
        ).now(),
        key(
            "compat",
            Kind::Word(Compat::TABLE),
            Default("none"),
            "Whose rules the profile keeps besides those of the gateway. Without `cisco`, what a router does not take is a warning for tunnels whose peer is `cisco`.",
        )
        .now(),
        key("wan", Kind::Group(&wan::WAN), Optional("the system configures the WAN"), "How the WAN gets its address."),
        key("sip", Kind::Group(&sip::SIP), Required("{ interface: wan0, registrar: … }"), "The SIP user agent: registrar and lines.")
            .ios("vpn-sip"),
        key(
            "carriers",
            Kind::List(&Kind::Group(&sip::CARRIER)),
            Optional("the carrier of `sip` alone"),
            "Carriers beside that of `sip`, at most 15, each with servers, port and lines of its own. A tunnel calls over the carrier that has its `local_number`.",
        )
        .now(),
        key("ike", Kind::Group(&ike::IKE), Required("{ keyring: … }"), "IKEv2: keys, certificates, algorithms and timers.")
            .ios("crypto ikev2 …"),
        key("media", Kind::Group(&MEDIA), Optional("the defaults of its keys"), "The UDP ports of calls."),
        key("qos", Kind::Group(&qos::QOS), Optional("the defaults of its keys"), "How packets share the rate of a call: policies with classes, and the policer of what arrives.")
            .ios("policy-map NAME, class-map NAME").now(),
        key(
            "defaults",
            Kind::Group(&tunnels::DEFAULTS),
            Optional("none"),
            "Values for the keys that a tunnel does not have.",
        )
        ,
        key("filters", Kind::List(&Kind::Group(&filters::FILTER)), Optional("only `routing`"), "Filters: which packets place a call, and which keep it up.")
            .now(),
        key(
            "tunnels",
            Kind::List(&Kind::Group(&tunnels::TUNNEL)),
            Required("[{ name: Tunnel1, … }]"),
            "The tunnels, at most 16384. Each is one pair of telephone numbers.",
        )
        .ios("interface TunnelN").now(),
        key("sla", Kind::List(&Kind::Group(&track::SLA)), Optional("none"), "Operations: probes that measure whether a path is usable.")
            .ios("ip sla N")
            .now(),
        key("track", Kind::List(&Kind::Group(&track::TRACK)), Optional("none"), "Track objects: what withdraws a route.").ios("track N …").now(),
        key("routes", Kind::List(&Kind::Group(&track::ROUTE)), Optional("none"), "Static routes beside those of the tunnels: primaries that a track withdraws, and floating ones.")
            .ios("ip route …")
            .now(),
        key("failback", Kind::Group(&track::FAILBACK), Optional("the defaults of its keys"), "How traffic returns to a primary.").now(),
        key("nat", Kind::Group(&nat::NAT), Optional("the defaults of its keys"), "What holds for the address translations of every tunnel."),
        key(
            "dataplane",
            Kind::Group(&dataplane::DATAPLANE),
            Required("{ outside: { device: wan0 }, inside: { mode: host, device: svti0 } }"),
            "Devices, worker and memory of the dataplane. A change needs a restart.",
        ),
    ],
};

const MEDIA: Group = Group {
    about: "The UDP ports of calls.",
    private: false,
    keys: &[
        key(
            "ports",
            Kind::Text(Text::Ports),
            Default("50000-50999"),
            "The UDP ports named in SDP, one for each call; a port rests after its call. At least two for each tunnel, none below 1024.",
        ),
        key(
            "tunnel_source",
            Kind::Text(Text::Address),
            Default("10.255.0.1"),
            "The address that IKE and ESP believe to be theirs. Port translation joins it to the WAN's address, so nothing else may use it.",
        )
        .ios("tunnel source Loopback11"),
        key(
            "even_ports",
            Kind::Flag,
            Optional(sip::OF_CARRIER),
            "Use even ports of `ports` alone.",
        ),
        key(
            "peer_port",
            Kind::Word(PeerPort::TABLE),
            Optional(sip::OF_CARRIER),
            "Whose packets a media port takes. A learnt port is the peer's for the rest of the call; what we send goes to the port of SDP all the same.",
        ),
        key(
            "dscp",
            Kind::Text(Text::MediaDscp),
            Optional(sip::OF_CARRIER),
            "DSCP of the packets outside, IKE included: 0 to 63, or `copy` for that of the packet inside.",
        ),
        key(
            "assumed_kbps",
            int(0, 10_000_000),
            Optional(sip::OF_CARRIER),
            "The bandwidth of an SDP without `b=AS`; 0 refuses such a call.",
        )
        .unit("kbit/s"),
    ],
};
