//! Where the core keeps what a configuration names, and what depends on what.

use crate::check::members;
use crate::config::{Config, NextHop, Probe, Table, What};
use crate::object::Object;
use crate::rib::Entry;
use sipsec_net::IpPrefix;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// From ids to indices.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub operations: HashMap<u32, usize>,
    pub objects: HashMap<u32, usize>,
    pub prefixes: HashMap<IpPrefix, usize>,
    pub neighbours: HashMap<IpAddr, usize>,
    /// The place of each object in the order of computation.
    pub ranks: Vec<usize>,
}

/// What has to be computed again after a change.
#[derive(Debug, Default)]
pub(crate) struct Dependents {
    pub of_operation: Vec<Vec<usize>>,
    pub of_object: Vec<Vec<usize>>,
    pub of_device: BTreeMap<String, Vec<usize>>,
    pub of_prefix: HashMap<IpPrefix, Vec<usize>>,
    /// Prefixes whose routes follow an object, or leave by a device.
    pub routes_of_object: Vec<Vec<usize>>,
    pub routes_of_device: BTreeMap<String, Vec<usize>>,
    /// Prefixes with a route to a next hop, and the next hops.
    pub with_next_hop: Vec<usize>,
    pub next_hops: BTreeSet<IpAddr>,
}

impl Places {
    /// Of a configuration whose objects are computed in this order.
    pub fn of(config: &Config, order: Vec<usize>) -> Self {
        let mut places = Self { ranks: vec![0; order.len()], ..Self::default() };
        for (rank, place) in order.into_iter().enumerate() {
            places.ranks[place] = rank;
        }
        for (place, operation) in config.operations.iter().enumerate() {
            places.operations.insert(operation.id, place);
            if let Probe::Bfd { target, .. } = operation.probe {
                places.neighbours.insert(target, place);
            }
        }
        places.objects = config.objects.iter().enumerate().map(|(place, o)| (o.id, place)).collect();
        for route in &config.routes {
            let next = places.prefixes.len();
            places.prefixes.entry(route.prefix).or_insert(next);
        }
        places
    }
}

impl Dependents {
    pub fn of(objects: &[Object], entries: &[Entry], places: &Places) -> Self {
        let mut out = Self {
            of_operation: vec![Vec::new(); places.operations.len()],
            of_object: vec![Vec::new(); objects.len()],
            routes_of_object: vec![Vec::new(); objects.len()],
            ..Self::default()
        };
        for (place, object) in objects.iter().enumerate() {
            match &object.config().what {
                What::Reachability { operation } | What::OperationState { operation } => {
                    if let Some(operation) = places.operations.get(operation) {
                        out.of_operation[*operation].push(place);
                    }
                }
                What::LineProtocol { device } => out.of_device.entry(device.clone()).or_default().push(place),
                What::RoutePresent { prefix } => out.of_prefix.entry(*prefix).or_default().push(place),
                list => {
                    for member in members(list).filter_map(|m| places.objects.get(&m)) {
                        out.of_object[*member].push(place);
                    }
                }
            }
        }
        for (place, entry) in entries.iter().enumerate() {
            let mut by_next_hop = false;
            for route in entry.routes() {
                if let Table::Vrf(vrf) = &route.table {
                    out.routes_of_device.entry(vrf.clone()).or_default().push(place);
                }
                if let Some(object) = route.track.and_then(|id| places.objects.get(&id))
                    && out.routes_of_object[*object].last() != Some(&place)
                {
                    out.routes_of_object[*object].push(place);
                }
                match &route.next {
                    NextHop::Device(device) => {
                        out.routes_of_device.entry(device.clone()).or_default().push(place);
                    }
                    NextHop::Via { hop, .. } => {
                        out.next_hops.insert(*hop);
                        by_next_hop = true;
                    }
                    NextHop::Tunnel(_) | NextHop::Discard => {}
                }
            }
            if by_next_hop {
                out.with_next_hop.push(place);
            }
        }
        out
    }
}
