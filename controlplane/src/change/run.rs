//! The loop's part: what is in force, the swap, and the time that a change has to be confirmed in.

use super::{Call, Change, ChangeError, Changer, Confirmation, InForce, Request, Source, Wish};
use crate::boot;
use crate::clock;
use crate::config::Profile;
use crate::net::sip::Setup;
use crate::runtime::Runtime;
use sipsec_net::{Instant, TelNumber};
use sipsec_session::{Input, ReconfigureError, Reconfigured};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Pause before a change is taken back again that could not be taken back.
const BACK_AGAIN: Duration = Duration::from_secs(5);

/// Changes, as far as the loop has to do with them.
#[derive(Debug)]
pub struct Changes {
    pub requests: mpsc::Receiver<Request>,
    pub changer: Changer,
    /// What the core is asked to bring into force.
    applying: Option<Applying>,
    unconfirmed: Option<Unconfirmed>,
    last_id: u32,
    number: Number,
}

/// The number of the line that the profile leaves to DHCP.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    /// What DHCP has named.
    wanted: Option<TelNumber>,
    in_force: Option<TelNumber>,
    /// When the core is told again, if it has not taken it.
    again_at: Option<Instant>,
}

#[derive(Debug)]
struct Applying {
    profile: Arc<Profile>,
    sockets: BTreeMap<String, Setup>,
    number: Option<TelNumber>,
    confirmation: Confirmation,
    reply: oneshot::Sender<Result<Reconfigured, ReconfigureError>>,
}

#[derive(Debug)]
struct Unconfirmed {
    until: Instant,
    back: Arc<Profile>,
}

impl Changes {
    #[must_use]
    pub fn new(requests: mpsc::Receiver<Request>, changer: Changer, profile: &Profile) -> Self {
        let last_id = profile.tunnels.iter().map(|t| t.id.0).max().unwrap_or(0);
        Self { requests, changer, applying: None, unconfirmed: None, last_id, number: Number::default() }
    }

    /// How SIP is spoken with a carrier that the change under way brings, and the profile that has it.
    pub fn sockets_of(&mut self, carrier: &str) -> Option<(Arc<Profile>, Setup)> {
        let applying = self.applying.as_mut()?;
        Some((Arc::clone(&applying.profile), applying.sockets.remove(carrier)?))
    }

    /// The profile with the number that DHCP has named, as far as it is in force.
    #[must_use]
    pub fn with_number<'a>(&self, profile: &'a Profile) -> Cow<'a, Profile> {
        match self.number.in_force {
            Some(number) if profile.learns_number().is_some() => Cow::Owned(profile.with_number(number)),
            _ => Cow::Borrowed(profile),
        }
    }

    /// Whether the carrier's line has its number.
    #[must_use]
    pub fn has_number(&self, profile: &Profile, carrier: &str) -> bool {
        profile.learns_number() != Some(carrier) || self.number.in_force.is_some()
    }

    /// A change waits to be confirmed: one that has come into force, or that of an earlier run.
    pub fn wait(&mut self, left: Duration, back: Arc<Profile>) {
        self.unconfirmed = Some(Unconfirmed { until: clock::now() + left, back });
    }
}

impl Runtime {
    pub(crate) fn change_request(&mut self, request: Request) {
        match request {
            Request::InForce(reply) => {
                // The client may have disconnected.
                let _ = reply.send(self.change_state());
            }
            Request::Apply(change, reply) => {
                let Change { profile, core, sockets, number, confirmation } = *change;
                self.changes.applying = Some(Applying { profile, sockets, number, confirmation, reply });
                self.input(Input::Reconfigure(Box::new(core)));
            }
            Request::Confirm => self.changes.unconfirmed = None,
        }
    }

    fn change_state(&self) -> InForce {
        let now = clock::now();
        let call = |v: sipsec_session::SessionView| {
            v.caller?;
            let rate = v.bandwidth_negotiated.unwrap_or(v.bandwidth_configured);
            Some((v.interface, Call { rate, charged: v.charged_for }))
        };
        InForce {
            profile: Arc::clone(&self.profile),
            calls: self.core.sessions(now).into_iter().filter_map(call).collect(),
            waits: self.changes.unconfirmed.is_some(),
            last_id: self.changes.last_id,
            start_file: self.profile_path.clone(),
            number: self.changes.number.wanted,
            number_before: self.changes.number.in_force,
        }
    }

    /// The core has taken another profile, or has not.
    pub(crate) fn reconfigured(&mut self, result: Result<Reconfigured, ReconfigureError>) {
        let Some(Applying { profile, number, confirmation, reply, .. }) = self.changes.applying.take() else {
            return;
        };
        if result.is_ok() {
            let highest = profile.tunnels.iter().map(|t| t.id.0).max().unwrap_or(0);
            self.changes.last_id = self.changes.last_id.max(highest);
            match confirmation {
                Confirmation::None => self.changes.unconfirmed = None,
                Confirmation::Kept => {}
                Confirmation::Within(left, back) => self.changes.wait(left, back),
            }
            if self.profile.log != profile.log
                && let Err(error) = self.log.set_default(&profile.log)
            {
                tracing::error!(error, "the log filter stays as it was");
            }
            let before = std::mem::replace(&mut self.profile, profile);
            self.changes.number.in_force = number;
            let in_force = self.changes.with_number(&self.profile);
            self.events.set_profile(&in_force);
            self.set_policy(&before);
        }
        let _ = reply.send(result);
    }

    /// Gives operations, track objects and routes of the new profile to route policy, and their prefixes and the translation to
    /// primary lines to the kernel's tasks.
    fn set_policy(&mut self, before: &Profile) {
        let routed = boot::watch(&self.profile).routed;
        if routed != boot::watch(before).routed {
            self.netlink.set_routed(routed);
        }
        self.primary.set(boot::primary_rules(&self.profile));
        if let Err(error) = self.track.reconfigure(boot::policy(&self.profile)) {
            tracing::error!(%error, "route policy stays as it was");
        }
    }

    /// DHCP has said something of the line: its number may be another one.
    pub(crate) fn number_learnt(&mut self) {
        if self.profile.learns_number().is_none() {
            return;
        }
        let now = clock::now();
        let wants = &mut self.changes.number;
        if let Ok(number) = self.learnt.number(&self.profile)
            && wants.wanted.replace(number) != Some(number)
        {
            tracing::info!(%number, "DHCP has named the line's number");
            wants.again_at = None;
        }
        // Brings it into force.
        let number = &mut self.changes.number;
        if number.wanted == number.in_force || number.again_at.is_some_and(|at| at > now) {
            return;
        }
        number.again_at = Some(now + BACK_AGAIN);
        let wish = Wish {
            source: Source::Number(Arc::clone(&self.profile)),
            author: "DHCP".to_owned(),
            partial: false,
            confirm: None,
        };
        let changer = self.changes.changer.clone();
        tokio::spawn(async move {
            if let Err(error) = changer.apply(wish).await {
                tracing::error!(%error, "the number that DHCP has named cannot come into force now; it is tried again");
            }
        });
    }

    /// Takes a change back that was not confirmed in time.
    pub(crate) fn check_confirmation(&mut self, now: Instant) {
        let Some(unconfirmed) = self.changes.unconfirmed.as_mut().filter(|u| u.until <= now) else { return };
        unconfirmed.until = now + BACK_AGAIN;
        let wish = Wish {
            source: Source::Back(Arc::clone(&unconfirmed.back)),
            author: "not confirmed".to_owned(),
            partial: false,
            confirm: None,
        };
        tracing::warn!("the change was not confirmed in time: the profile before it comes back");
        let changer = self.changes.changer.clone();
        tokio::spawn(async move {
            match changer.apply(wish).await {
                Ok(_) => {}
                Err(ChangeError::NothingToConfirm) => {
                    tracing::info!("the change was confirmed at the last moment")
                }
                Err(error) => {
                    tracing::error!(%error, "the profile before cannot come back now; it is tried again");
                }
            }
        });
    }

    /// SIGHUP: the start file is read again and applied; what needs a restart is left out, and named.
    pub(crate) fn reload(&mut self) {
        let Some(path) = self.profile_path.clone() else { return };
        let changer = self.changes.changer.clone();
        tokio::spawn(async move {
            let source = Source::StartFile(path);
            let wish = Wish { source, author: "SIGHUP".to_owned(), partial: true, confirm: None };
            match changer.apply(wish).await {
                Ok(applied) => {
                    tracing::info!(
                        "keys, certificates and revocation lists are read anew; live calls keep theirs"
                    );
                    let left_out: Vec<_> = applied.left_out.iter().map(|c| c.path.as_str()).collect();
                    if !left_out.is_empty() {
                        let ignored = left_out.join(", ");
                        tracing::warn!(
                            ignored,
                            "the profile differs in what a reload does not take: restart needed"
                        );
                    }
                    if let Err(error) = changer.saved().await {
                        tracing::warn!(%error, "not recorded");
                    }
                }
                Err(error) => tracing::error!(%error, "not reloaded; what was read before stays in use"),
            }
        });
    }
}
