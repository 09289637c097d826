//! `show ip sla statistics` and `show ip sla configuration`

use super::track::ms;
use crate::api::policy::{BfdSession, SlaOperation};
use std::fmt::Write as _;

const NONE: &str = "No operation is configured.\n";

#[must_use]
pub fn sla_statistics(list: &[SlaOperation]) -> String {
    if list.is_empty() {
        return NONE.to_owned();
    }
    let mut out = String::from("IPSLAs Latest Operation Statistics\n");
    for operation in list {
        out.push('\n');
        statistics(operation, &mut out);
    }
    out
}

fn statistics(o: &SlaOperation, out: &mut String) {
    let s = &o.statistics;
    // Writing to a String cannot fail.
    let _ = writeln!(out, "IPSLA operation id: {}", o.id);
    let _ = writeln!(out, "Type of operation: {}", o.kind);
    let latest =
        s.rtt_last_us.map_or("NoConnection/Busy/Timeout".to_owned(), |us| format!("{} milliseconds", ms(us)));
    if o.bfd.is_none() {
        let _ = writeln!(out, "        Latest RTT: {latest}");
    }
    if let Some(ago) = o.last_ended_ms_ago {
        let _ = writeln!(out, "Latest operation ended: {ago} ms ago");
    }
    let _ = writeln!(out, "Latest operation return code: {}", o.return_code);
    let _ = writeln!(out, "Reachability is {}, state is {}", o.reachability, o.state);
    let row = match (o.good_in_row, o.bad_in_row) {
        (0, bad) => format!("{bad} bad ({} make it down)", o.down_count),
        (good, _) => format!("{good} good ({} make it up)", o.up_count),
    };
    let _ = writeln!(out, "In a row: {row}");
    if let (Some(min), Some(avg), Some(max)) = (s.rtt_min_us, s.rtt_avg_us, s.rtt_max_us) {
        let _ = writeln!(out, "RTT Values (milliseconds):");
        let _ = writeln!(out, "        Number Of RTT: {}", s.successes);
        let _ = writeln!(out, "        RTT Min/Avg/Max: {}/{}/{}", ms(min), ms(avg), ms(max));
    }
    if let (Some(smoothed), Some(variation)) = (s.rtt_smoothed_us, s.rtt_variation_us) {
        let _ = writeln!(out, "        RTT smoothed: {}, variation {}", ms(smoothed), ms(variation));
    }
    if let Some(jitter) = s.jitter_us {
        let _ = writeln!(out, "        Jitter Avg: {}", ms(jitter));
    }
    let _ = writeln!(out, "Packet loss (latest 100): {} %", s.loss_percent);
    let _ = writeln!(out, "Number of successes: {}", s.successes);
    let _ = writeln!(out, "Number of failures: {}", s.failures);
    for (code, count) in s.codes.iter().filter(|(code, _)| code.as_str() != "OK") {
        let _ = writeln!(out, "        {code}: {count}");
    }
    if s.late > 0 {
        let _ = writeln!(out, "Answers that came too late: {}", s.late);
    }
    if let Some(bfd) = &o.bfd {
        session(bfd, out);
    }
    let _ = writeln!(out, "Operation time to live: {}", life(o));
}

fn session(b: &BfdSession, out: &mut String) {
    let _ = writeln!(out, "BFD session: {}, remote {}", b.state, b.remote_state);
    let _ = writeln!(out, "        Discriminators: {}/{}", b.local_discriminator, b.remote_discriminator);
    let _ = writeln!(out, "        Diagnostics: {}/{}", b.diagnostic, b.remote_diagnostic);
    let _ = writeln!(
        out,
        "        Transmit interval {}, detection time {}",
        ms(b.transmit_us),
        ms(b.detection_us)
    );
    let _ = writeln!(out, "        Packets out/in/bad: {}/{}/{}", b.packets_out, b.packets_in, b.packets_bad);
}

fn life(o: &SlaOperation) -> String {
    match (o.activity.as_str(), o.lifetime_s) {
        ("pending", _) => "not scheduled".to_owned(),
        ("expired", _) => "0".to_owned(),
        (_, None) => "Forever".to_owned(),
        (_, Some(s)) => format!("{s} sec in all"),
    }
}

#[must_use]
pub fn sla_configuration(list: &[SlaOperation]) -> String {
    if list.is_empty() {
        return NONE.to_owned();
    }
    let mut out = String::from("IP SLAs Infrastructure Engine-III\n");
    for operation in list {
        out.push('\n');
        configuration(operation, &mut out);
    }
    out
}

fn configuration(o: &SlaOperation, out: &mut String) {
    let _ = writeln!(out, "Entry number: {}", o.id);
    let _ = writeln!(out, "Tag: {}", o.name.as_deref().unwrap_or_default());
    let _ = writeln!(out, "Type of operation to perform: {}", o.kind);
    let source = o.source.as_deref().unwrap_or("0.0.0.0");
    let _ = writeln!(out, "Target address/Source address: {}/{source}", o.target);
    if let Some(port) = o.port {
        let _ = writeln!(out, "Target port: {port}");
    }
    if let Some(device) = &o.device {
        let _ = writeln!(out, "Source Interface: {device}");
    }
    if let Some(query) = &o.query {
        let _ = writeln!(out, "Target Address: {query}");
    }
    if let Some(path) = &o.path {
        let _ = writeln!(out, "URL path: {path}");
    }
    if let (Some(packets), Some(interval)) = (o.packets, o.interval_ms) {
        let _ = writeln!(out, "Number of packets: {packets}, Inter packet interval: {interval}");
    }
    match &o.bfd {
        Some(bfd) => {
            let (tx, detection) = (ms(bfd.transmit_us), ms(bfd.detection_us));
            let _ = writeln!(out, "Transmit interval (milliseconds): {tx}");
            let _ = writeln!(out, "Detection time (milliseconds): {detection}");
        }
        None => {
            let _ = writeln!(out, "Operation timeout (milliseconds): {}", o.timeout_ms);
            let _ = writeln!(out, "Threshold (milliseconds): {}", o.threshold_ms);
        }
    }
    out.push_str("Schedule:\n");
    if o.bfd.is_none() {
        let (s, ms) = (o.frequency_ms / 1000, o.frequency_ms % 1000);
        let fraction =
            if ms == 0 { String::new() } else { format!(".{ms:03}").trim_end_matches('0').to_owned() };
        let _ = writeln!(out, "   Operation frequency (seconds): {s}{fraction}");
    }
    let next = match (o.activity.as_str(), o.next_in_ms) {
        ("pending", _) => "Pending Trigger".to_owned(),
        (_, Some(ms)) => format!("in {ms} ms"),
        _ => "Start Time already passed".to_owned(),
    };
    let _ = writeln!(out, "   Next Scheduled Start Time: {next}");
    let _ =
        writeln!(out, "   Life (seconds): {}", o.lifetime_s.map_or("Forever".to_owned(), |s| s.to_string()));
    let status = if o.activity == "active" { "Active" } else { "notInService" };
    let _ = writeln!(out, "   Status of entry (SNMP RowStatus): {status}");
    let _ = writeln!(out, "Probes in a row: {} make it up, {} make it down", o.up_count, o.down_count);
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;
    use crate::api::policy::SlaStatistics;

    fn operations() -> Vec<SlaOperation> {
        let echo = SlaOperation {
            id: 1,
            name: Some("primary".into()),
            kind: "icmp-echo".into(),
            target: "10.11.11.1".into(),
            source: Some("192.0.2.2".into()),
            device: Some("wan1".into()),
            frequency_ms: 100,
            timeout_ms: 100,
            threshold_ms: 50,
            up_count: 3,
            down_count: 3,
            activity: "active".into(),
            reachability: "Down".into(),
            state: "Down".into(),
            return_code: "Timeout".into(),
            last_ended_ms_ago: Some(40),
            next_in_ms: Some(60),
            bad_in_row: 7,
            statistics: SlaStatistics {
                sent: 1234,
                successes: 1200,
                failures: 34,
                codes: [
                    ("OK".to_owned(), 1200),
                    ("Timeout".to_owned(), 33),
                    ("Over threshold".to_owned(), 1),
                ]
                .into(),
                rtt_last_us: Some(1234),
                rtt_min_us: Some(401),
                rtt_avg_us: Some(1100),
                rtt_max_us: Some(51_000),
                rtt_smoothed_us: Some(1190),
                rtt_variation_us: Some(210),
                jitter_us: Some(180),
                loss_percent: 3,
                late: 2,
            },
            ..SlaOperation::default()
        };
        let bfd = SlaOperation {
            id: 7,
            kind: "bfd".into(),
            target: "192.0.2.1".into(),
            activity: "active".into(),
            reachability: "Up".into(),
            state: "Up".into(),
            return_code: "OK".into(),
            up_count: 1,
            down_count: 1,
            good_in_row: 900,
            bfd: Some(BfdSession {
                state: "Up".into(),
                remote_state: "Up".into(),
                local_discriminator: 77,
                remote_discriminator: 4_000_000_001,
                diagnostic: "No Diagnostic".into(),
                remote_diagnostic: "No Diagnostic".into(),
                transmit_us: 50_000,
                detection_us: 150_000,
                packets_out: 900,
                packets_in: 899,
                packets_bad: 0,
            }),
            ..SlaOperation::default()
        };
        let dns = SlaOperation {
            id: 9,
            kind: "dns".into(),
            target: "10.11.11.2".into(),
            port: Some(53),
            query: Some("www.example".into()),
            frequency_ms: 60_000,
            timeout_ms: 5000,
            threshold_ms: 5000,
            lifetime_s: Some(3600),
            activity: "pending".into(),
            reachability: "Unknown".into(),
            state: "Unknown".into(),
            return_code: "Unknown".into(),
            up_count: 3,
            down_count: 3,
            ..SlaOperation::default()
        };
        vec![echo, bfd, dns]
    }

    #[test]
    fn operations_are_shown_in_the_words_of_ios() {
        let (statistics, configuration) = (sla_statistics(&operations()), sla_configuration(&operations()));
        assert!(statistics.lines().chain(configuration.lines()).all(|l| l.len() <= 80));
        golden("ip-sla-statistics.txt", &statistics);
        golden("ip-sla-configuration.txt", &configuration);
        assert_eq!((sla_statistics(&[]), sla_configuration(&[])), (NONE.to_owned(), NONE.to_owned()));
    }
}
