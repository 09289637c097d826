//! After a restart: every call of an earlier process is hung up, in whichever state it was.

use crate::auth::Auth;
use crate::call::CallId;
use crate::dialog::Dialog;
use crate::message::{Message, Via, Writer};
use crate::reason::{Reason, warning};
use crate::record::{DialogRecord, Stage};
use crate::sdp::Descriptions;
use crate::state::{CallState, Cancel, Outgoing, Phase, SecondBye, Side};
use crate::target::Target;
use crate::transaction::{ClientTransaction, Owner, ServerTransaction};
use crate::transport::Flow;
use crate::transport::via::sent_by_port;
use crate::ua::UserAgent;
use crate::ua::receive::transaction_id;
use sipsec_net::Instant;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

const RESTARTED: &str = "the gateway restarted";
/// The next call finds this gateway registered again.
const RETRY_AFTER_RESTART_S: u32 = 2;

impl UserAgent {
    /// Returns the id under which `Ended` will come. There is no handle, because the call can only be hung up.
    pub fn recover(&mut self, now: Instant, record: &DialogRecord) -> CallId {
        let line = record.line.parse().ok().and_then(|number| self.config.line_of(number));
        let dialog = Dialog::from_record(record);
        let branch = Via::parse(&record.via).and_then(|v| v.branch()).unwrap_or_default().to_owned();
        let reachable = self.locals.towards(record.target.addr).is_some();
        // What the server of an earlier run answers is heard, too.
        self.trusted.insert(record.target.addr.ip());
        let cancel = record.stage == Stage::Dialled && !branch.is_empty();
        if matches!(record.stage, Stage::Offered | Stage::Accepted) {
            self.refuse_recovered(now, record);
        }
        let side = if cancel {
            Side::Caller(Outgoing {
                branch: branch.clone(),
                via: record.via.clone(),
                cseq: record.cseq,
                credentials: Vec::new(),
                ack: None,
                early: Vec::new(),
                min_se_s: crate::config::MIN_SE_S,
                raises: 0,
                redirects: 0,
                plain: false,
                acks_again: 0,
                second_bye: SecondBye::No,
            })
        } else {
            Side::Closing
        };
        let id = self.calls.insert(CallState {
            line,
            dialog,
            phase: Phase::Owed { at: None },
            side,
            media: Descriptions::None,
            auth: Auth::default(),
            answering: None,
            timer: None,
            byes: 0,
            bye: None,
            refreshes: Vec::new(),
            reason: Some(Reason::new(500, RESTARTED)),
            writes: 0,
            detached: true,
        });
        if cancel {
            self.cancel_recovered(now, id, &branch);
        } else if record.stage == Stage::Offered {
            // The transaction repeats the refusal, and nothing is charged.
            self.end_call(now, id);
        } else if reachable {
            self.send_bye(now, id);
        }
        self.settle();
        id
    }

    /// The INVITE of a peer gets a final response, or the caller would hear ringing until it gives up. If our 200 has reached the
    /// proxies before us, this comes too late and has no effect (RFC 6026 §8.2).
    fn refuse_recovered(&mut self, now: Instant, record: &DialogRecord) {
        let mut w = Writer::request("INVITE", &record.remote_target);
        w.header("Via", &record.via)
            .header("Max-Forwards", crate::config::MAX_FORWARDS)
            .header("From", &record.remote)
            .header("To", &record.local)
            .header("Call-ID", &record.call_id)
            .header("CSeq", format_args!("{} INVITE", record.cseq));
        let Ok(m) = Message::parse(&w.finish(None)) else { return };
        let Some(via) = m.via() else { return };
        let target = &record.target;
        let Some(local) = self.locals.towards(target.addr) else { return };
        let nowhere = Flow { transport: target.transport, ..Flow::udp(local, target.addr) };
        let port = sent_by_port(&nowhere, &via);
        let asked = via.param("rport").and_then(|port| port.parse().ok());
        let reached = asked.filter(|_| !target.transport.is_reliable()).unwrap_or(port);
        let addr = SocketAddr::new(target.addr.ip(), reached);
        let Some(flow) = self.flow_to(&Target { addr, ..target.clone() }) else { return };
        let key: Arc<str> = format!("{} INVITE", transaction_id(&m, &via)).into();
        self.servers.insert(key.clone(), ServerTransaction::new(true, flow, port));
        self.respond(now, &key, &m, 500, None, None, |w| {
            w.header("Retry-After", RETRY_AFTER_RESTART_S).header("Warning", warning(RESTARTED));
        });
    }

    /// Whether the INVITE was answered is not known: it is cancelled, and a late 2xx is acknowledged and hung up.
    fn cancel_recovered(&mut self, now: Instant, id: CallId, branch: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.phase = Phase::Inviting { provisional: true, cancel: Cancel::Wanted, give_up_at: None };
        let d = &call.dialog;
        let Some(outgoing) = call.outgoing() else { return };
        let mut w = Writer::request("INVITE", &d.remote_target);
        w.header("Via", &outgoing.via)
            .header("Max-Forwards", crate::config::MAX_FORWARDS)
            .headers("Route", d.route_set.iter().map(String::as_str))
            .header("From", &d.local)
            .header("To", &d.remote)
            .header("Call-ID", &d.call_id)
            .header("CSeq", format_args!("{} INVITE", outgoing.cseq));
        // It is not sent: CANCEL and the ACK of a 487 are made of it.
        let (bytes, dest) = (w.finish(None), d.dest());
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let unsent = Flow { transport: dest.transport, ..Flow::udp(nowhere, dest.addr) };
        let flow = self.flow_to(&dest).unwrap_or(unsent);
        let mut t = ClientTransaction::new("INVITE", Owner::Invite(id), bytes, flow);
        t.resume_cancelled(now);
        self.remember(branch, "INVITE", t);
        self.send_cancel(now, id);
    }
}
