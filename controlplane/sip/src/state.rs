//! Where a call stands.

use crate::auth::Auth;
use crate::config::EARLY_MAX;
use crate::dialog::Dialog;
use crate::message::Message;
use crate::output::CallFailure;
use crate::reason::Reason;
use crate::sdp::{Descriptions, SessionDescription};
use crate::session_timer::SessionTimer;
use crate::transport::Flow;
use sipsec_net::Instant;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub struct CallState {
    /// `None` only after a restart with another profile.
    pub line: Option<usize>,
    pub dialog: Dialog,
    pub phase: Phase,
    pub side: Side,
    pub media: Descriptions,
    pub auth: Auth,
    /// A 2xx of ours that waits for its ACK.
    pub answering: Option<Answering>,
    pub timer: Option<SessionTimer>,
    pub byes: u32,
    /// The transaction of our BYE.
    pub bye: Option<Arc<str>>,
    /// Those of our refreshes that may be under way.
    pub refreshes: Vec<Arc<str>>,
    /// The reason in our BYE, CANCEL or refusal.
    pub reason: Option<Reason>,
    /// Records that are not yet durable.
    pub writes: u32,
    /// The session has no handle of it: a BYE that is owed, or a call of an earlier process.
    pub detached: bool,
}

/// The side that placed the call.
#[derive(Debug)]
pub enum Side {
    Caller(Outgoing),
    Callee(Box<Incoming>),
    /// Either; the call is only to be hung up.
    Closing,
}

/// Our INVITE.
#[derive(Debug)]
pub struct Outgoing {
    pub branch: String,
    pub via: String,
    pub cseq: u32,
    /// Credentials of the INVITE, which its ACK repeats (RFC 3261 §22.1).
    pub credentials: Vec<(&'static str, String)>,
    /// The ACK of the 2xx, for its repetitions.
    pub ack: Option<Vec<u8>>,
    /// Dialogs made by provisional responses.
    pub early: Vec<Early>,
    pub min_se_s: u32,
    /// How often a 422 has raised it.
    pub raises: u32,
    /// Redirections that were followed.
    pub redirects: u32,
    /// An extension that the network does not take was left out (420).
    pub plain: bool,
    /// ACKs of the 2xx that were sent again.
    pub acks_again: u32,
    pub second_bye: SecondBye,
}

/// A BYE that was answered 481, although the call was answered: the peer goes on with its 2xx, and may charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondBye {
    No,
    /// With the next 2xx.
    Wanted,
    /// There is no third.
    Said,
}

#[derive(Debug)]
pub struct Early {
    pub dialog: Dialog,
    /// RSeq of the last reliable response (RFC 3262), once there was one.
    pub rseq: Option<u32>,
    /// The PRACK of that response was refused.
    pub refused: bool,
    /// SDP of a reliable provisional response is an answer, to be used once the call is answered.
    pub body: Vec<u8>,
}

/// Their INVITE.
#[derive(Debug)]
pub struct Incoming {
    /// Its server transaction.
    pub key: Arc<str>,
    pub request: Message,
    /// It had no offer: our 200 has it.
    pub delayed: bool,
}

/// RFC 3261 §13.3.1.4: the user agent, not the transaction, repeats its 2xx.
#[derive(Debug)]
pub struct Answering {
    pub response: Vec<u8>,
    pub flow: Flow,
    /// The port of the request's Via.
    pub sent_by_port: u16,
    pub cseq: u32,
    /// It has the offer, and its ACK the answer.
    pub offers: bool,
    pub again_at: Instant,
    pub interval: Duration,
    pub give_up_at: Instant,
}

#[derive(Debug)]
pub enum Phase {
    /// Caller: the record is being written; the INVITE waits.
    PersistInvite,
    /// Caller: sent.
    Inviting {
        provisional: bool,
        cancel: Cancel,
        give_up_at: Option<Instant>,
    },
    /// Caller: a 2xx has come, the dialog is being written; the ACK waits.
    PersistAnswer {
        answer: Result<SessionDescription, CallFailure>,
        hang_up: bool,
        until: Instant,
    },
    /// Callee: waits for the decision.
    Offered {
        until: Instant,
    },
    /// Callee: the record is being written; the 200 waits.
    PersistAccept {
        hang_up: bool,
    },
    /// Callee: the 200 is sent, its ACK has not come.
    Accepted {
        hang_up: bool,
    },
    Established,
    /// The BYE waits for its turn.
    Queued {
        at: Instant,
    },
    /// BYE sent, its answer outstanding.
    Leaving,
    /// A BYE is to be sent: at a time, or as soon as the WAN has an address.
    Owed {
        at: Option<Instant>,
    },
    /// Nothing is left to do, but a 2xx may still come late: of a fork, or after the INVITE was given up.
    Over {
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
        let phase = match &self.phase {
            Phase::Inviting { give_up_at, .. } => *give_up_at,
            Phase::PersistAnswer { until, .. } | Phase::Offered { until } | Phase::Over { until } => {
                Some(*until)
            }
            Phase::Queued { at } => Some(*at),
            Phase::Owed { at } => *at,
            Phase::Established => self.timer.as_ref().map(|t| t.at),
            _ => None,
        };
        let answering = self.answering.as_ref().map(|a| a.again_at.min(a.give_up_at));
        [phase, answering].into_iter().flatten().min()
    }

    pub fn outgoing(&self) -> Option<&Outgoing> {
        match &self.side {
            Side::Caller(o) => Some(o),
            _ => None,
        }
    }

    pub fn outgoing_mut(&mut self) -> Option<&mut Outgoing> {
        match &mut self.side {
            Side::Caller(o) => Some(o),
            _ => None,
        }
    }

    /// The early dialog of a provisional response: one with a tag makes it (RFC 3261 §12.1).
    pub fn early(&mut self, m: &Message) -> Option<&mut Early> {
        m.to_tag()?;
        let dialog = self.dialog.confirmed(m);
        let early = &mut self.outgoing_mut()?.early;
        let at = match early.iter().position(|e| e.dialog.remote_tag == dialog.remote_tag) {
            Some(at) => at,
            None if early.len() >= EARLY_MAX => return None,
            None => {
                early.push(Early { dialog, rseq: None, refused: false, body: Vec::new() });
                early.len() - 1
            }
        };
        early.get_mut(at)
    }

    /// The early dialog of this response is over.
    pub fn forget_early(&mut self, m: &Message) {
        if let Some(outgoing) = self.outgoing_mut() {
            outgoing.early.retain(|e| e.dialog.remote_tag.as_deref() != m.to_tag());
        }
    }

    pub fn incoming(&self) -> Option<&Incoming> {
        match &self.side {
            Side::Callee(i) => Some(i),
            _ => None,
        }
    }
}
