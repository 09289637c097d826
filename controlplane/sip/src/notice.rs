//! Notices for the operator: the first of a kind at once, then at most one a minute for each kind.

use sipsec_net::Instant;
use std::fmt;
use std::time::Duration;

/// Between two notices of one kind.
pub const NOTICE_EVERY: Duration = Duration::from_secs(60);
const KINDS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// A request that cannot be read: refused, or dropped.
    MalformedRequest,
    /// A response of which a part cannot be read; it was used as far as it could be, or dropped.
    MalformedResponse,
    /// Requests refused with 503 because a table is full.
    Overload,
    /// A request of ours is larger than 1300 bytes (RFC 3261 §18.1.1): UDP may lose it whole.
    Oversize,
}

/// A kind, how often it happened since its last notice, and what it was the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub kind: NoticeKind,
    pub count: u64,
    pub what: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, count, what } = self;
        match kind {
            NoticeKind::MalformedRequest => write!(f, "{count} malformed SIP request(s), the last: {what}"),
            NoticeKind::MalformedResponse => write!(f, "{count} malformed SIP response(s), the last: {what}"),
            NoticeKind::Overload => write!(f, "{count} SIP request(s) refused with 503: {what}"),
            NoticeKind::Oversize => write!(f, "{count} SIP request(s) too large for UDP, the last: {what}"),
        }
    }
}

#[derive(Debug, Default)]
pub struct Notices {
    /// By kind: when the last notice left, and what happened since.
    kinds: [(Option<Instant>, u64); KINDS],
}

impl Notices {
    /// Counts, and gives the notice if it is time for one.
    pub fn note(&mut self, now: Instant, kind: NoticeKind, what: impl FnOnce() -> String) -> Option<Notice> {
        let (last, count) = self.kinds.get_mut(kind as usize)?;
        *count += 1;
        if last.is_some_and(|at| now < at + NOTICE_EVERY) {
            return None;
        }
        *last = Some(now);
        Some(Notice { kind, count: std::mem::take(count), what: what() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_minute_of_each_kind_and_none_is_forgotten() {
        let mut notices = Notices::default();
        let mut note = |s: u64, kind| {
            let now = Instant::ZERO + Duration::from_secs(s);
            notices.note(now, kind, || format!("at {s}")).map(|n| (n.count, n.what))
        };
        assert_eq!(note(1, NoticeKind::Overload), Some((1, "at 1".into())));
        assert_eq!(note(2, NoticeKind::Overload), None);
        assert_eq!(note(2, NoticeKind::Oversize), Some((1, "at 2".into())));
        assert_eq!(note(60, NoticeKind::Overload), None);
        assert_eq!(note(61, NoticeKind::Overload), Some((3, "at 61".into())));
    }
}
