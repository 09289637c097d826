//! Configuration and bounds of the user agent.

use crate::dialect::Dialect;
use crate::digest::Credentials;
use crate::target::Target;
use sipsec_net::TelNumber;
use std::time::Duration;

/// RFC 3261 Table 4.
pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
pub const T4: Duration = Duration::from_secs(5);
/// Timers B, F, H, J, L, M: 64·T1. Timer D is to be at least 32 s, which is the same.
pub const T64: Duration = Duration::from_secs(32);
/// Calls at a time, both directions.
pub const CALLS_MAX: usize = 8192;
/// Ended calls that are kept for 2xx that may still arrive.
pub const OVER_MAX: usize = 8192;
/// Server transactions remembered.
pub const SERVER_TRANSACTIONS_MAX: usize = 16_384;
/// Part of these that is reserved for requests inside dialogs: one BYE for each call must find room.
pub const SERVER_TRANSACTIONS_IN_DIALOG: usize = CALLS_MAX;
/// `Retry-After` of our 503.
pub const RETRY_AFTER_OVERLOAD_S: u32 = 60;
/// RFC 3261 §8.1.1.6.
pub const MAX_FORWARDS: u8 = 70;
/// RFC 3261 §18.1.1: larger requests go over TCP, which many carriers of this service do not offer.
pub const REQUEST_MAX: usize = 1300;
/// An INVITE that only rings is given up after this long.
pub const RING_MAX: Duration = Duration::from_secs(180);
/// How long an offered call may wait for a decision.
pub const OFFER_MAX: Duration = Duration::from_secs(120);
/// How long writing the record of an answered call may take: until then the call is charged, and neither acknowledged
/// nor hung up.
pub const PERSIST_MAX: Duration = Duration::from_secs(4);
/// BYEs sent for one call, each for 64·T1, before it is left to the carrier's own timers.
pub const BYES_MAX: u32 = 8;
/// Early dialogs of one INVITE.
pub const EARLY_MAX: usize = 8;
/// Times that a request is sent again because the network asked for a longer interval (422, 423): each answer may ask for
/// more.
pub const RAISES_MAX: u32 = 3;
/// Times that a refused INVITE, or an answered one, is acknowledged again: a 2xx comes at most 11 times within 64·T1
/// (RFC 3261 §13.3.1.4), and the network may double each.
pub const ACKS_AGAIN_MAX: u32 = 32;
/// A longer interval is as good as none: it is neither asked for because of a 422, nor waited for.
pub const INTERVAL_MAX_S: u32 = 86_400;
/// RFC 4028 §4: no session interval is shorter.
pub const MIN_SE_S: u32 = 90;
/// RFC 4028 §4: the recommended interval.
pub const SESSION_EXPIRES_S: u32 = 1800;

/// A server that says nothing is left for another after this long: a quarter of timers B and F, which is four
/// repetitions over UDP.
pub const FAIL_OVER: Duration = Duration::from_secs(8);
/// TCP is not tried for large requests where it was refused, for this long.
pub const NO_TCP: Duration = Duration::from_secs(3600);

/// RFC 3261 §10.2.1.1: a registrar may shorten it.
pub const EXPIRES_S: u32 = 3600;

/// [`Config::requests_per_s`] of a carrier that names no limit.
pub const REQUESTS_PER_S: u32 = 100;

#[derive(Clone, Debug)]
pub struct Config {
    /// The registrar's addresses, in the order in which they are tried. Only what comes from these and from `proxies` is
    /// trusted. [`UserAgent::set_servers`](crate::UserAgent::set_servers) changes them.
    pub registrars: Vec<Target>,
    /// Addresses of the proxy that takes everything but REGISTER; empty if that is the registrar.
    pub proxies: Vec<Target>,
    pub domain: String,
    pub lines: Vec<Line>,
    pub expires_s: u32,
    /// The session interval to ask for (RFC 4028): [`MIN_SE_S`] or more, or 0 to ask for none.
    pub session_expires_s: u32,
    /// New BYEs a second, and as many REGISTERs and session refreshes together; after a pause a few leave at once. Answers
    /// to challenges, CANCEL, ACK and responses are not counted. From 1.
    pub requests_per_s: u32,
    /// An OPTIONS for each registered line this often; `None` for none.
    pub prove: Option<Duration>,
    /// Redirections of one call that are followed (RFC 3261 §8.1.3.4), to the same number alone.
    pub redirects_max: u32,
    /// RFC 3581 `rport` in Via; some carriers must not see it.
    pub rport: bool,
    pub user_agent: Option<String>,
    pub dialect: Dialect,
}

impl Config {
    /// A carrier without particulars: intervals and limits of the RFCs.
    #[must_use]
    pub fn new(registrar: Target, domain: &str, lines: Vec<Line>) -> Self {
        Self {
            registrars: vec![registrar],
            proxies: Vec::new(),
            domain: domain.to_owned(),
            lines,
            expires_s: EXPIRES_S,
            session_expires_s: SESSION_EXPIRES_S,
            requests_per_s: REQUESTS_PER_S,
            prove: None,
            redirects_max: 0,
            rport: true,
            user_agent: None,
            dialect: Dialect::default(),
        }
    }

    pub(crate) fn line_of(&self, number: TelNumber) -> Option<usize> {
        self.lines.iter().position(|l| l.number == number)
    }

    pub(crate) fn credentials(&self, line: Option<usize>) -> Option<&Credentials> {
        self.lines.get(line?)?.auth.as_ref()
    }
}

/// One local number.
#[derive(Clone, Debug)]
pub struct Line {
    pub number: TelNumber,
    pub auth: Option<Credentials>,
}
