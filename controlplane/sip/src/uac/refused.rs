//! INVITEs that are refused for their form (RFC 3261 §8.1.3.5): once more in a form that the other side takes, if there is one.

use crate::call::CallId;
use crate::message::Message;
use crate::output::CallFailure;
use crate::reason::Reason;
use crate::ua::UserAgent;
use crate::uas::number_of;
use sipsec_net::Instant;

impl UserAgent {
    /// 413, 415, 416 and 420. `true` if the call goes on.
    pub(super) fn in_another_form(&mut self, now: Instant, id: CallId, m: &Message, status: u16) -> bool {
        let again = match status {
            413 => self.smaller(id, m),
            415 => m.accepts_sdp() && self.plainly(id),
            416 => self.by_sip_uri(id),
            420 => self.names_extension(m) && self.plainly(id),
            _ => false,
        };
        if again {
            self.invite_again(now, id);
        }
        again
    }

    /// Why a call that was refused for its form failed, where the refusal has no words of its own.
    pub(super) fn refused_form(m: &Message, status: u16, retry_after_s: Option<u32>) -> CallFailure {
        let mut failure = CallFailure::refused(status, m, retry_after_s);
        if let CallFailure::Status { status: 415, said: said @ None, .. } = &mut failure
            && !m.accepts_sdp()
        {
            let accepted: Vec<_> = m.all("Accept").collect();
            let text = format!("it takes {} and no application/sdp", accepted.join(", "));
            *said = Some(Reason::new(415, &text));
        }
        failure
    }

    /// §21.4.11: with a smaller body. A `Retry-After` says that the size is not the point.
    fn smaller(&mut self, id: CallId, m: &Message) -> bool {
        if m.header("Retry-After").is_some() {
            return false;
        }
        self.calls.get_mut(id).is_some_and(|call| call.media.shorten())
    }

    /// Without extensions and without optional header fields; once in a call.
    fn plainly(&mut self, id: CallId) -> bool {
        let outgoing = self.calls.get_mut(id).and_then(|c| c.outgoing_mut());
        outgoing.is_some_and(|o| !std::mem::replace(&mut o.plain, true))
    }

    fn names_extension(&self, m: &Message) -> bool {
        let mut offered = self.config.dialect.invite_supported.split(',').map(str::trim);
        offered.any(|tag| !tag.is_empty() && m.lists("Unsupported", tag))
    }

    /// §21.4.14: to the SIP URI of the number, if it was another URI: that of a redirection.
    pub(crate) fn by_sip_uri(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.get_mut(id) else { return false };
        let Some(number) = number_of(&call.dialog.remote_target) else { return false };
        let uri = format!("sip:{number}@{}", self.config.domain);
        let other = call.dialog.remote_target != uri;
        call.dialog.remote_target = uri;
        other
    }
}
