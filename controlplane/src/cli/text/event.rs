//! One line of `sipsec monitor`.

use crate::api::model::EventLine;

/// `12:34:56.789012 Tunnel1 session-up: …` (UTC).
#[must_use]
pub fn event(line: &EventLine) -> String {
    let (seconds, micros) = (line.time_us / 1_000_000, line.time_us % 1_000_000);
    let day = seconds % 86_400;
    let clock = format!("{:02}:{:02}:{:02}.{micros:06}", day / 3600, day / 60 % 60, day % 60);
    let interface = line.interface.as_deref().unwrap_or("-");
    format!("{clock} {interface:<10} {:<20} {}", line.event, line.text).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_when_where_what() {
        let line = EventLine {
            time_us: 45_296_000_123,
            event: "session-up".into(),
            interface: Some("Tunnel1".into()),
            text: "at 1000 kbps".into(),
        };
        assert_eq!(event(&line), "12:34:56.000123 Tunnel1    session-up           at 1000 kbps");
    }
}
