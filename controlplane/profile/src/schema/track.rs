//! `sla:`, `track:`, `routes:` and `failback:`

use super::kind::{Group, Kind, Presence, Text, int, key};
use crate::model::route::Drain;
use crate::model::sla::{ProbeType, Start};
use crate::model::track::Of;
use Presence::{Default, Optional, Required};

/// IOS takes 1 to 2147483647 for operations; a track has the same range here.
const ID: Kind = int(1, 2_147_483_647);
/// A week.
const MS_MAX: u64 = 604_800_000;

pub const SLA: Group = Group {
    about: "One operation: probes of one target. `timeout_ms` is at most `frequency_ms`, and `threshold_ms` at most `timeout_ms`. A `bfd` operation has `transmit_ms`, `receive_ms` and `multiplier` instead.",
    private: false,
    keys: &[
        super::tunnels::FOR,
        key("id", ID, Required("1"), "The operation's number, which tracks name.").ios("ip sla N").now(),
        key("name", Kind::Text(Text::Label), Optional("none"), "A text for people: at most 64 characters.").ios("tag TEXT").now(),
        key("type", Kind::Word(ProbeType::TABLE), Required("icmp-echo"), "What is sent.")
            .ios("icmp-echo, icmp-jitter, tcp-connect, udp-echo, dns, http").now(),
        key("target", Kind::Text(Text::Address), Required("10.11.11.1"), "The address that is probed. Names are not resolved.")
            .ios("icmp-echo ADDRESS").now(),
        key("port", int(1, 65_535), Optional("7 for udp-echo, 53 for dns, 80 for http; tcp-connect needs it"), "The target's port.")
            .ios("tcp-connect ADDRESS PORT").now(),
        key("source", Kind::Text(Text::Address), Optional("the kernel chooses"), "Source address of the probes.").ios("source-ip ADDRESS").now(),
        key("device", Kind::Text(Text::Device), Optional("the kernel's route to the target decides"), "The probes leave by this device even when the routes point elsewhere: a probe of the primary must not follow the traffic onto the backup.")
            .ios("source-interface IF").now(),
        key("query", Kind::Text(Text::Domain), Optional("dns needs it"), "`dns`: the name that is asked for.").ios("dns NAME name-server ADDRESS").now(),
        key("path", Kind::Text(Text::UrlPath), Optional("/ for http"), "`http`: the path of the URL.").ios("http get URL").now(),
        key("frequency_ms", int(10, MS_MAX), Optional("1000"), "Time from one probe, or series, to the next.").unit("ms").ios("frequency SECONDS").now(),
        key("timeout_ms", int(1, MS_MAX), Optional("`frequency_ms`, at most 5000"), "A probe without an answer for this long is lost.")
            .unit("ms")
            .ios("timeout MS").now(),
        key("threshold_ms", int(1, MS_MAX), Optional("`timeout_ms`"), "A round trip above it is over the threshold, which `of: state` counts as down.")
            .unit("ms")
            .ios("threshold MS").now(),
        key("packets", int(2, 1000), Optional("10 for icmp-jitter"), "`icmp-jitter`: packets of one series.").ios("num-packets N").now(),
        key("interval_ms", int(1, 60_000), Optional("20 for icmp-jitter"), "`icmp-jitter`: time between the packets of one series.").unit("ms").ios("interval MS").now(),
        key("transmit_ms", int(10, 60_000), Optional("50 for bfd"), "`bfd`: DesiredMinTxInterval (RFC 5880 §4.1).").unit("ms").ios("bfd interval MS").now(),
        key("receive_ms", int(10, 60_000), Optional("50 for bfd"), "`bfd`: RequiredMinRxInterval (RFC 5880 §4.1).").unit("ms").ios("min_rx MS").now(),
        key("multiplier", int(1, 255), Optional("3 for bfd"), "`bfd`: the session is down after so many intervals without a packet.").ios("multiplier N").now(),
        key("up_count", int(1, 1000), Default("3"), "Good probes in a row that make the operation good again.").unit("probes").now(),
        key("down_count", int(1, 1000), Default("3"), "Bad probes in a row that make it bad. IOS has 1.").unit("probes").now(),
        key("start", Kind::Word(Start::TABLE), Default("now"), "When the operation begins.").ios("ip sla schedule N start-time now").now(),
        key("lifetime_s", int(1, 2_147_483_647), Optional("forever"), "The operation ends after this long.").unit("s").ios("ip sla schedule N life SECONDS").now(),
    ],
};

pub const TRACK: Group = Group {
    about: "One track object: up or down. Exactly one of `sla`, `device`, `route`, `and`, `or`, `not`, `weight` and `percentage` says by what.",
    private: false,
    keys: &[
        super::tunnels::FOR,
        key("id", ID, Required("10"), "The track's number, which routes and other tracks name.").ios("track N").now(),
        key("sla", ID, Optional("see above"), "An operation.").ios("track N ip sla M").now(),
        key("of", Kind::Word(Of::TABLE), Default("reachability"), "`sla`: what of the operation counts.").ios("reachability, state").now(),
        key("device", Kind::Text(Text::Device), Optional("see above"), "The line protocol of a device.").ios("track N interface IF line-protocol").now(),
        key("route", Kind::Text(Text::Prefix), Optional("see above"), "The presence of a route in the kernel's table.").ios("track N ip route PREFIX MASK reachability").now(),
        key("and", Kind::List(&ID), Optional("see above"), "Up while all of these tracks are.").ios("track N list boolean and").now(),
        key("or", Kind::List(&ID), Optional("see above"), "Up while one of these tracks is.").ios("track N list boolean or").now(),
        key("not", ID, Optional("see above"), "Up while this track is down.").ios("object N not").now(),
        key("weight", Kind::List(&Kind::Group(&WEIGHT)), Optional("see above"), "Tracks with weights; the sum of those that are up counts.").ios("track N list threshold weight").now(),
        key("percentage", Kind::List(&ID), Optional("see above"), "Tracks; the percentage of those that are up counts.").ios("track N list threshold percentage").now(),
        key("up", int(1, 2_147_483_647), Optional("`weight` and `percentage` need it"), "From this sum or percentage on the track is up.").ios("threshold weight up N down N").now(),
        key("down", int(0, 2_147_483_647), Optional("one less than `up`"), "At this sum or percentage and below the track is down; between the two it stays as it is.").now(),
        key("delay_up_ms", int(0, 86_400_000), Default("0"), "A change to up counts after this long.").unit("ms").ios("delay up SECONDS").now(),
        key("delay_down_ms", int(0, 86_400_000), Default("0"), "A change to down counts after this long.").unit("ms").ios("delay down SECONDS").now(),
        key("half_life_s", int(1, 86_400), Optional("no damping"), "Damping: the penalty of 1000 for each change to down decays by half in this time (RFC 2439 §4.2).").unit("s").now(),
        key("suppress", int(1, 20_000), Optional("2000 with damping"), "Damping: from this penalty on the track stays down.").now(),
        key("reuse", int(1, 20_000), Optional("750 with damping"), "Damping: below this penalty it follows again.").now(),
        key("max_suppress_s", int(1, 86_400), Optional("4 times `half_life_s`"), "Damping: the longest time that the track is held down after its last change.").unit("s").now(),
    ],
};

const WEIGHT: Group = Group {
    about: "One track of the list.",
    private: false,
    keys: &[
        key("id", ID, Required("1"), "A track.").ios("object N weight W").now(),
        key("weight", int(1, 255), Default("1"), "Its weight.").now(),
    ],
};

pub const ROUTE: Group = Group {
    about: "One static route: exactly one of `via`, `device`, `tunnel` and `discard` says where it leads, but `via` may have a `device`. Of several routes for one prefix, the one of the smallest distance is installed whose track is up.",
    private: false,
    keys: &[
        super::tunnels::FOR,
        key("prefix", Kind::Text(Text::Prefix), Required("0.0.0.0/0"), "The destination.")
            .ios("ip route PREFIX MASK …")
            .now(),
        key("via", Kind::Text(Text::Address), Optional("see above"), "The address of a router.")
            .ios("ip route PREFIX MASK ADDRESS")
            .now(),
        key("device", Kind::Text(Text::Device), Optional("see above"), "A network device.")
            .ios("ip route PREFIX MASK IF")
            .now(),
        key(
            "tunnel",
            Kind::Text(Text::TunnelName),
            Optional("see above"),
            "A tunnel of `tunnels`. The same as a route of that tunnel.",
        )
        .ios("ip route PREFIX MASK TunnelN")
        .now(),
        key("discard", Kind::Flag, Optional("see above"), "`true`: packets are dropped.")
            .ios("ip route PREFIX MASK Null0")
            .now(),
        key("vrf", Kind::Text(Text::Device), Optional("the main table"), "The VRF device in whose table the route is, if it leads into no tunnel. All routes of a prefix are in one table. The next hop of a route with a `device` is looked up in the VRF of that device, also where the route is in the main table.")
            .ios("ip route vrf NAME …")
            .now(),
        key("table", int(1, 4_294_967_295), Optional("the main table"), "The same with the number of a table that rules of the system (`ip rule`) lead to.").now(),
        key(
            "distance",
            int(1, 255),
            Default("1"),
            "Administrative distance: the smallest wins; 255 is never installed.",
        )
        .ios("ip route … DISTANCE")
        .now(),
        key("track", ID, Optional("always a candidate"), "The route is a candidate while this track is up.")
            .ios("ip route … track N")
            .now(),
        key("name", Kind::Text(Text::Label), Optional("none"), "A text for people: at most 64 characters.")
            .ios("ip route … name TEXT")
            .now(),
    ],
};

pub const TUNNEL_ROUTE: Group = Group {
    about: "One route of a tunnel, where the prefix alone does not say enough.",
    private: false,
    keys: &[
        key("prefix", Kind::Text(Text::Prefix), Required("10.2.0.0/16"), "The destination.").now(),
        key(
            "distance",
            int(1, 255),
            Optional("1"),
            "Administrative distance: a backup's is larger than the primary's.",
        )
        .ios("ip route … DISTANCE")
        .now(),
        key("track", ID, Optional("always a candidate"), "The route is a candidate while this track is up.")
            .ios("ip route … track N")
            .now(),
    ],
};

pub const FAILBACK: Group = Group {
    about: "How traffic returns from a backup tunnel to a primary route, and what failovers may cost.",
    private: false,
    keys: &[
        key("hold_s", int(0, 86_400), Default("10"), "The primary is good for this long before it is taken again.").unit("s").now(),
        key("good_probes", int(0, 10_000), Default("5"), "Good probes in a row that its track's operations need before that.").unit("probes").now(),
        key("drain", Kind::Word(Drain::TABLE), Default("move"), "What happens to the flows of the backup when the primary returns.").now(),
        key("drain_s", int(1, 86_400), Default("600"), "With `drain: drain`: flows that have stayed in the tunnel move to the primary after this time at the latest.").unit("s").now(),
        key("drain_quiet_s", int(1, 3600), Default("30"), "With `drain: drain`: a flow without a packet from the LAN for this long has ended. The smallest `idle_s` of all tunnels counts for all of them if it is less: no flow outlives its call.").unit("s").now(),
        key("calls_per_hour", int(0, 3600), Default("6"), "Changes from a primary to a tunnel in one hour, each of which may place a call. Traffic stays in the tunnel while its next return would exceed it. 0: no limit.").unit("calls").now(),
    ],
};
