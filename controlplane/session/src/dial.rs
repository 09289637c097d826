//! From a trigger to an answered call.

use crate::carriers::Carrier;
use crate::config::PeerKind;
use crate::core::{Core, Dataplane, Pending};
use crate::failure::SessionFailure;
use crate::output::{EventKind, Output};
use crate::selectors;
use crate::state::{CallMedia, Dialing, Leg, State};
use sipsec_ike::algorithm::{EspProposal, IkeProposal};
use sipsec_ike::{Endpoint, EndpointConfig, Probe, Role};
use sipsec_net::dp::{Op, PacketSummary};
use sipsec_net::{Instant, Kbps, TelNumber, TunnelId};
use sipsec_sip::sdp::{self, IkeMedia, IkeSetup, SessionDescription};
use sipsec_sip::{CallId, ReliableAnswer};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A call that only rings is given up after this long. The peer is a gateway, which answers within milliseconds or never. Longer than timer B (RFC 3261 §17.1.1.2: 32 s), which has a reason of its own.
const RING_MAX: Duration = Duration::from_secs(40);

/// A call that is not placed.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    pub tunnel: String,
    pub line: TelNumber,
    pub bandwidth: Kbps,
    pub description: SessionDescription,
}

impl Core {
    /// A packet waits and there is no SA.
    pub(crate) fn trigger(&mut self, now: Instant, i: usize, first: PacketSummary) {
        // While a call is under way this packet is one of those it is for; otherwise it waits for its turn.
        let t = &mut self.tunnels[i];
        t.wait(now, first);
        if let Some(draining) = t.draining() {
            draining.close_soon();
        }
        match t.state() {
            // It came as the session did.
            State::Up(up) if up.has_released() && !up.is_bare() => self.release_waiting(i),
            _ => self.release_trigger(now, i),
        }
    }

    /// Calls for the packet that waits, if that is possible now and the packet is still there.
    pub(crate) fn release_trigger(&mut self, now: Instant, i: usize) {
        let t = &mut self.tunnels[i];
        let Some((at, first)) = t.waiting().filter(|_| t.ready()) else { return };
        if self.may_dial(i).is_err() {
            return;
        }
        let t = &mut self.tunnels[i];
        if at + Duration::from_millis(t.config().spec.trigger_age_ms_max.into()) <= now {
            // It has been dropped meanwhile; the next packet asks again.
            self.flush_trigger(i);
            return;
        }
        t.first_phase(now, "trigger");
        self.event(Some(i), EventKind::Trigger(first));
        if let Err(failure) = self.dial(now, i) {
            self.failed(now, i, failure);
        }
    }

    /// An operator calls, without a packet.
    pub(crate) fn call_by_command(&mut self, now: Instant, tunnel: TunnelId) {
        let Some(i) = self.tunnels.with_id(tunnel) else { return };
        if !self.tunnels[i].ready() || self.may_dial(i).is_err() {
            return;
        }
        self.tunnels[i].first_phase(now, "command");
        if let Err(failure) = self.dial(now, i) {
            self.failed(now, i, failure);
        }
    }

    /// What an INVITE to this number would offer from this address, if it left now. Nothing is placed, and no port is
    /// taken.
    ///
    /// # Errors
    /// If no tunnel has the number, or the call would fail before it is placed.
    pub fn rehearse_offer(&mut self, remote: TelNumber, wan: IpAddr) -> Result<Rehearsal, SessionFailure> {
        let no_tunnel = SessionFailure::Dial(sipsec_sip::DialError::UnknownLine(remote));
        let i = self.tunnels.iter().position(|t| t.config().remote_number == remote).ok_or(no_tunnel)?;
        let port = self.ports.take(Instant::ZERO).ok_or(SessionFailure::NoMediaPort)?;
        self.ports.put_back(port);
        let media = self.our_media(i, SocketAddr::new(wan, port.0), IkeSetup::Active)?;
        let config = self.tunnels[i].config();
        Ok(Rehearsal {
            tunnel: config.name.clone(),
            line: config.local_number,
            bandwidth: config.bandwidth,
            description: SessionDescription::new(u64::from(self.entropy.u32()), media),
        })
    }

    pub(crate) fn release_triggers(&mut self, now: Instant) {
        for i in self.tunnels.indices() {
            self.release_trigger(now, i);
        }
    }

    /// What waits is dropped (and counted), and the next packet asks again.
    pub(crate) fn flush_trigger(&mut self, i: usize) {
        self.tunnels[i].forget_waiting();
        // A tunnel that a change has taken out of the dataplane has no queue there.
        if self.tunnels[i].is_configured() {
            let tunnel = self.tunnels[i].config().id();
            self.transact(vec![Op::FlushTrigger(tunnel)], Pending::Cleanup);
        }
    }

    /// Why no call can be placed now.
    pub(crate) fn may_dial(&self, i: usize) -> Result<(), &'static str> {
        if self.stopping() {
            Err("the gateway is shutting down")
        } else if self.is_withdrawn(i) {
            Err("the profile has this tunnel no more")
        } else if matches!(self.dataplane, Dataplane::Refused) {
            Err("the dataplane refused the configuration: see the log")
        } else if self.dataplane != Dataplane::Ready || !self.tunnels[i].is_configured() {
            Err("the dataplane is not ready")
        } else if let Some(why) = self
            .carriers
            .of_line(self.tunnels[i].config().local_number)
            .refuses(self.tunnels[i].config().local_number)
        {
            Err(why)
        } else if self.tunnels[i].held_until().is_some() {
            Err("the end of its last call is not confirmed, which may still be charged")
        } else if self.journal.holds_line(self.tunnels[i].config().local_number) {
            Err("calls of an earlier run are being hung up")
        } else if self.tunnels[i].retry_at().is_some() {
            Err("a call failed a moment ago")
        } else {
            Ok(())
        }
    }

    fn dial(&mut self, now: Instant, i: usize) -> Result<(), SessionFailure> {
        let (line, remote) = (self.tunnels[i].config().local_number, self.tunnels[i].config().remote_number);
        // SDP names the address from which the call is made.
        let wan = self.call_ip(now, i).ok_or(SessionFailure::Dial(sipsec_sip::DialError::NoAddress))?;
        self.key_for(remote)?;
        let port = self.ports.take(now).ok_or(SessionFailure::NoMediaPort)?;
        let placed = self.our_media(i, SocketAddr::new(wan, port.0), IkeSetup::Active).and_then(|media| {
            let offer = SessionDescription::new(u64::from(self.entropy.u32()), media);
            let call = self.carriers.dial(now, line, remote, &offer).map_err(SessionFailure::Dial)?;
            Ok((call, offer))
        });
        let (call, offer) = match placed {
            Ok(placed) => placed,
            Err(failure) => {
                self.ports.put_back(port);
                return Err(failure);
            }
        };
        self.open_ledger(now, call.id(), i, true);
        let leg = Leg { call, caller: true, media_port: port, answered_at: None, acknowledged: false };
        self.tunnels[i].begin(Dialing::inviting(leg, offer, now + RING_MAX));
        self.tunnels[i].phase(now, "invite");
        self.event(Some(i), EventKind::InviteSent { remote });
        Ok(())
    }

    /// Our address for a call of a tunnel that would be placed now.
    pub(crate) fn call_ip(&self, now: Instant, i: usize) -> Option<IpAddr> {
        let line = self.tunnels[i].config().local_number;
        self.carriers.of_line(line).ua.local_for_call(now, line).map(|local| local.ip())
    }

    /// Our side of SDP.
    pub(crate) fn our_media(
        &self,
        i: usize,
        addr: SocketAddr,
        setup: IkeSetup,
    ) -> Result<IkeMedia, SessionFailure> {
        if self.tunnels[i].config().qos.fails_calls {
            return Err(SessionFailure::StaticQos);
        }
        let config = self.tunnels[i].config();
        let announced = self.key_for(config.remote_number)?.announced(self.config.ike.psk_fingerprint)?;
        Ok(IkeMedia {
            addr,
            bandwidth: Some(config.bandwidth),
            setup: Some(setup),
            fingerprints: announced.certificate,
            psk_fingerprints: announced.psk,
        })
    }

    pub(crate) fn answered(&mut self, now: Instant, call: CallId, answer: &ReliableAnswer) {
        let Some(i) = self.tunnel_of(call) else { return };
        let t = &mut self.tunnels[i];
        if t.state().leg().is_none_or(|leg| leg.call.id() != call) {
            return;
        }
        let Some(offer) = t.dialing().and_then(|d| d.answered(now)).cloned() else { return };
        t.phase(now, "answered");
        self.note_answer(now, call);
        let wan = self.carriers.of_call(call).map(Carrier::wan).unwrap_or_default();
        let local = Some(offer.ike.addr).filter(|addr| wan.has(addr.ip()));
        let media = match local {
            Some(local) => CallMedia::of_answer(local, &offer, answer).map_err(SessionFailure::Sdp),
            None => Err(SessionFailure::AddressLost),
        };
        // Another key than ours, announced in SDP, is found here, before IKE.
        match media.and_then(|media| Ok((self.endpoint(now, i, &media)?, media))) {
            Ok((endpoint, media)) => {
                let (remote, rate) = (media.remote, media.rate);
                self.event(Some(i), EventKind::Answered { remote, rate });
                let deadline = now + self.config.ike.negotiation_deadline;
                self.tunnels[i].negotiate(media, endpoint, deadline);
                self.note_rate(call, rate);
                self.resolve_next_hop(i);
            }
            Err(failure) => self.fail(now, i, failure),
        }
    }

    pub(crate) fn note_rate(&mut self, call: CallId, rate: Kbps) {
        if let Some(ledger) = self.calls.get_mut(&call) {
            ledger.rate = Some(rate);
        }
    }

    /// Asks for the next hop towards the peer, with which its media port is opened.
    pub(crate) fn resolve_next_hop(&mut self, i: usize) {
        let state = self.tunnels[i].state();
        if let (Some(media_port), Some(media)) = (state.media_port(), state.media()) {
            self.out.push_back(Output::ResolveNextHop { media_port, remote: media.remote.ip() });
        }
    }

    /// The IKE endpoint of a call, or why the SDP of both sides already rules it out.
    pub(crate) fn endpoint(
        &mut self,
        now: Instant,
        i: usize,
        media: &CallMedia,
    ) -> Result<Endpoint, SessionFailure> {
        let (local, remote) = (self.tunnels[i].config().local_number, self.tunnels[i].config().remote_number);
        let role = match media.role {
            sdp::SetupRole::Active => Role::Initiator,
            sdp::SetupRole::Passive => Role::Responder,
        };
        let key = self.key_for(remote)?;
        let (local_id, remote_id) = key.identities(local, remote)?;
        let mut config =
            EndpointConfig::new(role, media.local, media.remote, local_id, remote_id, key.auth());
        config.peer_fingerprints = key.expected(&media.announced, self.config.ike.psk_fingerprint)?;
        config.ppk.clone_from(&key.ppk);
        config.ike_proposals.clone_from(&self.config.ike.proposals);
        config.esp_proposals.clone_from(&self.config.ike.esp_proposals);
        if key.peer == PeerKind::Cisco {
            // Last: what is better comes first.
            config.ike_proposals.push(IkeProposal::cisco());
            config.esp_proposals.push(EspProposal::cisco());
        }
        config.ike_lifetime = self.config.ike.ike_lifetime;
        config.child_lifetime = self.config.ike.child_lifetime;
        config.force_encap = self.config.ike.force_encap;
        config.unix_time_s = self.unix_time_s(now);
        config.dpd = self.config.ike.dpd;
        config.nat_keepalive = self.config.ike.nat_keepalive;
        config.fragment_bytes_max = self.config.ike.fragment_bytes_max;
        config.probe = self.tunnels[i].config().probe_path_mtu.then(|| probe_at(media.rate));
        config.ts_remote = selectors::wanted(&self.tunnels[i].config().routes);
        config.ts_local.clone_from(&config.ts_remote);
        config.traffic = self.tunnels[i].waiting().map(|(_, first)| (first.source, first.destination));
        config.crash_detection.clone_from(&self.config.ike.crash_detection);
        config.lab_key_log = self.config.ike.lab_key_log;
        let entropy = self.new_entropy();
        let endpoint = Endpoint::new(config, entropy);
        endpoint.check().map_err(SessionFailure::Ike)?;
        Ok(endpoint)
    }
}

/// A packet that takes longer than this at the negotiated rate delays voice behind it noticeably.
const SLOW_MS: u32 = 100;
/// The dataplane says once a second when it last sent and heard data.
const QUIET: Duration = Duration::from_secs(2);

/// IKE goes first on the line: a full-size probe takes 188 ms at 64 kbit/s.
const fn probe_at(rate: Kbps) -> Probe {
    const ETHERNET: u32 = 1500;
    let slow = ETHERNET * 8 > rate.0.saturating_mul(SLOW_MS);
    Probe { quiet: if slow { QUIET } else { Duration::ZERO } }
}
