//! What is wrong with a configuration, and in which order its objects are computed.

use crate::config::{
    Config, Damping, MEMBERS_MAX, NextHop, OBJECTS_MAX, OPERATIONS_MAX, Object, Operation, PERIOD_MIN, Probe,
    ROUTES_MAX, Table, What,
};
use sipsec_net::IpPrefix;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("more than {max} {what}")]
    TooMany { what: &'static str, max: usize },
    #[error("operation {0} is there twice")]
    OperationTwice(u32),
    #[error("operation {id}: {why}")]
    Operation { id: u32, why: &'static str },
    #[error("operations {first} and {second} have the same BFD neighbour")]
    NeighbourTwice { first: u32, second: u32 },
    #[error("track object {0} is there twice")]
    ObjectTwice(u32),
    #[error("track object {id}: {why}")]
    Object { id: u32, why: &'static str },
    #[error("track object {id} follows operation {operation}, which does not exist")]
    NoOperation { id: u32, operation: u32 },
    #[error("track object {id} has the member {member}, which does not exist")]
    NoMember { id: u32, member: u32 },
    #[error("track object {0} depends on itself")]
    Cycle(u32),
    #[error("the route {prefix} follows track object {track}, which does not exist")]
    NoTrack { prefix: IpPrefix, track: u32 },
    #[error("the route {prefix}: {why}")]
    Route { prefix: IpPrefix, why: &'static str },
}

impl Config {
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        order(self).map(drop)
    }
}

/// The objects in an order in which each comes after all that it depends on, as indices.
pub(crate) fn order(config: &Config) -> Result<Vec<usize>, ConfigError> {
    let bounds = [
        ("operations", config.operations.len(), OPERATIONS_MAX),
        ("track objects", config.objects.len(), OBJECTS_MAX),
        ("routes", config.routes.len(), ROUTES_MAX),
    ];
    if let Some((what, _, max)) = bounds.into_iter().find(|(_, len, max)| len > max) {
        return Err(ConfigError::TooMany { what, max });
    }
    let operations = operations(&config.operations)?;
    let mut places = HashMap::new();
    for (place, object) in config.objects.iter().enumerate() {
        if places.insert(object.id, place).is_some() {
            return Err(ConfigError::ObjectTwice(object.id));
        }
    }
    for object in &config.objects {
        check_object(object, &operations, &places)?;
    }
    let mut followed: HashMap<IpPrefix, Vec<u32>> = HashMap::new();
    let mut tables: HashMap<IpPrefix, &Table> = HashMap::new();
    for route in &config.routes {
        let refuse = |why| Err(ConfigError::Route { prefix: route.prefix, why });
        if route.distance == 0 {
            return refuse("the distance is 0");
        }
        if *tables.entry(route.prefix).or_insert(&route.table) != &route.table {
            return refuse("its routes are in several tables");
        }
        if route.table != Table::Main && matches!(route.next, NextHop::Tunnel(_)) {
            return refuse("a tunnel's route is in the main table");
        }
        if let NextHop::Via { hop, .. } = &route.next
            && hop.is_ipv4() != route.prefix.addr().is_ipv4()
        {
            return refuse("its next hop is of the other address family");
        }
        if let Some(track) = route.track {
            if !places.contains_key(&track) {
                return Err(ConfigError::NoTrack { prefix: route.prefix, track });
            }
            followed.entry(route.prefix).or_default().push(track);
        }
    }
    sort(&config.objects, &places, &followed)
}

/// Depth first, with a stack of its own.
fn sort(
    objects: &[Object],
    places: &HashMap<u32, usize>,
    followed: &HashMap<IpPrefix, Vec<u32>>,
) -> Result<Vec<usize>, ConfigError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let below = |place: usize| -> Vec<usize> {
        let what = objects.get(place).map(|o| &o.what);
        let ids = match what {
            Some(What::RoutePresent { prefix }) => followed.get(prefix).cloned().unwrap_or_default(),
            Some(what) => members(what).collect(),
            None => Vec::new(),
        };
        ids.iter().filter_map(|id| places.get(id).copied()).collect()
    };
    let mut marks = vec![Mark::New; objects.len()];
    let mut out = Vec::with_capacity(objects.len());
    for root in 0..objects.len() {
        let mut stack = vec![(root, false)];
        while let Some((place, left)) = stack.pop() {
            if left {
                marks[place] = Mark::Done;
                out.push(place);
                continue;
            }
            match marks[place] {
                Mark::Done => continue,
                Mark::Open => return Err(ConfigError::Cycle(objects[place].id)),
                Mark::New => {}
            }
            marks[place] = Mark::Open;
            stack.push((place, true));
            for member in below(place) {
                match marks[member] {
                    Mark::New => stack.push((member, false)),
                    Mark::Open => return Err(ConfigError::Cycle(objects[member].id)),
                    Mark::Done => {}
                }
            }
        }
    }
    Ok(out)
}

/// The objects that a list object is made of.
pub(crate) fn members(what: &What) -> impl Iterator<Item = u32> + '_ {
    let (list, weighted, one): (&[u32], &[(u32, u32)], Option<u32>) = match what {
        What::And(list) | What::Or(list) | What::Percentage { members: list, .. } => (list, &[], None),
        What::Weight { members, .. } => (&[], members, None),
        What::Not(member) => (&[], &[], Some(*member)),
        What::Reachability { .. }
        | What::OperationState { .. }
        | What::LineProtocol { .. }
        | What::RoutePresent { .. } => (&[], &[], None),
    };
    list.iter().copied().chain(weighted.iter().map(|(id, _)| *id)).chain(one)
}

fn operations(list: &[Operation]) -> Result<HashSet<u32>, ConfigError> {
    let mut ids = HashSet::new();
    let mut neighbours = HashMap::new();
    for operation in list {
        let id = operation.id;
        if !ids.insert(id) {
            return Err(ConfigError::OperationTwice(id));
        }
        if let Some(why) = wrong(operation) {
            return Err(ConfigError::Operation { id, why });
        }
        if let Probe::Bfd { target, .. } = operation.probe
            && let Some(first) = neighbours.insert(target, id)
        {
            return Err(ConfigError::NeighbourTwice { first, second: id });
        }
    }
    Ok(ids)
}

fn wrong(operation: &Operation) -> Option<&'static str> {
    if operation.up_count == 0 || operation.down_count == 0 {
        return Some("a count is 0");
    }
    let (target, series) = match &operation.probe {
        Probe::Bfd { transmit, receive, multiplier, target } => {
            if *multiplier == 0 {
                return Some("the multiplier is 0");
            }
            if *transmit < PERIOD_MIN || *receive < PERIOD_MIN {
                return Some("an interval is shorter than 10 ms");
            }
            if operation.source.is_some_and(|s| s.is_ipv4() != target.is_ipv4()) {
                return Some("source and target are of different address families");
            }
            return None;
        }
        Probe::IcmpEcho { target } => (*target, Duration::ZERO),
        Probe::IcmpJitter { target, packets, interval } => {
            if *packets == 0 || *packets > 1000 {
                return Some("a series has 1 to 1000 packets");
            }
            if *interval < PERIOD_MIN {
                return Some("the interval of the series is shorter than 10 ms");
            }
            (*target, *interval * u32::from(packets - 1))
        }
        Probe::TcpConnect { target } | Probe::UdpEcho { target } => (target.ip(), Duration::ZERO),
        Probe::Dns { server, .. } | Probe::Http { server, .. } => (server.ip(), Duration::ZERO),
    };
    if operation.frequency < PERIOD_MIN || operation.timeout.is_zero() {
        return Some("the frequency is shorter than 10 ms, or the timeout is 0");
    }
    if series + operation.timeout > operation.frequency {
        return Some("timeout and series together are longer than the frequency");
    }
    let other_family = operation.source.is_some_and(|s| s.is_ipv4() != target.is_ipv4());
    other_family.then_some("source and target are of different address families")
}

fn check_object(
    object: &Object,
    operations: &HashSet<u32>,
    places: &HashMap<u32, usize>,
) -> Result<(), ConfigError> {
    let id = object.id;
    let refuse = |why| Err(ConfigError::Object { id, why });
    match &object.what {
        What::Reachability { operation } | What::OperationState { operation }
            if !operations.contains(operation) =>
        {
            return Err(ConfigError::NoOperation { id, operation: *operation });
        }
        What::Weight { up, down, .. } if up <= down => {
            return refuse("the threshold up is not above that of down");
        }
        What::Percentage { up, down, .. } if up <= down || *up > 100 => {
            return refuse("the threshold up is above 100 %, or not above that of down");
        }
        What::And(list) | What::Or(list) | What::Percentage { members: list, .. } if list.is_empty() => {
            return refuse("the list is empty");
        }
        _ => {}
    }
    let mut seen = HashSet::new();
    for member in members(&object.what) {
        if !places.contains_key(&member) {
            return Err(ConfigError::NoMember { id, member });
        }
        if !seen.insert(member) {
            return refuse("a member is there twice");
        }
    }
    if seen.len() > MEMBERS_MAX {
        return Err(ConfigError::TooMany { what: "members of one track object", max: MEMBERS_MAX });
    }
    match object.damping {
        Some(Damping { half_life, suppress, reuse, suppress_max }) => {
            if half_life.is_zero() || suppress_max < half_life {
                return refuse("the half-life is 0, or longer than the longest suppression");
            }
            if reuse == 0 || suppress <= reuse {
                return refuse("suppress is not above reuse, or reuse is 0");
            }
            let half_lives = suppress_max.as_secs_f64() / half_life.as_secs_f64();
            if f64::from(reuse) * half_lives.exp2() <= f64::from(suppress) {
                return refuse("the longest suppression is so short that no penalty reaches suppress");
            }
            Ok(())
        }
        None => Ok(()),
    }
}
