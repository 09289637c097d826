//! The carrier's subscribers, and its misbehaviour on demand.

use super::digest::Algorithm;
use super::line::Rules;
use super::relay::Plan;
use super::rewrite::Rewrite;
use sipsec_net::IpPrefix;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// RFC 3261 §17.1.1.1, Table 4.
pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
pub const T4: Duration = Duration::from_secs(5);
/// Timers B, F and H.
pub const T64: Duration = Duration::from_secs(32);
/// RFC 3261 §16.6 step 11: Timer C is more than three minutes.
pub const TIMER_C: Duration = Duration::from_secs(181);
/// INVITE transactions at a time; more are answered 503.
pub const TRANSACTIONS_MAX: usize = 16_384;
/// Registered numbers.
pub const BINDINGS_MAX: usize = 65_536;

/// A subscriber.
#[derive(Clone)]
pub struct Account {
    pub number: String,
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.number)
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    /// Where the carrier listens; each address is also its Record-Route for the calls that come to it.
    pub address: SocketAddr,
    /// Further addresses of the same servers: of IPv6, or of a standby.
    pub others: Vec<SocketAddr>,
    pub domain: String,
    pub accounts: Vec<Account>,
    pub lines: Vec<Access>,
    /// Where media pass; without one the subscribers see each other.
    pub relay: Option<Plan>,
    pub knobs: Knobs,
}

/// An access line: what comes from these prefixes is this subscriber's, also from addresses that it has not registered.
#[derive(Clone, Debug)]
pub struct Access {
    pub number: String,
    pub prefixes: Vec<IpPrefix>,
}

impl Config {
    /// Every address of the carrier.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        std::iter::once(self.address).chain(self.others.iter().copied())
    }
}

/// What a test may change while the carrier runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// 401 for REGISTER without credentials; off, every account registers without a question, as on the NGN.
    pub authenticate_register: bool,
    /// 407 for INVITE without credentials.
    pub authenticate_invite: bool,
    /// What the challenges offer, in this order; RFC 8760 §2.3: the client takes the topmost it knows.
    pub algorithms: Vec<Algorithm>,
    /// A nonce is stale after this.
    pub nonce_lifetime: Duration,
    /// 423 below it (RFC 3261 §10.3 step 7).
    pub expires_min_s: u32,
    /// Registrations are shortened to it.
    pub expires_max_s: u32,
    /// Requests inside a dialog that do not carry our Record-Route as Route are refused, as session border
    /// controllers do: a BYE that forgets it leaves a call that is charged.
    pub require_route: bool,
    /// What the line takes.
    pub rules: Rules,
    pub faults: Faults,
    /// By called number.
    pub numbers: BTreeMap<String, NumberKnobs>,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            authenticate_register: true,
            authenticate_invite: false,
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            nonce_lifetime: Duration::from_secs(300),
            expires_min_s: 60,
            expires_max_s: 3600,
            require_route: true,
            rules: Rules::default(),
            faults: Faults::default(),
            numbers: BTreeMap::new(),
        }
    }
}

/// What goes wrong in the network. Each number counts down to none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// 2xx to INVITE that are lost on their way to the caller.
    pub lost_200: u32,
    /// A CANCEL is held until the called side has answered, and comes too late.
    pub late_cancel: bool,
    /// A 2xx of a second called side, which does not exist, follows the first.
    pub forked_200: u32,
    /// INVITEs that are answered 503 with this many seconds of `Retry-After`.
    pub storm: u32,
    pub storm_retry_after_s: u32,
    /// REGISTERs that are answered 503.
    pub register_storm: u32,
    /// BYEs that are lost.
    pub lost_bye: u32,
    /// This address of the carrier is down: what comes to it is lost, and nothing leaves from it.
    pub down: Option<SocketAddr>,
}

/// Takes one, if there is one left.
pub(super) fn take(left: &mut u32) -> bool {
    let had = *left > 0;
    *left -= u32::from(had);
    had
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberKnobs {
    /// Every INVITE to the number is refused.
    pub reject: Option<Reject>,
    /// The INVITE is held for this long after 100 Trying.
    pub delay: Duration,
    /// The network asserts this number as the caller's.
    pub asserted: Option<String>,
    /// The called side gets no offer and makes one in its 200; the caller's becomes the answer, in the ACK (RFC 3264 §4).
    pub delayed_offer: bool,
    /// What happens to the caller's SDP and to the called side's.
    pub offer: Vec<Rewrite>,
    pub answer: Vec<Rewrite>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    pub status: u16,
    pub reason: String,
    pub retry_after_s: Option<u32>,
}

impl Reject {
    #[must_use]
    pub fn busy() -> Self {
        Self { status: 486, reason: "Busy Here".into(), retry_after_s: None }
    }

    #[must_use]
    pub fn overloaded(retry_after_s: u32) -> Self {
        Self { status: 503, reason: "Service Unavailable".into(), retry_after_s: Some(retry_after_s) }
    }
}
