//! The session is over; SIP and the dataplane still have a little to do.

use sipsec_net::{Instant, MediaPort};
use sipsec_sip::CallId;

#[derive(Debug)]
pub struct Draining {
    /// SIP's part, until it says that the call has ended.
    pub call: Option<CallId>,
    /// The media port, open a moment longer so that IKE's DELETE leaves by it.
    pub media_port: Option<MediaPort>,
    pub close_media_at: Option<Instant>,
    pub answered_at: Option<Instant>,
}

impl Draining {
    #[must_use]
    pub const fn done(&self) -> bool {
        self.call.is_none() && self.media_port.is_none()
    }
}
