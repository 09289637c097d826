//! From a trigger or an incoming INVITE to an answered call.

use crate::core::{Core, Dataplane, Pending};
use crate::failure::{Evidence, SessionFailure};
use crate::output::{EventKind, Output};
use crate::state::{Dialing, Leg, Media, Negotiating, Stage, State};
use sipsec_ike::{
    AuthConfig, CloseCause, Dpd, DpdMode, Endpoint, EndpointConfig, FingerprintPolicy, Identity,
    IdentityPolicy, Role,
};
use sipsec_net::dp::{MediaBinding, Op, OuterDscp, PacketSummary};
use sipsec_net::{HashFunc, Instant, MacAddr, MediaPort, TelNumber};
use sipsec_sip::sdp::{self, IkeMedia, IkeSetup, SessionDescription};
use sipsec_sip::{Call, CallFailure, CallId, Caller, Event, ReliableAnswer};
use std::net::SocketAddr;

/// IKE's port on the inside of the PAT (RFC 6193 §5.4: start on 4500).
const IKE_PORT: u16 = 4500;

impl Core {
    /// A packet waits and there is no SA.
    pub(crate) fn trigger(&mut self, now: Instant, i: usize, first: PacketSummary) {
        let t = &mut self.tunnels[i];
        if !t.ready() {
            return; // the call under way is for it, or its end will ask again
        }
        if self.may_dial(i).is_err() {
            self.tunnels[i].trigger_waits = true;
            return;
        }
        let t = &mut self.tunnels[i];
        t.phases.clear();
        t.phase(now, "trigger");
        self.event(Some(i), EventKind::Trigger(first));
        if let Err(failure) = self.dial(now, i) {
            self.fail(now, i, failure);
        }
    }

    /// Why no call can be placed now.
    pub(crate) fn may_dial(&self, i: usize) -> Result<(), &'static str> {
        if self.stopping() {
            Err("the gateway is shutting down")
        } else if self.dataplane != Dataplane::Ready || !self.tunnels[i].configured {
            Err("the dataplane is not ready")
        } else if self.wan.is_none() {
            Err("the WAN interface has no address")
        } else if self.tunnels[i].retry_at.is_some() {
            Err("a call failed a moment ago")
        } else {
            Ok(())
        }
    }

    fn dial(&mut self, now: Instant, i: usize) -> Result<(), SessionFailure> {
        let (line, remote) = (self.tunnels[i].config.local_number, self.tunnels[i].config.remote_number);
        let wan = self.wan.ok_or(SessionFailure::Dial(sipsec_sip::DialError::NoAddress))?;
        let media =
            |core: &Self, port: MediaPort| core.our_media(i, SocketAddr::new(wan, port.0), IkeSetup::Active);
        self.psk(remote)?;
        let port = self.ports.take(now).ok_or(SessionFailure::NoMediaPort)?;
        let offer = media(self, port).map(|m| SessionDescription::new(u64::from(self.entropy.u32()), m));
        let placed = offer.and_then(|offer| {
            let call = self.ua.dial(now, line, remote, &offer).map_err(SessionFailure::Dial)?;
            Ok((call, offer))
        });
        let (call, offer) = match placed {
            Ok(placed) => placed,
            Err(failure) => {
                self.ports.give(now, port);
                return Err(failure);
            }
        };
        self.calls.insert(call.id(), i);
        let leg = Leg { call, caller: true, media_port: port, answered_at: None };
        self.set_state(i, State::Dialing(Box::new(Dialing { leg, stage: Stage::Inviting { offer } })));
        self.tunnels[i].phase(now, "invite");
        self.event(Some(i), EventKind::InviteSent { remote });
        Ok(())
    }

    /// Our side of SDP.
    fn our_media(&self, i: usize, addr: SocketAddr, setup: IkeSetup) -> Result<IkeMedia, SessionFailure> {
        let config = &self.tunnels[i].config;
        let psk_fingerprints = if self.config.ike.psk_fingerprint {
            vec![sipsec_ike::psk_fingerprint(self.psk(config.remote_number)?.expose(), HashFunc::Sha256)]
        } else {
            Vec::new()
        };
        Ok(IkeMedia {
            addr,
            bandwidth: Some(config.bandwidth),
            setup: Some(setup),
            fingerprints: Vec::new(),
            psk_fingerprints,
        })
    }

    pub(crate) fn sip_output(&mut self, now: Instant, output: sipsec_sip::Output) {
        match output {
            sipsec_sip::Output::Transmit { to, bytes } => {
                self.out.push_back(Output::SipTransmit { to, bytes })
            }
            sipsec_sip::Output::Persist { call, record } => {
                let key = self.key_of_call(call);
                self.out.push_back(Output::Persist { key, record: record.map(|r| r.to_bytes()) });
            }
            sipsec_sip::Output::Event(event) => self.sip_event(now, event),
        }
    }

    fn sip_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Registration { line, state } => self.event(None, EventKind::Registration { line, state }),
            Event::Incoming { call, line, caller, offer } => self.incoming(now, call, line, caller, &offer),
            Event::Provisional { call, status } => {
                if let Some(&i) = self.calls.get(&call) {
                    self.tunnels[i].phase(now, "ringing");
                    self.event(Some(i), EventKind::Ringing { status });
                }
            }
            Event::Answered { call, answer } => self.answered(now, call, &answer),
            Event::Confirmed { call } => {
                if let Some(&i) = self.calls.get(&call) {
                    self.tunnels[i].phase(now, "ack");
                }
            }
            Event::Failed { call, failure } => self.call_failed(now, call, failure),
            Event::PeerHungUp { call } => self.peer_hung_up(now, call),
            Event::Ended { call } => self.call_ended(now, call),
        }
    }

    // ---- placed calls ----

    fn answered(&mut self, now: Instant, call: CallId, answer: &ReliableAnswer) {
        let Some(&i) = self.calls.get(&call) else { return };
        let State::Dialing(d) = std::mem::replace(&mut self.tunnels[i].state, State::Ready) else {
            debug_assert!(false, "only a call that dials is answered");
            return;
        };
        let Dialing { mut leg, stage } = *d;
        leg.answered_at = Some(now);
        self.tunnels[i].phase(now, "answered");
        let local = self.wan.map(|ip| SocketAddr::new(ip, leg.media_port.0));
        let media = match (&stage, local) {
            (Stage::Inviting { offer }, Some(local)) => {
                Media::of_answer(local, offer, answer).map_err(SessionFailure::Sdp)
            }
            _ => Err(SessionFailure::AddressChanged),
        };
        match media.and_then(|media| Ok((self.endpoint(i, &media)?, media))) {
            Ok((endpoint, media)) => {
                self.event(Some(i), EventKind::Answered { remote: media.remote, rate: media.rate });
                self.negotiate(now, i, leg, media, endpoint);
            }
            Err(failure) => {
                // Back into a state with a call, so that failing hangs it up.
                self.set_state(i, State::Dialing(Box::new(Dialing { leg, stage })));
                self.fail(now, i, failure);
            }
        }
    }

    /// The call is answered: from here on it is paid, and the deadline runs.
    fn negotiate(&mut self, now: Instant, i: usize, leg: Leg, media: Media, endpoint: Endpoint) {
        let deadline = now + self.config.ike.negotiation_deadline;
        let (port, remote, open) = (leg.media_port, media.remote.ip(), media.open);
        self.set_state(
            i,
            State::Negotiating(Box::new(Negotiating {
                leg,
                media,
                endpoint,
                deadline,
                proofs: None,
                installing: None,
                evidence: Evidence::default(),
            })),
        );
        if open {
            self.media_opened(now, i);
        } else {
            self.out.push_back(Output::ResolveNextHop { media_port: port, remote });
        }
    }

    /// IKE for a call, knowing what SDP said.
    fn endpoint(&mut self, i: usize, media: &Media) -> Result<Endpoint, SessionFailure> {
        let (local, remote) = (self.tunnels[i].config.local_number, self.tunnels[i].config.remote_number);
        let role = match media.role {
            sdp::Role::Active => Role::Initiator,
            sdp::Role::Passive => Role::Responder,
        };
        let mut config = EndpointConfig::new(
            role,
            media.local,
            media.remote,
            Identity::number(&local),
            IdentityPolicy::Number(remote),
            AuthConfig::Psk { key: self.psk(remote)? },
        );
        config.force_encap = self.config.ike.force_encap;
        config.peer_fingerprints =
            FingerprintPolicy { expected: media.expected.clone(), required: self.config.ike.psk_fingerprint };
        config.dpd = Dpd { mode: DpdMode::OnDemand, interval: self.config.ike.dpd };
        config.lab_key_log = self.config.ike.lab_key_log;
        let entropy = self.new_entropy();
        Ok(Endpoint::new(config, entropy))
    }

    // ---- received calls ----

    fn incoming(
        &mut self,
        now: Instant,
        call: Call,
        line: TelNumber,
        caller: Caller,
        offer: &SessionDescription,
    ) {
        let shown = match caller {
            Caller::Asserted(n) => n.to_string(),
            Caller::Anonymous => "anonymous".into(),
            Caller::Unidentified => "unidentified".into(),
        };
        self.event(None, EventKind::Incoming { caller: shown.clone() });
        let refuse = |core: &mut Self, call: Call, status: u16, why: &'static str| {
            core.event(None, EventKind::IncomingRefused { caller: shown.clone(), status, why });
            core.ua.reject(now, call, status);
        };
        // R1: without a number the peer cannot be known; RFC 5079's 433 says so.
        let Caller::Asserted(number) = caller else {
            let why = "the carrier asserts no number: is the caller-ID service active?";
            return refuse(self, call, if caller == Caller::Anonymous { 433 } else { 403 }, why);
        };
        let found = self
            .tunnels
            .iter()
            .position(|t| t.config.local_number == line && t.config.remote_number == number);
        let Some(i) = found else { return refuse(self, call, 403, "no tunnel has this number") };
        if self.stopping() || self.dataplane != Dataplane::Ready || !self.tunnels[i].configured {
            return refuse(self, call, 480, "the gateway is not ready");
        }
        if !self.tunnels[i].ready() && !self.yields_to(now, i) {
            return refuse(self, call, 486, "the tunnel has a call already");
        }
        self.take_call(now, i, call, offer);
    }

    /// Both sides called at once. The call of the smaller number survives, decided alike on both sides; the other is
    /// cancelled by its caller.
    fn yields_to(&mut self, now: Instant, i: usize) -> bool {
        let t = &self.tunnels[i];
        let State::Dialing(d) = &t.state else { return false };
        if !d.leg.caller {
            return false;
        }
        let ours = t.config.local_number.as_str() < t.config.remote_number.as_str();
        self.event(Some(i), EventKind::Glare { kept: if ours { "our call" } else { "the peer's call" } });
        if ours {
            return false;
        }
        if let State::Dialing(d) = std::mem::replace(&mut self.tunnels[i].state, State::Ready) {
            let leg = d.leg;
            // The cancelled call ends by itself; if its 2xx wins the race it is acknowledged and hung up.
            self.calls.remove(&leg.call.id());
            self.ports.give(now, leg.media_port);
            self.ua.hang_up(now, leg.call);
        }
        true
    }

    fn take_call(&mut self, now: Instant, i: usize, call: Call, offer: &SessionDescription) {
        let t = &mut self.tunnels[i];
        t.phases.clear();
        t.phase(now, "incoming");
        let prepared = self.prepare_answer(now, i, offer);
        match prepared {
            Ok((media, answer, port)) => {
                self.calls.insert(call.id(), i);
                self.ua.ring(now, &call);
                let leg = Leg { call, caller: false, media_port: port, answered_at: None };
                let remote = media.remote.ip();
                let stage = Stage::Opening { media, answer };
                self.set_state(i, State::Dialing(Box::new(Dialing { leg, stage })));
                self.out.push_back(Output::ResolveNextHop { media_port: port, remote });
            }
            Err((failure, status)) => {
                self.ua.reject(now, call, status);
                self.fail(now, i, failure);
            }
        }
    }

    fn prepare_answer(
        &mut self,
        now: Instant,
        i: usize,
        offer: &SessionDescription,
    ) -> Result<(Media, SessionDescription, MediaPort), (SessionFailure, u16)> {
        let wan = self.wan.ok_or((SessionFailure::AddressChanged, 480))?;
        let probe = SocketAddr::new(wan, 1);
        let mut ours = self.our_media(i, probe, IkeSetup::Passive).map_err(|f| (f, 403))?;
        let agreed = sdp::negotiate_answering(&offer.ike, &ours)
            .map_err(|e| (SessionFailure::Sdp(e.clone()), e.status()))?;
        // X14: another key in SDP than ours is known before anything is answered, and so before it costs anything.
        let theirs = &agreed.psk_fingerprints;
        if !theirs.is_empty() {
            let key = self.psk(self.tunnels[i].config.remote_number).map_err(|f| (f, 403))?;
            let same =
                |f: &sipsec_net::Fingerprint| sipsec_ike::psk_fingerprint(key.expose(), f.hash()) == *f;
            if !theirs.iter().any(same) {
                let ours = sipsec_ike::psk_fingerprint(key.expose(), theirs[0].hash());
                let error = sipsec_ike::IkeError::PskFingerprintMismatch { expected: theirs.clone(), ours };
                return Err((SessionFailure::Ike(error), 488));
            }
        }
        let port = self.ports.take(now).ok_or((SessionFailure::NoMediaPort, 486))?;
        let local = SocketAddr::new(wan, port.0);
        ours.addr = local;
        ours.setup = Some(agreed.role.setup());
        let answer = SessionDescription::new(u64::from(self.entropy.u32()), ours).answering(offer);
        Ok((Media::new(local, &agreed), answer, port))
    }

    // ---- the media port ----

    pub(crate) fn next_hop(&mut self, port: MediaPort, mac: MacAddr) {
        let Some(i) = self.index_of_port(port) else { return };
        let tunnel_source = self.config.media.tunnel_source;
        let t = &mut self.tunnels[i];
        let id = t.config.id();
        if let State::Negotiating(n) = &mut t.state {
            n.evidence.next_hop_known = true;
        }
        let Some(media) = t.state.media_mut() else { return };
        if media.next_hop.replace(mac) == Some(mac) {
            return;
        }
        if media.asked {
            self.transact(vec![Op::NextHop { media_port: port, mac }], Pending::Cleanup);
            return;
        }
        media.asked = true;
        let binding = MediaBinding {
            tunnel: id,
            inside_local: SocketAddr::new(tunnel_source, IKE_PORT),
            outside_local: media.local,
            remote: media.remote,
            rate: media.rate,
            next_hop: mac,
            outer_dscp: OuterDscp::CopyInner,
        };
        self.transact(vec![Op::MediaOpen(binding)], Pending::MediaOpen { tunnel: i, port });
    }

    /// The port is open: IKE starts, or the call that we received is answered.
    pub(crate) fn media_opened(&mut self, now: Instant, i: usize) {
        match std::mem::replace(&mut self.tunnels[i].state, State::Ready) {
            State::Negotiating(mut n) => {
                n.media.open = true;
                n.evidence.port_open = true;
                n.evidence.next_hop_known = true;
                n.endpoint.start(now);
                let initiator = n.media.role == sdp::Role::Active;
                self.set_state(i, State::Negotiating(n));
                self.stirred.insert(i);
                self.tunnels[i].phase(now, "ike");
                self.event(Some(i), EventKind::IkeStarted { initiator });
            }
            State::Dialing(d) => {
                let Dialing { mut leg, stage } = *d;
                let Stage::Opening { mut media, answer } = stage else {
                    self.set_state(i, State::Dialing(Box::new(Dialing { leg, stage })));
                    return;
                };
                media.open = true;
                match self.endpoint(i, &media) {
                    Ok(endpoint) => {
                        self.ua.accept(now, &leg.call, &answer);
                        leg.answered_at = Some(now);
                        self.tunnels[i].phase(now, "answered");
                        self.event(Some(i), EventKind::Answered { remote: media.remote, rate: media.rate });
                        self.negotiate(now, i, leg, media, endpoint);
                    }
                    Err(failure) => {
                        let stage = Stage::Opening { media, answer };
                        self.set_state(i, State::Dialing(Box::new(Dialing { leg, stage })));
                        self.fail(now, i, failure);
                    }
                }
            }
            other => self.set_state(i, other),
        }
    }

    // ---- how SIP ends a call ----

    fn call_failed(&mut self, now: Instant, call: CallId, failure: CallFailure) {
        let Some(&i) = self.calls.get(&call) else { return };
        if self.tunnels[i].state.leg().is_some() {
            self.over(now, i, CloseCause::CallEnded);
            self.failed(now, i, SessionFailure::Call(failure));
        }
    }

    fn peer_hung_up(&mut self, now: Instant, call: CallId) {
        let Some(&i) = self.calls.get(&call) else { return };
        self.event(Some(i), EventKind::ByeReceived);
        let up = matches!(self.tunnels[i].state, State::Up(_));
        if let State::Draining(d) = &mut self.tunnels[i].state
            && let Some((_, call)) = d.bye_at.take()
        {
            call.ended();
        }
        if self.tunnels[i].state.leg().is_some() {
            self.over(now, i, CloseCause::CallEnded);
            if !up {
                self.failed(now, i, SessionFailure::PeerHungUp);
            }
        }
    }

    fn call_ended(&mut self, now: Instant, call: CallId) {
        self.forget_recovered(call);
        let Some(i) = self.calls.remove(&call) else { return };
        if let State::Draining(d) = &mut self.tunnels[i].state
            && d.call == Some(call)
        {
            d.call = None;
            self.drained(now, i);
        }
    }
}
