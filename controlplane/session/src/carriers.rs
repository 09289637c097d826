//! The carriers of a gateway: a user agent for each, with its own servers, sockets and lines.
//!
//! ```text
//!  line ──┐                      ┌─ user agent, WAN addresses, pause ─> sockets of carrier 0
//!         ├─> Carriers ─> Carrier┤
//!  call ──┘  (its id's space)    └─ user agent, WAN addresses, pause ─> sockets of carrier 1
//! ```
//! A call stays with the carrier over which it was made.

use crate::addresses::WanAddresses;
use crate::config::{BackOff, CarrierConfig, CarrierMedia};
use sipsec_net::{Entropy, Instant, TelNumber};
use sipsec_sip::sdp::SessionDescription;
use sipsec_sip::{
    Call, CallId, DialError, DialogRecord, Locals, Output, Reason, RegistrationView, Stats, UserAgent,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Carriers of one gateway.
pub const CARRIERS_MAX: usize = 16;
/// A shutdown, or a carrier that leaves, waits this long for the registrar: a binding that stays costs nothing and expires.
pub const UNREGISTER_MAX: Duration = Duration::from_secs(4);
/// It waits this long for the BYE of the last call, which costs money: longer than it is repeated (RFC 3261 §17.1.2.2,
/// timer F: 32 s).
pub const HANG_UP_MAX: Duration = Duration::from_secs(34);

/// Names a carrier within this run; never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CarrierId(pub u16);

pub struct Carrier {
    name: String,
    pub ua: UserAgent,
    wan: WanAddresses,
    port: u16,
    pub media: CarrierMedia,
    pub back_off: BackOff,
    /// RFC 3261 §21.5.4: no INVITE before; BYE and CANCEL cost the carrier nothing that it would not pay.
    quiet_until: Option<Instant>,
    /// The profile has it no more.
    leaving: Option<Leaving>,
}

#[derive(Clone, Copy, Debug)]
struct Leaving {
    since: Instant,
    /// How long its calls may take to be hung up.
    until: Instant,
}

impl Carrier {
    pub const fn wan(&self) -> WanAddresses {
        self.wan
    }

    /// Why no call of this line can leave, if so.
    pub fn refuses(&self, line: TelNumber) -> Option<&'static str> {
        if self.wan.any().is_none() {
            Some("the WAN interface has no address")
        } else if let Some(why) = self.ua.unreachable() {
            Some(why)
        } else if !self.ua.is_registered(line) {
            Some("the line is not registered")
        } else if self.quiet_until.is_some() {
            Some("the carrier is overloaded and asked for a pause")
        } else {
            None
        }
    }

    /// When it is removed at the latest.
    fn leave_at(&self) -> Option<Instant> {
        let Leaving { since, until } = self.leaving?;
        Some(if self.ua.live_dialogs() > 0 { until } else { since + UNREGISTER_MAX })
    }

    pub fn stay_quiet(&mut self, until: Instant) {
        self.quiet_until = self.quiet_until.max(Some(until));
    }

    /// The addresses before these.
    pub fn set_wan(&mut self, now: Instant, wan: WanAddresses) -> WanAddresses {
        let had = std::mem::replace(&mut self.wan, wan);
        let local = |ip: Option<IpAddr>| ip.map(|ip| SocketAddr::new(ip, self.port));
        self.ua.set_locals(now, Locals { v4: local(wan.v4), v6: local(wan.v6) });
        had
    }
}

/// All of them. There is at least one, and it takes what belongs to none.
pub struct Carriers {
    all: BTreeMap<CarrierId, Carrier>,
    lines: BTreeMap<TelNumber, CarrierId>,
    last: CarrierId,
}

impl Carriers {
    /// Of the first [`CARRIERS_MAX`].
    pub fn new(configs: Vec<CarrierConfig>, mut entropy: impl FnMut() -> Box<dyn Entropy>) -> Self {
        let mut new = Self { all: BTreeMap::new(), lines: BTreeMap::new(), last: CarrierId(u16::MAX) };
        for config in configs.into_iter().take(CARRIERS_MAX) {
            new.insert(config, entropy());
        }
        new
    }

    fn insert(&mut self, config: CarrierConfig, entropy: Box<dyn Entropy>) -> CarrierId {
        let mut id = self.last;
        loop {
            id = CarrierId(id.0.wrapping_add(1));
            if !self.all.contains_key(&id) {
                break;
            }
        }
        self.last = id;
        self.lines.extend(config.sip.lines.iter().map(|line| (line.number, id)));
        let CarrierConfig { name, sip, port, media, back_off } = config;
        let ua = UserAgent::in_space(sip, entropy, id.0);
        let wan = WanAddresses::default();
        let carrier = Carrier { name, ua, wan, port, media, back_off, quiet_until: None, leaving: None };
        self.all.insert(id, carrier);
        id
    }

    /// Other values. A carrier of `replaced`, and one that is none of `new`, leaves: it hangs up its calls and gives up its
    /// lines. The others keep their calls and registrations. Those that are new are returned, with their names.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        new: Vec<CarrierConfig>,
        replaced: &BTreeSet<String>,
        mut entropy: impl FnMut() -> Box<dyn Entropy>,
    ) -> Vec<(CarrierId, String)> {
        let stays = |c: &Carrier| !replaced.contains(&c.name) && new.iter().any(|n| n.name == c.name);
        for (id, carrier) in self.all.iter_mut().filter(|(_, c)| c.leaving.is_none() && !stays(c)) {
            self.lines.retain(|_, of| of != id);
            carrier.leaving =
                Some(Leaving { since: now, until: now + HANG_UP_MAX + carrier.ua.drain_time(now) });
            carrier.ua.unregister_all(now);
        }
        let mut added = Vec::new();
        for config in new {
            let mut there = self.all.iter_mut().filter(|(_, c)| c.leaving.is_none());
            if let Some((id, carrier)) = there.find(|(_, c)| c.name == config.name) {
                self.lines.extend(config.sip.lines.iter().map(|line| (line.number, *id)));
                carrier.back_off = config.back_off;
                carrier.ua.set_values(now, &config.sip);
            } else if self.names().count() < CARRIERS_MAX {
                let name = config.name.clone();
                added.push((self.insert(config, entropy()), name));
            }
        }
        added
    }

    /// Removes the carriers that have left.
    pub fn take_left(&mut self, now: Instant) -> Vec<CarrierId> {
        let left = |c: &mut Carrier| {
            let busy = c.ua.live_dialogs() > 0 || !c.ua.unregistered();
            c.leave_at().is_some_and(|at| !busy || at <= now)
        };
        self.all.extract_if(.., |_, c| left(c)).map(|(id, _)| id).collect()
    }

    /// All but those that leave.
    pub fn names(&self) -> impl Iterator<Item = (CarrierId, &str)> {
        self.all.iter().filter(|(_, c)| c.leaving.is_none()).map(|(id, c)| (*id, c.name.as_str()))
    }

    pub fn get(&self, id: CarrierId) -> Option<&Carrier> {
        self.all.get(&id)
    }

    pub fn get_mut(&mut self, id: CarrierId) -> Option<&mut Carrier> {
        self.all.get_mut(&id)
    }

    /// The carrier of a line; of a line that is none of ours, the first one.
    pub fn of_line(&self, line: TelNumber) -> &Carrier {
        self.all.get(&self.id_of_line(line)).expect("there is a carrier")
    }

    pub fn of_line_mut(&mut self, line: TelNumber) -> &mut Carrier {
        let id = self.id_of_line(line);
        self.all.get_mut(&id).expect("there is a carrier")
    }

    fn id_of_line(&self, line: TelNumber) -> CarrierId {
        let known = self.lines.get(&line).copied().filter(|id| self.all.contains_key(id));
        known.or_else(|| self.first()).unwrap_or_default()
    }

    /// The first that does not leave.
    fn first(&self) -> Option<CarrierId> {
        let stays = self.all.iter().find(|(_, c)| c.leaving.is_none());
        stays.or_else(|| self.all.first_key_value()).map(|(id, _)| *id)
    }

    /// The carrier over which a call is made.
    pub fn of_call(&self, call: CallId) -> Option<&Carrier> {
        self.all.get(&CarrierId(call.space()))
    }

    fn of_call_mut(&mut self, call: CallId) -> Option<&mut Carrier> {
        self.all.get_mut(&CarrierId(call.space()))
    }

    /// The carrier of a call of an earlier run: the one of that name, or else that of its line.
    pub fn of_record(&self, name: &str, line: Option<TelNumber>) -> CarrierId {
        let named = self.names().find(|(_, known)| *known == name).map(|(id, _)| id);
        let by_line = || self.lines.get(&line?).copied();
        named.or_else(by_line).or_else(|| self.first()).unwrap_or_default()
    }

    /// Whether the carrier of a call leaves.
    pub fn leaves(&self, call: CallId) -> bool {
        self.of_call(call).is_some_and(|c| c.leaving.is_some())
    }

    /// What the journal calls the carrier of a call.
    pub fn name_of(&self, call: CallId) -> &str {
        self.of_call(call).map_or("", |c| &c.name)
    }

    // ---- the user agents together ----

    pub fn poll_output(&mut self) -> Option<(CarrierId, Output)> {
        self.all.iter_mut().find_map(|(id, c)| Some((*id, c.ua.poll_output()?)))
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.all.values().flat_map(|c| [c.ua.poll_timeout(), c.quiet_until, c.leave_at()]).flatten().min()
    }

    /// `true` if a carrier may be called again.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let mut released = false;
        for carrier in self.all.values_mut() {
            carrier.ua.handle_timeout(now);
            released |= carrier.quiet_until.take_if(|at| *at <= now).is_some();
        }
        released
    }

    pub fn unregister_all(&mut self, now: Instant) {
        self.all.values_mut().for_each(|c| c.ua.unregister_all(now));
    }

    pub fn unregistered(&self) -> bool {
        self.all.values().all(|c| c.ua.unregistered())
    }

    pub fn live_dialogs(&self) -> usize {
        self.all.values().map(|c| c.ua.live_dialogs()).sum()
    }

    /// They hang up side by side.
    pub fn drain_time(&self, now: Instant) -> Duration {
        self.all.values().map(|c| c.ua.drain_time(now)).max().unwrap_or_default()
    }

    pub fn registrations(&self) -> impl Iterator<Item = (CarrierId, RegistrationView)> + '_ {
        let stay = self.all.iter().filter(|(_, c)| c.leaving.is_none());
        stay.flat_map(|(id, c)| c.ua.registrations().map(|view| (*id, view)))
    }

    pub fn stats(&self) -> Stats {
        self.all.values().map(|c| *c.ua.stats()).sum()
    }

    // ---- a call ----

    pub fn dial(
        &mut self,
        now: Instant,
        line: TelNumber,
        remote: TelNumber,
        offer: &SessionDescription,
    ) -> Result<Call, DialError> {
        self.of_line_mut(line).ua.dial(now, line, remote, offer)
    }

    pub fn recover(&mut self, now: Instant, carrier: CarrierId, record: &DialogRecord) -> Option<CallId> {
        Some(self.get_mut(carrier)?.ua.recover(now, record))
    }

    pub fn call_id(&self, call: CallId) -> Option<&str> {
        self.of_call(call)?.ua.call_id(call)
    }

    pub fn server_of(&self, call: CallId) -> Option<IpAddr> {
        self.of_call(call)?.ua.server_of(call)
    }

    pub fn persisted(&mut self, now: Instant, call: CallId) {
        if let Some(carrier) = self.of_call_mut(call) {
            carrier.ua.persisted(now, call);
        }
    }

    pub fn not_persisted(&mut self, call: CallId) -> bool {
        self.of_call_mut(call).is_some_and(|carrier| carrier.ua.not_persisted(call))
    }

    pub fn ring(&mut self, call: &Call) {
        if let Some(carrier) = self.of_call_mut(call.id()) {
            carrier.ua.ring(call);
        }
    }

    pub fn accept(&mut self, now: Instant, call: &Call, description: &SessionDescription) {
        if let Some(carrier) = self.of_call_mut(call.id()) {
            carrier.ua.accept(now, call, description);
        }
    }

    pub fn reject_because(&mut self, now: Instant, call: Call, status: u16, why: &str) {
        match self.of_call_mut(call.id()) {
            Some(carrier) => carrier.ua.reject_because(now, call, status, why),
            None => call.ended(),
        }
    }

    pub fn hang_up_because(&mut self, now: Instant, call: Call, why: Reason) {
        match self.of_call_mut(call.id()) {
            Some(carrier) => carrier.ua.hang_up_because(now, call, why),
            None => call.ended(),
        }
    }
}
