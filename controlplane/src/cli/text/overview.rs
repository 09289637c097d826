//! `show vpn-sip summary`, `show vpn-sip session brief`, `show version` and `health`

use super::clock;
use super::table::table;
use crate::api::model::{Cleared, Control, Registration, Session, Summary};
use std::fmt::Write as _;

/// `1 call`, `2 calls`
#[must_use]
pub fn counted(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[must_use]
pub fn summary(s: &Summary) -> String {
    let mut out = format!("{}: {} up\n", counted(s.tunnels, "tunnel"), s.up);
    for (n, what) in [
        (s.dialing, "dialling"),
        (s.negotiating, "negotiating IKE (the call is answered, and charged)"),
        (s.draining, "hanging up"),
        (s.failed, "failed: `sipsec show vpn-sip session failed` has the reasons"),
        (s.waiting, "cannot call now: `sipsec show control` has the reason"),
        (s.ready, "ready to connect"),
    ] {
        if n > 0 {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "   {n} {what}");
        }
    }
    let _ = writeln!(out, "{} of {} registered", s.lines_registered, counted(s.lines, "line"));
    let _ = writeln!(out, "Traffic in/out (30 s): {}/{} kbps", s.kbps_in, s.kbps_out);
    out
}

/// One line for each tunnel.
#[must_use]
pub fn brief(list: &[Session]) -> String {
    let rows: Vec<_> = list.iter().map(row).collect();
    table(["Interface", "Status", "Number", "Uptime", "kbps", "In/out"], &rows)
}

fn row(s: &Session) -> [String; 6] {
    let role = s.role.map(|r| format!(" ({})", r.letter())).unwrap_or_default();
    // A failed tunnel is the one that is looked for.
    let status = match (&s.last_failure, s.role) {
        (Some(failure), None) if failure.count > 0 => format!("failed: {}", failure.code),
        _ => format!("{}{role}", s.status),
    };
    let rate = s.rates.filter(|_| s.role.is_some());
    [
        s.interface.clone(),
        status,
        s.remote_number.clone(),
        s.uptime_s.map_or("-".to_owned(), clock),
        if s.bandwidth_negotiated_kbps == 0 {
            "-".to_owned()
        } else {
            s.bandwidth_negotiated_kbps.to_string()
        },
        rate.map_or("-".to_owned(), |r| format!("{}/{}", r.kbps_in, r.kbps_out)),
    ]
}

/// What `clear` did.
#[must_use]
pub fn cleared(c: &Cleared) -> String {
    let mut out = match c.sessions {
        0 => "no call was up\n".to_owned(),
        n => format!("{} hung up\n", counted(u64::from(n), "call")),
    };
    if !c.back_off_reset.is_empty() {
        let names = c.back_off_reset.join(", ");
        let _ = writeln!(out, "pause after failures ended for {names}: the next packet calls");
    }
    out
}

/// How well a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl Level {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The exit codes of Nagios plugins.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        self as u8
    }
}

/// One line, as Nagios plugins print, and the exit code.
#[must_use]
pub fn health(control: &Control, lines: &[Registration], summary: &Summary) -> (Level, String) {
    let mut found: Vec<(Level, String)> = Vec::new();
    let reason = |r: &Option<String>| r.clone().unwrap_or_else(|| "unknown".to_owned());
    if control.kernel.value.is_none() {
        found.push((Level::Critical, format!("kernel routing: {}", reason(&control.kernel.reason))));
    }
    if control.journal.value.is_none() {
        found.push((Level::Critical, format!("call journal: {}", reason(&control.journal.reason))));
    }
    if control.wan.value.is_none() {
        found.push((Level::Critical, reason(&control.wan.reason)));
    } else if control.sip.value.is_none() {
        found.push((Level::Critical, format!("no SIP: {}", reason(&control.sip.reason))));
    }
    if control.dataplane.value.is_none() {
        found.push((Level::Critical, format!("no dataplane: {}", reason(&control.dataplane.reason))));
    }
    let unregistered: Vec<_> = lines.iter().filter(|l| !l.registered).collect();
    if let Some(first) = unregistered.first() {
        let level = if unregistered.len() == lines.len() { Level::Critical } else { Level::Warning };
        let more = if unregistered.len() > 1 {
            format!(" (and {} more)", unregistered.len() - 1)
        } else {
            String::new()
        };
        found.push((level, format!("{} not registered: {}{more}", first.number, reason(&first.reason))));
    }
    if summary.failed > 0 {
        found.push((Level::Warning, format!("{} failed", counted(summary.failed, "tunnel"))));
    }
    let level = found.iter().map(|(level, _)| *level).max().unwrap_or(Level::Ok);
    found.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    let mut texts: Vec<String> = found.into_iter().map(|(_, text)| text).collect();
    if texts.is_empty() {
        texts.push(format!("{} registered", counted(summary.lines_registered, "line")));
    }
    texts.push(format!("{} of {} up", summary.up, counted(summary.tunnels, "tunnel")));
    // Performance data after the bar.
    let text = format!(
        "SIPSEC {} - {} | up={} failed={} kbps_in={} kbps_out={}\n",
        level.word(),
        texts.join("; ").replace('|', "/"),
        summary.up,
        summary.failed,
        summary.kbps_in,
        summary.kbps_out
    );
    (level, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::Known;

    fn well() -> (Control, Vec<Registration>, Summary) {
        let control = Control {
            wan: Ok("192.0.2.1".parse().expect("address")).into(),
            sip: Ok("192.0.2.1:5060".parse().expect("address")).into(),
            dataplane: Ok("sipsec-dataplane".to_owned()).into(),
            kernel: Ok("followed".to_owned()).into(),
            journal: Ok("written".to_owned()).into(),
            ..Control::default()
        };
        let line = Registration { number: "0388881001".into(), registered: true, ..Registration::default() };
        let summary =
            Summary { tunnels: 2, up: 1, ready: 1, lines: 1, lines_registered: 1, ..Summary::default() };
        (control, vec![line], summary)
    }

    #[test]
    fn health_is_one_line_and_the_worst_level() {
        let (control, lines, summary) = well();
        let (level, text) = health(&control, &lines, &summary);
        assert_eq!((level.exit_code(), text.lines().count()), (0, 1));
        assert_eq!(
            text,
            "SIPSEC OK - 1 line registered; 1 of 2 tunnels up | up=1 failed=0 kbps_in=0 kbps_out=0\n"
        );
        let failed = Summary { failed: 1, ..summary };
        assert_eq!(health(&control, &lines, &failed).0.exit_code(), 1);
        let down = Control { wan: Known::from(Err("wan0 is down".to_owned())), ..control.clone() };
        let (level, text) = health(&down, &lines, &failed);
        assert!(
            level == Level::Critical && text.starts_with("SIPSEC CRITICAL - wan0 is down; 1 tunnel failed"),
            "{text}"
        );
        let stuck =
            Control { kernel: Known::from(Err("no progress for 20 s".to_owned())), ..control.clone() };
        assert_eq!(health(&stuck, &lines, &summary).0, Level::Critical);
        let full = Control { journal: Known::from(Err("no space left".to_owned())), ..control.clone() };
        let (level, text) = health(&full, &lines, &summary);
        assert!(level == Level::Critical && text.contains("call journal: no space left"), "{text}");
        let out = Registration { registered: false, reason: Some("no answer".into()), ..lines[0].clone() };
        assert_eq!(health(&control, &[out.clone(), lines[0].clone()], &summary).0, Level::Warning);
        assert_eq!(health(&control, &[out], &summary).0, Level::Critical);
    }

    #[test]
    fn a_summary_has_no_empty_lines() {
        let (_, _, s) = well();
        assert_eq!(
            summary(&s),
            "2 tunnels: 1 up\n   1 ready to connect\n1 of 1 line registered\nTraffic in/out (30 s): 0/0 kbps\n"
        );
    }
}
