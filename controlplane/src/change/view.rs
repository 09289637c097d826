//! Differences and the history in the words of the API, with what a lost call costs.

use super::history::History;
use super::{Call, InForce};
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

pub fn difference(diff: &Diff, state: &InForce, new: &Profile) -> Difference {
    let old = &state.profile;
    let kept: std::collections::HashMap<usize, usize> = diff.kept.iter().copied().collect();
    let lines = new.carrier_lines();
    let lost = |(i, reasons): (&usize, &Vec<String>)| {
        let tunnel = &old.tunnels[*i];
        let call = state.calls.get(&tunnel.name)?;
        let charges = lines.sip(tunnel.local_number).tariff == Tariff::DataConnect;
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
        running: entry.number == history.current() && history.is_recorded(),
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
    fn without_a_tariff_no_price_is_named() {
        let read = |tariff: &str, numbers: &str| {
            let text = format!(
                "version: 1\ngateway: test\nsip: {{ interface: wan0, registrar: 192.0.2.2, domain: carrier.example, \
                 tariff: {tariff}, lines: [{{ number: '0388881001' }}] }}\n\
                 ike: {{ keyring: [{{ number: any, psk_file: /nowhere }}] }}\n\
                 tunnels: [{{ name: Tunnel1, local_number: '0388881001', remote_number: '{numbers}', bandwidth_kbps: 512 }}]\n\
                 dataplane: {{ outside: {{ device: wan0 }}, inside: {{ mode: host, device: svti0 }} }}\n"
            );
            crate::config::examine("test.yaml", &text).0.expect("a profile")
        };
        let lost = |tariff: &str| {
            let (old, new) = (read(tariff, "0388882001"), read(tariff, "0388882002"));
            let call = Call { rate: Kbps(512), charged: Some(Duration::from_secs(31)) };
            let calls = [("Tunnel1".to_owned(), call)].into();
            let state = InForce {
                profile: std::sync::Arc::new(old),
                calls,
                waits: false,
                last_id: 1,
                start_file: None,
                number: None,
                number_before: None,
            };
            let found = sipsec_profile::change::diff(&state.profile, &new);
            let [lost] = difference(&found, &state, &new).calls.try_into().expect("one call");
            (lost.charged_s, lost.paid_left_s, lost.again_yen)
        };
        assert_eq!(lost("data-connect"), (Some(31), Some(29), 2));
        assert_eq!(lost("none"), (Some(31), None, 0));
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
