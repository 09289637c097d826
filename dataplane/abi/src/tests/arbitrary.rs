//! Every operation and event, with any values that a sender may give them.

use proptest::option;
use proptest::prelude::*;
use sipsec_net::dp::{
    Adjacency, Direction, EspCipher, Event, ExpireCause, KEYMAT_MAX, MediaBinding, Op, OuterDscp,
    PacketSummary, PeerSource, RejectReason, SELECTORS_PER_BLOCK, SaSpec, Selector, Selectors, TunnelSpec,
};
use sipsec_net::filter::{FilterRule, FilterUse, Span};
use sipsec_net::nat::{
    NatBlock, NatEntry, NatFiltering, NatPolicy, NatProtocol, NatRule, NatSide, NatState, NatStatistics,
    NatTimeouts,
};
use sipsec_net::qos::{
    CLASSES_MAX, ClassSpec, FILTERS_PER_BLOCK, Filter, Police, PoliceAction, PortRange, QosFilters, QosSpec,
    Share,
};
use sipsec_net::{IpPrefix, Kbps, MacAddr, MediaPort, SaId, SecretBox, Spi, TunnelId, TxnId};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

pub fn addr() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|a| IpAddr::V4(a.into())),
        any::<u128>().prop_map(|a| IpAddr::V6(a.into()))
    ]
}

pub fn socket_addr() -> impl Strategy<Value = SocketAddr> {
    (addr(), any::<u16>(), any::<u32>()).prop_map(|(addr, port, scope_id)| match addr {
        IpAddr::V4(_) => SocketAddr::new(addr, port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope_id).into(),
    })
}

fn filter_use() -> impl Strategy<Value = FilterUse> {
    prop::sample::select(FilterUse::ALL.to_vec())
}

fn filter_rule() -> impl Strategy<Value = FilterRule> {
    let span = || any::<(u16, u16)>().prop_map(|(first, last)| Span { first, last });
    let addresses = (prop::option::of(prefix()), prop::option::of(prefix()));
    let numbers = (any::<bool>(), any::<Option<u8>>(), prop::option::of(0..64u8));
    (addresses, numbers, span(), span(), span()).prop_map(
        |((source, destination), (permit, protocol, dscp), source_ports, destination_ports, length)| {
            FilterRule {
                permit,
                protocol,
                source,
                destination,
                source_ports,
                destination_ports,
                dscp,
                length,
            }
        },
    )
}

const ADJACENCIES: [Adjacency; 3] = [Adjacency::Tunnel, Adjacency::Outside, Adjacency::Discard];

fn prefix() -> impl Strategy<Value = IpPrefix> {
    (addr(), 0..=128u8).prop_map(|(addr, len)| {
        let len = if addr.is_ipv4() { len % 33 } else { len };
        match IpPrefix::new(addr, len) {
            Ok(prefix) | Err(sipsec_net::prefix::PrefixError::HostBits(prefix)) => prefix,
            Err(other) => unreachable!("{other:?}"),
        }
    })
}

fn selector() -> impl Strategy<Value = Selector> {
    let ends = prop_oneof![
        any::<(u32, u32)>().prop_map(|(a, b)| (IpAddr::V4(a.into()), IpAddr::V4(b.into()))),
        any::<(u128, u128)>().prop_map(|(a, b)| (IpAddr::V6(a.into()), IpAddr::V6(b.into()))),
    ];
    (ends, any::<(u8, u16, u16)>()).prop_map(|((addr_start, addr_end), (protocol, port_start, port_end))| {
        Selector { addr_start, addr_end, protocol, port_start, port_end }
    })
}

fn selector_side() -> impl Strategy<Value = [Option<Selector>; SELECTORS_PER_BLOCK]> {
    [option::of(selector()), option::of(selector()), option::of(selector()), option::of(selector())]
}

fn media() -> impl Strategy<Value = MediaBinding> {
    (any::<u32>(), socket_addr(), socket_addr(), socket_addr(), any::<u32>(), any::<[u8; 6]>(), outer_dscp())
        .prop_map(|(tunnel, inside_local, outside_local, remote, rate, mac, outer_dscp)| MediaBinding {
            tunnel: TunnelId(tunnel),
            inside_local,
            outside_local,
            remote,
            rate: Kbps(rate),
            next_hop: MacAddr(mac),
            outer_dscp,
        })
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::In), Just(Direction::Out)]
}

fn spi() -> impl Strategy<Value = Spi> {
    (Spi::MIN..=u32::MAX).prop_map(|spi| Spi::new(spi).expect("not reserved"))
}

fn sa() -> impl Strategy<Value = SaSpec> {
    let cipher = proptest::sample::select(&EspCipher::ALL[..]);
    let keymat = proptest::collection::vec(any::<u8>(), 0..=KEYMAT_MAX);
    let ids = (any::<u32>(), any::<u32>(), direction(), spi(), any::<u16>());
    let limits = (any::<bool>(), any::<u32>(), any::<u64>(), any::<u64>());
    (ids, cipher, keymat, limits, selector_side(), selector_side()).prop_map(
        |((sa, tunnel, direction, spi, port), cipher, keymat, (esn, window, soft, hard), local, remote)| {
            SaSpec {
                sa: SaId(sa),
                tunnel: TunnelId(tunnel),
                direction,
                spi,
                media_port: MediaPort(port),
                cipher,
                keymat: SecretBox::new(&keymat).expect("fits"),
                esn,
                replay_window: window,
                selectors: Selectors { local, remote },
                soft_bytes_max: soft,
                hard_bytes_max: hard,
            }
        },
    )
}

fn tunnel_spec() -> impl Strategy<Value = TunnelSpec> {
    any::<(u32, u16, bool, bool, bool, bool, u16, u32, u32)>().prop_map(
        |(tunnel, inner_mtu, mss_clamp, check_source, routing_hellos, own_device, packets, bytes, age)| {
            TunnelSpec {
                tunnel: TunnelId(tunnel),
                inner_mtu,
                mss_clamp,
                check_source,
                routing_hellos,
                own_device,
                trigger_packets_max: packets,
                trigger_bytes_max: bytes,
                trigger_age_ms_max: age,
            }
        },
    )
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn endpoint() -> impl Strategy<Value = SocketAddrV4> {
    (v4(), any::<u16>()).prop_map(|(address, port)| SocketAddrV4::new(address, port))
}

fn nat_protocol() -> impl Strategy<Value = NatProtocol> {
    proptest::sample::select(&NatProtocol::ALL[..])
}

/// Whether they can be obeyed is for the dataplane to say.
fn nat_rule() -> impl Strategy<Value = NatRule> {
    let side = prop_oneof![Just(NatSide::Inside), Just(NatSide::Outside)];
    prop_oneof![
        (side, prefix(), prefix()).prop_map(|(side, local, global)| NatRule::Network { side, local, global }),
        (nat_protocol(), endpoint(), endpoint()).prop_map(|(protocol, local, global)| NatRule::Port {
            protocol,
            local,
            global
        }),
        (prefix(), prefix(), v4(), v4(), any::<bool>()).prop_map(
            |(source, destination, first, last, own_address)| {
                NatRule::Overload { source, destination, first, last, own_address }
            }
        ),
        (prefix(), prefix()).prop_map(|(source, destination)| NatRule::Exempt { source, destination }),
    ]
}

fn nat_policy() -> impl Strategy<Value = NatPolicy> {
    let filtering = prop_oneof![
        Just(NatFiltering::EndpointIndependent),
        Just(NatFiltering::AddressDependent),
        Just(NatFiltering::AddressAndPortDependent)
    ];
    (filtering, any::<[u32; 6]>(), any::<[u16; 3]>(), any::<u8>()).prop_map(
        |(
            filtering,
            [udp_s, icmp_s, tcp_s, tcp_transitory_s, tcp_syn_s, sessions],
            [first, last, block],
            blocks,
        )| {
            NatPolicy {
                filtering,
                timeouts: NatTimeouts { udp_s, icmp_s, tcp_s, tcp_transitory_s, tcp_syn_s },
                port_first: first,
                port_last: last,
                block_ports: block,
                blocks_per_host_max: blocks,
                sessions_per_host_max: sessions,
            }
        },
    )
}

fn outer_dscp() -> impl Strategy<Value = OuterDscp> {
    prop_oneof![Just(OuterDscp::CopyInner), (0..64u8).prop_map(OuterDscp::Fixed)]
}

fn qos_spec() -> impl Strategy<Value = QosSpec> {
    let share =
        || option::of(prop_oneof![any::<u32>().prop_map(Share::Kbps), any::<u8>().prop_map(Share::Percent)]);
    let class = (share(), share(), any::<bool>(), option::of(outer_dscp())).prop_map(
        |(guarantee, ceiling, priority, outer_dscp)| ClassSpec { guarantee, ceiling, priority, outer_dscp },
    );
    let action = prop_oneof![
        Just(PoliceAction::Off),
        Just(PoliceAction::Count),
        (0..64u8).prop_map(PoliceAction::Mark),
        Just(PoliceAction::Drop)
    ];
    (any::<u32>(), proptest::collection::vec(class, 1..=CLASSES_MAX), action, any::<u16>()).prop_map(
        |(tunnel, classes, action, burst_ms)| {
            let mut spec = QosSpec::new(TunnelId(tunnel)).with_classes(&classes).expect("few");
            spec.police = Police { action, burst_ms };
            spec
        },
    )
}

fn nat_entry() -> impl Strategy<Value = NatEntry> {
    use NatState::{Closing, Established, FinReceived, FinSent, Open, Reset, SynReceived, SynSent};
    let states = vec![Open, SynSent, SynReceived, Established, FinSent, FinReceived, Closing, Reset];
    let ends = [endpoint(), endpoint(), endpoint(), endpoint()];
    (any::<[u32; 4]>(), nat_protocol(), proptest::sample::select(states), any::<bool>(), ends).prop_map(
        |([tunnel, age_s, idle_s, left_s], protocol, state, is_static, [a, b, c, d])| NatEntry {
            tunnel: TunnelId(tunnel),
            protocol,
            inside_global: a,
            inside_local: b,
            outside_local: c,
            outside_global: d,
            state,
            is_static,
            age_s,
            idle_s,
            left_s,
        },
    )
}

fn nat_statistics() -> impl Strategy<Value = NatStatistics> {
    any::<([u32; 6], [u64; 5])>().prop_map(
        |(
            [sessions, sessions_peak, sessions_max, mappings, hosts, blocks],
            [hits, created, expired, cleared, log_lost],
        )| {
            NatStatistics {
                sessions,
                sessions_peak,
                sessions_max,
                mappings,
                hosts,
                blocks,
                hits,
                created,
                expired,
                cleared,
                log_lost,
            }
        },
    )
}

fn qos_filters() -> impl Strategy<Value = QosFilters> {
    let ports = || any::<(u16, u16)>().prop_map(|(first, last)| PortRange { first, last });
    let filter = (any::<(u8, u64, u8)>(), option::of(prefix()), option::of(prefix()), ports(), ports())
        .prop_map(|((class, dscp, protocol), source, destination, source_ports, destination_ports)| Filter {
            class,
            dscp,
            source,
            destination,
            protocol,
            source_ports,
            destination_ports,
        });
    (any::<u32>(), proptest::collection::vec(filter, 0..=FILTERS_PER_BLOCK)).prop_map(|(tunnel, list)| {
        let filters = core::array::from_fn(|i| list.get(i).copied());
        QosFilters { tunnel: TunnelId(tunnel), filters }
    })
}

pub fn op() -> impl Strategy<Value = Op> {
    let tunnel = || any::<u32>().prop_map(TunnelId);
    prop_oneof![
        tunnel_spec().prop_map(Op::TunnelAdd),
        tunnel_spec().prop_map(Op::TunnelSet),
        qos_spec().prop_map(Op::TunnelQos),
        qos_filters().prop_map(Op::TunnelQosFilters),
        tunnel().prop_map(Op::TunnelRemove),
        (prefix(), tunnel(), prop::sample::select(ADJACENCIES.to_vec()))
            .prop_map(|(prefix, tunnel, adjacency)| Op::RouteAdd { prefix, tunnel, adjacency }),
        prefix().prop_map(|prefix| Op::RouteRemove { prefix }),
        (tunnel(), filter_use(), filter_rule()).prop_map(|(tunnel, used, rule)| Op::FilterAdd {
            tunnel,
            used,
            rule
        }),
        (tunnel(), filter_use()).prop_map(|(tunnel, used)| Op::FilterClear { tunnel, used }),
        media().prop_map(Op::MediaOpen),
        any::<u16>().prop_map(|port| Op::MediaClose(MediaPort(port))),
        any::<(u16, [u8; 6])>()
            .prop_map(|(port, mac)| Op::NextHop { media_port: MediaPort(port), mac: MacAddr(mac) }),
        any::<(u16, u16)>().prop_map(|(port, source)| Op::PeerSource {
            media_port: MediaPort(port),
            source: if source == 0 { PeerSource::Unproven } else { PeerSource::Port(source) },
        }),
        any::<(u16, u16)>().prop_map(|(port, mtu)| Op::PathMtu {
            media_port: MediaPort(port),
            mtu: Some(mtu).filter(|mtu| *mtu > 0),
        }),
        sa().prop_map(Op::SaAdd),
        (any::<u32>(), selector_side(), selector_side()).prop_map(|(sa, local, remote)| Op::SaSelectors {
            sa: SaId(sa),
            more: Selectors { local, remote }
        }),
        any::<u32>().prop_map(|sa| Op::SaRemove(SaId(sa))),
        (tunnel(), any::<u32>()).prop_map(|(tunnel, sa)| Op::TunnelBind { tunnel, outbound: SaId(sa) }),
        tunnel().prop_map(Op::TunnelUnbind),
        tunnel().prop_map(Op::ReplayTrigger),
        tunnel().prop_map(Op::FlushTrigger),
        nat_policy().prop_map(Op::NatPolicy),
        (tunnel(), nat_rule()).prop_map(|(tunnel, rule)| Op::NatRule { tunnel, rule }),
        tunnel().prop_map(Op::NatRemove),
        option::of(v4()).prop_map(Op::NatClear),
        any::<u32>().prop_map(|from| Op::NatPage { from }),
    ]
}

fn summary() -> impl Strategy<Value = PacketSummary> {
    (addr(), addr(), any::<(u8, u16, u16, u16)>()).prop_map(
        |(source, destination, (protocol, source_port, destination_port, len))| PacketSummary {
            source,
            destination,
            protocol,
            source_port,
            destination_port,
            len,
        },
    )
}

pub fn event() -> impl Strategy<Value = Event> {
    let reason = prop_oneof![
        Just(RejectReason::UnknownTunnel),
        Just(RejectReason::Malformed),
        Just(RejectReason::BadQos),
        Just(RejectReason::BadMtu)
    ];
    let cause = prop_oneof![Just(ExpireCause::Bytes), Just(ExpireCause::Sequence)];
    let tunnel = || any::<u32>().prop_map(TunnelId);
    let port = || any::<u16>().prop_map(MediaPort);
    prop_oneof![
        any::<u64>().prop_map(|txn| Event::Applied(TxnId(txn))),
        (any::<u64>(), any::<u16>(), reason).prop_map(|(txn, op, reason)| Event::Rejected {
            txn: TxnId(txn),
            op,
            reason
        }),
        (tunnel(), summary()).prop_map(|(tunnel, first)| Event::Acquire { tunnel, first }),
        (port(), socket_addr()).prop_map(|(media_port, from)| Event::WrongSource { media_port, from }),
        (port(), any::<u16>()).prop_map(|(media_port, port)| Event::PeerPortProven { media_port, port }),
        (any::<u32>(), cause, any::<bool>()).prop_map(|(sa, cause, hard)| Event::SaExpire {
            sa: SaId(sa),
            cause,
            hard
        }),
        any::<u32>().prop_map(|sa| Event::SaFirstInbound { sa: SaId(sa) }),
        (tunnel(), option::of(any::<u32>()))
            .prop_map(|(tunnel, sa)| Event::SnapshotTunnel { tunnel, outbound: sa.map(SaId) }),
        media().prop_map(Event::SnapshotMedia),
        (any::<u32>(), tunnel(), direction(), spi(), port()).prop_map(
            |(sa, tunnel, direction, spi, media_port)| {
                Event::SnapshotSa { sa: SaId(sa), tunnel, direction, spi, media_port }
            }
        ),
        Just(Event::SnapshotEnd),
        nat_entry().prop_map(Event::NatEntry),
        (any::<u32>(), option::of(any::<u32>()), nat_statistics())
            .prop_map(|(from, next, statistics)| Event::NatPage { from, next, statistics }),
        (tunnel(), v4(), v4(), any::<(u16, u16, bool)>()).prop_map(
            |(tunnel, host, global, (port_first, port_last, is_allocated))| {
                Event::NatBlock(NatBlock { tunnel, host, global, port_first, port_last, is_allocated })
            }
        ),
    ]
}

/// An operation as text, its key included: operations have no equality, so that keys are not compared by accident.
pub fn text(op: &Op) -> String {
    match op {
        Op::SaAdd(spec) => format!("{spec:?} {:02x?}", spec.keymat.expose()),
        other => format!("{other:?}"),
    }
}
