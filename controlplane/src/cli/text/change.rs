//! `diff`, `apply`, `rollback` and `show configuration history`

use super::counted;
use super::table::table;
use crate::api::change::{Applied, Difference, KeyChange, LostCall, Version};
use crate::cli::screen::Wall;
use std::fmt::Write as _;

/// Changes that are shown; `--json` has all.
const SHOWN_MAX: usize = 40;
/// Entries of a list that come or go alike, from this many on, are one row.
const ALIKE_MIN: usize = 6;

/// What a new profile changes, or has changed.
#[must_use]
pub fn difference(diff: &Difference) -> String {
    if diff.changes.is_empty() {
        return "Nothing differs. Files of keys and certificates are read anew all the same.\n".to_owned();
    }
    let mut out = format!(
        "{}; tunnels: {} added, {} removed, {} changed\n\n",
        counted(diff.changes.len() as u64, "change"),
        diff.tunnels_added,
        diff.tunnels_removed,
        diff.tunnels_changed
    );
    let mut rows = rows(&diff.changes);
    let more = rows.len().checked_sub(SHOWN_MAX).filter(|n| *n > 0);
    rows.truncate(SHOWN_MAX);
    out.push_str(&table(["Takes", "Key", "Change"], &rows));
    if let Some(more) = more {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "and {more} more: --json lists all");
    }
    out
}

/// What costs most comes first. Many entries of one list that come or go alike are one row.
fn rows(changes: &[KeyChange]) -> Vec<[String; 3]> {
    const ORDER: [&str; 4] = ["restart", "hangs up", "next call", "now"];
    let mut sorted: Vec<&KeyChange> = changes.iter().collect();
    sorted.sort_by_key(|change| ORDER.iter().position(|takes| *takes == change.takes));
    let alike = |a: &KeyChange, b: &KeyChange| {
        let kind = |c: &KeyChange| Some((c.takes.clone(), list_of(&c.path)?.to_owned(), c.before.is_some()));
        a.before.is_some() != a.after.is_some()
            && b.before.is_some() != b.after.is_some()
            && kind(a).is_some()
            && kind(a) == kind(b)
    };
    let mut out = Vec::new();
    for group in sorted.chunk_by(|a, b| alike(a, b)) {
        match group {
            [first, .., last] if group.len() >= ALIKE_MIN => {
                let word = if first.before.is_some() { "gone" } else { "new" };
                let (from, to) = (name(&first.path), name(&last.path));
                let list = list_of(&first.path).unwrap_or_default().to_owned();
                out.push([first.takes.clone(), list, format!("{} {word}: {from} … {to}", group.len())]);
            }
            few => out.extend(few.iter().map(|change| row(change))),
        }
    }
    out
}

/// The list of which the whole entry comes or goes.
fn list_of(path: &str) -> Option<&str> {
    path.strip_suffix(']')?.rsplit_once('[').map(|(list, _)| list)
}

fn name(path: &str) -> &str {
    path.strip_suffix(']').and_then(|p| p.rsplit_once('[')).map_or(path, |(_, name)| name)
}

fn row(change: &KeyChange) -> [String; 3] {
    let text = match (&change.before, &change.after) {
        (Some(a), Some(b)) if a == b => "another value, not shown".to_owned(),
        (Some(a), Some(b)) => format!("{a} -> {b}"),
        // An entry of which nothing is said but that it is there.
        (None, Some(b)) if b == "there" => "new".to_owned(),
        (Some(a), None) if a == "there" => "gone".to_owned(),
        (None, Some(b)) => format!("new: {b}"),
        (Some(a), None) => format!("gone: {a}"),
        (None, None) => String::new(),
    };
    [change.takes.clone(), change.path.clone(), text]
}

/// Calls that end, with what that costs.
#[must_use]
pub fn calls(list: &[LostCall], done: bool) -> String {
    if list.is_empty() {
        return format!("\nNo call {} hung up.\n", if done { "was" } else { "is" });
    }
    let verb = if done { "were" } else { "would be" };
    let mut out = format!("\nCalls that {verb} hung up: {}\n", list.len());
    for call in list {
        let _ =
            writeln!(out, "  {} with {}: {}", call.interface, call.remote_number, call.reasons.join("; "));
        let charged = match (call.charged_s, call.paid_left_s) {
            (Some(s), Some(left)) => {
                format!("answered {s} s ago at {} kbps, {left} s are paid and not used", call.kbps)
            }
            (Some(s), None) => format!("answered {s} s ago at {} kbps", call.kbps),
            (None, _) => "not answered, so it costs nothing".to_owned(),
        };
        let again = match call.again_yen {
            0 => String::new(),
            yen => format!("; the next call costs {yen} yen or more"),
        };
        let _ = writeln!(out, "    {charged}{again}");
    }
    let yen: u64 = list.iter().map(|c| c.again_yen).sum();
    if list.len() > 1 && yen > 0 {
        let _ = writeln!(out, "  Placing all of them again costs {yen} yen or more, without tax.");
    }
    out
}

/// What `diff` prints.
#[must_use]
pub fn preview(diff: &Difference) -> String {
    let mut out = difference(diff);
    if diff.changes.is_empty() {
        return out;
    }
    out.push_str(&calls(&diff.calls, false));
    if !diff.locked.is_empty() {
        let _ = writeln!(out, "\n`compat: cisco` is in force, so `sipsec apply` refuses this:");
        for reason in &diff.locked {
            let _ = writeln!(out, "  {reason}");
        }
    }
    let restart: Vec<_> = diff.changes.iter().filter(|c| c.takes == "restart").collect();
    if let Some(first) = restart.first() {
        let both = restart.iter().find(|c| c.restarts.as_deref() == Some("both processes"));
        let process = both.unwrap_or(first).restarts.as_deref().unwrap_or("the control plane");
        let needs = if restart.len() == 1 {
            "1 key needs".to_owned()
        } else {
            format!("{} keys need", restart.len())
        };
        let _ = writeln!(
            out,
            "\n{needs} a restart of {process}: `sipsec apply` refuses; with --partial it takes the rest."
        );
    }
    out
}

#[must_use]
pub fn applied(applied: &Applied) -> String {
    let mut out = difference(&applied.difference);
    out.push_str(&calls(&applied.difference.calls, true));
    if !applied.left_out.is_empty() {
        let _ = writeln!(out, "\nLeft out, because it needs a restart:");
        for change in &applied.left_out {
            let process = change.restarts.as_deref().unwrap_or("the control plane");
            let _ = writeln!(out, "  {}: {process}", change.path);
        }
    }
    for warning in &applied.warnings {
        let _ = writeln!(out, "\nWarning: {warning}");
    }
    match applied.number {
        Some(number) => {
            let _ = writeln!(out, "\nProfile {number} is in force.");
        }
        None => out.push_str("\nIt is in force.\n"),
    }
    if let Some(s) = applied.confirm_within_s {
        let _ =
            writeln!(out, "`sipsec confirm` within {s} s keeps it; otherwise the profile before comes back.");
    }
    if !applied.is_start_file {
        let file = applied.start_file.as_deref().unwrap_or("the start file");
        let _ = writeln!(out, "{file} is as it was: SIGHUP goes back to it.");
        if applied.confirm_within_s.is_none() {
            out.push_str("`sipsec apply FILE --save` writes the profile over it, too.\n");
        }
    }
    out
}

#[must_use]
pub fn versions(list: &[Version], wall: &Wall) -> String {
    let Some(latest) = list.first() else { return "No profile was applied yet.\n".to_owned() };
    let rows: Vec<_> = list.iter().map(|v| version(v, wall)).collect();
    let mut out = format!(
        "Profiles, the latest first (times are {})\n",
        wall.offset(latest.unix_s.saturating_mul(1_000_000))
    );
    out.push_str(&table(["", "No.", "Since", "Author", "Summary"], &rows));
    out.push_str("* in force, S of the start file\n");
    for v in list {
        if let Some(s) = v.confirm_within_s {
            let _ = writeln!(out, "Profile {} goes in {s} s unless `sipsec confirm` keeps it.", v.number);
        }
    }
    out
}

fn version(v: &Version, wall: &Wall) -> [String; 5] {
    let mark = [(v.running, '*'), (v.start, 'S')];
    [
        mark.iter().filter(|(set, _)| *set).map(|(_, c)| *c).collect(),
        v.number.to_string(),
        wall.second(v.unix_s.saturating_mul(1_000_000)),
        v.author.clone(),
        v.summary.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, before: Option<&str>, after: Option<&str>, takes: &str) -> KeyChange {
        let owned = |v: Option<&str>| v.map(str::to_owned);
        KeyChange {
            path: path.to_owned(),
            before: owned(before),
            after: owned(after),
            takes: takes.to_owned(),
            restarts: (takes == "restart").then(|| "the control plane".to_owned()),
        }
    }

    fn sample() -> Difference {
        Difference {
            changes: vec![
                change("tunnels[Tunnel2].idle_s", Some("120"), Some("60"), "now"),
                change("tunnels[Tunnel1].remote_number", Some("0388882001"), Some("0388882009"), "hangs up"),
                change("tunnels[Branch501]", None, Some("0388881001 to 0388882501, 512 kbps"), "now"),
                change("ike.keyring[0388882002].psk", Some("********"), Some("********"), "next call"),
                change("sip.registrar", Some("198.51.100.1:5060"), Some("198.51.100.2:5060"), "restart"),
            ],
            tunnels_added: 1,
            tunnels_removed: 0,
            tunnels_changed: 2,
            calls: vec![LostCall {
                interface: "Tunnel1".to_owned(),
                remote_number: "0388882001".to_owned(),
                reasons: vec!["remote_number changes".to_owned()],
                kbps: 512,
                charged_s: Some(61),
                paid_left_s: Some(29),
                again_yen: 2,
            }],
            locked: Vec::new(),
        }
    }

    #[test]
    fn a_difference_is_shown_with_its_price() {
        crate::cli::text::tests::golden("diff.txt", &preview(&sample()));
        let none = preview(&Difference::default());
        assert!(none.starts_with("Nothing differs"), "{none}");
    }

    #[test]
    fn five_hundred_new_tunnels_are_one_row() {
        let mut diff = sample();
        let new = |n: u32| change(&format!("tunnels[Branch{n}]"), None, Some("a to b, 64 kbps"), "now");
        diff.changes.extend((2..502).map(new));
        diff.changes.push(change("ike.keyring[any]", None, Some("there"), "next call"));
        let text = difference(&diff);
        assert!(text.contains("  501 new: Branch501 … Branch501\n"), "{text}");
        assert!(text.contains("ike.keyring[any]") && text.contains("  new\n"), "{text}");
        assert!(
            text.find("restart") < text.find("hangs up") && text.find("hangs up") < text.find("next call")
        );
        // What differs in more than that it is there keeps its row.
        assert!(text.contains("tunnels[Tunnel2].idle_s"), "{text}");
        assert!(text.lines().count() < 14, "{text}");
    }

    #[test]
    fn what_was_applied_says_how_to_keep_it() {
        let applied = Applied {
            number: Some(12),
            difference: sample(),
            left_out: vec![change("sip.registrar", None, None, "restart")],
            hung_up: 1,
            confirm_within_s: Some(300),
            warnings: vec![],
            start_file: Some("/etc/sipsec/branch.yaml".to_owned()),
            is_start_file: false,
        };
        crate::cli::text::tests::golden("applied.txt", &super::applied(&applied));
    }

    #[test]
    fn the_history_marks_what_is_in_force() {
        let version = |number, running, start, confirm_within_s| Version {
            number,
            unix_s: 1_782_864_000 + number * 60,
            author: "ada".to_owned(),
            summary: "1 tunnel added".to_owned(),
            file: None,
            running,
            start,
            confirm_within_s,
        };
        let list = [version(12, true, false, Some(211)), version(11, false, true, None)];
        crate::cli::text::tests::golden("history-configuration.txt", &versions(&list, &Wall::new(true)));
    }
}
