//! `show ip nat`

use super::clock;
use crate::api::model::{NatStatistics, Translation, TranslationKind};

/// IOS's columns; on a narrow terminal no wider than needed. With `verbose`, what IOS adds below each entry.
#[must_use]
pub fn translations(list: &[Translation], width: usize, verbose: bool) -> String {
    let none = || "---".to_owned();
    let cells = |t: &Translation| {
        [
            t.protocol.clone(),
            t.inside_global.clone(),
            t.inside_local.clone(),
            t.outside_local.clone().unwrap_or_else(none),
            t.outside_global.clone().unwrap_or_else(none),
        ]
    };
    let heads =
        ["Pro", "Inside global", "Inside local", "Outside local", "Outside global"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(heads).chain(list.iter().map(cells)).collect();
    let mut widths = if width < 91 { [3, 0, 0, 0, 0] } else { [3, 21, 21, 21, 21] };
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |row: &[String; 5]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(c, w)| format!("{c:<w$}")).collect();
        cells.join(" ").trim_end().to_owned() + "\n"
    };
    let mut out = rows.first().map(line).unwrap_or_default();
    for (row, t) in rows.iter().skip(1).zip(list) {
        out.push_str(&line(row));
        if verbose {
            out.push_str(&details(t));
        }
    }
    out
}

fn details(t: &Translation) -> String {
    let flags = match t.kind {
        TranslationKind::Call => "call",
        TranslationKind::Port if t.left_s.is_none() => "static",
        TranslationKind::Port => "extended, static",
        TranslationKind::Network => "static",
        TranslationKind::Overload => "extended",
    };
    let mut out = String::new();
    let time = |s: u32| clock(s.into());
    if let (Some(age), Some(idle), Some(left)) = (t.age_s, t.idle_s, t.left_s) {
        out.push_str(&format!("    create {}, use {}, left {},\n", time(age), time(idle), time(left)));
    }
    if let (None, Some(left)) = (t.age_s, t.left_s) {
        out.push_str(&format!("    left {},\n", time(left)));
    }
    let state = t.state.as_ref().map(|s| format!(", state: {s}")).unwrap_or_default();
    let tunnel = t
        .tunnel
        .as_ref()
        .or(t.device.as_ref())
        .map(|name| format!(", interface: {name}"))
        .unwrap_or_default();
    out + &format!("    flags: {flags}{state}{tunnel}\n")
}

/// In the words of IOS; what it does not have comes last.
#[must_use]
pub fn nat_statistics(s: &NatStatistics) -> String {
    let fixed = s.calls + s.statics;
    let tunnels = format!(
        "Total active translations: {} ({fixed} static, {} dynamic; {} extended)\n\
         Peak translations: {}, maximum {}\n\
         Hits: {}  Misses: {}\n\
         Expired translations: {}  Cleared translations: {}\n\
         Static: {} of live calls, {} of the profile\n\
         Mappings: {}  Inside hosts: {}  Port blocks: {}\n",
        fixed + s.translations,
        s.translations,
        s.translations,
        s.translations_peak,
        s.translations_max,
        s.hits,
        s.misses,
        s.expired,
        s.cleared,
        s.calls,
        s.statics,
        s.mappings,
        s.hosts,
        s.port_blocks,
    );
    let primary = s.primary.as_ref().map(|p| match &p.failure {
        None => format!("Primary lines: {} translations of the kernel\n", p.translations),
        Some(reason) => format!("Primary lines: not translated: {reason}\n"),
    });
    tunnels + &primary.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;
    use crate::api::model::PrimaryStatistics;

    fn entry(protocol: &str, ends: [&str; 4]) -> Translation {
        let [inside_global, inside_local, outside_local, outside_global] = ends.map(str::to_owned);
        Translation {
            protocol: protocol.into(),
            inside_global,
            inside_local,
            outside_local: Some(outside_local),
            outside_global: Some(outside_global),
            ..Translation::default()
        }
    }

    #[test]
    fn the_wan_is_inside_global_and_the_loopback_inside_local() {
        let ends = ["10.6.6.50:50001", "10.11.1.1:4500", "10.6.6.49:50002", "10.6.6.49:50002"];
        let entry = entry("udp", ends);
        golden("nat.txt", &translations(std::slice::from_ref(&entry), usize::MAX, false));
        let narrow = translations(&[entry], 80, false);
        assert!(narrow.lines().all(|l| l.len() <= 80) && narrow.lines().count() == 2, "{narrow}");
    }

    #[test]
    fn calls_static_and_dynamic_entries_stand_in_one_table() {
        let network = Translation {
            outside_local: None,
            outside_global: None,
            kind: TranslationKind::Network,
            tunnel: Some("Tunnel1".into()),
            ..entry("---", ["10.99.1.0/24", "192.168.1.0/24", "", ""])
        };
        let dynamic = Translation {
            kind: TranslationKind::Overload,
            tunnel: Some("Tunnel1".into()),
            state: Some("established".into()),
            age_s: Some(75),
            idle_s: Some(5),
            left_s: Some(7435),
            ..entry("tcp", ["10.99.0.1:2049", "192.168.1.9:40001", "10.2.0.7:443", "10.2.0.7:443"])
        };
        let call = entry("udp", ["10.6.6.50:50001", "10.255.0.1:4500", "10.6.6.49:50002", "10.6.6.49:50002"]);
        let list = [call, network, dynamic];
        golden("nat_verbose.txt", &translations(&list, 80, true));
        let narrow = translations(&list, 80, true);
        assert!(narrow.lines().all(|l| l.len() <= 80), "{narrow}");
    }

    #[test]
    fn statistics_are_in_the_words_of_ios() {
        let statistics = NatStatistics {
            calls: 1,
            statics: 2,
            translations: 5,
            translations_peak: 9,
            translations_max: 16_384,
            mappings: 4,
            hosts: 3,
            port_blocks: 3,
            hits: 1234,
            misses: 17,
            expired: 11,
            cleared: 1,
            primary: Some(PrimaryStatistics { translations: 7, failure: None }),
        };
        golden("nat_statistics.txt", &nat_statistics(&statistics));
    }
}
