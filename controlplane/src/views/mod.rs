//! Answers to the API: from the core's views to the words of the JSON.

mod control;
mod crypto;
mod nat;
mod qos;
mod session;

pub(crate) use nat::NatPages;

use crate::api::model::Cleared;
use crate::api::{Query, Reply, Request, Target};
use crate::clock;
use crate::net::track::List;
use crate::runtime::Runtime;
use sipsec_session::{Admin, Input};

impl Runtime {
    pub(crate) fn answer(&mut self, request: Request) {
        let list = match request.query {
            Query::Sla => Some(List::Operations),
            Query::Track => Some(List::Objects),
            Query::Routes => Some(List::Routes),
            _ => None,
        };
        if let Some(list) = list {
            return self.track.show(list, self.routes.clone(), request.reply);
        }
        if let Query::NatPage(from) = request.query {
            return self.nat_page(from, request.reply);
        }
        let reply = match request.query {
            // Route policy's own task has answered.
            Query::Sla | Query::Track | Query::Routes | Query::NatPage(_) => return,
            Query::Sessions(target, page) => self.sessions(&target, page),
            Query::Registrations { registered } => {
                let list = self.registrations().into_iter().filter(|r| r.registered || !registered);
                Reply::Registrations(list.collect())
            }
            Query::Dhcp => Reply::Dhcp(Box::new(self.learnt.view(&self.profile, clock::now()))),
            Query::CryptoSessions(page) => {
                let now = clock::now();
                let views = self.core.crypto_sessions_in(now, page.places());
                let list =
                    views.iter().map(|v| crypto::crypto(v, now, self.link.activity(v.tunnel))).collect();
                Reply::CryptoSessions(list, page.next(self.core.session_places()))
            }
            Query::NatTranslations => Reply::NatTranslations(self.fixed_translations()),
            Query::NatClear(host) => {
                self.input(Input::Admin(Admin::NatClear(host)));
                Reply::Done
            }
            Query::PolicyMaps(target, page) => self.policy_maps(&target, page),
            Query::Dataplane => Reply::Dataplane(Box::new(self.link.view())),
            Query::Control => Reply::Control(Box::new(self.control())),
            Query::Clear(target) => self.clear(target),
            Query::Dial(interface) => self.dial(interface),
            Query::Summary => Reply::Summary(self.summary()),
            Query::PastEvents(wanted) => Reply::PastEvents(self.events.past(&wanted)),
            Query::History { interface, since_s } => {
                Reply::History(self.events.history(interface.as_deref(), since_s))
            }
            Query::Call(id) => self.events.call(&id).map_or(Reply::NoSuchCall(id), Reply::Call),
        };
        // The client may have gone.
        let _ = request.reply.send(reply);
    }

    fn dial(&mut self, interface: String) -> Reply {
        let target = Target::Interface(interface);
        let mut all = self.core.statuses(clock::now());
        let Some(meant) = all.find(|t| target.covers(t.interface, t.remote_number)) else {
            return Reply::NoSuch(target);
        };
        if meant.status != "READY_TO_CONNECT" {
            return Reply::NotNow("the tunnel has a call, or one is ending");
        }
        if let Some(why) = meant.waits_for {
            return Reply::NotNow(why);
        }
        let tunnel = meant.tunnel;
        drop(all);
        self.input(Input::Admin(Admin::Call(tunnel)));
        Reply::Dialled
    }

    fn clear(&mut self, target: Target) -> Reply {
        let mut cleared = Cleared::default();
        let (mut meant, mut tunnels) = (false, Vec::new());
        for t in self.core.statuses(clock::now()).filter(|t| target.covers(t.interface, t.remote_number)) {
            meant = true;
            cleared.sessions += u32::from(t.in_call);
            if !t.in_call && t.backs_off {
                cleared.back_off_reset.push(t.interface.to_owned());
            }
            if matches!(target, Target::Interface(_)) {
                tunnels.push(t.tunnel);
            }
        }
        if !meant && target != Target::All {
            return Reply::NoSuch(target);
        }
        match target {
            Target::All => self.input(Input::Admin(Admin::Clear { remote_number: None })),
            Target::Number(number) => {
                self.input(Input::Admin(Admin::Clear { remote_number: Some(number) }));
            }
            Target::Interface(_) => {
                for tunnel in tunnels {
                    self.input(Input::Admin(Admin::ClearTunnel(tunnel)));
                }
            }
        }
        Reply::Cleared(cleared)
    }
}
