//! `tunnels:`

use super::kind::{Group, Key, Kind, Presence, Text, int, key};
use Presence::{Default, Optional, Required};

pub const TUNNEL: Group = Group {
    about: "One tunnel: a pair of telephone numbers and the networks behind the peer.",
    private: false,
    keys: &[
        FOR,
        key("name", Kind::Text(Text::TunnelName), Required("Tunnel1"), "The tunnel's name: 1 to 32 letters, digits, `-`, `_`, `.` and `/`.")
            .ios("interface TunnelN").now(),
        key("local_number", Kind::Text(Text::NumberOrDhcp), Required("\"0388881001\""), "A number of `sip.lines` or of a line of `carriers`: as it is written there, so `dhcp` where that stands there.")
            .ios("vpn-sip local-number NUMBER").hangs_up(),
        key("remote_number", Kind::Text(Text::Number), Required("\"0388882001\""), "The peer's number, which has a key in `ike.keyring`.")
            .ios("vpn-sip remote-number NUMBER").hangs_up(),
        key(
            "bandwidth_kbps",
            int(1, 10_000_000),
            Required("1000"),
            "The bandwidth to ask for, ESP, UDP and IP headers included. The smaller one of both ends counts, and the carrier charges by it.",
        )
        .unit("kbps")
        .ios("vpn-sip bandwidth KBPS").hangs_up(),
        key("idle_s", int(1, 86_400), Default("120"), "The call is hung up after this long without traffic.")
            .unit("s")
            .ios("set security-association idle-time SECONDS").now(),
        key("call_max_s", int(60, 2_592_000), Optional("no limit"), "A call ends after this long, busy or not.").unit("s").now(),
        key(
            "routes",
            Kind::List(&Kind::Either(Text::Prefix, &super::track::TUNNEL_ROUTE)),
            Optional("no route"),
            "The networks behind the peer, with the addresses of their routers. Without `check_source: false`, packets from other sources are dropped.",
        )
        .ios("ip route PREFIX MASK TunnelN").now(),
        key(
            "metric",
            int(1, u32::MAX as u64),
            Optional("0"),
            "The distance of this tunnel's routes that have none of their own, and their metric in the kernel: a backup's is higher than the primary's. Above 254 it is the kernel's metric alone. FRR takes the highest byte of that for the distance: 4194304250 is 250.",
        )
        .ios("ip route … DISTANCE").now(),
        key("mtu", int(576, 65_535), Optional("the largest that the WAN carries: 1438"), "Largest inner packet.")
            .unit("bytes")
            .ios("ip mtu BYTES").now(),
        key(
            "check_source",
            Kind::Flag,
            Default("true"),
            "Strict reverse-path check: a packet that arrives through the tunnel is accepted only if its source is in `routes`.",
        )
        .ios("ip verify unicast source reachable-via rx").now(),
        key(
            "probe_path_mtu",
            Kind::Flag,
            Default("true"),
            "The MTU of the path to the peer is searched for by padded IKE requests that no router may fragment (RFC 8899): the first has the size of the WAN's MTU, further ones follow if it is not answered, and every 600 s. What is found bounds the tunnel's packets. On a line that takes more than 100 ms for 1,500 bytes (below 120 kbit/s) a probe waits for 2 s without data. Probes do not hold a call up.",
        )
        .next_call(),
        key(
            "routing_hellos",
            Kind::Flag,
            Default("false"),
            "Host mode: hellos of routing protocols (224.0.0.0/24, ff02::/16, between link-local addresses) pass the tunnel while it is up. They neither start a call nor keep one up. Needed at both ends.",
        ).now(),
        key(
            "device",
            Kind::Text(Text::Device),
            Optional("the sVTI is shared"),
            "Host mode: a kernel device of this tunnel alone, always up, for routing protocols, firewall rules and counters. What is routed into it enters this tunnel, also to prefixes that `routes` does not have; for those `check_source` is false at both ends. The tunnel's own routes lead to it.",
        )
        .ios("interface TunnelN").now(),
        key(
            "unnumbered",
            Kind::Text(Text::Device),
            Optional("no address"),
            "The device whose addresses `device` has, each as a host's.",
        )
        .ios("ip unnumbered INTERFACE").now(),
        key(
            "one_way_s",
            int(2, 3600),
            Optional("not watched"),
            "The tunnel is up and packets leave, but none arrives for this long: the call ends with the reason `one-way` and is placed anew once, then after a back-off. Write it where every use of the tunnel brings answers.",
        )
        .unit("s").now(),
        key("nat", Kind::List(&Kind::Group(&super::nat::RULE)), Optional("none"), "Translation of addresses between the LAN and what the tunnel carries, at most 64 rules. A change ends the translations of the tunnel.")
            .ios("ip nat inside source …").now(),
        key("qos", Kind::Text(Text::TunnelName), Optional("one class"), "A policy of `qos.policies`, which divides the negotiated rate.")
            .ios("service-policy output NAME").now(),
        key("trigger", Kind::Group(&TRIGGER), Optional("the defaults of its keys"), "The packets that wait while the call is set up."),
        key("trigger_filter", Kind::Text(Text::TunnelName), Optional("every packet"), "A filter of `filters`, or `routing`: packets that it denies place no call. While the tunnel has no SA they are dropped and counted as `trigger-filtered`; one that is up carries them.")
            .ios("dialer-list N protocol ip list ACL")
            .now(),
        key("idle_filter", Kind::Text(Text::TunnelName), Optional("every packet"), "A filter of `filters`, or `routing`: packets that it denies do not count against `idle_s`, in either direction.")
            .ios("dialer-list N protocol ip list ACL")
            .now(),
    ],
};

/// Makes many entries out of one.
pub(super) const FOR: Key = key(
    "for",
    Kind::Group(&EACH),
    Optional("one entry"),
    "Repeats this entry. `{n}` or the name of a column in braces stands for the value of each repetition; `{n:05}` pads with zeros, `{n+100}`, `{n/256}` and `{n%256}` calculate.",
).now();

const EACH: Group = Group {
    about: "What an entry is repeated for: `n` or `csv`.",
    private: false,
    keys: &[
        key(
            "n",
            Kind::Text(Text::Range),
            Optional("see `csv`"),
            "A range of numbers, at most 16384: `1-500`.",
        ).now(),
        key(
            "csv",
            Kind::Text(Text::Path),
            Optional("see `n`"),
            "A CSV file (RFC 4180), absolute or relative to the profile. Its first line names the columns; every other line is one entry.",
        ).now(),
    ],
};

/// Keys that tunnels may have in common.
pub const DEFAULTS: Group = Group {
    about: "Values for the keys that a tunnel does not have.",
    private: false,
    keys: &[
        key("local_number", Kind::Text(Text::NumberOrDhcp), Optional("none"), "A number of `sip.lines`.")
            .hangs_up(),
        key("bandwidth_kbps", int(1, 10_000_000), Optional("none"), "The bandwidth to ask for.")
            .unit("kbps")
            .hangs_up(),
        key(
            "idle_s",
            int(1, 86_400),
            Optional("120"),
            "The call is hung up after this long without traffic.",
        )
        .unit("s")
        .now(),
        key(
            "call_max_s",
            int(60, 2_592_000),
            Optional("no limit"),
            "A call ends after this long, busy or not.",
        )
        .unit("s")
        .now(),
        key(
            "metric",
            int(1, u32::MAX as u64),
            Optional("0"),
            "The distance of the routes that have none of their own.",
        )
        .now(),
        key(
            "one_way_s",
            int(2, 3600),
            Optional("not watched"),
            "The call is placed anew if nothing arrives for this long.",
        )
        .unit("s")
        .now(),
        key(
            "mtu",
            int(576, 65_535),
            Optional("the largest that the WAN carries: 1438"),
            "Largest inner packet.",
        )
        .unit("bytes")
        .now(),
        key("qos", Kind::Text(Text::TunnelName), Optional("one class"), "A policy of `qos.policies`.").now(),
        key("check_source", Kind::Flag, Optional("true"), "Strict reverse-path check.").now(),
        key("probe_path_mtu", Kind::Flag, Optional("true"), "The path's MTU is searched for by probes.")
            .next_call(),
        key(
            "trigger",
            Kind::Group(&TRIGGER),
            Optional("the defaults of its keys"),
            "The packets that wait while the call is set up.",
        ),
        key(
            "trigger_filter",
            Kind::Text(Text::TunnelName),
            Optional("every packet"),
            "Packets that this filter denies place no call.",
        )
        .now(),
        key(
            "idle_filter",
            Kind::Text(Text::TunnelName),
            Optional("every packet"),
            "Packets that this filter denies do not count against `idle_s`.",
        )
        .now(),
    ],
};

const TRIGGER: Group = Group {
    about: "The packets that wait while the call is set up.",
    private: false,
    keys: &[
        key("packets", int(1, 4096), Default("64"), "Packets that may wait.").unit("packets").now(),
        key("bytes", int(1500, 16_777_216), Default("65536"), "Bytes that may wait.").unit("bytes").now(),
        key("age_ms", int(1, 60_000), Default("5000"), "How long a packet may wait.").unit("ms").now(),
    ],
};
