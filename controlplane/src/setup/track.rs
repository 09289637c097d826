//! From a profile to the configuration of route policy.

use sipsec_profile::Profile;
use sipsec_profile::model::{self, Drain, Of, Probe as ProfileProbe, RouteTo, Start, Watch};
use sipsec_track::config::{
    Config, Damping, Failback, Flows, NextHop, Object, Operation, Probe, Route, Table, What,
};
use std::net::SocketAddr;
use std::time::Duration;

#[must_use]
pub fn track_config(profile: &Profile) -> Config {
    let flows = match profile.failback.drain {
        Drain::Move => Flows::Move,
        Drain::Stay => Flows::Drain {
            quiet: drain_quiet(profile),
            wait: profile.failback.drain_max,
            // The kernel tells flows apart. In router mode tunnel packets do not pass the kernel.
            each: profile.dataplane.inside.svti().is_some(),
        },
    };
    Config {
        operations: profile.sla.iter().map(operation).collect(),
        objects: profile.track.iter().map(object).collect(),
        routes: profile.static_routes().map(|route| self::route(profile, route)).collect(),
        failback: Failback {
            hold: profile.failback.hold,
            good_probes: profile.failback.good_probes,
            flows,
            calls_per_hour: profile.failback.calls_per_hour,
        },
    }
}

/// After this time without a packet a flow has ended: before the call that it is in.
#[must_use]
pub fn drain_quiet(profile: &Profile) -> Duration {
    let idle = profile.tunnels.iter().map(|tunnel| tunnel.idle).filter(|idle| !idle.is_zero());
    idle.fold(profile.failback.drain_quiet, Duration::min)
}

fn operation(operation: &model::Operation) -> Operation {
    let at = |port| SocketAddr::new(operation.target, port);
    let target = operation.target;
    let probe = match &operation.probe {
        ProfileProbe::IcmpEcho => Probe::IcmpEcho { target },
        ProfileProbe::IcmpJitter { packets, interval } => {
            Probe::IcmpJitter { target, packets: *packets, interval: *interval }
        }
        ProfileProbe::TcpConnect { port } => Probe::TcpConnect { target: at(*port) },
        ProfileProbe::UdpEcho { port } => Probe::UdpEcho { target: at(*port) },
        ProfileProbe::Dns { port, query } => Probe::Dns { server: at(*port), query: query.clone() },
        ProfileProbe::Http { port, path } => Probe::Http { server: at(*port), path: path.clone() },
        ProfileProbe::Bfd { transmit, receive, multiplier } => {
            Probe::Bfd { target, transmit: *transmit, receive: *receive, multiplier: *multiplier }
        }
    };
    let (frequency, timeout, threshold) = match &operation.times {
        Some(times) => (times.frequency, times.timeout, times.threshold),
        // BFD has its own.
        None => (Duration::from_secs(1), Duration::from_secs(1), Duration::from_secs(1)),
    };
    Operation {
        id: operation.id,
        name: operation.name.clone(),
        probe,
        source: operation.source,
        device: operation.device.clone(),
        frequency,
        timeout,
        threshold,
        up_count: operation.up_count,
        down_count: operation.down_count,
        start: match operation.start {
            Start::Now => sipsec_track::config::Start::Now,
            Start::Pending => sipsec_track::config::Start::Pending,
        },
        lifetime: operation.lifetime,
    }
}

fn object(object: &model::TrackEntry) -> Object {
    let what = match &object.watch {
        Watch::Sla { sla, of: Of::Reachability } => What::Reachability { operation: *sla },
        Watch::Sla { sla, of: Of::State } => What::OperationState { operation: *sla },
        Watch::Device { device } => What::LineProtocol { device: device.clone() },
        Watch::Route { route } => What::RoutePresent { prefix: *route },
        Watch::And { and } => What::And(and.clone()),
        Watch::Or { or } => What::Or(or.clone()),
        Watch::Not { not } => What::Not(*not),
        Watch::Weight { weight, up, down } => {
            What::Weight { members: weight.iter().map(|w| (w.id, w.weight)).collect(), up: *up, down: *down }
        }
        Watch::Percentage { percentage, up, down } => {
            // The check has refused more than 100.
            let percent = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
            What::Percentage { members: percentage.clone(), up: percent(*up), down: percent(*down) }
        }
    };
    Object {
        id: object.id,
        what,
        delay_up: object.delay_up,
        delay_down: object.delay_down,
        damping: object.damping.map(|d| Damping {
            half_life: d.half_life,
            suppress: d.suppress,
            reuse: d.reuse,
            suppress_max: d.max_suppress,
        }),
    }
}

fn route(profile: &Profile, route: model::StaticRoute) -> Route {
    let next = match route.to {
        RouteTo::Via { via, device } => NextHop::Via { hop: via, device },
        RouteTo::Device { device } => NextHop::Device(device),
        RouteTo::Tunnel { tunnel } => NextHop::Tunnel(tunnel),
        RouteTo::Discard { .. } => NextHop::Discard,
    };
    // Without distance and metric, a tunnel's route has the kernel's own metric.
    let metric = match &next {
        NextHop::Tunnel(name) if route.distance == model::DISTANCE_DEFAULT => {
            let tunnel = profile.tunnels.iter().find(|t| t.name == *name);
            Some(tunnel.and_then(|t| t.metric).unwrap_or(0))
        }
        NextHop::Tunnel(name) => {
            let tunnel = profile.tunnels.iter().find(|t| t.name == *name);
            tunnel.and_then(|t| t.metric).filter(|m| *m > u32::from(route.distance))
        }
        _ => None,
    };
    let table = match route.table {
        None => Table::Main,
        Some(model::Table::Vrf(name)) => Table::Vrf(name),
        Some(model::Table::Number(number)) => Table::Number(number),
    };
    Route {
        prefix: route.prefix,
        table,
        next,
        distance: route.distance,
        metric,
        track: route.track,
        name: route.name,
    }
}
