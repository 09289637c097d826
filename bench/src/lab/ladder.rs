//! The call ladder, printed as it happens: three lifelines and an arrow for each message.

use super::carrier::Hop;
use super::observe::{Sight, Sighting};
use super::topology::is_carrier;
use super::world::line_of;
use sipsec_net::Instant;
use std::net::IpAddr;

/// Columns of the lifelines behind the time.
const LINES: [usize; 3] = [4, 40, 76];
const WIDTH: usize = LINES[2] + 4;
const NAMES: [&str; 3] = ["branch", "carrier", "head-end"];

#[derive(Clone, Debug)]
pub enum Event {
    Sip(Hop),
    Wire(Sighting),
    /// A line of a gateway's own log.
    Gateway {
        at: Instant,
        gateway: &'static str,
        text: String,
    },
    Note {
        at: Instant,
        text: String,
    },
}

impl Event {
    #[must_use]
    pub const fn at(&self) -> Instant {
        match self {
            Self::Sip(hop) => hop.at,
            Self::Wire(sighting) => sighting.at,
            Self::Gateway { at, .. } | Self::Note { at, .. } => *at,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Ladder {
    start: Instant,
    color: bool,
}

impl Ladder {
    #[must_use]
    pub const fn new(start: Instant, color: bool) -> Self {
        Self { start, color }
    }

    #[must_use]
    pub fn heading(&self) -> String {
        let mut row = vec![' '; WIDTH + 8];
        for (line, name) in LINES.iter().zip(NAMES) {
            let at = line.saturating_sub(name.len() / 2);
            row.splice(at..at + name.len(), name.chars());
        }
        format!("{:>9} {}", "seconds", row.into_iter().collect::<String>().trim_end())
    }

    #[must_use]
    pub fn render(&self, event: &Event) -> String {
        let (body, detail) = match event {
            Event::Sip(hop) => {
                let (from, to) = (column(hop.from.ip()), column(hop.to.ip()));
                (arrow(from, to, &hop.summary, '─'), hop.detail.clone())
            }
            Event::Wire(s) => {
                let (from, to) = (column(s.from.ip()), column(s.to.ip()));
                let ports = format!("udp {} → {}", s.from.port(), s.to.port());
                match &s.sight {
                    Sight::Ike { exchange, response, message_id, fragment } => {
                        let kind = if *response { "response" } else { "request" };
                        let part = if *fragment { ", fragment" } else { "" };
                        (arrow(from, to, exchange, '═'), format!("{kind} {message_id}{part}, {ports}"))
                    }
                    Sight::EspFirst(spi) => {
                        (arrow(from, to, "ESP", '━'), format!("first packet of SPI {spi}, {ports}"))
                    }
                    Sight::ClearText { protocol, destination } => {
                        let text = format!("protocol {protocol} to {destination}");
                        (arrow(from, to, "CLEAR TEXT", '!'), text)
                    }
                }
            }
            Event::Gateway { gateway, text, .. } => {
                let line = usize::from(*gateway != "branch") * 2;
                (mark(line), format!("{gateway}: {text}"))
            }
            Event::Note { text, .. } => (mark(1), text.clone()),
        };
        let since = event.at().saturating_duration_since(self.start).as_secs_f64();
        let (dim, bold, end) = if self.color { ("\x1b[2m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
        let body = body.trim_end();
        if detail.is_empty() {
            format!("{since:>9.4} {body}")
        } else if let Event::Gateway { .. } | Event::Note { .. } = event {
            format!("{since:>9.4} {body:<WIDTH$} {bold}{detail}{end}")
        } else {
            format!("{since:>9.4} {body:<WIDTH$} {dim}{detail}{end}")
        }
    }
}

fn column(ip: IpAddr) -> usize {
    match (is_carrier(ip), line_of(ip)) {
        (false, Some(0)) => 0,
        (false, Some(_)) => 2,
        _ => 1,
    }
}

fn lifelines() -> Vec<char> {
    let mut row = vec![' '; WIDTH];
    for line in LINES {
        row[line] = '│';
    }
    row
}

fn mark(line: usize) -> String {
    let mut row = lifelines();
    row[LINES[line]] = '●';
    row.into_iter().collect()
}

fn arrow(from: usize, to: usize, label: &str, stroke: char) -> String {
    let mut row = lifelines();
    if from == to {
        return mark(from);
    }
    let (left, right) = (LINES[from.min(to)], LINES[from.max(to)]);
    row[left + 1..right].fill(stroke);
    if from < to {
        row[right - 1] = '▶';
    } else {
        row[left + 1] = '◀';
    }
    let room = right - left - 7;
    let label: Vec<char> = format!(" {} ", label.chars().take(room).collect::<String>()).chars().collect();
    let at = left + 1 + (right - left - 1 - label.len()) / 2;
    row.splice(at..at + label.len(), label);
    row.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::topology::{BRANCH_WAN, HEADEND_WAN};
    use super::*;
    use std::net::SocketAddr;
    use std::time::Duration;

    #[test]
    fn arrows_join_the_lifelines_of_sender_and_receiver() {
        let ladder = Ladder::new(Instant::ZERO, false);
        let hop = |from: &str, to: &str, summary: &str| {
            Event::Sip(Hop {
                at: Instant::ZERO + Duration::from_millis(12),
                from: SocketAddr::new(from.parse().expect("ip"), 5060),
                to: SocketAddr::new(to.parse().expect("ip"), 5060),
                call_id: "c".into(),
                summary: summary.into(),
                detail: "d".into(),
            })
        };
        let out = ladder.render(&hop(BRANCH_WAN, "198.51.100.1", "INVITE"));
        let back = ladder.render(&hop("198.51.100.1", HEADEND_WAN, "200 OK (INVITE)"));
        assert_eq!(
            out,
            "   0.0120     │───────────── INVITE ─────────────▶│                                   │    d"
        );
        assert_eq!(
            back,
            "   0.0120     │                                   │───────── 200 OK (INVITE) ────────▶│    d"
        );
        assert!(ladder.render(&hop(HEADEND_WAN, BRANCH_WAN, &"x".repeat(200))).contains("│◀─"));
    }
}
