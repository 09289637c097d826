//! The session is over; SIP and the dataplane still have a little to do.

use sipsec_net::{Instant, MediaPort};
use sipsec_sip::{Call, CallId};

#[derive(Debug)]
pub struct Draining {
    /// SIP's part, until it says that the call has ended.
    pub call: Option<CallId>,
    /// The media port, open a moment longer so that IKE's DELETE leaves by it.
    pub media_port: Option<MediaPort>,
    pub close_media_at: Option<Instant>,
    /// The peer deleted IKE and so will hang up; if its BYE does not come by then, ours goes.
    pub bye_at: Option<(Instant, Call)>,
    pub answered_at: Option<Instant>,
}

impl Draining {
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        [self.close_media_at, self.bye_at.as_ref().map(|(at, _)| *at)].into_iter().flatten().min()
    }

    #[must_use]
    pub const fn done(&self) -> bool {
        self.call.is_none() && self.media_port.is_none()
    }
}
