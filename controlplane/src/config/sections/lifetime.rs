//! `ike.lifetime`: how long SAs live. Each is renewed at nine tenths of it or a little earlier.

use super::seconds;
use crate::config::diagnostic::Problem;
use crate::config::reader::{Item, Table};
use sipsec_ike::Lifetime;

/// IOS: `set security-association lifetime kilobytes` takes 2560 to 4294967295.
const KB_MIN: u32 = 2560;
/// As long as an IKE SA of IOS may live.
const SECONDS: std::ops::RangeInclusive<u32> = 120..=86_400;

#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub ike: Lifetime,
    pub child: Lifetime,
}

pub fn read(table: &Table<'_>) -> Option<Lifetimes> {
    let Some(item) = table.optional("lifetime") else {
        return Some(Lifetimes { ike: Lifetime::IKE, child: Lifetime::CHILD });
    };
    let table = item.table()?;
    let ike = seconds(&table, "ike_s", Lifetime::IKE.hard.as_secs(), SECONDS);
    let child = seconds(&table, "child_s", Lifetime::CHILD.hard.as_secs(), SECONDS);
    let bytes = match table.optional("child_kb") {
        Some(item) => kilobytes(&item),
        None => Some(Lifetime::CHILD.hard_bytes_max),
    };
    table.finish();
    Some(Lifetimes { ike: Lifetime::of(ike?, 0), child: Lifetime::of(child?, bytes?) })
}

fn kilobytes(item: &Item<'_>) -> Option<u64> {
    let kb = item.int(0..=u32::MAX)?;
    if (1..KB_MIN).contains(&kb) {
        let message = format!("`{}` is {kb}: an SA would be renewed every few packets", item.path);
        let problem = Problem::error("config::range", &item.path, message).label("too small");
        item.report(problem.cure(format!("write {KB_MIN} or more, or 0 for no limit")));
        return None;
    }
    Some(u64::from(kb) * 1024)
}
