//! `nat:`, and the rules of tunnels

use super::kind::{Group, Key, Kind, Presence, Text, int, key};
use crate::model::nat::{Filtering, PortProtocol, RuleKind, Side};
use crate::model::primary_nat::PrimaryFiltering;
use Presence::{Default, Optional, Required};

/// Keys of this part are applied to a running gateway at once.
const fn now(name: &'static str, kind: Kind, presence: Presence, about: &'static str) -> Key {
    key(name, kind, presence, about).now()
}

pub const NAT: Group = Group {
    about: "What holds for the address translations of every tunnel (`tunnels[].nat`).",
    private: false,
    keys: &[
        now(
            "filtering",
            Kind::Word(Filtering::TABLE),
            Default("address-dependent"),
            "From whom behind the tunnel a translation takes packets (RFC 4787 §5). Ports of port rules take them from every sender.",
        ),
        now(
            "ports",
            Kind::Text(Text::Ports),
            Default("1024-65535"),
            "The ports of a pool's addresses, and the identifiers of ICMP. Whole blocks of it are used. A change ends every translation.",
        ),
        now(
            "block_ports",
            int(64, 1024),
            Default("256"),
            "Ports that a host gets at a time: 64, 128, 256, 512 or 1024. The log has one line for each block instead of one for each connection. A change ends every translation.",
        )
        .unit("ports")
        .ios("ip nat settings pap bpa set-size N"),
        now("blocks_per_host", int(1, 64), Default("8"), "Blocks that a host may have.").unit("blocks"),
        now(
            "translations_per_host",
            int(1, 1_000_000),
            Default("4096"),
            "Translations that a host may have (RFC 6888 REQ-4).",
        )
        .unit("translations")
        .ios("ip nat translation max-entries all-host N"),
        now("timeouts", Kind::Group(&TIMEOUTS), Optional("the defaults of its keys"), "How long a translation lives without a packet."),
        now(
            "primary",
            Kind::List(&Kind::Group(&PRIMARY)),
            Optional("packets to primary lines are not translated"),
            "Primary lines to which the hosts of the LAN share one address. The kernel translates these packets, by a table of nftables that is the gateway's own; the keys above are of tunnels alone.",
        ),
    ],
};

const TIMEOUTS: Group = Group {
    about: "How long a translation lives without a packet. The smallest values are those of the RFCs.",
    private: false,
    keys: &[
        now("udp_s", int(120, 86_400), Default("300"), "UDP (RFC 4787 §4.3).")
            .unit("s")
            .ios("ip nat translation udp-timeout SECONDS"),
        now("icmp_s", int(60, 86_400), Default("60"), "Queries of ICMP (RFC 5508 §3.2).")
            .unit("s")
            .ios("ip nat translation icmp-timeout SECONDS"),
        now("tcp_s", int(7440, 86_400), Default("7440"), "TCP connections (RFC 5382 §5).")
            .unit("s")
            .ios("ip nat translation tcp-timeout SECONDS"),
        now(
            "tcp_transitory_s",
            int(240, 86_400),
            Default("240"),
            "TCP connections that open, close or were reset (RFC 5382 §5).",
        )
        .unit("s")
        .ios("ip nat translation finrst-timeout SECONDS"),
        now(
            "tcp_syn_s",
            int(6, 86_400),
            Default("6"),
            "TCP connections from behind the tunnel that the host has not answered (RFC 5382 §4.3).",
        )
        .unit("s")
        .ios("ip nat translation syn-timeout SECONDS"),
    ],
};

/// One primary line.
const PRIMARY: Group = Group {
    about: "IPv4 packets of `sources` that the kernel forwards to the device leave with the device's address. A packet of `sources` that the kernel cannot translate is dropped there. The table `sipsec-GATEWAY` of nftables has the rules; it stays when the gateway stops, and goes at a start without this key.",
    private: false,
    keys: &[
        now("device", Kind::Text(Text::Device), Required("wan1"), "The device of the primary line.")
            .ios("ip nat outside"),
        now(
            "sources",
            Kind::List(&Kind::Text(Text::Prefix)),
            Required("[192.168.1.0/24]"),
            "Networks of the LAN, IPv4; at most 8.",
        )
        .ios("ip nat inside source list N interface IF overload"),
        now(
            "exempt",
            Kind::List(&Kind::Text(Text::Prefix)),
            Optional("none"),
            "Destinations, IPv4, to which packets keep their source; at most 32.",
        ),
        now(
            "ports",
            Kind::Text(Text::Ports),
            Default("1024-49151"),
            "The ports that TCP and UDP get on the device's address. A packet keeps its own if that is one of them and free. On the device of SIP the range must not contain `media.ports`.",
        ),
        now(
            "filtering",
            Kind::Word(PrimaryFiltering::TABLE),
            Default("address-and-port-dependent"),
            "Which packets from outside reach a host of the LAN (RFC 4787 §5). An outside port of TCP or UDP stays open for 300 s after the host's last packet. Ports on which the gateway itself listens, and `forwards`, take precedence. If two hosts share an outside port towards different peers, new connections go to the host that used it first.",
        ),
        now(
            "forwards",
            Kind::List(&Kind::Group(&FORWARD)),
            Optional("none"),
            "Ports of the device's address that belong to hosts of the LAN; at most 64. Hosts of `sources` reach them by that address, too.",
        )
        .ios("ip nat inside source static tcp LOCAL PORT interface IF PORT"),
    ],
};

const FORWARD: Group = Group {
    about: "One port.",
    private: false,
    keys: &[
        now("protocol", Kind::Word(PortProtocol::TABLE), Default("tcp"), "The protocol."),
        now("port", int(1, 65_535), Required("8080"), "The port of the device's address."),
        now("local", Kind::Text(Text::NatEnd), Required("\"192.168.1.10:80\""), "ADDRESS:PORT of the host."),
    ],
};

/// One rule of a tunnel.
pub const RULE: Group = Group {
    about: "One rule of translation. Port rules and network rules come first; of the others the first that matches decides. A packet that no rule matches is not translated.",
    private: false,
    keys: &[
        now("rule", Kind::Word(RuleKind::TABLE), Required("overload"), "What the rule does."),
        now(
            "source",
            Kind::Text(Text::Prefix),
            Optional("every source"),
            "`overload` and `exempt`: packets of these IPv4 addresses of the LAN.",
        )
        .ios("access-list N permit SOURCE WILDCARD"),
        now(
            "destination",
            Kind::Text(Text::Prefix),
            Optional("every destination"),
            "`overload` and `exempt`: packets to these IPv4 addresses, as the peer has them.",
        ),
        now(
            "pool",
            Kind::Text(Text::AddressRange),
            Optional("only of `overload`, which needs it"),
            "`overload`: the addresses that the peer sees, at most 256. The peer must have a route to them into the tunnel; hosts of the LAN reach them if `routes` has them, too.",
        )
        .ios("ip nat inside source list N pool NAME overload"),
        now(
            "own_address",
            Kind::Flag,
            Default("false"),
            "`overload`: the gateway itself has the addresses of `pool`. Packets that belong to no translation are the gateway's, and its own packets keep their ports.",
        )
        .ios("ip nat inside source list N interface TunnelN overload"),
        now("side", Kind::Word(Side::TABLE), Default("inside"), "`network`: whose addresses are changed.")
            .ios("ip nat inside source static network; ip nat outside source static network"),
        now("protocol", Kind::Word(PortProtocol::TABLE), Default("tcp"), "`port`: the protocol."),
        now(
            "local",
            Kind::Text(Text::NatEnd),
            Optional("only of `network` and `port`, which need it"),
            "As the LAN has it. `network`: ADDRESS/LENGTH, of IPv6 at most /64 (RFC 6296). `port`: ADDRESS:PORT.",
        )
        .ios("ip nat inside source static LOCAL GLOBAL"),
        now(
            "global",
            Kind::Text(Text::NatEnd),
            Optional("only of `network` and `port`, which need it"),
            "The same as it is inside the tunnel.",
        )
        .ios("ip nat inside source static LOCAL GLOBAL"),
    ],
};
