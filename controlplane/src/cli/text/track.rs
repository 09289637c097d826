//! `show track`

use super::clock;
use crate::api::policy::TrackObject;
use std::fmt::Write as _;

/// What is followed, as IOS writes it, and the words of its state.
fn followed(t: &TrackObject) -> (String, String, &'static str) {
    let operation = t.operation.map(|id| format!("IP SLA {id}")).unwrap_or_default();
    let device = t.device.clone().unwrap_or_default();
    let prefix = t.prefix.clone().unwrap_or_default();
    match t.kind.as_str() {
        "sla-reachability" => (operation, "reachability".into(), "Reachability"),
        "sla-state" => (operation, "state".into(), "State"),
        "line-protocol" => (format!("Interface {device}"), "line-protocol".into(), "Line protocol"),
        "route" => (format!("IP route {prefix}"), "reachability".into(), "Reachability"),
        "and" => ("List boolean".into(), "and".into(), "Boolean AND"),
        "or" => ("List boolean".into(), "or".into(), "Boolean OR"),
        "not" => ("List boolean".into(), "not".into(), "Boolean NOT"),
        "weight" => ("List threshold".into(), "weight".into(), "Threshold weight"),
        "percentage" => ("List threshold".into(), "percentage".into(), "Threshold percentage"),
        other => (other.to_owned(), String::new(), "State"),
    }
}

#[must_use]
pub fn track(list: &[TrackObject]) -> String {
    if list.is_empty() {
        return "No track object is configured.\n".to_owned();
    }
    list.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(t: &TrackObject) -> String {
    let (what, parameter, state) = followed(t);
    let mut out = format!("Track {}\n  {what} {parameter}\n", t.id);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "  {state} is {}{}", t.state, sum(t));
    let delayed = t.delayed_to.as_ref().map(|to| {
        let ms = t.delayed_for_ms.unwrap_or_default();
        format!(", {} in {}", to.to_lowercase(), time(ms))
    });
    let _ = writeln!(
        out,
        "    {}, last change {}{}",
        super::counted(t.changes, "change"),
        clock(t.since_s),
        delayed.unwrap_or_default()
    );
    for member in &t.members {
        let weight = if t.kind == "weight" { format!(" weight {}", member.weight) } else { String::new() };
        let _ = writeln!(out, "    object {}{weight} {}", member.id, member.state);
    }
    if let (Some(up), Some(down)) = (t.up_at, t.down_at) {
        let _ = writeln!(out, "  Threshold up {up}, down {down}");
    }
    let delays = [("up", t.delay_up_ms), ("down", t.delay_down_ms)];
    let delays: Vec<String> =
        delays.iter().filter(|(_, ms)| *ms > 0).map(|(way, ms)| format!("{way} {}", time(*ms))).collect();
    if !delays.is_empty() {
        let _ = writeln!(out, "  Delay {}", delays.join(", "));
    }
    if let Some(code) = &t.return_code {
        let _ = writeln!(out, "  Latest operation return code: {code}");
    }
    if let Some(us) = t.rtt_us {
        let _ = writeln!(out, "  Latest RTT (millisecs) {}", ms(us));
    }
    if let Some(d) = &t.damping {
        let _ = writeln!(
            out,
            "  Damping penalty {}, suppress at {}, reuse below {}, half-life {} s",
            d.penalty, d.suppress, d.reuse, d.half_life_s
        );
        if d.suppressed {
            let until = d.reuse_in_s.map(|s| format!(" for {}", clock(s))).unwrap_or_default();
            let _ = writeln!(out, "  Suppressed{until}: without damping it is {}", t.raw_state);
        }
    }
    if !t.routes.is_empty() || !t.member_of.is_empty() {
        out.push_str("  Tracked by:\n");
        for prefix in &t.routes {
            let _ = writeln!(out, "    Static IP Routing {prefix}");
        }
        for list in &t.member_of {
            let _ = writeln!(out, "    Track-list {list}");
        }
    }
    out
}

/// What a threshold list has of what it needs.
fn sum(t: &TrackObject) -> String {
    let up = t.members.iter().filter(|m| m.state == "Up");
    match t.kind.as_str() {
        "weight" => {
            let all: u32 = t.members.iter().map(|m| m.weight).sum();
            format!(" ({}/{all})", up.map(|m| m.weight).sum::<u32>())
        }
        "percentage" => format!(" ({} %)", up.count() * 100 / t.members.len().max(1)),
        _ => String::new(),
    }
}

/// Seconds where they are whole.
fn time(ms: u64) -> String {
    if ms.is_multiple_of(1000) { format!("{} secs", ms / 1000) } else { format!("{ms} msecs") }
}

/// Milliseconds with as many digits as say something.
pub fn ms(us: u64) -> String {
    if us >= 10_000 { format!("{}", us / 1000) } else { format!("{}.{:02}", us / 1000, us % 1000 / 10) }
}

#[must_use]
pub fn track_brief(list: &[TrackObject]) -> String {
    let row = |cells: [&str; 6]| {
        let [id, kind, instance, parameter, state, change] = cells;
        let line = format!("{id:<5} {kind:<11} {instance:<18} {parameter:<15} {state:<8} {change}");
        line.trim_end().to_owned() + "\n"
    };
    let mut out = row(["Track", "Type", "Instance", "Parameter", "State", "Last Change"]);
    for t in list {
        let (kind, instance) = match (t.operation, &t.device, &t.prefix) {
            (Some(id), ..) => ("ip sla", id.to_string()),
            (_, Some(device), _) => ("interface", device.clone()),
            (_, _, Some(prefix)) => ("ip route", prefix.clone()),
            _ => ("list", String::new()),
        };
        let parameter = match t.kind.as_str() {
            "and" | "or" | "not" => format!("boolean {}", t.kind),
            _ => followed(t).1,
        };
        out += &row([&t.id.to_string(), kind, &instance, &parameter, &t.state, &clock(t.since_s)]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;
    use crate::api::policy::{TrackDamping, TrackMember};

    fn objects() -> Vec<TrackObject> {
        let object = |id, kind: &str, state: &str| TrackObject {
            id,
            kind: kind.into(),
            state: state.into(),
            raw_state: state.into(),
            since_s: 33,
            changes: 4,
            ..TrackObject::default()
        };
        let member = |id, weight, state: &str| TrackMember { id, weight, state: state.into() };
        vec![
            TrackObject {
                operation: Some(1),
                delay_up_ms: 60_000,
                delay_down_ms: 20,
                delayed_to: Some("Down".into()),
                delayed_for_ms: Some(12),
                return_code: Some("Timeout".into()),
                rtt_us: Some(1234),
                routes: vec!["0.0.0.0/0".into()],
                member_of: vec![10, 13],
                damping: Some(TrackDamping {
                    penalty: 2411,
                    suppress: 2000,
                    reuse: 750,
                    half_life_s: 15,
                    suppressed: true,
                    reuse_in_s: Some(26),
                }),
                ..object(1, "sla-reachability", "Down")
            },
            TrackObject {
                operation: Some(2),
                rtt_us: Some(412_345),
                changes: 1,
                ..object(2, "sla-state", "Up")
            },
            TrackObject { device: Some("wan1".into()), ..object(3, "line-protocol", "Up") },
            TrackObject {
                prefix: Some("10.9.0.0/16".into()),
                since_s: 200_000,
                ..object(4, "route", "Unknown")
            },
            TrackObject {
                members: vec![member(1, 1, "Down"), member(3, 1, "Up")],
                ..object(10, "and", "Down")
            },
            TrackObject {
                members: vec![member(1, 20, "Down"), member(2, 10, "Up")],
                up_at: Some(20),
                down_at: Some(10),
                ..object(13, "weight", "Down")
            },
            TrackObject {
                members: vec![member(1, 1, "Down"), member(2, 1, "Up"), member(3, 1, "Up")],
                up_at: Some(66),
                down_at: Some(33),
                ..object(14, "percentage", "Up")
            },
        ]
    }

    #[test]
    fn objects_are_shown_in_the_words_of_ios() {
        let (long, brief) = (track(&objects()), track_brief(&objects()));
        assert!(long.lines().chain(brief.lines()).all(|l| l.len() <= 80), "{long}{brief}");
        golden("track.txt", &long);
        golden("track-brief.txt", &brief);
        assert_eq!(track(&[]), "No track object is configured.\n");
    }
}
