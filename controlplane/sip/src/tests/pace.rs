//! What leaves at once for thousands of calls and lines leaves at the carrier's pace.

use crate::testing::*;
use crate::{Config, Flow, Line, Locals, Output, UserAgent};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Instant, TelNumber};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const CALLS: usize = 300;

/// That many calls from A, which sends so many requests a second; BYEs by the second in which they left.
fn in_calls(per_s: u32) -> World {
    let mut w = World::empty(7);
    let config = Config { requests_per_s: per_s, ..config(A) };
    w.nodes[A].ua = UserAgent::new(config, Box::new(TestEntropy::new(5)));
    for i in [A, B] {
        w.set_addr(i, true);
    }
    w.run_for(S);
    for _ in 0..CALLS {
        w.dial(A);
    }
    w.run_for(2 * S);
    assert_eq!(w.nodes[A].log.iter().filter(|l| *l == "Answered").count(), CALLS);
    w.wire.clear();
    w
}

fn hang_up_all(w: &mut World) {
    let ids: Vec<_> = w.nodes[A].handles.keys().copied().collect();
    for id in ids {
        w.hang_up(A, id);
    }
}

#[test]
fn a_mass_hang_up_keeps_the_pace() {
    let mut w = in_calls(50);
    let drain = w.nodes[A].ua.drain_time(w.now);
    assert_eq!(drain, 20 * MS * (CALLS as u32 - 19), "280 turns after the burst of 20, and one to come");
    hang_up_all(&mut w);
    assert_eq!(w.count(A, "BYE"), 20, "the burst");
    let left = w.nodes[A].ua.drain_time(w.now);
    assert!(left <= drain && left + S > drain, "{left:?} of {drain:?}");
    let mut before = 20;
    for _ in 0..5 {
        w.run_for(S);
        assert!((49..=51).contains(&(w.count(A, "BYE") - before)), "{}", w.count(A, "BYE") - before);
        before = w.count(A, "BYE");
    }
    // A call that the other side ends meanwhile needs no BYE of ours.
    let ids: Vec<_> = w.nodes[B].handles.keys().copied().collect();
    w.hang_up(B, *ids.last().expect("a call"));
    w.run_for(S);
    assert_eq!(w.count(A, "BYE"), CALLS - 1);
    assert_eq!((w.nodes[A].ua.live_dialogs(), w.nodes[A].journal.len()), (0, 0));
    assert!(w.proxy.forgotten().is_empty());
    assert_eq!(w.nodes[A].ua.drain_time(w.now + 10 * S), Duration::ZERO);
}

/// The address changes while BYEs wait: all leave from the new one, at the pace again; without an address they wait for it.
#[test]
fn byes_that_wait_leave_from_the_new_address() {
    let mut w = in_calls(50);
    hang_up_all(&mut w);
    w.run_for(S);
    w.set_addr(A, false);
    w.run_for(20 * S);
    let before = w.count(A, "BYE");
    w.set_addr(A, true);
    assert_eq!(w.count(A, "BYE") - before, 20);
    w.run_for(S);
    assert!((w.count(A, "BYE") - before) <= 71, "{}", w.count(A, "BYE") - before);
    w.run_for(10 * S);
    assert!(w.proxy.forgotten().is_empty());
    assert_eq!(w.nodes[A].ua.live_dialogs(), 0);
}

/// After a crash the calls of the journal are hung up at the pace, too.
#[test]
fn recovered_calls_are_hung_up_at_the_pace() {
    let mut w = in_calls(50);
    w.crash(A);
    // The default pace: 100 a second.
    assert_eq!(w.count(A, "BYE"), 20);
    w.run_for(S);
    assert!(w.count(A, "BYE") <= 121, "{}", w.count(A, "BYE"));
    w.run_for(3 * S);
    assert!(w.proxy.forgotten().is_empty());
}

/// Requests that left together and are not answered are not repeated together (RFC 3261 §17.1.2.2 has one interval for
/// all).
#[test]
fn repetitions_drift_apart() {
    let mut w = in_calls(1_000_000);
    w.filter = Box::new(|_| true);
    let start = w.now;
    let ids: Vec<_> = w.nodes[A].handles.keys().copied().take(CALLS).collect();
    for id in ids {
        w.hang_up(A, id);
    }
    assert!(w.count(A, "BYE") >= 20);
    w.run_for(10 * MS);
    assert_eq!(w.count(A, "BYE"), CALLS);
    let mut by_ms: BTreeMap<u128, usize> = BTreeMap::new();
    while let Some(at) = w.next().filter(|at| *at < start + 9 * S) {
        let before = w.wire.len();
        w.run_until(at);
        let ms = at.saturating_duration_since(start).as_millis();
        *by_ms.entry(ms).or_default() += w.wire.len() - before;
    }
    by_ms.retain(|_, sent| *sent > 0);
    // Sent again after 0.5, 1.5, 3.5 and 7.5 s, and up to an eighth later.
    assert_eq!(by_ms.values().sum::<usize>(), 4 * CALLS);
    assert!(
        by_ms.keys().all(|t| [500, 1500, 3500, 7500].iter().any(|at| (at - 1..=at * 9 / 8 + 20).contains(t)))
    );
    let late = by_ms.range(7500..).map(|(_, sent)| *sent).max();
    assert!(late.is_some_and(|most| most <= CALLS / 20), "{late:?} of {CALLS} in one millisecond");
}

/// Sessions that began together are refreshed at the pace, each before it ends.
#[test]
fn refreshes_keep_the_pace() {
    let mut w = in_calls(10);
    w.run_for(896 * S);
    let start = w.count(A, "UPDATE");
    for _ in 0..20 {
        let before = w.count(A, "UPDATE");
        w.run_for(S);
        assert!(w.count(A, "UPDATE") - before <= 31, "{}", w.count(A, "UPDATE") - before);
    }
    w.run_for(30 * S);
    assert_eq!(w.count(A, "UPDATE") - start, CALLS);
    w.run_for(2000 * S);
    assert_eq!((w.count(A, "BYE"), w.count(B, "BYE")), (0, 0));
}

/// Lines register and are given up at the pace; none is forgotten.
#[test]
fn many_lines_register_at_the_pace() {
    const LINES: u32 = 400;
    let lines = (0..LINES)
        .map(|n| Line { number: format!("03{n:08}").parse::<TelNumber>().expect("a number"), auth: None });
    let config = Config { lines: lines.collect(), requests_per_s: 50, ..config(A) };
    let mut ua = UserAgent::new(config, Box::new(TestEntropy::new(1)));
    let start = Instant::ZERO + S;
    let mut now = start;
    // Sends, and answers each REGISTER with 200.
    let step = |ua: &mut UserAgent, now: Instant| {
        let mut sent = BTreeSet::new();
        while let Some(output) = ua.poll_output() {
            if let Output::Transmit { bytes, .. } = output {
                let text = String::from_utf8(bytes).expect("text");
                let head =
                    ["Via", "From", "To", "Call-ID", "CSeq"].map(|n| format!("{n}: {}\r\n", field(&text, n)));
                ua.handle_message(
                    now,
                    &Flow::udp(addr(A), proxy_addr()),
                    format!("SIP/2.0 200 OK\r\n{}\r\n", head.concat()).as_bytes(),
                );
                sent.insert(field(&text, "Call-ID"));
            }
        }
        sent.len()
    };
    ua.set_locals(now, Locals::of(Some(addr(A))));
    let mut sent = step(&mut ua, now);
    assert_eq!(sent, 20);
    while sent < LINES as usize {
        now = now.max(ua.poll_timeout().expect("more is to come"));
        ua.handle_timeout(now);
        sent += step(&mut ua, now);
        let seconds = now.saturating_duration_since(start).as_secs_f64();
        assert!(sent as f64 <= 21.0 + 50.0 * seconds, "{sent} after {seconds} s");
    }
    assert!(ua.registrations().all(|r| r.expires_at.is_some()));
    assert_eq!(now.saturating_duration_since(start), 20 * MS * (LINES - 20));

    now = now + 60 * S;
    let drain = ua.drain_time(now);
    ua.unregister_all(now);
    let begin = now;
    let mut sent = step(&mut ua, now);
    assert!(!ua.unregistered());
    while !ua.unregistered() {
        now = now.max(ua.poll_timeout().expect("more is to come"));
        ua.handle_timeout(now);
        sent += step(&mut ua, now);
    }
    assert_eq!(sent, LINES as usize);
    assert!(now.saturating_duration_since(begin) <= drain, "{drain:?}");
}
