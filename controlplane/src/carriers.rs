//! The carriers as the loop sees them: the sockets of each, and its servers as the name servers have them.

use crate::clock;
use crate::events::messages::Direction;
use crate::net::resolve::{Found, Resolve, Wanted};
use crate::net::sip::{Setup, SipCounters, SipEvent, SipTransports};
use crate::runtime::Runtime;
use futures_util::future::{BoxFuture, FutureExt, select_all};
use sipsec_session::{CarrierId, Input};
use std::collections::BTreeMap;

/// One carrier.
#[derive(Debug)]
pub struct CarrierIo {
    pub name: String,
    pub sip: SipTransports,
    pub resolve: Resolve,
    /// Its servers, or why none is known.
    pub found: Result<Found, String>,
}

impl CarrierIo {
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn start(name: &str, setup: Setup, wanted: Wanted) -> Self {
        Self {
            name: name.to_owned(),
            sip: SipTransports::new(setup),
            resolve: Resolve::start(wanted),
            found: Err("the carrier's names have not been looked up yet".to_owned()),
        }
    }
}

#[derive(Debug)]
pub enum CarrierEvent {
    Sip(SipEvent),
    Found(Result<Found, String>),
}

/// All of them.
#[derive(Debug, Default)]
pub struct CarrierIos {
    all: BTreeMap<CarrierId, CarrierIo>,
    /// Which is asked first: none may keep the others waiting.
    turn: usize,
}

impl CarrierIos {
    pub fn insert(&mut self, id: CarrierId, carrier: CarrierIo) {
        self.all.insert(id, carrier);
    }

    pub fn remove(&mut self, id: CarrierId) {
        self.all.remove(&id);
    }

    #[must_use]
    pub fn get(&self, id: CarrierId) -> Option<&CarrierIo> {
        self.all.get(&id)
    }

    pub fn get_mut(&mut self, id: CarrierId) -> Option<&mut CarrierIo> {
        self.all.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (CarrierId, &CarrierIo)> {
        self.all.iter().map(|(id, c)| (*id, c))
    }

    #[must_use]
    pub fn ids(&self) -> Vec<CarrierId> {
        self.all.keys().copied().collect()
    }

    /// Of all sockets.
    #[must_use]
    pub fn counters(&self) -> SipCounters {
        self.all.values().map(|c| c.sip.counters()).sum()
    }

    /// Waits for what comes next; with `room`, also for messages. May be cancelled at any time.
    pub async fn next(&mut self, room: bool) -> (CarrierId, CarrierEvent) {
        let mut waits: Vec<BoxFuture<'_, (CarrierId, CarrierEvent)>> = Vec::with_capacity(2 * self.all.len());
        for (&id, CarrierIo { sip, resolve, .. }) in &mut self.all {
            if room {
                waits.push(async move { (id, CarrierEvent::Sip(sip.next().await)) }.boxed());
            }
            waits.push(async move { (id, CarrierEvent::Found(resolve.next().await)) }.boxed());
        }
        if waits.is_empty() {
            return std::future::pending().await;
        }
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % waits.len();
        waits.rotate_left(first);
        select_all(waits).await.0
    }
}

impl Runtime {
    pub(crate) fn sip(&mut self, carrier: CarrierId, event: SipEvent) {
        match event {
            SipEvent::Message { flow, bytes } => {
                // A flood from elsewhere must fill neither log nor memory; it is counted.
                if self.core.sip_trusts(carrier, flow.remote) {
                    self.events.sip(clock::now(), Direction::In, flow.remote, &bytes);
                }
                self.input(Input::Sip { carrier, flow, bytes });
            }
            SipEvent::Opened => self.wan_address(carrier),
            SipEvent::Connects { local, from, stream } => {
                let trusted = self.core.sip_trusts(carrier, from);
                let Some(io) = self.carriers.get_mut(carrier) else { return };
                if trusted {
                    io.sip.admit(local, from, stream);
                } else {
                    io.sip.refuse();
                }
            }
            SipEvent::Closed { flow, reason } => {
                self.input(Input::SipFlowClosed { carrier, flow: flow.id, reason });
            }
        }
    }

    /// The sockets and servers of a carrier for the WAN's addresses of now.
    pub(crate) fn addresses(&mut self, carrier: CarrierId) {
        if let Some(io) = self.carriers.get_mut(carrier) {
            io.sip.set_addresses(self.wan.addresses());
            io.resolve.again();
        }
        self.wan_address(carrier);
    }

    /// Tells the core of the WAN's addresses. One on which SIP cannot be spoken is none.
    fn wan_address(&mut self, carrier: CarrierId) {
        if let Some(io) = self.carriers.get(carrier) {
            let wan = io.sip.usable(self.wan.addresses());
            self.input(Input::WanAddress { carrier, wan });
        }
    }

    /// A change of the profile brings a carrier.
    pub(crate) fn carrier_added(&mut self, carrier: CarrierId, name: &str) {
        let Some((profile, setup)) = self.changes.sockets_of(name) else { return };
        let Some(sip) = profile.sip_named(name) else { return };
        let registrars = self.learnt.registrars(&profile, sip).unwrap_or_default();
        let wanted = Wanted::new(sip, registrars, self.learnt.dns());
        self.carriers.insert(carrier, CarrierIo::start(name, setup, wanted));
        self.addresses(carrier);
    }

    /// Tells the core of a carrier's servers, once they and the domain are known.
    pub(crate) fn servers(&mut self, carrier: CarrierId) {
        let Some(io) = self.carriers.get(carrier) else { return };
        let domain = self.profile.sip_named(&io.name).map(|sip| self.learnt.domain(&self.profile, sip));
        if !self.changes.has_number(&self.profile, &io.name) {
            return;
        }
        if let (Ok(found), Some(Ok(domain))) = (&io.found, domain) {
            let (registrars, proxies) = (found.registrars.clone(), found.proxies.clone());
            self.input(Input::SipServers { carrier, registrars, proxies, domain });
        }
    }

    /// Why this gateway cannot reach any carrier, if so.
    pub(crate) fn no_carrier(&self) -> Option<String> {
        let each: Vec<_> = self.carriers.iter().map(|(id, io)| (io, self.carrier_trouble(id))).collect();
        let why: Vec<String> = match each.as_slice() {
            [(_, why)] => return why.clone(),
            _ => each
                .iter()
                .map(|(io, why)| why.as_ref().map(|why| format!("{}: {why}", io.name)))
                .collect::<Option<_>>()?,
        };
        Some(why.join("; "))
    }

    /// Why this gateway cannot reach a carrier, if so.
    pub(crate) fn carrier_trouble(&self, carrier: CarrierId) -> Option<String> {
        let io = self.carriers.get(carrier)?;
        let sip = self.profile.sip_named(&io.name)?;
        let names = self.learnt.registrars(&self.profile, sip).err();
        let unknown = || {
            let found = io.found.clone().err();
            // No server of an IP version may be known because there is no address of it.
            let found =
                found.map(|why| self.wan.missing().map_or(why.clone(), |gone| format!("{gone}; {why}")));
            let domain = self.learnt.domain(&self.profile, sip).err();
            let number = (!self.changes.has_number(&self.profile, &io.name))
                .then(|| self.learnt.number(&self.profile).err())
                .flatten();
            domain.or(number).or(found)
        };
        let wan = self.wan.first().err().or_else(|| io.sip.local().err());
        wan.or(names).or_else(unknown)
    }
}
