//! `track:` and `failback:`

use super::item::{Item, Table, all};
use super::prefix::prefix;
use super::sla::Ids;
use super::text::device;
use crate::diagnose::Problem;
use crate::model::{Damping, FailbackSection, TrackEntry, Watch, Weight};
use std::collections::HashSet;
use std::time::Duration;

/// Track objects of one gateway, and members of one list.
pub const TRACKS_MAX: usize = 20_000;
const MEMBERS_MAX: usize = 1024;
const SUPPRESS: u32 = 2000;
const REUSE: u32 = 750;
const KINDS: [&str; 8] = ["sla", "device", "route", "and", "or", "not", "weight", "percentage"];

pub fn read(item: &Item<'_>) -> Option<Vec<TrackEntry>> {
    let wanted = item.list()?.len();
    if wanted > TRACKS_MAX {
        let message = format!("{wanted} tracks are more than {TRACKS_MAX}");
        item.report(Problem::error("track::too-many", &item.path, message).hint("let routes share a track"));
        return None;
    }
    let mut seen = Ids::default();
    all(item, |entry| track(entry, &mut seen))
}

fn track(item: &Item<'_>, seen: &mut Ids) -> Option<TrackEntry> {
    let table = item.table()?;
    let id = seen.claim(&table, "track::duplicate", "track");
    let watch = watch(&table);
    let ms = |key| table.int(key).map(Duration::from_millis);
    let (delay_up, delay_down) = (ms("delay_up_ms"), ms("delay_down_ms"));
    let damping = damping(&table);
    table.finish();
    Some(TrackEntry {
        id: id?,
        watch: watch?,
        delay_up: delay_up?,
        delay_down: delay_down?,
        damping: damping?,
    })
}

/// Exactly one of the kinds.
fn watch(table: &Table<'_>) -> Option<Watch> {
    let given: Vec<&'static str> = KINDS.into_iter().filter(|key| table.optional(key).is_some()).collect();
    let [kind] = given.as_slice() else {
        let (message, hint) = match given.as_slice() {
            [] => (
                format!("`{}` watches nothing", table.path),
                format!("add one of {}", KINDS.map(|key| format!("`{key}`")).join(", ")),
            ),
            more => (
                format!("`{}` has {}", table.path, more.join(" and ")),
                "a track has one of them; join tracks with `and` or `or`".to_owned(),
            ),
        };
        table.report(Problem::error("track::kind", &table.path, message).hint(hint));
        return None;
    };
    let threshold = matches!(*kind, "weight" | "percentage");
    let mut ok = true;
    for (key, has) in [("of", *kind == "sla"), ("up", threshold), ("down", threshold)] {
        if let Some(item) = table.optional(key).filter(|_| !has) {
            let message = format!("`{key}` has no meaning for a track of `{kind}`");
            item.report(Problem::error("track::key", &item.path, message).at_key().hint("remove it"));
            ok = false;
        }
    }
    let item = table.optional(kind)?;
    let watch = match *kind {
        "sla" => Watch::Sla { sla: item.int()?, of: table.word("of")? },
        "device" => Watch::Device { device: device(&item, 0)? },
        "route" => Watch::Route { route: prefix(&item, "track::host-bits")? },
        "and" => Watch::And { and: members(&item)? },
        "or" => Watch::Or { or: members(&item)? },
        "not" => Watch::Not { not: item.int()? },
        "weight" => {
            let weight = all(&item, weight)?;
            distinct(&item, weight.iter().map(|w| w.id))?;
            let sum = weight.iter().map(|w| w.weight).fold(0, u32::saturating_add);
            let (up, down) = limits(table, sum, "sum of the weights")?;
            Watch::Weight { weight, up, down }
        }
        _ => {
            let percentage = members(&item)?;
            let (up, down) = limits(table, 100, "percentage")?;
            Watch::Percentage { percentage, up, down }
        }
    };
    ok.then_some(watch)
}

fn members(item: &Item<'_>) -> Option<Vec<u32>> {
    let list = all(item, Item::int)?;
    distinct(item, list.iter().copied())?;
    Some(list)
}

/// A list has members, each of them once.
fn distinct(item: &Item<'_>, list: impl ExactSizeIterator<Item = u32>) -> Option<()> {
    let wrong = |message: String, hint: &str| {
        item.report(Problem::error("track::members", &item.path, message).hint(hint));
        None
    };
    let count = list.len();
    if count == 0 {
        return wrong(
            format!("`{}` has no members", item.path),
            "write the numbers of tracks, as in [10, 20]",
        );
    }
    if count > MEMBERS_MAX {
        return wrong(format!("{count} members are more than {MEMBERS_MAX}"), "join lists of lists");
    }
    let mut seen = HashSet::new();
    for id in list {
        if !seen.insert(id) {
            return wrong(format!("track {id} is twice in `{}`", item.path), "remove one of the two");
        }
    }
    Some(())
}

fn weight(item: &Item<'_>) -> Option<Weight> {
    let table = item.table()?;
    let (id, weight) = (table.required("id").and_then(|i| i.int()), table.int("weight"));
    table.finish();
    Some(Weight { id: id?, weight: weight? })
}

/// `down` < `up` ≤ the largest that there can be.
fn limits(table: &Table<'_>, max: u32, what: &str) -> Option<(u32, u32)> {
    let Some(up_item) = table.optional("up") else {
        let message = format!("`{}` is missing: a threshold needs it", table.path.key("up"));
        let problem = Problem::error("config::missing", &table.path.key("up"), message).at_key();
        table.report(problem.hint(format!("add `up:` with the {what} from which on the track is up")));
        return None;
    };
    let up: u32 = up_item.int()?;
    let down: u32 = table.int_or_absent("down")?.unwrap_or(up - 1);
    if up > max {
        let message = format!("`up` is {up}, but the {what} is at most {max}: the track would never be up");
        let problem = Problem::error("track::threshold", &up_item.path, message);
        up_item.report(problem.label(format!("at most {max}")).hint(format!("write {max} or less")));
        return None;
    }
    if down >= up {
        let message = format!("`down` is {down}, which is not below `up`, {up}");
        let problem = Problem::error("track::threshold", &table.path.key("down"), message);
        table.report(problem.hint(format!("write {} or less", up - 1)));
        return None;
    }
    Some((up, down))
}

/// All four keys, or those that have a default from the half-life.
fn damping(table: &Table<'_>) -> Option<Option<Damping>> {
    let (half_life, suppress, reuse, max) = (
        table.int_or_absent::<u64>("half_life_s")?,
        table.int_or_absent::<u32>("suppress")?,
        table.int_or_absent::<u32>("reuse")?,
        table.int_or_absent::<u64>("max_suppress_s")?,
    );
    let Some(half_life) = half_life else {
        if suppress.is_some() || reuse.is_some() || max.is_some() {
            let message = format!("`{}` has damping without its half-life", table.path);
            let problem = Problem::error("track::damping", &table.path.key("half_life_s"), message).at_key();
            table.report(
                problem.hint("add `half_life_s: 15`, or remove `suppress`, `reuse` and `max_suppress_s`"),
            );
            return None;
        }
        return Some(None);
    };
    let (suppress, reuse) = (suppress.unwrap_or(SUPPRESS), reuse.unwrap_or(REUSE));
    if reuse >= suppress {
        let message = format!("`reuse` is {reuse}, which is not below `suppress`, {suppress}");
        let problem = Problem::error("track::damping", &table.path.key("reuse"), message);
        table.report(problem.hint(format!("write {} or less: the penalty decays to it", suppress - 1)));
        return None;
    }
    Some(Some(Damping {
        half_life: Duration::from_secs(half_life),
        suppress,
        reuse,
        max_suppress: Duration::from_secs(max.unwrap_or(4 * half_life)),
    }))
}

pub fn failback(item: &Item<'_>) -> Option<FailbackSection> {
    let table = item.table()?;
    let (hold, good_probes) = (table.seconds("hold_s"), table.int("good_probes"));
    let (drain, calls_per_hour) = (table.word("drain"), table.int("calls_per_hour"));
    let (drain_max, drain_quiet) = (table.seconds("drain_s"), table.seconds("drain_quiet_s"));
    table.finish();
    Some(FailbackSection {
        hold: hold?,
        good_probes: good_probes?,
        drain: drain?,
        drain_max: drain_max?,
        drain_quiet: drain_quiet?,
        calls_per_hour: calls_per_hour?,
    })
}
