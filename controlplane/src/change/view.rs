//! Differences and the history in the words of the API, with what a lost call costs.

use super::history::History;
use super::{Call, State};
use crate::api::change::{Difference, KeyChange, LostCall, Version};
use crate::config::Profile;
use sipsec_profile::change::{Change, Diff, locked};
use sipsec_profile::check::tariff;
use sipsec_profile::model::Tariff;
use sipsec_profile::schema::Takes;

/// What has to be restarted for a key.
pub fn restarts(path: &str) -> &'static str {
    match path.split(['.', '[']).next() {
        Some("dataplane" | "gateway" | "runtime_dir") => "both processes",
        _ => "the control plane",
    }
}

pub fn key_change(change: &Change) -> KeyChange {
    KeyChange {
        path: change.path.clone(),
        before: change.before.clone(),
        after: change.after.clone(),
        takes: change.takes.word().to_owned(),
        restarts: (change.takes == Takes::Restart).then(|| restarts(&change.path).to_owned()),
    }
}

pub fn difference(diff: &Diff, state: &State, new: &Profile) -> Difference {
    let old = &state.profile;
    let kept: std::collections::HashMap<usize, usize> = diff.kept.iter().copied().collect();
    let charges = new.sip.tariff == Tariff::DataConnect;
    let lost = |(i, reasons): (&usize, &Vec<String>)| {
        let tunnel = &old.tunnels[*i];
        let call = state.calls.get(&tunnel.name)?;
        // A removed tunnel places no call any more.
        let next = kept.get(i).map(|j| new.tunnels[*j].bandwidth.min(call.rate));
        Some(LostCall {
            interface: tunnel.name.clone(),
            remote_number: tunnel.remote_number.to_string(),
            reasons: reasons.clone(),
            kbps: call.rate.0,
            charged_s: call.charged.map(|d| d.as_secs()),
            paid_left_s: paid_left(*call).filter(|_| charges),
            again_yen: next.filter(|_| charges).map_or(0, |rate| tariff::yen(rate, 1)),
        })
    };
    Difference {
        locked: locked(old, diff),
        changes: diff.changes.iter().map(key_change).collect(),
        tunnels_added: diff.added.len() as u64,
        tunnels_removed: diff.removed.len() as u64,
        tunnels_changed: diff.changed() as u64,
        calls: diff.bounced.iter().filter_map(lost).collect(),
    }
}

/// Seconds of the unit that the carrier has charged already.
fn paid_left(call: Call) -> Option<u64> {
    let (unit, charged) = (tariff::unit_s(call.rate), call.charged?.as_secs());
    Some((unit - charged % unit) % unit)
}

pub fn versions(history: &History, now_unix_s: u64) -> Vec<Version> {
    let waits = history.unconfirmed();
    let one = |entry: &super::history::Entry| Version {
        number: entry.number,
        unix_s: entry.unix_s,
        author: entry.author.clone(),
        summary: entry.summary.clone(),
        file: entry.file.clone(),
        running: entry.number == history.current(),
        start: entry.number == history.start(),
        confirm_within_s: waits
            .filter(|w| w.number == entry.number)
            .map(|w| w.until_unix_s.saturating_sub(now_unix_s)),
    };
    history.entries().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipsec_net::Kbps;
    use std::time::Duration;

    #[test]
    fn the_process_that_reads_a_key_is_named() {
        for (path, process) in [
            ("dataplane.frames", "both processes"),
            ("gateway", "both processes"),
            ("sip.registrar", "the control plane"),
            ("track[1].delay_up_ms", "the control plane"),
        ] {
            assert_eq!(restarts(path), process, "{path}");
        }
    }

    #[test]
    fn what_is_left_of_a_paid_unit_is_known() {
        let left = |kbps, s| {
            paid_left(Call { rate: Kbps(kbps), charged: Some(Duration::from_secs(s)) }).expect("charged")
        };
        assert_eq!(
            [left(512, 0), left(512, 1), left(512, 29), left(512, 30), left(512, 31)],
            [0, 29, 1, 0, 29]
        );
        assert_eq!([left(2600, 1), left(2600, 179), left(10_000, 200)], [179, 1, 160]);
        assert_eq!(paid_left(Call { rate: Kbps(64), charged: None }), None);
    }
}
