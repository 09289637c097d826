//! `monitor`

use crate::api::model::EventLine;
use crate::cli::screen::{Screen, Wall};

/// `2026-11-30 12:34:56.789 +09:00 Tunnel1    session-up …`, and the number and Call-ID where there are any; folded to the
/// terminal, warnings in red.
#[must_use]
pub fn event(line: &EventLine, wall: &Wall, screen: Screen) -> String {
    let interface = line.interface.as_deref().unwrap_or("-");
    let number = line.remote_number.as_deref().map(|n| format!(" {n}")).unwrap_or_default();
    let call = line.call_id.as_deref().map(|id| format!(" [{id}]")).unwrap_or_default();
    let time = wall.time(line.time_us);
    let text = format!("{time} {interface:<10}{number} {:<17} {}{call}", line.event, line.text);
    let text = screen.fit(text.trim_end());
    match text.split_at_checked(time.len() + 1) {
        Some((time, rest)) if line.warning => format!("{time}{}", screen.red(rest)),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::{TimeZone, offset};

    #[test]
    fn a_line_tells_when_where_which_call_and_what() {
        let line = EventLine {
            time_us: 45_296_000_123,
            event: "session-up".into(),
            interface: Some("Tunnel1".into()),
            remote_number: Some("0388882001".into()),
            call_id: Some("a@host".into()),
            text: "at 1000 kbps".into(),
            ..EventLine::default()
        };
        let tokyo = Wall::in_zone(TimeZone::fixed(offset(9)));
        let screen = Screen::new(120, true, true);
        assert_eq!(
            event(&line, &tokyo, screen),
            "1970-01-01 21:34:56.000 +09:00 Tunnel1    0388882001 session-up        at 1000 kbps [a@host]"
        );
        let narrow = event(&line, &tokyo, Screen::new(80, true, true));
        assert!(
            narrow.ends_with(" at 1000\n  kbps [a@host]") && narrow.lines().all(|l| l.len() <= 80),
            "{narrow}"
        );
        let warning =
            EventLine { warning: true, interface: None, remote_number: None, call_id: None, ..line };
        let red = event(&warning, &tokyo, screen);
        assert!(red.contains("\x1b[31m-          session-up") && red.ends_with("\x1b[0m"), "{red:?}");
        assert!(!event(&warning, &tokyo, Screen::new(120, true, false)).contains('\x1b'));
    }
}
