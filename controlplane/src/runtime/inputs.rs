//! What happens around the core, as its inputs.

use super::{Runtime, TAKE_MAX};
use crate::boot;
use crate::clock;
use crate::dataplane::{LinkEvent, Received};
use crate::events::messages::{self, Direction};
use crate::journal::Written;
use crate::net::dhcp;
use crate::net::netlink::Change;
use crate::net::resolve::Wanted;
use crate::net::track;
use crate::views::NatPages;
use sipsec_session::{Chosen, Input};
use sipsec_track::config::NextHop;

impl Runtime {
    pub(super) fn dataplane(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up => self.input(Input::DataplaneUp),
            LinkEvent::Down => {
                self.nat = NatPages::default();
                self.input(Input::DataplaneDown);
            }
            LinkEvent::Ready => {
                for _ in 0..TAKE_MAX {
                    if !self.compute.has_room() {
                        break;
                    }
                    match self.link.take() {
                        Some(Received::Event(event)) => {
                            if let Some(event) = self.nat_event(event) {
                                self.input(Input::Dataplane(event));
                            }
                        }
                        Some(Received::Ike { media_port, from, bytes }) => {
                            messages::ike(Direction::In, media_port, &bytes);
                            self.input(Input::IkeDatagram { media_port, from, bytes });
                        }
                        None => break,
                    }
                    // What this one caused goes out before the next is looked at.
                    self.drain();
                }
            }
        }
    }

    pub(super) fn written(&mut self, written: Written) {
        match (written.record, written.result) {
            (true, Ok(())) => self.input(Input::Persisted { key: written.key }),
            (true, Err(error)) => {
                tracing::error!(
                    error,
                    "the call journal cannot be written: a call that needs it is given up"
                );
                self.input(Input::PersistFailed { key: written.key });
            }
            (false, Ok(())) => {}
            (false, Err(error)) => {
                tracing::error!(
                    error,
                    "the call journal keeps a call that has ended; the next start hangs it up"
                );
            }
        }
    }

    pub(super) fn kernel(&mut self, change: Change) {
        match change {
            // A netlink task that was restarted tells again what it finds.
            Change::Wan { v6, address } => {
                if self.wan.set(v6, address.clone()) {
                    match address {
                        Ok(ip) => tracing::info!(%ip, "WAN address"),
                        Err(reason) => tracing::warn!(reason, "the WAN has no address"),
                    }
                    for carrier in self.carriers.ids() {
                        self.addresses(carrier);
                    }
                }
            }
            Change::NextHop { media_port, mac } => self.input(Input::NextHop { media_port, mac }),
            Change::Routes(routes) => self.routes = routes,
            Change::Installed(prefixes) => {
                for prefix in prefixes {
                    self.adjacencies.installed(prefix);
                }
                self.adjacencies_decided();
            }
            Change::Refused { prefix, wanted, reason } => self.track.refused(prefix, wanted, reason),
        }
    }

    /// One failed line moves thousands of prefixes: they go to the dataplane together.
    pub(super) fn policies(&mut self, change: track::Change) {
        self.policy(change);
        for _ in 0..TAKE_MAX {
            match self.track.try_next() {
                Some(change) => self.policy(change),
                None => break,
            }
        }
        self.adjacencies_decided();
    }

    fn adjacencies_decided(&mut self) {
        let decided = self.adjacencies.take_decided();
        if !decided.is_empty() {
            self.input(Input::Routes(decided));
        }
    }

    fn policy(&mut self, change: track::Change) {
        match change {
            track::Change::Route { prefix, next, wanted } => {
                let tunnels = &self.profile.tunnels;
                let id = |name: &str| tunnels.iter().find(|t| t.name == name).map(|t| t.id);
                if boot::svti(&self.profile).is_some() {
                    if let Some(NextHop::Tunnel(name)) = next
                        && let Some(id) = id(&name)
                    {
                        self.input(Input::Routes(vec![(prefix, Chosen::Tunnel(id))]));
                    }
                } else {
                    self.adjacencies.decide(prefix, next.as_ref(), wanted, id);
                }
            }
            track::Change::Foreign(prefix) => self.adjacencies.leave_to_kernel(prefix),
            track::Change::ForeignGone(prefix) => self.adjacencies.foreign_gone(prefix),
            track::Change::Event(event) => self.events.publish_policy(clock::now(), &event),
            track::Change::QueryTraffic(tunnel) => {
                let id = self.profile.tunnels.iter().find(|t| t.name == tunnel).map(|t| t.id);
                let activity = id.and_then(|id| self.link.activity(id));
                let last = activity.map(|a| a.last_in.max(a.last_out));
                self.track.traffic(tunnel, last);
            }
        }
    }

    pub(super) fn dhcp(&mut self, change: dhcp::Change) {
        self.learnt.take(change);
        self.netlink.set_inside(self.learnt.delegated(&self.profile));
        self.number_learnt();
        let other = self.learnt.other_number(&self.profile);
        if let Some(reason) = other.as_ref().filter(|_| self.other_number != other) {
            tracing::warn!(reason, "calls will be refused if the carrier asks for the line's number");
        }
        self.other_number = other;
        for carrier in self.carriers.ids() {
            let Some(io) = self.carriers.get(carrier) else { continue };
            let Some(sip) = self.profile.sip_named(&io.name) else { continue };
            let registrars = self.learnt.registrars(&self.profile, sip);
            let domain = self.learnt.domain(&self.profile, sip);
            for reason in [registrars.as_ref().err(), domain.as_ref().err()].into_iter().flatten() {
                tracing::warn!(carrier = io.name, reason, "no calls yet");
            }
            io.resolve.want(Wanted::new(sip, registrars.unwrap_or_default(), self.learnt.dns()));
            self.servers(carrier);
        }
    }
}
