//! From the core's views to the words of the API.

use crate::api::policy::{
    BfdSession, DrainingFlows, ForeignRoute, PrefixRoutes, RouteCandidate, SlaOperation, SlaStatistics,
    TrackDamping, TrackMember, TrackObject,
};
use crate::net::netlink::ROUTE_PROTOCOL;
use sipsec_net::{Instant, IpPrefix};
use sipsec_track::config::{NextHop, Probe, Table, What};
use sipsec_track::view::{
    Activity, BfdView, ForeignView, ObjectView, OperationView, ReturnCode, RouteView, State, Statistics,
    WhyNot,
};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const FOREIGN_USED: &str = "the kernel prefers a route of another program, whose metric is less";

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

pub fn operations(views: &[OperationView], now: Instant) -> Vec<SlaOperation> {
    views.iter().map(|v| operation(v, now)).collect()
}

fn operation(v: &OperationView, now: Instant) -> SlaOperation {
    let config = &v.config;
    let mut out = SlaOperation {
        id: config.id,
        name: config.name.clone(),
        source: config.source.map(|ip| ip.to_string()),
        device: config.device.clone(),
        frequency_ms: millis(config.frequency),
        timeout_ms: millis(config.timeout),
        threshold_ms: millis(config.threshold),
        up_count: config.up_count,
        down_count: config.down_count,
        lifetime_s: config.lifetime.map(|d| d.as_secs()),
        activity: match v.activity {
            Activity::Pending => "pending",
            Activity::Active => "active",
            Activity::Expired => "expired",
        }
        .to_owned(),
        reachability: v.reachability.to_string(),
        state: v.state.to_string(),
        since_s: now.saturating_duration_since(v.since).as_secs(),
        return_code: v.return_code.to_string(),
        last_ended_ms_ago: v.last_at.map(|at| millis(now.saturating_duration_since(at))),
        next_in_ms: v.next_at.map(|at| millis(at.saturating_duration_since(now))),
        good_in_row: v.good_in_row,
        bad_in_row: v.bad_in_row,
        statistics: statistics(&v.statistics),
        bfd: v.bfd.as_ref().map(bfd),
        ..SlaOperation::default()
    };
    let (kind, target, port) = match &config.probe {
        Probe::IcmpEcho { target } => ("icmp-echo", *target, None),
        Probe::IcmpJitter { target, packets, interval } => {
            (out.packets, out.interval_ms) = (Some(*packets), Some(millis(*interval)));
            ("icmp-jitter", *target, None)
        }
        Probe::TcpConnect { target } => ("tcp-connect", target.ip(), Some(target.port())),
        Probe::UdpEcho { target } => ("udp-echo", target.ip(), Some(target.port())),
        Probe::Dns { server, query } => {
            out.query = Some(query.clone());
            ("dns", server.ip(), Some(server.port()))
        }
        Probe::Http { server, path } => {
            out.path = Some(path.clone());
            ("http", server.ip(), Some(server.port()))
        }
        Probe::Bfd { target, .. } => ("bfd", *target, None),
    };
    out.kind = kind.to_owned();
    out.target = target.to_string();
    out.port = port;
    out
}

fn statistics(s: &Statistics) -> SlaStatistics {
    let good = s.count(ReturnCode::Ok) + s.count(ReturnCode::OverThreshold);
    let codes = ReturnCode::ALL.into_iter().map(|code| (code.to_string(), s.count(code)));
    let codes: BTreeMap<_, _> = codes.filter(|(_, n)| *n > 0).collect();
    SlaStatistics {
        sent: s.sent,
        successes: good,
        failures: codes.values().sum::<u64>().saturating_sub(good),
        codes,
        rtt_last_us: s.rtt_last.map(micros),
        rtt_min_us: s.rtt_min.map(micros),
        rtt_avg_us: s.rtt_avg.map(micros),
        rtt_max_us: s.rtt_max.map(micros),
        rtt_smoothed_us: s.rtt_smoothed.map(micros),
        rtt_variation_us: s.rtt_variation.map(micros),
        jitter_us: s.jitter.map(micros),
        loss_percent: s.loss_percent,
        late: s.late,
    }
}

fn bfd(v: &BfdView) -> BfdSession {
    BfdSession {
        state: v.state.to_owned(),
        remote_state: v.remote_state.to_owned(),
        local_discriminator: v.local_discriminator,
        remote_discriminator: v.remote_discriminator,
        diagnostic: v.diagnostic.to_owned(),
        remote_diagnostic: v.remote_diagnostic.to_owned(),
        transmit_us: micros(v.transmit),
        detection_us: micros(v.detection),
        packets_out: v.packets_out,
        packets_in: v.packets_in,
        packets_bad: v.packets_bad,
    }
}

pub fn objects(views: &[ObjectView], now: Instant) -> Vec<TrackObject> {
    let states: HashMap<u32, State> = views.iter().map(|v| (v.id, v.state)).collect();
    views.iter().map(|v| object(v, &states, now)).collect()
}

fn object(v: &ObjectView, states: &HashMap<u32, State>, now: Instant) -> TrackObject {
    let member = |id: u32, weight| TrackMember {
        id,
        weight,
        state: states.get(&id).copied().unwrap_or_default().to_string(),
    };
    let list = |ids: &[u32]| ids.iter().map(|id| member(*id, 1)).collect::<Vec<_>>();
    let mut out = TrackObject {
        id: v.id,
        state: v.state.to_string(),
        since_s: now.saturating_duration_since(v.since).as_secs(),
        changes: v.changes,
        raw_state: v.raw.to_string(),
        delay_up_ms: millis(v.delay_up),
        delay_down_ms: millis(v.delay_down),
        delayed_to: v.delayed.map(|(to, _)| to.to_string()),
        delayed_for_ms: v.delayed.map(|(_, at)| millis(at.saturating_duration_since(now))),
        damping: v.damping.map(|d| TrackDamping {
            penalty: d.penalty,
            suppress: d.suppress,
            reuse: d.reuse,
            half_life_s: d.half_life.as_secs(),
            suppressed: d.suppressed,
            reuse_in_s: d.reuse_in.map(|left| left.as_secs()),
        }),
        return_code: v.return_code.map(|code| code.to_string()),
        rtt_us: v.rtt.map(micros),
        routes: v.routes.iter().map(ToString::to_string).collect(),
        member_of: v.members_of.clone(),
        ..TrackObject::default()
    };
    let kind = match &v.what {
        What::Reachability { operation } => {
            out.operation = Some(*operation);
            "sla-reachability"
        }
        What::OperationState { operation } => {
            out.operation = Some(*operation);
            "sla-state"
        }
        What::LineProtocol { device } => {
            out.device = Some(device.clone());
            "line-protocol"
        }
        What::RoutePresent { prefix } => {
            out.prefix = Some(prefix.to_string());
            "route"
        }
        What::And(ids) => {
            out.members = list(ids);
            "and"
        }
        What::Or(ids) => {
            out.members = list(ids);
            "or"
        }
        What::Not(id) => {
            out.members = list(&[*id]);
            "not"
        }
        What::Weight { members, up, down } => {
            out.members = members.iter().map(|(id, weight)| member(*id, *weight)).collect();
            (out.up_at, out.down_at) = (Some(*up), Some(*down));
            "weight"
        }
        What::Percentage { members, up, down } => {
            out.members = list(members);
            (out.up_at, out.down_at) = (Some((*up).into()), Some((*down).into()));
            "percentage"
        }
    };
    out.kind = kind.to_owned();
    out
}

/// `kernel` is what the netlink task says of each prefix.
pub fn routes(views: &[RouteView], kernel: &BTreeMap<String, String>, now: Instant) -> Vec<PrefixRoutes> {
    let installed = format!("proto {ROUTE_PROTOCOL}");
    let prefix = |v: &RouteView| {
        let prefix = v.prefix.to_string();
        let state = match kernel.get(&prefix) {
            Some(_) if v.foreign_used => Some(FOREIGN_USED.to_owned()),
            Some(state) if state.ends_with(&installed) => Some("installed".to_owned()),
            state => state.cloned(),
        };
        PrefixRoutes {
            candidates: v.candidates.iter().map(candidate).collect(),
            foreign: v.foreign.iter().map(foreign).collect(),
            foreign_used: v.foreign_used,
            draining: v.draining.as_ref().map(|drain| DrainingFlows {
                tunnel: drain.tunnel.clone(),
                left_s: drain.until.saturating_duration_since(now).as_secs(),
                ..DrainingFlows::default()
            }),
            since_s: now.saturating_duration_since(v.since).as_secs(),
            changes: v.changes,
            kernel: state,
            table: (v.table != Table::Main).then(|| v.table.to_string()),
            prefix,
        }
    };
    views.iter().map(prefix).collect()
}

/// A part of a tunnel's prefix that is left to the routes of another program.
pub fn part<'a>(prefix: IpPrefix, routes: impl Iterator<Item = &'a ForeignView>) -> PrefixRoutes {
    PrefixRoutes {
        prefix: prefix.to_string(),
        foreign: routes.map(foreign).collect(),
        foreign_used: true,
        ..PrefixRoutes::default()
    }
}

fn candidate(c: &sipsec_track::view::CandidateView) -> RouteCandidate {
    let mut out = RouteCandidate {
        distance: c.distance,
        metric: c.metric,
        track: c.track,
        name: c.name.clone(),
        best: c.why_not == WhyNot::Best,
        why_not: (c.why_not != WhyNot::Best).then(|| c.why_not.to_string()),
        ..RouteCandidate::default()
    };
    match &c.next {
        NextHop::Via { hop, device } => {
            out.via = Some(hop.to_string());
            out.device.clone_from(device);
        }
        NextHop::Device(name) => out.device = Some(name.clone()),
        NextHop::Tunnel(name) => out.tunnel = Some(name.clone()),
        NextHop::Discard => {}
    }
    out
}

fn foreign(f: &ForeignView) -> ForeignRoute {
    let protocol = match f.protocol {
        2 => "kernel".to_owned(),
        3 => "boot".to_owned(),
        4 => "static".to_owned(),
        9 => "ra".to_owned(),
        11 => "zebra".to_owned(),
        16 => "dhcp".to_owned(),
        186 => "bgp".to_owned(),
        187 => "isis".to_owned(),
        188 => "ospf".to_owned(),
        189 => "rip".to_owned(),
        192 => "eigrp".to_owned(),
        number => number.to_string(),
    };
    ForeignRoute { protocol, metric: f.metric, via: f.via.map(|ip| ip.to_string()), device: f.device.clone() }
}
