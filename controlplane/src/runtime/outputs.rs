//! What the core wants done.

use super::{Running, Runtime};
use crate::clock;
use crate::compute::Urgency;
use crate::events::History;
use crate::events::messages::{self, Direction};
use crate::keylog;
use sipsec_ike::compute::Outcome;
use sipsec_net::TunnelId;
use sipsec_session::{EventKind, Input, Output, Transaction};

impl Runtime {
    /// No flow stays in a tunnel without a call.
    fn call_ended(&self, tunnel: TunnelId) {
        if let Some(tunnel) = self.profile.tunnels.iter().find(|t| t.id == tunnel) {
            self.track.call_ended(tunnel.name.clone());
        }
    }

    /// Does everything that the core wants.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::SipTransmit { carrier, flow, bytes } => {
                    self.events.sip(clock::now(), Direction::Out, flow.remote, &bytes);
                    if let Some(io) = self.carriers.get_mut(carrier) {
                        io.sip.send(&flow, bytes);
                    }
                }
                Output::SipOpen { carrier, flow, name } => {
                    if let Some(io) = self.carriers.get_mut(carrier) {
                        io.sip.open(flow, name);
                    }
                }
                Output::CarrierAdded { carrier, name } => self.carrier_added(carrier, &name),
                Output::CarrierRemoved(carrier) => self.carriers.remove(carrier),
                Output::IkeTransmit { media_port, bytes, probe } => {
                    messages::ike(Direction::Out, media_port, &bytes);
                    self.link.send_ike(media_port, &bytes, probe);
                }
                Output::NatKeepalive { media_port } => self.link.send_nat_keepalive(media_port),
                Output::Dataplane(Transaction { id, ops, more }) => self.link.send(id, ops, more),
                Output::SnapshotRequest => self.link.request_snapshot(),
                Output::QueryActivity(tunnel) => {
                    // What cannot be read says nothing, above all not that the tunnel is idle.
                    if let Some(activity) = self.link.activity(tunnel) {
                        let path_ceiling = self.link.qos(tunnel).map_or(0, |qos| qos.probe_ceiling);
                        self.input(Input::Activity { tunnel, activity, path_ceiling });
                    }
                }
                Output::CallCounted { tunnel, call_id } => {
                    if let Some(activity) = self.link.activity(tunnel) {
                        self.events.counted(tunnel, &call_id, activity);
                    }
                }
                Output::Compute { key, established, job } => {
                    let urgency = if established { Urgency::Established } else { Urgency::Negotiating };
                    let failed = Input::Compute { key, outcome: Outcome::Failed };
                    self.compute.submit(urgency, failed, move || Input::Compute { key, outcome: job.run() });
                }
                Output::Persist { key, record } => self.journal.write_call(key, record),
                Output::PersistBrake { key, record } => self.journal.write_brake(key, record),
                Output::ResolveNextHop { media_port, remote } => self.netlink.resolve(media_port, remote),
                Output::ForgetNextHop { media_port } => self.netlink.forget(media_port),
                Output::KeyLog(entry) => {
                    if let Some(directory) = &self.profile.ike.lab_key_log {
                        keylog::append(directory, &entry);
                    }
                }
                Output::Event(event) => {
                    let activity = event.tunnel.filter(|_| History::counts(&event.kind));
                    let activity = activity.and_then(|tunnel| self.link.activity(tunnel));
                    if let (EventKind::CallEnded(_), Some(tunnel)) = (&event.kind, event.tunnel) {
                        self.call_ended(tunnel);
                    }
                    self.events.publish(clock::now(), &event, activity);
                }
                Output::RoutesTaken(prefixes) => {
                    for prefix in prefixes {
                        self.adjacencies.taken(prefix);
                    }
                }
                Output::Reconfigured(result) => self.reconfigured(result),
                Output::ShutdownComplete => self.state = Running::Done,
            }
        }
    }
}
