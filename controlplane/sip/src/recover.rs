//! After a restart: every call of an earlier process is hung up, in whichever state it was.

use crate::auth::Auth;
use crate::call::CallId;
use crate::dialog::Dialog;
use crate::message::{Via, Writer};
use crate::reason::Reason;
use crate::record::DialogRecord;
use crate::sdp::Media;
use crate::state::{CallState, Cancel, Outgoing, Phase, SecondBye, Side};
use crate::transaction::{ClientTransaction, Owner};
use crate::transport::Flow;
use crate::ua::UserAgent;
use sipsec_net::Instant;
use std::net::{Ipv4Addr, SocketAddr};

impl UserAgent {
    /// Returns the id under which `Ended` will come. There is no handle, because the call can only be hung up.
    pub fn recover(&mut self, now: Instant, record: &DialogRecord) -> CallId {
        let line = record.line.parse().ok().and_then(|number| self.config.line_of(number));
        let dialog = Dialog::from_record(record);
        let branch = Via::parse(&record.via).and_then(|v| v.branch()).unwrap_or_default().to_owned();
        let reachable = self.locals.towards(record.target.addr).is_some();
        // What the server of an earlier run answers is heard, too.
        self.trusted.insert(record.target.addr.ip());
        let cancel = !record.answered && !branch.is_empty();
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
            media: Media::None,
            auth: Auth::default(),
            answering: None,
            timer: None,
            byes: 0,
            bye: None,
            refreshes: Vec::new(),
            reason: Some(Reason::new(500, "the gateway restarted")),
            detached: true,
        });
        if cancel {
            self.cancel_recovered(now, id, &branch);
        } else if reachable {
            self.send_bye(now, id);
        }
        self.settle();
        id
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
