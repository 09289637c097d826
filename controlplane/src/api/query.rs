//! What the API asks the loop, and what the loop answers.

use super::model::{
    Call, CallMessages, Cleared, Control, CryptoSession, Dataplane, DhcpView, EventLine, NatStatistics,
    PolicyMap, Registration, Session, Summary, Translation,
};
use super::policy::{PrefixRoutes, SlaOperation, TrackObject};
use crate::events::PastEvents;
use sipsec_net::TelNumber;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A question to the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// A page of those that are meant.
    Sessions(Target, Page),
    /// Those that are registered, or all lines.
    Registrations {
        registered: bool,
    },
    Dhcp,
    CryptoSessions(Page),
    /// Those of calls and of static rules.
    NatTranslations,
    /// Those of the dataplane, from a row of its table on.
    NatPage(u32),
    /// Of a host, or all.
    NatClear(Option<Ipv4Addr>),
    /// The classes of the tunnels that are meant.
    PolicyMaps(Target, Page),
    Dataplane,
    Control,
    /// Operations, track objects and routes.
    Sla,
    Track,
    Routes,
    Clear(Target),
    /// Call for the tunnel of this name.
    Dial(String),
    Summary,
    PastEvents(PastEvents),
    /// Calls that have ended, of one tunnel or all, back to so many seconds ago.
    History {
        interface: Option<String>,
        since_s: Option<u64>,
    },
    /// The SIP messages of a call.
    Call(String),
}

/// Where a page of a list begins. The loop makes one page between two events, so that a list of thousands does not keep calls
/// waiting; what changes between two pages shows in the later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub from: usize,
}

impl Page {
    /// Tunnels that are looked at for one page.
    pub const TUNNELS: usize = 256;

    /// The page after this one, if the list of so many tunnels has one.
    #[must_use]
    pub const fn next(self, tunnels: usize) -> Option<Self> {
        let from = self.from + Self::TUNNELS;
        if from < tunnels { Some(Self { from }) } else { None }
    }

    #[must_use]
    pub const fn places(self) -> std::ops::Range<usize> {
        self.from..self.from + Self::TUNNELS
    }
}

/// Which sessions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    All,
    Number(TelNumber),
    Interface(String),
}

impl Target {
    #[must_use]
    pub fn covers(&self, interface: &str, remote_number: TelNumber) -> bool {
        match self {
            Self::All => true,
            Self::Number(number) => *number == remote_number,
            Self::Interface(name) => name.eq_ignore_ascii_case(interface),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Number(number) => write!(f, "remote number {number}"),
            Self::Interface(name) => write!(f, "name {name}"),
        }
    }
}

/// Its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Sessions(Vec<Session>, Option<Page>),
    Registrations(Vec<Registration>),
    Dhcp(Box<DhcpView>),
    CryptoSessions(Vec<CryptoSession>, Option<Page>),
    NatTranslations(Vec<Translation>),
    /// With the row where the next page begins.
    NatPage(Vec<Translation>, Option<u32>, NatStatistics),
    Done,
    PolicyMaps(Vec<PolicyMap>, Option<Page>),
    Dataplane(Box<Dataplane>),
    Control(Box<Control>),
    Sla(Vec<SlaOperation>),
    Track(Vec<TrackObject>),
    Routes(Vec<PrefixRoutes>),
    Cleared(Cleared),
    /// The call is being placed.
    Dialled,
    /// Why none can be placed now.
    NotNow(&'static str),
    Summary(Summary),
    PastEvents(Vec<Arc<EventLine>>),
    History(Vec<Arc<Call>>),
    Call(CallMessages),
    /// No call that is kept has this Call-ID.
    NoSuchCall(String),
    /// No tunnel is meant by this.
    NoSuch(Target),
}

#[derive(Debug)]
pub struct Request {
    pub query: Query,
    pub reply: oneshot::Sender<Reply>,
}
