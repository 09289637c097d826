//! What a change of the profile asks of the dataplane, and what takes it back.

use crate::config::{TunnelConfig, TunnelFilters, TunnelNat, TunnelQos};
use crate::routes::Routes;
use sipsec_net::dp::{OPS_MAX, Op, TunnelSpec};
use sipsec_net::{IpPrefix, TunnelId};
use std::collections::{BTreeMap, HashSet};

/// A tunnel that the dataplane has.
#[derive(Clone, Debug)]
pub struct Present {
    pub spec: TunnelSpec,
    pub qos: TunnelQos,
    pub routes: Vec<IpPrefix>,
    pub filters: TunnelFilters,
    pub nat: TunnelNat,
    /// It has a call: its SAs and its media port are taken away by the end of the call, and the tunnel after them.
    pub busy: bool,
}

/// A tunnel that it shall have.
struct Wanted<'a> {
    spec: TunnelSpec,
    qos: TunnelQos,
    routes: Vec<IpPrefix>,
    filters: &'a TunnelFilters,
    nat: &'a TunnelNat,
}

impl Wanted<'_> {
    const fn id(&self) -> TunnelId {
        self.spec.tunnel
    }
}

/// One transaction.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub ops: Vec<Op>,
    /// The tunnel of each operation.
    pub tunnels: Vec<TunnelId>,
    /// Takes the part back, in this order.
    pub undo: Vec<Op>,
}

/// The dataplane's tables, as the operations so far leave them.
struct Tables<'a> {
    routes: &'a Routes,
    owners: BTreeMap<IpPrefix, TunnelId>,
    specs: BTreeMap<TunnelId, TunnelSpec>,
    filters: BTreeMap<TunnelId, TunnelFilters>,
    qos: BTreeMap<TunnelId, TunnelQos>,
}

/// Operations of one transaction, and their inverse.
type Step = (TunnelId, Vec<Op>, Vec<Op>);

impl Tables<'_> {
    fn route_op(&self, prefix: IpPrefix, tunnel: TunnelId) -> Op {
        Op::RouteAdd { prefix, tunnel, adjacency: self.routes.adjacency(prefix) }
    }

    fn add(&mut self, tunnel: &Wanted<'_>) -> Step {
        let (id, spec) = (tunnel.id(), tunnel.spec);
        self.specs.insert(id, spec);
        self.filters.insert(id, tunnel.filters.clone());
        let ops = std::iter::once(Op::TunnelAdd(spec)).chain(tunnel.filters.ops(id)).collect();
        (id, ops, vec![Op::TunnelRemove(id)])
    }

    fn filter(&mut self, tunnel: &Wanted<'_>) -> Option<Step> {
        let id = tunnel.id();
        let before = self.filters.insert(id, tunnel.filters.clone()).unwrap_or_default();
        (before != *tunnel.filters).then(|| (id, tunnel.filters.replace(id), before.replace(id)))
    }

    fn set(&mut self, spec: TunnelSpec) -> Option<Step> {
        let before = self.specs.insert(spec.tunnel, spec).filter(|before| *before != spec)?;
        Some((spec.tunnel, vec![Op::TunnelSet(spec)], vec![Op::TunnelSet(before)]))
    }

    fn qos(&mut self, qos: &TunnelQos) -> Option<Step> {
        let tunnel = qos.spec.tunnel;
        let before = self.qos.insert(tunnel, qos.clone()).unwrap_or_else(|| TunnelQos::plain(tunnel));
        if before.spec == qos.spec && before.filters == qos.filters {
            return None;
        }
        Some((tunnel, qos.ops().collect(), before.ops().collect()))
    }

    fn route(&mut self, prefix: IpPrefix, tunnel: TunnelId) -> Option<Step> {
        let undo = match self.owners.insert(prefix, tunnel) {
            Some(before) if before == tunnel => return None,
            Some(before) => self.route_op(prefix, before),
            None => Op::RouteRemove { prefix },
        };
        Some((tunnel, vec![self.route_op(prefix, tunnel)], vec![undo]))
    }

    fn unroute(&mut self, prefix: IpPrefix, tunnel: TunnelId) -> Option<Step> {
        (self.owners.get(&prefix) == Some(&tunnel)).then(|| {
            self.owners.remove(&prefix);
            (tunnel, vec![Op::RouteRemove { prefix }], vec![self.route_op(prefix, tunnel)])
        })
    }

    /// With the routes that it has.
    fn remove(&mut self, tunnel: TunnelId, Present { routes, nat, .. }: &Present) -> Option<Step> {
        let spec = self.specs.remove(&tunnel)?;
        let mut undo = vec![Op::TunnelAdd(spec)];
        undo.extend(self.filters.remove(&tunnel).unwrap_or_default().ops(tunnel));
        if let Some(qos) = self.qos.remove(&tunnel).filter(|qos| !qos.is_initial()) {
            undo.extend(qos.ops());
        }
        for &prefix in routes {
            if self.owners.get(&prefix) == Some(&tunnel) {
                self.owners.remove(&prefix);
                undo.push(self.route_op(prefix, tunnel));
            }
        }
        undo.extend(nat.ops(tunnel));
        Some((tunnel, vec![Op::TunnelRemove(tunnel)], undo))
    }
}

/// Rules are replaced as a whole. What takes them back stands with their removal, which is the last to be taken back.
fn translate(tunnel: TunnelId, before: &TunnelNat, after: &TunnelNat) -> Vec<Step> {
    if before.rules == after.rules {
        let others = before.policy != after.policy && !after.rules.is_empty();
        let (new, old) = (Op::NatPolicy(after.policy), Op::NatPolicy(before.policy));
        return others.then(|| (tunnel, vec![new], vec![old])).into_iter().collect();
    }
    let undo = [Op::NatRemove(tunnel)].into_iter().chain(before.ops(tunnel)).collect();
    let remove = (tunnel, vec![Op::NatRemove(tunnel)], undo);
    let add = after.ops(tunnel).into_iter().map(|op| (tunnel, vec![op], Vec::new()));
    [remove].into_iter().chain(add).collect()
}

/// From the tunnels that the dataplane has to those that it shall have. Removals that free room come first; a prefix that
/// moves gets its new owner before the old one goes, so that it is never without one.
pub fn plan(present: &BTreeMap<TunnelId, Present>, wanted: &[TunnelConfig], routes: &Routes) -> Vec<Part> {
    let mut owned = routes.owned(wanted.iter());
    let wanted: Vec<Wanted> = wanted
        .iter()
        .map(|t| Wanted {
            spec: t.spec,
            routes: owned.remove(&t.id()).unwrap_or_default(),
            filters: &t.filters,
            nat: &t.nat,
            qos: t.qos.clone(),
        })
        .collect();
    let owner = |(id, p): (&TunnelId, &Present)| p.routes.iter().map(|r| (*r, *id)).collect::<Vec<_>>();
    let mut tables = Tables {
        routes,
        owners: present.iter().flat_map(owner).collect(),
        specs: present.iter().map(|(id, p)| (*id, p.spec)).collect(),
        filters: present.iter().map(|(id, p)| (*id, p.filters.clone())).collect(),
        qos: present.iter().map(|(id, p)| (*id, p.qos.clone())).collect(),
    };
    let stays: HashSet<TunnelId> = wanted.iter().map(Wanted::id).collect();
    let claimed: HashSet<IpPrefix> = wanted.iter().flat_map(|t| t.routes.iter().copied()).collect();
    let gone: Vec<_> = present.iter().filter(|(id, _)| !stays.contains(id)).collect();
    let (early, late): (Vec<_>, Vec<_>) =
        gone.into_iter().partition(|(_, p)| !p.busy && !p.routes.iter().any(|r| claimed.contains(r)));
    let mut steps: Vec<Step> = Vec::new();
    for (id, p) in early {
        steps.extend(tables.remove(*id, p));
    }
    for tunnel in &wanted {
        match present.contains_key(&tunnel.id()) {
            true => {
                steps.extend(tables.set(tunnel.spec));
                steps.extend(tables.filter(tunnel));
            }
            false => steps.push(tables.add(tunnel)),
        }
        steps.extend(tables.qos(&tunnel.qos));
    }
    for tunnel in &wanted {
        steps.extend(tunnel.routes.iter().filter_map(|prefix| tables.route(*prefix, tunnel.id())));
    }
    for tunnel in &wanted {
        let before = present.get(&tunnel.id()).map_or(&[][..], |p| &p.routes);
        let dropped = before.iter().filter(|prefix| !tunnel.routes.contains(prefix));
        steps.extend(dropped.filter_map(|prefix| tables.unroute(*prefix, tunnel.id())));
    }
    for tunnel in &wanted {
        let before = present.get(&tunnel.id()).map_or_else(TunnelNat::default, |p| p.nat.clone());
        steps.extend(translate(tunnel.id(), &before, tunnel.nat));
    }
    for (id, p) in late {
        if p.busy {
            steps.extend(p.routes.iter().filter_map(|prefix| tables.unroute(*prefix, *id)));
        } else {
            steps.extend(tables.remove(*id, p));
        }
    }
    parts(steps)
}

fn parts(steps: Vec<Step>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    // The inverse of each step of the last part.
    let mut undone: Vec<Vec<Op>> = Vec::new();
    let end = |parts: &mut Vec<Part>, undone: &mut Vec<Vec<Op>>| {
        if let Some(part) = parts.last_mut() {
            part.undo = undone.drain(..).rev().flatten().collect();
        }
    };
    for (tunnel, ops, undo) in steps {
        if parts.last().is_none_or(|part| part.ops.len() + ops.len() > OPS_MAX) {
            end(&mut parts, &mut undone);
            parts.push(Part::default());
        }
        let Some(part) = parts.last_mut() else { continue };
        part.tunnels.extend(std::iter::repeat_n(tunnel, ops.len()));
        part.ops.extend(ops);
        undone.push(undo);
    }
    end(&mut parts, &mut undone);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipsec_net::nat::NatRule;
    use sipsec_net::qos::{ClassSpec, Filter, QosSpec};

    fn tunnel(id: u32, routes: &[&str]) -> TunnelConfig {
        let number = |text: &str| text.parse().expect("a number");
        let (local, remote) = (number("0388881001"), number(&format!("03888820{id:02}")));
        let spec = TunnelSpec::new(TunnelId(id), 1400);
        TunnelConfig {
            routes: routes.iter().map(|r| r.parse().expect("a prefix")).collect(),
            ..TunnelConfig::new(format!("Tunnel{id}"), spec, local, remote)
        }
    }

    fn present(tunnels: &[TunnelConfig], busy: &[u32]) -> BTreeMap<TunnelId, Present> {
        let one = |t: &TunnelConfig| {
            let busy = busy.contains(&t.id().0);
            (
                t.id(),
                Present {
                    spec: t.spec,
                    qos: t.qos.clone(),
                    routes: t.routes.clone(),
                    filters: t.filters.clone(),
                    nat: t.nat.clone(),
                    busy,
                },
            )
        };
        tunnels.iter().map(one).collect()
    }

    /// The tables of a dataplane.
    type State = (
        BTreeMap<TunnelId, TunnelSpec>,
        BTreeMap<IpPrefix, TunnelId>,
        BTreeMap<TunnelId, (QosSpec, Vec<Filter>)>,
    );

    fn state(tunnels: &BTreeMap<TunnelId, Present>) -> State {
        let routes = tunnels.iter().flat_map(|(id, p)| p.routes.iter().map(|r| (*r, *id)));
        let qos = tunnels.iter().map(|(id, p)| (*id, (p.qos.spec, p.qos.filters.clone())));
        (tunnels.iter().map(|(id, p)| (*id, p.spec)).collect(), routes.collect(), qos.collect())
    }

    fn obey(state: &mut State, ops: &[Op]) {
        for op in ops {
            match op {
                Op::TunnelAdd(spec) => {
                    assert!(state.0.insert(spec.tunnel, *spec).is_none(), "{op:?}");
                    state.2.insert(spec.tunnel, (QosSpec::new(spec.tunnel), Vec::new()));
                }
                Op::TunnelQos(spec) => {
                    assert!(state.2.insert(spec.tunnel, (*spec, Vec::new())).is_some(), "{op:?}");
                }
                Op::TunnelQosFilters(more) => {
                    let (_, filters) = state.2.get_mut(&more.tunnel).expect("a tunnel");
                    filters.extend(more.filters.iter().flatten());
                }
                Op::TunnelSet(spec) => assert!(state.0.insert(spec.tunnel, *spec).is_some(), "{op:?}"),
                Op::TunnelRemove(id) => {
                    assert!(state.0.remove(id).is_some(), "{op:?}");
                    state.2.remove(id);
                    state.1.retain(|_, owner| owner != id);
                }
                Op::RouteAdd { prefix, tunnel, .. } => {
                    assert!(state.0.contains_key(tunnel), "{op:?}");
                    state.1.insert(*prefix, *tunnel);
                }
                Op::RouteRemove { prefix } => assert!(state.1.remove(prefix).is_some(), "{op:?}"),
                other => panic!("{other:?}"),
            }
        }
    }

    /// What the change does, and that each prefix of it can be taken back from every part on.
    fn check(present: &BTreeMap<TunnelId, Present>, wanted: &[TunnelConfig]) -> State {
        let before = state(present);
        let parts = plan(present, wanted, &Routes::default());
        for done in 0..=parts.len() {
            let mut now = before.clone();
            parts[..done].iter().for_each(|part| obey(&mut now, &part.ops));
            parts[..done].iter().rev().for_each(|part| obey(&mut now, &part.undo));
            assert_eq!(now, before, "after {done} parts");
        }
        let mut after = before;
        parts.iter().for_each(|part| obey(&mut after, &part.ops));
        assert!(parts.iter().all(|p| p.ops.len() <= OPS_MAX && p.ops.len() == p.tunnels.len()));
        after
    }

    #[test]
    fn what_stays_the_same_asks_for_nothing() {
        let all = [tunnel(1, &["10.1.0.0/16"]), tunnel(2, &["10.2.0.0/16"])];
        assert!(plan(&present(&all, &[]), &all, &Routes::default()).is_empty());
    }

    #[test]
    fn a_prefix_that_moves_always_has_an_owner() {
        let (a, b) = (tunnel(1, &["10.1.0.0/16"]), tunnel(2, &["10.1.0.0/16", "10.2.0.0/16"]));
        let parts =
            plan(&present(std::slice::from_ref(&a), &[]), std::slice::from_ref(&b), &Routes::default());
        let names: Vec<_> = parts[0]
            .ops
            .iter()
            .map(|op| format!("{op:?}").split(['(', ' ']).next().expect("a name").to_owned())
            .collect();
        assert_eq!(names, ["TunnelAdd", "RouteAdd", "RouteAdd", "TunnelRemove"]);
        let after = check(&present(&[a], &[]), std::slice::from_ref(&b));
        assert_eq!(after, state(&present(&[b], &[])));
    }

    #[test]
    fn rules_of_translation_are_replaced_as_a_whole_and_taken_back() {
        let exempt = |n: u8| NatRule::Exempt {
            source: IpPrefix::new([10, n, 0, 0].into(), 16).expect("a prefix"),
            destination: IpPrefix::ANY_V4,
        };
        let with = |rules: Vec<NatRule>| {
            let mut t = tunnel(1, &[]);
            t.nat.rules = rules;
            t
        };
        let names = |ops: &[Op]| -> Vec<String> {
            ops.iter()
                .map(|op| format!("{op:?}").split(['(', ' ']).next().unwrap_or_default().to_owned())
                .collect()
        };
        let plan_of = |before: &TunnelConfig, after: &TunnelConfig| {
            let parts = plan(
                &present(std::slice::from_ref(before), &[]),
                std::slice::from_ref(after),
                &Routes::default(),
            );
            (
                parts.iter().flat_map(|p| names(&p.ops)).collect::<Vec<_>>(),
                parts.iter().flat_map(|p| names(&p.undo)).collect::<Vec<_>>(),
            )
        };
        let (one, two) = (with(vec![exempt(1)]), with(vec![exempt(1), exempt(2)]));
        let (ops, undo) = plan_of(&one, &two);
        assert_eq!(ops, ["NatRemove", "NatPolicy", "NatRule", "NatRule"]);
        assert_eq!(undo, ["NatRemove", "NatPolicy", "NatRule"]);
        assert_eq!(plan_of(&two, &two).0, Vec::<String>::new());
        assert_eq!(plan_of(&two, &with(Vec::new())).0, ["NatRemove"]);
        let mut other = two.clone();
        other.nat.policy.block_ports = 64;
        assert_eq!(plan_of(&two, &other).0, ["NatPolicy"]);
        let parts = plan(&present(std::slice::from_ref(&two), &[]), &[], &Routes::default());
        assert_eq!(names(&parts[0].undo), ["TunnelAdd", "NatPolicy", "NatRule", "NatRule"]);
    }

    #[test]
    fn a_tunnel_with_a_call_stays_until_its_end_without_routes() {
        let (a, b) = (tunnel(1, &["10.1.0.0/16", "10.3.0.0/16"]), tunnel(2, &["10.3.0.0/16"]));
        let after = check(&present(&[a, b.clone()], &[1]), std::slice::from_ref(&b));
        assert!(after.0.contains_key(&TunnelId(1)) && after.1.values().all(|owner| *owner == TunnelId(2)));
    }

    #[test]
    fn changes_of_every_size_can_be_taken_back_from_every_part_on() {
        let prefix = |n: u32| format!("10.{}.{}.0/24", n / 256, n % 256);
        let many = |ids: std::ops::Range<u32>, shift: u32| -> Vec<TunnelConfig> {
            let one = |id| {
                let mut t = tunnel(id, &[&prefix(id + shift), &prefix(1000 + id)]);
                t.spec.inner_mtu = 1400 - (id + shift) as u16 % 7;
                if (id + shift).is_multiple_of(3) {
                    let classes = [ClassSpec::default(); 3];
                    t.qos.spec = QosSpec::new(t.id()).with_classes(&classes).expect("few");
                    t.qos.filters =
                        (0..(id + shift) as usize % 20).map(|n| Filter::any(n as u8 % 3)).collect();
                }
                t
            };
            ids.map(one).collect()
        };
        for (before, after) in
            [(0..0, 1..200), (1..200, 0..0), (1..200, 100..300), (1..200, 1..200), (1..100, 50..60)]
        {
            for shift in [0, 1, 60] {
                let (old, new) = (many(before.clone(), 0), many(after.clone(), shift));
                let busy: Vec<u32> = before.clone().step_by(3).collect();
                let idle = check(&present(&old, &[]), &new);
                assert_eq!(idle, state(&present(&new, &[])), "{before:?} {after:?} {shift}");
                check(&present(&old, &busy), &new);
            }
        }
    }

    /// A filter is never half there: each change of it is in one transaction, and so is what takes it back.
    #[test]
    fn filters_change_in_one_piece() {
        use sipsec_net::filter::{FILTER_RULES_MAX, FilterRule};
        let with = |n: usize| TunnelFilters {
            trigger: vec![FilterRule::ANY; n],
            idle: vec![FilterRule { permit: false, ..FilterRule::ANY }; n],
        };
        let many = |n: usize| -> Vec<TunnelConfig> {
            (1..20).map(|id| TunnelConfig { filters: with(n), ..tunnel(id, &[]) }).collect()
        };
        let ops = |parts: &[Part]| -> Vec<usize> { parts.iter().map(|p| p.ops.len()).collect() };
        let there = |list: &[TunnelConfig]| present(list, &[]);
        assert!(plan(&there(&many(3)), &many(3), &Routes::default()).is_empty());
        let changed = plan(&there(&many(3)), &many(FILTER_RULES_MAX), &Routes::default());
        assert_eq!(ops(&changed), [2 + 2 * FILTER_RULES_MAX; 19], "two of them do not fit one transaction");
        assert!(changed.iter().all(|p| p.undo.len() == 2 + 2 * 3 && p.tunnels.len() == p.ops.len()));
        let removed = plan(&there(&many(2)), &many(0), &Routes::default());
        assert_eq!(ops(&removed), [38]);
        assert_eq!(removed[0].undo.len(), 19 * (2 + 4));
        let added = plan(&BTreeMap::new(), &many(1), &Routes::default());
        assert_eq!(ops(&added), [57]);
    }
}
