//! The event loop: everything that happens becomes an input of the session core, everything it wants is done, and there is
//! nothing else. The whole flow is [`Runtime::turn`].

use crate::api::Request;
use crate::api::model::EventLine;
use crate::clock;
use crate::compute::{Compute, Urgency};
use crate::config::Profile;
use crate::dataplane::{Happening, Link, Taken};
use crate::events;
use crate::journal::{Journal, Write, Written};
use crate::keylog;
use crate::logging::LogControl;
use crate::messages::{self, Way};
use crate::net::netlink::{Change, Netlink};
use crate::net::udp::{SipEvent, SipSocket};
use crate::setup;
use crate::signals::{Signals, Told};
use crate::supervise::Supervisor;
use sipsec_ike::compute::Outcome;
use sipsec_net::Instant;
use sipsec_net::dp::Op;
use sipsec_session::{Admin, Core, Input, Output, Transaction};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio::time::sleep_until;

/// Messages taken from the dataplane before the others have their turn.
const TAKE_MAX: usize = 256;
/// How often this process shows that it is alive.
const BEAT: Duration = Duration::from_millis(500);
/// Longer than a BYE without an answer is repeated (RFC 3261 §17.1.2.2, Timer F: 32 s).
const SHUTDOWN_MAX: Duration = Duration::from_secs(36);
/// How long the disk may take for what the last calls left.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// Both clocks are read one after the other and in whole seconds, so they may differ by this without being set.
const CLOCK_STEP_S: u64 = 2;

/// Everything the loop owns.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) profile: Profile,
    pub(crate) core: Core,
    pub(crate) sip: SipSocket,
    pub(crate) link: Link,
    pub(crate) netlink: Netlink,
    pub(crate) journal: Journal,
    pub(crate) compute: Compute<Input>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) events: broadcast::Sender<Arc<EventLine>>,
    pub(crate) log: LogControl,
    pub(crate) signals: Signals,
    pub(crate) supervisor: Supervisor,
    pub(crate) wan: Result<IpAddr, String>,
    pub(crate) routes: BTreeMap<String, String>,
    pub(crate) started: Instant,
    /// In seconds since 1970, as far as the core knows.
    pub(crate) booted_at_s: u64,
    pub(crate) state: Running,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    Yes,
    /// Every call is being hung up, until then at most.
    Stopping(Instant),
    /// The core has nothing left to say.
    Done,
}

impl Runtime {
    /// Runs until the gateway is shut down.
    pub async fn run(mut self) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        self.supervisor.ready();
        while self.state != Running::Done {
            self.turn(&mut beat).await;
        }
        if tokio::time::timeout(FLUSH_MAX, self.journal.flush()).await.is_err() {
            tracing::warn!(
                "the journal was not written in time; the next start hangs up calls that have ended"
            );
        }
        // A socket that stays behind is replaced at the next start.
        let _ = std::fs::remove_file(self.profile.control_socket());
        tracing::info!("ended");
    }

    /// One turn: do what the core wants, wait for one thing to happen, tell the core. While the core wants more computed
    /// than may wait, nothing is heard that could make it want more: the rings and the socket hold it back.
    async fn turn(&mut self, beat: &mut tokio::time::Interval) {
        self.drain();
        let room = self.compute.has_room();
        let deadline = self.core.poll_timeout();
        let timeout = async {
            match deadline {
                Some(at) => sleep_until(clock::wake_at(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            told = self.signals.next() => match told {
                Told::Stop(signal) => self.stop(signal),
                Told::Reload => self.reload(),
            },
            happening = self.link.next(), if room => self.dataplane(happening),
            event = self.sip.next(), if room => match event {
                SipEvent::Datagram { from, bytes } => {
                    // A flood from elsewhere must not fill the log; it is counted.
                    if self.core.sip_trusts(from) {
                        messages::sip(Way::In, from, &bytes);
                    }
                    self.tell(Input::SipDatagram { from, bytes });
                }
                SipEvent::Opened(local) => self.tell(Input::WanAddress(Some(local.ip()))),
            },
            input = self.compute.next() => self.tell(input),
            written = self.journal.next() => self.written(written),
            change = self.netlink.next() => self.kernel(change),
            Some(request) = self.requests.recv() => self.answer(request),
            () = timeout, if room => self.core.handle_timeout(clock::now()),
            _ = beat.tick() => self.beat(),
        }
    }

    fn stop(&mut self, signal: &'static str) {
        match self.state {
            Running::Yes => {
                tracing::info!(signal, "hanging up every call; a second signal ends at once");
                self.supervisor.stopping();
                self.state = Running::Stopping(clock::now() + SHUTDOWN_MAX);
                self.tell(Input::Admin(Admin::Shutdown));
            }
            Running::Stopping(_) | Running::Done => {
                tracing::warn!(signal, "ended with calls left; the next start hangs them up");
                self.state = Running::Done;
            }
        }
    }

    /// Keys, certificates and revocation lists from their files, for the calls to come. The profile itself is not read.
    fn reload(&mut self) {
        match setup::keyring(&self.profile) {
            Ok(keyring) => {
                tracing::info!(
                    "keys, certificates and revocation lists are read anew; live calls keep theirs"
                );
                self.tell(Input::Keyring(keyring));
            }
            Err(error) => tracing::error!(%error, "not reloaded; what was read before stays in use"),
        }
    }

    fn beat(&mut self) {
        let now = clock::now();
        self.look_at_the_clock(now);
        self.link.beat(now);
        self.supervisor.alive();
        if matches!(self.state, Running::Stopping(until) if now >= until) {
            self.stop("timeout");
        }
    }

    /// The dates of certificates are of the wall clock, which may be set at any time.
    fn look_at_the_clock(&mut self, now: Instant) {
        let unix_time_s = clock::unix_time_s();
        let booted_at_s = unix_time_s.saturating_sub(now.as_nanos() / 1_000_000_000);
        if booted_at_s.abs_diff(self.booted_at_s) > CLOCK_STEP_S {
            self.booted_at_s = booted_at_s;
            self.tell(Input::WallClock { unix_time_s });
        }
    }

    fn dataplane(&mut self, happening: Happening) {
        match happening {
            Happening::Up => self.tell(Input::DataplaneUp),
            Happening::Down => self.tell(Input::DataplaneDown),
            Happening::Ready => {
                for _ in 0..TAKE_MAX {
                    if !self.compute.has_room() {
                        break;
                    }
                    match self.link.take() {
                        Some(Taken::Event(event)) => self.tell(Input::Dataplane(event)),
                        Some(Taken::Ike { media_port, from, bytes }) => {
                            messages::ike(Way::In, media_port, &bytes);
                            self.tell(Input::IkeDatagram { media_port, from, bytes });
                        }
                        None => break,
                    }
                    // What this one caused goes out before the next is looked at.
                    self.drain();
                }
            }
        }
    }

    fn transaction(&mut self, transaction: Transaction) {
        for op in &transaction.ops {
            if let Op::MediaClose(media_port) = op {
                self.netlink.forget(*media_port);
            }
        }
        self.link.send(transaction.id, transaction.ops, transaction.more);
    }

    fn written(&mut self, written: Written) {
        match (written.record, written.result) {
            (true, Ok(())) => self.tell(Input::Persisted { key: written.key }),
            (true, Err(error)) => {
                tracing::error!(error, "the call journal cannot be written: the call is given up");
                self.tell(Input::PersistFailed { key: written.key });
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

    fn kernel(&mut self, change: Change) {
        match change {
            Change::Wan(wan) => {
                match &wan {
                    Ok(ip) => tracing::info!(%ip, "WAN address"),
                    Err(reason) => tracing::warn!(reason, "the WAN has no address"),
                }
                self.sip.set_address(wan.as_ref().ok().copied());
                self.wan = wan;
                // An address on which SIP cannot be spoken is none.
                let usable = self.sip.local().ok().map(|local| local.ip());
                self.tell(Input::WanAddress(usable));
            }
            Change::NextHop { media_port, mac } => self.tell(Input::NextHop { media_port, mac }),
            Change::Routes(routes) => self.routes = routes,
        }
    }

    pub(crate) fn tell(&mut self, input: Input) {
        self.core.handle_input(clock::now(), input);
    }

    /// Does everything that the core wants, as far as there is room for what it wants computed.
    fn drain(&mut self) {
        while self.compute.has_room()
            && let Some(output) = self.core.poll_output()
        {
            match output {
                Output::SipTransmit { to, bytes } => {
                    messages::sip(Way::Out, to, &bytes);
                    self.sip.send(to, &bytes);
                }
                Output::IkeTransmit { media_port, bytes } => {
                    messages::ike(Way::Out, media_port, &bytes);
                    self.link.send_ike(media_port, &bytes);
                }
                Output::NatKeepalive { media_port } => self.link.send_nat_keepalive(media_port),
                Output::Dataplane(transaction) => self.transaction(transaction),
                Output::SnapshotRequest => self.link.request_snapshot(),
                Output::QueryActivity(tunnel) => {
                    // What cannot be read says nothing, above all not that the tunnel is idle.
                    if let Some(activity) = self.link.activity(tunnel) {
                        self.tell(Input::Activity { tunnel, activity });
                    }
                }
                Output::Compute { key, established, job } => {
                    let urgency = if established { Urgency::Established } else { Urgency::Negotiating };
                    let failed = Input::Compute { key, outcome: Outcome::Failed };
                    self.compute.submit(urgency, failed, move || Input::Compute { key, outcome: job.run() });
                }
                Output::Persist { key, record } => self.journal.write(Write { key, record }),
                Output::ResolveNextHop { media_port, remote } => self.netlink.resolve(media_port, remote),
                Output::KeyLog(entry) => {
                    if let Some(directory) = &self.profile.ike.lab_key_log {
                        keylog::append(directory, &entry);
                    }
                }
                Output::Event(event) => events::publish(&self.events, &event),
                Output::ShutdownComplete => self.state = Running::Done,
            }
        }
    }
}
