//! Tracks: what they name exists, and none depends on itself.

use crate::diagnose::{Problem, Sink};
use crate::model::{Operation, Profile, Start, Watch};
use crate::read::KeyPath;
use std::collections::HashMap;

pub fn check(profile: &Profile, sink: &Sink) {
    let operations: HashMap<u32, &Operation> = profile.sla.iter().map(|o| (o.id, o)).collect();
    let places: HashMap<u32, usize> = profile.track.iter().zip(0..).map(|(t, i)| (t.id, i)).collect();
    let root = KeyPath::dotted("track");
    for (i, track) in profile.track.iter().enumerate().take_while(|_| !sink.is_full()) {
        let at = root.index(i);
        if let Watch::Sla { sla, .. } = track.watch {
            match operations.get(&sla) {
                None => {
                    let message =
                        format!("track {} watches operation {sla}, which `sla` does not have", track.id);
                    let known = some_of(profile.sla.iter().map(|o| o.id));
                    let problem = Problem::error("track::unknown-sla", &at.key("sla"), message);
                    sink.push(problem.label("no such operation").hint(added("sla", &known)));
                }
                Some(operation) if operation.start == Start::Pending => {
                    let message = format!(
                        "track {} watches operation {sla}, which is not scheduled: the track stays down",
                        track.id
                    );
                    let problem = Problem::warning("track::pending", &at.key("sla"), message);
                    sink.push(problem.hint("write `start: now` in the operation"));
                }
                Some(_) => {}
            }
        }
        for (member, path) in members(&track.watch, &at) {
            if !places.contains_key(&member) {
                let message = format!("track {} names track {member}, which does not exist", track.id);
                let known = some_of(profile.track.iter().map(|t| t.id));
                let problem = Problem::error("track::unknown", &path, message);
                sink.push(problem.label("no such track").hint(added("track", &known)));
            }
        }
    }
    if let Some(circle) = circle(profile, &places) {
        let first = circle.first().copied().unwrap_or_default();
        let shown: Vec<String> = circle.iter().take(8).map(ToString::to_string).collect();
        let dots = if circle.len() > 8 { " → …" } else { "" };
        let message = format!("track {first} depends on itself: {}{dots} → {first}", shown.join(" → "));
        let at = root.index(places.get(&first).copied().unwrap_or_default());
        let path = profile
            .track
            .iter()
            .find(|t| t.id == first)
            .map_or_else(|| at.clone(), |t| at.key(key(&t.watch)));
        let problem = Problem::error("track::cycle", &path, message);
        sink.push(problem.hint("take one of these tracks out of the list of another"));
    }
}

/// What to do about a number that leads nowhere.
fn added(key: &str, known: &str) -> String {
    match known {
        "" => format!("add it to `{key}`, which is empty"),
        known => format!("add it to `{key}`, or write one of {known}"),
    }
}

/// The first numbers of a list.
pub fn some_of(ids: impl Iterator<Item = u32>) -> String {
    const SHOWN: usize = 8;
    let mut ids: Vec<String> = ids.take(SHOWN + 1).map(|id| id.to_string()).collect();
    if ids.len() > SHOWN {
        ids[SHOWN] = "…".to_owned();
    }
    ids.join(", ")
}

const fn key(watch: &Watch) -> &'static str {
    match watch {
        Watch::Sla { .. } => "sla",
        Watch::Device { .. } => "device",
        Watch::Route { .. } => "route",
        Watch::And { .. } => "and",
        Watch::Or { .. } => "or",
        Watch::Not { .. } => "not",
        Watch::Weight { .. } => "weight",
        Watch::Percentage { .. } => "percentage",
    }
}

/// Each member with its place.
fn members(watch: &Watch, at: &KeyPath) -> Vec<(u32, KeyPath)> {
    let list = at.key(key(watch));
    let place = |i: usize| match watch {
        Watch::Not { .. } => list.clone(),
        Watch::Weight { .. } => list.index(i).key("id"),
        _ => list.index(i),
    };
    watch.members().into_iter().enumerate().map(|(i, id)| (id, place(i))).collect()
}

/// The tracks of one circle, in order. Depth first, without recursion: a chain may be as long as the list.
fn circle(profile: &Profile, places: &HashMap<u32, usize>) -> Option<Vec<u32>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        Open,
        Done,
    }
    let below: Vec<Vec<usize>> = profile
        .track
        .iter()
        .map(|t| t.watch.members().iter().filter_map(|id| places.get(id).copied()).collect())
        .collect();
    let mut seen = vec![Seen::No; below.len()];
    for start in 0..below.len() {
        if seen[start] != Seen::No {
            continue;
        }
        // Each step: a track, and how many of its members were followed.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        seen[start] = Seen::Open;
        while let Some((track, followed)) = path.last_mut() {
            let Some(next) = below[*track].get(*followed).copied() else {
                seen[*track] = Seen::Done;
                path.pop();
                continue;
            };
            *followed += 1;
            match seen[next] {
                Seen::Done => {}
                Seen::No => {
                    seen[next] = Seen::Open;
                    path.push((next, 0));
                }
                Seen::Open => {
                    let from = path.iter().position(|(track, _)| *track == next).unwrap_or_default();
                    return Some(path[from..].iter().map(|(track, _)| profile.track[*track].id).collect());
                }
            }
        }
    }
    None
}
