//! The journal as the core knows it: under which key a call is, and what an earlier run left.

use crate::brake::Brake;
use crate::core::Core;
use crate::failure::SessionFailure;
use crate::ledger::{Bye, Ledger, Origin};
use crate::output::{EventKind, Output};
use crate::record::{CallRecord, MediaRecord, Unreadable};
use sipsec_net::{Instant, TelNumber};
use sipsec_sip::sdp::{self, SessionDescription};
use sipsec_sip::{CallId, DialogRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A new call waits this long, at least, for the end of what an earlier run left: the answer to a CANCEL or BYE that is
/// repeated once.
const RECOVERY_WAIT_MIN: Duration = Duration::from_secs(4);

/// Keys of the journal: those of this run are above those of earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    last: u64,
    /// Records of an earlier run, until an address is there to hang them up from.
    waiting: Vec<(u64, CallRecord)>,
    keys: BTreeMap<CallId, u64>,
    calls: BTreeMap<u64, CallId>,
    /// Calls of an earlier run whose tunnel is not known: their line places no call before they have ended.
    lines: BTreeMap<TelNumber, BTreeSet<CallId>>,
    /// The longest wait for these.
    lines_until: Option<Instant>,
}

impl Journal {
    /// When a line may place calls although calls of an earlier run have not ended.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.lines_until.filter(|_| !self.lines.is_empty())
    }

    fn key_of(&mut self, call: CallId) -> u64 {
        if let Some(key) = self.keys.get(&call) {
            return *key;
        }
        self.last += 1;
        self.keys.insert(call, self.last);
        self.calls.insert(self.last, call);
        self.last
    }

    fn forget(&mut self, call: CallId) -> Option<u64> {
        let key = self.keys.remove(&call)?;
        self.calls.remove(&key);
        Some(key)
    }

    pub(crate) fn holds_line(&self, line: TelNumber) -> bool {
        self.lines.contains_key(&line)
    }
}

impl Core {
    pub(crate) fn call_of_key(&self, key: u64) -> Option<CallId> {
        self.journal.calls.get(&key).copied()
    }

    pub(crate) fn persist(
        &mut self,
        call: CallId,
        record: Option<DialogRecord>,
        answer: Option<&SessionDescription>,
    ) {
        let Some(dialog) = record else {
            if let Some(key) = self.journal.forget(call) {
                self.out.push_back(Output::Persist { key, record: None });
            }
            return;
        };
        let key = self.journal.key_of(call);
        let record = {
            let known = self.calls.get(&call);
            let now_unix = |at: Instant| self.unix_time_at(at);
            CallRecord {
                local: known.map_or_else(|| dialog.local_number(), |l| l.local),
                remote: known.map_or_else(|| dialog.remote_number(), |l| l.remote),
                began_unix_s: known.and_then(|l| l.began_unix_s.or_else(|| now_unix(l.began))),
                carrier: self.carriers.name_of(call).to_owned(),
                media: self.media_of(call, answer),
                dialog,
            }
        };
        self.out.push_back(Output::Persist { key, record: Some(record.to_bytes()) });
    }

    /// Of the session, or what it will be with the answer that the record is written for.
    fn media_of(&self, call: CallId, answer: Option<&SessionDescription>) -> Option<MediaRecord> {
        // Of an earlier run: it has no session.
        if let Some(lost) = self.lost.values().find(|lost| lost.call() == call) {
            return Some(lost.media());
        }
        let state = self.tunnels[self.tunnel_of(call)?].state();
        state.leg().filter(|leg| leg.call.id() == call)?;
        if let Some(media) = state.media() {
            return Some(MediaRecord { local: media.local, remote: media.remote, rate_kbps: media.rate.0 });
        }
        let offer = state.offer()?;
        let agreed = sdp::negotiate_offered(&offer.ike, &answer?.ike).ok()?;
        Some(MediaRecord { local: offer.ike.addr, remote: agreed.remote, rate_kbps: agreed.rate.0 })
    }

    pub(crate) fn recovered(&mut self, now: Instant, records: Vec<(u64, Vec<u8>)>) {
        self.journal.last = records.iter().map(|(k, _)| *k).max().unwrap_or(0);
        let mut unreadable = Vec::new();
        for (key, bytes) in records {
            match CallRecord::from_bytes(&bytes) {
                Ok(record) => self.journal.waiting.push((key, record)),
                // It stays: the release that wrote it can hang the call up.
                Err(u) => unreadable.push(u),
            }
        }
        if !unreadable.is_empty() {
            let calls = unreadable.len();
            let versions: BTreeSet<_> = unreadable.iter().filter_map(|u: &Unreadable| u.version).collect();
            let mut numbers: Vec<_> = unreadable.into_iter().flat_map(|u| u.numbers).collect();
            numbers.sort_unstable();
            numbers.dedup();
            let versions = versions.into_iter().collect();
            self.event(None, EventKind::RecordsUnreadable { calls, versions, numbers });
        }
        self.hang_up_recovered(now);
    }

    /// Brakes of an earlier run, under the numbers of their tunnels.
    pub(crate) fn recovered_brakes(&mut self, now: Instant, brakes: Vec<(String, Vec<u8>)>) {
        let unix_time_s = self.unix_time_s(now);
        for (key, bytes) in brakes {
            let numbers = key.split_once(' ').and_then(|(l, r)| Some((l.parse().ok()?, r.parse().ok()?)));
            let tunnel = numbers.and_then(|(local, remote)| self.tunnels.with_numbers(local, remote));
            match (tunnel, Brake::load(&bytes, now, unix_time_s)) {
                (Some(i), Some(brake)) => {
                    self.tunnels[i].restore_brake(brake);
                    self.braked.insert(i);
                }
                // The profile has no such tunnel any more, or another release wrote it.
                _ => self.out.push_back(Output::PersistBrake { key, record: None }),
            }
        }
    }

    /// The brakes that changed, for the next run.
    pub(crate) fn save_brakes(&mut self, now: Instant) {
        let unix_time_s = self.unix_time_s(now);
        for i in std::mem::take(&mut self.braked) {
            let t = &mut self.tunnels[i];
            if let Some(record) = t.save_brake(now, unix_time_s) {
                let key = format!("{} {}", t.config().local_number, t.config().remote_number);
                self.out.push_back(Output::PersistBrake { key, record });
            }
        }
    }

    /// Hangs up what an earlier run left. No tunnel and no line of it places a call before that has ended, or before it
    /// has taken too long.
    pub(crate) fn hang_up_recovered(&mut self, now: Instant) {
        // From an address of the family in which the call was made.
        let carriers = &self.carriers;
        let reachable = |(_, r): &mut (u64, CallRecord)| {
            let carrier = carriers.get(carriers.of_record(&r.carrier, r.local));
            carrier.is_some_and(|c| c.wan().towards(r.dialog.server()).is_some())
        };
        let waiting: Vec<_> = self.journal.waiting.extract_if(.., reachable).collect();
        if waiting.is_empty() {
            return;
        }
        self.event(None, EventKind::Recovered { calls: waiting.len() });
        let mut crashed: BTreeMap<usize, Option<Duration>> = BTreeMap::new();
        for (key, record) in waiting {
            let (answered, call_id) = (record.dialog.answered(), record.dialog.call_id().to_owned());
            let age = record.began_unix_s.and_then(|began| {
                let now_s = self.unix_time_at(now)?;
                Some(Duration::from_secs(now_s.saturating_sub(began)))
            });
            let tunnel = record.local.zip(record.remote).and_then(|(l, r)| self.tunnels.with_numbers(l, r));
            let carrier = self.carriers.of_record(&record.carrier, record.local);
            let Some(call) = self.carriers.recover(now, carrier, &record.dialog) else { continue };
            let until = now + self.unconfirmed_max(call).max(RECOVERY_WAIT_MIN);
            self.journal.keys.insert(call, key);
            self.journal.calls.insert(key, call);
            let numbers = (record.local, record.remote);
            let mut ledger = Ledger::new(now, tunnel, Origin::Recovered, numbers, call_id.clone());
            ledger.began_unix_s = record.began_unix_s;
            ledger.bye = Some(Bye { since: now, refused: None, next_at: None, owed: false });
            match (tunnel, record.local) {
                (Some(i), _) => {
                    ledger.holds = true;
                    self.tunnels[i].hold(until);
                    if answered {
                        let longest = crashed.entry(i).or_default();
                        *longest = (*longest).max(age);
                    }
                }
                (None, Some(line)) => {
                    self.journal.lines.entry(line).or_default().insert(call);
                    self.journal.lines_until = self.journal.lines_until.max(Some(until));
                }
                (None, None) => {}
            }
            self.calls.insert(call, ledger);
            self.leaving += 1;
            if let (Some(i), Some(media), true) = (tunnel, record.media, answered) {
                self.listen_for_lost(call, i, media);
            }
            let remote = record.remote;
            self.event(tunnel, EventKind::RecoveredCall { remote, answered, age, call_id });
        }
        for (i, age) in crashed {
            // A session that had lasted had succeeded, as far as the next call is concerned.
            if age.is_some_and(|age| age >= crate::ending::SUCCESS) {
                self.tunnels[i].succeeded();
            }
            self.failed(now, i, SessionFailure::Restarted);
        }
    }

    /// A call has ended; if it was of an earlier run, its line may be free now.
    pub(crate) fn forget_recovered(&mut self, call: CallId) -> bool {
        let lines = self.journal.lines.len();
        self.journal.lines.retain(|_, calls| {
            calls.remove(&call);
            !calls.is_empty()
        });
        self.journal.lines.len() < lines
    }

    /// Lines wait no longer for calls of an earlier run. Those go on being hung up.
    pub(crate) fn give_up_waiting(&mut self, now: Instant) {
        if self.journal.due().is_some_and(|at| at <= now) {
            self.journal.lines.clear();
            self.journal.lines_until = None;
            self.release_triggers(now);
        }
    }
}
