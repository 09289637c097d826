//! `dataplane:`

use super::kind::{Group, Kind, Presence, Text, int, key};
use crate::model::dataplane::{BindMode, DontFragment, Engine, Idle, XdpMode};
use crate::model::limits;
use Presence::{Default, Optional, Required};

pub const DATAPLANE: Group = Group {
    about: "The packet forwarder.",
    private: false,
    keys: &[
        key("outside", Kind::Group(&OUTSIDE), Required("{ device: wan0 }"), "The WAN.").ios("ip nat outside"),
        key(
            "inside",
            Kind::Group(&INSIDE),
            Required("{ mode: host, device: svti0 }"),
            "Where LAN packets come from.",
        )
        .ios("ip nat inside"),
        key(
            "worker",
            Kind::Group(&WORKER),
            Optional("the defaults of its keys"),
            "The thread that forwards.",
        ),
        key("engine", Kind::Word(Engine::TABLE), Default("auto"), "The AEAD implementation."),
        key("xdp_mode", Kind::Word(XdpMode::TABLE), Default("auto"), "How the XDP program is attached."),
        key("bind_mode", Kind::Word(BindMode::TABLE), Default("auto"), "How AF_XDP sockets are bound."),
        key(
            "huge_pages",
            Kind::Flag,
            Default("false"),
            "Packet memory in pages of 2 MiB. The machine must have reserved them (`vm.nr_hugepages`).",
        ),
        key(
            "frames",
            int(limits::FRAMES_MIN as u64, limits::FRAMES_MAX as u64),
            Default("4096"),
            "Packet buffers of each worker, shared by both devices, the packets that wait and the shapers.",
        )
        .unit("frames"),
        key(
            "tunnels_max",
            int(1, limits::TUNNELS_MAX as u64),
            Default("1024"),
            "Tunnels for which tables are sized at start. The tables have room for four routes for each.",
        )
        .unit("tunnels"),
        key(
            "nat_translations_max",
            int(0, limits::NAT_TRANSLATIONS_MAX as u64),
            Default("16384"),
            "Address translations for which tables are sized at start, of about 200 bytes each.",
        )
        .unit("translations")
        .ios("ip nat translation max-entries N"),
    ],
};

const OUTSIDE: Group = Group {
    about: "The WAN.",
    private: false,
    keys: &[
        key(
            "device",
            Kind::Text(Text::Device),
            Required("wan0"),
            "The network device of the WAN: 1 to 15 bytes.",
        ),
        key(
            "dont_fragment",
            Kind::Word(DontFragment::TABLE),
            Default("clear"),
            "The DF bit of ESP's outer IPv4 header (RFC 4301 §8.1).",
        )
        .ios("crypto ipsec df-bit clear | set | copy"),
        key(
            "reassembly",
            Kind::Group(&REASSEMBLY),
            Optional("the defaults of its keys"),
            "How packets of a call that come in fragments are put together (RFC 791 §3.2, RFC 8200 §4.5).",
        )
        .ios("ip virtual-reassembly"),
    ],
};

const REASSEMBLY: Group = Group {
    about: "Outer fragments from the peers of live calls. Where there is no room the oldest datagram of the same peer is dropped; \
            overlapping fragments end their datagram (RFC 5722).",
    private: false,
    keys: &[
        key(
            "datagrams_per_peer",
            int(0, limits::REASSEMBLY_DATAGRAMS_MAX as u64),
            Default("64"),
            "Datagrams that one peer address may have under way; 512 of all peers together. 0 drops every fragment.",
        )
        .unit("datagrams")
        .ios("ip virtual-reassembly max-reassemblies N"),
        key(
            "fragments",
            int(2, limits::REASSEMBLY_FRAGMENTS_MAX as u64),
            Default("32"),
            "Fragments of one datagram.",
        )
        .unit("fragments")
        .ios("ip virtual-reassembly max-fragments N"),
        key(
            "timeout_s",
            int(1, limits::REASSEMBLY_TIMEOUT_S_MAX as u64),
            Default("3"),
            "How long a datagram may take, from the first of its fragments that came on.",
        )
        .unit("s")
        .ios("ip virtual-reassembly timeout N"),
    ],
};

pub const INSIDE: Group = Group {
    about: "Where LAN packets come from. `mtu` is for the modes host and tun, `next_hop` and `routers` for mode router.",
    private: false,
    keys: &[
        key(
            "mode",
            Kind::Word(&[
                (
                    "host",
                    "a device made by the dataplane (the sVTI), always up, to which ordinary routes point",
                ),
                (
                    "tun",
                    "as `host`, by a device of the TUN driver: the kernel hands over large TCP and UDP packets uncut and takes \
                     merged ones, which makes a single stream faster",
                ),
                (
                    "router",
                    "the LAN's device: packets for tunnels are taken from it, all others go to the kernel",
                ),
            ]),
            Required("host"),
            "How packets reach the dataplane.",
        ),
        key(
            "device",
            Kind::Text(Text::Device),
            Required("svti0"),
            "Host and tun mode: the name of the device to make, 1 to 13 bytes in host mode, 1 to 15 in tun mode. Router mode: the LAN's device.",
        ),
        key(
            "mtu",
            int(limits::DEVICE_MTU_MIN as u64, limits::DEVICE_MTU_MAX as u64),
            Optional("what the WAN carries of ESP in UDP over IPv4"),
            "Host and tun mode: MTU of the device.",
        )
        .unit("bytes"),
        key(
            "next_hop",
            Kind::Text(Text::Mac),
            Optional("none in host and tun mode"),
            "Router mode: Ethernet address of the LAN's router, to which decrypted packets go.",
        ),
        key(
            "routers",
            Kind::List(&Kind::Group(&LAN_ROUTER)),
            Optional("none"),
            "Router mode: to which other routers of the LAN packets for some prefixes go, at most 16. The longest prefix counts; routers with the same prefix share its flows.",
        ),
    ],
};

const LAN_ROUTER: Group = Group {
    about: "A router of the LAN.",
    private: false,
    keys: &[
        key("prefix", Kind::Text(Text::Prefix), Required("10.1.8.0/24"), "What is behind it."),
        key("next_hop", Kind::Text(Text::Mac), Required("\"02:00:5e:10:00:02\""), "Its Ethernet address."),
    ],
};

const WORKER: Group = Group {
    about: "The threads that forward.",
    private: false,
    keys: &[
        key(
            "count",
            int(1, limits::WORKERS_MAX as u64),
            Optional("as many as `cores` names, or 1"),
            "Threads that forward. Tunnels are divided among them, and so are the queues of both devices: give each device as \
             many receive queues.",
        ),
        key(
            "core",
            int(0, limits::CORE_MAX as u64),
            Optional("not pinned"),
            "One worker: the processor that it is pinned to.",
        ),
        key(
            "cores",
            Kind::List(&int(0, limits::CORE_MAX as u64)),
            Optional("not pinned"),
            "Several workers: the processor that each is pinned to, in order.",
        ),
        key(
            "idle",
            Kind::Word(Idle::TABLE),
            Default("adaptive"),
            "What the worker does when there is no work.",
        ),
        key(
            "spin_us",
            int(0, limits::SPIN_US_MAX as u64),
            Default("50"),
            "How long `adaptive` polls before it sleeps.",
        )
        .unit("µs"),
        key(
            "busy_poll_us",
            int(0, limits::BUSY_POLL_US_MAX as u64),
            Default("0"),
            "How long one call of the worker may run a card's driver, at most 64 packets (`SO_PREFER_BUSY_POLL`): driver and worker \
             share a core without interrupts. The device needs `napi_defer_hard_irqs` and `gro_flush_timeout`. 0 leaves packets \
             to interrupts.",
        )
        .unit("µs"),
        key(
            "fifo_priority",
            int(1, limits::FIFO_PRIORITY_MAX as u64),
            Optional("ordinary scheduling"),
            "Priority of SCHED_FIFO for the worker.",
        ),
    ],
};
