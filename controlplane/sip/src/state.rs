//! Where a call stands.

use crate::dialog::Dialog;
use crate::digest::Session;
use crate::output::CallFailure;
use crate::sdp::SessionDescription;
use sipsec_net::Instant;
use std::time::Duration;

#[derive(Debug)]
pub struct CallState {
    pub line: usize,
    pub dialog: Dialog,
    pub phase: Phase,
    /// Our SDP, for the INVITE, the 200 and every answer inside the dialog.
    pub body: String,
    /// Branch and CSeq of the INVITE that stands (UAC).
    pub invite_branch: String,
    pub invite_cseq: u32,
    pub auth: Option<(Session, bool)>,
    pub challenges: u32,
    /// The ACK of the 2xx, for its repetitions.
    pub ack: Option<Vec<u8>>,
    /// Server transaction of the INVITE (UAS).
    pub server_key: String,
    /// BYEs sent.
    pub byes: u8,
}

#[derive(Debug)]
pub enum Phase {
    /// UAC: the record is being written; the INVITE waits.
    PersistInvite,
    /// UAC: sent.
    Inviting {
        provisional: bool,
        cancel: Cancel,
        give_up_at: Option<Instant>,
    },
    /// UAC: a 2xx has come, the dialog is being written; the ACK waits.
    PersistAnswer {
        answer: Result<SessionDescription, CallFailure>,
        hang_up: bool,
    },
    /// UAS: waits for the decision.
    Offered,
    /// UAS: the record is being written; the 200 waits.
    PersistAccept {
        hang_up: bool,
    },
    /// UAS: the 200 is repeated until its ACK (RFC 3261 §13.3.1.4).
    Accepted {
        response: Vec<u8>,
        again_at: Instant,
        interval: Duration,
        give_up_at: Instant,
        hang_up: bool,
    },
    Established,
    /// BYE sent, its answer outstanding; or it waits for an address to be sent from.
    Leaving,
    /// After a restart without a dialog: a late 2xx may still come, and is acknowledged and hung up.
    AwaitLate {
        until: Instant,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    No,
    /// RFC 3261 §9.1: not before a provisional response.
    Wanted,
    Sent,
}

impl CallState {
    pub fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Accepted { again_at, give_up_at, .. } => Some(*again_at.min(give_up_at)),
            Phase::Inviting { give_up_at, .. } => *give_up_at,
            Phase::AwaitLate { until } => Some(*until),
            _ => None,
        }
    }
}
