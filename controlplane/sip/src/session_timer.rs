//! Session timers (RFC 4028): a call whose peer has vanished does not go on for ever.

use crate::config::{INTERVAL_MAX_S, MIN_SE_S};
use crate::message::{Message, Writer, seconds};
use sipsec_net::Instant;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionTimer {
    pub interval_s: u32,
    /// We refresh; otherwise we wait for the peer to.
    pub ours: bool,
    /// When we refresh, or hang up.
    pub at: Instant,
    /// A refresh failed: what is due is the end.
    pub last: bool,
    pub expires_at: Instant,
    /// The largest Min-SE seen in the dialog (§7.4).
    pub min_se_s: u32,
    /// The peer understands UPDATE.
    pub update: bool,
    /// The peer agreed to it. If not, the session does not expire (§7.2): we refresh for our own benefit, and end the
    /// call only if the peer does not know it any more.
    pub negotiated: bool,
    /// How often the refresh under way has been tried again.
    pub retries: u32,
    /// How often a 422 has raised the interval of the refresh under way.
    pub raises: u32,
    /// The next refresh repeats one that was refused.
    pub again: bool,
    /// A refresh was refused for its form: they go without extensions, and so without a session interval.
    pub plain: bool,
    /// The next refresh has waited for its turn.
    pub has_turn: bool,
}

impl SessionTimer {
    fn new(now: Instant, interval_s: u32, ours: bool, m: &Message) -> Self {
        let interval = Duration::from_secs(interval_s.max(MIN_SE_S).into());
        let expires_at = now + interval;
        let mut timer = Self {
            interval_s: interval_s.max(MIN_SE_S),
            ours,
            // An interval of years would be no protection.
            at: now + interval.min(Duration::from_secs(INTERVAL_MAX_S.into())) / 2,
            last: false,
            expires_at,
            min_se_s: m.seconds("Min-SE").unwrap_or(MIN_SE_S).max(MIN_SE_S),
            update: m.lists("Allow", "UPDATE"),
            negotiated: true,
            retries: 0,
            raises: 0,
            again: false,
            plain: false,
            has_turn: false,
        };
        if !ours {
            timer.give_up();
        }
        timer
    }

    /// §10: without a refresh we hang up before the session expires, by the smaller of 32 s and a third of the interval.
    pub fn give_up(&mut self) {
        let margin = Duration::from_secs(32).min(Duration::from_secs(self.interval_s.into()) / 3);
        self.at = self.expires_at - margin;
        self.last = true;
    }

    /// §7.2: the 2xx to our request.
    pub fn of_answer(now: Instant, m: &Message, asked_s: u32) -> Self {
        // What cannot be read counts as absent: the call stays watched.
        match m.header("Session-Expires").and_then(|value| Some((value, seconds(value)?))) {
            Some((value, interval_s)) => {
                // §9, Table 2: the parameter is there; without it the side that knows of the timer does the work.
                let theirs = refresher(value).is_some_and(|r| r.eq_ignore_ascii_case("uas"));
                Self::new(now, interval_s, !theirs, m)
            }
            None => Self { negotiated: false, ..Self::new(now, asked_s, true, m) },
        }
    }

    /// §9: their request, which we answer 200.
    pub fn of_request(now: Instant, m: &Message) -> Option<Self> {
        let value = m.header("Session-Expires")?;
        // Table 2: the caller's choice stands; a peer without session timers cannot refresh.
        let theirs =
            m.lists("Supported", "timer") && refresher(value).is_none_or(|r| !r.eq_ignore_ascii_case("uas"));
        Some(Self::new(now, seconds(value)?, !theirs, m))
    }

    /// After a refresh of the peer that names no interval, or none that can be read: the session does not expire any more
    /// (§7.2), and we go on refreshing it for our own benefit.
    pub fn unnamed(&self, now: Instant, m: &Message) -> Self {
        Self { negotiated: false, ..Self::new(now, self.interval_s, true, m) }
    }

    /// Keeps what is known of the peer: the largest Min-SE (§7.4), that it allows UPDATE, and which form it takes.
    pub fn after(mut self, earlier: Option<&Self>) -> Self {
        if let Some(earlier) = earlier {
            self.min_se_s = self.min_se_s.max(earlier.min_se_s);
            self.update |= earlier.update;
            self.plain |= earlier.plain;
        }
        self
    }

    /// §10: once more after this pause, if that is before the end.
    pub fn try_again(&mut self, now: Instant, pause: Duration) {
        self.give_up();
        if now + pause < self.at || !self.negotiated {
            (self.at, self.last, self.again) = (now + pause, false, true);
        }
    }

    /// Session-Expires and Require of our 200.
    pub fn write_answer(&self, w: &mut Writer, request: &Message) {
        let who = if self.ours { "uas" } else { "uac" };
        w.header("Session-Expires", format_args!("{};refresher={who}", self.interval_s));
        if request.lists("Supported", "timer") {
            w.header("Require", "timer");
        }
    }
}

fn refresher(value: &str) -> Option<&str> {
    // The value is a number and parameters; a number is no URI, so the parameters are read as a Contact's.
    value.split(';').skip(1).find_map(|p| {
        let (name, value) = p.split_once('=')?;
        name.trim().eq_ignore_ascii_case("refresher").then(|| value.trim())
    })
}
